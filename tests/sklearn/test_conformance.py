"""scikit-learn's own checks of estimators: all pass, none is expected to fail."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import estimator_checks_generator

from tinynn.sklearn import NeuralClassifier, NeuralRegressor, Perceptron

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # the checks provoke scikit-learn's own
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
EPOCHS = 60  # to be quick; the checks ask for scores that are reached by then


ESTIMATORS = [NeuralRegressor(max_epochs=EPOCHS), NeuralClassifier(max_epochs=EPOCHS), Perceptron(max_epochs=100)]
CHECKS = [pair for estimator in ESTIMATORS for pair in estimator_checks_generator(estimator)]


def name_of(part: Any) -> str:
    """What `parametrize_with_checks` calls an estimator or a check; that decorator hands pytest a generator."""
    if not isinstance(part, functools.partial):
        return getattr(part, "__name__", type(part).__name__)
    settings = ",".join(f"{key}={value}" for key, value in part.keywords.items())
    return f"{part.func.__name__}({settings})"


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=name_of)
def test_scikit_learn_conformance(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_none_of_the_checks_is_missing() -> None:
    """Multilabel and class weights are declared, so they are checked too."""
    counts = [sum(type(estimator) is kind for estimator, _ in CHECKS) for kind in (NeuralRegressor, NeuralClassifier)]
    assert counts[0] >= 50  # 60 in scikit-learn 1.9
    assert counts[1] >= 60  # 67
