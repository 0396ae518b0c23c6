"""The third use of an op's one definition: a whole training step recorded as a program, and run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compile import Program, record

rng = np.random.default_rng(0)
BATCHES = [(rng.standard_normal((8, 3)), rng.standard_normal((8, 1))) for _ in range(5)]


def model(*middle: Any) -> nn.Module:
    tn.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 6), *middle, nn.Linear(6, 1))


def training_step(net: nn.Module, optimizer: Any, loss_of: Callable[..., Any]) -> Callable[..., Any]:
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(net, x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def squares(net: nn.Module, x: Any, y: Any) -> Any:
    return nn.functional.mse_loss(net(x), y)


def with_forces(net: nn.Module, x: Any, y: Any) -> Any:
    """Energies and forces: the loss contains a gradient, so the update contains second derivatives."""
    x = x.detach().requires_grad_()
    energy = net(x)
    forces = -tn.grad(energy.sum(), x, create_graph=True)
    return tn.mean((energy - y) ** 2) + 0.1 * tn.mean(forces**2)


NETS: dict[str, Callable[[], nn.Module]] = {
    "tanh": lambda: model(nn.Tanh()),
    "gelu, layer norm": lambda: model(nn.GELU(), nn.LayerNorm(6)),
    "selu": lambda: model(nn.SELU()),
    "batch norm": lambda: model(nn.BatchNorm1d(6), nn.ReLU()),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}


def both(make: Callable[[], nn.Module], optimizer: str, loss_of: Any) -> tuple[Program, nn.Module, nn.Module]:
    """Train a network eagerly and its twin by the recorded program, and compare every number."""
    eager, replayed = make(), make()
    step = training_step(eager, OPTIMIZERS[optimizer](eager.parameters()), loss_of)
    other = OPTIMIZERS[optimizer](replayed.parameters())
    twin = training_step(replayed, other, loss_of)
    # SGD fills its buffer at the first step in another way than later, so the second step is the one that
    # repeats
    first, second = [tuple(map(tn.tensor, batch)) for batch in BATCHES[:2]]
    for batch in (first, second):
        step(*batch)
    twin(*first)
    program = record(twin, *second)
    for batch in BATCHES[2:]:
        wanted = step(*map(tn.tensor, batch))
        assert other.advance()  # the powers of beta are state, read at every run
        got = program.run(*map(tn.tensor, batch))
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-12)
    for (name, a), (_, b) in zip(eager.state_dict().items(), replayed.state_dict().items(), strict=True):
        if "num_batches" not in name:
            np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-11, atol=1e-14, err_msg=name)
    return program, eager, replayed


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NETS)
def test_training_replays(name: str, optimizer: str) -> None:
    program, *_ = both(NETS[name], optimizer, squares)
    assert program.assignments


def test_energies_and_forces_replay() -> None:
    both(NETS["tanh"], "sgd", with_forces)


def test_classification_replays_with_new_labels() -> None:
    weight = tn.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    x, labels = tn.tensor(rng.standard_normal((5, 4))), tn.tensor([0, 1, 2, 0, 1])

    def slope(x: Any, labels: Any) -> Any:
        return tn.grad(nn.functional.cross_entropy(tn.linear(x, weight), labels), weight)

    program = record(slope, x, labels)
    x, labels = tn.tensor(rng.standard_normal((5, 4))), tn.tensor([2, 2, 0, 1, 1])
    np.testing.assert_allclose(program.run(x, labels).numpy(), slope(x, labels).numpy(), rtol=1e-12)


def test_pooling_replays_with_new_places() -> None:
    kernel = tn.tensor(rng.standard_normal((2, 1, 3, 3)), requires_grad=True)

    def slope(x: Any) -> Any:
        return tn.grad(tn.relu(nn.functional.max_pool2d(nn.functional.conv2d(x, kernel), 2)).sum(), kernel)

    program = record(slope, tn.tensor(rng.standard_normal((2, 1, 8, 8))))
    x = tn.tensor(rng.standard_normal((2, 1, 8, 8)))
    np.testing.assert_allclose(program.run(x).numpy(), slope(x).numpy(), rtol=1e-12)


def test_indices_and_conditions_are_data() -> None:
    def f(x: Any, index: Any) -> Any:
        x = x.detach().requires_grad_()
        y = tn.where(x > 0, x * x, tn.exp(x))[index]
        return tn.grad((tn.maximum(y, 0.5) * tn.std(y)).sum(), x)

    program = record(f, tn.tensor([1.0, -1.0, 2.0]), tn.tensor([0, 1, 1]))
    x, index = tn.tensor([-0.3, 0.7, -2.0]), tn.tensor([2, 1, 2])
    np.testing.assert_allclose(program.run(x, index).numpy(), f(x, index).numpy(), rtol=1e-13)


def test_recording_leaves_no_graph_behind() -> None:
    w = tn.tensor([1.0, 2.0], requires_grad=True)
    record(lambda x: (w * x).sum().backward(), tn.tensor([3.0, 4.0]))
    assert w.grad is not None
    assert w.grad.node is None


def test_gradients_of_every_kind_pass_the_door() -> None:
    """No formula computes behind the recorder's back: each elementwise gradient replays on new data."""
    from tests.ops.test_elementwise import BINARY, UNARY

    for case in UNARY + BINARY:
        draw = np.random.default_rng(0)
        old, new = ([np.asarray(d(draw, (3, 2))) for d in case.domains] for _ in range(2))

        def f(*xs: Any, case: Any = case) -> Any:
            leaves = [x.detach().requires_grad_() for x in xs]
            return tn.grad(case.f(*leaves).sum(), leaves)

        program = record(f, *map(tn.Tensor, old))
        for got, wanted in zip(program.run(*map(tn.Tensor, new)), f(*map(tn.Tensor, new)), strict=True):
            np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-12, err_msg=case.name)
