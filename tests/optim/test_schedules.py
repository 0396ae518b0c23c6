"""Schedules: their numbers."""

from __future__ import annotations

import math

import pytest

import tinynn
from tinynn.optim import SGD, Adam
from tinynn.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


def sgd(*lrs: float) -> SGD:
    return SGD([{"params": [tinynn.zeros(1).requires_grad_()], "lr": lr} for lr in lrs], momentum=0.9)


def rates(scheduler, optimizer, epochs: int) -> list[list[float]]:
    seen = []
    for _ in range(epochs):
        seen.append([group["lr"] for group in optimizer.param_groups])
        assert scheduler.get_last_lr() == seen[-1]
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda o: StepLR(o, 3, 0.5), lambda t: 0.5 ** (t // 3)),
        (lambda o: MultiStepLR(o, [2, 5, 5], 0.5), lambda t: 0.5 ** ((t >= 2) + 2 * (t >= 5))),
        (lambda o: ExponentialLR(o, 0.9), lambda t: 0.9**t),
        (lambda o: LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 1 / (1 + t)),
        (lambda o: CosineAnnealingLR(o, 4), lambda t: (1 + math.cos(math.pi * t / 4)) / 2),
        (lambda o: LinearLR(o, 0.25, total_iters=3), lambda t: 0.25 + 0.25 * min(t, 3)),
    ],
)
def test_closed_forms(make, factor) -> None:
    optimizer = sgd(1.0, 0.2)
    got = rates(make(optimizer), optimizer, 10)
    for t, row in enumerate(got):
        assert row == pytest.approx([factor(t), 0.2 * factor(t)], rel=1e-14, abs=1e-16)


def test_two_multiplying_schedules_may_be_combined() -> None:
    optimizer = sgd(1.0)
    first, second = StepLR(optimizer, 2, 0.5), ExponentialLR(optimizer, 0.5)
    for _ in range(4):
        first.step()
        second.step()
    assert optimizer.param_groups[0]["lr"] == 0.5**2 * 0.5**4


def test_one_cycle() -> None:
    optimizer = Adam([tinynn.zeros(1).requires_grad_()], betas=(0.9, 0.99))
    scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=12, pct_start=0.5, div_factor=10.0)
    lrs, momenta = [], []
    for _ in range(11):
        lrs.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["betas"][0])
        scheduler.step()
    assert lrs[0] == pytest.approx(0.1)
    assert max(lrs) == pytest.approx(1.0, rel=0.02)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert momenta[0] == pytest.approx(0.95)
    assert min(momenta) == pytest.approx(0.85, rel=0.01)
    assert optimizer.param_groups[0]["betas"][1] == 0.99


def test_plateau() -> None:
    optimizer = sgd(1.0, 0.2)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.1)
    seen = []
    for metric in [3.0, 2.0, 2.0, math.nan, 2.0, 2.0, 2.0, tinynn.tensor(1.0), 1.0, 1.0]:
        scheduler.step(metric)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert optimizer.param_groups[1]["lr"] == 0.1


def test_sequence() -> None:
    optimizer = sgd(1.0)
    schedulers = [LinearLR(optimizer, 0.5, total_iters=2), CosineAnnealingLR(optimizer, 4)]
    scheduler = SequentialLR(optimizer, schedulers, [2])
    got = [row[0] for row in rates(scheduler, optimizer, 5)]
    assert got == pytest.approx([0.5, 0.75, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5])
    resumed = SequentialLR(other := sgd(1.0), [LinearLR(other, 0.5, total_iters=2), CosineAnnealingLR(other, 4)], [2])
    resumed.load_state_dict(scheduler.state_dict())
    other.load_state_dict(optimizer.state_dict())
    resumed.step()
    scheduler.step()
    assert resumed.get_last_lr() == scheduler.get_last_lr()


def test_taking_up_a_run_by_its_epoch() -> None:
    optimizer = sgd(1.0)
    scheduler = CosineAnnealingLR(optimizer, 10)
    for _ in range(4):
        scheduler.step()
    other = sgd(1.0)
    other.load_state_dict(optimizer.state_dict())
    resumed = CosineAnnealingLR(other, 10, last_epoch=3)
    assert resumed.get_last_lr() == scheduler.get_last_lr()
