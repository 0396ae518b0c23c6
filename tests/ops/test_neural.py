"""Primitives that could be composites: each is held against its composite, at first and second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tests.ops.checks import check_derivatives, check_float32, check_layout, close, leaf
from tinynn.ops.convolution import avg_pool2d, conv2d, max_pool2d
from tinynn.ops.neural import batch_norm, dropout, layer_norm, softmax_cross_entropy

rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return rng.standard_normal(shape)


LABELS = np.array([0, 2, 1, 2])


def composite_layer_norm(x: Any, w: Any, b: Any) -> Any:
    return (x - tn.mean(x, -1, keepdims=True)) / tn.sqrt(tn.var(x, -1, keepdims=True) + 1e-5) * w + b


def composite_batch_norm(x: Any, w: Any, b: Any) -> Any:
    axes, shape = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    normal = (x - tn.mean(x, axes, keepdims=True)) / tn.sqrt(tn.var(x, axes, keepdims=True) + 1e-5)
    return normal * w.reshape(shape) + b.reshape(shape)


def composite_conv2d(x: Any, w: Any, b: Any) -> Any:
    view = tn.windows(tn.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))), (2, 3), (2, 1), (1, 1))
    return tn.einsum("ncijkl,ockl->noij", view, w) + b.reshape(1, -1, 1, 1)


def grouped_conv2d(x: Any, w: Any, b: Any) -> Any:
    halves = [
        tn.einsum("ncijkl,ockl->noij", tn.windows(x[:, i : i + 1], (2, 2), (1, 1), (2, 1)), w[2 * i : 2 * i + 2])
        for i in range(2)
    ]
    return tn.concatenate(halves, 1) + b.reshape(1, -1, 1, 1)


def same(x: Any) -> Any:
    return x


# name -> (primitive, composite, inputs)
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "layer_norm": (
        lambda x, w, b: layer_norm(x, (4,), w, b),
        composite_layer_norm,
        (normal(3, 4), normal(4), normal(4)),
    ),
    "layer_norm of 3 axes": (
        lambda x, w, b: layer_norm(x, (4,), w, b),
        composite_layer_norm,
        (normal(2, 3, 4), normal(4), normal(4)),
    ),
    "layer_norm plain": (
        lambda x: layer_norm(x, (4,)),
        lambda x: composite_layer_norm(x, 1.0, 0.0),
        (normal(3, 4),),
    ),
    "batch_norm": (
        lambda x, w, b: batch_norm(x, w, b)[0],
        composite_batch_norm,
        (normal(5, 3), normal(3), normal(3)),
    ),
    "batch_norm of planes": (
        lambda x, w, b: batch_norm(x, w, b)[0],
        composite_batch_norm,
        (normal(2, 3, 2, 2), normal(3), normal(3)),
    ),
    "softmax_cross_entropy": (
        lambda x: softmax_cross_entropy(x, LABELS),
        lambda x: -tn.take_along_axis(tn.log_softmax(x), LABELS[:, None], 1)[:, 0],
        (normal(4, 3),),
    ),
    "conv2d": (
        lambda x, w, b: conv2d(x, w, b, stride=(2, 1), padding=(1, 0)),
        composite_conv2d,
        (normal(2, 2, 4, 5), normal(3, 2, 2, 3), normal(3)),
    ),
    "conv2d grouped, dilated": (
        lambda x, w, b: conv2d(x, w, b, dilation=(2, 1), groups=2),
        grouped_conv2d,
        (normal(2, 2, 4, 3), normal(4, 1, 2, 2), normal(4)),
    ),
    "max_pool2d": (
        lambda x: max_pool2d(x, (2, 2)),
        lambda x: tn.max(tn.windows(x, (2, 2), (2, 2)), axis=(-2, -1)),
        (normal(2, 2, 4, 5),),
    ),
    "max_pool2d overlapping": (
        lambda x: max_pool2d(x, (3, 2), (1, 1)),
        lambda x: tn.max(tn.windows(x, (3, 2)), axis=(-2, -1)),
        (normal(2, 1, 4, 4),),
    ),
    "max_pool2d padded": (
        lambda x: max_pool2d(x, (2, 2), (2, 2), (1, 1)),
        lambda x: tn.max(
            tn.windows(tn.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), -np.inf), (2, 2), (2, 2)), axis=(-2, -1)
        ),
        (normal(1, 2, 4, 4),),
    ),
    "avg_pool2d": (
        lambda x: avg_pool2d(x, (2, 3), (1, 2), (1, 1)),
        lambda x: tn.mean(tn.windows(tn.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (2, 3), (1, 2)), axis=(-2, -1)),
        (normal(2, 2, 3, 4),),
    ),
    "silu": (tn.silu, lambda x: x * tn.sigmoid(x), (normal(7),)),
    "gelu": (tn.gelu, lambda x: x * (0.5 * tn.erf(x * 0.5**0.5) + 0.5), (normal(7),)),
    "softplus": (tn.softplus, lambda x: tn.log(1 + tn.exp(x)), (normal(7),)),
    "selu": (tn.selu, lambda x: 1.0507009873554805 * tn.elu(x, 1.6732632423543772), (normal(7),)),
    "sigmoid": (tn.sigmoid, lambda x: 1 / (1 + tn.exp(-x)), (normal(7),)),
    "normal_cdf": (tn.ops.elementwise.normal_cdf, lambda x: 0.5 * (1 + tn.erf(x * 0.5**0.5)), (normal(7),)),
    "square": (tn.square, lambda x: x * x, (normal(7),)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_primitive_is_its_composite(name: str) -> None:
    primitive, composite, inputs = PAIRS[name]
    results = []
    for f in (primitive, composite):
        leaves = [leaf(a) for a in inputs]
        y = f(*leaves)
        cotangent = tn.Tensor(np.random.default_rng(1).standard_normal(y.shape)).requires_grad_()
        first = tn.grad(y, leaves, cotangent, create_graph=True)
        penalty = sum((g * g).sum() for g in first)
        second = tn.grad(penalty, [*leaves, cotangent], allow_unused=True, create_graph=True)
        results.append(
            [
                y,
                *first,
                *[tn.zeros_like(x) if g is None else g for x, g in zip([*leaves, cotangent], second, strict=True)],
            ]
        )
    for a, b in zip(*results, strict=True):
        close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", PAIRS)
def test_derivatives(name: str) -> None:
    primitive, _, inputs = PAIRS[name]
    if "max_pool" in name:
        inputs = (np.random.default_rng(2).permutation(inputs[0].size).reshape(inputs[0].shape) * 0.1,)
    check_derivatives(primitive, *inputs, rtol=1e-5)
    check_float32(primitive, *inputs)
    for layout in ("fortran", "reversed", "strided", "read-only"):
        check_layout(primitive, list(inputs), [layout] * len(inputs))


def test_third_order_through_norms() -> None:
    for name in ("layer_norm", "batch_norm"):
        primitive, composite, inputs = PAIRS[name]
        found = []
        for f in (primitive, composite):
            x = leaf(inputs[0])
            y = f(x, *map(tn.Tensor, inputs[1:]))
            for _ in range(3):
                (y,) = tn.grad((y * y * y).sum(), [x], create_graph=True)
            found.append(y)
        close(*found, rtol=1e-7)


def test_batch_statistics() -> None:
    x = normal(5, 3, 2)
    _, mean, variance = batch_norm(leaf(x))
    close(mean, x.mean(axis=(0, 2)))
    close(variance, x.var(axis=(0, 2)))
    assert mean.node is None


def test_dropout() -> None:
    x = leaf(np.ones((50, 40)))
    y = dropout(x, 0.3, seed=5)
    kept = y.numpy() != 0
    assert 0.65 < kept.mean() < 0.75
    close(y, kept / 0.7)
    close(tn.grad(y.sum(), x), kept / 0.7)
    close(dropout(x, 0.3, seed=5), y)
    assert (dropout(x, 0.3, seed=6).numpy() != y.numpy()).any()
    assert dropout(x, 0.0, seed=5) is x
    assert not dropout(x, 1.0, seed=5).numpy().any()
    check_derivatives(lambda t: dropout(t, 0.3, seed=5), normal(4, 3))
    check_float32(lambda t: dropout(t, 0.3, seed=5), normal(4, 3))


def test_max_pool_gives_the_first_of_a_tie_everything() -> None:
    x = leaf(np.ones((1, 1, 2, 4)))
    close(tn.grad(max_pool2d(x, (2, 2)).sum(), x)[0, 0], [[1, 0, 1, 0], [0, 0, 0, 0]])


def test_errors() -> None:
    for call, error, message in [
        (lambda: conv2d(tn.zeros(1, 2, 3), tn.zeros(1, 2, 2, 2)), ValueError, "conv2d: x must be"),
        (lambda: conv2d(tn.zeros(1, 2, 3, 3), tn.zeros(1, 3, 2, 2)), ValueError, "conv2d: x has 2 channels"),
        (
            lambda: conv2d(tn.zeros(1, 2, 3, 3), tn.zeros(1, 2, 4, 4)),
            ValueError,
            "larger than the padded plane",
        ),
        (
            lambda: conv2d(tn.zeros(1, 2, 3, 3, dtype="float32"), tn.zeros(1, 2, 2, 2)),
            TypeError,
            "float32.*float64",
        ),
        (lambda: max_pool2d(tn.zeros(3, 3), (2, 2)), ValueError, "max_pool2d: x must be"),
        (lambda: max_pool2d(tn.zeros(1, 1, 3, 3), (4, 4)), ValueError, "larger than"),
        (lambda: avg_pool2d(tn.zeros(1, 1, 3, 3), (2, 2), padding=(2, 2)), ValueError, "half"),
        (lambda: layer_norm(tn.zeros(2, 3), (2,)), ValueError, "normalized_shape"),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_convolution_of_an_empty_batch() -> None:
    x = tn.zeros(0, 2, 5, 5, requires_grad=True)
    w = tn.ones(4, 1, 3, 3, requires_grad=True)
    conv2d(x, w, tn.zeros(4, requires_grad=True), groups=2).sum().backward()
    assert x.grad.shape == (0, 2, 5, 5)
    assert w.grad.tolist() == np.zeros((4, 1, 3, 3)).tolist()
