"""Operations that move elements and compute nothing: reshape, transpose, broadcast.

All of them are linear, so each gradient is the opposite movement: what was moved is moved back, what was repeated is
summed. `tinynn.ops.joining` has those that join and cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.autodiff import apply, undo_broadcast
from tinynn.ops.base import Op

Shape = tuple[int, ...]
INTEGERS = (int, np.integer)


class Reshape(Op):
    """out = the same elements in another shape"""

    linear = True

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def forward(self, xp, x):
        return x.reshape(self.shape)

    def grad_x(self, g, *, x_shape):
        return reshape(g, x_shape)


class Transpose(Op):
    """out = the axes in another order"""

    linear = True

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, xp, x):
        return xp.transpose(x, self.axes)

    def grad_x(self, g):
        return transpose(g, tuple(self.axes.index(i) for i in range(len(self.axes))))


class BroadcastTo(Op):
    """out = x repeated to a larger shape by NumPy's rule; its gradient is the sum over the repeats"""

    linear = True

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def forward(self, xp, x):
        if math.prod(self.shape) > 10_000:
            return xp.broadcast_to(x, self.shape)
        out = xp.empty(self.shape, x.dtype)  # quicker than a view while it is small
        out[...] = x
        return out

    def grad_x(self, g, *, x_shape):
        return undo_broadcast(g, x_shape)


# ------------------------------------------------------------------------------------------------ axes and shapes


def normalize_axis(axis: int, ndim: int) -> int:
    """An axis counted from the front.

    Raises
    ------
    AxisError
        If there is no such axis; it is both an IndexError and a ValueError.
    """
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def normalize_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, as a tuple; all of them for None."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(normalize_axis(int(i), ndim) for i in ((axis,) if isinstance(axis, INTEGERS) else axis))
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} names an axis twice")
    return axes


def kept_shape(shape: Shape, axis: int | Sequence[int] | None) -> Shape:
    """The shape after a reduction over ``axis`` with ``keepdims=True``."""
    axes = normalize_axes(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def with_shape(x: Any) -> Any:
    """A list or a number as an array; what has a shape as it is."""
    return x if hasattr(x, "shape") else np.asarray(x)


# ------------------------------------------------------------------------------------------------------ functions


def reshape(x: Any, *shape: Any) -> Any:
    """The same elements, in the same order, in another shape. One length may be -1.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.reshape(tinynn.tensor([1.0, 2.0, 3.0, 4.0]), (2, 2))
    tensor([[1., 2.],
            [3., 4.]])
    """
    if len(shape) == 1 and not isinstance(shape[0], INTEGERS):
        shape = tuple(shape[0])
    return apply(Reshape(shape), x)


def ravel(x: Any) -> Any:
    """All elements in one axis.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ravel(tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 2., 3., 4.])
    """
    return apply(Reshape((-1,)), x)


def transpose(x: Any, *axes: Any) -> Any:
    """The axes in another order; reversed if no order is given.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.transpose(tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 3.],
            [2., 4.]])
    """
    if len(axes) == 1 and not isinstance(axes[0], INTEGERS):
        axes = tuple(axes[0]) if axes[0] is not None else ()
    x = with_shape(x)
    ndim = len(x.shape)
    order = normalize_axes(axes, ndim) if axes else tuple(reversed(range(ndim)))
    if len(order) != ndim:
        raise ValueError(f"transpose: axes {axes} do not name each of the {ndim} axes of shape {tuple(x.shape)}")
    return apply(Transpose(order), x)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.swapaxes(tinynn.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = with_shape(x)
    order = list(range(len(x.shape)))
    i, j = normalize_axis(axis1, len(order)), normalize_axis(axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return apply(Transpose(tuple(order)), x)


def moveaxis(x: Any, source: int, destination: int) -> Any:
    """One axis moved to another place.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.moveaxis(tinynn.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = with_shape(x)
    order = list(range(len(x.shape)))
    order.insert(normalize_axis(destination, len(order)), order.pop(normalize_axis(source, len(order))))
    return apply(Transpose(tuple(order)), x)


def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """Without the axes of length 1 (all of them, or those named).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.squeeze(tinynn.zeros((1, 3, 1))).shape
    (3,)
    """
    x = with_shape(x)
    shape = tuple(x.shape)
    if axis is None:
        axes = tuple(i for i, n in enumerate(shape) if n == 1)
    else:
        axes = normalize_axes(axis, len(shape))
    for i in axes:
        if shape[i] != 1:
            raise ValueError(f"squeeze: axis {i} of shape {shape} has length {shape[i]}, not 1")
    return apply(Reshape(tuple(n for i, n in enumerate(shape) if i not in axes)), x)


def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """With new axes of length 1 at the places named.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.expand_dims(tinynn.zeros(3), 0).shape
    (1, 3)
    """
    places = (axis,) if isinstance(axis, INTEGERS) else tuple(axis)
    x = with_shape(x)
    ndim = len(x.shape) + len(places)
    axes = normalize_axes(places, ndim)
    lengths = iter(x.shape)
    return apply(Reshape(tuple(1 if i in axes else next(lengths) for i in range(ndim))), x)


def broadcast_to(x: Any, shape: Shape) -> Any:
    """x repeated to a larger shape by NumPy's rule.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.broadcast_to(tinynn.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return apply(BroadcastTo((shape,) if isinstance(shape, INTEGERS) else tuple(shape)), x)
