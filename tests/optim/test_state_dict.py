"""Saved optimizers go on exactly where they stood."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tests.optim.networks import loss_of, parameters, train, values
from tinynn.optim import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
from tinynn.optim.lr_scheduler import OneCycleLR, StepLR

MAKERS = {
    "sgd": lambda ps: SGD(ps, 0.1, momentum=0.9, dampening=0.3),
    "adam": lambda ps: Adam(ps, 0.01, amsgrad=True),
    "adamw": lambda ps: AdamW([{"params": ps[:2]}, {"params": ps[2:], "lr": 0.3}]),
    "adagrad": lambda ps: Adagrad(ps, 0.1, lr_decay=0.1, initial_accumulator_value=0.5),
    "rmsprop": lambda ps: RMSprop(ps, 0.01, momentum=0.5, centered=True),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_saved_run_continues_bit_by_bit(make, dtype, tmp_path) -> None:
    params = parameters(dtype)
    optimizer = make(params)
    train(optimizer, params, 5)
    state = optimizer.state_dict()
    tinynn.save(tmp_path / "run.safetensors", {"params": [p.detach() for p in params], "optimizer": state})
    train(optimizer, params, 5, first=5)

    loaded = tinynn.load(tmp_path / "run.safetensors")
    again = parameters(dtype, seed=1)
    for p, value in zip(again, loaded["params"], strict=True):
        p.assign_(value)
    resumed = make(again)
    resumed.load_state_dict(loaded["optimizer"])
    train(resumed, again, 5, first=5)
    for p, q in zip(values(params), values(again), strict=True):
        np.testing.assert_array_equal(p, q)


def test_the_state_dict_is_a_copy() -> None:
    params = parameters()
    optimizer = Adam(params)
    train(optimizer, params, 3)
    state = optimizer.state_dict()
    kept = state["state"][0]["exp_avg"].array.copy()
    train(optimizer, params, 3)
    np.testing.assert_array_equal(state["state"][0]["exp_avg"].array, kept)
    assert state["state"][0]["step"] == 3
    assert state["param_groups"][0]["params"] == [0, 1, 2, 3, 4]


def test_names_are_kept() -> None:
    params = parameters()
    optimizer = SGD([(f"p{i}", p) for i, p in enumerate(params)], lr=0.1)
    assert optimizer.param_groups[0]["params"] == params
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["p0", "p1", "p2", "p3", "p4"]


def test_lbfgs_continues_bit_by_bit() -> None:
    def minimise(optimizer, params, calls):
        def closure():
            optimizer.zero_grad()
            loss = loss_of(params, 0)
            loss.backward()
            return loss

        for _ in range(calls):
            optimizer.step(closure)

    params = parameters()
    optimizer = LBFGS(params, max_iter=4, line_search_fn="strong_wolfe")
    minimise(optimizer, params, 2)
    again = parameters()
    for p, q in zip(again, params, strict=True):
        p.assign_(q)
    resumed = LBFGS(again)
    resumed.load_state_dict(optimizer.state_dict())
    minimise(optimizer, params, 2)
    minimise(resumed, again, 2)
    for p, q in zip(values(params), values(again), strict=True):
        np.testing.assert_array_equal(p, q)


def fresh() -> tuple[list, Adam]:
    params = parameters()
    optimizer = Adam(params, lr=0.5)
    train(optimizer, params, 2)
    return params, optimizer


def broken(change) -> dict:
    state = fresh()[1].state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("state"), "keys 'state' and 'param_groups'"),
        (lambda s: s["param_groups"].append(s["param_groups"][0]), r"saved groups hold \[5, 5\]"),
        (lambda s: s["param_groups"][0]["params"].pop(), r"saved groups hold \[4\]"),
        (lambda s: s["param_groups"][0].pop("betas"), r"lacks \['betas'\]"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), "lr must be at least 0"),
        (lambda s: s["state"].update({7: {}}), "parameter 7, which is in no group"),
        (lambda s: s["state"][1].update(exp_avg=tinynn.zeros(3)), r"exp_avg has shape \(3,\).*\(4,\)"),
        (lambda s: s["state"][1].update(momentum_buffer=tinynn.zeros(4)), "another optimizer"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message) -> None:
    params, optimizer = fresh()
    before, state, own = values(params), optimizer.state_dict(), optimizer.param_groups[0]["lr"]
    other = broken(change)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(other)
    assert optimizer.param_groups[0]["lr"] == own
    for p, q in zip(values(params), before, strict=True):
        np.testing.assert_array_equal(p, q)
    after = optimizer.state_dict()
    for i in range(5):
        assert after["state"][i]["step"] == 2
        np.testing.assert_array_equal(after["state"][i]["exp_avg"].array, state["state"][i]["exp_avg"].array)


@pytest.mark.parametrize("make", [lambda o: StepLR(o, 3, 0.5), lambda o: OneCycleLR(o, 0.1, total_steps=20)])
def test_schedules_continue(make, tmp_path) -> None:
    _, optimizer = fresh()
    scheduler = make(optimizer)
    for _ in range(7):
        scheduler.step()
    state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    tinynn.save(tmp_path / "s.safetensors", state)
    loaded = tinynn.load(tmp_path / "s.safetensors")
    _, other = fresh()
    resumed = make(other)
    resumed.load_state_dict(loaded["scheduler"])
    other.load_state_dict(loaded["optimizer"])
    for _ in range(7):
        scheduler.step()
        resumed.step()
        assert scheduler.get_last_lr() == resumed.get_last_lr()
        assert optimizer.param_groups[0]["betas"] == other.param_groups[0]["betas"]
