"""`Committee`: several potentials for the same thing; where they disagree, none of them knows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.potentials.configurations import Configurations
from tinynn.potentials.described import Described
from tinynn.potentials.history import History
from tinynn.potentials.potential import CHUNK, Potential
from tinynn.potentials.prediction import ExtrapolationWarning, Prediction, extrapolation_message
from tinynn.potentials.system import System
from tinynn.potentials.training import fit
from tinynn.random import manual_seed

Array = NDArray[np.float64]


class Spread(NamedTuple):
    """How far the members of a committee are apart: standard deviations.

    Attributes
    ----------
    energy : (n,), in eV
    forces : (n, atoms), of the force vectors, in eV/Å; None where they were not asked for
    """

    energy: Array
    forces: Any


class Committee:
    """Potentials that were trained alike from other first weights and on other parts of the data.

    The mean of their predictions is better than most of them. Their spread tells where the data say little: there
    it is large, and so is the error. (It is no bar for the error: they can all be wrong in the same way.)

    Parameters
    ----------
    potentials : sequence of `Potential`, at least two

    Raises
    ------
    ValueError
        For fewer than two.
    TypeError
        If one is no `Potential`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.potentials import AtomicNetwork, G2, SymmetryFunctions, System
    >>> functions = SymmetryFunctions([G2("O", eta=1.0)])
    >>> committee = Committee([AtomicNetwork(functions, ["O"], hidden=(4,)) for _ in range(3)])
    >>> o2 = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]])
    >>> committee.predict(o2, System("OO")).forces.shape, committee.spread(o2, System("OO")).forces.shape
    ((1, 2, 3), (1, 2))
    """

    def __init__(self, potentials: Sequence[Potential]) -> None:
        self.potentials = tuple(potentials)
        self.histories: tuple[History, ...] = ()
        if len(self.potentials) < 2:
            raise ValueError(f"Committee: give at least two potentials, got {len(self.potentials)}")
        for number, potential in enumerate(self.potentials):
            if not isinstance(potential, Potential):
                raise TypeError(f"Committee: potentials[{number}] is a {type(potential).__name__}, not a Potential")

    @classmethod
    def trained(
        cls, make: Callable[[], Potential], data: Configurations, members: int = 4, *, seed: int = 0, **settings: Any
    ) -> Committee:
        """Make and train the members: each with a seed of its own, and another part of the data for validation.

        Parameters
        ----------
        make : called without arguments; returns a potential that is not trained yet. All have equal descriptors
        data : `Configurations`
            Described once for all members.
        members : how many
        seed : of the first member; the next ones count up. `manual_seed` is called with each
        settings : of `fit`

        Returns
        -------
        The committee; ``histories`` has the `History` of each.
        """
        if members < 2:
            raise ValueError(f"Committee: train at least two members, got members={members}")
        potentials: list[Potential] = []
        histories = []
        described = None
        loss = settings.get("loss")
        for number in range(seed, seed + members):
            manual_seed(number)
            potential = make()
            if described is None:
                wanted = loss is None or loss.force_weight > 0.0
                described = Described(potential, data, wanted, settings.get("dtype", "float32"))
            histories.append(fit(potential, described, seed=number, **settings))
            potentials.append(potential)
        committee = cls(potentials)
        committee.histories = tuple(histories)
        return committee

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems that the members were fitted to."""
        return self.potentials[0].systems

    def system(self, system: System | None = None) -> System:
        """Return the given system; or if None, the only one that the members were fitted to."""
        return self.potentials[0].system(system)

    def members(
        self, positions: ArrayLike, system: System | None = None, forces: bool = True
    ) -> tuple[Array, Array | None, NDArray[np.int64]]:
        """Compute the predictions of all members.

        Returns
        -------
        energy : (members, n), in eV
        forces : (members, n, atoms, 3), in eV/Å, or None
        outside : (members, n) int
        """
        system = self.system(system)
        x = system.check(positions)
        first = self.potentials[0]
        rows: list[list[Prediction]] = [[] for _ in self.potentials]
        for k in range(0, max(len(x), 1), CHUNK):
            shared = first.describe(x[k : k + CHUNK], system, jacobian=forces)
            for potential, row in zip(self.potentials, rows):
                alike = potential.describes_like(first)
                own = shared if alike else potential.describe(x[k : k + CHUNK], system, jacobian=forces)
                row.append(potential.predict_features(own, system))
        energy = np.array([np.concatenate([p.energy for p in row]) for row in rows])
        force = np.array([np.concatenate([p.forces for p in row]) for row in rows]) if forces else None
        return energy, force, np.array([np.concatenate([p.outside for p in row]) for row in rows])

    def predict(
        self, positions: ArrayLike, system: System | None = None, forces: bool = True, warn: bool = True
    ) -> Prediction:
        """Compute the mean of the members' energies and forces; parameters as for `Potential.predict`.

        ``outside`` is that of the member with the narrowest range.
        """
        energy, force, outside = self.members(positions, system, forces)
        most = outside.max(axis=0)
        if warn and most.any():
            features = self.potentials[0].feature_count(self.system(system))
            warnings.warn(extrapolation_message(most, features), ExtrapolationWarning, stacklevel=2)
        return Prediction(energy.mean(axis=0), None if force is None else force.mean(axis=0), most)

    def spread(self, positions: ArrayLike, system: System | None = None, forces: bool = True) -> Spread:
        """Compute the standard deviations of the members' energies, and of their force vectors."""
        energy, force, _ = self.members(positions, system, forces)
        of_forces = None if force is None else np.sqrt(force.var(axis=0, ddof=1).sum(axis=-1))
        return Spread(energy.std(axis=0, ddof=1), of_forces)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members to one safetensors file."""
        from tinynn.potentials import files

        files.save(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read a committee that `save` has written; errors as for `Potential.load`."""
        from tinynn.potentials import files

        return files.load(path, cls)

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.potentials)

    def __iter__(self) -> Iterator[Potential]:
        return iter(self.potentials)

    def __repr__(self) -> str:
        return f"Committee of {len(self)}: {self.potentials[0]!r}"
