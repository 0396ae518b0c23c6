"""Comparison and logic, element by element; the results are bools and have no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops.base import Elementwise


class Equal(Elementwise):
    """out = (a == b), a bool"""

    def forward(self, xp, a, b):
        return a == b


class NotEqual(Elementwise):
    """out = (a != b), a bool"""

    def forward(self, xp, a, b):
        return a != b


class Less(Elementwise):
    """out = (a < b), a bool"""

    def forward(self, xp, a, b):
        return a < b


class LessEqual(Elementwise):
    """out = (a <= b), a bool"""

    def forward(self, xp, a, b):
        return a <= b


class LogicalAnd(Elementwise):
    """out = a and b, a bool"""

    def forward(self, xp, a, b):
        return xp.logical_and(a, b)


class LogicalOr(Elementwise):
    """out = a or b, a bool"""

    def forward(self, xp, a, b):
        return xp.logical_or(a, b)


class LogicalNot(Elementwise):
    """out = not x, a bool"""

    def forward(self, xp, x):
        return xp.logical_not(x)


_EQUAL = Equal()
_NOT_EQUAL = NotEqual()
_LESS = Less()
_LESS_EQUAL = LessEqual()
_AND = LogicalAnd()
_OR = LogicalOr()
_NOT = LogicalNot()


def equal(a: Any, b: Any) -> Any:
    """a == b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.equal(tinynn.tensor([1.0, 2.0]), 2.0)
    tensor([False,  True])
    """
    return apply(_EQUAL, a, b)


def not_equal(a: Any, b: Any) -> Any:
    """a != b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.not_equal(tinynn.tensor([1.0, 2.0]), 2.0)
    tensor([ True, False])
    """
    return apply(_NOT_EQUAL, a, b)


def less(a: Any, b: Any) -> Any:
    """a < b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.less(tinynn.tensor([1.0, 2.0]), 2.0)
    tensor([ True, False])
    """
    return apply(_LESS, a, b)


def less_equal(a: Any, b: Any) -> Any:
    """a <= b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.less_equal(tinynn.tensor([1.0, 3.0]), 2.0)
    tensor([ True, False])
    """
    return apply(_LESS_EQUAL, a, b)


def greater(a: Any, b: Any) -> Any:
    """a > b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.greater(tinynn.tensor([1.0, 3.0]), 2.0)
    tensor([False,  True])
    """
    return apply(_LESS, b, a)


def greater_equal(a: Any, b: Any) -> Any:
    """a >= b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.greater_equal(tinynn.tensor([1.0, 2.0]), 2.0)
    tensor([False,  True])
    """
    return apply(_LESS_EQUAL, b, a)


def logical_and(a: Any, b: Any) -> Any:
    """a and b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.logical_and(tinynn.tensor([True, True]), tinynn.tensor([True, False]))
    tensor([ True, False])
    """
    return apply(_AND, a, b)


def logical_or(a: Any, b: Any) -> Any:
    """a or b, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.logical_or(tinynn.tensor([True, False]), tinynn.tensor([False, False]))
    tensor([ True, False])
    """
    return apply(_OR, a, b)


def logical_not(x: Any) -> Any:
    """not x, element by element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.logical_not(tinynn.tensor([True, False]))
    tensor([False,  True])
    """
    return apply(_NOT, x)


# Operators: ``mask & other``. For integers NumPy's would work on bits, which is something else.


def and_(a: Any, b: Any) -> Any:
    """a & b, for bools"""
    return logical_and(_bools("&", a), _bools("&", b))


def or_(a: Any, b: Any) -> Any:
    """a | b, for bools"""
    return logical_or(_bools("|", a), _bools("|", b))


def not_(x: Any) -> Any:
    """~x, for bools"""
    return logical_not(_bools("~", x))


def _bools(sign: str, x: Any) -> Any:
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if dtype.kind != "b":
        raise TypeError(
            f"{sign} is for tensors of bools, such as (x > 0) {sign} ..., but one is {dtype}: compare first, with "
            "parentheses, or use tinynn.logical_and, logical_or, logical_not"
        )
    return x
