"""Small systems and potentials that the tests of models share."""

from __future__ import annotations

import numpy as np

import tinynn
from tinynn.potentials import G2, G5, AtomicNetwork, Configurations, SymmetryFunctions, System

A = 2.75  # Å, of the square lattice of the slab
SLAB_CELL = np.diag([2 * A, 2 * A, 20.0])
TOP = np.array([[i * A, j * A, 0.0] for i in range(2) for j in range(2)])
BELOW = TOP + [A / 2, A / 2, -A / 2**0.5]
O2_ON_PD = System("OO", SLAB_CELL, True, ["Pd"] * 8, np.concatenate([TOP, BELOW]))
WATER, METHANE, OXYGEN = System("OHH"), System("CHHHH"), System("OO")

WATER_PLACES = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])
METHANE_PLACES = np.array(
    [[0.0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [0.63, -0.63, -0.63], [-0.63, 0.63, -0.63]]
)
OXYGEN_PLACES = np.array([[0.0, 0.0, 0.6], [0.0, 0.0, -0.6]])
PLACES = {WATER: WATER_PLACES, METHANE: METHANE_PLACES, OXYGEN: OXYGEN_PLACES}


def functions(*elements: str) -> SymmetryFunctions:
    """A few functions for surroundings of these elements."""
    shells = [G2(e, eta=2.0, shift=s, cutoff=5.0) for e in elements for s in (0.8, 1.4, 2.2)]
    pairs = [(a, b) for k, a in enumerate(elements) for b in elements[k:]]
    return SymmetryFunctions(
        shells + [G5(pair, eta=0.1, lambda_=sign, cutoff=5.0) for pair in pairs for sign in (1, -1)]
    )


def on_the_slab(n: int, seed: int = 0) -> np.ndarray:
    """Oxygen molecules above the slab (n, 2, 3)."""
    rng = np.random.default_rng(seed)
    center = rng.uniform([0, 0, 1.6], [2 * A, 2 * A, 2.6], (n, 3))
    half = rng.normal(size=(n, 3))
    half *= rng.uniform(0.5, 0.9, (n, 1)) / np.linalg.norm(half, axis=1, keepdims=True)
    half[:, 2] *= 0.5
    return np.stack([center - half, center + half], axis=1)


def shaken(system: System, n: int, seed: int = 0, by: float = 0.1) -> np.ndarray:
    """A molecule, displaced at random (n, atoms, 3)."""
    rng = np.random.default_rng(seed)
    return PLACES[system] + by * rng.normal(size=(n, len(system), 3))


def springs(x: np.ndarray, rest: float = 1.3) -> tuple[np.ndarray, np.ndarray]:
    """Energy and forces of soft repulsive pairs, all atoms alike: Σ exp(-2 (r - rest))."""
    d = x[:, :, None] - x[:, None]
    r = np.linalg.norm(d, axis=-1) + np.eye(x.shape[1])
    e = np.exp(-2.0 * (r - rest)) * (1 - np.eye(x.shape[1]))
    return 0.5 * e.sum(axis=(1, 2)), ((2.0 * e / r)[..., None] * d).sum(axis=2)


def molecules(system: System, n: int, seed: int = 0, per_atom: float = 0.0) -> Configurations:
    """Shaken molecules with the energy of `springs`, and an energy for every atom."""
    x = shaken(system, n, seed)
    energy, forces = springs(x)
    return Configurations(system, x, energy + per_atom * len(system), forces)


def scaled_potential(system: System = O2_ON_PD, positions=None, hidden=(8, 8), **settings) -> AtomicNetwork:
    """A potential with first weights and the scales of some positions."""
    tinynn.manual_seed(1)
    elements = tuple(dict.fromkeys(system.symbols))
    seen = tuple(dict.fromkeys((*elements, *system.frozen_symbols)))
    potential = AtomicNetwork(functions(*seen), elements, hidden, **settings)
    x = positions if positions is not None else on_the_slab(40) if system is O2_ON_PD else shaken(system, 40)
    energy = np.random.default_rng(2).normal(-3.0, 2.0, len(x))
    return potential.fit_scaling([(system, potential.describe(x, system).values, energy)])


def numerical_forces(potential, x: np.ndarray, system: System, h: float = 1e-4) -> np.ndarray:
    """Central differences of the energy (n, atoms, 3)."""
    forces = np.empty_like(x)
    for atom in range(x.shape[1]):
        for axis in range(3):
            step = np.zeros(x.shape[1:])
            step[atom, axis] = h
            up, down = (potential.predict(x + s * step, system, forces=False, warn=False).energy for s in (1, -1))
            forces[:, atom, axis] = (down - up) / (2 * h)
    return forces
