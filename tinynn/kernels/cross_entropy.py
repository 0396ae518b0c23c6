"""Softmax cross-entropy of rows of logits with integer labels, forward and backward.

With p = softmax(x) = exp(x - logsumexp(x)), class weights w and label smoothing e over K classes::

    loss = (1 - e) * w[y] * -log p[y]  +  e / K * sum_j w[j] * -log p[j]
    dloss/dx[j] = p[j] * W - (1 - e) * w[y] * [j == y] - e / K * w[j]
    with W = (1 - e) * w[y] + e / K * sum_j w[j]

Rows whose label is ``ignore_index`` have loss and gradient 0. The largest logit is subtracted before exp, and
-log p[y] is computed as log(sum) + (max - x[y]): logits of +-1e4 and entries of -inf are fine. Backward
scales exp(x - logsumexp) by its own sum, because a logsumexp near 1e4 is only known to 1e-3 in float32.

Short rows are handled in blocks that share one loop over exp, so that ten classes fill a vector register too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .batch_norm_loops import row_sum
from .memory import aligned_empty
from .threads import share
from .vectormath import exp

__all__ = ["softmax_cross_entropy_backward", "softmax_cross_entropy_forward"]

Array = NDArray[Any]

REDUCE = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}, "forceinline": True}
LOOP = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "nogil": True}

_BLOCK = 2048  # logits that are worked on at a time, if rows are shorter


@njit(cache=True, **LOOP)
def _max_bits(bits: Array, row: int) -> Any:
    """Return the bits of the largest float in a row of bits (NaN with a clear sign bit is largest).

    A maximum of floats does not vectorise, because of NaN; one of integers does. Read as integers, floats are
    in order once all bits but the sign are flipped in negative ones, and the same step leads back.
    """
    rest = np.iinfo(bits.dtype).max
    shift = bits.dtype.type(8 * bits.itemsize - 1)
    best = bits.dtype.type(np.iinfo(bits.dtype).min)
    for j in range(bits.shape[1]):
        key = bits[row, j] ^ ((bits[row, j] >> shift) & bits.dtype.type(rest))
        best = key if key > best else best
    return best ^ ((best >> shift) & bits.dtype.type(rest))


@njit(cache=True, **REDUCE)
def _weighted_sum(z: Array, row: int, weight: Array) -> Any:
    """Return sum_j weight[j] * z[row, j]."""
    total = z.dtype.type(0)
    for j in range(weight.size):
        total += weight[j] * z[row, j]
    return total


@njit(cache=True, **LOOP)
def _exp_rows(z: Array, rows: int) -> None:
    """z = exp(z) for the first rows, in one loop over their elements."""
    flat = z.reshape(z.size)
    for k in range(rows * z.shape[1]):
        flat[k] = exp(flat[k])


@njit(cache=True, **LOOP)
def _forward(
    first: int, last: int, x: Array, bits: Array, labels: Array, weight: Array, total_weight: Any, smoothing:
    Any, ignore: int, loss: Array, logsumexp: Array,
) -> None:  # fmt: skip
    classes = x.shape[1]
    block = max(1, _BLOCK // classes)
    z, smooth = np.empty((block, classes), x.dtype), np.zeros(block, x.dtype)
    top_bits = np.empty(block, bits.dtype)
    tops = top_bits.view(x.dtype)
    for start in range(first, last, block):
        rows = min(block, last - start)
        for i in range(rows):
            top_bits[i] = _max_bits(bits, start + i)
            top = tops[i]
            for j in range(classes):
                z[i, j] = x[start + i, j] - top
            if smoothing > 0:
                smooth[i] = _weighted_sum(z, i, weight)
        _exp_rows(z, rows)
        for i in range(rows):
            row, y, log_sum = start + i, labels[start + i], np.log(row_sum(z, i))
            logsumexp[row] = tops[i] + log_sum
            if y == ignore:
                loss[row] = 0
            else:
                loss[row] = (x.dtype.type(1) - smoothing) * weight[y] * (log_sum + (tops[i] - x[row, y]))
                if smoothing > 0:
                    loss[row] += smoothing / x.dtype.type(classes) * (total_weight * log_sum - smooth[i])


@njit(cache=True, **LOOP)
def _backward(
    first: int, last: int, g: Array, x: Array, labels: Array, logsumexp: Array, weight: Array, total_weight:
    Any, smoothing: Any, ignore: int, dx: Array,
) -> None:  # fmt: skip
    classes = x.shape[1]
    block = max(1, _BLOCK // classes)
    z = np.empty((block, classes), x.dtype)
    spread = smoothing / x.dtype.type(classes)
    for start in range(first, last, block):
        rows = min(block, last - start)
        for i in range(rows):
            level = logsumexp[start + i]
            for j in range(classes):
                z[i, j] = x[start + i, j] - level
        _exp_rows(z, rows)
        for i in range(rows):
            row, y = start + i, labels[start + i]
            if y == ignore:
                dx[row] = 0
                continue
            hit = (x.dtype.type(1) - smoothing) * weight[y] * g[row]
            scale = (hit + spread * total_weight * g[row]) / row_sum(z, i)
            if smoothing > 0:
                even = spread * g[row]
                for j in range(classes):
                    dx[row, j] = z[i, j] * scale - even * weight[j]
            else:
                for j in range(classes):
                    dx[row, j] = z[i, j] * scale
            dx[row, y] -= hit


def softmax_cross_entropy_forward(
    logits: Array,
    labels: NDArray[np.integer[Any]],
    weight: Array | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> tuple[Array, Array]:
    """Return the loss of each row of logits (B, K), and the rows' logsumexp, both (B,).

    Parameters
    ----------
    labels : (B,) integers in [0, K), or ``ignore_index``.
    weight : (K,) class weights, or None for ones. The loss is not divided by them: a mean over the batch
        as in PyTorch is ``loss.sum() / weight[labels].sum()``.
    label_smoothing : e in [0, 1], the share of the target that is spread over all classes.

    Examples
    --------
    >>> loss, _ = softmax_cross_entropy_forward(np.array([[0.0, 0.0], [1e4, -1e4]]), np.array([1, 1]))
    >>> loss.round(4).tolist()
    [0.6931, 20000.0]
    """
    logits, labels, weight = _checked(logits, labels, weight, label_smoothing, ignore_index)
    loss, logsumexp = np.empty(len(logits), logits.dtype), np.empty(len(logits), logits.dtype)
    kind = logits.dtype.type
    smoothing, total = kind(label_smoothing), kind(weight.sum())
    bits = logits.view(np.int32 if logits.dtype == np.float32 else np.int64)
    values = labels, weight, total, smoothing, int(ignore_index)
    share(_forward, len(logits), 1.0 * logits.size, logits, bits, *values, loss, logsumexp)
    return loss, logsumexp


def softmax_cross_entropy_backward(
    g: Array,
    logits: Array,
    labels: NDArray[np.integer[Any]],
    logsumexp: Array,
    weight: Array | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Array:
    """Return the gradient for the logits (B, K) from the gradient g (B,) for the rows' losses.

    Examples
    --------
    >>> logits, labels = np.array([[0.0, 0.0]]), np.array([1])
    >>> _, logsumexp = softmax_cross_entropy_forward(logits, labels)
    >>> softmax_cross_entropy_backward(np.array([1.0]), logits, labels, logsumexp).round(4).tolist()
    [[0.5, -0.5]]
    """
    logits, labels, weight = _checked(logits, labels, weight, label_smoothing, ignore_index)
    if g.shape != (len(logits),):
        raise ValueError(f"g has shape {g.shape}: one number per row of logits {logits.shape} is needed")
    kind = logits.dtype.type
    smoothing, total = kind(label_smoothing), kind(weight.sum())
    dlogits = aligned_empty(logits.shape, logits.dtype)
    share(
        _backward, len(logits), 1.0 * logits.size, np.ascontiguousarray(g, logits.dtype), logits, labels,
        logsumexp, weight, total, smoothing, int(ignore_index), dlogits,
    )  # fmt: skip
    return dlogits


@njit(cache=True, **LOOP)
def _outside(labels: Array, classes: int, ignore: int) -> int:
    """Return the first row whose label is neither a class nor to be ignored, or -1."""
    for row in range(labels.size):
        if labels[row] != ignore and (labels[row] < 0 or labels[row] >= classes):
            return row
    return -1


def _checked(
    logits: Array, labels: Array, weight: Array | None, smoothing: float, ignore: int
) -> tuple[Array, NDArray[np.int64], Array]:
    """Return contiguous logits, labels and weights, or say which of them does not fit."""
    logits = np.ascontiguousarray(logits)
    if logits.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"cross-entropy of {logits.dtype}: logits must be float32 or float64; cast them first")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits have shape {logits.shape}: rows of at least one class, (B, K), are needed")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are {labels.dtype}: they are class numbers and must be integers")
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"labels have shape {labels.shape}, but logits {logits.shape} need one label per row")
    labels = np.ascontiguousarray(labels, np.int64)
    bad = _outside(labels, logits.shape[1], int(ignore))
    if bad >= 0:
        raise ValueError(
            f"label {labels[bad]} in row {bad} is no class: logits {logits.shape} have classes 0 to "
            f"{logits.shape[1] - 1}, and {ignore} marks rows to ignore"
        )
    if weight is None:
        weight = np.ones(logits.shape[1], logits.dtype)
    if weight.shape != logits.shape[1:]:
        raise ValueError(f"weight has shape {weight.shape}, but logits {logits.shape} need one weight per class")
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"label_smoothing is {smoothing}: it is a share, between 0 and 1")
    return logits, labels, np.ascontiguousarray(weight, logits.dtype)
