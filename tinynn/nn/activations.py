"""Activation functions as modules. (Those made of straight pieces are in `tinynn.nn.piecewise_activations`.)

All but `Softmax`, `Softmin` and `LogSoftmax` work element by element, on inputs of any shape.

``inplace`` is accepted, so that PyTorch code runs, and changes nothing: no tensor here is ever overwritten.
"""

from __future__ import annotations

from tinynn.nn import functional as F
from tinynn.nn.module import Module
from tinynn.ops import activations, elementwise
from tinynn.tensor import Tensor


class ReLU(Module):
    """out = max(x, 0),   d out/dx = 1 where x > 0, else 0

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.ReLU()(tinynn.tensor([-2.0, 3.0]))
    tensor([0., 3.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.relu(x)


class LeakyReLU(Module):
    """out = x where x > 0, else negative_slope x

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.LeakyReLU(0.1)(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.2,  3. ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The settings."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """out = x where x > 0, else alpha (exp(x) - 1)   (Clevert et al., arXiv:1511.07289)

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.ELU()(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.86466472,  3.        ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """The settings."""
        return f"alpha={self.alpha}"


class CELU(Module):
    """out = x where x > 0, else alpha (exp(x/alpha) - 1)   (Barron, arXiv:1704.07483)

    Raises
    ------
    ValueError
        If ``alpha`` is 0.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.CELU(2.0)(tinynn.tensor([-2.0, 3.0]))
    tensor([-1.26424112,  3.        ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if alpha == 0.0:
            raise ValueError("CELU: alpha must not be 0; the function divides by it")
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.celu(x, self.alpha)

    def extra_repr(self) -> str:
        """The settings."""
        return f"alpha={self.alpha}"


class SELU(Module):
    """out = 1.0507 (x where x > 0, else 1.6733 (exp(x) - 1))   (Klambauer et al., arXiv:1706.02515)

    The two constants are such that mean 0 and variance 1 are a fixed point from layer to layer.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.SELU()(tinynn.tensor([-2.0, 3.0]))
    tensor([-1.52016647,  3.15210296])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.selu(x)


class GELU(Module):
    """out = x Phi(x), with the normal distribution function Phi   (Hendrycks & Gimpel, arXiv:1606.08415)

    Parameters
    ----------
    approximate : "none" for Phi by the error function, "tanh" for
        out = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3)))/2

    Raises
    ------
    ValueError
        If ``approximate`` is something else.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.GELU()(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.04550026,  2.99595031])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """The settings."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """out = x sigmoid(x), also called swish

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.SiLU()(tinynn.tensor([-2.0, 3.0]))
    tensor([-0.23840584,  2.85772238])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.silu(x)


class Sigmoid(Module):
    """out = 1/(1 + exp(-x)),   d out/dx = out (1 - out)

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Sigmoid()(tinynn.tensor([0.0, -1.9]))
    tensor([0.5       , 0.13010847])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return elementwise.sigmoid(x)


class Tanh(Module):
    """out = tanh(x),   d out/dx = 1 - out**2

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Tanh()(tinynn.tensor([0.0, 1.0]))
    tensor([0.        , 0.76159416])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return elementwise.tanh(x)


class LogSigmoid(Module):
    """out = log(1/(1 + exp(-x))),   d out/dx = 1/(1 + exp(x))

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.LogSigmoid()(tinynn.tensor([-1000.0, 0.0]))
    tensor([-1.00000000e+03, -6.93147181e-01])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.logsigmoid(x)


class Softsign(Module):
    """out = x/(1 + |x|),   d out/dx = 1/(1 + |x|)**2

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Softsign()(tinynn.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.softsign(x)


class Tanhshrink(Module):
    """out = x - tanh(x),   d out/dx = tanh(x)**2

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Tanhshrink()(tinynn.tensor([-1.0, 0.0]))
    tensor([-0.23840584,  0.        ])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return activations.tanhshrink(x)


class Softplus(Module):
    """out = log(1 + exp(beta x))/beta,   d out/dx = sigmoid(beta x)

    Exact everywhere; PyTorch replaces it by x above a threshold (beta x > 20), which it does not need here.

    Raises
    ------
    ValueError
        If ``beta`` is not positive.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Softplus()(tinynn.tensor([-2.0, 1000.0]))
    tensor([1.26928011e-01, 1.00000000e+03])
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0.0:
            raise ValueError(f"Softplus: beta must be positive, not {beta}")
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.softplus(x, self.beta)

    def extra_repr(self) -> str:
        """The settings."""
        return f"beta={self.beta}"


class Softmax(Module):
    """out_i = exp(x_i)/sum_j exp(x_j) along an axis

    Parameters
    ----------
    dim : the axis, by default the last
    axis : the same under NumPy's name

    Raises
    ------
    IndexError
        If the input has no such axis.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Softmax(dim=1)(tinynn.tensor([[0.0, 0.0], [0.0, 1000.0]]))
    tensor([[0.5, 0.5],
            [0. , 1. ]])
    """

    def __init__(self, dim: int = -1, axis: int | None = None) -> None:
        super().__init__()
        self.dim = dim if axis is None else axis

    def forward(self, x: Tensor) -> Tensor:
        """Normalise along the axis."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The settings."""
        return f"dim={self.dim}"


class Softmin(Softmax):
    """out_i = exp(-x_i)/sum_j exp(-x_j) along an axis; parameters as in `Softmax`

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Softmin()(tinynn.tensor([0.0, 1000.0]))
    tensor([1., 0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise along the axis."""
        return F.softmin(x, self.dim)


class LogSoftmax(Softmax):
    """out_i = x_i - log(sum_j exp(x_j)) along an axis; parameters as in `Softmax`

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.LogSoftmax()(tinynn.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise along the axis."""
        return F.log_softmax(x, self.dim)
