"""Activation functions made of straight pieces, as modules. They work element by element, on inputs of any shape.

``inplace`` is accepted, so that PyTorch code runs, and changes nothing: no tensor here is ever overwritten.
"""

from __future__ import annotations

from typing import Any

from tinynn.creation import full
from tinynn.nn import functional as F
from tinynn.nn.module import Module
from tinynn.nn.parameter import Parameter
from tinynn.ops import piecewise_activations as pieces
from tinynn.tensor import Tensor


class PReLU(Module):
    """out = x where x > 0, else weight x, with a slope that is learned   (He et al., arXiv:1502.01852)

    Parameters
    ----------
    num_parameters : 1 for one slope, or the number of channels, for one slope each
    init : the slope at first
    dtype : of the slopes; the default dtype if None

    Attributes
    ----------
    weight : the slopes, (num_parameters,)

    Shapes: (N, C, ...); with one slope any.

    Raises
    ------
    ValueError
        If ``num_parameters`` is not positive, or neither 1 nor the input's number of channels.
    TypeError
        If the input's dtype is not the slopes'.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.PReLU()(tinynn.tensor([-2.0, 3.0])).detach()
    tensor([-0.5,  3. ])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        super().__init__()
        if num_parameters < 1:
            raise ValueError(f"PReLU: num_parameters must be positive, not {num_parameters}")
        self.init = init
        self.weight = Parameter(full(num_parameters, init, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """The settings."""
        return f"num_parameters={self.weight.size}"


class RReLU(Module):
    """out = x where x > 0, else slope x, with slopes from U[lower, upper)   (Xu et al., arXiv:1505.00853)

    In training each element draws its slope anew; in evaluation the slope is the mean, (lower + upper)/2.

    Parameters
    ----------
    lower, upper : the bounds of the slopes
    generator : where the slopes come from; `tinynn.manual_seed` seeds the default one

    Raises
    ------
    ValueError
        If ``lower`` is above ``upper``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.RReLU(0.25, 0.75).eval()(tinynn.tensor([-2.0, 3.0]))
    tensor([-1.,  3.])
    """

    def __init__(
        self, lower: float = 1.0 / 8.0, upper: float = 1.0 / 3.0, inplace: bool = False, generator: Any = None
    ) -> None:
        super().__init__()
        if not lower <= upper:
            raise ValueError(f"RReLU: lower must not be above upper, but they are {lower!r} and {upper!r}")
        self.lower, self.upper, self.generator = lower, upper, generator

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.rrelu(x, self.lower, self.upper, self.training, self.generator)

    def extra_repr(self) -> str:
        """The settings."""
        return f"lower={self.lower}, upper={self.upper}"


class Hardtanh(Module):
    """out = x, held between min_val and max_val

    Raises
    ------
    ValueError
        If ``min_val`` is not below ``max_val``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Hardtanh()(tinynn.tensor([-2.0, 0.5]))
    tensor([-1. ,  0.5])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val, but they are {min_val!r} and {max_val!r}")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return pieces.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """The settings."""
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Hardtanh):
    """out = min(max(x, 0), 6)

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.ReLU6()(tinynn.tensor([-2.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0)

    def extra_repr(self) -> str:
        """There are no settings."""
        return ""


class Threshold(Module):
    """out = x where x > threshold, else value

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Threshold(1.0, -7.0)(tinynn.tensor([0.5, 2.0]))
    tensor([-7.,  2.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value = threshold, value

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return pieces.threshold(x, self.threshold, self.value)

    def extra_repr(self) -> str:
        """The settings."""
        return f"threshold={self.threshold}, value={self.value}"


class Softshrink(Module):
    """out = x - lambd where x > lambd, x + lambd where x < -lambd, else 0

    Raises
    ------
    ValueError
        If ``lambd`` is negative.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Softshrink()(tinynn.tensor([-2.0, 0.25, 1.0]))
    tensor([-1.5,  0. ,  0.5])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        if not lambd >= 0.0:
            raise ValueError(f"Softshrink: lambd must not be negative, got {lambd!r}")
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return pieces.softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        """The settings."""
        return f"lambd={self.lambd}"


class Hardshrink(Module):
    """out = 0 where |x| <= lambd, else x

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Hardshrink()(tinynn.tensor([-2.0, 0.25, 1.0]))
    tensor([-2.,  0.,  1.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return pieces.hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        """The settings."""
        return f"lambd={self.lambd}"
