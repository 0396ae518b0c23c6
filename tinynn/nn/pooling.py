"""Pooling layers."""

from __future__ import annotations

from tinynn.nn import functional as F
from tinynn.nn.module import Module
from tinynn.nn.plane_functions import Pair, pair
from tinynn.tensor import Tensor


class _Pool2d(Module):
    """The settings that the pooling layers have in common."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = pair(f"{name}: kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair(f"{name}: stride", stride, 1)
        self.padding = pair(f"{name}: padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"{name}: padding={padding} is more than half of kernel_size={kernel_size}")

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """out[n, c, i, j] = the largest x under the window; at a tie the first one gets the gradient

    Parameters
    ----------
    kernel_size : one number, or (height, width)
    stride : likewise; the kernel's size if None
    padding : likewise; outside of x is -infinity

    Shapes: (N, C, H, W) or (C, H, W), H' = floor((H + 2 padding - kernel)/stride) + 1.

    Raises
    ------
    ValueError
        If a setting is not positive, the padding more than half of the kernel, or the window larger than the
        plane.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.MaxPool2d(2)(tinynn.arange(16.0).reshape(1, 1, 4, 4))
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest elements."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool2d):
    """out[n, c, i, j] = the mean of x under the window; outside of x there are zeros, and they count

    Parameters, shapes and errors as in `MaxPool2d`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.AvgPool2d(2)(tinynn.arange(16.0).reshape(1, 1, 4, 4))
    tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the means."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)
