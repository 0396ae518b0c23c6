"""Operations that only move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynn as tn
from tests.ops.checks import (
    LAYOUTS,
    check_derivatives,
    check_float32,
    check_forward,
    check_layout,
    close,
    leaf,
    seeds,
    some,
)

X = np.arange(24.0).reshape(2, 3, 4) * 0.3 - 2.0
ONES = X.reshape(2, 1, 12, 1)
Move = Callable[..., Any]

# name -> (function of tensors, NumPy's, inputs)
MOVES: dict[str, tuple[Move, Move, tuple[Any, ...]]] = {
    "reshape": (lambda x: tn.reshape(x, (4, -1)), lambda x: x.reshape(4, -1), (X,)),
    "reshape numbers": (lambda x: tn.reshape(x, 4, 6), lambda x: x.reshape(4, 6), (X,)),
    "reshape to scalar": (lambda x: tn.reshape(x, ()), lambda x: x.reshape(()), (np.array([2.0]),)),
    "reshape of empty": (lambda x: tn.reshape(x, (0, 5)), lambda x: x.reshape(0, 5), (np.zeros((3, 0)),)),
    "ravel": (tn.ravel, np.ravel, (X,)),
    "transpose": (tn.transpose, np.transpose, (X,)),
    "transpose order": (lambda x: tn.transpose(x, (1, 2, 0)), lambda x: np.transpose(x, (1, 2, 0)), (X,)),
    "transpose negative": (lambda x: tn.transpose(x, -1, 0, 1), lambda x: np.transpose(x, (-1, 0, 1)), (X,)),
    "swapaxes": (lambda x: tn.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), (X,)),
    "moveaxis": (lambda x: tn.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1), (X,)),
    "squeeze": (tn.squeeze, np.squeeze, (ONES,)),
    "squeeze one": (lambda x: tn.squeeze(x, -1), lambda x: np.squeeze(x, -1), (ONES,)),
    "squeeze two": (lambda x: tn.squeeze(x, (1, 3)), lambda x: np.squeeze(x, (1, 3)), (ONES,)),
    "expand_dims": (lambda x: tn.expand_dims(x, -1), lambda x: np.expand_dims(x, -1), (X,)),
    "expand_dims two": (lambda x: tn.expand_dims(x, (0, 2)), lambda x: np.expand_dims(x, (0, 2)), (X,)),
    "broadcast_to": (
        lambda x: tn.broadcast_to(x, (2, 5, 3)),
        lambda x: np.broadcast_to(x, (2, 5, 3)),
        (X[0, :1, :3],),
    ),
    "broadcast scalar": (lambda x: tn.broadcast_to(x, 3), lambda x: np.broadcast_to(x, 3), (np.array(2.0),)),
    "broadcast to none": (
        lambda x: tn.broadcast_to(x, (0, 3)),
        lambda x: np.broadcast_to(x, (0, 3)),
        (np.ones(3),),
    ),
    "concatenate": (
        lambda a, b: tn.concatenate([a, b], axis=-1),
        lambda a, b: np.concatenate([a, b], -1),
        (X, X[..., :2]),
    ),
    "concatenate flat": (
        lambda a, b: tn.concatenate([a, b], axis=None),
        lambda a, b: np.concatenate([a, b], None),
        (X, X[0]),
    ),
    "concatenate itself": (lambda a: tn.concatenate([a, a, a]), lambda a: np.concatenate([a, a, a]), (X,)),
    "concatenate a constant": (
        lambda a: tn.concatenate([X, a], 0),
        lambda a: np.concatenate([X, a], 0),
        (X,),
    ),
    "stack": (lambda a, b: tn.stack([a, b], axis=-1), lambda a, b: np.stack([a, b], -1), (X, X + 1)),
    "stack scalars": (
        lambda a, b: tn.stack([a, b]),
        lambda a, b: np.stack([a, b]),
        (np.array(1.0), np.array(2.0)),
    ),
    "split": (lambda x: tn.split(x, 2, axis=2)[1], lambda x: np.split(x, 2, axis=2)[1], (X,)),
    "split places": (
        lambda x: tn.split(x, [1, 1, 3], axis=-1)[2],
        lambda x: np.split(x, [1, 1, 3], axis=-1)[2],
        (X,),
    ),
    "split empty part": (
        lambda x: tn.split(x, [1, 1], axis=-1)[1],
        lambda x: np.split(x, [1, 1], axis=-1)[1],
        (X,),
    ),
    "pad": (lambda x: tn.pad(x, 1), lambda x: np.pad(x, 1), (X,)),
    "pad value": (
        lambda x: tn.pad(x, ((0, 1), (2, 0), (1, 1)), 7.0),
        lambda x: np.pad(x, ((0, 1), (2, 0), (1, 1)), constant_values=7.0),
        (X,),
    ),
    "flip": (tn.flip, np.flip, (X,)),
    "flip one": (lambda x: tn.flip(x, -1), lambda x: np.flip(x, -1), (X,)),
    "flip two": (lambda x: tn.flip(x, (0, 2)), lambda x: np.flip(x, (0, 2)), (X,)),
    "roll": (lambda x: tn.roll(x, 5), lambda x: np.roll(x, 5), (X,)),
    "roll back": (lambda x: tn.roll(x, -1, axis=1), lambda x: np.roll(x, -1, axis=1), (X,)),
    "roll around": (lambda x: tn.roll(x, 9, axis=-1), lambda x: np.roll(x, 9, axis=-1), (X,)),
    "roll nothing": (lambda x: tn.roll(x, 4, axis=-1), lambda x: np.roll(x, 4, axis=-1), (X,)),
    "tile": (lambda x: tn.tile(x, 2), lambda x: np.tile(x, 2), (X,)),
    "tile more axes": (lambda x: tn.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), (X[0, 0],)),
    "tile fewer axes": (lambda x: tn.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3)), (X,)),
    "repeat": (lambda x: tn.repeat(x, 2), lambda x: np.repeat(x, 2), (X,)),
    "repeat axis": (lambda x: tn.repeat(x, 3, axis=-2), lambda x: np.repeat(x, 3, axis=-2), (X,)),
    "windows": (
        lambda x: tn.windows(x, (2, 2), (1, 2)),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2), (-2, -1))[..., :, ::2, :, :],
        (X,),
    ),
    "windows dilated": (
        lambda x: tn.windows(x, (2, 2), (1, 1), (1, 2)),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 3), (-2, -1))[..., ::2],
        (X,),
    ),
    "windows apart": (  # steps larger than the window leave elements out
        lambda x: tn.windows(x, (1, 1), (2, 3)),
        lambda x: x[..., ::2, ::3, None, None],
        (X,),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str) -> None:
    f, reference, inputs = MOVES[name]
    check_forward(f, reference, *inputs)
    check_derivatives(f, *inputs)
    for layout in LAYOUTS:
        check_layout(f, list(inputs), [layout] * len(inputs))
    if name != "concatenate a constant":  # its constant is float64
        check_float32(f, *inputs)


@some
@given(data=st.data(), seed=seeds)
def test_reductions_undo_broadcasting(data: Any, seed: int) -> None:
    small, wide = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3)
    ).input_shapes
    shape = np.broadcast_shapes(small, wide)
    x = np.random.default_rng(seed).standard_normal(small)
    close(tn.broadcast_to(leaf(x), shape), np.broadcast_to(x, shape))
    check_derivatives(lambda t: tn.broadcast_to(t, shape), x)


@some
@given(data=st.data(), shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), seed=seeds)
def test_any_order_of_axes(data: Any, shape: tuple[int, ...], seed: int) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    x = np.random.default_rng(seed).standard_normal(shape)
    close(tn.transpose(leaf(x), tuple(order)) if order else tn.transpose(leaf(x)), x.transpose(order))
    check_derivatives(lambda t: t.transpose(tuple(order)), x)
    close(leaf(x).T, x.T)


def test_large_broadcasts_are_views() -> None:
    x = tn.broadcast_to(tn.tensor(1.0, requires_grad=True), (1000, 1000))
    assert x.array.strides == (0, 0)


def test_methods_are_the_functions() -> None:
    x = tn.tensor(X)
    close(x.reshape(4, 6), tn.reshape(x, (4, 6)))
    close(x.reshape((4, 6)), tn.reshape(x, (4, 6)))
    close(x.transpose(2, 0, 1), tn.transpose(x, (2, 0, 1)))
    close(x.swapaxes(0, 1), tn.swapaxes(x, 0, 1))
    close(x.ravel(), x.flatten())
    close(x.mT, tn.swapaxes(x, -1, -2))
    close(x.repeat(2, axis=0), tn.repeat(x, 2, 0))
    close(x[:, :1].squeeze(1), x[:, 0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.reshape(5), ValueError, r"Reshape.*\(2, 3, 4\)"),
        (lambda x: x.transpose(0, 1), ValueError, r"transpose: axes"),
        (lambda x: x.transpose(0, 0, 1), ValueError, r"twice"),
        (lambda x: x.transpose(0, 1, 3), np.exceptions.AxisError, r"axis 3"),
        (lambda x: x.swapaxes(0, 3), np.exceptions.AxisError, r"axis 3"),
        (lambda x: tn.squeeze(x, 1), ValueError, r"squeeze: axis 1 of shape \(2, 3, 4\)"),
        (lambda x: tn.broadcast_to(x, (2, 3)), ValueError, r"BroadcastTo"),
        (lambda x: tn.concatenate([]), ValueError, r"concatenate: there is nothing"),
        (lambda x: tn.concatenate([x, x[0]]), ValueError, r"concatenate: input 1 of shape \(3, 4\)"),
        (lambda x: tn.concatenate([x.sum(), x.sum()]), ValueError, r"stack makes a new axis"),
        (lambda x: tn.stack([]), ValueError, r"stack: there is nothing"),
        (lambda x: tn.stack([x, x[0]]), ValueError, r"stack: input 1 has shape \(3, 4\)"),
        (lambda x: tn.split(x, 3, axis=2), ValueError, r"split: an axis of length 4"),
        (lambda x: tn.pad(x, -1), ValueError, r"pad: .*negative"),
        (lambda x: tn.pad(x, ((1, 1), (1, 1))), ValueError, r"pad"),
        (lambda x: tn.windows(x, (4, 1)), ValueError, r"windows: a window of \(4, 1\)"),
        (lambda x: tn.windows(x, (0, 1)), ValueError, r"must be 1 or more"),
        (lambda x: tn.windows(x[0, 0], (1, 1)), ValueError, r"two axes or more"),
        (lambda x: tn.tensor([x, x]), TypeError, r"tinynn\.stack"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tn.tensor(X))
