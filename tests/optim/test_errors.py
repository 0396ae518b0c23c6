"""What is refused, in which words; and that nothing has changed then."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinynn
from tinynn.optim import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
from tinynn.optim import lr_scheduler as schedules


def leaf(*shape: int):
    return tinynn.zeros(*shape).requires_grad_()


@pytest.mark.parametrize("kind", [SGD, Adagrad, Adam, AdamW, RMSprop, LBFGS])
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (list, ValueError, "no parameters to optimize"),
        (lambda: iter(()), ValueError, "no parameters to optimize"),
        (lambda: [{"params": []}], ValueError, "has no parameters"),
        (lambda: leaf(2), TypeError, r"pass a list, \[tensor\]"),
        (lambda: [np.zeros(2)], TypeError, "parameter 0 is a ndarray, not a tensor"),
        (lambda: 3, TypeError, "got a int"),
        (lambda: [leaf(2), leaf(3) * 2.0], ValueError, r"parameter 1.*shape \(3,\).*result of Mul"),
        (lambda: [tinynn.zeros(2)], ValueError, "requires a gradient"),
        (lambda: [leaf(2)] * 2, ValueError, "given twice"),
        (lambda: [("w", leaf(2) * 2.0)], ValueError, "parameter 'w'"),
        (lambda: [{"lr": 0.1}], TypeError, "key 'params'"),
    ],
)
def test_parameters(kind, params, error, message) -> None:
    with pytest.raises(error, match=message):
        kind(params())


def test_a_module_is_not_an_iterable_of_parameters() -> None:
    class Model:
        def parameters(self):
            return [leaf(2)]

    with pytest.raises(TypeError, match=r"model\.parameters\(\)"):
        SGD(Model())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, lr=-0.1), r"SGD: lr must be at least 0\.0, got -0\.1"),
        (lambda p: SGD(p, lr=math.nan), "lr must be finite"),
        (lambda p: SGD(p, momentum=-1), "momentum"),
        (lambda p: SGD(p, weight_decay=math.inf), "weight_decay"),
        (lambda p: SGD(p, nesterov=True), "nesterov=True needs momentum"),
        (lambda p: SGD(p, momentum=0.9, dampening=0.1, nesterov=True), "dampening=0.1"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), r"betas\[1\] must be less than 1.0"),
        (lambda p: Adam(p, betas=(-0.1, 0.9)), r"betas\[0\]"),
        (lambda p: AdamW(p, eps=-1e-8), "AdamW: eps"),
        (lambda p: Adagrad(p, lr_decay=-1.0), "Adagrad: lr_decay must be at least"),
        (lambda p: Adagrad(p, initial_accumulator_value=-1.0), "initial_accumulator_value"),
        (lambda p: RMSprop(p, alpha=1.5), "alpha must be at most 1.0"),
        (lambda p: LBFGS(p, line_search_fn="armijo"), "strong_wolfe"),
        (lambda p: LBFGS(p, history_size=0), "history_size must be at least 1"),
        (lambda p: LBFGS([{"params": p}, {"params": [leaf(1)]}]), "one parameter group only"),
    ],
)
def test_settings_out_of_range(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make([leaf(2)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, lr="0.1"), "lr must be a number, got '0.1'"),
        (lambda p: Adam(p, betas=0.9), "betas must be a pair"),
        (lambda p: LBFGS(p, max_iter=2.5), "max_iter must be a whole number"),
    ],
)
def test_settings_of_a_wrong_type(make, message) -> None:
    with pytest.raises(TypeError, match=message):
        make([leaf(2)])


def test_a_bad_setting_in_a_later_group_changes_nothing() -> None:
    a, b = leaf(2), leaf(2)
    optimizer = SGD([{"params": [a]}, {"params": [b]}], lr=0.1, momentum=0.9)
    (a.sum() + b.sum()).backward()
    optimizer.param_groups[1]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        optimizer.step()
    assert a.tolist() == b.tolist() == [0.0, 0.0]
    assert not optimizer.state


def test_a_bad_group_is_not_added() -> None:
    a = leaf(2)
    optimizer = SGD([a], lr=0.1)
    for group in ({"params": [a]}, {"params": [leaf(2)], "lr": -1.0}):
        with pytest.raises(ValueError, match=r"given twice|lr must be"):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1


def test_lbfgs_needs_a_closure_that_returns_the_loss() -> None:
    optimizer = LBFGS([leaf(2)])
    with pytest.raises(TypeError, match="needs a closure"):
        optimizer.step()
    with pytest.raises(TypeError, match="returned None"):
        optimizer.step(lambda: None)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: schedules.StepLR(o, 0), ValueError, "step_size must be at least 1"),
        (lambda o: schedules.StepLR(None, 1), TypeError, "must be an optimizer"),
        (lambda o: schedules.StepLR(o, 1, last_epoch=3), ValueError, "initial_lr"),
        (lambda o: schedules.ExponentialLR(o, -0.5), ValueError, "gamma"),
        (lambda o: schedules.LambdaLR(o, [abs, abs]), ValueError, "each of the 1 groups"),
        (lambda o: schedules.CosineAnnealingLR(o, 0), ValueError, "T_max"),
        (lambda o: schedules.LinearLR(o, start_factor=2.0), ValueError, "start_factor"),
        (lambda o: schedules.OneCycleLR(o, 0.1), ValueError, "total_steps"),
        (lambda o: schedules.OneCycleLR(o, [0.1, 0.2], 10), ValueError, "max_lr has 2 entries"),
        (lambda o: schedules.OneCycleLR(o, 0.1, 10, anneal_strategy="up"), ValueError, "anneal_strategy"),
        (lambda o: schedules.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor must be less than 1"),
        (lambda o: schedules.ReduceLROnPlateau(o, mode="least"), ValueError, "mode"),
        (lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 1)], [1]), ValueError, "0 milestones"),
    ],
)
def test_schedules(make, error, message) -> None:
    optimizer = SGD([leaf(2)], lr=0.1, momentum=0.9)
    with pytest.raises(error, match=message):
        make(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_one_cycle_ends() -> None:
    optimizer = SGD([leaf(2)], lr=0.1, momentum=0.9)
    scheduler = schedules.OneCycleLR(optimizer, 0.1, total_steps=3)
    scheduler.step()
    scheduler.step()
    last = scheduler.get_last_lr()
    with pytest.raises(ValueError, match="cycle of 3"):
        scheduler.step()
    assert scheduler.get_last_lr() == last
    with pytest.raises(ValueError, match="no momentum"):
        schedules.OneCycleLR(LBFGS([leaf(2)]), 0.1, total_steps=3)
