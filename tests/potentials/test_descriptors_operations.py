"""Symmetry functions as operations on tensors: products with derivatives, forces in a loss, compiled steps."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tinynn
from tinynn import nn, optim
from tinynn.graph import GraphError
from tinynn.potentials import G2, G4, G5, Cosine, Polynomial, SymmetryFunctions, System

pytest.importorskip("numba")

FUNCTIONS = (
    G2("Pd", 2.0, 2.2, 6.0),
    G2("O", 0.5, 1.0, 6.0),
    G2(1, 0.3, 1.0, 4.0),
    G5(("Pd", "Pd"), 0.05, 1.0, 1.0, 5.0),
    G5(("Pd", "O"), 0.1, 4.0, -1.0, 5.0),
    G5(("O", "Pd"), 0.1, 2.5, 1.0, 4.5, 0.7),
    G4(("O", "Pd"), 0.05, 2.0, -1.0, 5.0),
    G4(("Pd", "Pd"), 0.01, 1.0, 1.0, 5.5),
    G4(("O", "H"), 0.01, 3.0, -1.0, 6.0),
    G4(("O", "O"), 0.1, 1.5, 1.0, 6.0, 0.3),
)
SLAB = np.random.default_rng(0).uniform(0.0, 5.5, (3, 3)) - [0.0, 0.0, 5.5]
SYSTEM = System(
    ["O", "O", "H"], cell=[[5.5, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.0, 20.0]], pbc=(True, True, False),
    frozen_numbers=["Pd"] * 3, frozen_positions=SLAB,
)  # fmt: skip


def configurations(n: int = 4, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-0.4, 0.4, (n, 3, 3))
    return x + [[0.5, 0.5, 1.5], [1.9, 0.9, 2.0], [0.9, 1.4, 2.9]]


@pytest.mark.parametrize("cutoff_function", [Cosine(), Polynomial(2.0), Polynomial(3.5)])
@pytest.mark.parametrize("centers", [None, [2], [1, 0]])
def test_products_with_first_and_second_derivatives(cutoff_function, centers):
    functions = SymmetryFunctions(FUNCTIONS, cutoff_function)
    x, rng = configurations(), np.random.default_rng(1)
    values, jacobian = functions.compute(x, SYSTEM, centers=centers)
    g, w = rng.normal(size=values.shape), rng.normal(size=x.shape)
    X, G, W = (tinynn.tensor(array, requires_grad=True) for array in (x, g, w))

    out = functions(X, SYSTEM, centers=centers)
    np.testing.assert_allclose(out.detach().numpy(), values, rtol=1e-12, atol=1e-14)
    pulled = tinynn.grad(out, X, G, create_graph=True)
    np.testing.assert_allclose(
        pulled.detach().numpy(), np.einsum("ncf,ncfax->nax", g, jacobian), rtol=1e-11, atol=1e-12
    )
    pushed, bent = tinynn.grad(pulled, (G, X), W, create_graph=True)
    np.testing.assert_allclose(
        pushed.detach().numpy(), np.einsum("nax,ncfax->ncf", w, jacobian), rtol=1e-11, atol=1e-12
    )

    h = 1e-5
    up, down = (
        np.einsum("ncf,ncfax->nax", g, functions.compute(x + s * w, SYSTEM, centers=centers)[1]) for s in (h, -h)
    )
    np.testing.assert_allclose(bent.detach().numpy(), (up - down) / (2 * h), rtol=1e-6, atol=1e-6)
    # back through what was pushed: the same second derivative, and the first
    by_w, by_x = tinynn.grad(pushed, (W, X), G)
    np.testing.assert_allclose(by_w.numpy(), pulled.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(by_x.numpy(), bent.detach().numpy(), rtol=1e-11, atol=1e-12)


def test_forward_mode():
    functions = SymmetryFunctions(FUNCTIONS)
    x, w = configurations(), np.random.default_rng(1).normal(size=(4, 3, 3))
    _, tangent = tinynn.func.jvp(lambda x: functions(x, SYSTEM), (tinynn.tensor(x),), (tinynn.tensor(w),))
    jacobian = functions.compute(x, SYSTEM)[1]
    np.testing.assert_allclose(tangent.numpy(), np.einsum("nax,ncfax->ncf", w, jacobian), rtol=1e-11, atol=1e-12)


def test_without_numba_first_derivatives_come_from_plain_formulas(monkeypatch):
    functions, x = SymmetryFunctions(FUNCTIONS), configurations()

    def both():
        X = tinynn.tensor(x, requires_grad=True)
        G = tinynn.ones(4, 3, len(functions)).requires_grad_()
        pulled = tinynn.grad(functions(X, SYSTEM), X, G, create_graph=True)
        return pulled, X, tinynn.grad((pulled * pulled).sum(), G, retain_graph=True)

    expected, _, expected_pushed = both()
    monkeypatch.setattr("tinynn.potentials.environments.has_numba", lambda: False)
    pulled, X, pushed = both()
    np.testing.assert_allclose(pulled.detach().numpy(), expected.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(pushed.numpy(), expected_pushed.numpy(), rtol=1e-11, atol=1e-11)
    with pytest.raises(ImportError, match="second derivatives of symmetry functions need Numba"):
        tinynn.grad(pulled.sum(), X)


def test_third_derivatives_are_refused():
    functions = SymmetryFunctions(FUNCTIONS)
    x = tinynn.tensor(configurations(), requires_grad=True)
    first = tinynn.grad(functions(x, SYSTEM).sum(), x, create_graph=True)
    second = tinynn.grad((first * first).sum(), x, create_graph=True)
    with pytest.raises(GraphError, match="third derivatives of symmetry functions"):
        tinynn.grad(second.sum(), x)


def test_arrays_become_tensors():
    functions = SymmetryFunctions(FUNCTIONS)
    out = functions(configurations(), SYSTEM)
    assert isinstance(out, tinynn.Tensor)
    np.testing.assert_array_equal(out.numpy(), functions.values(configurations(), SYSTEM))


def test_single_precision_in_and_out():
    functions = SymmetryFunctions(FUNCTIONS)
    x = tinynn.tensor(configurations()).to("float32").requires_grad_()
    out = functions(x, SYSTEM)
    slope = tinynn.grad(out.sum(), x)
    assert out.dtype == slope.dtype == np.float32
    np.testing.assert_allclose(out.detach().numpy(), functions.values(configurations(), SYSTEM), atol=1e-5)


# ------------------------------------------------------------------------------------------- forces in a loss


class Energy(nn.Module):
    """A network of the descriptors of each atom; energies and forces through the descriptor."""

    def __init__(self, functions: SymmetryFunctions) -> None:
        super().__init__()
        self.functions = functions
        self.net = nn.Sequential(nn.Linear(len(functions), 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, positions):
        x = positions.detach().requires_grad_()
        energy = self.net(self.functions(x, SYSTEM)).sum(axis=(1, 2))
        return energy, -tinynn.grad(energy.sum(), x, create_graph=True)


def training(compiled: bool):
    tinynn.manual_seed(0)
    model = Energy(SymmetryFunctions(FUNCTIONS))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def step(positions, energies, forces):
        optimizer.zero_grad()
        energy, force = model(positions)
        loss = ((energy - energies) ** 2).mean() + ((force - forces) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    rng = np.random.default_rng(0)
    losses = []
    for k in range(12):
        batch = configurations(4, seed=k), rng.normal(size=4), rng.normal(size=(4, 3, 3))
        losses.append(float(step(*map(tinynn.tensor, batch)).item()))
    return losses, step


def test_training_through_the_descriptor_compiled_and_not():
    eager, _ = training(False)
    compiled, step = training(True)
    np.testing.assert_allclose(compiled, eager, rtol=1e-9)
    kinds = [type(instruction.op).__name__ for instruction in step.program.instructions]
    assert {"SymmetryValues", "SymmetryPulled", "SymmetryPushed"} <= set(kinds)
    assert "SymmetryBent" not in str(step.plan), "nobody asks for the gradient by the positions"


def test_gradients_by_parameters_are_those_of_stored_jacobians():
    model = Energy(SymmetryFunctions(FUNCTIONS))
    x = configurations()
    values, jacobian = model.functions.compute(x, SYSTEM)
    energy, forces = model(tinynn.tensor(x))
    ((forces * forces).sum() + energy.sum()).backward()
    through = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    G = tinynn.tensor(values, requires_grad=True)
    energy = model.net(G).sum(axis=(1, 2))
    slopes = tinynn.grad(energy.sum(), G, create_graph=True)
    forces = -tinynn.einsum("ncf,ncfax->nax", slopes, tinynn.tensor(jacobian))
    ((forces * forces).sum() + energy.sum()).backward()
    for one, other in zip(through, [p.grad.numpy() for p in model.parameters()]):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_hessian_of_the_energy():
    """Vibrations: second derivatives of a network of symmetry functions, against differences of its forces."""
    model = Energy(SymmetryFunctions(FUNCTIONS))
    x = configurations(1)
    hessian = tinynn.func.hessian(lambda x: model.net(model.functions(x, SYSTEM)).sum())(tinynn.tensor(x)).numpy()
    h = 1e-5
    for atom, axis in ((0, 0), (2, 1)):
        step = np.zeros_like(x)
        step[0, atom, axis] = h
        up, down = (model(tinynn.tensor(x + s * step))[1].detach().numpy() for s in (1, -1))
        np.testing.assert_allclose(hessian[0, atom, axis], -(up - down) / (2 * h), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(hessian.reshape(9, 9), hessian.reshape(9, 9).T, atol=1e-9)


def test_another_system_of_equal_value_is_the_same_operation():
    """A step that makes its system anew in each call is recorded twice without a difference."""
    functions = SymmetryFunctions(FUNCTIONS[:2])

    @tinynn.compile
    def values(x):
        system = System(["O", "O", "H"], frozen_numbers=["Pd"], frozen_positions=[[0.0, 0.0, -1.0]])
        return functions(x, system)

    for seed in range(4):
        x = tinynn.tensor(configurations(seed=seed))
        np.testing.assert_array_equal(values(x).numpy(), values.function(x).numpy())
    assert len(values.program.instructions) == 1


# ------------------------------------------------------------------------------------- settings, equality, species


def test_settings_make_the_functions_again():
    functions = SymmetryFunctions(FUNCTIONS, Polynomial(3.0))
    again = SymmetryFunctions.from_settings(json.loads(json.dumps(functions.settings())))
    assert again == functions
    assert hash(again) == hash(functions)
    assert again.functions == functions.functions
    assert again != SymmetryFunctions(FUNCTIONS)
    assert again != "G2"


def test_symbols_and_numbers_name_the_same_element():
    assert SymmetryFunctions([G2("O", 1.0), G5(("O", "Pd"), 1.0)]) == SymmetryFunctions([G2(8, 1.0), G5((8, 46), 1.0)])
    x = configurations()
    by_name = SymmetryFunctions([G2("O", 1.0)]).values(x, ["O", "O", "H"])
    np.testing.assert_array_equal(SymmetryFunctions([G2(8, 1.0)]).values(x, ["O", "O", "H"]), by_name)
    np.testing.assert_array_equal(SymmetryFunctions([G2("O", 1.0)]).values(x, [8, np.int64(8), 1]), by_name)
    np.testing.assert_array_equal(SymmetryFunctions([G2("O", 1.0)]).values(x, System("OOH")), by_name)
    labels = SymmetryFunctions([G2("adsorbate", 1.0)]).values(x, ["adsorbate", "adsorbate", "H"])
    np.testing.assert_array_equal(labels, by_name)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f, x: f(tinynn.tensor(x), ["O", "O", "H"]), TypeError, "take a System, got list"),
        (lambda f, x: f(tinynn.tensor(x).to("int64"), SYSTEM), TypeError, "floating-point numbers, got int64"),
        (lambda f, x: f(tinynn.tensor(x[0]), SYSTEM), ValueError, r"got \(3, 3\); for one configuration"),
        (lambda f, x: SymmetryFunctions([G2("H", 1.0)], np.cos), TypeError, "cutoff_function must be Cosine"),
        (lambda f, x: f.compute(x, SYSTEM, cell=np.eye(3)), TypeError, "a System knows its cell"),
        (lambda f, x: f.compute(x, SYSTEM, centers=[0.5]), TypeError, "centers must be a list of indices"),
        (lambda f, x: f.compute(x, System("OO")), ValueError, "species has 2 labels for 3 atoms"),
        (lambda f, x: f.compute(x, "OOH"), TypeError, "species must be a list with a label per atom"),
        (lambda f, x: f.compute(x, ["O", "o", "H"]), ValueError, r"species\[1\] is 'o', which is no chemical element"),
        (
            lambda f, x: f.compute(x, ["O"] * 3, frozen_positions=[[9.0] * 3], frozen_species=["pd"]),
            ValueError,
            r"frozen_species\[0\] is 'pd'",
        ),
        (
            lambda f, x: f.compute(x, ["O"] * 3, frozen_positions=[[np.inf] * 3], frozen_species=["Pd"]),
            ValueError,
            "frozen_positions must be finite",
        ),
        (lambda f, x: f.compute(x[:0], SYSTEM), ValueError, r"\(0, 3, 3\) hold no configurations"),
        (lambda f, x: f.compute(x[:, :0], []), ValueError, "hold no atoms"),
        (lambda f, x: f.compute(x, ["O"] * 3, cell=np.zeros((3, 3))), ValueError, "lattice vector 0 is zero"),
        (lambda f, x: f.compute(x, ["O"] * 3, cell=np.full((3, 3), np.nan)), ValueError, "cell must be finite"),
        (
            lambda f, x: f.compute(x, ["O"] * 3, cell=[[9, 0, 0], [9, 1e-7, 0], [0, 0, 9]]),
            ValueError,
            "they must be independent",
        ),
        (lambda f, x: f.compute(x, ["O"] * 3, cell=np.eye(3), pbc=(True, False)), ValueError, "pbc must be a bool"),
        (
            lambda f, x: f.compute(np.where(np.arange(4)[:, None, None] == 2, np.nan, x), SYSTEM),
            ValueError,
            "1 of 4 configurations, the first is number 2",
        ),
        (
            lambda f, x: f.compute(x[:2] * [[[1.0]], [[0.0]]], SYSTEM),
            ValueError,
            "in configuration 1, atom 2 lies at the place of atom 1",
        ),
        (
            lambda f, x: f.compute(np.concatenate([x, x])[:, :1] * 0.0, ["H"], frozen_positions=[[9.0] * 3, [0.0] * 3],
                                   frozen_species=["Ag", "O"]),
            ValueError,
            "atom 0 lies at the place of frozen atom 1 .* so it is in 8 configurations",
        ),
        (
            lambda f, x: f.compute(x[:, :1], ["O"], cell=np.diag([1e-4, 1.0, 1.0]), pbc=(True, False, False)),
            ValueError,
            "put images 0.0001 apart, which is too near for a cutoff of 6",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(SymmetryFunctions(FUNCTIONS), configurations())
