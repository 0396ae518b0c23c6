"""L-BFGS, and its line search."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinynn
from tinynn.optim import LBFGS
from tinynn.optim.line_search import Point, strong_wolfe


def minimise(function, start, steps=1, **settings):
    x = tinynn.tensor(start, requires_grad=True)
    optimizer = LBFGS([x], **settings)
    calls = 0

    def closure():
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = function(x)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return x.detach().numpy(), function(x).item(), calls


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def test_rosenbrock_in_few_evaluations() -> None:
    x, loss, calls = minimise(
        rosenbrock,
        [-1.2, 1.0],
        max_iter=100,
        tolerance_grad=1e-12,
        tolerance_change=1e-25,
        line_search_fn="strong_wolfe",
    )
    np.testing.assert_allclose(x, 1.0, rtol=0, atol=1e-10)
    assert loss < 1e-20
    assert calls < 60
    x, _, calls = minimise(
        rosenbrock,
        np.zeros(20),
        max_iter=200,
        max_eval=500,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )
    np.testing.assert_allclose(x, 1.0, atol=1e-8)
    assert calls < 200


def test_a_quadratic_with_fixed_steps() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 6))
    a = tinynn.tensor(a @ a.T + np.eye(6))
    b = tinynn.tensor(rng.normal(size=6))
    x, _, _ = minimise(lambda x: 0.5 * (x @ (a @ x)) - b @ x, np.zeros(6), steps=10, tolerance_change=1e-14)
    np.testing.assert_allclose(x, np.linalg.solve(a.numpy(), b.numpy()), atol=1e-7)


@pytest.mark.parametrize(
    ("function", "slope", "t", "c2"),
    [
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2, 1e-3, 0.1),
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2, 1e3, 0.1),
        (lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
         lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3, 10.0, 0.9),
        (lambda t: math.cosh(t - 4), lambda t: math.sinh(t - 4), 0.1, 0.1),
        (lambda t: math.inf if t > 1 else -t + 0.6 * t**2, lambda t: -1 + 1.2 * t, 100.0, 0.1),
    ],
)  # fmt: skip
def test_the_step_satisfies_the_wolfe_conditions(function, slope, t, c2) -> None:
    """Functions 1 and 2 are from Moré & Thuente, ACM Trans. Math. Softw. 20 (1994) 286."""
    start = Point(0.0, function(0.0), slope(0.0), None)
    found, evaluations = strong_wolfe(lambda t: Point(t, function(t), slope(t), None), start, t, c2=c2)
    assert found.value <= start.value + 1e-4 * found.t * start.slope
    assert abs(found.slope) <= -c2 * start.slope
    assert evaluations <= 15


def test_a_line_that_only_rises_gives_no_step() -> None:
    start = Point(0.0, 0.0, -1.0, None)  # the slope is a lie
    found, evaluations = strong_wolfe(lambda t: Point(t, t, 1.0, None), start, 1.0)
    assert found is start
    assert evaluations == 25


def test_several_parameters_and_scalars() -> None:
    a, b = tinynn.tensor(0.0, requires_grad=True), tinynn.tensor(np.zeros((2, 2)), requires_grad=True)
    unused = tinynn.tensor([1.0], requires_grad=True)
    optimizer = LBFGS([a, b, unused], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (a - 3.0) ** 2 + ((b - a) ** 2).sum() * 5.0
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert abs(a.item() - 3.0) < 1e-5
    np.testing.assert_allclose(b.array, 3.0, atol=1e-5)
    assert unused.item() == 1.0


def test_float32_stays() -> None:
    x = tinynn.tensor([2.0, -1.0], dtype="float32", requires_grad=True)
    optimizer = LBFGS([x], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (x**4).sum() + (x * x).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert x.dtype == "float32"
    assert np.abs(x.array).max() < 1e-3
