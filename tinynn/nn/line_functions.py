"""Convolution and pooling along lines (signals, spectra), with PyTorch's arguments: a line is a plane of height one.

The kernels of planes do the work. Their loops over rows then have one row, and what remains are the loops along it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.nn import plane_functions as planes
from tinynn.ops.linalg import matmul
from tinynn.ops.reduce import mean
from tinynn.ops.shape import expand_dims, reshape
from tinynn.ops.transfer import refuse_mixed

One = int | tuple[int]


def one(name: str, value: One, least: int) -> int:
    """An int, or a tuple of one, as an int; checked to be at least ``least``."""
    number = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
    if not isinstance(number, (int, np.integer)) or number < least:
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
    return int(number)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: One = 1,
    padding: One | str = 0,
    dilation: One = 1,
    groups: int = 1,
) -> Any:
    """Convolution of lines: out[n, o] = bias[o] + sum over c of x[n, c] correlated with weight[o, c].

    Parameters
    ----------
    x : (N, C, L), or (C, L)
    weight : (O, C/groups, kernel size)
    bias : (O,) or None
    stride, dilation : integers
    padding : zeros at both ends, or "valid" (none), or "same" (the output is as long as the input; stride 1 only)
    groups : each of as many parts of the output channels sees its own part of the input channels

    Returns
    -------
    (N, O, L'), L' = floor((L + 2 padding - dilation (kernel - 1) - 1)/stride) + 1

    Raises
    ------
    ValueError
        If the shapes or settings do not fit.
    TypeError
        If the dtypes of ``x`` and ``weight`` differ.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.conv1d(tinynn.tensor([[1.0, 2.0, 4.0]]), tinynn.tensor([[[-1.0, 1.0]]]))
    tensor([[1., 2.]])
    """
    step, gap = one("conv1d: stride", stride, 1), one("conv1d: dilation", dilation, 1)
    border: Any = padding if isinstance(padding, str) else (0, one("conv1d: padding", padding, 0))
    _check_convolution(x, weight, border, step, gap, groups)
    out = planes.conv2d(_as_rows(x), expand_dims(weight, 2), bias, (1, step), border, (1, gap), groups)
    return _as_lines(out, x)


def _check_convolution(x: Any, weight: Any, border: Any, stride: int, dilation: int, groups: int) -> None:
    """Say what does not fit, in terms of lines."""
    if len(x.shape) not in (2, 3) or len(weight.shape) != 3:
        raise ValueError(
            "conv1d: the input must be (N, C, L), or (C, L) for one sample, and weight (O, C/groups, kernel size), "
            f"but they have shapes {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    (channels, length), (filters, per_group, kernel) = x.shape[-2:], weight.shape
    if groups < 1 or filters % groups or channels != per_group * groups:
        raise ValueError(
            f"conv1d: x has {channels} channels, but weight of shape {tuple(weight.shape)} with groups={groups} "
            f"needs {per_group * groups} (and out_channels divisible by groups)"
        )
    refuse_mixed("conv1d", x, weight)
    if border == "same" and stride != 1:
        raise ValueError(f"conv1d: padding='same' needs stride 1, not {stride}; give the padding as a number")
    if isinstance(border, str):
        if border not in ("same", "valid"):
            raise ValueError(f"conv1d: padding must be an integer, 'same' or 'valid', not {border!r}")
        padded = length + (dilation * (kernel - 1) if border == "same" else 0)
    else:
        padded = length + 2 * border[1]
    if dilation * (kernel - 1) + 1 > padded:
        raise ValueError(
            f"conv1d: a kernel of {kernel} (dilation {dilation}) is longer than the padded line, {padded} places"
        )


def max_pool1d(x: Any, kernel_size: One, stride: One | None = None, padding: One = 0) -> Any:
    """The largest element under each place of a window; at a tie the first one gets the gradient.

    Parameters
    ----------
    x : (N, C, L), or (C, L)
    kernel_size, stride, padding : integers; the stride is the kernel's size if None

    Returns
    -------
    (N, C, L'), L' = floor((L + 2 padding - kernel)/stride) + 1

    Raises
    ------
    ValueError
        If the settings do not fit, or the padding is more than half of the kernel.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.max_pool1d(tinynn.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[5., 3.]])
    """
    window, step, border = pool_settings("max_pool1d", kernel_size, stride, padding)
    _check_pool("max_pool1d", x, window, border)
    return _as_lines(planes.max_pool2d(_as_rows(x), (1, window), (1, step), (0, border)), x)


def avg_pool1d(x: Any, kernel_size: One, stride: One | None = None, padding: One = 0) -> Any:
    """The mean under each place of a window; a border of zeros counts. Parameters as in `max_pool1d`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.avg_pool1d(tinynn.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[3. , 2.5]])
    """
    window, step, border = pool_settings("avg_pool1d", kernel_size, stride, padding)
    _check_pool("avg_pool1d", x, window, border)
    return _as_lines(planes.avg_pool2d(_as_rows(x), (1, window), (1, step), (0, border)), x)


def adaptive_avg_pool1d(x: Any, output_size: One) -> Any:
    """Means over ``output_size`` parts of the line: part i is x[floor(i L/n)] ... x[ceil((i + 1) L/n) - 1].

    Parameters
    ----------
    x : (N, C, L), or (C, L)
    output_size : n, how many parts; 1 for the mean of the whole line. Parts overlap where n does not divide L.

    Returns
    -------
    (N, C, n)

    Raises
    ------
    ValueError
        If the shape does not fit, or ``output_size`` is not positive.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.adaptive_avg_pool1d(tinynn.tensor([[1.0, 5.0, 2.0, 3.0]]), 1)
    tensor([[2.75]])
    """
    parts = one("adaptive_avg_pool1d: output_size", output_size, 1)
    shape = tuple(x.shape)
    if len(shape) not in (2, 3) or shape[-1] < 1:
        raise ValueError(f"adaptive_avg_pool1d: the input must be (N, C, L), or (C, L), but has shape {shape}")
    length = shape[-1]
    if length % parts == 0:
        return mean(reshape(x, (*shape[:-1], parts, length // parts)), axis=-1)
    starts = np.arange(parts) * length // parts
    ends = -(-np.arange(1, parts + 1) * length // parts)
    places = np.arange(length)[:, None]
    inside = (starts <= places) & (places < ends)
    return matmul(x, (inside / (ends - starts)).astype(x.dtype))


def pool_settings(name: str, kernel: One, stride: One | None, padding: One) -> tuple[int, int, int]:
    """The three settings of a pooling window, checked."""
    window = one(f"{name}: kernel_size", kernel, 1)
    step = window if stride is None else one(f"{name}: stride", stride, 1)
    border = one(f"{name}: padding", padding, 0)
    if 2 * border > window:
        raise ValueError(f"{name}: padding={border} is more than half of kernel_size={window}")
    return window, step, border


def _check_pool(name: str, x: Any, window: int, border: int) -> None:
    if len(x.shape) not in (2, 3):
        raise ValueError(f"{name}: the input must be (N, C, L), or (C, L) for one sample, but has shape {x.shape}")
    if x.shape[-1] + 2 * border < window:
        raise ValueError(
            f"{name}: a window of {window} is longer than the padded line, {x.shape[-1] + 2 * border} places"
        )


def _as_rows(x: Any) -> Any:
    """(N, C, L) as (N, C, 1, L), and (C, L) as a batch of one."""
    return expand_dims(x, 2) if len(x.shape) == 3 else expand_dims(x, (0, 2))


def _as_lines(out: Any, x: Any) -> Any:
    samples, channels, _, length = out.shape
    return reshape(out, (samples, channels, length) if len(x.shape) == 3 else (channels, length))
