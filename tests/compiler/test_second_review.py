"""Defects that a trial by a user found, each with the smallest case that showed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim

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
        for turn in "both both none both one both both one both none one one none none both both".split():
            if turn != "none":
                loss = (model(tn.tensor(X)) ** 2).mean() if turn == "both" else (model.weight**2).sum()
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
