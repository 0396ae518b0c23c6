"""Linear and logistic regression: closed forms, descents, scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "regression.py"


@pytest.mark.parametrize("kind", ["--compile", "--no-compile"])
def test_short_form(run_script: Callable[..., str], kind: str) -> None:
    run_script(kind)


@pytest.mark.parametrize("pair", ["irises", "icosahedral–decahedral", "fcc–octahedral"])
def test_descent_ends_at_scikit_learns_solution(example: ModuleType, pair: str) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, y = example.irises() if pair == "irises" else example.structure_pair(*pair.split("–"))
    by_hand, automatic, worst = example.logistic_regression(example.with_ones(features), y)
    reference = linear_model.LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(features, y)
    np.testing.assert_allclose(automatic[-1], [*reference.intercept_, *reference.coef_[0]], atol=1e-4)
    np.testing.assert_allclose(automatic, by_hand, atol=1e-9)
    assert worst <= 1e-12


def test_linear_regression_three_ways(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    y = 0.5 + x @ [2.0, -1.0] + 0.1 * rng.standard_normal(50)
    closed = example.linear_regression(example.with_ones(x), y)
    np.testing.assert_allclose(closed, np.linalg.lstsq(example.with_ones(x), y, rcond=None)[0], atol=1e-10)
    np.testing.assert_allclose(closed, example.linear_regression_by_descent(x, y, 300)[-1], atol=1e-10)


def test_compiled_both_go_the_same_way(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    y = x @ [2.0, -1.0] > 0.3
    eager, compiled = (example.logistic_regression(example.with_ones(x), y, 50, compiled) for compiled in (False, True))
    np.testing.assert_allclose(compiled[1], eager[1], rtol=1e-9)
    example.tinynn.manual_seed(0)
    eager = example.linear_regression_by_descent(x, 1.0 * y, 50, compiled=False)
    example.tinynn.manual_seed(0)
    compiled = example.linear_regression_by_descent(x, 1.0 * y, 50, compiled=True)
    np.testing.assert_allclose(compiled, eager, rtol=1e-9)


def test_separable_points_have_no_solution(example: ModuleType) -> None:
    features, y = example.irises(0, 1)
    path = example.logistic_regression(example.with_ones(features), y, 4000)[1]
    length = np.linalg.norm(path, axis=1)
    assert (np.diff(length[100:]) > 0).all()
    assert np.mean((example.with_ones(features) @ path[-1] > 0) == y) == 1.0
