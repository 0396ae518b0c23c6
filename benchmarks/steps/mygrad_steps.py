"""MyGrad: tensors that record NumPy operations; the optimizer is NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cases, numpy_rules
from .cases import Absent, Case, Runner


def build(column: str, case: Case) -> Runner:
    """A step on a batch."""
    if case.loss == "energies and forces":
        raise Absent("no second derivatives")
    if case.activation == "GELU":
        raise Absent("no erf")
    import mygrad
    from mygrad.nnet.activations import relu, selu
    from mygrad.nnet.layers import conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    activation = {"SELU": selu, "Tanh": mygrad.tanh, "ReLU": relu}[case.activation]
    weights = [mygrad.tensor(w) for w in cases.initial_weights(case).values()]
    for w in weights:
        w.data.flags.writeable = True
    update = numpy_rules.rule(case, [w.data for w in weights])

    def dense(p: list[Any], x: Any) -> Any:
        for i in range(0, len(p), 2):
            x = mygrad.matmul(x, p[i].T) + p[i + 1]
            x = activation(x) if i + 2 < len(p) else x
        return x

    def lenet(p: list[Any], x: Any) -> Any:
        x = max_pool(relu(conv_nd(x, p[0], stride=1, padding=2) + p[1].reshape(1, -1, 1, 1)), (2, 2), 2)
        x = max_pool(relu(conv_nd(x, p[2], stride=1) + p[3].reshape(1, -1, 1, 1)), (2, 2), 2)
        return dense(p[4:], x.reshape(x.shape[0], -1))

    network = dense if case.layers else lenet

    def step(x: Any, y: Any) -> Any:
        out = network(weights, x)
        loss = softmax_crossentropy(out, y) if case.loss == "cross-entropy" else mygrad.mean((out - y) ** 2)
        loss.backward()
        update([w.grad for w in weights])
        return loss

    several = [tuple(batch.values()) for batch in cases.batches(case, cases.epoch_data(case))]
    losses = [float(np.asarray(step(*batch).data)) for batch in several]
    x, y = several[0]
    return Runner(losses, lambda: step(x, y))
