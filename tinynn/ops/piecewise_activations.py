"""Activation functions made of straight pieces: cut off, held between bounds, shrunk towards zero.

What the derivative is at a corner is a choice; docs/corners.md has all of them in one table.
"""

from __future__ import annotations

from typing import Any

from tinynn.autodiff import apply
from tinynn.ops.base import Elementwise
from tinynn.ops.comparison import equal, less, less_equal, logical_or
from tinynn.ops.piecewise import abs, where


class PReLU(Elementwise):
    """out = x where x > 0, else slope x

    d out/dx = 1 where x > 0, else slope;   d out/dslope = 0 where x > 0, else x
    """

    def forward(self, xp, x, slope):
        return xp.where(x > 0.0, x, slope * x)

    def grad_x(self, g, *, x, slope):
        return where(less(0.0, x), g, g * slope)

    def grad_slope(self, g, *, x):
        return where(less(0.0, x), 0.0, g * x)


class Hardtanh(Elementwise):
    """out = x, held between low and high;   d out/dx = 1 between them, 0 at the bounds and beyond"""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def forward(self, xp, x):
        return xp.minimum(xp.maximum(x, self.low), self.high)

    def grad_x(self, g, *, out):
        return where(logical_or(less_equal(out, self.low), less_equal(self.high, out)), 0.0, g)


class Threshold(Elementwise):
    """out = x where x > threshold, else value;   d out/dx = 1 where x > threshold, else 0"""

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold = threshold
        self.value = value

    def forward(self, xp, x):
        return xp.where(x <= self.threshold, self.value, x)

    def grad_x(self, g, *, x):
        return where(less_equal(x, self.threshold), 0.0, g)


class Softshrink(Elementwise):
    """out = x - (x, held between -width and width);   d out/dx = 0 where |x| <= width, else 1"""

    def __init__(self, width: float) -> None:
        self.width = width

    def forward(self, xp, x):
        return x - xp.minimum(xp.maximum(x, -self.width), self.width)

    def grad_x(self, g, *, out):
        return where(equal(out, 0.0), 0.0, g)


class Hardshrink(Elementwise):
    """out = 0 where |x| <= width, else x;   d out/dx = 0 where |x| <= width, else 1"""

    def __init__(self, width: float) -> None:
        self.width = width

    def forward(self, xp, x):
        return xp.where(xp.abs(x) <= self.width, 0.0, x)

    def grad_x(self, g, *, x):
        return where(less_equal(abs(x), self.width), 0.0, g)


_PRELU = PReLU()
_RELU6 = Hardtanh(0.0, 6.0)


def prelu(x: Any, slope: Any) -> Any:
    """x where x > 0, else slope x, with slopes that are learned (He et al., arXiv:1502.01852).

    Parameters
    ----------
    x, slope : tensors or arrays that broadcast; `nn.functional.prelu` takes one slope per channel

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ops.piecewise_activations.prelu(tinynn.tensor([-2.0, 3.0]), 0.25)
    tensor([-0.5,  3. ])
    """
    return apply(_PRELU, x, slope)


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6) (Krizhevsky, 2010): a ReLU that cannot grow beyond what few bits can hold.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.relu6(tinynn.tensor([-2.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """
    return apply(_RELU6, x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x, held between ``min_val`` and ``max_val``; derivative 0 at the bounds (`tinynn.clip` has 1 there).

    Raises
    ------
    ValueError
        If ``min_val`` is not below ``max_val``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.hardtanh(tinynn.tensor([-2.0, 0.5]))
    tensor([-1. ,  0.5])
    """
    if not min_val < max_val:
        raise ValueError(f"hardtanh: min_val must be below max_val, but they are {min_val!r} and {max_val!r}")
    return apply(Hardtanh(min_val, max_val), x)


def threshold(x: Any, threshold: float, value: float) -> Any:
    """x where x > threshold, else ``value``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.threshold(tinynn.tensor([0.5, 2.0]), 1.0, -7.0)
    tensor([-7.,  2.])
    """
    return apply(Threshold(threshold, value), x)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0: each element nearer to 0 by lambd.

    The minimum of (y - x)**2/2 + lambd |y| over y, the step of an L1 penalty.

    Raises
    ------
    ValueError
        If ``lambd`` is negative.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.softshrink(tinynn.tensor([-2.0, 0.25, 1.0]))
    tensor([-1.5,  0. ,  0.5])
    """
    if not lambd >= 0.0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd!r}")
    return apply(Softshrink(lambd), x)


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """0 where |x| <= lambd, else x.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.hardshrink(tinynn.tensor([-2.0, 0.25, 1.0]))
    tensor([-2.,  0.,  1.])
    """
    return apply(Hardshrink(lambd), x)
