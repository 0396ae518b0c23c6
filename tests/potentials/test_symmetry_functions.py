"""Symmetry functions: derivatives, symmetry, agreement of the compiled loops with the plain formulas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tinynn.potentials import G2, G4, G5, Cosine, Polynomial, SymmetryFunctions

A = 2.75  # nearest-neighbour distance of a square lattice; the cell is 2 x 2
CELL = np.diag([2 * A, 2 * A, 20.0])
TOP = [[i * A, j * A, 0.0] for i in range(2) for j in range(2)]
BELOW = [[(i + 0.5) * A, (j + 0.5) * A, -1.945] for i in range(2) for j in range(2)]
SLAB = np.array(TOP + BELOW)
SURFACE = {"cell": CELL, "frozen_positions": SLAB, "frozen_species": ["Pd"] * 8}

FUNCTIONS = (
    G2("Pd", eta=2.0, shift=2.2, cutoff=6.0),
    G2("O", eta=0.5, shift=1.0, cutoff=6.0),
    G5(("Pd", "Pd"), eta=0.05, zeta=1.0, lambda_=1.0, cutoff=5.0),
    G5(("Pd", "O"), eta=0.1, zeta=4.0, lambda_=-1.0, cutoff=5.0),
    G5(("O", "Pd"), eta=0.1, zeta=2.5, lambda_=1.0, cutoff=4.5, shift=0.7),
    G4(("O", "Pd"), eta=0.05, zeta=2.0, lambda_=-1.0, cutoff=5.0),
    G4(("Pd", "Pd"), eta=0.01, zeta=1.0, lambda_=1.0, cutoff=5.5),
    G4(("O", "O"), eta=0.01, zeta=1.0, lambda_=-1.0, cutoff=6.0),
)


def molecules(n: int, seed: int = 0) -> np.ndarray:
    """Oxygen pairs above the surface, bond lengths from 1 to 3."""
    rng = np.random.default_rng(seed)
    center = rng.uniform([0, 0, 1.2], [A, A, 3.0], (n, 3))
    bond = rng.normal(size=(n, 3))
    bond *= (rng.uniform(1.0, 3.0, n) / np.linalg.norm(bond, axis=1))[:, None]
    return np.stack([center - bond / 2, center + bond / 2], axis=1)


@pytest.mark.parametrize("cutoff_function", [Cosine(), Polynomial(3.0), Polynomial(2.5)])
def test_compiled_loops_agree_with_plain_formulas(cutoff_function):
    functions = SymmetryFunctions(FUNCTIONS, cutoff_function)
    o2 = molecules(10)
    values, jacobian = functions.compute(o2, ["O", "O"], **SURFACE, backend="numba")
    plain_values, plain_jacobian = functions.compute(o2, ["O", "O"], **SURFACE, backend="numpy")
    assert values.shape == (10, 2, 8)
    assert jacobian.shape == (10, 2, 8, 2, 3)
    np.testing.assert_allclose(values, plain_values, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(jacobian, plain_jacobian, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("cutoff_function", [Cosine(), Polynomial(4.0)])
def test_jacobian_is_the_derivative(backend, cutoff_function):
    functions = SymmetryFunctions(FUNCTIONS, cutoff_function)
    o2 = molecules(3, seed=1)
    _, jacobian = functions.compute(o2, ["O", "O"], **SURFACE, backend=backend)
    h = 1e-5
    for atom in range(2):
        for axis in range(3):
            step = np.zeros((2, 3))
            step[atom, axis] = h
            up = functions.values(o2 + step, ["O", "O"], **SURFACE, backend=backend)
            down = functions.values(o2 - step, ["O", "O"], **SURFACE, backend=backend)
            np.testing.assert_allclose(jacobian[..., atom, axis], (up - down) / (2 * h), rtol=1e-6, atol=2e-8)


def test_values_of_two_atoms_by_hand():
    r, eta, shift, cutoff = 1.3, 0.7, 0.4, 4.0
    functions = SymmetryFunctions([G2("O", eta, shift, cutoff)])
    values, jacobian = functions.compute([[[0.0, 0.0, 0.0], [0.0, r, 0.0]]], ["O", "O"])
    fc = 0.5 * (np.cos(np.pi * r / cutoff) + 1.0)
    slope = -0.5 * np.pi / cutoff * np.sin(np.pi * r / cutoff)
    e = np.exp(-eta * (r - shift) ** 2)
    np.testing.assert_allclose(values, e * fc)
    np.testing.assert_allclose(jacobian[0, 0, 0, 1], [0.0, e * (slope - 2 * eta * (r - shift) * fc), 0.0], atol=1e-15)


def test_a_right_angle_by_hand():
    triangle = [[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    fc = [0.5 * (np.cos(np.pi * r / 3.0) + 1.0) for r in (1.0, np.sqrt(2.0))]
    five, four = [kind(("H", "H"), eta=0.2, zeta=4.0, cutoff=3.0) for kind in (G5, G4)]
    values = SymmetryFunctions([five, four]).values(triangle, ["H"] * 3, centers=[0])
    expected = 2.0**-3 * np.exp(-0.4) * fc[0] ** 2  # cos 90 = 0, one pair, counted once
    np.testing.assert_allclose(values[0, 0], [expected, expected * np.exp(-0.4) * fc[1]])


# Operations of p4mm on the plane: rotation by 90 degrees and reflection, about a surface atom.
P4MM = [np.array(m, float) for m in ([[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[-1, 0], [0, 1]], [[0, 1], [1, 0]])]


@pytest.mark.parametrize("operation", P4MM)
def test_point_group_of_the_surface(operation):
    functions = SymmetryFunctions(FUNCTIONS)
    o2 = molecules(8, seed=2)
    turned = o2.copy()
    turned[..., :2] = o2[..., :2] @ operation.T
    values, jacobian = functions.compute(o2, ["O", "O"], **SURFACE)
    other_values, other_jacobian = functions.compute(turned, ["O", "O"], **SURFACE)
    np.testing.assert_allclose(other_values, values, rtol=0, atol=1e-12)
    jacobian[..., :2] = jacobian[..., :2] @ operation.T
    np.testing.assert_allclose(other_jacobian, jacobian, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shift", [(A, 0.0, 0.0), (0.0, -A, 0.0), (5 * A, 3 * A, 0.0), (0.0, 0.0, 20.0)])
def test_lattice_translation(shift):
    functions = SymmetryFunctions(FUNCTIONS)
    o2 = molecules(8, seed=3)
    values, jacobian = functions.compute(o2, ["O", "O"], **SURFACE)
    moved_values, moved_jacobian = functions.compute(o2 + np.array(shift), ["O", "O"], **SURFACE)
    np.testing.assert_allclose(moved_values, values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(moved_jacobian, jacobian, rtol=0, atol=1e-12)


def test_one_atom_moved_by_a_cell_vector():
    functions = SymmetryFunctions(FUNCTIONS)
    o2 = molecules(8, seed=4)
    apart = o2.copy()
    apart[:, 1] += CELL[0] - 2 * CELL[1]
    np.testing.assert_allclose(
        functions.values(apart, ["O", "O"], **SURFACE),
        functions.values(o2, ["O", "O"], **SURFACE),
        rtol=0,
        atol=1e-12,
    )


def test_exchange_of_equal_atoms():
    functions = SymmetryFunctions(FUNCTIONS)
    o2 = molecules(8, seed=5)
    values, jacobian = functions.compute(o2, ["O", "O"], **SURFACE)
    swapped_values, swapped_jacobian = functions.compute(o2[:, ::-1], ["O", "O"], **SURFACE)
    np.testing.assert_allclose(swapped_values, values[:, ::-1], rtol=0, atol=1e-13)
    np.testing.assert_allclose(swapped_jacobian, jacobian[:, ::-1, :, ::-1], rtol=0, atol=1e-13)


def test_own_images_are_neighbors_without_a_derivative():
    functions = SymmetryFunctions([G2("O", eta=0.0, cutoff=6.0)])
    values, jacobian = functions.compute([[[0.3, 0.2, 1.0]]], ["O"], cell=np.diag([5.5, 9.0, 9.0]))
    np.testing.assert_allclose(values, 2 * 0.5 * (np.cos(np.pi * 5.5 / 6.0) + 1.0))
    assert not jacobian.any()


def test_cell_smaller_than_the_cutoff_equals_a_supercell():
    functions = SymmetryFunctions([G2("Cu", 0.3, 1.0, 5.0), G5(("Cu", "Cu"), 0.1, 2.0, -1.0, 4.0)])
    skew = np.array([[2.5, 0.0, 0.0], [0.8, 2.4, 0.0], [0.3, 0.5, 2.6]])
    one = functions.values([[[0.1, 0.2, 0.3]]], ["Cu"], cell=skew)
    eight = [[0.1, 0.2, 0.3] @ np.eye(3) + np.array(n) @ skew for n in np.ndindex(2, 2, 2)]
    many = functions.values([eight], ["Cu"] * 8, cell=2 * skew)
    np.testing.assert_allclose(many, np.broadcast_to(one, many.shape), rtol=1e-12)


def test_open_axes_see_no_images():
    functions = SymmetryFunctions([G2("H", 0.1, 0.0, 4.0)])
    chain = [[[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]]]
    in_vacuum = functions.values(chain, ["H", "H"])
    np.testing.assert_array_equal(functions.values(chain, ["H", "H"], cell=np.eye(3), pbc=False), in_vacuum)
    wire = functions.values(chain, ["H", "H"], cell=np.diag([3.0, 0.0, 0.0]), pbc=(True, False, False))
    assert (wire > in_vacuum).all()


def test_centers_and_unnamed_species():
    functions = SymmetryFunctions([G2("O", 1.0), G5(("O", "O"), 0.1)])
    water = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    everything, jacobian = functions.compute(water, ["O", "H", "O"])
    some, some_jacobian = functions.compute(water, ["O", "H", "O"], centers=[1])
    np.testing.assert_array_equal(some, everything[:, 1:2])
    np.testing.assert_array_equal(some_jacobian, jacobian[:, 1:2])
    assert not jacobian[:, 0, :, 1].any(), "hydrogen is in no function, so oxygen does not see it move"
    plain, plain_jacobian = functions.compute(water, ["O", "H", "O"], backend="numpy")
    np.testing.assert_allclose(everything, plain, atol=1e-14)
    np.testing.assert_allclose(jacobian, plain_jacobian, atol=1e-14)


def test_species_may_be_numbers():
    by_number = SymmetryFunctions([G2(8, 1.0), G5((8, 46), 0.1, cutoff=5.0)])
    by_name = SymmetryFunctions([G2("O", 1.0), G5(("O", "Pd"), 0.1, cutoff=5.0)])
    o2 = molecules(3)
    np.testing.assert_array_equal(
        by_number.values(o2, [8, 8], cell=CELL, frozen_positions=SLAB, frozen_species=[46] * 8),
        by_name.values(o2, ["O", "O"], **SURFACE),
    )


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((np.zeros((2, 3)), ["O", "O"]), {}, r"shape \(n, atoms, 3\), got \(2, 3\)"),
        ((np.ones((1, 2, 3)), ["O"]), {}, "species has 1 labels for 2 atoms"),
        (
            (np.ones((1, 1, 3)), ["O"]),
            {"frozen_positions": np.zeros((2, 3))},
            "frozen_species has 0 labels for 2",
        ),
        ((np.full((1, 1, 3), np.nan), ["O"]), {}, "finite"),
        ((np.ones((1, 1, 3)), ["O"]), {"cell": np.ones((3, 3))}, "independent"),
        ((np.ones((1, 1, 3)), ["O"]), {"cell": np.ones(3)}, r"shape \(3, 3\)"),
        ((np.ones((1, 1, 3)), ["O"]), {"centers": [1]}, "centers must be indices"),
        ((np.ones((1, 1, 3)), ["O"]), {"backend": "fortran"}, "'numba' or 'numpy'"),
        ((np.ones((1, 2, 3)), ["O", "O"]), {}, "in configuration 0, atom 1 lies at the place of atom 0"),
    ],
)
def test_errors_say_what_is_wrong(arguments, settings, message):
    functions = SymmetryFunctions([G2("O", 1.0)])
    with pytest.raises(ValueError, match=message):
        functions.compute(*arguments, **settings)


def test_coincident_atoms_are_refused_by_the_plain_formulas_too():
    functions = SymmetryFunctions([G2("O", 1.0)])
    with pytest.raises(ValueError, match="configuration 1, atom 0 lies at the place of atom 1"):
        functions.compute([[[0.0] * 3, [1.0] * 3], [[1.0] * 3, [1.0] * 3]], ["O", "O"], backend="numpy")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: G2("O", eta=-1.0), "eta must not be negative"),
        (lambda: G2("O", eta=1.0, cutoff=0.0), "cutoff must be positive"),
        (lambda: G2("O", eta=1.0, shift=np.inf), "shift must be a finite"),
        (lambda: G5(("O",), eta=1.0), "a pair of species"),
        (lambda: G5("OO", eta=1.0), "a pair of species"),
        (lambda: G5(("O", "O"), eta=1.0, zeta=0.5), "zeta must be at least 1"),
        (lambda: G4(("O", "O"), eta=1.0, lambda_=0.5), "G4: lambda_ must be 1 or -1"),
        (lambda: Polynomial(1.0), "gamma must be at least 2"),
        (lambda: SymmetryFunctions([]), "at least one of"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match=r"functions\[1\]"):
        SymmetryFunctions([G2("O", 1.0), "G5"])


@pytest.mark.parametrize("cutoff_function", [Cosine(), Polynomial(2.0), Polynomial(7.0)])
def test_cutoff_functions(cutoff_function):
    r = np.linspace(0.0, 7.0, 701)
    value, slope = cutoff_function(r, 6.0)
    assert value[0] == 1.0
    assert not value[r >= 6.0].any()
    assert (np.diff(value) <= 1e-15).all()
    np.testing.assert_allclose(slope[1:-1], (value[2:] - value[:-2]) / 0.02, atol=1e-2)
    assert abs(slope[r < 6.0][-1]) < 0.05


def test_a_neighbor_that_crosses_the_cutoff_causes_no_jump():
    functions = SymmetryFunctions([G2("O", 0.0, 0.0, 3.0), G5(("O", "O"), 0.0, 1.0, 1.0, 3.0)])
    inside, outside = (
        functions.values([[[0.0, 0.0, 0.0], [3.0 + d, 0.0, 0.0], [0.0, 1.0, 0.0]]], ["O"] * 3) for d in (-1e-6, 1e-6)
    )
    np.testing.assert_allclose(inside, outside, atol=1e-11)


def test_numba_is_imported_when_it_is_needed():
    code = "import sys, tinynn.potentials; assert 'numba' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_thread_and_two_agree_exactly():
    numba = pytest.importorskip("numba")
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    functions = SymmetryFunctions(FUNCTIONS)
    o2 = molecules(400, seed=6)
    results = []
    for threads in (1, 2):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            results.append(functions.compute(o2, ["O", "O"], **SURFACE))
        finally:
            numba.set_num_threads(before)
    for one, two in zip(*results):
        np.testing.assert_array_equal(one, two)
