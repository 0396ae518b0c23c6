"""Picking out and adding back: indexing by all of NumPy's rules, take, scatter, one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynn as tn
from tests.ops.checks import (
    check_derivatives,
    check_float32,
    check_forward,
    check_layout,
    close,
    layouts,
    leaf,
    seeds,
    some,
)

X = np.arange(24.0).reshape(2, 3, 4) * 0.3 - 2.0
INDICES: dict[str, Any] = {
    "number": 1,
    "negative": -1,
    "numpy integer": np.int64(1),
    "slice": slice(None, None, 2),
    "backwards": (slice(None), slice(None, None, -1)),
    "empty slice": (0, slice(2, 2)),
    "dots": (..., 1),
    "new axis": (None, 0, ..., None),
    "list": [1, 0, 1],
    "repeated": (slice(None), [0, 0, 2, 0]),
    "negative list": [-1, -2],
    "table": np.array([[0, 1], [1, 1]]),
    "pairs": ([0, 1, 1], [2, 0, 2]),
    "broadcast": (np.array([[0], [1]]), np.array([[0, 2]])),
    "apart": ([0, 1], slice(None), [3, 1]),  # index arrays apart: NumPy puts their axis first
    "mixed with number": (1, [0, 2]),
    "mask of all": X > 0.4,
    "mask of first": np.array([True, False]),
    "mask of an axis": (slice(None), np.array([True, False, True])),
    "empty list": [],
    "tensor": tn.tensor([1, 0]),
    "tensor mask": tn.tensor(X) > 1.0,
    "tensor number": tn.tensor(1),
}


def plain(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(plain, index))
    if isinstance(index, list):
        return np.array(index, int)
    return np.asarray(index.array) if isinstance(index, tn.Tensor) else index


@pytest.mark.parametrize("name", INDICES)
def test_indexing(name: str) -> None:
    index = INDICES[name]
    check_forward(lambda x: x[index] if isinstance(x, tn.Tensor) else x[plain(index)], lambda x: x[plain(index)], X)
    check_derivatives(lambda x: x[index], X)
    check_layout(lambda x: x[index], [X], ["reversed"])
    check_float32(lambda x: x[index], X)


@some
@given(data=st.data(), layout=layouts)
def test_basic_indexing(data: Any, layout: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    x = np.random.default_rng(data.draw(seeds)).standard_normal(shape)
    close(leaf(x)[index], x[index])
    check_derivatives(lambda t: t[index], x)
    check_layout(lambda t: t[index], [x], [layout])


@some
@given(data=st.data())
def test_index_arrays(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    index = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    x = np.random.default_rng(data.draw(seeds)).standard_normal(shape)
    close(leaf(x)[index], x[index])
    check_derivatives(lambda t: t[index], x)


@some
@given(data=st.data())
def test_take_and_take_along_axis(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(data.draw(seeds)).standard_normal(shape)
    picks = data.draw(
        hnp.arrays(int, hnp.array_shapes(min_dims=0, max_dims=2), elements=st.integers(-shape[axis], shape[axis] - 1))
    )
    check_forward(lambda t: tn.take(t, picks, axis), lambda t: np.take(t, picks, axis), x)
    check_derivatives(lambda t: tn.take(t, picks, axis), x)
    check_derivatives(lambda t: tn.take(t, [0, -1, 0]), x)
    order = np.argsort(x, axis=axis)
    check_forward(lambda t: tn.take_along_axis(t, order, axis), lambda t: np.take_along_axis(t, order, axis), x)
    check_derivatives(lambda t: tn.take_along_axis(t, order, axis), x)


def test_scatter_add() -> None:
    values = np.linspace(0.0, 1.0, 12).reshape(3, 4)
    for index in ([0, 0, 1], np.array([1, 1, 1]), (slice(None, 1), [0, 2, 0])):
        shaped = values[None] if isinstance(index, tuple) else np.broadcast_to(values, (3, 3, 4)).swapaxes(0, 1)
        wanted = X.copy()
        np.add.at(wanted, index, shaped)
        close(tn.scatter_add(leaf(X), index, leaf(shaped)), wanted)
        check_derivatives(lambda x, v, index=index: tn.scatter_add(x, index, v), X, shaped)
        check_float32(lambda x, v, index=index: tn.scatter_add(x, index, v), X, shaped)
    close(tn.scatter_add(tn.zeros(3), [0, 0], 1.0), [2.0, 0.0, 0.0])
    close(tn.scatter_add(tn.zeros(3), tn.tensor([True, False, True]), 1.0), [1.0, 0.0, 1.0])
    close(tn.scatter_add(tn.zeros(3), tn.tensor(1), 1.0), [0.0, 1.0, 0.0])


def test_scatter_leaves_its_input_alone() -> None:
    x = tn.zeros(3)
    tn.scatter_add(x, [0], 1.0)
    assert not x.numpy().any()


def test_one_hot() -> None:
    close(tn.one_hot(tn.tensor([[0, 2], [1, 1]]), 3), np.eye(3)[[[0, 2], [1, 1]]])
    assert tn.one_hot([1], 2, dtype="float32").dtype == np.float32
    assert tn.one_hot(np.zeros(0, int), 3).shape == (0, 3)
    with pytest.raises(IndexError, match=r"one_hot: labels must be in 0 \.\.\. 2.*from 0 to 3"):
        tn.one_hot([0, 3], 3)
    with pytest.raises(IndexError, match="one_hot"):
        tn.one_hot([-1], 3)
    with pytest.raises(TypeError, match="one_hot: labels must be integers"):
        tn.one_hot([0.5], 3)


def test_errors_say_what_is_wrong() -> None:
    x = tn.zeros(2, 3)
    with pytest.raises(IndexError, match=r"index 2 is out of bounds.*\(2, 3\)"):
        x[2]
    with pytest.raises(IndexError, match=r"out of bounds.*\(2, 3\)"):
        x[[0, 5]]
    with pytest.raises(IndexError, match="integers or bools, not float64"):
        x[tn.zeros(2)]
    with pytest.raises(IndexError, match=r"too many indices.*\(2, 3\)"):
        x[0, 0, 0]
    with pytest.raises(IndexError, match=r"boolean"):
        x[np.array([True, False, True])]
    with pytest.raises(np.exceptions.AxisError):
        tn.take(x, [0], axis=2)
    with pytest.raises(ValueError, match="take_along_axis"):
        tn.take_along_axis(x, [0], axis=1)
    with pytest.raises(ValueError, match=r"take_along_axis.*differ in axis 0"):
        tn.take_along_axis(x, np.zeros((3, 1), int), axis=1)
    with pytest.raises(IndexError):
        tn.scatter_add(x, [7], 1.0)
    with pytest.raises(ValueError, match="broadcast"):
        tn.scatter_add(x, [0], tn.zeros(2))
    with pytest.raises(TypeError, match=r"where.*concatenate.*scatter_add"):
        x[0] = 1.0
