"""HIPS autograd: gradients of a NumPy function of one flat vector of parameters; the optimizer is NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy

from . import cases, numpy_rules
from .cases import Absent, Case, Runner


def build(column: str, case: Case) -> Runner:
    """A step on a batch."""
    if not case.layers:
        raise Absent("no convolution layers")
    import autograd.numpy as np
    from autograd import elementwise_grad, value_and_grad
    from autograd.scipy.special import erf

    real = numpy.dtype(case.dtype).type
    root, alpha, scale = real(math.sqrt(2.0)), real(1.6732632423543772), real(1.0507009873554805)

    def selu(z: Any) -> Any:
        return scale * np.where(z > 0, z, alpha * (np.exp(np.minimum(z, real(0))) - real(1)))

    activation = {
        "GELU": lambda z: real(0.5) * z * (real(1) + erf(z / root)),
        "SELU": selu,
        "Tanh": np.tanh,
        "ReLU": lambda z: np.maximum(z, real(0)),
    }[case.activation]
    shapes = list(cases.shapes(case).values())
    flat = numpy.concatenate([w.ravel() for w in cases.initial_weights(case).values()])
    update = numpy_rules.rule(case, [flat])

    def network(flat: Any, x: Any) -> Any:
        start = 0
        for i in range(0, len(shapes), 2):
            n, m = shapes[i]
            w, b = flat[start : start + n * m].reshape(n, m), flat[start + n * m : start + n * m + n]
            start += n * m + n
            x = np.dot(x, w.T) + b
            x = activation(x) if i + 2 < len(shapes) else x
        return x

    def squares(flat: Any, x: Any, y: Any) -> Any:
        return np.mean((network(flat, x) - y) ** 2)

    def cross_entropy(flat: Any, x: Any, y: Any) -> Any:
        z = network(flat, x)
        z = z - np.max(z, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - z[numpy.arange(case.batch), y])

    def with_forces(flat: Any, x: Any, y: Any, f: Any) -> Any:
        slopes = elementwise_grad(lambda positions: network(flat, positions))(x)
        return squares(flat, x, y) + np.mean((-slopes - f) ** 2)

    loss_of = {"mse": squares, "cross-entropy": cross_entropy, "energies and forces": with_forces}[case.loss]
    both = value_and_grad(loss_of)

    def step(*batch: Any) -> Any:
        loss, gradient = both(flat, *batch)
        update([gradient])
        return loss

    several = [tuple(batch.values()) for batch in cases.batches(case, cases.epoch_data(case))]
    losses = [float(step(*batch)) for batch in several]
    first = several[0]
    return Runner(losses, lambda: step(*first))
