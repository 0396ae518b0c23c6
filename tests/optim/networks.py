"""A small problem that the tests of optimizers share."""

from __future__ import annotations

import numpy as np

import tinynn
from tinynn import Tensor

SHAPES = [(4, 3), (4,), (2, 4), (2,), ()]


def parameters(dtype: str = "float64", seed: int = 0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [tinynn.tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in SHAPES]


def loss_of(params: list[Tensor], step: int) -> Tensor:
    """A loss that changes from step to step, as with minibatches."""
    w1, b1, w2, b2, scale = params
    rng = np.random.default_rng(100 + step)
    x = tinynn.tensor(rng.normal(size=(5, 3)), dtype=w1.dtype)
    y = tinynn.tensor(rng.normal(size=(5, 2)), dtype=w1.dtype)
    out = scale * (tinynn.tanh(x @ w1.T + b1) @ w2.T + b2)
    return ((out - y) * (out - y)).mean()


def train(optimizer: tinynn.optim.Optimizer, params: list[Tensor], steps: int, first: int = 0) -> list[float]:
    losses = []
    for step in range(first, first + steps):
        optimizer.zero_grad()
        loss = loss_of(params, step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def values(params: list[Tensor]) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in params]
