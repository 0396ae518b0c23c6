"""Which atoms of an `ase.Atoms` a potential moves, and which stand still for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.potentials.system import System, moving_atoms

Indices = NDArray[np.int64]


class Layout:
    """An `ase.Atoms` as a potential sees it.

    Parameters
    ----------
    atoms : ase.Atoms
    potential : `Potential` or `Committee`
    moving : sequence of int, optional
        The atoms that move, in the potential's order. Without it they are found: if all configurations of the
        training were without atoms that stand still, all move. Else those stand still that are of an element that
        has no network, and, where an element was seen both moving and standing still, those that `FixAtoms` holds.
        If none is left that stands still, they are those of the training, unless the training had these atoms alone.

    Attributes
    ----------
    system : `System`
    moving : (n,) indices of the atoms that move

    Raises
    ------
    ValueError
        If the potential is not made for these atoms.
    """

    def __init__(self, atoms: Any, potential: Any, moving: Sequence[int] | None = None) -> None:
        self.numbers: Indices = atoms.numbers.copy()
        self.cell = atoms.cell.array.copy()
        self.pbc = atoms.pbc.copy()
        self._asks_constraints = False
        self.moving = self._moving(atoms, potential, moving)
        self.still = np.setdiff1d(np.arange(len(atoms)), self.moving)
        self.still_at = atoms.positions[self.still]
        self.system = self._system(potential)

    def changes(self, atoms: Any) -> list[str]:
        """Name what is not as it was, in ASE's words, but for the positions of the atoms that move."""
        found = []
        if not np.array_equal(atoms.numbers, self.numbers):
            return ["numbers"]
        if atoms.cell.array.tobytes() != self.cell.tobytes():
            found.append("cell")
        if atoms.pbc.tobytes() != self.pbc.tobytes():
            found.append("pbc")
        if len(self.still) and not np.array_equal(atoms.positions[self.still], self.still_at):
            found.append("positions")
        if self._asks_constraints and not np.array_equal(moving_atoms(atoms), self.moving):
            found.append("constraints")
        return found

    def _moving(self, atoms: Any, potential: Any, given: Sequence[int] | None) -> Indices:
        every = np.arange(len(atoms))
        if given is not None:
            chosen = np.asarray(given, np.int64)
            if len(np.unique(chosen)) < len(chosen) or not np.isin(chosen, every).all():
                raise ValueError(f"moving must be different indices of the {len(atoms)} atoms, got {chosen.tolist()}")
            return chosen
        stood = {z for system in potential.systems for z in system.frozen_numbers}
        moved = {z for system in potential.systems for z in system.numbers}
        if not stood or any(tuple(atoms.numbers.tolist()) == system.numbers for system in potential.systems):
            return every
        if stood & moved:
            self._asks_constraints = True
            return moving_atoms(atoms)
        return every[~np.isin(atoms.numbers, list(stood))]

    def _system(self, potential: Any) -> System:
        numbers = self.numbers[self.moving].tolist()
        cell = self.cell if self.pbc.any() else None
        given = System(numbers, cell, self.pbc, self.numbers[self.still].tolist(), self.still_at)
        alike = [system for system in potential.systems if list(system.numbers) == numbers]
        if len(self.still) or given in alike or not any(system.frozen_numbers for system in alike):
            return given
        return self._of_training(given, alike)

    def _of_training(self, given: System, alike: Sequence[System]) -> System:
        """Return the system of the training, with its atoms that stand still, if the cell is not another."""
        slabs = [system for system in alike if system.frozen_numbers]
        alone = len(slabs) < len(alike)  # in training these atoms were without any that stand still, too
        if self.pbc.any() or self.cell.any():
            fit = [s for s in slabs if s.cell is not None and np.allclose(self.cell, s.cell, atol=1e-6)]
        else:
            fit = [] if alone else slabs
        if len(fit) > 1:
            raise ValueError(
                f"in training there were {len(fit)} systems like {fit[0]} that differ in the atoms that stand "
                "still or in the cell; give the atoms that stand still as well"
            )
        if not fit and not alone:
            raise ValueError(
                f"the atoms that stand still in {slabs[0]} are added where they were in training, but the cell is\n"
                f"{self.cell}\nrather than\n{slabs[0].cell}; give the atoms that stand still as well, or no cell"
            )
        return fit[0] if fit else given
