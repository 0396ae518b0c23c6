"""Networks as scikit-learn estimators: `NeuralRegressor`, `NeuralClassifier`, and Rosenblatt's `Perceptron`.

They keep scikit-learn's conventions, so that pipelines, cross-validation, grid and random search, learning and
validation curves are scikit-learn's own. `Factory` makes the settings of a network of yours searchable.
Needs scikit-learn: ``pip install 'tinynn[sklearn]'``.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tinynn.sklearn needs scikit-learn 1.6 or newer: pip install 'tinynn[sklearn]', or pip install scikit-learn"
    ) from error

from tinynn.sklearn.building import Factory
from tinynn.sklearn.classifier import NeuralClassifier
from tinynn.sklearn.perceptron import Perceptron
from tinynn.sklearn.regressor import NeuralRegressor

__all__ = ["NeuralRegressor", "NeuralClassifier", "Perceptron", "Factory"]
