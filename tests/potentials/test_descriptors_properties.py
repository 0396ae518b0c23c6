"""What holds for symmetry functions of any atoms: symmetry, continuity, derivatives to the last digits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynn.potentials import G2, G4, G5, Cosine, Polynomial, SymmetryFunctions, System

ELEMENTS = ["H", "C", "O"]
FEW = settings(max_examples=25)


@st.composite
def functions(draw) -> SymmetryFunctions:
    """One to five functions, cutoffs from 2 to 5."""
    element, pair = st.sampled_from(ELEMENTS), st.tuples(*[st.sampled_from(ELEMENTS)] * 2)
    eta, shift, cutoff = st.floats(0.0, 3.0), st.floats(-1.0, 4.0), st.floats(2.0, 5.0)
    zeta, sign = st.sampled_from([1.0, 1.5, 2.0, 3.7, 4.0, 16.0, 70.0]), st.sampled_from([1.0, -1.0])
    radial = st.builds(G2, element, eta, shift, cutoff)
    angular = st.one_of(*[st.builds(kind, pair, eta, zeta, sign, cutoff, shift) for kind in (G4, G5)])
    named = draw(st.lists(st.one_of(radial, angular), min_size=1, max_size=5))
    return SymmetryFunctions(named, draw(st.sampled_from([Cosine(), Polynomial(2.0), Polynomial(3.3)])))


@st.composite
def environments(draw) -> tuple[np.ndarray, System]:
    """Two to six atoms, not too near each other, in a cell of any shape, or in none."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count = draw(st.integers(2, 6))
    numbers = [draw(st.sampled_from(ELEMENTS)) for _ in range(count)]
    corners = np.array(list(np.ndindex(2, 2, 2)))[rng.permutation(8)[:count]]
    x = 1.3 * corners + rng.uniform(-0.3, 0.3, (count, 3))
    if draw(st.booleans()):
        return x, System(numbers)
    cell = np.diag(rng.uniform(2.6, 7.0, 3)) + np.tril(rng.uniform(-2.0, 2.0, (3, 3)), -1)
    return x, System(numbers, cell=cell, pbc=[bool(rng.integers(2)), True, bool(rng.integers(2))])


def rotated(system: System, rotation: np.ndarray) -> System:
    cell = None if system.cell is None else system.cell @ rotation.T
    return System(system.numbers, cell=cell, pbc=system.pbc)


def close(one, other, size=1.0) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11 * max(size, 1.0))


@FEW
@given(functions(), environments(), st.integers(0, 10**6))
def test_rotations_and_reflections(descriptor, environment, seed):
    x, system = environment
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    values, jacobian = descriptor.compute(x[None], system)
    turned_values, turned_jacobian = descriptor.compute((x @ rotation.T)[None], rotated(system, rotation))
    close(turned_values, values, np.abs(values).max())
    close(turned_jacobian, jacobian @ rotation.T, np.abs(jacobian).max())


@FEW
@given(functions(), environments(), st.integers(0, 10**6))
def test_translations_of_all_and_of_single_atoms_by_the_lattice(descriptor, environment, seed):
    x, system = environment
    rng = np.random.default_rng(seed)
    moved = x + rng.uniform(-9.0, 9.0, 3)
    if system.cell is not None:
        moved = moved + (rng.integers(-4, 5, x.shape) * np.array(system.pbc)) @ system.cell
    values, jacobian = descriptor.compute(x[None], system)
    moved_values, moved_jacobian = descriptor.compute(moved[None], system)
    close(moved_values, values, np.abs(values).max())
    close(moved_jacobian, jacobian, np.abs(jacobian).max())
    close(jacobian.sum(axis=3), 0.0, np.abs(jacobian).max())  # nothing changes when all atoms move together


@FEW
@given(functions(), environments(), st.randoms(use_true_random=False))
def test_permutations(descriptor, environment, random):
    x, system = environment
    order = list(range(len(x)))
    random.shuffle(order)
    values, jacobian = descriptor.compute(x[None], system)
    other = System([system.numbers[i] for i in order], cell=system.cell, pbc=system.pbc)
    new_values, new_jacobian = descriptor.compute(x[order][None], other)
    close(new_values, values[:, order], np.abs(values).max())
    close(new_jacobian, jacobian[:, order][..., order, :], np.abs(jacobian).max())


@FEW
@given(functions(), environments())
def test_plain_formulas_agree(descriptor, environment):
    x, system = environment
    values, jacobian = descriptor.compute(x[None], system)
    plain_values, plain_jacobian = descriptor.compute(x[None], system, backend="numpy")
    close(values, plain_values, np.abs(values).max())
    close(jacobian, plain_jacobian, np.abs(jacobian).max())


@FEW
@given(functions(), environments())
def test_cell_and_supercell(descriptor, environment):
    x, system = environment
    if system.cell is None:
        return
    one = descriptor.values(x[None], system)[0]
    twice = np.where(system.pbc, 2, 1)
    shifts = np.array(list(np.ndindex(*twice))) @ system.cell
    many = (x + shifts[:, None]).reshape(1, -1, 3)
    larger = System(system.numbers * len(shifts), cell=twice[:, None] * system.cell, pbc=system.pbc)
    values = descriptor.values(many, larger)[0].reshape(len(shifts), *one.shape)
    close(values, np.broadcast_to(one, values.shape), one.max())


@FEW
@given(functions(), st.sampled_from([1e-3, 1e-5]))
def test_a_neighbor_that_leaves_changes_value_and_slope_without_a_jump(descriptor, h):
    """Near the cutoff the values fall with the square of the distance to it, the slopes linearly."""
    for f in descriptor.functions:
        single = SymmetryFunctions([f], descriptor.cutoff_function)
        elements = (f.neighbor, f.neighbor) if isinstance(f, G2) else f.neighbors
        system = System(["H", *elements])
        before, after = (
            single.compute([[[0.0, 0.0, 0.0], [0.3, 1.1, 0.0], [f.cutoff + d, 0.0, 0.0]]], system, centers=[0])
            for d in (-h, h)
        )
        alone = single.compute([[[0.0, 0.0, 0.0], [0.3, 1.1, 0.0]]], System(["H", elements[0]]), centers=[0])
        largest = 70.0 * 3.0 * 10.0 * h  # ζ, and what the other factors and the second derivative of f_c can be
        assert abs(before[0] - after[0]).max() < largest * h
        assert abs(before[1] - after[1]).max() < largest
        if elements[0] == elements[1] or isinstance(f, G2):
            np.testing.assert_allclose(after[0], alone[0], atol=1e-15)


# ------------------------------------------------------------------------------------------------- complex step


def written_out(f, cutoff_function, x, i, symbols):
    """The definition, in arithmetic that complex numbers can go through."""

    def length(d):
        return np.sqrt((d * d).sum())

    def damped(r):
        if r.real >= f.cutoff:
            return 0.0
        t = r / f.cutoff
        if isinstance(cutoff_function, Cosine):
            fc = 0.5 * (np.cos(np.pi * t) + 1.0)
        else:
            g = cutoff_function.gamma
            fc = 1.0 + g * t ** (g + 1.0) - (g + 1.0) * t**g
        return np.exp(-f.eta * (r - f.shift) ** 2) * fc

    others = [j for j in range(len(x)) if j != i]
    if isinstance(f, G2):
        return sum(damped(length(x[j] - x[i])) for j in others if symbols[j] == f.neighbor)
    total = 0.0
    for a, j in enumerate(others):
        for k in others[:a]:
            if sorted((symbols[j], symbols[k])) != sorted(f.neighbors):
                continue
            dj, dk = x[j] - x[i], x[k] - x[i]
            rj, rk = length(dj), length(dk)
            base = 1.0 + f.lambda_ * (dj * dk).sum() / (rj * rk)
            part = 2.0 ** (1.0 - f.zeta) * base**f.zeta * damped(rj) * damped(rk)
            total = total + (part * damped(length(x[j] - x[k])) if isinstance(f, G4) else part)
    return total


@pytest.mark.parametrize("cutoff_function", [Cosine(), Polynomial(2.0), Polynomial(4.5)])
@pytest.mark.parametrize("kind", [G2, G4, G5])
def test_jacobian_equals_the_complex_step(kind, cutoff_function):
    symbols = ["O", "H", "H", "C", "O"]
    x = 1.4 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]) + np.random.default_rng(0).uniform(
        -0.3, 0.3, (5, 3)
    )
    if kind is G2:
        named = [G2("H", 0.8, 1.2, 3.0), G2("O", 0.0, 0.0, 5.0), G2("C", 3.0, 2.5, 2.4)]
    else:
        named = [
            kind(("H", "O"), 0.1, 1.0, 1.0, 4.0), kind(("O", "H"), 0.5, 5.5, -1.0, 3.0, 0.4),
            kind(("H", "H"), 0.0, 64.0, 1.0, 5.0),
        ]  # fmt: skip
    values, jacobian = SymmetryFunctions(named, cutoff_function).compute(x[None], System(symbols))
    h = 1e-30
    for i in range(5):
        for q, f in enumerate(named):
            np.testing.assert_allclose(values[0, i, q], written_out(f, cutoff_function, x, i, symbols), rtol=1e-13)
            for atom in range(5):
                for axis in range(3):
                    step = np.zeros((5, 3), complex)
                    step[atom, axis] = 1j * h
                    slope = np.imag(written_out(f, cutoff_function, x + step, i, symbols)) / h
                    np.testing.assert_allclose(jacobian[0, i, q, atom, axis], slope, rtol=1e-12, atol=1e-14)
