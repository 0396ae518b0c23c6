"""scikit-learn: ``partial_fit`` of its multi-layer perceptrons, which is one step on the batch it is given."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import cases
from .cases import Absent, Case, Runner


def build(column: str, case: Case) -> Runner:
    """A step on a batch. Its losses are halved squares, whose gradients Adam scales away."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    names = {"Tanh": "tanh", "ReLU": "relu"}
    if not case.layers:
        raise Absent("no convolution")
    if case.loss == "energies and forces":
        raise Absent("no forces")
    if case.activation not in names:
        raise Absent(f"no {case.activation}")
    warnings.simplefilter("ignore")
    classes = case.loss == "cross-entropy"
    model: Any = (MLPClassifier if classes else MLPRegressor)(
        hidden_layer_sizes=case.layers[1:-1],
        activation=names[case.activation],
        solver=case.optimizer,
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=case.learning_rate,
        momentum=0.9,
        nesterovs_momentum=False,
        shuffle=False,
    )
    extra = {"classes": np.arange(10)} if classes else {}
    several = []
    for batch in cases.batches(case, cases.epoch_data(case)):
        y = batch["y"]
        several.append((batch["x"], y.ravel() if y.shape[1:] == (1,) else y))
    model.partial_fit(*several[0], **extra)  # makes its arrays; then ours go in, and a new optimizer
    weights = list(cases.initial_weights(case).values())
    model.coefs_ = [np.ascontiguousarray(w.T) for w in weights[0::2]]
    model.intercepts_ = list(weights[1::2])
    del model._optimizer
    factor = 1.0 if classes else 2.0
    losses = [factor * float(model.partial_fit(*batch).loss_) for batch in several]
    x, y = several[0]
    return Runner(losses, lambda: model.partial_fit(x, y))
