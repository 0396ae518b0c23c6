"""The linear layer."""

from __future__ import annotations

import math
from typing import Any

from tinynn.creation import zeros
from tinynn.nn import init
from tinynn.nn.module import Module
from tinynn.nn.parameter import Parameter
from tinynn.ops.linalg import linear
from tinynn.random import Generator
from tinynn.tensor import Tensor


class Linear(Module):
    """out = x W.T + b

    Parameters
    ----------
    in_features, out_features : lengths of the last axis of input and output
    bias : whether there is a b
    dtype : of the parameters; the default dtype if None
    generator : where the first values come from; `tinynn.manual_seed` seeds the default one

    Attributes
    ----------
    weight : W, (out_features, in_features), at first U[-1/sqrt(in_features), 1/sqrt(in_features)); see
        `nn.init`
    bias : b, (out_features,), at first from the same interval; None without bias

    Shapes: (..., in_features) to (..., out_features).

    Raises
    ------
    ValueError
        If a number of features is negative, or the last axis of the input has another length.
    TypeError
        If the input's dtype is not the parameters'.

    Examples
    --------
    >>> import tinynn
    >>> layer = tinynn.nn.Linear(6, 32)
    >>> layer(tinynn.zeros(10, 6)).shape
    (10, 32)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if in_features < 0 or out_features < 0:
            raise ValueError(f"Linear: in_features={in_features} and out_features={out_features} must not be negative")
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(zeros(out_features, in_features, dtype=dtype))
        self.bias = Parameter(zeros(out_features, dtype=dtype)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw weight and bias anew from U[-1/sqrt(in_features), 1/sqrt(in_features))."""
        init.standard_uniform_(self.weight, generator)
        if self.bias is not None:
            bound = 1.0 / math.sqrt(max(self.in_features, 1))
            init.uniform_(self.bias, -bound, bound, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return x W.T + b."""
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The settings."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
