"""Convolutional layers, along lines and over planes."""

from __future__ import annotations

import math
from typing import Any, cast

from tinynn.creation import zeros
from tinynn.nn import functional as F
from tinynn.nn import init
from tinynn.nn.line_functions import One, one
from tinynn.nn.module import Module
from tinynn.nn.parameter import Parameter
from tinynn.nn.plane_functions import Pair, pair
from tinynn.random import Generator
from tinynn.tensor import Tensor


class _Convolution(Module):
    """What convolutions have in common: settings with a number per axis, weight and bias, and how these begin."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...] | str,
        dilation: tuple[int, ...],
        groups: int,
        bias: bool,
        dtype: Any,
        generator: Generator | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if groups < 1 or in_channels < 1 or out_channels < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: in_channels={in_channels} and out_channels={out_channels} must be positive and "
                f"divisible by groups={groups}"
            )
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"{name}: padding must be a number per axis, 'same' or 'valid', not {padding!r}")
        if padding == "same" and any(step != 1 for step in stride):
            raise ValueError(f"{name}: padding='same' needs stride 1, not {stride}; give the padding as a number")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.weight = Parameter(zeros(out_channels, in_channels // groups, *kernel_size, dtype=dtype))
        self.bias = Parameter(zeros(out_channels, dtype=dtype)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw weight and bias anew from U[-1/sqrt(n), 1/sqrt(n)), n the inputs of one output."""
        init.standard_uniform_(self.weight, generator)
        if self.bias is not None:
            bound = 1.0 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound, generator)

    def extra_repr(self) -> str:
        """The settings, without those left at their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if isinstance(self.padding, str) or any(self.padding) else ""
        text += f", dilation={self.dilation}" if any(n != 1 for n in self.dilation) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + (", bias=False" if self.bias is None else "")


class Conv1d(_Convolution):
    """out[n, o, i] = b[o] + sum over c, k of x[n, c, i s + k d - p] w[o, c, k]

    with stride s, dilation d and padding p; what lies outside of x counts as 0.

    Parameters
    ----------
    in_channels, out_channels : channels of input and output
    kernel_size, stride, dilation : integers
    padding : likewise, or "valid" (none) or "same" (the output is as long as the input; stride 1 only)
    groups : each of as many parts of the output channels sees its own part of the input channels
    bias : whether there is a b
    dtype : of the parameters; the default dtype if None
    generator : where the first values come from

    Attributes
    ----------
    weight : w, (out_channels, in_channels/groups, kernel size), at first U[-1/sqrt(n), 1/sqrt(n)) with n =
        in_channels/groups times the kernel size
    bias : b, (out_channels,), at first from the same interval; None without bias

    Shapes: (N, C, L) or (C, L), L' = floor((L + 2 padding - dilation (kernel - 1) - 1)/stride) + 1.

    Raises
    ------
    ValueError
        If the settings do not fit each other, or the input does not fit them.
    TypeError
        If the input's dtype is not the parameters'.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Conv1d(1, 16, 7, padding=3)(tinynn.zeros(8, 1, 186)).shape
    (8, 16, 186)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: One,
        stride: One = 1,
        padding: One | str = 0,
        dilation: One = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            (one("Conv1d: kernel_size", kernel_size, 1),),
            (one("Conv1d: stride", stride, 1),),
            padding if isinstance(padding, str) else (one("Conv1d: padding", padding, 0),),
            (one("Conv1d: dilation", dilation, 1),),
            groups,
            bias,
            dtype,
            generator,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        padding: Any = self.padding
        return F.conv1d(x, self.weight, self.bias, self.stride[0], padding, self.dilation[0], self.groups)


class Conv2d(_Convolution):
    """out[n, o, i, j] = b[o] + sum over c, k, l of x[n, c, i s + k d - p, j s + l d - p] w[o, c, k, l]

    with stride s, dilation d and padding p; what lies outside of x counts as 0.

    Parameters
    ----------
    in_channels, out_channels : channels of input and output
    kernel_size, stride, dilation : one number, or (along the height, along the width)
    padding : likewise, or "valid" (none) or "same" (the output is as large as the input; stride 1 only)
    groups : each of as many parts of the output channels sees its own part of the input channels
    bias : whether there is a b
    dtype : of the parameters; the default dtype if None
    generator : where the first values come from

    Attributes
    ----------
    weight : w, (out_channels, in_channels/groups, kernel height, kernel width), at first U[-1/sqrt(n),
        1/sqrt(n)) with n = in_channels/groups times the places of the kernel
    bias : b, (out_channels,), at first from the same interval; None without bias

    Shapes: (N, C, H, W) or (C, H, W), H' = floor((H + 2 padding - dilation (kernel - 1) - 1)/stride) + 1.

    Raises
    ------
    ValueError
        If the settings do not fit each other, or the input does not fit them.
    TypeError
        If the input's dtype is not the parameters'.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Conv2d(1, 6, 5, padding=2)(tinynn.zeros(8, 1, 28, 28)).shape
    (8, 6, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            pair("Conv2d: kernel_size", kernel_size, 1),
            pair("Conv2d: stride", stride, 1),
            padding if isinstance(padding, str) else pair("Conv2d: padding", padding, 0),
            pair("Conv2d: dilation", dilation, 1),
            groups,
            bias,
            dtype,
            generator,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        stride, padding, dilation = (cast(Any, n) for n in (self.stride, self.padding, self.dilation))
        return F.conv2d(x, self.weight, self.bias, stride, padding, dilation, self.groups)
