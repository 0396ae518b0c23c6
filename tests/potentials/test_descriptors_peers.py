"""Symmetry functions equal dscribe's ACSF (run with -m peers).

dscribe has one cutoff for all functions, the cosine function, and per species G1 (here `G2` with ``eta=0``), then its
G2; then per pair of species, the second not after the first, G4 and G5. Parameters have the same meaning, every pair of
neighbours counts once in both.
"""

from __future__ import annotations

import numpy as np
import pytest

from tinynn.potentials import G2, G4, G5, SymmetryFunctions, System

pytestmark = pytest.mark.peers
dscribe = pytest.importorskip("dscribe.descriptors")
ase = pytest.importorskip("ase")

SPECIES = ["H", "C", "O"]
RADIAL = [(1.0, 0.5), (0.3, 2.0), (4.0, 3.0)]  # eta, shift
ANGULAR = [(0.01, 1.0, 1.0), (0.05, 4.0, -1.0), (0.2, 2.5, 1.0), (0.1, 16.0, -1.0)]  # eta, zeta, lambda


def theirs(cutoff: float, periodic: bool):
    return dscribe.ACSF(
        r_cut=cutoff, g2_params=RADIAL, g4_params=ANGULAR, g5_params=ANGULAR, species=SPECIES, periodic=periodic
    )


def ours(cutoff: float) -> SymmetryFunctions:
    functions = []
    for s in SPECIES:
        functions += [G2(s, 0.0, 0.0, cutoff), *[G2(s, eta, shift, cutoff) for eta, shift in RADIAL]]
    for i, a in enumerate(SPECIES):
        for b in SPECIES[: i + 1]:
            functions += [kind((a, b), *parameters, cutoff) for kind in (G4, G5) for parameters in ANGULAR]
    return SymmetryFunctions(functions)


def agree(values: np.ndarray, expected: np.ndarray) -> None:
    """Equal where dscribe has numbers; in rows of atoms 1 + λ cos θ may be rounded below 0, where (...)^2.5 is NaN."""
    finite = np.isfinite(expected)
    assert finite.mean() > 0.9
    assert np.abs(expected[finite]).max() > 0.5
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[finite], expected[finite], rtol=1e-10, atol=1e-10)


CELLS = {
    "molecule": None,
    "cube": np.eye(3) * 12.0,
    "skew": np.array([[7.0, 0.0, 0.0], [3.5, 6.0, 0.0], [-2.5, 3.0, 8.0]]),
    "smaller than the cutoff": np.array([[3.6, 0.0, 0.0], [0.4, 3.3, 0.0], [0.0, 0.5, 4.1]]),
}


@pytest.mark.parametrize("cutoff", [3.0, 5.2])
@pytest.mark.parametrize("cell", CELLS)
def test_values(cell, cutoff):
    rng = np.random.default_rng(0)
    vectors, symbols = CELLS[cell], ["O", "C", "H", "H", "O", "C"]
    grid = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]]) * 1.5
    x = grid + rng.uniform(-0.3, 0.3, (6, 3))
    atoms = ase.Atoms(symbols, positions=x, cell=vectors, pbc=vectors is not None)
    expected = theirs(cutoff, vectors is not None).create(atoms)
    functions = ours(cutoff)
    for backend in ("numba", "numpy"):
        agree(functions.values(x[None], System.from_atoms(atoms), backend=backend)[0], expected)


def test_derivatives():
    """dscribe takes differences, so that this is as exact as they are."""
    x = np.random.default_rng(1).uniform(0.0, 2.0, (4, 3)) + np.arange(4)[:, None]
    atoms = ase.Atoms("OCHH", positions=x)
    expected = theirs(5.0, False).derivatives(atoms, method="numerical", attach=True)
    values = expected[1]
    derivatives = expected[0]  # centres, atoms, axes, features
    found, jacobian = ours(5.0).compute(x[None], System.from_atoms(atoms))
    np.testing.assert_allclose(found[0], values, atol=1e-10)
    np.testing.assert_allclose(jacobian[0].transpose(0, 2, 3, 1), derivatives, atol=1e-5)


def test_a_metal_surface_of_many_atoms():
    build = pytest.importorskip("ase.build")
    slab = build.fcc100("Pd", (4, 4, 3), vacuum=8.0)
    build.add_adsorbate(slab, build.molecule("O2"), 1.8, "hollow")
    acsf = dscribe.ACSF(r_cut=6.0, g2_params=RADIAL, g5_params=ANGULAR, species=["O", "Pd"], periodic=True)
    expected = acsf.create(slab)
    functions = []
    for s in ("O", "Pd"):
        functions += [G2(s, 0.0, 0.0, 6.0), *[G2(s, eta, shift, 6.0) for eta, shift in RADIAL]]
    for pair in (("O", "O"), ("Pd", "O"), ("Pd", "Pd")):
        functions += [G5(pair, *parameters, 6.0) for parameters in ANGULAR]
    values = SymmetryFunctions(functions).values(slab.positions[None], System.from_atoms(slab))[0]
    agree(values, expected)
