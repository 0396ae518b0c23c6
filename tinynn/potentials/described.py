"""Configurations with their features, and the table of scaled arrays that a potential is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.ops.indexing import take
from tinynn.potentials.configurations import Configurations
from tinynn.potentials.potential import CHUNK, Features, Potential
from tinynn.tensor import Tensor


class Described:
    """`Configurations` with the features that a potential sees, not scaled; the Jacobians in the dtype of training.

    To describe a set takes longer than to scale it: potentials with equal descriptors can share one.

    Parameters
    ----------
    potential : `Potential`
    configurations : `Configurations`
    jacobian : whether Jacobians are wanted; they are where forces are learnt
    dtype : of the Jacobians

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.potentials import AtomicNetwork, Configurations, G2, SymmetryFunctions, System
    >>> x = np.zeros((10, 2, 3))
    >>> x[:, 1, 2] = np.linspace(1.0, 2.0, 10)
    >>> data = Configurations(System("OO"), x, energy=np.zeros(10), forces=np.zeros((10, 2, 3)))
    >>> potential = AtomicNetwork(SymmetryFunctions([G2("O", eta=1.0)]), elements=["O"])
    >>> described = Described(potential, data)
    >>> described.features[0].jacobian["O"].shape
    (10, 2, 1, 2, 3)
    >>> len(described[[0, 5]])
    2
    """

    def __init__(
        self, potential: Potential, configurations: Configurations, jacobian: bool = True, dtype: str = "float32"
    ) -> None:
        self.configurations = configurations
        self.descriptors = dict(potential.descriptors)
        self.features = [
            _described(potential, group.system, group.positions, jacobian, dtype) for group in configurations.groups
        ]

    def __len__(self) -> int:
        """Return the number of configurations."""
        return len(self.configurations)

    def __getitem__(self, chosen: Any) -> Described:
        """Choose some, as in `Configurations`."""
        rows = np.arange(len(self))[chosen]
        made = Described.__new__(Described)
        made.configurations, made.features = self.configurations[rows], []
        made.descriptors = self.descriptors
        for group, features in zip(self.configurations.groups, self.features):
            place = np.full(len(self), -1)
            place[group.places] = np.arange(len(group.places))
            at = place[rows][place[rows] >= 0]
            if len(at):
                values = {part: v[at] for part, v in features.values.items()}
                jacobian = features.jacobian and {part: J[at] for part, J in features.jacobian.items()}
                made.features.append(Features(values, jacobian))
        return made


def _described(potential: Potential, system: Any, positions: Any, jacobian: bool, dtype: str) -> Features:
    """Describe in chunks, so that there are never two copies of a large Jacobian."""
    values: dict[str, NDArray[Any]] = {}
    jacobians: dict[str, NDArray[Any]] = {}
    for k in range(0, len(positions), CHUNK):
        some = potential.describe(positions[k : k + CHUNK], system, jacobian=jacobian)
        for arrays, chunk, kind in ((values, some.values, "float64"), (jacobians, some.jacobian or {}, dtype)):
            for part, array in chunk.items():
                arrays.setdefault(part, np.empty((len(positions), *array.shape[1:]), kind))[k : k + CHUNK] = array
    return Features(values, jacobians if jacobian else None)


@dataclass(frozen=True)
class Table:
    """All configurations in arrays whose first axis counts them, scaled.

    Where systems differ in size, the smaller ones are filled up with centers that a mask takes out again, and with
    atoms without forces. So minibatches may mix systems, and all batches have one shape.

    Attributes
    ----------
    values, jacobian, mask : dict by part, of (n, centers, features), (n, centers, features, atoms, 3), (n, centers)
        There is no mask where all systems have the same atoms, and no Jacobian where forces are not learnt.
    energy : (n,), less the offsets, in units of the potential's scale
    forces : (n, atoms, 3), or None
    energy_factor, force_factor : (n,), (n, 1, 1), or None
        By which errors are multiplied before their mean is taken over the array: so that each configuration has
        the mean over its own atoms.
    """

    values: Mapping[str, Tensor]
    jacobian: Mapping[str, Tensor] | None
    mask: Mapping[str, Tensor] | None
    energy: Tensor
    forces: Tensor | None
    energy_factor: Tensor | None
    force_factor: Tensor | None

    def __len__(self) -> int:
        """Return the number of configurations."""
        return len(self.energy)


def rows_of(columns: Mapping[str, Any], i: Any) -> Table:
    """Choose rows of a table by a tensor of indices: ``rows_of(vars(table), i)``.

    The operation can be part of a compiled step; the step then must see the columns, not an object that holds them.
    """

    def rows(column: Any) -> Any:
        if column is None:
            return None
        if isinstance(column, Mapping):
            return {part: take(array, i, axis=0) for part, array in column.items()}
        return take(column, i, axis=0)

    return Table(**{name: rows(column) for name, column in columns.items()})


def table_of(
    potential: Potential, described: Described, dtype: str, with_forces: bool = True, per_atom: bool = False
) -> Table:
    """Scale what was described by the scales of the potential, and put all systems into one table."""
    n, data = len(described), described.configurations
    systems = data.systems
    counts = np.array([potential.counts(system) for system in systems]).astype(int)
    room = dict(zip(potential.parts, counts.max(axis=0)))
    atoms = max(len(system) for system in systems)
    values, jacobian, mask = {}, {}, {}
    for part, centers in room.items():
        if centers:
            width = len(potential.descriptors[part])
            values[part] = np.zeros((n, centers, width), dtype)
            mask[part] = np.zeros((n, centers), dtype)
            jacobian[part] = np.zeros((n, centers, width, atoms, 3) if with_forces else 0, dtype)
    energy, forces = np.empty(n), np.zeros((n, atoms, 3) if with_forces else 0)
    size = np.empty(n)
    scale, offsets = float(potential.scale.item()), potential.offsets.numpy()
    for group, features in zip(data.groups, described.features):
        at, moving = group.places, len(group.system)
        for part, G in features.values.items():
            values[part][at, : G.shape[1]] = potential.ranges[part].transform(G)
            mask[part][at, : G.shape[1]] = 1.0
            if with_forces:
                assert features.jacobian is not None
                per_feature = potential.ranges[part].scale.numpy().astype(dtype)[:, None, None]
                for k in range(0, len(at), CHUNK):
                    some = features.jacobian[part][k : k + CHUNK]
                    jacobian[part][at[k : k + CHUNK], : G.shape[1], :, :moving] = some / per_feature
        energy[at] = (group.energy - potential.counts(group.system) @ offsets) / scale
        if with_forces:
            assert group.forces is not None
            forces[at, :moving] = group.forces / scale
        size[at] = moving

    differ = len({tuple(row) for row in counts}) > 1 or len(set(size)) > 1

    def tensors(arrays: dict[str, Any]) -> dict[str, Tensor]:
        return {part: Tensor(array) for part, array in arrays.items()}

    def tensor(array: NDArray[Any]) -> Tensor:
        return Tensor(array.astype(dtype))

    return Table(
        tensors(values),
        tensors(jacobian) if with_forces else None,
        tensors(mask) if differ else None,
        tensor(energy),
        tensor(forces) if with_forces else None,
        tensor(size.mean() / size) if per_atom and differ else None,
        tensor(np.sqrt(atoms / size)[:, None, None]) if with_forces and differ else None,
    )
