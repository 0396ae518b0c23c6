"""Descriptors of a whole configuration: values, Jacobians, tensors, compiled functions, minimum images, bad input."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import tinynn
from tinynn.graph import GraphError
from tinynn.potentials import Cartesian, Distances, InverseDistances, SurfaceCoordinates, System
from tinynn.potentials.neighbors import minimum_images

SKEW = np.array([[5.0, 0.0, 0.0], [3.5, 4.0, 0.0], [-2.0, 3.0, 6.0]])
CASES = {
    "cartesian": (Cartesian(3), None),
    "distances": (Distances(3), System("OHH")),
    "inverse distances": (InverseDistances(3), None),
    "distances in a box": (Distances(3), System("OHH", cell=np.diag([4.0, 5.0, 6.0]), pbc=True)),
    "inverse distances in a skew cell": (InverseDistances(3), System("OHH", cell=SKEW, pbc=True)),
    "distances in a skew layer": (Distances(3), System("OHH", cell=SKEW, pbc=(True, True, False))),
    "surface": (SurfaceCoordinates(2.75, decay=0.8, length=1.2, origin=(0.3, -0.2, 0.5)), System("OO")),
}


def configurations(atoms: int, n: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (n, atoms, 3)) + 1.7 * np.arange(atoms)[:, None]


@pytest.fixture(params=CASES)
def case(request):
    descriptor, system = CASES[request.param]
    return descriptor, system, configurations(descriptor.atoms)


def test_shapes_and_values_of_all_three_ways(case):
    descriptor, system, x = case
    values, jacobian = descriptor.compute(x, system)
    assert values.shape == (5, 1, len(descriptor))
    assert jacobian.shape == (5, 1, len(descriptor), descriptor.atoms, 3)
    assert values.dtype == jacobian.dtype == np.float64
    np.testing.assert_allclose(descriptor.values(x, system), values, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(descriptor(tinynn.tensor(x), system).numpy(), values, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(descriptor(x, system).numpy(), descriptor(tinynn.tensor(x), system).numpy())
    assert descriptor(tinynn.tensor(x).to("float32"), system).dtype == np.float32


def test_jacobian_is_the_derivative(case):
    descriptor, system, x = case
    _, jacobian = descriptor.compute(x, system)
    h = 1e-5
    for atom, axis in itertools.product(range(descriptor.atoms), range(3)):
        step = np.zeros((descriptor.atoms, 3))
        step[atom, axis] = h
        slope = (descriptor.values(x + step, system) - descriptor.values(x - step, system)) / (2 * h)
        np.testing.assert_allclose(jacobian[..., atom, axis], slope, rtol=1e-8, atol=1e-8)


def test_derivatives_of_the_tensor_are_the_jacobian_and_its_derivative(case):
    descriptor, system, x = case
    rng = np.random.default_rng(1)
    jacobian = descriptor.compute(x, system)[1]
    g, w = rng.normal(size=(5, 1, len(descriptor))), rng.normal(size=x.shape)
    positions = tinynn.tensor(x, requires_grad=True)
    pulled = tinynn.grad(descriptor(positions, system), positions, tinynn.tensor(g), create_graph=True)
    np.testing.assert_allclose(pulled.numpy(), np.einsum("ncf,ncfax->nax", g, jacobian), rtol=1e-12, atol=1e-12)
    if isinstance(descriptor, Cartesian):  # linear: there is nothing left to differentiate
        with pytest.raises(GraphError, match="does not depend"):
            tinynn.grad((pulled * w).sum(), positions)
        return
    bent = tinynn.grad((pulled * w).sum(), positions)
    h = 1e-5
    up, down = (np.einsum("ncf,ncfax->nax", g, descriptor.compute(x + s * w, system)[1]) for s in (h, -h))
    np.testing.assert_allclose(bent.numpy(), (up - down) / (2 * h), rtol=1e-6, atol=1e-7)


def test_forces_within_a_compiled_step(case):
    descriptor, system, x = case
    net = tinynn.nn.Sequential(tinynn.nn.Linear(len(descriptor), 8), tinynn.nn.Tanh(), tinynn.nn.Linear(8, 1))
    target = np.random.default_rng(2).normal(size=x.shape)

    def slopes(positions):
        positions = positions.detach().requires_grad_()
        energy = net(descriptor(positions, system)[:, 0]).sum()
        forces = -tinynn.grad(energy, positions, create_graph=True)
        loss = ((forces - target) ** 2).mean()
        return loss, *tinynn.grad(loss, list(net.parameters()), allow_unused=True)[:3]

    compiled = tinynn.compile(slopes)
    for seed in range(4):
        positions = tinynn.tensor(configurations(descriptor.atoms, seed=seed))
        for one, other in zip(slopes(positions), compiled(positions)):
            np.testing.assert_allclose(one.detach().numpy(), other.numpy(), rtol=1e-8, atol=1e-10)


def test_settings_make_the_descriptor_again(case):
    descriptor = case[0]
    written = json.loads(json.dumps(descriptor.settings()))
    assert type(descriptor).from_settings(written) == descriptor
    assert eval(repr(descriptor)) == descriptor


def test_pairs_are_in_the_order_of_the_upper_triangle():
    x = np.random.default_rng(0).normal(size=(1, 4, 3))
    expected = [np.linalg.norm(x[0, i] - x[0, j]) for i, j in itertools.combinations(range(4), 2)]
    np.testing.assert_allclose(Distances(4).values(x)[0, 0], expected)
    np.testing.assert_allclose(InverseDistances(4).values(x)[0, 0], 1 / np.array(expected))
    assert len(Distances(4)) == 6


@pytest.mark.parametrize("kind", [Distances, InverseDistances])
def test_distances_do_not_change_when_the_molecule_moves(kind):
    x = configurations(4)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    descriptor = kind(4)
    values, jacobian = descriptor.compute(x)
    moved_values, moved_jacobian = descriptor.compute(x @ rotation.T + [1.0, -7.0, 3.0])
    np.testing.assert_allclose(moved_values, values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(moved_jacobian, jacobian @ rotation.T, rtol=0, atol=1e-12)


CELLS = {
    "cube": np.eye(3) * 5.0,
    "box": np.diag([3.0, 9.0, 4.0]),
    "skew": SKEW,
    "very skew": np.array([[4.0, 0.0, 0.0], [11.0, 3.0, 0.0], [-9.0, 8.0, 5.0]]),
    "hexagonal": np.array([[3.0, 0.0, 0.0], [-1.5, 1.5 * np.sqrt(3.0), 0.0], [0.0, 0.0, 5.0]]),
    "left-handed": SKEW[[1, 0, 2]],
}


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("cell", CELLS)
def test_minimum_image_is_the_nearest_of_very_many(cell, pbc):
    vectors, periodic = CELLS[cell], np.array(pbc)
    rng = np.random.default_rng(0)
    x = rng.uniform(-2.0, 2.0, (40, 2, 3))
    ranges = [range(-n, n + 1) if p else range(1) for p, n in zip(pbc, (40, 12, 4))]
    shifts = np.array(list(itertools.product(*ranges))) @ vectors
    nearest = np.array([np.linalg.norm(d + shifts, axis=1).min() for d in x[:, 1] - x[:, 0]])
    x += (rng.integers(-5, 6, (40, 2, 3)) * periodic) @ vectors  # far out of the cell
    system = System("HH", cell=vectors, pbc=pbc)
    np.testing.assert_allclose(Distances(2).values(x, system)[:, 0, 0], nearest, rtol=1e-10)
    np.testing.assert_allclose(Distances(2)(tinynn.tensor(x), system).numpy()[:, 0, 0], nearest, rtol=1e-10)
    np.testing.assert_allclose(Distances(2).compute(x, system)[0][:, 0, 0], nearest, rtol=1e-10)


def test_right_angles_need_no_other_images():
    assert len(minimum_images(np.diag([3.0, 9.0, 4.0]), True).shifts) == 1
    assert len(minimum_images(CELLS["hexagonal"], (True, True, False)).shifts) == 5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Distances(3).compute(np.zeros((3, 3))), ValueError, r"shape \(n, 3, 3\), got \(3, 3\).*\[None\]"),
        (lambda: Distances(3).compute(np.zeros((1, 2, 3))), ValueError, r"shape \(n, 3, 3\), got \(1, 2, 3\)"),
        (lambda: Distances(2).compute(np.zeros((0, 2, 3))), ValueError, "hold no configurations"),
        (
            lambda: Distances(2).compute([[[0.0] * 3, [1.0] * 3], [[np.nan] * 3, [1.0] * 3]]),
            ValueError,
            "NaN or infinity in 1 of 2 configurations, the first is number 1",
        ),
        (
            lambda: InverseDistances(3).compute([[[0, 0, 0], [1, 1, 1], [1, 1, 1]]]),
            ValueError,
            "configuration 0, atom 1 lies at the place of atom 2",
        ),
        (
            lambda: InverseDistances(2)(tinynn.zeros(1, 2, 3)),
            ValueError,
            "configuration 0, atom 0 lies at the place of atom 1",
        ),
        (
            lambda: Distances(2).values([[[0.5, 0, 0], [3.5, 0, 0]]], System("HH", cell=np.eye(3) * 3.0, pbc=True)),
            ValueError,
            "atom 0 lies at the place of atom 1",
        ),
        (lambda: Distances(2).compute(np.zeros((1, 2, 3)), System("HHH")), ValueError, "2 atoms that move"),
        (lambda: Distances(2).compute(np.zeros((1, 2, 3)), ["H", "H"]), TypeError, "system must be a System, got list"),
        (
            lambda: Distances(2).compute(np.ones((1, 2, 3)), System("HH", None, False, "H", [[9] * 3])),
            ValueError,
            "frozen atoms",
        ),
        (lambda: Distances(2)(tinynn.tensor([[[0, 0, 0], [1, 1, 1]]])), TypeError, "floating-point numbers, got int64"),
        (lambda: Distances(1), ValueError, "at least 2 atoms, got 1"),
        (lambda: Cartesian(0), ValueError, "at least 1 atom, got 0"),
        (lambda: InverseDistances(2.0), TypeError, "InverseDistances: atoms is the number of atoms"),
        (lambda: SurfaceCoordinates(-1.0), ValueError, "lattice_constant must be a positive length, got -1.0"),
        (lambda: SurfaceCoordinates(1.0, decay=np.inf), ValueError, "decay must be a positive length"),
        (lambda: SurfaceCoordinates(1.0, origin=(0, 0)), ValueError, r"origin must be a point"),
        (
            lambda: SurfaceCoordinates(1.0).compute(np.ones((1, 2, 3)), System("CO")),
            ValueError,
            r"do not change when the two atoms are exchanged; System\(CO\)",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
