"""`Calculator`, in the manner of ASE's tests of its own calculators."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import tinynn

pytest.importorskip("ase")
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.calculators.mixing import SumCalculator
from ase.calculators.test import gradient_test
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read, write
from ase.mep import NEB

from tinynn.potentials import (
    G2,
    G5,
    AtomicNetwork,
    Calculator,
    Committee,
    ExtrapolationError,
    ExtrapolationWarning,
    InverseDistances,
    MolecularNetwork,
    Potential,
    SymmetryFunctions,
    System,
)

WATER = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
CELL = np.diag([5.5, 5.5, 12.0])
SLAB = np.array([[0.0, 0.0, 0.0], [2.75, 0.0, 0.0], [0.0, 2.75, 0.0], [2.75, 2.75, 0.0]])


def scaled(potential: Any, system: System, about: np.ndarray) -> Any:
    """Scales, offsets and ranges from configurations around one; the first weights are as good as any."""
    rng = np.random.default_rng(0)
    positions = about + 0.15 * rng.standard_normal((60, *about.shape))
    energy = -20.0 + ((positions - about) ** 2).sum(axis=(1, 2))
    return potential.fit_scaling([(system, potential.describe(positions, system).values, energy)])


def atomic() -> Any:
    shells = [G2(z, eta=1.0, shift=s, cutoff=4.0) for z in ("H", "O") for s in (0.5, 1.0, 1.6)]
    angles = [G5(pair, eta=0.1, lambda_=s, cutoff=4.0) for pair in (("H", "H"), ("H", "O")) for s in (1, -1)]
    return scaled(AtomicNetwork(SymmetryFunctions(shells + angles), ["H", "O"], (8, 8)), System("OHH"), WATER)


def molecular() -> Any:
    return scaled(MolecularNetwork(InverseDistances(3), (12, 12)), System("OHH"), WATER)


def committee() -> Any:
    return Committee([molecular() for _ in range(3)])


def on_slab() -> Any:
    shells = [G2(z, eta=1.0, shift=s, cutoff=5.0) for z in ("Pd", "O") for s in (1.0, 2.0, 3.0)]
    system = System("OO", CELL, (True, True, False), ["Pd"] * 4, SLAB)
    about = np.array([[0.0, 0.0, 2.0], [0.0, 1.2, 2.2]])
    return scaled(AtomicNetwork(SymmetryFunctions(shells), ["O"], (8, 8)), system, about)


KINDS = {"atomic": atomic, "molecular": molecular, "committee": committee}


@pytest.fixture(params=KINDS)
def potential(request: pytest.FixtureRequest) -> Any:
    tinynn.manual_seed(1)
    return KINDS[request.param]()


@pytest.fixture
def water() -> Atoms:
    atoms = Atoms("OHH", WATER)
    atoms.rattle(0.05, seed=3)
    return atoms


class Counting(Calculator):
    """Counts its calculations."""

    count = 0

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1
        super().calculate(*args, **kwargs)


# ------------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("compiled", [True, False])
def test_energy_and_forces_are_those_of_the_potential(potential: Any, water: Atoms, compiled: bool) -> None:
    water.calc = Calculator(potential, compiled=compiled)
    for seed in range(4):  # twice eagerly, then by the compiled program
        water.rattle(0.02, seed=seed)
        energy, forces, outside = potential.predict(water.positions[None], System("OHH"), warn=False)
        assert water.get_potential_energy() == pytest.approx(energy[0], abs=1e-12)
        np.testing.assert_allclose(water.get_forces(), forces[0], atol=1e-12)
        assert water.calc.results["outside"] == outside[0]


@pytest.mark.parametrize("compiled", [True, False])
def test_forces_are_the_slope_of_the_energy(potential: Any, water: Atoms, compiled: bool) -> None:
    water.calc = Calculator(potential, on_extrapolation="ignore", compiled=compiled)
    forces, numerical = gradient_test(water)
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_allclose(forces, numerical, atol=1e-5)


def test_free_energy_is_the_energy(potential: Any, water: Atoms) -> None:
    water.calc = Calculator(potential)
    assert water.get_potential_energy() == water.get_potential_energy(force_consistent=True)
    assert isinstance(water.get_potential_energy(), float)


def test_it_compiles_by_itself_where_it_pays(water: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinynn.potentials.inference.PAYS_AFTER", 3)
    calculator = Calculator(molecular(), on_extrapolation="ignore")
    water.calc = calculator
    found = []
    for step in range(8):
        water.positions[1, 1] += 1e-9
        found.append(water.get_potential_energy())
        assert len(calculator._inference._runs) == (step >= 3)
    np.testing.assert_allclose(found, found[0], atol=1e-7)


def test_many_systems_are_not_kept(water: Atoms) -> None:
    """As in a relaxation of the cell: each step is another system."""
    calculator = Calculator(atomic(), on_extrapolation="ignore")
    water.calc, water.pbc = calculator, True
    for length in np.linspace(8.0, 9.0, 20):
        water.cell = np.diag([length, 9.0, 9.0])
        water.get_forces()
    assert len(calculator._inference._calls) == 8


def test_more_training_is_noticed_after_reset(water: Atoms) -> None:
    potential = molecular()
    water.calc = Calculator(potential, compiled=True)
    before = [water.get_potential_energy() for _ in range(4)][0]
    bias = list(potential.networks.parameters())[-1]
    bias.assign_(bias + 1.0)
    water.calc.reset()
    for _ in range(4):
        assert water.get_potential_energy() == pytest.approx(before + potential.scale.item(), abs=1e-9)
        water.calc.reset()


# ------------------------------------------------------------------------------------------- what ASE expects


def test_get_property(water: Atoms) -> None:
    calculator = Calculator(molecular())
    assert calculator.get_property("energy", water, allow_calculation=False) is None
    assert calculator.get_property("energy", water) == calculator.get_property("free_energy", water)
    assert calculator.get_property("forces").shape == (3, 3)
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        calculator.get_property("stress", water)
    calculator.get_property("forces")[:] = 7.0  # a copy
    assert not (calculator.results["forces"] == 7.0).any()
    assert not calculator.calculation_required(water, ["energy", "forces"])
    assert set(calculator.implemented_properties) == {"energy", "free_energy", "forces"}
    assert calculator.name == "tinynn"


def test_nothing_is_computed_twice(water: Atoms) -> None:
    calculator = Counting(molecular())
    water.calc = calculator
    for _ in range(3):
        water.get_potential_energy()
        water.get_forces()
        water.get_potential_energy(force_consistent=True)
    assert calculator.count == 1
    water.set_momenta(np.ones((3, 3)))
    water.set_initial_charges([1.0, 0.0, 0.0])  # the potential does not see them
    water.info["note"] = "something"
    water.get_forces()
    assert calculator.count == 1
    same = water.copy()
    calculator.get_potential_energy(same)
    assert calculator.count == 1


def test_changes_are_computed(water: Atoms) -> None:
    calculator = Counting(atomic(), on_extrapolation="ignore")
    water.calc = calculator
    assert calculator.check_state(water) == all_changes
    before = water.get_potential_energy()
    assert calculator.check_state(water) == []

    water.positions[1, 0] += 1e-10
    assert calculator.check_state(water) == ["positions"]
    assert water.get_potential_energy() != before
    assert calculator.count == 2

    water.cell = np.diag([9.0, 9.0, 9.0])
    assert calculator.check_state(water) == ["cell"]
    water.get_forces()
    water.pbc = True
    assert calculator.check_state(water) == ["pbc"]
    near = water.get_potential_energy()
    assert calculator.count == 4
    water.cell = np.diag([3.0, 9.0, 9.0])
    assert abs(water.get_potential_energy() - near) > 1e-6  # the molecules see each other now

    water.numbers[0] = 1
    assert calculator.check_state(water) == ["numbers"]
    water.get_forces()
    del water[2]
    assert water.get_forces().shape == (2, 3)
    assert calculator.count == 7


def test_two_atoms_share_a_calculator(water: Atoms) -> None:
    calculator = Counting(molecular(), on_extrapolation="ignore")
    other = water.copy()
    other.rattle(0.05, seed=9)
    water.calc = other.calc = calculator
    found = [(atoms.get_potential_energy(), atoms.get_forces()) for atoms in (water, other, water, other)]
    assert calculator.count == 4
    assert found[0][0] == found[2][0] != found[1][0] == found[3][0]
    np.testing.assert_array_equal(found[0][1], found[2][1])


def test_a_failed_calculation_leaves_nothing_behind(water: Atoms) -> None:
    water.calc = Calculator(molecular())
    energy = water.get_potential_energy()
    positions = water.positions.copy()
    water.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        water.get_potential_energy()
    with pytest.raises(ValueError, match="NaN"):
        water.get_forces()
    water.positions = positions
    assert water.get_potential_energy() == energy


@pytest.mark.parametrize("make", [atomic, molecular])
def test_atoms_at_the_same_place(water: Atoms, make: Any) -> None:
    for compiled in (False, True):
        water.calc = Calculator(make(), on_extrapolation="ignore", compiled=compiled)
        for _ in range(3):
            water.rattle(0.01, seed=5)
            water.get_forces()
        water.positions[2] = water.positions[1]
        with pytest.raises(ValueError, match=r"atom [12] lies at the place of"):
            water.get_forces()
        water.positions[:] = WATER
        water.get_forces()


def test_constraints(water: Atoms) -> None:
    water.calc = Calculator(atomic(), on_extrapolation="ignore")
    free = water.get_forces()
    energy = water.get_potential_energy()
    water.set_constraint(FixAtoms([0]))
    np.testing.assert_array_equal(water.get_forces()[0], 0.0)
    np.testing.assert_array_equal(water.get_forces(apply_constraint=False), free)
    assert water.get_potential_energy() == energy  # a held atom still has its share of the energy
    water.set_constraint(FixBondLength(0, 1))
    water.get_forces()


def test_atoms_in_any_order(water: Atoms) -> None:
    calculator = Calculator(atomic(), on_extrapolation="ignore")
    energy, forces = calculator.get_potential_energy(water), calculator.get_forces(water)
    order = [2, 0, 1]
    assert calculator.get_potential_energy(water[order]) == pytest.approx(energy, abs=1e-12)
    np.testing.assert_allclose(calculator.get_forces(water[order]), forces[order], atol=1e-12)
    two = water + water
    two.positions[3:] += 20.0
    assert calculator.get_potential_energy(two) == pytest.approx(2 * energy, abs=1e-11)


def test_periodic_cells() -> None:
    """A molecule across the boundary is the one in the middle."""
    tinynn.manual_seed(1)
    water = Atoms("OHH", WATER + 4.0, cell=[8.0, 8.0, 8.0], pbc=True)
    water.calc = Calculator(atomic(), on_extrapolation="ignore")
    energy, forces = water.get_potential_energy(), water.get_forces()
    water.positions += [3.7, 0.0, 4.1]
    water.wrap()
    assert water.get_potential_energy() == pytest.approx(energy, abs=1e-11)
    np.testing.assert_allclose(water.get_forces(), forces, atol=1e-11)


def test_other_tools_of_ase(potential: Any, water: Atoms) -> None:
    """Sums of calculators, exported properties, nudged elastic bands."""
    water.calc = calculator = Calculator(potential, on_extrapolation="ignore")
    forces = water.get_forces()
    exported = calculator.export_properties()
    assert {"energy", "free_energy", "forces"} <= exported.keys() <= {"energy", "free_energy", "forces", "natoms"}
    both = water.copy()
    both.calc = SumCalculator([calculator, Calculator(potential, on_extrapolation="ignore")])
    np.testing.assert_allclose(both.get_forces(), 2 * forces, atol=1e-12)

    images = [water.copy() for _ in range(4)]
    images[-1].positions[1:] = images[-1].positions[[2, 1]]
    for image in images:
        image.calc = Calculator(potential, on_extrapolation="ignore")
    band = NEB(images, method="improvedtangent")
    band.interpolate()
    assert band.get_forces().shape == (6, 3)


def test_results_go_into_files(water: Atoms, tmp_path: Any, potential: Any) -> None:
    water.calc = Calculator(potential)
    forces = water.get_forces()
    for name in ("frame.extxyz", "frame.traj"):
        write(tmp_path / name, water)
        back = read(tmp_path / name)
        assert back.get_potential_energy() == pytest.approx(water.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(back.get_forces(), forces, atol=1e-7)


# -------------------------------------------------------------------------------------------- copies and pickles


def test_copies_and_pickles(potential: Any, water: Atoms) -> None:
    water.calc = Calculator(potential, on_extrapolation="ignore", compiled=True)
    energy = [water.get_potential_energy() for _ in range(3)][0]
    water.get_forces()
    for other in (copy.deepcopy(water.calc), pickle.loads(pickle.dumps(water.calc)), copy.copy(water.calc)):
        assert other.results["energy"] == energy
        assert other.on_extrapolation == "ignore"
        assert not other.check_state(water) or other.atoms is not None
        moved = water.copy()
        moved.calc = other
        moved.positions[0, 2] += 0.01
        assert moved.get_potential_energy() != energy
        assert water.get_potential_energy() == energy
        moved.positions[0, 2] = water.positions[0, 2]
        assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-11)
    twin = copy.deepcopy(water)
    assert twin.calc is not water.calc
    assert twin.get_potential_energy() == pytest.approx(energy, abs=1e-11)


def energy_of(atoms: Atoms) -> float:
    return atoms.get_potential_energy()


def test_processes(water: Atoms) -> None:
    calculator = Calculator(molecular(), on_extrapolation="ignore")
    frames = []
    for seed in range(4):
        frame = water.copy()
        frame.rattle(0.05, seed=seed)
        frame.calc = calculator
        frames.append(frame)
    pickled = [pickle.dumps(frame) for frame in frames]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(calculator.get_potential_energy, [pickle.loads(p) for p in pickled])
    np.testing.assert_allclose(found, [frame.get_potential_energy() for frame in frames], atol=1e-11)


# ------------------------------------------------------------------------------------------------ extrapolation


def test_extrapolation(potential: Any, water: Atoms) -> None:
    far = water.copy()
    far.positions[1] *= 2.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calculator = Calculator(potential)
        calculator.get_potential_energy(Atoms("OHH", WATER))
        assert calculator.results["outside"] == 0
        Calculator(potential, on_extrapolation="ignore").get_potential_energy(far)

    def go_on(calculator: Calculator) -> None:
        for _ in range(2):
            far.positions[1] += 0.1
            calculator.get_potential_energy(far)

    with pytest.warns(ExtrapolationWarning, match="of its .* features") as caught:
        go_on(calculator)
    assert len(caught) == 1
    assert calculator.results["outside"] > 0

    with pytest.warns(ExtrapolationWarning) as caught:
        go_on(Calculator(potential, on_extrapolation="always"))
    assert len(caught) == 2

    strict = Calculator(potential, on_extrapolation="raise")
    for _ in range(2):  # there are no results that the second question could be answered by
        with pytest.raises(ExtrapolationError, match="outside of the range of training"):
            strict.get_potential_energy(far)
    with pytest.raises(ValueError, match="on_extrapolation must be one of"):
        Calculator(potential, on_extrapolation="panic")


def test_spread_of_a_committee(water: Atoms) -> None:
    tinynn.manual_seed(1)
    members = committee()
    calculator = Calculator(members, compiled=True)
    water.calc = calculator
    spread = members.spread(water.positions[None], System("OHH"))
    for _ in range(3):
        calculator.reset()
        water.get_forces()
        assert calculator.get_property("energy_std", water) == pytest.approx(spread.energy[0], abs=1e-12)
        np.testing.assert_allclose(calculator.get_property("forces_std", water), spread.forces[0], atol=1e-12)
    with pytest.raises(PropertyNotImplementedError):
        Calculator(members.potentials[0]).get_property("energy_std", water)


def test_members_of_a_committee_may_see_other_features(water: Atoms) -> None:
    tinynn.manual_seed(1)
    mixed = Committee([atomic(), molecular()])
    energy, forces, _ = mixed.predict(water.positions[None], System("OHH"), warn=False)
    water.calc = Calculator(mixed, on_extrapolation="ignore", compiled=True)
    for _ in range(3):
        water.calc.reset()
        assert water.get_potential_energy() == pytest.approx(energy[0], abs=1e-12)
        np.testing.assert_allclose(water.get_forces(), forces[0], atol=1e-12)


# ------------------------------------------------------------------------------------------------------ errors


def test_unknown_elements(water: Atoms) -> None:
    for make in (atomic, molecular):
        calculator = Calculator(make())
        with pytest.raises(ValueError, match="S"):
            calculator.get_potential_energy(Atoms("SHH", WATER))
    with pytest.raises(ValueError, match="fitted to"):
        Calculator(molecular()).get_potential_energy(water[[1, 0, 2]])  # another order
    with pytest.raises(ValueError):
        Calculator(atomic()).get_potential_energy(Atoms())


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="Potential or a Committee, not a float"):
        Calculator(1.0)


def test_it_loads_from_a_file(water: Atoms, tmp_path: Any) -> None:
    potential = atomic()
    potential.save(tmp_path / "water.safetensors")
    again = Calculator(Potential.load(tmp_path / "water.safetensors"))
    assert again.get_potential_energy(water) == Calculator(potential).get_potential_energy(water)


def test_without_ase_the_message_says_what_to_install() -> None:
    """In a process of its own, in which ASE cannot be imported."""
    program = """
import sys
sys.modules["ase"] = sys.modules["ase.calculators"] = sys.modules["ase.calculators.calculator"] = None
from tinynn.potentials import Calculator, Potential
try:
    Calculator(None)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "tinynn[potentials]" in done.stdout
    program = "import sys, tinynn.potentials; print('ase' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ------------------------------------------------------------------------------------- atoms that stand still


@pytest.fixture
def slab() -> Any:
    tinynn.manual_seed(1)
    return on_slab()


O2 = np.array([[0.1, 0.2, 2.1], [0.0, 1.3, 2.3]])


def test_with_the_slab_and_without_it(slab: Any) -> None:
    energy, forces, _ = slab.predict(O2[None], warn=False)
    calculator = Calculator(slab, on_extrapolation="ignore")
    alone = Atoms("O2", O2)
    above = Atoms("Pd4O2", np.concatenate([SLAB, O2]), cell=CELL, pbc=(1, 1, 0))
    below = Atoms("OPd4O", np.concatenate([O2[:1], SLAB, O2[1:]]), cell=CELL, pbc=(1, 1, 0))
    for atoms, molecule in ((alone, [0, 1]), (above, [4, 5]), (below, [0, 5])):
        for held in (False, True):
            still = [i for i in range(len(atoms)) if i not in molecule]
            atoms.set_constraint(FixAtoms(still) if held and still else None)
            assert calculator.get_potential_energy(atoms) == pytest.approx(energy[0], abs=1e-12)
            found = calculator.get_forces(atoms)
            np.testing.assert_allclose(found[molecule], forces[0], atol=1e-12)
            np.testing.assert_array_equal(found[still], 0.0)


def test_another_slab_than_that_of_the_training(slab: Any) -> None:
    """Twice as wide with a second molecule far away: twice the energy. And a slab that moved is another one."""
    calculator = Counting(slab, on_extrapolation="ignore")
    small = Atoms("Pd4O2", np.concatenate([SLAB, O2]), cell=CELL, pbc=(1, 1, 0))
    small.calc = calculator
    energy = small.get_potential_energy()
    assert calculator.get_potential_energy(small.repeat((2, 1, 1))) == pytest.approx(2 * energy, abs=1e-11)
    small.positions += [0.0, 0.0, 0.5]
    assert small.get_potential_energy() == pytest.approx(energy, abs=1e-11)
    small.positions[:4] += [0.0, 0.0, 0.1]
    assert abs(small.get_potential_energy() - energy) > 1e-8
    assert calculator.count == 4


def test_an_element_that_moves_and_stands_still() -> None:
    """Then what is held stands still, or what is not named in ``moving``."""
    shells = SymmetryFunctions([G2("O", eta=1.0, shift=s, cutoff=4.0) for s in (1.0, 2.0)])
    system = System("O", frozen_numbers="O", frozen_positions=np.zeros((1, 3)))
    potential = scaled(AtomicNetwork(shells, ["O"], (8,)), system, np.array([[0.0, 0.0, 1.2]]))
    atoms = Atoms("O2", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.3]])
    expected = potential.predict(atoms.positions[None, 1:], system, warn=False)

    calculator = Calculator(potential, on_extrapolation="ignore")
    free = calculator.get_potential_energy(atoms)
    atoms.set_constraint(FixAtoms([0]))
    assert calculator.check_state(atoms) == ["constraints"]
    held = calculator.get_potential_energy(atoms)
    assert held == pytest.approx(expected.energy[0], abs=1e-12)
    assert free != held
    atoms.set_constraint()
    named = Calculator(potential, moving=[1], on_extrapolation="ignore")
    assert named.get_potential_energy(atoms) == held
    np.testing.assert_allclose(named.get_forces(atoms), [[0.0, 0.0, 0.0], expected.forces[0, 0]], atol=1e-12)
    with pytest.raises(ValueError, match="moving must be different indices"):
        Calculator(potential, moving=[1, 1]).get_potential_energy(atoms)
    with pytest.raises(ValueError, match="moving must be different indices"):
        Calculator(potential, moving=[2]).get_potential_energy(atoms)


def test_the_cell_must_be_that_of_the_atoms_that_are_added(slab: Any) -> None:
    calculator = Calculator(slab, on_extrapolation="ignore")
    given = Atoms("O2", O2, cell=CELL, pbc=(1, 1, 0))
    assert calculator.get_potential_energy(given) == calculator.get_potential_energy(Atoms("O2", O2))
    with pytest.raises(ValueError, match="give the atoms that stand still as well"):
        calculator.get_potential_energy(Atoms("O2", O2, cell=2 * CELL, pbc=(1, 1, 0)))
    with pytest.raises(ValueError, match="H"):
        calculator.get_potential_energy(Atoms("OH", O2))
