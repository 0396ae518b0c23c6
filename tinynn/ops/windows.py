"""Sliding windows over the last two axes: what convolution and pooling are made of.

`windows` lays out, for each place of the window, the elements under it; its gradient `overlap_add` sums the windows
back onto the plane. Each is the gradient of the other.
"""

from __future__ import annotations

from typing import Any

from tinynn.autodiff import apply
from tinynn.ops.base import Op
from tinynn.ops.shape import Shape

Pair = tuple[int, int]


class Windows(Op):
    """out[..., i, j, k, l] = x[..., i sh + k dh, j sw + l dw]"""

    linear = True

    def __init__(self, kernel: Pair, stride: Pair, dilation: Pair) -> None:
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def forward(self, xp, x):
        kh, kw = self.kernel
        (sh, sw), (dh, dw) = self.stride, self.dilation
        height, width = out_size(x.shape[-2:], self.kernel, self.stride, self.dilation)
        *outer, row, column = x.strides
        shape = (*x.shape[:-2], height, width, kh, kw)
        strides = (*outer, row * sh, column * sw, row * dh, column * dw)
        return xp.lib.stride_tricks.as_strided(x, shape, strides)

    def grad_x(self, g, *, x_shape):
        return apply(OverlapAdd(self.kernel, self.stride, self.dilation, x_shape), g)


class OverlapAdd(Op):
    """out = zeros, with out[..., i sh + k dh, j sw + l dw] += x[..., i, j, k, l]"""

    linear = True

    def __init__(self, kernel: Pair, stride: Pair, dilation: Pair, shape: Shape) -> None:
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.shape = shape

    def forward(self, xp, x):
        out = xp.zeros(self.shape, x.dtype)
        (sh, sw), (dh, dw) = self.stride, self.dilation
        height, width = x.shape[-4:-2]
        for k in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                rows = slice(k * dh, k * dh + height * sh, sh)
                columns = slice(j * dw, j * dw + width * sw, sw)
                view = out[..., rows, columns]
                view[..., :height, :width] += x[..., k, j]
        return out

    def grad_x(self, g):
        return apply(Windows(self.kernel, self.stride, self.dilation), g)


def out_size(size: Any, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pair:
    """How many places a window has along each axis: floor((n - dilation (kernel - 1) - 1)/stride) + 1."""
    height, width = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True))
    return height, width


def windows(x: Any, kernel: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Any:
    """All places of a window over the last two axes.

    Parameters
    ----------
    x : (..., H, W)
    kernel, stride, dilation : height and width of the window, its steps, and the gaps between its elements

    Returns
    -------
    (..., places along H, places along W, kernel height, kernel width)

    Raises
    ------
    ValueError
        If the window is larger than the plane.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.arange(9.0).reshape(3, 3)
    >>> tinynn.windows(x, (2, 2))[0, 1]
    tensor([[1., 2.],
            [4., 5.]])
    """
    if len(x.shape) < 2:
        raise ValueError(f"windows: x must have two axes or more, but has shape {tuple(x.shape)}")
    if min(*kernel, *stride, *dilation) < 1:
        raise ValueError(f"windows: kernel {kernel}, stride {stride} and dilation {dilation} must be 1 or more")
    if min(out_size(x.shape[-2:], kernel, stride, dilation)) < 1:
        raise ValueError(
            f"windows: a window of {kernel} (dilation {dilation}) is larger than the plane {tuple(x.shape[-2:])}"
        )
    return apply(Windows(kernel, stride, dilation), x)
