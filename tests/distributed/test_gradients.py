"""The exchange of gradients with a stand-in for the other rank: what is sent, how often, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import distributed, nn, optim
from tinynn.compiler.errors import TraceError
from tinynn.distributed import group


class Other:
    """Rank 0 of two; rank 1 always sends what `other` gives for an array, with the tickets of rank 0."""

    rank, size = 0, 2

    def __init__(self, other: Any = None, ticket: float = 0.0) -> None:
        self.other = other or (lambda array: np.ones_like(array))
        self.ticket = ticket
        self.sent: list[np.ndarray] = []

    def all_reduce(self, array: Any, op: str) -> Any:
        self.sent.append(array.copy())
        if array.ndim == 0:  # a loss
            return (array + 1.0) / 2
        assert op == "sum"
        from_other = array.copy()
        from_other[:-2] = self.other(array[:-2])
        from_other[-1] += self.ticket
        return array + from_other


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Other]:
    stand_in = Other()
    monkeypatch.setattr(group, "_group", stand_in)
    return stand_in


def training(compiled: Any, clip: bool = False) -> tuple[Any, Any, Any]:
    tinynn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = distributed.DistributedOptimizer(optim.Adam(model.parameters(), lr=0.01))

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, tinynn.compile(step, machine=compiled) if compiled else step


def test_one_flat_array_goes_out(other: Other) -> None:
    model, _, _ = training(None)
    (model(tinynn.ones(5, 3)) ** 2).mean().backward()
    gradients = [p.grad.numpy().copy() for p in model.parameters()]
    distributed.all_reduce_gradients(model)
    (sent,) = other.sent
    assert sent.shape == (3 * 4 + 4 + 4 + 1 + 2,)
    np.testing.assert_array_equal(sent[:-2], np.concatenate(gradients, axis=None))
    for p, mine in zip(model.parameters(), gradients):
        np.testing.assert_allclose(p.grad.numpy(), (mine + 1.0) / 2)


@pytest.mark.parametrize("machine", ["numba", "numpy", None])
def test_a_compiled_step_exchanges_once_per_call(other: Other, machine: str | None) -> None:
    """Also in the call in which the program is tried out."""
    model, optimizer, step = training(machine)
    for count in range(1, 8):
        step(tinynn.randn(6, 3))
        assert len(other.sent) == count
        assert optimizer.state[model[0].weight]["step"] == count


def test_machines_and_plain_python_send_the_same(other: Other) -> None:
    other.other = lambda array: 3.0 * array + 0.1
    found = []
    for machine in (None, "numpy", "numba"):
        other.sent.clear()
        model, _, step = training(machine)
        losses = [step(tinynn.tensor(np.random.default_rng(k).standard_normal((6, 3)))).item() for k in range(6)]
        found.append((losses, [sent.copy() for sent in other.sent], model[0].weight.detach().numpy().copy()))
    for losses, sent, weight in found[1:]:
        np.testing.assert_allclose(losses, found[0][0], rtol=1e-12)
        np.testing.assert_allclose(weight, found[0][2], rtol=1e-12)
        np.testing.assert_allclose(sent, found[0][1], rtol=1e-10, atol=1e-14)


def test_a_trial_with_moved_numbers_moves_the_answer(other: Other) -> None:
    """What the compiler does where a step makes much of rounding: others stay as they were."""
    from tinynn.autodiff import apply
    from tinynn.compiler import record
    from tinynn.distributed.gradients import Clock, MeanOverRanks

    w = tinynn.zeros(3, requires_grad=True)
    op = MeanOverRanks(other, 4.0, Clock(optim.SGD([w], lr=1.0), w), ())  # no step is ever taken: all are trials
    op.asked = True
    x = tinynn.tensor([1.0, 2.0, 3.0])
    record(lambda x: apply(op, x), x)
    np.testing.assert_allclose(other.sent[0][:-2], [4.0, 8.0, 12.0])
    moved = op.forward(np, np.array([1.0, 2.5, 3.0]))
    np.testing.assert_allclose(moved, [(4.0 + 1.0) / 8, (10.0 + 1.0) / 8, (12.0 + 1.0) / 8])
    assert len(other.sent) == 1


@pytest.mark.parametrize("machine", ["numba", None])
def test_tickets_that_differ_are_an_error(other: Other, machine: str | None) -> None:
    _, _, step = training(machine)
    for _ in range(3):
        step(tinynn.randn(6, 3))
    other.ticket = 1.0
    with pytest.raises(RuntimeError, match=r"rank 0 of 2 is at step 4, and others are not"):
        step(tinynn.randn(6, 3))


def test_a_gradient_that_is_missing_here_is_said(other: Other) -> None:
    other.ticket = 1.0
    model, _, _ = training(None)
    model[2](tinynn.ones(1, 4)).sum().backward()
    with pytest.raises(RuntimeError, match="where 2 parameters have no gradient"):
        distributed.all_reduce_gradients(model)


def test_only_what_can_be_repeated_is_compiled(other: Other) -> None:
    model, optimizer, _ = training(None)

    def backward(x: Any) -> None:
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()

    @tinynn.compile
    def of_a_model(x: Any) -> Any:
        backward(x)
        distributed.all_reduce_gradients(model)
        return x

    @tinynn.compile
    def loss_over_ranks(x: Any) -> Any:
        return distributed.all_reduce((model(x) ** 2).mean(), "mean")

    with pytest.raises(TraceError, match=r"all_reduce_gradients\(\) of a model.*give it the optimizer"):
        of_a_model(tinynn.ones(2, 3))
    with pytest.raises(TraceError, match=r"distributed.all_reduce\(\).*reduce it outside"):
        loss_over_ranks(tinynn.ones(2, 3))


def test_clipping_in_a_compiled_step(other: Other) -> None:
    """The exchange by hand, and then something else, and the plain optimizer."""
    found = []
    for compiled in (False, True):
        tinynn.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            optimizer.zero_grad()  # noqa: B023
            loss = (model(x) ** 2).mean()  # noqa: B023
            loss.backward()
            distributed.all_reduce_gradients(optimizer, samples=6)  # noqa: B023
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)  # noqa: B023
            optimizer.step()  # noqa: B023
            return loss

        run = tinynn.compile(step) if compiled else step
        other.sent.clear()
        found.append([run(tinynn.tensor(np.random.default_rng(k).standard_normal((6, 3)))).item() for k in range(6)])
        # SGD counts its steps as well, so that its trial is known
        assert len(other.sent) == 6
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10)


def test_schedules_checkpoints_and_reports_take_it_for_what_it_is(other: Other) -> None:
    _, optimizer, step = training(None)
    assert isinstance(optimizer, optim.Adam)
    assert distributed.DistributedOptimizer(optimizer) is optimizer  # not twice
    schedule = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    step(tinynn.randn(2, 3))
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.005
    assert repr(optimizer).startswith("DistributedAdam(")
    _, again, _ = training(None)
    again.load_state_dict(optimizer.state_dict())
    assert len(other.sent) == 1


def test_closures_are_averaged(other: Other) -> None:
    model, optimizer, _ = training(None)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (model(tinynn.ones(2, 3)) ** 2).mean()
        loss.backward()
        return loss

    mine = closure().item()
    assert optimizer.step(closure).item() == pytest.approx((mine + 1.0) / 2)


@pytest.mark.parametrize("samples", [0, -1, float("nan")])
def test_weights_are_positive(other: Other, samples: float) -> None:
    with pytest.raises(ValueError, match="samples must be positive"):
        distributed.all_reduce_gradients(nn.Linear(2, 1), samples=samples)


def test_only_optimizers_are_optimizers() -> None:
    with pytest.raises(TypeError, match=r"an optimizer of tinynn.optim, not a Linear"):
        distributed.DistributedOptimizer(nn.Linear(2, 1))
