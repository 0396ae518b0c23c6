"""Primitives that a benchmark asked for: norms, dropout, softmax cross-entropy.

Each could be written in other operations, and a test holds it against that composite at first and second order. They
are primitives because a kernel can do the whole of one in one or two passes over memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops import elementwise, reduce
from tinynn.ops.base import Op
from tinynn.ops.indexing import ARRAY, Scatter
from tinynn.ops.shape import expand_dims, reshape


class LayerNorm(Op):
    """out = (x - m) r w + b along each row,   m = mean(x),   r = 1/sqrt(var(x) + eps)

    With h = g w and n = (x - m) r:   dL/dx = r (h - mean(h) - n mean(h n)),   dL/dw = sum(g n),   dL/db = sum(g)
    (Ba, Kiros & Hinton, arXiv:1607.06450). x: (rows, features).
    """

    derived = ("mean", "rstd")
    whole_gradient = True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, xp, x, weight, bias):
        mean = xp.mean(x, axis=1, keepdims=True)
        centred = x - mean
        rstd = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=1, keepdims=True) + self.eps)
        out = centred * rstd
        if weight is not None:
            out = out * weight
        if bias is not None:
            out = out + bias
        return out, mean, rstd

    def mean(self, *, x):
        return reduce.mean(x, axis=1, keepdims=True)

    def rstd(self, *, x):
        centred = x - self.mean(x=x)
        return 1.0 / elementwise.sqrt(reduce.mean(centred * centred, axis=1, keepdims=True) + self.eps)

    def grad_x(self, g, *, x, mean, rstd, weight):
        normal = (x - mean) * rstd
        h = g if weight is None else g * weight
        along = reduce.mean(h * normal, axis=1, keepdims=True)
        return rstd * (h - reduce.mean(h, axis=1, keepdims=True) - normal * along)

    def grad_weight(self, g, *, x, mean, rstd):
        return reduce.sum(g * ((x - mean) * rstd), axis=0)

    def grad_bias(self, g):
        return reduce.sum(g, axis=0)


class BatchNorm(Op):
    """out = (x - m) r w + b in each channel, over samples and places: Ioffe & Szegedy's algorithm 1

    m and v are mean and biased variance over the batch, r = 1/sqrt(v + eps); gradients as in `LayerNorm`, with the
    means over the batch (arXiv:1502.03167). x: (samples, channels, places).
    """

    derived = ("mean", "variance", "rstd")
    whole_gradient = True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, xp, x, weight, bias):
        mean = xp.mean(x, axis=(0, 2), keepdims=True)
        centred = x - mean
        variance = xp.mean(centred * centred, axis=(0, 2), keepdims=True)
        rstd = 1.0 / xp.sqrt(variance + self.eps)
        out = centred * rstd
        if weight is not None:
            out = out * weight[:, None]
        if bias is not None:
            out = out + bias[:, None]
        return out, mean, variance, rstd

    def mean(self, *, x):
        return reduce.mean(x, axis=(0, 2), keepdims=True)

    def rstd(self, *, x):
        centred = x - self.mean(x=x)
        return 1.0 / elementwise.sqrt(reduce.mean(centred * centred, axis=(0, 2), keepdims=True) + self.eps)

    def grad_x(self, g, *, x, mean, rstd, weight):
        normal = (x - mean) * rstd
        h = g if weight is None else g * expand_dims(weight, 1)
        along = reduce.mean(h * normal, axis=(0, 2), keepdims=True)
        return rstd * (h - reduce.mean(h, axis=(0, 2), keepdims=True) - normal * along)

    def grad_weight(self, g, *, x, mean, rstd):
        return reduce.sum(g * ((x - mean) * rstd), axis=(0, 2))

    def grad_bias(self, g):
        return reduce.sum(g, axis=(0, 2))


class Dropout(Op):
    """out = x / (1 - p) where the element's random bits are kept, else 0;   the gradient is the same function of g

    Which elements are kept follows from position = [seed, offset], two uint64, alone, so the mask is drawn again and
    never stored. The position is an input, not a setting: a recorded program gets a new one at each run.
    """

    linear = True
    worth_kernel = 64  # drawing Philox numbers in NumPy takes 40 operations

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, xp, x, position):
        bits = xp.random_bits(x.size, int(position[0]), int(position[1])).reshape(x.shape)
        keep = bits >= math.floor(self.p * 2.0**32)
        return xp.where(keep, x * (1.0 / (1.0 - self.p)), 0.0)

    def grad_x(self, g, *, position):
        return apply(self, g, position)

    def tangent(self, tangents, *, position):
        """Forward mode: the same mask on the tangent."""
        return apply(self, tangents[0], position)


class Keep(Op):
    """out = which elements `Dropout` keeps, a bool: word i of the stream from position is at least floor(p 2**32)

    position = [seed, offset], as in `Dropout`. A compiled program draws the mask once, for forward and backward.
    """

    def __init__(self, p: float, shape: tuple[int, ...]) -> None:
        self.p = p
        self.shape = shape

    def forward(self, xp, position):
        bits = xp.random_bits(math.prod(self.shape), int(position[0]), int(position[1])).reshape(self.shape)
        return bits >= math.floor(self.p * 2.0**32)


class SoftmaxCrossEntropy(Op):
    """out[i] = logsumexp(x[i]) - x[i, label[i]],   d out[i]/dx[i, k] = softmax(x[i])[k] - (1 where k is the label)

    logits: (rows, classes); labels: (rows,) integers.
    """

    derived = ("logsumexp",)
    whole_gradient = True
    worth_kernel = 64

    def forward(self, xp, logits, labels):
        m = xp.max(logits, axis=1, keepdims=True)
        m = xp.where(xp.isfinite(m), m, 0.0)
        log_sum = xp.log(xp.sum(xp.exp(logits - m), axis=1, keepdims=True))
        picked = logits[xp.arange(logits.shape[0]), labels]
        return log_sum[:, 0] + (m[:, 0] - picked), log_sum + m

    def logsumexp(self, *, logits):
        from tinynn.functional import logsumexp

        return logsumexp(logits, axis=1, keepdims=True)

    def grad_logits(self, g, *, logits, labels, logsumexp):
        g = expand_dims(g, 1)
        softmax = elementwise.exp(logits - logsumexp)
        softmax = softmax / reduce.sum(softmax, axis=1, keepdims=True)  # logsumexp near 1e4 is known to 1e-3 in float32
        rows, n = np.arange(logits.shape[0]), tuple(logits.shape)
        return g * softmax - apply(Scatter((ARRAY, ARRAY), n), reshape(g, (-1,)), rows, labels)


def layer_norm(
    x: Any, normalized_shape: tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean)/sqrt(var + eps) * weight + bias over the last axes, which have ``normalized_shape``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.layer_norm(tinynn.tensor([[1.0, 3.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.]])
    """
    shape = tuple(x.shape)
    n = tuple(normalized_shape)
    if shape[len(shape) - len(n) :] != n or not n:
        raise ValueError(f"layer_norm: the last axes of x, of shape {shape}, must be normalized_shape = {n}")
    rows = reshape(x, (-1, math.prod(n))) if math.prod(n) else x
    weight = None if weight is None else reshape(weight, (-1,))
    bias = None if bias is None else reshape(bias, (-1,))
    return reshape(apply(LayerNorm(eps), rows, weight, bias), shape)


def batch_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> tuple[Any, Any, Any]:
    """(x - mean)/sqrt(var + eps) * weight + bias in each channel, with the statistics of the batch.

    Parameters
    ----------
    x : (samples, channels, ...)
    weight, bias : (channels,) or None

    Returns
    -------
    out, and mean and biased variance of the batch as constant tensors of shape (channels,)
    """
    from tinynn.tensor import Tensor

    shape = tuple(x.shape)
    out, (mean, variance, _) = apply(BatchNorm(eps), reshape(x, (*shape[:2], -1)), weight, bias, with_derived=True)
    # as Tensors through the door: an observer that records a program follows the statistics
    return reshape(out, shape), reshape(Tensor(mean), (-1,)), reshape(Tensor(variance), (-1,))


def dropout(x: Any, p: float, seed: int, offset: int = 0) -> Any:
    """x / (1 - p) for a random choice of elements, 0 for the others; the choice follows from (seed, offset).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ops.neural.dropout(tinynn.ones(4), 0.5, seed=1).shape
    (4,)
    """
    return dropout_at(x, p, np.array([seed, offset], np.uint64))


def dropout_at(x: Any, p: float, position: Any) -> Any:
    """`dropout` with the choice at position = [seed, offset] of the streams of random numbers, two uint64."""
    if p == 1.0:
        return x * 0.0
    return apply(Dropout(p), x, position) if p else x


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """-log softmax(logits)[label] for each row, without overflow.

    Parameters
    ----------
    logits : (rows, classes)
    labels : (rows,), integers in 0 ... classes - 1 (not checked here)

    Examples
    --------
    >>> import numpy as np, tinynn
    >>> tinynn.ops.neural.softmax_cross_entropy(tinynn.tensor([[0.0, 0.0]]), np.array([1]))
    tensor([0.69314718])
    """
    return apply(SoftmaxCrossEntropy(), logits, labels)
