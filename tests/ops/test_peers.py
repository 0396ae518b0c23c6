"""Agreement with PyTorch to 1e-10 relative in float64: values, gradients, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tests.ops.checks import leaf
from tinynn.ops import convolution, neural

pytestmark = pytest.mark.peers
rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return rng.standard_normal(shape)


def positive(*shape: int) -> Any:
    return rng.uniform(0.2, 3.0, shape)


X, Y, V = normal(3, 4), normal(3, 4), normal(4)
LABELS = np.array([0, 2, 1])
PICKS = np.array([[0, 3], [1, 1], [2, 0]])
Pair = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]


def cases() -> dict[str, Pair]:
    """name -> (ours, theirs, inputs)."""
    import torch
    import torch.nn.functional as F

    same_name = {
        "exp": (X,),
        "expm1": (X,),
        "log": (positive(5),),
        "log1p": (positive(5),),
        "sqrt": (positive(5),),
        "square": (X,),
        "abs": (X,),
        "sign": (X,),
        "floor": (X,),
        "sin": (X,),
        "cos": (X,),
        "tanh": (X,),
        "sigmoid": (X,),
        "erf": (X,),
        "relu": (X,),
        "add": (X, V),
        "subtract": (X, V),
        "multiply": (X, V),
        "divide": (X, positive(4)),
        "maximum": (X, Y),
        "minimum": (X, Y),
        "matmul": (X, Y.T),
        "outer": (V, V[:2]),
        "ravel": (X,),
        "prod": (X,),
        "sum": (X,),
        "mean": (X,),
        "max": (X,),
        "min": (X,),
        "negative": (X,),
    }
    table: dict[str, Pair] = {
        name: (getattr(tn, name), getattr(torch, name), inputs) for name, inputs in same_name.items()
    }
    table |= {
        "power": (tn.power, torch.pow, (positive(3, 4), V)),
        "power 3": (lambda x: x**3, lambda x: x**3, (X,)),
        "power -0.5": (lambda x: x**-0.5, lambda x: x**-0.5, (positive(4),)),
        "remainder": (tn.remainder, torch.remainder, (X, positive(4))),
        "2 ** x": (lambda x: 2.0**x, lambda x: 2.0**x, (X,)),
        "ties of maximum": (tn.maximum, torch.maximum, (X, X.copy())),
        "ties of max": (lambda x: tn.max(x, axis=1), lambda x: torch.amax(x, 1), (np.round(X),)),
        "ties of min": (lambda x: tn.min(x, axis=(0, 1)), lambda x: torch.amin(x, (0, 1)), (np.round(X),)),
        "clip": (lambda x: tn.clip(x, -0.5, 0.5), lambda x: torch.clamp(x, -0.5, 0.5), (X,)),
        "clip at its bounds": (
            lambda x: tn.clip(x, -1, 1),
            lambda x: torch.clamp(x, -1, 1),
            (np.array([-1.0, 0.0, 1.0, 2.0]),),
        ),
        "where": (lambda x, y: tn.where(x > y, x, y * y), lambda x, y: torch.where(x > y, x, y * y), (X, Y)),
        "leaky_relu": (lambda x: tn.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2), (X,)),
        "elu": (lambda x: tn.elu(x, 1.3), lambda x: F.elu(x, 1.3), (X,)),
        "selu": (tn.selu, F.selu, (X,)),
        "gelu": (tn.gelu, F.gelu, (X,)),
        "gelu tanh": (lambda x: tn.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh"), (X,)),
        "silu": (tn.silu, F.silu, (X,)),
        "softplus": (tn.softplus, F.softplus, (X,)),
        "softmax": (lambda x: tn.softmax(x, 0), lambda x: torch.softmax(x, 0), (X,)),
        "log_softmax": (lambda x: tn.log_softmax(x, 1), lambda x: torch.log_softmax(x, 1), (X,)),
        "logsumexp": (lambda x: tn.logsumexp(x, (0, 1)), lambda x: torch.logsumexp(x, (0, 1)), (X,)),
        "var": (lambda x: tn.var(x, 1, 1), lambda x: torch.var(x, 1), (X,)),
        "std": (lambda x: tn.std(x, (0, 1), 0), lambda x: torch.std(x, (0, 1), correction=0), (X,)),
        "norm": (lambda x: tn.norm(x, 1), lambda x: torch.linalg.vector_norm(x, dim=1), (X,)),
        "cumsum": (lambda x: tn.cumsum(x, 1), lambda x: torch.cumsum(x, 1), (X,)),
        "prod with a zero": (
            lambda x: tn.prod(x, 1),
            lambda x: torch.prod(x, 1),
            (np.where(np.abs(X) < 0.1, 0, X),),
        ),
        "einsum": (
            lambda a, b: tn.einsum("ij,kj->ik", a, b),
            lambda a, b: torch.einsum("ij,kj->ik", a, b),
            (X, Y),
        ),
        "linear": (tn.linear, F.linear, (X, normal(2, 4), normal(2))),
        "batched matmul": (tn.matmul, torch.matmul, (normal(5, 1, 2, 3), normal(4, 3, 2))),
        "index": (lambda x: x[1:, [0, 0, 2]], lambda x: x[1:, [0, 0, 2]], (X,)),
        "mask": (lambda x: x[X > 0], lambda x: x[torch.as_tensor(X > 0)], (X,)),
        "take_along_axis": (
            lambda x: tn.take_along_axis(x, PICKS, 1),
            lambda x: torch.take_along_dim(x, torch.as_tensor(PICKS), 1),
            (X,),
        ),
        "flip": (lambda x: tn.flip(x, 1), lambda x: torch.flip(x, (1,)), (X,)),
        "roll": (lambda x: tn.roll(x, 2, 1), lambda x: torch.roll(x, 2, 1), (X,)),
        "tile": (lambda x: tn.tile(x, (2, 1)), lambda x: torch.tile(x, (2, 1)), (X,)),
        "repeat": (lambda x: tn.repeat(x, 2, 1), lambda x: torch.repeat_interleave(x, 2, 1), (X,)),
        "pad": (lambda x: tn.pad(x, ((1, 0), (2, 1))), lambda x: F.pad(x, (2, 1, 1, 0)), (X,)),
        "layer_norm": (
            lambda x, w, b: neural.layer_norm(x, (4,), w, b),
            lambda x, w, b: F.layer_norm(x, (4,), w, b),
            (X, V, V + 1),
        ),
        "batch_norm": (
            lambda x, w, b: neural.batch_norm(x, w, b)[0],
            lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
            (normal(4, 3, 2, 2), normal(3), normal(3)),
        ),
        "cross entropy": (
            lambda x: neural.softmax_cross_entropy(x, LABELS),
            lambda x: F.cross_entropy(x, torch.as_tensor(LABELS), reduction="none"),
            (X,),
        ),
        "conv2d": (
            lambda x, w, b: convolution.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2),
            lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2),
            (normal(2, 4, 5, 6), normal(6, 2, 3, 2), normal(6)),
        ),
        "max_pool2d": (
            lambda x: convolution.max_pool2d(x, (3, 2), (2, 1), (1, 0)),
            lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)),
            (normal(2, 3, 5, 4),),
        ),
        "ties of max_pool2d": (
            lambda x: convolution.max_pool2d(x, (2, 2)),
            lambda x: F.max_pool2d(x, 2),
            (np.round(normal(2, 3, 4, 4)),),
        ),
        "avg_pool2d": (
            lambda x: convolution.avg_pool2d(x, (2, 3), (1, 2), (1, 1)),
            lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (1, 1)),
            (normal(2, 3, 5, 4),),
        ),
    }
    return table


def agree(ours: Any, theirs: Any) -> None:
    theirs = theirs.detach().numpy(force=True)
    assert ours.shape == theirs.shape
    size = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    np.testing.assert_allclose(np.asarray(ours.array), theirs, rtol=1e-10, atol=1e-13 * size)


def test_agreement() -> None:
    torch = pytest.importorskip("torch")
    wrong = []
    for name, (ours, theirs, inputs) in cases().items():
        try:
            a = [leaf(x) for x in inputs]
            b = [torch.tensor(x, requires_grad=True) for x in inputs]
            y, z = ours(*a), theirs(*b)
            agree(y, z)
            cotangent = np.random.default_rng(3).standard_normal(y.shape)
            g = tn.grad(y, a, tn.Tensor(cotangent), create_graph=True)
            h = torch.autograd.grad(z, b, torch.tensor(cotangent), create_graph=True)
            for mine, other in zip(g, h, strict=True):
                agree(mine, other)
            penalty, other_penalty = sum((u * u * u).sum() for u in g), sum((u * u * u).sum() for u in h)
            if penalty.node is not None and other_penalty.requires_grad:
                second = tn.grad(penalty, a, allow_unused=True)
                other_second = torch.autograd.grad(other_penalty, b, allow_unused=True)
                for x, mine, other in zip(a, second, other_second, strict=True):
                    zero = np.zeros(x.shape)
                    agree(
                        tn.Tensor(zero) if mine is None else mine,
                        torch.tensor(zero) if other is None else other,
                    )
            else:  # one of us may leave a graph behind whose derivative is 0
                if penalty.node is not None:
                    assert all(m is None or not m.numpy().any() for m in tn.grad(penalty, a, allow_unused=True))
                if other_penalty.requires_grad:
                    second = torch.autograd.grad(other_penalty, b, allow_unused=True)
                    assert all(m is None or not m.numpy().any() for m in second)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)
