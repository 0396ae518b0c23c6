"""Functions made of pieces: absolute value, sign, the larger and the smaller of two, where.

What the derivative is at a corner is a choice; docs/corners.md has all of them in one table.
"""

from __future__ import annotations

from typing import Any

from tinynn.autodiff import apply
from tinynn.ops.base import Elementwise
from tinynn.ops.comparison import equal, less


class Abs(Elementwise):
    """out = |x|,   d out/dx = sign(x), and 0 at 0"""

    def forward(self, xp, x):
        return xp.abs(x)

    def grad_x(self, g, *, x):
        return g * sign(x)


class Sign(Elementwise):
    """out = -1, 0 or 1;   d out/dx = 0"""

    def forward(self, xp, x):
        return xp.sign(x)

    def grad_x(self, g):
        return g * 0.0


class Floor(Elementwise):
    """out = the largest whole number <= x;   d out/dx = 0"""

    def forward(self, xp, x):
        return xp.floor(x)

    def grad_x(self, g):
        return g * 0.0


class Maximum(Elementwise):
    """out = the larger of a and b;   d out/da = 1 where a > b, 1/2 where a = b, else 0"""

    def forward(self, xp, a, b):
        return xp.maximum(a, b)

    def grad_a(self, g, *, a, b):
        return _share(g, b, a)

    def grad_b(self, g, *, a, b):
        return _share(g, a, b)


class Minimum(Elementwise):
    """out = the smaller of a and b;   d out/da = 1 where a < b, 1/2 where a = b, else 0"""

    def forward(self, xp, a, b):
        return xp.minimum(a, b)

    def grad_a(self, g, *, a, b):
        return _share(g, a, b)

    def grad_b(self, g, *, a, b):
        return _share(g, b, a)


class Where(Elementwise):
    """out = a where the condition holds, else b"""

    def forward(self, xp, condition, a, b):
        return xp.where(condition, a, b)

    def grad_a(self, g, *, condition):
        return where(condition, g, 0.0)

    def grad_b(self, g, *, condition):
        return where(condition, 0.0, g)


class StopGradient(Elementwise):
    """out = x, as a constant: no gradient flows back"""

    def forward(self, xp, x):
        return x


_ABS = Abs()
_SIGN = Sign()
_FLOOR = Floor()
_MAXIMUM = Maximum()
_MINIMUM = Minimum()
_WHERE = Where()
_STOP = StopGradient()


def _share(g: Any, low: Any, high: Any) -> Any:
    """What part of the cotangent goes to ``high``: all where low < high, half at a tie, else nothing."""
    return where(less(low, high), g, where(equal(low, high), g * 0.5, 0.0))


def abs(x: Any) -> Any:
    """Absolute value of each element; derivative 0 at 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.abs(tinynn.tensor([2.0, -3.0]))
    tensor([2., 3.])
    """
    return apply(_ABS, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1 by the sign of each element; derivative 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.sign(tinynn.tensor([2.0, -3.0, 0.0]))
    tensor([ 1., -1.,  0.])
    """
    return apply(_SIGN, x)


def floor(x: Any) -> Any:
    """The largest whole number not above each element; derivative 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.floor(tinynn.tensor([2.5, -2.5]))
    tensor([ 2., -3.])
    """
    return apply(_FLOOR, x)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two, element by element; at a tie each gets half of the gradient.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.maximum(tinynn.tensor([1.0, 5.0]), 3.0)
    tensor([3., 5.])
    """
    return apply(_MAXIMUM, a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two, element by element; at a tie each gets half of the gradient.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.minimum(tinynn.tensor([1.0, 5.0]), 3.0)
    tensor([1., 3.])
    """
    return apply(_MINIMUM, a, b)


def clip(x: Any, minimum: Any = None, maximum: Any = None) -> Any:
    """Each element, held between ``minimum`` and ``maximum`` (None: no bound).

    The gradient is 1 inside and 0 outside; at a bound itself it is 1, as in PyTorch.

    Raises
    ------
    ValueError
        If both bounds are None.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.clip(tinynn.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)
    tensor([-1. ,  0.5,  1. ])
    """
    if minimum is None and maximum is None:
        raise ValueError("clip: give a minimum, a maximum, or both")
    if minimum is not None:
        x = where(less(x, minimum), minimum, x)
    if maximum is not None:
        x = where(less(maximum, x), maximum, x)
    return x


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``.

    The branch not taken gets the gradient 0, also where its own derivative is infinite:
    ``where(x > 0, log(x), 0)`` has no NaN in its gradient at x = 0.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([0.0, 2.0], requires_grad=True)
    >>> tinynn.where(x > 0, tinynn.log(x), 0.0).sum().backward()
    >>> x.grad
    tensor([0. , 0.5])
    """
    return apply(_WHERE, condition, a, b)


def stop_gradient(x: Any) -> Any:
    """The same values as a constant: no gradient flows back through them.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor(3.0, requires_grad=True)
    >>> (x * tinynn.stop_gradient(x)).backward()
    >>> x.grad
    tensor(3.)
    """
    return apply(_STOP, x)
