"""Systems: elements, cells, atoms that stand still."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from tinynn.potentials import System
from tinynn.potentials.elements import SYMBOLS, atomic_number, symbol_of
from tinynn.potentials.system import moving_atoms

SLAB = {"frozen_numbers": ["Pd", "Pd"], "frozen_positions": [[0.0, 0.0, 0.0], [1.4, 1.4, -2.0]]}
CELL = np.diag([2.8, 2.8, 20.0])


def test_symbols_and_numbers_are_the_same():
    assert System("OHH") == System(["O", "H", "H"]) == System([8, 1, 1]) == System(np.array([8, 1, 1]))
    assert System("PdO").symbols == ("Pd", "O")
    assert System("OO", **SLAB).frozen_symbols == ("Pd", "Pd")
    assert len(SYMBOLS) == 119
    assert [atomic_number(s) for s in ("H", "Pd", "Og")] == [1, 46, 118]
    assert symbol_of(np.int64(78)) == "Pt"


def test_systems_are_compared_by_value_and_can_be_keys():
    a = System("OO", CELL, (True, True, False), **SLAB)
    b = System([8, 8], CELL.tolist(), [1, 1, 0], **SLAB)
    assert a == b
    assert len({a: 1, b: 2}) == 1
    assert a != System("OO", CELL, True, **SLAB)
    assert a != System("OO", 1.01 * CELL, (True, True, False), **SLAB)
    assert a != "OO"


def test_a_minus_zero_is_a_zero():
    cell = np.diag([5.0, 5.0, 5.0])
    one = System("O", cell, True, ["Pd"], [[0.0, 0.0, 0.0]])
    other = System("O", np.where(cell == 0.0, -0.0, cell), True, ["Pd"], [[-0.0, 0.0, 0.0]])
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_are_equal_and_cannot_be_written_to(copied):
    system = System("OO", CELL, True, **SLAB)
    other = copied(system)
    assert other == system
    with pytest.raises(ValueError, match="read-only"):
        other.frozen_positions[0] = 1.0
    with pytest.raises(AttributeError):
        other.numbers = (1,)


def test_what_is_given_is_not_changed_and_not_shared():
    frozen = np.zeros((1, 3))
    system = System("O", frozen_numbers=["Pd"], frozen_positions=frozen)
    frozen[0] = 7.0
    assert system.frozen_positions.max() == 0.0


def test_composition():
    assert System("OHH").composition([1, 6, 8]).tolist() == [2.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "numbers is empty"),
        ((["Qq"],), "no element 'Qq'"),
        (([1.5],), "a symbol such as 'Pd' or an atomic number"),
        (([200],), "no element with the atomic number 200"),
        (("ohh",), "no row of chemical symbols"),
        (("O", np.eye(2)), r"shape \(3, 3\), got \(2, 2\)"),
        (("O", None, True), "there is no cell"),
        (("O", np.diag([1.0, np.nan, 1.0]), True), "cell must be finite"),
        (("O", np.diag([1.0, 0.0, 1.0]), True), "not independent"),
        (("O", CELL, "xyz"), "pbc must be a bool or three"),
        (("O", CELL, True, ["Pd"]), r"frozen_positions must have shape \(1, 3\)"),
        (("O", CELL, True, ["Pd"], [[np.inf, 0, 0]]), "frozen_positions must be finite"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        System(*arguments)


def test_a_direction_that_is_not_periodic_needs_no_vector():
    assert System("O", np.diag([3.0, 3.0, 0.0]), (True, True, False)).pbc == (True, True, False)


def test_positions_are_checked():
    system = System("OO")
    assert system.check([[[0, 0, 0], [0, 0, 1]]]).dtype == np.float64
    with pytest.raises(ValueError, match=r"positions\[None\]"):
        system.check(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"must have shape \(n, 2, 3\).*got \(4, 3, 3\)"):
        system.check(np.zeros((4, 3, 3)))
    bad = np.zeros((4, 2, 3))
    bad[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 4 configurations, the first is number 2"):
        system.check(bad)


class TestAtoms:
    @pytest.fixture
    def slab(self):
        build = pytest.importorskip("ase.build")
        slab = build.fcc100("Pd", (2, 2, 2), a=3.9, vacuum=6.0)
        build.add_adsorbate(slab, "O", 1.2, "hollow")
        return slab

    def test_molecule(self):
        build = pytest.importorskip("ase.build")
        assert System.from_atoms(build.molecule("H2O")) == System("OHH")

    def test_all_atoms_move_where_nothing_holds_them(self, slab):
        system = System.from_atoms(slab)
        assert len(system) == 9
        assert system.pbc == (True, True, False)
        np.testing.assert_allclose(system.cell, slab.cell[:])

    def test_fixed_atoms_stand_still(self, slab):
        from ase.constraints import FixAtoms

        slab.set_constraint(FixAtoms(range(4)))
        system = System.from_atoms(slab)
        assert system.symbols == ("Pd",) * 4 + ("O",)
        np.testing.assert_array_equal(system.frozen_positions, slab.positions[:4])
        np.testing.assert_array_equal(moving_atoms(slab), [4, 5, 6, 7, 8])

    def test_frozen_by_indices_or_bools(self, slab):
        by_index = System.from_atoms(slab, frozen=range(8))
        assert by_index == System.from_atoms(slab, frozen=slab.symbols == "Pd")
        assert by_index.symbols == ("O",)
        with pytest.raises(ValueError, match="3 bools for 9 atoms"):
            moving_atoms(slab, [True, False, True])
        with pytest.raises(ValueError, match="indices of the 9 atoms"):
            moving_atoms(slab, [12])
