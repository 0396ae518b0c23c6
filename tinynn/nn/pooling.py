"""Pooling layers, along lines and over planes."""

from __future__ import annotations

from tinynn.nn import functional as F
from tinynn.nn.line_functions import One, one, pool_settings
from tinynn.nn.module import Module
from tinynn.nn.plane_functions import Pair, pair
from tinynn.tensor import Tensor


class _Pool1d(Module):
    """The settings that the pooling layers of lines have in common."""

    def __init__(self, kernel_size: One, stride: One | None = None, padding: One = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = pool_settings(type(self).__name__, kernel_size, stride, padding)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(_Pool1d):
    """out[n, c, i] = the largest x under the window; at a tie the first one gets the gradient

    Parameters
    ----------
    kernel_size : an integer
    stride : likewise; the kernel's size if None
    padding : likewise; outside of x is -infinity

    Shapes: (N, C, L) or (C, L), L' = floor((L + 2 padding - kernel)/stride) + 1.

    Raises
    ------
    ValueError
        If a setting is not positive, the padding more than half of the kernel, or the window longer than the
        line.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.MaxPool1d(2)(tinynn.tensor([[1.0, 5.0, 2.0, 3.0]]))
    tensor([[5., 3.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest elements."""
        return F.max_pool1d(x, self.kernel_size, self.stride, self.padding)


class AvgPool1d(_Pool1d):
    """out[n, c, i] = the mean of x under the window; outside of x there are zeros, and they count

    Parameters, shapes and errors as in `MaxPool1d`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.AvgPool1d(2)(tinynn.tensor([[1.0, 5.0, 2.0, 3.0]]))
    tensor([[3. , 2.5]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the means."""
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool1d(Module):
    """out[n, c, i] = the mean of the i-th of ``output_size`` parts of the line, whatever its length

    Parameters
    ----------
    output_size : how many parts; with 1, the mean over all places ("global pooling")

    Shapes: (N, C, L) or (C, L); (N, C, output_size).

    Raises
    ------
    ValueError
        If ``output_size`` is not positive, or the input has another number of axes.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.AdaptiveAvgPool1d(1)(tinynn.tensor([[1.0, 5.0, 2.0, 3.0]]))
    tensor([[2.75]])
    """

    def __init__(self, output_size: One) -> None:
        super().__init__()
        self.output_size = one("AdaptiveAvgPool1d: output_size", output_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means."""
        return F.adaptive_avg_pool1d(x, self.output_size)

    def extra_repr(self) -> str:
        """The settings."""
        return f"output_size={self.output_size}"


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
