"""Activation functions of neural networks, each as one operation. (Those made of straight pieces have their own file.)

What the derivative is at a corner is a choice; docs/corners.md has all of them in one table.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.autodiff import apply
from tinynn.ops.base import Elementwise
from tinynn.ops.comparison import less
from tinynn.ops.elementwise import _INVERSE_SQRT_2PI, exp, normal_cdf, sigmoid, tanh
from tinynn.ops.piecewise import abs, where


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


class CELU(Elementwise):
    """out = x where x > 0, else alpha (exp(x/alpha) - 1);   d out/dx = 1 where x > 0, else out/alpha + 1

    Unlike `ELU`'s, its derivative has no jump at 0 for any alpha (Barron, arXiv:1704.07483).
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, xp, x):
        return xp.where(x > 0.0, x, self.alpha * xp.expm1(xp.minimum(x, 0.0) * (1.0 / self.alpha)))

    def grad_x(self, g, *, x, out):
        return g * where(less(0.0, x), 1.0, out * (1.0 / self.alpha) + 1.0)


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


class LogSigmoid(Elementwise):
    """out = log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)),   d out/dx = sigmoid(-x)"""

    def forward(self, xp, x):
        return xp.minimum(x, 0.0) - xp.log1p(xp.exp(-xp.abs(x)))

    def grad_x(self, g, *, x):
        return g * sigmoid(-x)


class Softsign(Elementwise):
    """out = x/(1 + |x|),   d out/dx = 1/(1 + |x|)**2"""

    def forward(self, xp, x):
        x = xp.minimum(xp.maximum(x, -_LARGE), _LARGE)  # so that infinity gives 1, and not inf/inf
        return x / (1.0 + xp.abs(x))

    def grad_x(self, g, *, x):
        r = 1.0 / (1.0 + abs(x))
        return g * r * r


class Tanhshrink(Elementwise):
    """out = x - tanh(x),   d out/dx = tanh(x)**2"""

    def forward(self, xp, x):
        return x - xp.tanh(x)

    def grad_x(self, g, *, x):
        t = tanh(x)
        return g * (t * t)


SELU_ALPHA = 1.6732632423543772  # Klambauer et al., arXiv:1706.02515: fixed point of mean 0 and variance 1
SELU_SCALE = 1.0507009873554805
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_LARGE = 3e38  # near the largest number of float32; x/(1 + x) is 1 long before
_RELU = ReLU()
_SELU = ELU(SELU_ALPHA, SELU_SCALE)
_GELU = GELU()
_GELU_TANH = GELUTanh()
_SILU = SiLU()
_SOFTPLUS = Softplus()
_LOGSIGMOID = LogSigmoid()
_SOFTSIGN = Softsign()
_TANHSHRINK = Tanhshrink()


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
    """scale times elu(x, alpha), with constants that keep mean 0 and variance 1 (Klambauer et al., arXiv:1706.02515).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.selu(tinynn.tensor([-2.0, 3.0]))
    tensor([-1.52016647,  3.15210296])
    """
    return apply(_SELU, x)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha (exp(x/alpha) - 1) (Barron, arXiv:1704.07483).

    Raises
    ------
    ValueError
        If ``alpha`` is 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.celu(tinynn.tensor([-2.0, 3.0]), 2.0)
    tensor([-1.26424112,  3.        ])
    """
    if alpha == 0.0:
        raise ValueError("celu: alpha must not be 0; the function divides by it")
    return apply(CELU(alpha), x)


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


def logsigmoid(x: Any) -> Any:
    """log(sigmoid(x)); does not overflow.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.logsigmoid(tinynn.tensor([-1000.0, 0.0]))
    tensor([-1.00000000e+03, -6.93147181e-01])
    """
    return apply(_LOGSIGMOID, x)


def softsign(x: Any) -> Any:
    """x/(1 + |x|): as tanh, but nearing its limits by a power of x.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.softsign(tinynn.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """
    return apply(_SOFTSIGN, x)


def tanhshrink(x: Any) -> Any:
    """x - tanh(x).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.tanhshrink(tinynn.tensor([-1.0, 0.0]))
    tensor([-0.23840584,  0.        ])
    """
    return apply(_TANHSHRINK, x)
