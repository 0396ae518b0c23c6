"""Batch norm and layer norm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.creation import ones, zeros
from tinynn.nn import functional as F
from tinynn.nn.module import Module
from tinynn.nn.parameter import Parameter
from tinynn.tensor import Tensor


class _BatchNorm(Module):
    """Batch norm over all axes but the channels'."""

    axes: tuple[int, ...]  # how many axes an input may have
    layout: str
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if num_features < 1:
            raise ValueError(f"{name}: num_features must be positive, not {num_features}")
        if not eps >= 0.0 or not (momentum is None or 0.0 <= momentum <= 1.0):
            raise ValueError(f"{name}: eps={eps} must not be negative, and momentum={momentum} in [0, 1], or None")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(ones(num_features, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_features, dtype=dtype)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", Tensor(np.int64(0)) if tracked else None)

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the number of batches to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.assign_(np.zeros(self.num_features))
            self.running_var.assign_(np.ones(self.num_features))
            self.num_batches_tracked.assign_(np.int64(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; in training by the batch, and move the running statistics on."""
        if len(x.shape) not in self.axes or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}): the input must be {self.layout} with C = "
                f"{self.num_features}, but "
                f"has shape {tuple(x.shape)}"
            )
        count = self.num_batches_tracked
        tracking = self.training and count is not None
        momentum: Any = self.momentum
        if tracking and count is not None:
            count = count + 1
            if momentum is None:  # the plain mean over all batches so far
                momentum = (1.0 / count).to(x.dtype)
        by_batch = self.training or self.running_mean is None
        mean, variance = (self.running_mean, self.running_var) if tracking or not by_batch else (None, None)
        out = F.batch_norm(x, mean, variance, self.weight, self.bias, by_batch, momentum, self.eps)
        if tracking and self.num_batches_tracked is not None:
            self.num_batches_tracked.assign_(count)
        return out

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """out = (x - m)/sqrt(v + eps) w + b in each channel   (Ioffe & Szegedy, arXiv:1502.03167, algorithm 1)

    In training, m and v are mean and biased variance of the batch; running ones follow them,
    running = (1 - momentum) running + momentum batch, the variance by its unbiased estimate, as in PyTorch.
    In evaluation, m and v are the running ones.

    Parameters
    ----------
    num_features : C, the number of channels
    eps : added to the variance
    momentum : weight of the newest batch in the running statistics; None for the plain mean over all batches
    affine : whether there are w and b
    track_running_stats : without them, evaluation uses the batch too
    dtype : of parameters and statistics; the default dtype if None

    Attributes
    ----------
    weight, bias : w, at first 1, and b, at first 0; (C,)
    running_mean, running_var, num_batches_tracked : buffers

    Shapes: (N, C) or (N, C, L); the output has the same.

    Raises
    ------
    ValueError
        If the shape does not fit, or a channel has less than two values in training. Nothing has changed
        then.
    TypeError
        If the input's dtype is not the parameters'.

    Examples
    --------
    >>> import tinynn
    >>> layer = tinynn.nn.BatchNorm1d(1, eps=0.0)
    >>> layer(tinynn.tensor([[1.0], [3.0]])).detach()
    tensor([[-1.],
            [ 1.]])
    >>> layer.running_mean, layer.running_var
    (tensor([0.2]), tensor([1.1]))
    """

    axes = (2, 3)
    layout = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch norm of planes, with one mean and variance per channel: see `BatchNorm1d`.

    Shapes: (N, C, H, W); the output has the same.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.BatchNorm2d(3)(tinynn.randn(8, 3, 4, 4)).shape
    (8, 3, 4, 4)
    """

    axes = (4,)
    layout = "(N, C, H, W)"


class LayerNorm(Module):
    """out = (x - m)/sqrt(v + eps) w + b over the last axes of each sample   (Ba et al., arXiv:1607.06450)

    Parameters
    ----------
    normalized_shape : lengths of the last axes, or of the last one
    eps : added to the (biased) variance v
    elementwise_affine : whether there are w and b
    bias : whether there is a b
    dtype : of the parameters; the default dtype if None

    Attributes
    ----------
    weight, bias : w, at first 1, and b, at first 0, both of ``normalized_shape``

    Shapes: ``(..., *normalized_shape)``; the output has the same.

    Raises
    ------
    ValueError
        If the last axes of the input have another shape.
    TypeError
        If the input's dtype is not the parameters'.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.LayerNorm(2, eps=0.0)(tinynn.tensor([[1.0, 3.0]])).detach()
    tensor([[-1.,  1.]])
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or math.prod(shape) < 1:
            raise ValueError(f"LayerNorm: normalized_shape must have positive lengths, not {normalized_shape!r}")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = Parameter(ones(shape, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(shape, dtype=dtype)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each sample."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
