"""Arithmetic: what Python's operators on Tensors do. Comparisons and logic are in `tinynn.ops.comparison`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops.base import Elementwise
from tinynn.ops.comparison import equal, less, logical_and, logical_not


class Add(Elementwise):
    """out = a + b,   d out/da = d out/db = 1"""

    def forward(self, xp, a, b):
        return a + b

    def grad_a(self, g):
        return g

    def grad_b(self, g):
        return g


class Sub(Elementwise):
    """out = a - b,   d out/da = 1,   d out/db = -1"""

    def forward(self, xp, a, b):
        return a - b

    def grad_a(self, g):
        return g

    def grad_b(self, g):
        return -g


class Mul(Elementwise):
    """out = a * b,   d out/da = b,   d out/db = a"""

    def forward(self, xp, a, b):
        return a * b

    def grad_a(self, g, *, b):
        return g * b

    def grad_b(self, g, *, a):
        return g * a


class Div(Elementwise):
    """out = a / b,   d out/da = 1/b,   d out/db = -a/b**2"""

    def forward(self, xp, a, b):
        return a / b

    def grad_a(self, g, *, b):
        return g / nonzero(b, g)

    def grad_b(self, g, *, a, b):
        b = nonzero(b, g)
        return -g * (a / b) / b


class Neg(Elementwise):
    """out = -x,   d out/dx = -1"""

    linear = True

    def forward(self, xp, x):
        return -x

    def grad_x(self, g):
        return -g


class Pow(Elementwise):
    """out = a**b,   d out/da = b a**(b-1),   d out/db = a**b log a   (0 where a = 0)"""

    def forward(self, xp, a, b):
        return a**b

    def grad_a(self, g, *, a, b):
        return g * (b * nonzero(a, g * b) ** (b - 1.0))

    def grad_b(self, g, *, a, out):
        from tinynn.ops.elementwise import log
        from tinynn.ops.piecewise import where

        return g * out * log(where(equal(a, 0.0), 1.0, a))


class Power(Elementwise):
    """out = x**p for a number p,   d out/dx = p x**(p-1)"""

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, xp, x):
        return x**self.p

    def grad_x(self, g, *, x):
        p = self.p
        if p == 0:
            return g * 0.0
        if p == 1:
            return g
        if p == 2:
            return g * (2.0 * x)
        if p != int(p):
            return g * (p * positive(x, g) ** (p - 1))
        return g * (p * (x if p > 0 else nonzero(x, g)) ** (p - 1))


class Exponential(Elementwise):
    """out = base**x for a number base >= 0,   d out/dx = out log base   (0 where base = 0)"""

    def __init__(self, base: float) -> None:
        self.base = base

    def forward(self, xp, x):
        return self.base**x

    def grad_x(self, g, *, out):
        base = self.base
        return g * (out * (math.log(base) if base > 0 else 0.0 if base == 0 else math.nan))


class FloorDivide(Elementwise):
    """out = floor(a / b); flat between its jumps, so its derivative is 0"""

    def forward(self, xp, a, b):
        return a // b


class Remainder(Elementwise):
    """out = a - floor(a / b) b,   d out/da = 1,   d out/db = -floor(a / b)"""

    def forward(self, xp, a, b):
        return a % b

    def grad_a(self, g):
        return g

    def grad_b(self, g, *, a, b):
        return -g * floor_divide(a, b)


def nonzero(d: Any, g: Any) -> Any:
    """A denominator ``d`` with 1 in the places where both it and the cotangent ``g`` are 0.

    Where `tinynn.where` has not taken a branch, the branch gets the cotangent 0. If its derivative is infinite
    there (1/x, log or sqrt at 0), the product 0 * inf would put a NaN into the sum; 0 / 1 does not.
    """
    if isinstance(d, (int, float)):
        return d if d else equal(g, 0.0)  # bools, as 0 and 1, leave a float32 cotangent float32
    from tinynn.ops.piecewise import where

    return where(logical_and(equal(d, 0.0), equal(g, 0.0)), 1.0, d)


def positive(d: Any, g: Any) -> Any:
    """As `nonzero`, for what makes no sense below 0 either (roots): 1 where g is 0 and d is not above 0, or is NaN."""
    from tinynn.ops.piecewise import where

    return where(logical_and(logical_not(less(0.0, d)), equal(g, 0.0)), 1.0, d)


_ADD = Add()
_SUB = Sub()
_MUL = Mul()
_DIV = Div()
_NEG = Neg()
_POW = Pow()
_FLOOR_DIVIDE = FloorDivide()
_REMAINDER = Remainder()


def add(a: Any, b: Any) -> Any:
    """a + b, element by element, with NumPy's broadcasting.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.add(tinynn.tensor([1.0, 2.0]), 3.0)
    tensor([4., 5.])
    """
    return apply(_ADD, a, b)


def subtract(a: Any, b: Any) -> Any:
    """a - b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.subtract(tinynn.tensor([1.0, 2.0]), 3.0)
    tensor([-2., -1.])
    """
    return apply(_SUB, a, b)


def multiply(a: Any, b: Any) -> Any:
    """a * b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.multiply(tinynn.tensor([1.0, 2.0]), 3.0)
    tensor([3., 6.])
    """
    return apply(_MUL, a, b)


def divide(a: Any, b: Any) -> Any:
    """a / b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.divide(tinynn.tensor([1.0, 2.0]), 2.0)
    tensor([0.5, 1. ])
    """
    return apply(_DIV, a, b)


def negative(x: Any) -> Any:
    """-x, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.negative(tinynn.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return apply(_NEG, x)


def power(a: Any, b: Any) -> Any:
    """a**b, element by element. The derivative by the exponent is taken as 0 where a = 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.power(tinynn.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    if isinstance(b, (int, float)):
        return apply(Power(b.item() if isinstance(b, np.generic) else b), a)
    if isinstance(a, (int, float)):
        return apply(Exponential(a.item() if isinstance(a, np.generic) else a), b)
    return apply(_POW, a, b)


def floor_divide(a: Any, b: Any) -> Any:
    """floor(a / b), element by element. It has no gradient (it is flat between jumps).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.floor_divide(tinynn.tensor([7.0, -7.0]), 2.0)
    tensor([ 3., -4.])
    """
    return apply(_FLOOR_DIVIDE, a, b)


def remainder(a: Any, b: Any) -> Any:
    """a - floor(a / b) b: the remainder with the sign of ``b``, as Python's ``%``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.remainder(tinynn.tensor([7.0, -7.0]), 2.0)
    tensor([1., 1.])
    """
    return apply(_REMAINDER, a, b)


# Operators with the operands the other way round: ``2 - x`` calls ``x.__rsub__(2)``.


def radd(x: Any, other: Any) -> Any:
    """other + x"""
    return apply(_ADD, other, x)


def rsub(x: Any, other: Any) -> Any:
    """other - x"""
    return apply(_SUB, other, x)


def rmul(x: Any, other: Any) -> Any:
    """other * x"""
    return apply(_MUL, other, x)


def rdiv(x: Any, other: Any) -> Any:
    """other / x"""
    return apply(_DIV, other, x)


def rpow(x: Any, other: Any) -> Any:
    """other**x"""
    return power(other, x)


def rfloordiv(x: Any, other: Any) -> Any:
    """other // x"""
    return apply(_FLOOR_DIVIDE, other, x)


def rmod(x: Any, other: Any) -> Any:
    """other % x"""
    return apply(_REMAINDER, other, x)
