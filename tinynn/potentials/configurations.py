"""`Configurations`: positions with energies and forces, of one or several systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.data.split import random_split
from tinynn.potentials.checks import require_finite
from tinynn.potentials.system import System, moving_atoms

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
EMPTY = "there are no configurations: the set, or a part of a split, is empty"


@dataclass(frozen=True)
class Group:
    """The configurations of one system; ``places`` say where they are in the whole set."""

    system: System
    positions: Array
    energy: Array
    forces: Array | None
    places: Rows


class Configurations:
    """Positions, energies and, where they are known, forces, of one or several systems.

    Parameters
    ----------
    system : `System`
    positions : (n, atoms, 3), of the atoms that move, in Å
    energy : (n,), in eV
    forces : (n, atoms, 3), in eV/Å; optional

    Attributes
    ----------
    groups : tuple of `Group`, the configurations by system
    systems : their systems
    energy : (n,), of all, in the order in which they were given

    Raises
    ------
    ValueError
        If there are none, shapes do not fit each other, or a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((10, 2, 3))
    >>> x[:, 1, 2] = np.linspace(1.0, 2.0, 10)
    >>> data = Configurations(System("OO"), x, energy=np.zeros(10))
    >>> data
    Configurations(10 of O2; energies)
    >>> train, test = data.split([0.8, 0.2], seed=0)
    >>> len(train), len(test), len(data[:3])
    (8, 2, 3)
    """

    def __init__(
        self, system: System, positions: ArrayLike, energy: ArrayLike, forces: ArrayLike | None = None
    ) -> None:
        if not isinstance(system, System):
            raise TypeError(f"system must be a tinynn.potentials.System, not a {type(system).__name__}")
        self._collect([_group(system, positions, energy, forces)])

    @classmethod
    def from_atoms(
        cls, frames: Iterable[Any], frozen: ArrayLike | None = None, forces: bool | None = None
    ) -> Configurations:
        """Read a list of `ase.Atoms` that have energies and forces, as `ase.io.read("file.extxyz", ":")` gives.

        Frames of the same elements, cell and atoms that stand still are one `System`.

        Parameters
        ----------
        frames : ase.Atoms, with calculators that hold the energy and the forces
        frozen : indices or bools, optional
            Atoms that stand still in all frames; by default those that `FixAtoms` holds.
        forces : whether there must be forces; by default they are read where all frames have them

        Raises
        ------
        ValueError
            If a frame has no energy, or its calculator has computed other positions since: frames that share a
            calculator all have the energy of the last one.
        """
        places: dict[System, list[int]] = {}
        rows: list[tuple[Array, float, Array | None]] = []
        if hasattr(frames, "get_positions"):
            raise TypeError("give a list of frames, not one: ase.io.read(file, ':') reads all, and [atoms] is a list")
        for number, atoms in enumerate(frames):
            results = getattr(atoms.calc, "results", None) or {}
            if "energy" not in results:
                raise ValueError(
                    f"frame {number} has no energy: its calculator holds {sorted(results) or 'nothing'}. In an extxyz "
                    "file the second line says energy=..., and forces are a column forces:R:3; "
                    "to compute them, call atoms.get_forces() before"
                )
            if not _computed_for(atoms):
                raise ValueError(
                    f"frame {number} is not what its calculator has computed last: the energy is that of other atoms, "
                    "positions or cell. Where frames share a calculator, or were changed afterwards, keep the results "
                    "of each: atoms.calc = SinglePointCalculator(atoms, energy=..., forces=...)"
                )
            moving = moving_atoms(atoms, frozen)
            if not np.isfinite(atoms.positions[moving]).all():
                raise ValueError(f"positions must be finite; NaN or infinity in frame {number}")
            force = np.asarray(results["forces"], np.float64)[moving] if "forces" in results else None
            if force is None and forces:
                raise ValueError(f"frame {number} has no forces; leave it out, or read energies alone: forces=False")
            places.setdefault(System.from_atoms(atoms, frozen), []).append(number)
            rows.append((atoms.get_positions()[moving], float(results["energy"]), force))
        known = all(force is not None for *_, force in rows) if forces is None else forces
        groups = []
        for system, numbers in places.items():
            x, e, f = (list(column) for column in zip(*(rows[k] for k in numbers)))
            groups.append(_group(system, x, e, f if known else None, np.array(numbers)))
        made = cls.__new__(cls)
        made._collect(groups)
        return made

    @classmethod
    def joined(cls, sets: Sequence[Configurations]) -> Configurations:
        """Make one set of several, in their order."""
        starts = np.cumsum([0, *(len(one) for one in sets)])
        made = cls.__new__(cls)
        made._collect([replace(g, places=g.places + start) for one, start in zip(sets, starts) for g in one.groups])
        return made

    def _collect(self, groups: Sequence[Group]) -> None:
        """Keep the groups, one for each system."""
        by_system: dict[System, list[Group]] = {}
        for group in groups:
            by_system.setdefault(group.system, []).append(group)
        if not groups:
            raise ValueError(EMPTY)
        if len({g.forces is None for g in groups}) > 1:
            raise ValueError("some configurations have forces and others have none; put them into sets of their own")
        self.groups = tuple(_merged(several) for several in by_system.values())

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems, in the order in which they came."""
        return tuple(group.system for group in self.groups)

    @property
    def energy(self) -> Array:
        """Energies (n,) of all configurations, in their order."""
        out = np.empty(len(self))
        for group in self.groups:
            out[group.places] = group.energy
        return out

    @property
    def has_forces(self) -> bool:
        """Whether forces are known."""
        return self.groups[0].forces is not None

    def __len__(self) -> int:
        """Return the number of configurations."""
        return sum(len(group.energy) for group in self.groups)

    def __getitem__(self, chosen: Any) -> Configurations:
        """Choose some: a slice, indices, or one bool per configuration."""
        rows = np.arange(len(self))[chosen]
        if rows.ndim != 1:
            raise TypeError(f"choose configurations by a slice or indices such as data[[{chosen}]]")
        groups = []
        for group in self.groups:
            place = np.full(len(self), -1)
            place[group.places] = np.arange(len(group.places))
            numbers = np.flatnonzero(place[rows] >= 0)
            at = place[rows[numbers]]
            if len(at):
                forces = None if group.forces is None else group.forces[at]
                groups.append(Group(group.system, group.positions[at], group.energy[at], forces, numbers))
        made = Configurations.__new__(Configurations)
        made._collect(groups)
        return made

    def split(self, lengths: Sequence[float], seed: int = 0) -> tuple[Configurations, ...]:
        """Divide at random into parts, such as training, validation and test.

        Parameters
        ----------
        lengths : numbers of configurations that add up to all, or fractions that add up to 1
        seed : of the division

        Raises
        ------
        ValueError
            If they do not add up, or a part would be empty.
        """
        parts = random_split(range(len(self)), lengths, seed=seed)
        return tuple(self[np.sort(part.indices)] for part in parts)

    def to_atoms(self) -> list[Any]:
        """Make a list of `ase.Atoms` with energies and forces, as `ase.io.write("file.extxyz", ...)` takes it.

        Atoms that stand still come last, and are held by `FixAtoms`.
        """
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.constraints import FixAtoms

        frames: list[Any] = [None] * len(self)
        for group in self.groups:
            system, moving = group.system, len(group.system)
            still = len(system.frozen_numbers)
            for k, number in enumerate(group.places):
                x = np.concatenate([group.positions[k], system.frozen_positions])
                atoms = Atoms([*system.numbers, *system.frozen_numbers], x, cell=system.cell, pbc=system.pbc)
                results = {"energy": float(group.energy[k])}
                if group.forces is not None:
                    results["forces"] = np.concatenate([group.forces[k], np.zeros((still, 3))])  # type: ignore[assignment]
                if still:
                    atoms.set_constraint(FixAtoms(range(moving, moving + still)))
                atoms.calc = SinglePointCalculator(atoms, **results)
                frames[number] = atoms
        return frames

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(g.energy)} of {str(g.system)[7:-1]}" for g in self.groups[:4])
        more = f", and {len(self.groups) - 4} other systems" if len(self.groups) > 4 else ""
        return f"Configurations({counts}{more}; energies{' and forces' if self.has_forces else ''})"


def _computed_for(atoms: Any) -> bool:
    """Whether the results of a frame's calculator are its own, but for a translation and lattice vectors."""
    was = getattr(atoms.calc, "atoms", None)
    if was is None:  # the calculator does not say
        return True
    if not np.array_equal(was.numbers, atoms.numbers):
        return False
    if was.pbc.any() and atoms.pbc.any() and not np.allclose(was.cell.array, atoms.cell.array, atol=1e-6):
        return False
    moved = atoms.positions - was.positions
    if not moved.any() or not np.isfinite(moved).all():
        return True
    moved -= moved[0]
    if atoms.pbc.any():
        from ase.geometry import find_mic

        moved = find_mic(moved, atoms.cell, atoms.pbc)[0]
    return bool(np.abs(moved).max() < 1e-6)


def _group(system: System, positions: Any, energy: Any, forces: Any, places: Rows | None = None) -> Group:
    """Check the configurations of a system, and copy them: the caller may go on to use the arrays."""
    x = np.array(system.check(positions))
    e = np.array(energy, np.float64)
    if e.shape != (len(x),):
        raise ValueError(f"energy must have shape ({len(x)},), one for each of the positions; got {e.shape}")
    f = None if forces is None else np.array(forces, np.float64)
    if f is not None and f.shape != x.shape:
        raise ValueError(f"forces must have the shape of the positions, {x.shape}; got {f.shape}")
    if not len(x):
        raise ValueError(EMPTY)
    places = np.arange(len(x)) if places is None else places
    require_finite("energy", e, places)
    if f is not None:
        require_finite("forces", f, places)
    return Group(system, x, e, f, places)


def _merged(groups: Sequence[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    forces = [g.forces for g in groups if g.forces is not None]
    return Group(
        groups[0].system,
        np.concatenate([g.positions for g in groups]),
        np.concatenate([g.energy for g in groups]),
        np.concatenate(forces) if forces else None,
        np.concatenate([g.places for g in groups]),
    )
