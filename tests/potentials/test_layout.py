"""`Layout`: which of the training's systems is meant by the atoms that move alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ase")
from ase import Atoms

from tinynn.potentials import System
from tinynn.potentials.layout import Layout

SMALL, LARGE = np.diag([5.5, 5.5, 12.0]), np.diag([6.0, 6.0, 12.0])
PBC = (True, True, False)
ON_SMALL = System("OO", SMALL, PBC, ["Pd"], [[0.0, 0.0, 0.0]])
ON_LARGE = System("OO", LARGE, PBC, ["Pd"], [[1.0, 1.0, 0.0]])
MOVED_SLAB = System("OO", SMALL, PBC, ["Pd"], [[0.5, 0.0, 0.0]])
GAS = System("OO")


def seen(*systems: System, cell: np.ndarray | None = None) -> System:
    atoms = Atoms("OO", [[0.0, 0.0, 2.0], [0.0, 1.2, 2.2]], cell=cell, pbc=PBC if cell is not None else False)
    return Layout(atoms, SimpleNamespace(systems=systems)).system


def test_of_several_slabs_the_one_with_this_cell() -> None:
    assert seen(ON_SMALL, ON_LARGE, cell=SMALL) == ON_SMALL
    assert seen(ON_SMALL, ON_LARGE, cell=LARGE) == ON_LARGE


def test_slabs_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 systems like .* give the atoms that stand still as well"):
        seen(ON_SMALL, ON_LARGE)
    with pytest.raises(ValueError, match="2 systems like"):
        seen(ON_SMALL, MOVED_SLAB, cell=SMALL)


def test_a_molecule_that_was_in_the_training_without_a_slab_gets_none() -> None:
    assert seen(ON_SMALL, GAS) == GAS
    assert seen(ON_SMALL, GAS, cell=SMALL) == ON_SMALL
    assert seen(ON_SMALL, GAS, cell=LARGE) == System("OO", LARGE, PBC)
    in_a_box = System("OO", LARGE, True)
    assert seen(ON_SMALL, in_a_box) == GAS
