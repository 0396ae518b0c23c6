"""Reductions over axes: sum, mean, max, cumulative sums, and where the extremes are.

``axis`` is None (all axes), a number, or a tuple of numbers; with ``keepdims`` the reduced axes stay with length 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops.base import Op
from tinynn.ops.comparison import equal
from tinynn.ops.joining import flip
from tinynn.ops.shape import broadcast_to, kept_shape, normalize_axes, reshape

Axis = int | tuple[int, ...] | None


class Sum(Op):
    """out = sum of x over axes,   d out/dx = 1: every element gets the cotangent of its sum"""

    linear = True

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, xp, x):
        return x.sum(axis=self.axis, keepdims=self.keepdims)

    def grad_x(self, g, *, x_shape):
        return _spread(g, x_shape, self.axis)


class Mean(Op):
    """out = sum of x over axes / n,   d out/dx = 1/n"""

    linear = True

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, xp, x):
        return x.sum(axis=self.axis, keepdims=self.keepdims) / _count(x.shape, self.axis)

    def grad_x(self, g, *, x_shape):
        return _spread(g / _count(x_shape, self.axis), x_shape, self.axis)


class Max(Op):
    """out = the largest x over axes,   d out/dx = 1 at the largest; ties share evenly"""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, xp, x):
        return xp.max(x, axis=self.axis, keepdims=self.keepdims)

    def grad_x(self, g, *, x, out):
        share = self._share(x, out)
        return reshape(g, kept_shape(x.shape, self.axis)) * share

    def tangent(self, tangents, *, x, out):
        """Forward mode: d out = sum over the elements that tie for the extreme of their share of dx."""
        return sum(tangents[0] * self._share(x, out), self.axis, self.keepdims)

    def _share(self, x, out):
        extreme = equal(x, reshape(out, kept_shape(x.shape, self.axis))).astype(x.dtype)
        return extreme / sum(extreme, self.axis, keepdims=True)


class Min(Max):
    """out = the smallest x over axes,   d out/dx = 1 at the smallest; ties share evenly"""

    def forward(self, xp, x):
        return xp.min(x, axis=self.axis, keepdims=self.keepdims)


class Cumsum(Op):
    """out[i] = x[0] + ... + x[i] along an axis,   dL/dx[i] = g[i] + g[i+1] + ..."""

    linear = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, xp, x):
        return xp.cumsum(x, axis=self.axis)

    def grad_x(self, g):
        return flip(cumsum(flip(g, self.axis), self.axis), self.axis)


class ArgMax(Op):
    """out = where along the axis the largest x stands (the first one at a tie); an integer"""

    def __init__(self, axis: int | None, keepdims: bool) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, xp, x):
        return xp.argmax(x, axis=self.axis, keepdims=self.keepdims)


class ArgMin(ArgMax):
    """out = where along the axis the smallest x stands (the first one at a tie); an integer"""

    def forward(self, xp, x):
        return xp.argmin(x, axis=self.axis, keepdims=self.keepdims)


class All(Op):
    """out = whether all elements over axes are true; a bool"""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, xp, x):
        return xp.all(x, axis=self.axis, keepdims=self.keepdims)


class Some(All):
    """out = whether any element over axes is true; a bool"""

    def forward(self, xp, x):
        return xp.any(x, axis=self.axis, keepdims=self.keepdims)


def _spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """The cotangent of each sum, given to all elements that it was made of."""
    if axis is not None:
        g = reshape(g, kept_shape(shape, axis))
    return broadcast_to(g, shape)


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements one result is made of."""
    return math.prod(shape) if axis is None else math.prod(shape[i] for i in normalize_axes(axis, len(shape)))


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum of the elements over ``axis``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.sum(tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    return apply(Sum(axis, keepdims), x)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Mean of the elements over ``axis``.

    Raises
    ------
    ValueError
        If there is no element to take the mean of.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.mean(tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(2.5)
    """
    if not _count(np.shape(x), axis):
        raise ValueError(f"mean of no elements: the input has shape {np.shape(x)}, reduced over axis={axis}")
    return apply(Mean(axis, keepdims), x)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element over ``axis``. Elements that tie for it share the gradient evenly.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([3.0, 1.0, 3.0], requires_grad=True)
    >>> tinynn.max(x).backward()
    >>> x.grad
    tensor([0.5, 0. , 0.5])
    """
    return apply(Max(axis, keepdims), x)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element over ``axis``. Elements that tie for it share the gradient evenly.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.min(tinynn.tensor([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    tensor([1., 0.])
    """
    return apply(Min(axis, keepdims), x)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Cumulative sum along ``axis`` (of the flattened input if None).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.cumsum(tinynn.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """
    return apply(Cumsum(0), reshape(x, (-1,))) if axis is None else apply(Cumsum(axis), x)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the largest element along ``axis``, the first at a tie.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.argmax(tinynn.tensor([1.0, 3.0, 2.0]))
    tensor(1)
    """
    return apply(ArgMax(axis, keepdims), x)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the smallest element along ``axis``, the first at a tie.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.argmin(tinynn.tensor([1.0, 3.0, 0.0]))
    tensor(2)
    """
    return apply(ArgMin(axis, keepdims), x)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all elements over ``axis`` are true.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.all(tinynn.tensor([1.0, 2.0]) > 0)
    tensor(True)
    """
    return apply(All(axis, keepdims), x)


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any element over ``axis`` is true.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.any(tinynn.tensor([1.0, 2.0]) > 1)
    tensor(True)
    """
    return apply(Some(axis, keepdims), x)
