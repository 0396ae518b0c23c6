"""Smooth functions of one number, applied to each element: exp, log, sqrt, sin, tanh, ...

Those made of pieces (abs, maximum, where) are in `tinynn.ops.piecewise`.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.autodiff import apply
from tinynn.ops.arithmetic import nonzero, positive
from tinynn.ops.base import Elementwise
from tinynn.ops.comparison import equal
from tinynn.ops.piecewise import where


class Exp(Elementwise):
    """out = exp(x),   d out/dx = out"""

    def forward(self, xp, x):
        return xp.exp(x)

    def grad_x(self, g, *, out):
        return g * out


class Expm1(Elementwise):
    """out = exp(x) - 1,   d out/dx = out + 1"""

    def forward(self, xp, x):
        return xp.expm1(x)

    def grad_x(self, g, *, out):
        return g * (out + 1.0)


class Log(Elementwise):
    """out = log(x),   d out/dx = 1/x"""

    def forward(self, xp, x):
        return xp.log(x)

    def grad_x(self, g, *, x):
        return g / nonzero(x, g)


class Log1p(Elementwise):
    """out = log(1 + x),   d out/dx = 1/(1 + x)"""

    def forward(self, xp, x):
        return xp.log1p(x)

    def grad_x(self, g, *, x):
        return g / nonzero(1.0 + x, g)


class Sqrt(Elementwise):
    """out = sqrt(x),   d out/dx = 1/(2 out)"""

    def forward(self, xp, x):
        return xp.sqrt(x)

    def grad_x(self, g, *, out):
        return g / (2.0 * positive(out, g))


class Square(Elementwise):
    """out = x**2,   d out/dx = 2 x"""

    def forward(self, xp, x):
        return x * x

    def grad_x(self, g, *, x):
        return g * (2.0 * x)


class Sin(Elementwise):
    """out = sin(x),   d out/dx = cos(x)"""

    def forward(self, xp, x):
        return xp.sin(x)

    def grad_x(self, g, *, x):
        return g * cos(x)


class Cos(Elementwise):
    """out = cos(x),   d out/dx = -sin(x)"""

    def forward(self, xp, x):
        return xp.cos(x)

    def grad_x(self, g, *, x):
        return -g * sin(x)


class Tanh(Elementwise):
    """out = tanh(x),   d out/dx = 1 - out**2"""

    def forward(self, xp, x):
        return xp.tanh(x)

    def grad_x(self, g, *, out):
        return g * (1.0 - out * out)


class Sigmoid(Elementwise):
    """out = 1 / (1 + exp(-x)),   d out/dx = out (1 - out)

    Written with exp(-|x|), which cannot overflow.
    """

    def forward(self, xp, x):
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0.0, 1.0, e) / (1.0 + e)

    def grad_x(self, g, *, out):
        return g * (out * (1.0 - out))


class Erf(Elementwise):
    """out = 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x,   d out/dx = 2/sqrt(pi) exp(-x**2)"""

    def forward(self, xp, x):
        return xp.erf(x)

    def grad_x(self, g, *, x):
        return g * (2.0 / math.sqrt(math.pi) * exp(-(x * x)))


class NormalCDF(Elementwise):
    """out = Phi(x) = (1 + erf(x/sqrt 2))/2, the normal distribution;   d out/dx = exp(-x**2/2)/sqrt(2 pi)"""

    def forward(self, xp, x):
        return xp.normal_cdf(x)

    def grad_x(self, g, *, x):
        return g * (exp(x * x * -0.5) * _INVERSE_SQRT_2PI)


_INVERSE_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)

_EXP = Exp()
_EXPM1 = Expm1()
_LOG = Log()
_LOG1P = Log1p()
_SQRT = Sqrt()
_SIN = Sin()
_COS = Cos()
_TANH = Tanh()
_SIGMOID = Sigmoid()
_ERF = Erf()
_NORMAL_CDF = NormalCDF()
_SQUARE = Square()


def exp(x: Any) -> Any:
    """Exponential function of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.exp(tinynn.tensor([0.0, 1.0]))
    tensor([1.        , 2.71828183])
    """
    return apply(_EXP, x)


def expm1(x: Any) -> Any:
    """exp(x) - 1 of each element, accurate near 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.expm1(tinynn.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """
    return apply(_EXPM1, x)


def log(x: Any) -> Any:
    """Natural logarithm of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.log(tinynn.tensor([1.0, 10.0]))
    tensor([0.        , 2.30258509])
    """
    return apply(_LOG, x)


def log1p(x: Any) -> Any:
    """log(1 + x) of each element, accurate near 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.log1p(tinynn.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """
    return apply(_LOG1P, x)


def sqrt(x: Any) -> Any:
    """Square root of each element. Its derivative at 0 is infinite (0 where the cotangent is 0).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.sqrt(tinynn.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return apply(_SQRT, x)


def root(squares: Any) -> Any:
    """Square root of what is never negative, such as a sum of squares; its derivative at 0 is taken as 0.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([0.0, 4.0], requires_grad=True)
    >>> tinynn.ops.elementwise.root(x).sum().backward()
    >>> x.grad
    tensor([0.  , 0.25])
    """
    zero = equal(squares, 0.0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))


def square(x: Any) -> Any:
    """x**2 of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.square(tinynn.tensor([2.0, -3.0]))
    tensor([4., 9.])
    """
    return apply(_SQUARE, x)


def sin(x: Any) -> Any:
    """Sine of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.sin(tinynn.tensor([0.0, 1.0]))
    tensor([0.        , 0.84147098])
    """
    return apply(_SIN, x)


def cos(x: Any) -> Any:
    """Cosine of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.cos(tinynn.tensor([0.0, 1.0]))
    tensor([1.        , 0.54030231])
    """
    return apply(_COS, x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.tanh(tinynn.tensor([0.0, 1.0]))
    tensor([0.        , 0.76159416])
    """
    return apply(_TANH, x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) of each element; does not overflow.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.sigmoid(tinynn.tensor([0.0, -1.9, 3.1]))
    tensor([0.5       , 0.13010847, 0.95689275])
    """
    return apply(_SIGMOID, x)


def erf(x: Any) -> Any:
    """Error function of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.erf(tinynn.tensor([0.0, 1.0]))
    tensor([0.        , 0.84270079])
    """
    return apply(_ERF, x)


def normal_cdf(x: Any) -> Any:
    """Distribution function of the standard normal distribution, of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.normal_cdf(tinynn.tensor([0.0, 1.0]))
    tensor([0.5       , 0.84134475])
    """
    return apply(_NORMAL_CDF, x)
