"""`SurfaceCoordinates`: symmetry to rounding, nothing that is different looks equal, smooth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.potentials import SurfaceCoordinates, SymmetryFunctions, System, functions

A = 2.75
COORDINATES = SurfaceCoordinates(A)
PLACES = st.tuples(st.floats(-10.0, 10.0), st.floats(-10.0, 10.0), st.floats(-0.5, 6.0))

OPERATIONS = {
    "translation along x": lambda x: x + [A, 0.0, 0.0],
    "translation along y": lambda x: x + [0.0, A, 0.0],
    "three back and two up": lambda x: x + [-3 * A, 2 * A, 0.0],
    "mirror x": lambda x: x * [-1.0, 1.0, 1.0],
    "mirror y": lambda x: x * [1.0, -1.0, 1.0],
    "diagonal mirror": lambda x: x[..., [1, 0, 2]],
    "rotation by 90°": lambda x: x[..., [1, 0, 2]] * [-1.0, 1.0, 1.0],
    "rotation by 90° about a hollow": lambda x: (x - 0.5 * A)[..., [1, 0, 2]] * [-1.0, 1.0, 1.0] + 0.5 * A,
    "glide": lambda x: x[..., [1, 0, 2]] * [-1.0, -1.0, 1.0] + [A, 0.0, 0.0],
    "exchange": lambda x: x[..., ::-1, :],
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(first=PLACES, second=PLACES)
def test_what_the_surface_does_not_notice_changes_nothing(name, first, second):
    x = np.array([[first, second]])
    np.testing.assert_allclose(COORDINATES.values(OPERATIONS[name](x)), COORDINATES.values(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_jacobian_turns_with_the_molecule(name):
    x = np.random.default_rng(0).uniform([-5, -5, 0], [5, 5, 4], (50, 2, 3))
    operation = OPERATIONS[name]
    linear = lambda slopes: operation(slopes) - operation(np.zeros_like(slopes))  # noqa: E731
    jacobian = COORDINATES.compute(x)[1]
    moved = COORDINATES.compute(operation(x))[1]
    np.testing.assert_allclose(moved, linear(jacobian), rtol=1e-11, atol=1e-11)


def test_origin_moves_the_surface():
    place = (0.7, -0.4, 1.1)
    x = np.random.default_rng(0).uniform([-5, -5, 0], [5, 5, 4], (20, 2, 3))
    np.testing.assert_allclose(SurfaceCoordinates(A, origin=place).values(x + place), COORDINATES.values(x), rtol=1e-11)


# ------------------------------------------------------------------------------------------------- completeness


def equivalents(x: np.ndarray) -> np.ndarray:
    """All images of one configuration (2, 3) under the point group and the exchange: (16, 2, 3)."""
    images = []
    for sx, sy, swap, order in itertools.product((1, -1), (1, -1), (False, True), ([0, 1], [1, 0])):
        image = x[order] * [sx, sy, 1.0]
        images.append(image[:, [1, 0, 2]] if swap else image)
    return np.array(images)


def apart(x: np.ndarray, y: np.ndarray) -> float:
    """The distance between two configurations, after the best operation of the group on one of them."""
    d = equivalents(x) - y
    d[..., :2] -= A * np.round(d.mean(axis=1)[:, None, :2] / A)
    # the centre can be rounded to two sides; the atoms keep their distance
    return float(np.sqrt((d**2).sum(axis=(1, 2))).min())


def test_different_configurations_have_different_coordinates():
    """Between all pairs of many, many of them with high symmetry, where one function or another vanishes."""
    rng = np.random.default_rng(0)
    special = np.array(list(itertools.product([0.0, A / 2, 0.4], [0.0, A / 2], [1.5])))
    bonds = np.array(list(itertools.product([0.0, 0.6, -0.6], [0.0, 0.6, 0.3], [0.0, 0.5, -0.5])))
    bonds = bonds[np.linalg.norm(bonds, axis=1) > 0.1]
    sites = [[c - b / 2, c + b / 2] for c in special for b in bonds]
    x = np.concatenate([np.array(sites), rng.uniform([0, 0, 0.5], [A, A, 3.0], (150, 2, 3))])
    values = COORDINATES.values(x)[:, 0]
    difference = np.abs(values[:, None] - values[None]).max(axis=2)
    pairs = np.argwhere(np.triu(difference < 1e-6, 1))
    assert len(pairs) > 100  # the special sites are equivalent in many ways
    for i, j in pairs:
        assert apart(x[i], x[j]) < 1e-9, (x[i], x[j])


def test_each_of_the_eleven_functions_is_needed_somewhere_by_the_others():
    """A small change of a configuration in any direction that no operation undoes changes the coordinates."""
    x = np.random.default_rng(1).uniform([0, 0, 0.5], [A, A, 3.0], (200, 2, 3))
    jacobian = COORDINATES.compute(x)[1][:, 0, :11].reshape(200, 11, 6)
    smallest = np.linalg.svd(jacobian, compute_uv=False)[:, -1]
    assert (smallest > 1e-4).all(), "six independent directions"


def test_molecules_far_away_differ_by_bond_length_alone():
    x = np.random.default_rng(2).uniform([0, 0, 40.0], [A, A, 41.0], (20, 2, 3))
    values = COORDINATES.values(x)[:, 0]
    assert np.abs(values[:, 1:]).max() < 1e-14
    assert values[:, 0].std() > 0.05


def test_no_kink_anywhere():
    """The bond length through zero, the centre through half a lattice constant: third differences stay small."""
    t = np.linspace(-1.0, 1.0, 2001)[:, None]
    direction, place = np.array([0.3, 0.5, 0.2]), np.array([A / 2, A / 2, 1.0])
    through_each_other = np.stack([place - t * direction, place + t * direction], axis=1)
    across = np.stack([place + t * [1.0, 0.4, 0.0], place + [0.5, 0.3, 0.9] + t * [1.0, 0.4, 0.0]], axis=1)
    for path in (through_each_other, across):
        values = COORDINATES.values(path)[:, 0]
        assert np.abs(np.diff(values, n=3, axis=0)).max() < 1e-6  # t³ · third derivative, with steps of 0.001


def test_faster_decay_forgets_sooner():
    x = np.array([[[0.1, 0.2, 4.0], [0.6, 0.9, 4.5]]])
    near, far = (np.abs(SurfaceCoordinates(A, decay=d).values(x)[0, 0, 1:]).max() for d in (2.0, 0.5))
    assert far < near


def test_symmetry_functions_see_the_same_symmetry():
    """The two descriptors agree on what is equivalent: equal coordinates, equal environments."""
    slab = [[i * A, j * A, 0.0] for i in range(2) for j in range(2)]
    cell = np.diag([2 * A, 2 * A, 20.0])
    system = System("OO", cell=cell, pbc=(1, 1, 0), frozen_numbers=["Pd"] * 4, frozen_positions=slab)
    environment = SymmetryFunctions([functions.G2("Pd", 1.0, 2.0), functions.G5(("O", "Pd"), 0.05)])
    x = np.array([[[0.3, 0.4, 1.5], [1.1, 0.2, 2.0]]])
    for name, operation in OPERATIONS.items():
        if name != "exchange":
            moved = environment.values(operation(x), system)
            np.testing.assert_allclose(moved, environment.values(x, system), rtol=0, atol=1e-12)
