"""Sets of configurations: splits, several systems, files of ASE, and what is wrong with data."""

from __future__ import annotations

import numpy as np
import pytest

from tinynn.potentials import Configurations, System

RNG = np.random.default_rng(0)
WATER, OXYGEN = System("OHH"), System("OO")


def some(system, n, forces=True, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(system), 3))
    return Configurations(system, x, rng.normal(size=n), rng.normal(size=x.shape) if forces else None)


def test_choosing_keeps_positions_energies_and_forces_together():
    data = some(WATER, 10)
    part = data[[7, 2, 5]]
    assert len(part) == 3
    np.testing.assert_array_equal(part.energy, data.energy[[7, 2, 5]])
    np.testing.assert_array_equal(part.groups[0].positions, data.groups[0].positions[[7, 2, 5]])
    np.testing.assert_array_equal(part.groups[0].forces, data.groups[0].forces[[7, 2, 5]])
    assert len(data[2:9:3]) == 3
    assert len(data[data.energy > 0]) == np.count_nonzero(data.energy > 0)
    with pytest.raises(TypeError, match="slice or indices"):
        data[3]
    with pytest.raises(IndexError):
        data[[10]]


def test_several_systems_keep_their_order():
    a, b, c = some(WATER, 4, seed=1), some(OXYGEN, 3, seed=2), some(WATER, 2, seed=3)
    data = Configurations.joined([a, b, c])
    assert len(data) == 9
    assert data.systems == (WATER, OXYGEN)
    np.testing.assert_array_equal(data.energy, np.concatenate([a.energy, b.energy, c.energy]))
    chosen = np.array([8, 0, 5, 4])
    np.testing.assert_array_equal(data[chosen].energy, data.energy[chosen])
    assert data[[4, 5]].systems == (OXYGEN,)
    assert repr(data) == "Configurations(6 of OH2, 3 of O2; energies and forces)"


def test_splits_are_disjoint_and_follow_from_the_seed():
    data = some(WATER, 50)
    parts = data.split([0.6, 0.2, 0.2], seed=3)
    assert [len(p) for p in parts] == [30, 10, 10]
    assert sorted(np.concatenate([p.energy for p in parts])) == sorted(data.energy)
    np.testing.assert_array_equal(parts[1].energy, data.split([0.6, 0.2, 0.2], seed=3)[1].energy)
    assert not np.array_equal(parts[1].energy, data.split([0.6, 0.2, 0.2], seed=4)[1].energy)
    assert [len(p) for p in data.split([40, 10], seed=0)] == [40, 10]


def test_an_empty_part_is_refused():
    data = some(WATER, 3)
    with pytest.raises(ValueError):
        data.split([0.999, 0.001])
    with pytest.raises(ValueError, match="there are no configurations"):
        data[[]]
    with pytest.raises(ValueError, match="there are no configurations"):
        Configurations(WATER, np.zeros((0, 3, 3)), [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": np.zeros(4)}, r"energy must have shape \(5,\)"),
        ({"energy": np.zeros((5, 1))}, r"energy must have shape \(5,\)"),
        ({"forces": np.zeros((5, 2, 3))}, "forces must have the shape of the positions"),
        ({"energy": np.array([0, 1, np.nan, 0, 0])}, "energy must be finite.*the first is number 2"),
        ({"forces": np.full((5, 3, 3), np.inf)}, "forces must be finite; NaN or infinity in 5 of 5"),
        ({"positions": np.full((5, 3, 3), np.nan)}, "positions must be finite"),
        ({"positions": np.zeros((5, 9))}, r"positions of System\(OH2\) must have shape \(n, 3, 3\)"),
    ],
)
def test_wrong_data(change, message):
    x = np.arange(45.0).reshape(5, 3, 3)
    given = {"positions": x, "energy": np.zeros(5), "forces": np.zeros_like(x), **change}
    with pytest.raises(ValueError, match=message):
        Configurations(WATER, **given)


def test_a_system_is_needed():
    with pytest.raises(TypeError, match=r"tinynn\.potentials\.System, not a str"):
        Configurations("OHH", np.zeros((1, 3, 3)), [0.0])


def test_sets_with_and_without_forces_are_not_mixed():
    with pytest.raises(ValueError, match="some configurations have forces and others have none"):
        Configurations.joined([some(WATER, 2), some(WATER, 2, forces=False)])
    assert not some(WATER, 2, forces=False).has_forces


class TestFiles:
    def test_an_extxyz_file_comes_back(self, tmp_path):
        io = pytest.importorskip("ase.io")
        slab = System("OO", np.diag([5.5, 5.5, 20.0]), True, ["Pd"], [[0.0, 0.0, 0.0]])
        data = Configurations.joined([some(slab, 3), some(WATER, 2)])
        path = tmp_path / "data.extxyz"
        io.write(path, data.to_atoms())
        back = Configurations.from_atoms(io.read(path, ":"))
        assert back.systems == data.systems
        np.testing.assert_allclose(back.energy, data.energy, atol=1e-7)
        for one, other in zip(data.groups, back.groups):
            np.testing.assert_allclose(other.positions, one.positions, atol=1e-7)
            np.testing.assert_allclose(other.forces, one.forces, atol=1e-7)

    def test_frames_of_several_systems_keep_their_order(self):
        pytest.importorskip("ase")
        data = Configurations.joined([some(WATER, 3), some(OXYGEN, 2, seed=4)])
        frames = data.to_atoms()
        mixed = [frames[k] for k in (3, 0, 4, 1, 2)]
        back = Configurations.from_atoms(mixed)
        np.testing.assert_allclose(back.energy, data.energy[[3, 0, 4, 1, 2]])

    def test_frames_without_energy_or_forces(self):
        build = pytest.importorskip("ase.build")
        from ase.calculators.singlepoint import SinglePointCalculator

        frames = [build.molecule("H2O") for _ in range(2)]
        with pytest.raises(ValueError, match="frame 0 has no energy: its calculator holds nothing"):
            Configurations.from_atoms(frames)
        for atoms in frames:
            atoms.calc = SinglePointCalculator(atoms, energy=1.0)
        assert not Configurations.from_atoms(frames).has_forces
        with pytest.raises(ValueError, match="frame 0 has no forces"):
            Configurations.from_atoms(frames, forces=True)
        frames[1].calc = SinglePointCalculator(frames[1], energy=1.0, forces=np.zeros((3, 3)))
        assert not Configurations.from_atoms(frames).has_forces

    def test_frames_with_a_value_that_is_not_finite_are_named(self):
        build = pytest.importorskip("ase.build")
        from ase.calculators.singlepoint import SinglePointCalculator

        frames = [build.molecule(name) for name in ("O2", "H2O", "O2")]
        for atoms, energy in zip(frames, (0.0, 1.0, np.nan)):
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
        with pytest.raises(ValueError, match="the first is number 2"):
            Configurations.from_atoms(frames)
        frames[2].positions[0, 0] = np.nan
        with pytest.raises(ValueError, match="positions must be finite; NaN or infinity in frame 2"):
            Configurations.from_atoms(frames)

    def test_results_of_other_positions_are_refused(self):
        build = pytest.importorskip("ase.build")
        from ase.calculators.emt import EMT

        shared, frames = EMT(), []
        for seed in range(3):
            atoms = build.molecule("H2O")
            atoms.rattle(0.1, seed=seed)
            atoms.calc = shared
            atoms.get_forces()
            frames.append(atoms)
        with pytest.raises(ValueError, match="frame 0 is not what its calculator has computed last"):
            Configurations.from_atoms(frames)
        assert len(Configurations.from_atoms(frames[2:])) == 1
        frames[2].rotate(90, "x")  # the forces would have to turn, too
        with pytest.raises(ValueError, match="computed last"):
            Configurations.from_atoms(frames[2:])

    def test_results_of_another_cell_are_refused(self):
        build = pytest.importorskip("ase.build")
        from ase.calculators.emt import EMT

        shared = EMT()
        frames = [build.bulk("Cu", a=a) for a in (3.5, 3.6)]  # both with an atom at 0, 0, 0
        for atoms in frames:
            atoms.calc = shared
            atoms.get_forces()
        with pytest.raises(ValueError, match=r"frame 0 .* cell"):
            Configurations.from_atoms(frames)

    def test_frames_that_were_translated_or_wrapped_keep_their_results(self):
        build = pytest.importorskip("ase.build")
        from ase.calculators.emt import EMT

        atoms = build.bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.rattle(0.1, seed=0)
        atoms.calc = EMT()
        forces = atoms.get_forces()
        atoms.positions += [1.3, -2.0, 7.0]
        atoms.wrap()
        np.testing.assert_array_equal(Configurations.from_atoms([atoms]).groups[0].forces[0], forces)

    def test_one_frame_is_no_list(self):
        build = pytest.importorskip("ase.build")
        with pytest.raises(TypeError, match="a list of frames, not one"):
            Configurations.from_atoms(build.molecule("H2O"))


def test_arrays_that_are_changed_afterwards_change_no_data() -> None:
    x, e, f = np.ones((3, 2, 3)) * np.arange(2)[:, None], np.zeros(3), np.zeros((3, 2, 3))
    data = Configurations(System("OO"), x, e, f)
    for array in (x, e, f):
        array += 7.0
    (group,) = data.groups
    assert group.positions.max() == 1.0
    assert group.energy.max() == 0.0
    assert group.forces is not None
    assert group.forces.max() == 0.0
