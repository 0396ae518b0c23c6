"""Convolution and pooling with PyTorch's arguments: one number or two, named paddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.ops import convolution
from tinynn.ops.joining import pad
from tinynn.ops.shape import expand_dims, reshape

Pair = tuple[int, int]


def pair(name: str, value: int | tuple[int, int], least: int) -> Pair:
    """An int or two of them as two; checked to be at least ``least``."""
    both = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(both) != 2 or not all(isinstance(n, (int, np.integer)) and n >= least for n in both):
        raise ValueError(
            f"{name} must be an integer of at least {least}, or two of them for height and width, not {value!r}"
        )
    return int(both[0]), int(both[1])


def _batched(name: str, x: Any) -> Any:
    """(C, H, W) as a batch of one."""
    if len(x.shape) not in (3, 4):
        raise ValueError(
            f"{name}: the input must be (N, C, H, W), or (C, H, W) for one sample, but has shape {tuple(x.shape)}"
        )
    return x if len(x.shape) == 4 else expand_dims(x, 0)


def _unbatched(out: Any, x: Any) -> Any:
    return out if len(x.shape) == 4 else reshape(out, tuple(out.shape[1:]))


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """Convolution of planes: out[n, o] = bias[o] + sum over c of x[n, c] correlated with weight[o, c].

    Parameters
    ----------
    x : (N, C, H, W), or (C, H, W)
    weight : (O, C/groups, kernel height, kernel width)
    bias : (O,) or None
    stride, dilation : one number, or (along the height, along the width)
    padding : likewise, or "valid" (none), or "same" (the output is as large as the input; stride 1 only)
    groups : each of as many parts of the output channels sees its own part of the input channels

    Returns
    -------
    (N, O, H', W'), H' = floor((H + 2 padding - dilation (kernel - 1) - 1)/stride) + 1

    Raises
    ------
    ValueError
        If the shapes or settings do not fit.
    TypeError
        If the dtypes of ``x`` and ``weight`` differ.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.conv2d(tinynn.ones(1, 3, 3), tinynn.ones(1, 1, 2, 2), padding="same")
    tensor([[[4., 4., 2.],
             [4., 4., 2.],
             [2., 2., 1.]]])
    """
    planes = _batched("conv2d", x)
    steps, gaps = pair("conv2d: stride", stride, 1), pair("conv2d: dilation", dilation, 1)
    if isinstance(padding, str):
        planes, border = _named_padding(planes, padding, tuple(weight.shape[2:]), steps, gaps)
    else:
        border = pair("conv2d: padding", padding, 0)
    return _unbatched(convolution.conv2d(planes, weight, bias, steps, border, gaps, groups), x)


def _named_padding(x: Any, name: str, kernel: Any, stride: Pair, dilation: Pair) -> tuple[Any, Pair]:
    """The input and the border that "same" or "valid" asks for; an odd one goes below and to the right."""
    if name == "valid":
        return x, (0, 0)
    if name != "same":
        raise ValueError(f"conv2d: padding must be an integer, two of them, 'same' or 'valid', not {name!r}")
    if stride != (1, 1):
        raise ValueError(f"conv2d: padding='same' needs stride 1, not {stride}; give the padding as a number")
    height, width = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    if height % 2 or width % 2:
        x = pad(x, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)))
    return x, (height // 2, width // 2)


def max_pool2d(x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Any:
    """The largest element under each place of a window; at a tie the first one gets the gradient.

    Parameters
    ----------
    x : (N, C, H, W), or (C, H, W)
    kernel_size, stride, padding : one number, or two; the stride is the kernel's size if None

    Returns
    -------
    (N, C, H', W'), H' = floor((H + 2 padding - kernel)/stride) + 1

    Raises
    ------
    ValueError
        If the settings do not fit, or the padding is more than half of the kernel.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.max_pool2d(tinynn.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    window, steps, border = _pool_settings("max_pool2d", kernel_size, stride, padding)
    return _unbatched(convolution.max_pool2d(_batched("max_pool2d", x), window, steps, border), x)


def avg_pool2d(x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Any:
    """The mean under each place of a window; a border of zeros counts. Parameters as in `max_pool2d`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.avg_pool2d(tinynn.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 2.5,  4.5],
             [10.5, 12.5]]])
    """
    window, steps, border = _pool_settings("avg_pool2d", kernel_size, stride, padding)
    return _unbatched(convolution.avg_pool2d(_batched("avg_pool2d", x), window, steps, border), x)


def _pool_settings(name: str, kernel: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Pair]:
    window = pair(f"{name}: kernel_size", kernel, 1)
    steps = window if stride is None else pair(f"{name}: stride", stride, 1)
    return window, steps, pair(f"{name}: padding", padding, 0)
