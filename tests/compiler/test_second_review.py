"""Defects that a trial by a user found, each with the smallest case that showed it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler import record
from tinynn.compiler.differences import differences
from tinynn.compiler.errors import TraceError
from tinynn.compiler.step import MOST_OBJECTS
from tinynn.data import DataLoader, TensorDataset

X = np.random.default_rng(0).standard_normal((4, 3))
MACHINES = ["program", "numpy", "auto"]


def the_same_as_eager(train: Callable[[Callable[..., Any]], Any], machine: str = "auto") -> None:
    """``train(compile)`` gives arrays; the same ones where it compiles nothing."""
    eager, compiled = train(lambda f: f), train(lambda f: tn.compile(f, machine=machine))
    assert len(eager) == len(compiled)
    for a, b in zip(eager, compiled, strict=True):
        if a is None or b is None:
            assert a is b
        else:
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def state_of(*modules: Any) -> list[Any]:
    """Parameters and gradients, as arrays of their own."""
    found: list[Any] = []
    for p in (p for module in modules for p in module.parameters()):
        found += [p.numpy().copy(), None if p.grad is None else p.grad.numpy().copy()]
    return found


# ------------------------------------------------------------------------------------- gradients at the beginning


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("pattern", ["01", "0001", "0110100101"])
@pytest.mark.parametrize("forget", ["optimizer", "model"])
@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1), lambda p: optim.Adam(p, lr=0.1)])
def test_gradients_that_add_up_before_a_step(machine: str, pattern: str, forget: str, make: Any) -> None:
    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = make(model.parameters())

        @compiled
        def step(x: Any, update: bool) -> Any:
            loss = (model(x) ** 2).mean()
            loss.backward()
            if update:
                optimizer.step()
                (optimizer if forget == "optimizer" else model).zero_grad()
            return loss

        found: list[Any] = []
        for i in range(20):
            found += [step(tn.tensor(X * (i % 3 + 1)), pattern[i % len(pattern)] == "1").numpy(), *state_of(model)]
        return found

    the_same_as_eager(train, machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_an_update_for_itself(machine: str) -> None:
    """``backward()`` outside, of none, one or both parameters; the update that uses the gradients is compiled."""

    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = optim.Adam(model.parameters(), lr=0.1)

        @compiled
        def update() -> None:
            optimizer.step()
            optimizer.zero_grad()

        found: list[Any] = []
        for parameters in (2, 2, 0, 2, 1, 2, 2, 1, 2, 0, 1, 1, 0, 0, 2, 2):
            if parameters:
                loss = (model(tn.tensor(X)) ** 2).mean() if parameters == 2 else (model.weight**2).sum()
                loss.backward()
            update()
            found += state_of(model)
        return found

    the_same_as_eager(train, machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_gradients_that_are_read_and_forgotten(machine: str) -> None:
    """Nothing is computed of the gradient: only whether it is there counts."""

    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        model = nn.Linear(3, 1)

        @compiled
        def forget(x: Any) -> Any:
            assert model.weight.grad is not None
            model.zero_grad()
            return x * 2

        found: list[Any] = []
        for _ in range(6):
            (model(tn.tensor(X)) ** 2).mean().backward()
            found += [forget(tn.tensor(X)).numpy(), *state_of(model)]
        return found

    the_same_as_eager(train, machine)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("last", [False, True])
def test_two_networks_against_each_other(machine: str, last: bool) -> None:
    """The generator's loss leaves gradients in the discriminator; they are forgotten before or after its own."""

    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        maker, judge = nn.Linear(3, 3), nn.Linear(3, 1)
        optimizers = [optim.Adam(maker.parameters(), lr=0.01), optim.SGD(judge.parameters(), lr=0.01)]

        def updated(loss: Any, which: int) -> Any:
            if not last:
                optimizers[which].zero_grad()
            loss.backward()
            optimizers[which].step(keep_grad=True)
            if last:
                optimizers[which].zero_grad()
            return loss

        @compiled
        def step_of_judge(x: Any, noise: Any) -> Any:
            return updated((judge(maker(noise).detach()) - judge(x)).tanh().mean(), 1)

        @compiled
        def step_of_maker(noise: Any) -> Any:
            return updated(-judge(maker(noise)).tanh().mean(), 0)

        found: list[Any] = []
        for i in range(8):
            noise = tn.tensor(X[::-1] + i)
            found += [step_of_judge(tn.tensor(X), noise).numpy(), step_of_maker(noise).numpy()]
            found += [] if not last else state_of(maker, judge)
        return [*found, maker.weight.numpy().copy(), judge.weight.numpy().copy()]

    the_same_as_eager(train, machine)


@pytest.mark.parametrize("there", [False, True])
def test_an_epoch_that_begins_with_gradients(there: bool) -> None:
    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        @compiled
        def step(x: Any) -> Any:
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        found: list[Any] = []
        x = np.random.default_rng(1).standard_normal((24, 3))
        for i in range(6):
            if there or i % 2:
                (model(tn.tensor(X)) ** 2).mean().backward()
            if hasattr(step, "epoch"):
                found += [step.epoch(x, batch_size=4).numpy()]
            else:
                found += [np.array([step(tn.tensor(x[k : k + 4])).item() for k in range(0, 24, 4)])]
            found += state_of(model)
        return found

    the_same_as_eager(train)


def test_forgetting_gradients_that_are_not_there_yet() -> None:
    """`zero_grad()` forgets them in later calls, too, where they are there."""

    def train(compiled: Any) -> Any:
        first, second = nn.Linear(3, 1), nn.Linear(3, 1)

        @compiled
        def forget(x: Any) -> Any:
            first.zero_grad()
            return x * 2

        found: list[Any] = []
        for i in range(8):
            if i > 1 and i % 2:
                (first(tn.tensor(X)) + second(tn.tensor(X))).sum().backward()
            found += [forget(tn.tensor(X)).numpy(), *state_of(first)[1::2]]
            second.zero_grad()
        return found

    the_same_as_eager(train)


@pytest.mark.parametrize("machine", MACHINES)
def test_gradients_that_another_compiled_function_forgets(machine: str) -> None:
    """The first step leaves gradients in the second network; the second step, now and then, forgets them."""

    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        first, second = nn.Linear(3, 3), nn.Linear(3, 1)
        optimizers = [optim.SGD(first.parameters(), lr=0.01), optim.SGD(second.parameters(), lr=0.01)]

        @compiled
        def step(x: Any) -> Any:
            optimizers[0].zero_grad()
            loss = (second(first(x)) ** 2).mean()
            loss.backward()
            optimizers[0].step()
            return loss, second.weight.grad * 1.0

        @compiled
        def other_step(x: Any) -> Any:
            optimizers[1].zero_grad()
            loss = (second(first(x).detach()) ** 2).mean()
            loss.backward()
            optimizers[1].step(keep_grad=True)
            optimizers[1].zero_grad()
            return loss

        found: list[Any] = []
        for i in range(24):
            found += [t.numpy() for t in step(tn.tensor(X))]
            if i % 3 == 2:
                found += [other_step(tn.tensor(X)).numpy()]
        return [*found, first.weight.numpy().copy(), second.weight.numpy().copy()]

    the_same_as_eager(train, machine)


def test_a_gradient_that_another_compiled_function_gives() -> None:
    """Without an optimizer's step, the gradient is there after the call; the second program was made without one."""

    def train(compiled: Any) -> Any:
        weight = tn.tensor(X[0], requires_grad=True)

        @compiled
        def give(x: Any) -> Any:
            weight.grad = None
            (x * weight).sum().backward()
            return x * 2

        @compiled
        def look(x: Any) -> Any:
            return x if weight.grad is None else x * weight.grad

        found: list[Any] = []
        for i in range(24):
            found += [look(tn.tensor(X)).numpy()]
            if i % 4 < 2:
                found += [give(tn.tensor(X)).numpy()]
            else:
                weight.grad = None
        return found

    the_same_as_eager(train)


# --------------------------------------------------------------------------------------- a first record of old


def test_a_formula_of_the_optimizer_there_and_back() -> None:
    def train(compiled: Any) -> Any:
        tn.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = optim.Adam(model.parameters(), lr=0.1)

        @compiled
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        found: list[Any] = []
        for calls, setting in (
            (4, True),
            (4, False),
            (1, True),
            (1, False),
            (1, True),
            (4, False),
            (2, True),
            (4, False),
        ):
            found += [step(tn.tensor(X)).numpy() for _ in range(calls)]
            optimizer.param_groups[0]["amsgrad"] = setting
        return [*found, model.weight.numpy().copy()]

    the_same_as_eager(train)


def test_a_cached_property_whose_source_changes() -> None:
    class Scale:
        def __init__(self) -> None:
            self.half = 1.0

        @functools.cached_property
        def whole(self) -> float:
            return self.half * 2

    def train(compiled: Any) -> Any:
        scale = Scale()
        scaled = compiled(lambda x: x * scale.whole)
        found: list[Any] = []
        for half in range(1, 4):
            scale.half = half
            scale.__dict__.pop("whole", None)
            found += [scaled(tn.tensor(X)).numpy() for _ in range(4)]
        return found

    the_same_as_eager(train)


def test_trainers_that_swap_their_models_and_are_copied() -> None:
    def train(compiled: Any) -> Any:
        class Trainer:
            def __init__(self, seed: int) -> None:
                tn.manual_seed(seed)
                self.model = nn.Linear(3, 1)
                self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)

            @compiled
            def step(self, x: Any) -> Any:
                self.optimizer.zero_grad()
                loss = (self.model(x) ** 2).mean()
                loss.backward()
                self.optimizer.step(keep_grad=True)
                return loss

        one, other = Trainer(0), Trainer(1)
        found: list[Any] = []
        for i in range(16):
            found += [one.step(tn.tensor(X)).numpy(), other.step(tn.tensor(X)).numpy()]
            if i in (5, 8):
                one.model, other.model = other.model, one.model
            if i == 10:
                one = copy.deepcopy(other)
        return [*found, *state_of(one.model, other.model)[::2]]

    the_same_as_eager(train)


def test_two_calls_in_a_row_that_differ_are_an_error_still() -> None:
    counted = tn.compile(lambda x: x * time.perf_counter())
    counted(tn.tensor(X))
    with pytest.raises(TraceError, match="a Python number"):
        counted(tn.tensor(X))


def test_what_differs_again_and_again_is_an_error() -> None:
    """Two programs in turn, each of another record at every call: a few are taken for the first one, not all."""
    counted = tn.compile(lambda x: x * time.perf_counter())
    text = ""
    for i in range(40):
        try:
            counted(tn.tensor(X[: 2 + i % 2]))
        except TraceError as error:
            text = str(error)
    assert "a Python number" in text


# ----------------------------------------------------------------------------------------------------- arguments


def test_nan_as_a_number() -> None:
    fill = tn.compile(lambda x, value: tn.where(x > 0, x, value))
    for _ in range(4):
        np.testing.assert_array_equal(fill(tn.tensor(X), float("nan")).numpy(), np.where(X > 0, X, np.nan))
    assert len(fill.specialisations) == 1

    def power(x: Any, p: Any) -> Any:
        return x**p

    with np.errstate(invalid="ignore"):
        program = record(power, tn.tensor(X), float("nan"))
        assert not differences(program, record(power, tn.tensor(X), float("nan")))
        assert differences(program, record(power, tn.tensor(X), 2.5))
        assert np.isnan(program.run(tn.tensor(X), float("nan")).numpy()).all()


# --------------------------------------------------------------------------------------------- what is compiled


def test_functions_that_do_not_run_when_they_are_called() -> None:
    def batches(x: Any) -> Any:
        yield x

    async def later(x: Any) -> Any:
        return x

    async def later_ones(x: Any) -> Any:
        yield x

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            yield x

    class Called:
        def __call__(self, x: Any) -> Any:
            yield x

    for function in (batches, functools.partial(batches, 1), Model(), Called()):
        with pytest.raises(TypeError, match="a generator function"):
            tn.compile(function)
    for function in (later, later_ones):
        with pytest.raises(TypeError, match=r"later\w* is an async function"):
            tn.compile(function)


def test_results_of_a_compiled_model_say_why_they_have_no_graph() -> None:
    model = nn.Linear(3, 1)
    compiled = tn.compile(model)
    for _ in range(4):
        loss = compiled(tn.tensor(X)).sum()
        with pytest.raises(tn.GraphError, match=r"tinynn\.compile"):
            loss.backward()
        with pytest.raises(tn.GraphError, match=r"tinynn\.compile"):
            tn.grad(loss, model.weight)


@dataclasses.dataclass(slots=True)
class Slotted:
    """Has no ``__dict__``, no weak references and no hash, and equals any other of the same scale."""

    scale: float

    @tn.compile
    def scaled(self, x: Any) -> Any:
        return x * self.scale


def test_methods_of_objects_without_a_dict() -> None:
    one, other = Slotted(2.0), Slotted(2.0)
    for _ in range(4):
        np.testing.assert_array_equal(one.scaled(tn.tensor(X)).numpy(), X * 2)
    assert one.scaled is one.scaled
    assert one.scaled is not other.scaled
    assert "NumbaMachine" in one.scaled.explain() or "Interpreter" in one.scaled.explain()
    other.scale = 3.0
    for _ in range(4):
        np.testing.assert_array_equal(one.scaled(tn.tensor(X)).numpy(), X * 2)
        np.testing.assert_array_equal(other.scaled(tn.tensor(X)).numpy(), X * 3)
    one.scale = 4.0
    np.testing.assert_array_equal(one.scaled(tn.tensor(X)).numpy(), X * 4)
    for i in range(20):  # the latest few are kept
        thing = Slotted(float(i))
        np.testing.assert_array_equal(thing.scaled(tn.tensor(X)).numpy(), X * i)
    assert len(Slotted.__dict__["scaled"]._of_objects) == MOST_OBJECTS


# --------------------------------------------------------------------------------------------------- whole epochs


def test_an_epoch_says_what_it_takes() -> None:
    step = tn.compile(lambda x: x.sum())
    with pytest.raises(TypeError, match=r"dict.*by position"):
        step.epoch({"x": X}, batch_size=2)
    dataset = TensorDataset(X)
    for given in (dataset, DataLoader(dataset, batch_size=2), iter([X])):
        with pytest.raises(TypeError, match="whole arrays and makes the batches itself"):
            step.epoch(given, batch_size=2)
    with pytest.raises(TypeError, match="no setting x: arrays are given by position"):
        step.epoch(x=X, batch_size=2)
    with pytest.raises(TypeError, match="settings are batch_size, shuffle"):
        step.epoch(X, batch_size=2, shufle=True)
    assert step.epoch(*dataset.tensors, batch_size=2).shape == step.epoch(X.tolist(), batch_size=2).shape == (2,)


@pytest.mark.parametrize("machine", MACHINES)
def test_nested_results_of_an_epoch_are_of_one_kind(machine: str) -> None:
    """A tensor in a dict or a tuple is what it would be by itself."""
    x = np.arange(30.0).reshape(10, 3)
    rows = tn.compile(lambda x: x * 2, machine=machine)
    total = tn.compile(lambda x: x.sum(), machine=machine)
    nested = tn.compile(lambda x: {"rows": x * 2, "both": (x.sum(), [x * 2])}, machine=machine)
    for _ in range(3):
        for size, kind in ((4, list), (5, tn.Tensor), (10, tn.Tensor)):
            plain, sums, got = (f.epoch(x, batch_size=size) for f in (rows, total, nested))
            for one in (plain, got["rows"], got["both"][1][0]):
                assert type(one) is kind
                assert [tuple(t.shape) for t in one] == [(min(size, 10 - i), 3) for i in range(0, 10, size)]
            assert type(sums) is type(got["both"][0]) is tn.Tensor
            np.testing.assert_array_equal(got["both"][0].numpy(), sums.numpy())


@pytest.mark.parametrize("exponent", [float("nan"), float("inf"), float("-inf")])
def test_a_power_that_is_no_number(exponent: float) -> None:
    x = tn.tensor([0.5, 1.0, 2.0])
    step = tn.compile(lambda x, p: x**p)
    for _ in range(4):
        np.testing.assert_array_equal(step(x, exponent).numpy(), (x**exponent).numpy())
