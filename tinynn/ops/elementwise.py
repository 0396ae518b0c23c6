"""Functions of one number, applied to each element, and the choices between two: maximum, minimum, where.

What the derivative is at a corner is a choice; docs/corners.md has all of them in one table.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.autodiff import apply
from tinynn.ops.arithmetic import equal, less, nonzero, positive
from tinynn.ops.base import Elementwise


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


class ReLU(Elementwise):
    """out = max(x, 0),   d out/dx = 1 where x > 0, else 0 (at 0 too)"""

    def forward(self, xp, x):
        return xp.maximum(x, 0.0)

    def grad_x(self, g, *, out):
        return g * less(0.0, out)


class LeakyReLU(Elementwise):
    """out = x where x > 0, else slope x;   d out/dx = 1 where x > 0, else slope"""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def forward(self, xp, x):
        return xp.where(x > 0.0, x, self.slope * x)

    def grad_x(self, g, *, x):
        return where(less(0.0, x), g, g * self.slope)


class ELU(Elementwise):
    """out = scale x where x > 0, else scale alpha (exp(x) - 1)

    d out/dx = scale where x > 0, else out + scale alpha
    """

    def __init__(self, alpha: float, scale: float = 1.0) -> None:
        self.alpha = alpha
        self.scale = scale

    def forward(self, xp, x):
        return xp.where(x > 0.0, self.scale * x, self.scale * self.alpha * xp.expm1(xp.minimum(x, 0.0)))

    def grad_x(self, g, *, x, out):
        return g * where(less(0.0, x), self.scale, out + self.scale * self.alpha)


class GELU(Elementwise):
    """out = x Phi(x),   d out/dx = Phi(x) + x phi(x)

    with the normal distribution function Phi and its density phi(x) = exp(-x**2/2)/sqrt(2 pi)
    (Hendrycks & Gimpel, arXiv:1606.08415).
    """

    def forward(self, xp, x):
        return x * xp.normal_cdf(x)

    def grad_x(self, g, *, x):
        return g * (normal_cdf(x) + x * exp(x * x * -0.5) * _INVERSE_SQRT_2PI)


class GELUTanh(Elementwise):
    """out = x (1 + t)/2 with t = tanh(sqrt(2/pi) (x + 0.044715 x**3))

    d out/dx = (1 + t)/2 + x (1 - t**2) sqrt(2/pi) (1 + 3 * 0.044715 x**2)/2
    """

    def forward(self, xp, x):
        return 0.5 * x * (1.0 + xp.tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))

    def grad_x(self, g, *, x):
        t = tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x * x * x))
        slope = _SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * x * x)
        return g * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope)


class SiLU(Elementwise):
    """out = x s with s = sigmoid(x),   d out/dx = s (1 + x (1 - s))"""

    def forward(self, xp, x):
        e = xp.exp(-xp.abs(x))
        return x * (xp.where(x >= 0.0, 1.0, e) / (1.0 + e))

    def grad_x(self, g, *, x):
        s = sigmoid(x)
        return g * (s * (1.0 + x * (1.0 - s)))


class Softplus(Elementwise):
    """out = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)),   d out/dx = sigmoid(x)"""

    def forward(self, xp, x):
        return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))

    def grad_x(self, g, *, x):
        return g * sigmoid(x)


class StopGradient(Elementwise):
    """out = x, as a constant: no gradient flows back"""

    def forward(self, xp, x):
        return x


_INVERSE_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
SELU_ALPHA = 1.6732632423543772  # Klambauer et al., arXiv:1706.02515: fixed point of mean 0 and variance 1
SELU_SCALE = 1.0507009873554805

_EXP, _EXPM1, _LOG, _LOG1P, _SQRT, _ABS, _SIGN, _FLOOR = Exp(), Expm1(), Log(), Log1p(), Sqrt(), Abs(), Sign(), Floor()
_SIN, _COS, _TANH, _SIGMOID, _ERF, _NORMAL_CDF = Sin(), Cos(), Tanh(), Sigmoid(), Erf(), NormalCDF()
_SQUARE = Square()
_MAXIMUM, _MINIMUM, _WHERE, _STOP = Maximum(), Minimum(), Where(), StopGradient()
_RELU, _SELU, _GELU, _GELU_TANH, _SILU, _SOFTPLUS = (
    ReLU(),
    ELU(SELU_ALPHA, SELU_SCALE),
    GELU(),
    GELUTanh(),
    SiLU(),
    Softplus(),
)


def _share(g: Any, low: Any, high: Any) -> Any:
    """What part of the cotangent goes to ``high``: all where low < high, half at a tie, else nothing."""
    return where(less(low, high), g, where(equal(low, high), g * 0.5, 0.0))


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


def square(x: Any) -> Any:
    """x**2 of each element.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.square(tinynn.tensor([2.0, -3.0]))
    tensor([4., 9.])
    """
    return apply(_SQUARE, x)


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


def relu(x: Any) -> Any:
    """max(x, 0); derivative 0 at 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.relu(tinynn.tensor([-2.0, 3.0]))
    tensor([0., 3.])
    """
    return apply(_RELU, x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope x.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.leaky_relu(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.02,  3.  ])
    """
    return apply(LeakyReLU(negative_slope), x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al., arXiv:1511.07289).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.elu(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.86466472,  3.        ])
    """
    return apply(ELU(alpha), x)


def selu(x: Any) -> Any:
    """scale times elu(x, alpha) with the constants that keep mean 0 and variance 1 (Klambauer et al., arXiv:1706.02515).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.selu(tinynn.tensor([-2.0, 3.0]))
    tensor([-1.52016647,  3.15210296])
    """
    return apply(_SELU, x)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x Phi(x), with the normal distribution function exact, or by tanh.

    Parameters
    ----------
    x : tensor or array
    approximate : "none" (exact) or "tanh"

    Examples
    --------
    >>> import tinynn
    >>> tinynn.gelu(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.04550026,  2.99595031])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return apply(_GELU if approximate == "none" else _GELU_TANH, x)


def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.silu(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.23840584,  2.85772238])
    """
    return apply(_SILU, x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)); does not overflow.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.softplus(tinynn.tensor([-2.0, 3.0]))
    tensor([0.12692801, 3.04858735])
    """
    return apply(_SOFTPLUS, x)
