"""Convolution and pooling over planes, in PyTorch's layout: (samples, channels, height, width)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops.base import Op
from tinynn.ops.indexing import ARRAY, Gather, Scatter
from tinynn.ops.joining import pad
from tinynn.ops.linalg import Contract
from tinynn.ops.reduce import sum
from tinynn.ops.shape import Shape, broadcast_to, expand_dims, reshape
from tinynn.ops.transfer import refuse_mixed
from tinynn.ops.windows import OverlapAdd, Pair, out_size, windows


class Conv2d(Op):
    """out[n, o, i, j] = b[o] + sum over c, k, l of x[n, c, i sh + k dh - ph, j sw + l dw - pw] w[o, c, k, l]

    A product of the windows of x with the weights, so dL/dx lays the windows of g w back onto the plane, and dL/dw is
    the product of g with the windows of x. With groups, each group of output channels sees its own input channels.
    """

    whole_gradient = True

    def __init__(self, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def forward(self, xp, x, weight, bias):
        (ph, pw), groups = self.padding, self.groups
        samples, channels, height, width = x.shape
        if ph or pw:
            padded = xp.zeros((samples, channels, height + 2 * ph, width + 2 * pw), x.dtype)
            padded[:, :, ph : ph + height, pw : pw + width] = x
            x = padded
        view = windows(x, weight.shape[2:], self.stride, self.dilation)
        view = view.reshape((samples, groups, channels // groups, *view.shape[2:])) if groups > 1 else view[:, None]
        grouped = weight.reshape((groups, -1, *weight.shape[1:]))
        parts = [xp.tensordot(view[:, i], grouped[i], axes=((1, 4, 5), (1, 2, 3))) for i in range(groups)]
        out = parts[0] if groups == 1 else xp.concatenate(parts, axis=-1)  # (n, i, j, o)
        if bias is not None:
            out = out + bias
        return xp.ascontiguousarray(xp.transpose(out, (0, 3, 1, 2)))

    def grad_x(self, g, *, weight, x_shape):
        (ph, pw), groups = self.padding, self.groups
        samples, channels, height, width = x_shape
        g = reshape(g, (samples, groups, g.shape[1] // groups, *g.shape[2:]))
        grouped = reshape(weight, (groups, -1, *weight.shape[1:]))
        under = apply(Contract("ngoij", "gockl", "ngcijkl"), g, grouped)
        under = reshape(under, (samples, channels, *under.shape[3:]))
        plane = (samples, channels, height + 2 * ph, width + 2 * pw)
        plane = apply(OverlapAdd(tuple(weight.shape[2:]), self.stride, self.dilation, plane), under)
        return plane[:, :, ph : ph + height, pw : pw + width]

    def grad_weight(self, g, *, x, weight_shape):
        samples, channels = x.shape[:2]
        view = windows(_bordered(x, self.padding), tuple(weight_shape[2:]), self.stride, self.dilation)
        height, width = g.shape[2:]
        view = view[:, :, :height, :width]
        view = reshape(view, (samples, self.groups, channels // self.groups, *view.shape[2:]))
        g = reshape(g, (samples, self.groups, g.shape[1] // self.groups, height, width))
        return reshape(apply(Contract("ngoij", "ngcijkl", "gockl"), g, view), weight_shape)

    def grad_bias(self, g):
        return sum(g, axis=(0, 2, 3))

    def tangent(self, tangents, *, x=None, weight=None):
        """Forward mode: the product rule."""
        dx, d_weight, d_bias = tangents
        total = 0.0
        if dx is not None:
            total = total + apply(self, dx, weight, None)
        if d_weight is not None:
            total = total + apply(self, x, d_weight, None)
        return total if d_bias is None else total + reshape(d_bias, (1, -1, 1, 1))


class MaxPool2d(Op):
    """out[n, c, i, j] = the largest x under the window;   its cotangent goes to the first element that is it"""

    whole_gradient = True
    derived = ("index",)  # where in the plane the largest stands: a constant for small changes of x

    def __init__(self, kernel: Pair, stride: Pair, padding: Pair) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, xp, x):
        (ph, pw), (kh, kw), (sh, sw) = self.padding, self.kernel, self.stride
        samples, channels, height, width = x.shape
        if ph or pw:
            padded = xp.full((samples, channels, height + 2 * ph, width + 2 * pw), -xp.inf, dtype=x.dtype)
            padded[:, :, ph : ph + height, pw : pw + width] = x
            x = padded
        view = windows(x, self.kernel, self.stride)
        flat = view.reshape((*view.shape[:4], kh * kw))
        place = xp.argmax(flat, axis=-1)
        rows = xp.arange(view.shape[2])[:, None] * sh + place // kw - ph
        columns = xp.arange(view.shape[3])[None, :] * sw + place % kw - pw
        index = rows * width + columns
        return xp.max(flat, axis=-1), index.astype("int32" if height * width < 2**31 else "int64")

    def grad_x(self, g, *, index, x_shape):
        samples, channels, height, width = x_shape
        scatter = Scatter((ARRAY, ARRAY, ARRAY), (samples, channels, height * width))
        return reshape(apply(scatter, g, *_planes(samples, channels), index), x_shape)

    def tangent(self, tangents, *, index, x_shape):
        """Forward mode: the tangent of the largest element."""
        samples, channels = x_shape[:2]
        flat = reshape(tangents[0], (samples, channels, -1))
        return apply(Gather((ARRAY, ARRAY, ARRAY)), flat, *_planes(samples, channels), index)


class AvgPool2d(Op):
    """out[n, c, i, j] = the mean of x under the window (a border of zeros counts);   1/(kh kw) of g to each element"""

    whole_gradient = True
    linear = True

    def __init__(self, kernel: Pair, stride: Pair, padding: Pair) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, xp, x):
        (ph, pw), (kh, kw) = self.padding, self.kernel
        if ph or pw:
            samples, channels, height, width = x.shape
            padded = xp.zeros((samples, channels, height + 2 * ph, width + 2 * pw), x.dtype)
            padded[:, :, ph : ph + height, pw : pw + width] = x
            x = padded
        return xp.sum(windows(x, self.kernel, self.stride), axis=(4, 5)) / (kh * kw)

    def grad_x(self, g, *, x_shape):
        (ph, pw), (kh, kw) = self.padding, self.kernel
        samples, channels, height, width = x_shape
        under = broadcast_to(expand_dims(g / (kh * kw), (4, 5)), (*g.shape, kh, kw))
        plane = (samples, channels, height + 2 * ph, width + 2 * pw)
        plane = apply(OverlapAdd(self.kernel, self.stride, (1, 1), plane), under)
        return plane[:, :, ph : ph + height, pw : pw + width]


def _planes(samples: int, channels: int) -> tuple[Any, Any]:
    """Sample and channel of each plane, shaped to broadcast against (samples, channels, height, width)."""
    return np.arange(samples).reshape(-1, 1, 1, 1), np.arange(channels).reshape(-1, 1, 1)


def _bordered(x: Any, padding: Pair) -> Any:
    (ph, pw) = padding
    return pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))) if ph or pw else x


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Any:
    """Convolution (cross-correlation) of planes with small kernels, as in PyTorch.

    Parameters
    ----------
    x : (samples, in_channels, height, width)
    weight : (out_channels, in_channels / groups, kernel height, kernel width)
    bias : (out_channels,) or None

    Returns
    -------
    (samples, out_channels, out height, out width), out = floor((n + 2 padding - dilation (kernel - 1) - 1)/stride) + 1

    Raises
    ------
    ValueError
        If the shapes do not fit, or the kernel is larger than the padded plane.
    TypeError
        If the dtypes of ``x`` and ``weight`` differ.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ops.convolution.conv2d(tinynn.ones(1, 1, 3, 3), tinynn.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    if len(x.shape) != 4 or len(weight.shape) != 4:
        raise ValueError(
            f"conv2d: x must be (samples, channels, height, width) and weight (out, in/groups, kh, kw), "
            f"but they have shapes {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if groups < 1 or weight.shape[0] % groups or x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"conv2d: x has {x.shape[1]} channels, but weight of shape {tuple(weight.shape)} with groups={groups} "
            f"needs {weight.shape[1] * groups} (and out_channels divisible by groups)"
        )
    refuse_mixed("conv2d", x, weight)
    size = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
    if min(out_size(size, weight.shape[2:], stride, dilation)) < 1:
        raise ValueError(
            f"conv2d: a kernel of {tuple(weight.shape[2:])} (dilation {dilation}) is larger than the padded plane "
            f"{size}"
        )
    return apply(Conv2d(stride, padding, dilation, groups), x, weight, bias)


def max_pool2d(x: Any, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0)) -> Any:
    """The largest element under each place of a window; at a tie the first one gets the gradient.

    Parameters
    ----------
    x : (samples, channels, height, width)
    kernel, stride, padding : of the window, per axis; stride is the kernel if None

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ops.convolution.max_pool2d(tinynn.arange(16.0).reshape(1, 1, 4, 4), (2, 2))
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    stride = kernel if stride is None else stride
    _check_pool("max_pool2d", x.shape, kernel, stride, padding)
    return apply(MaxPool2d(kernel, stride, padding), x)


def avg_pool2d(x: Any, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0)) -> Any:
    """The mean under each place of a window; a border of zeros counts, as in PyTorch.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ops.convolution.avg_pool2d(tinynn.arange(16.0).reshape(1, 1, 4, 4), (2, 2))
    tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """
    stride = kernel if stride is None else stride
    _check_pool("avg_pool2d", x.shape, kernel, stride, padding)
    return apply(AvgPool2d(kernel, stride, padding), x)


def _check_pool(name: str, shape: Shape, kernel: Pair, stride: Pair, padding: Pair) -> None:
    if len(shape) != 4:
        raise ValueError(f"{name}: x must be (samples, channels, height, width), but has shape {tuple(shape)}")
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: kernel {kernel} and stride {stride} must be 1 or more, padding {padding} not negative"
        )
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{name}: padding {padding} is more than half of the kernel {kernel}: a window could lie outside"
        )
    size = tuple(n + 2 * p for n, p in zip(shape[2:], padding, strict=True))
    if min(out_size(size, kernel, stride)) < 1:
        raise ValueError(f"{name}: a window of {kernel} is larger than the padded plane {size}")
