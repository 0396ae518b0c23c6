"""Neighbours of symmetry functions: against all images written out, ASE and matscipy; thousands of atoms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinynn
from tinynn.potentials import G2, G4, G5, SymmetryFunctions, System
from tinynn.potentials.neighbors import images, neighbors

numba = pytest.importorskip("numba")

CELLS = {
    "cube": np.eye(3) * 4.0,
    "smaller than the cutoff": np.diag([2.1, 1.9, 12.0]),
    "skew": np.array([[5.0, 0.0, 0.0], [3.5, 4.0, 0.0], [-2.0, 3.0, 6.0]]),
    "left-handed": np.array([[0.0, 5.0, 0.5], [4.0, 0.0, 0.0], [1.0, 1.0, 6.0]]),
    "large": np.diag([14.0, 15.0, 16.0]),
    "large and skew": np.array([[14.0, 0.0, 0.0], [7.0, 13.0, 0.0], [-4.0, 5.0, 15.0]]),
}
PERIODIC = [(True, True, True), (True, True, False), (False, True, False), (False, False, False)]


def compiled(i: int, atoms: np.ndarray, lattice, cutoff: float):
    """What the compiled search finds, as `neighbors` gives it."""
    from tinynn.potentials import kernel_neighbors as kernel

    near = kernel.room_for(len(atoms) * len(lattice.shifts))
    count, close = kernel.find_near(i, atoms, kernel.sort_into_bins(atoms, lattice, cutoff), lattice, cutoff, near)
    assert close == -1
    return tuple(array[:count] for array in near)


def written_out(i: int, atoms: np.ndarray, cell: np.ndarray, pbc, cutoff: float) -> list:
    """Every image in a range that is wide enough for atoms within ``±outside`` cells."""
    ranges = [range(-n, n + 1) if periodic else range(1) for periodic, n in zip(pbc, (14, 14, 8))]
    found = []
    shifts = np.array(list(itertools.product(*ranges))) @ cell
    for j, atom in enumerate(atoms):
        d = atom - atoms[i] + shifts
        r = np.linalg.norm(d, axis=1)
        found += [(j, *np.round(x, 6)) for x in d[(r < cutoff) & (r > 1e-9)]]
    return sorted(found)


@pytest.mark.parametrize("pbc", PERIODIC)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("count", [7, 90])  # all in one bin, and in many where the cell is large
def test_neighbors_are_all_images_within_the_cutoff(cell, pbc, count):
    vectors, cutoff = CELLS[cell], 4.1
    rng = np.random.default_rng(0)
    atoms = rng.uniform(-0.5, 1.5, (count, 3)) @ vectors  # also outside of the cell
    lattice = images(vectors, pbc, cutoff)
    for i in (0, 3):
        expected = written_out(i, atoms, vectors, pbc, cutoff)
        for index, d, r in (compiled(i, atoms, lattice, cutoff), neighbors(i, atoms, lattice, cutoff)):
            found = sorted((int(j), *np.round(x, 6)) for j, x in zip(index, d))
            assert [f[0] for f in found] == [e[0] for e in expected]
            np.testing.assert_allclose(sorted(f[1:] for f in found), sorted(e[1:] for e in expected), atol=2e-6)
            np.testing.assert_allclose(r, np.linalg.norm(d, axis=1))


@pytest.mark.parametrize("library", ["ase.neighborlist", "matscipy.neighbours"])
@pytest.mark.parametrize("pbc", PERIODIC)
def test_the_same_neighbors_as_other_libraries(library, pbc):
    module = pytest.importorskip(library)
    from ase import Atoms

    cutoff, vectors = 5.0, CELLS["large and skew"]
    atoms = np.random.default_rng(1).uniform(0.0, 1.0, (300, 3)) @ vectors
    search = module.neighbor_list if library.startswith("ase") else module.neighbour_list
    first, second, r = search("ijd", Atoms("H300", positions=atoms, cell=vectors, pbc=pbc), cutoff)
    lattice = images(vectors, pbc, cutoff)
    for i in range(0, 300, 7):
        index, _, distances = compiled(i, atoms, lattice, cutoff)
        np.testing.assert_array_equal(np.sort(index), np.sort(second[first == i]))
        np.testing.assert_allclose(np.sort(distances), np.sort(r[first == i]), rtol=1e-10)


@pytest.mark.parametrize("where", ["far apart", "on a line", "one place twice as dense"])
def test_bins_of_open_systems(where):
    rng = np.random.default_rng(0)
    atoms = rng.uniform(0.0, 30.0, (200, 3))
    if where == "far apart":
        atoms[::2] += 1e6
    elif where == "on a line":
        atoms[:, 1:] = 0.0
    else:
        atoms[:100] *= 0.2
    lattice = images(None, False, 3.0)
    for i in range(0, 200, 13):
        np.testing.assert_array_equal(
            np.sort(compiled(i, atoms, lattice, 3.0)[0]), np.sort(neighbors(i, atoms, lattice, 3.0)[0])
        )


# ------------------------------------------------------------------------------------------------ large systems

LARGE = SymmetryFunctions([G2("Pd", 1.0, 2.5, 5.0), G2("Pd", 1.0, 4.0, 5.0), G5(("Pd", "Pd"), 0.05, 2.0, -1.0, 4.5)])


def crystal(n: int) -> tuple[np.ndarray, np.ndarray]:
    """An fcc crystal with n cubes along each side, 4 n³ atoms, shaken."""
    cubes = np.array(list(itertools.product(range(n), repeat=3)))
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = 3.9 * (cubes[:, None] + basis).reshape(-1, 3)
    return positions + np.random.default_rng(0).normal(0.0, 0.1, positions.shape), np.eye(3) * 3.9 * n


def test_two_thousand_atoms_in_a_cell():
    positions, cell = crystal(8)
    assert len(positions) == 2048
    system = System(["Pd"] * 2048, cell=cell, pbc=True)
    x = tinynn.tensor(positions[None], requires_grad=True)
    values = LARGE(x, system)
    assert values.shape == (1, 2048, 3)
    slopes = tinynn.grad(values.sum(), x).numpy()[0]
    np.testing.assert_allclose(slopes.sum(axis=0), 0.0, atol=1e-10)
    some = [0, 1000, 2047]
    plain = LARGE.values(positions[None], system, centers=some, backend="numpy")
    np.testing.assert_allclose(values.numpy()[:, some], plain, rtol=1e-11)
    h = 1e-4
    for atom, axis in ((5, 0), (1234, 2)):
        step = np.zeros_like(positions)
        step[atom, axis] = h
        up, down = (LARGE.values(positions[None] + s * step, system).sum() for s in (1, -1))
        np.testing.assert_allclose(slopes[atom, axis], (up - down) / (2 * h), rtol=1e-5, atol=1e-6)


def test_a_larger_cell_has_the_same_environments():
    """Bins against no bins: 32 atoms with their images, and the same 32 eight times over."""
    positions, cell = crystal(2)
    one = LARGE.values(positions[None], System(["Pd"] * 32, cell=cell, pbc=True))
    shifts = np.array(list(itertools.product(range(3), repeat=3))) @ cell
    many = (positions[None] + shifts[:, None]).reshape(1, -1, 3)
    repeated = LARGE.values(many, System(["Pd"] * 864, cell=3 * cell, pbc=True))
    np.testing.assert_allclose(repeated.reshape(27, 32, 3), np.broadcast_to(one, (27, 32, 3)), rtol=1e-10)


def test_a_jacobian_that_fits_nowhere_is_refused():
    positions, cell = crystal(8)
    functions = SymmetryFunctions([G2("Pd", 1.0, 0.1 * k, 5.0) for k in range(60)] + [G4(("Pd", "Pd"), 0.1)] * 200)
    with pytest.raises(MemoryError, match=r"\(1, 2048, 260, 2048, 3\).*GB; give fewer .*, or call the descriptor"):
        functions.compute(positions[None], System(["Pd"] * 2048, cell=cell, pbc=True))
