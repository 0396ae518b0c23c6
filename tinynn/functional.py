"""Composites: functions written in other operations, which need no derivative of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.ops import comparison, elementwise, piecewise, reduce
from tinynn.ops.joining import concatenate
from tinynn.ops.reduce import Axis
from tinynn.ops.shape import kept_shape, moveaxis, normalize_axes, reshape, with_shape


def var(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Variance, sum of (x - mean)**2 / (n - ddof), over ``axis``.

    Parameters
    ----------
    ddof : 0 for the variance of the sample (NumPy's default), 1 for the unbiased estimate (PyTorch's default)

    Raises
    ------
    ValueError
        If there are not more than ``ddof`` elements.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.var(tinynn.tensor([1.0, 2.0, 3.0]))
    tensor(0.66666667)
    """
    x = with_shape(x)
    n = reduce._count(tuple(x.shape), axis)
    if n <= ddof:
        raise ValueError(f"var: {n} elements over axis={axis} of shape {tuple(x.shape)} are not more than ddof={ddof}")
    d = x - reduce.mean(x, axis, keepdims=True)
    return reduce.sum(d * d, axis, keepdims) / (n - ddof)


def std(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Standard deviation, sqrt(var). Its derivative where the variance is 0 is taken as 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.std(tinynn.tensor([1.0, 3.0]))
    tensor(1.)
    """
    return elementwise.root(var(x, axis, ddof, keepdims))


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product of the elements over ``axis``; right at zeros to every order, since it multiplies in pairs.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> tinynn.prod(x).backward()
    >>> x.grad
    tensor([0., 6., 0.])
    """
    x = with_shape(x)
    axes = sorted(normalize_axes(axis, len(x.shape)))  # in order, a move to the front leaves the later ones in place
    shape = kept_shape(tuple(x.shape), axis) if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in axes)
    for k, i in enumerate(axes):
        x = moveaxis(x, i, k)  # the axes to multiply over come first, in one
    x = reshape(x, (int(np.prod(x.shape[: len(axes)])), *x.shape[len(axes) :]))
    if not x.shape[0]:
        return reshape(reduce.sum(x, 0) + 1, shape)
    while (n := x.shape[0]) > 1:
        half = x[: n // 2] * x[n // 2 : 2 * (n // 2)]
        x = half if n % 2 == 0 else concatenate([half, x[n - 1 :]], 0)
    return reshape(x, shape)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over ``axis``, without overflow: m + log(sum(exp(x - m))) with m = max(x).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.logsumexp(tinynn.tensor([1000.0, 1000.0]))
    tensor(1000.69314718)
    """
    x = with_shape(x)
    m = _safe_max(x, axis)
    out = elementwise.log(reduce.sum(elementwise.exp(x - m), axis, keepdims=True)) + m
    if keepdims:
        return out
    axes = normalize_axes(axis, len(x.shape))
    return reshape(out, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along ``axis``, without overflow.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.softmax(tinynn.tensor([0.0, 1000.0]))
    tensor([0., 1.])
    """
    x = with_shape(x)
    e = elementwise.exp(x - _safe_max(x, axis))
    return e / reduce.sum(e, axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """log(softmax(x)) along ``axis``, without overflow or logarithm of 0: x - logsumexp(x).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.log_softmax(tinynn.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """
    x = with_shape(x)
    shifted = x - _safe_max(x, axis)
    return shifted - elementwise.log(reduce.sum(elementwise.exp(shifted), axis, keepdims=True))


def _safe_max(x: Any, axis: Axis) -> Any:
    """The largest element as a constant: the result does not depend on it, so no gradient flows through it."""
    m = piecewise.stop_gradient(reduce.max(x, axis, keepdims=True))
    return piecewise.where(comparison.less(piecewise.abs(m), np.inf), m, 0.0)
