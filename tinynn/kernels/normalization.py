"""Layer normalisation and batch normalisation, forward and backward, on raw arrays.

Both compute, over a set of m values,

    mean = sum(x) / m,    var = sum((x - mean)**2) / m,    rstd = 1 / sqrt(var + eps)
    x_hat = (x - mean) * rstd,    out = x_hat * weight + bias

and backward, with h = g * weight and means over the same set,

    dx = rstd * (h - mean(h) - x_hat * mean(h * x_hat)),    dweight = sum(g * x_hat),    dbias = sum(g)

The variance is never E[x**2] - E[x]**2: values are taken about a centre close to their mean, and what was
found in pieces is combined with Chan's formula. The order of all sums depends on shapes only, not on the
number of threads.

Sources: J. L. Ba, J. R. Kiros, G. E. Hinton, arXiv:1607.06450; S. Ioffe, C. Szegedy, arXiv:1502.03167;
T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37 (1983) 242.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import batch_norm_loops as loops
from . import layer_norm_loops as rows
from .memory import empty_apart, worth_streaming
from .simd import fits_registers
from .threads import share

__all__ = ["batch_norm_backward", "batch_norm_forward", "layer_norm_backward", "layer_norm_forward"]

Array = NDArray[Any]

_LARGE = 1 << 20  # bytes of x from which it pays to choose where the arrays beside it begin
_LONG = 16  # from this length on, the last axis of (N, C, L) is worth a loop of its own


def layer_norm_forward(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """Normalise each row of x (R, C) and return out (R, C), mean (R,), rstd (R,).

    ``weight`` and ``bias`` have shape (C,); None stands for ones and zeros.

    Examples
    --------
    >>> out, mean, rstd = layer_norm_forward(np.array([[1.0, 3.0], [5.0, 5.0]]), None, None, eps=0.0625)
    >>> mean.tolist(), rstd.round(3).tolist()
    ([2.0, 5.0], [0.97, 4.0])
    """
    x, weight, bias = _checked("layer_norm", x, 2, weight, bias)
    mean, rstd = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    out = _result(x)
    if x.nbytes >= _LARGE:
        weight, bias = _copy_apart(weight, x, quarters=1), _copy_apart(bias, x, quarters=3)
    work = x, weight, bias, x.dtype.type(eps), out, mean, rstd
    if fits_registers(x, at_once=2):
        share(rows.register_forward, len(x), 0.2 * x.size, *work, worth_streaming(out))
    else:
        share(rows.plain_forward, len(x), 0.3 * x.size, *work)
    return out, mean, rstd


def layer_norm_backward(
    g: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    need_weight: bool = True,
    need_bias: bool = True,
) -> tuple[Array, Array | None, Array | None]:
    """Return dx (R, C), and dweight and dbias (C,) where they are needed, from the gradient g (R, C) for out.

    Examples
    --------
    >>> x = np.array([[1.0, 3.0]])
    >>> _, mean, rstd = layer_norm_forward(x, None, None, eps=0.0)
    >>> [part.tolist() for part in layer_norm_backward(np.array([[1.0, 1.0]]), x, mean, rstd, None)]
    [[[0.0, 0.0]], [-1.0, 1.0], [1.0, 1.0]]
    """
    x, weight, _ = _checked("layer_norm", x, 2, weight, None)
    g = _like(g, x)
    slots = -(-len(x) // rows.ROWS_PER_SLOT)
    dx, shape = _result(x), (slots, x.shape[1])
    if x.nbytes < _LARGE:
        dweight, dbias = np.empty((2, *shape), x.dtype)
    else:
        dweight, dbias = (empty_apart(shape, x.dtype, x, quarters) for quarters in (1, 2))
        weight = _copy_apart(weight, x, quarters=3)
    work = g, x, mean, rstd, weight, dx, dweight, dbias
    if fits_registers(x, at_once=2):
        share(rows.register_backward, slots, 0.4 * x.size, *work, worth_streaming(dx))
    else:
        share(rows.plain_backward, slots, 0.6 * x.size, *work)
    return dx, dweight.sum(axis=0) if need_weight else None, dbias.sum(axis=0) if need_bias else None


def batch_norm_forward(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Normalise each channel of x (N, C, L) or (N, C); return out, mean (C,), var (C,) and rstd (C,).

    ``var`` is the biased variance (divided by N * L). ``weight`` and ``bias`` have shape (C,); None stands
    for ones and zeros.

    Examples
    --------
    >>> x = np.array([[1.0, 10.0], [3.0, 10.0]])
    >>> out, mean, var, rstd = batch_norm_forward(x, None, None, eps=0.0625)
    >>> mean.tolist(), var.tolist(), out.round(3).tolist()
    ([2.0, 10.0], [1.0, 0.0], [[-0.97, 0.0], [0.97, 0.0]])
    """
    x, weight, bias = _checked("batch_norm", x, 3 if np.ndim(x) == 3 else 2, weight, bias)
    view, channels, columns, length = _view(x)
    slots, size = _slots(len(x), channels * length)
    means, squares = np.empty((2, slots, channels * columns))
    moments = loops.planes_moments if columns < length else loops.columns_moments
    share(moments, slots, 0.3 * x.size, size, view, means, squares)
    mean, var, rstd = np.empty((3, channels), x.dtype)
    centre, scale, shift = np.empty((3, channels * columns), x.dtype)
    shape = slots, channels, columns
    loops.finish_moments(
        means.reshape(shape), squares.reshape(shape), size, len(x), length, weight, bias, float(eps), mean,
        var, rstd, centre, scale, shift,
    )  # fmt: skip
    out = _result(x)
    work = len(view), 0.3 * x.size, view, centre, scale, shift, out.reshape(view.shape)
    if columns == length:
        share(loops.columns_normalise, *work)
    elif fits_registers(view):
        share(loops.register_normalise, *work, worth_streaming(out))
    else:
        share(loops.planes_normalise, *work)
    return out, mean, var, rstd


def batch_norm_backward(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    """Return dx, dweight (C,) and dbias (C,) from the gradient g for out; x is (N, C, L) or (N, C).

    The mean and rstd are those of the batch, which depend on x: this is the derivative in training.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> _, mean, _, rstd = batch_norm_forward(x, None, None, eps=0.0)
    >>> [part.tolist() for part in batch_norm_backward(np.array([[1.0], [0.0]]), x, mean, rstd, None)]
    [[[0.0], [0.0]], [-1.0], [1.0]]
    """
    x, weight, _ = _checked("batch_norm", x, 3 if np.ndim(x) == 3 else 2, weight, None)
    g = _like(g, x)
    view, channels, columns, length = _view(x)
    lines = g.reshape(view.shape)
    slots, size = _slots(len(x), channels * length)
    plain, weighted = np.empty((2, slots, channels * columns))
    sums = loops.planes_sums if columns < length else loops.columns_sums
    per_column = mean if columns == 1 else np.repeat(mean, columns)
    share(sums, slots, 0.3 * x.size, size, lines, view, per_column, plain, weighted)
    dweight, dbias = np.empty((2, channels), x.dtype)
    centre, scale, slope, level = np.empty((4, channels * columns), x.dtype)
    shape = slots, channels, columns
    loops.finish_sums(
        plain.reshape(shape), weighted.reshape(shape), len(x) * length, mean, rstd, weight, dweight, dbias,
        centre, scale, slope, level,
    )  # fmt: skip
    dx = _result(x)
    work = len(view), 0.3 * x.size, lines, view, centre, scale, slope, level, dx.reshape(view.shape)
    if columns == length:
        share(loops.columns_dx, *work)
    elif fits_registers(view):
        share(loops.register_dx, *work, worth_streaming(dx))
    else:
        share(loops.planes_dx, *work)
    return dx, dweight, dbias


def _result(x: Array) -> Array:
    """Return an empty array for what becomes of x."""
    return np.empty_like(x) if x.nbytes < _LARGE else empty_apart(x.shape, x.dtype, x, quarters=2)


def _copy_apart(array: Array, other: Array, quarters: int) -> Array:
    """Return a copy that is placed as `empty_apart` says."""
    copy = empty_apart(array.shape, array.dtype, other, quarters)
    copy[...] = array
    return copy


def _view(x: Array) -> tuple[Array, int, int, int]:
    """Return x as the matrix that the loops read, the channels, the matrix columns per channel, and the
    length L.

    Planes have a row per sample and channel, and count as one column; otherwise there are L columns per
    channel.
    """
    samples, channels, length = x.shape if x.ndim == 3 else (*x.shape, 1)
    if length >= _LONG:
        return x.reshape(samples * channels, length), channels, 1, length
    return x.reshape(samples, channels * length), channels, length, length


def _slots(samples: int, per_sample: int) -> tuple[int, int]:
    """Return how many slots the samples are summed in (at most 64), and how many samples a slot takes."""
    size = max(1, -(-samples // 64), 16384 // per_sample)
    return -(-samples // size), size


def _checked(name: str, x: Array, ndim: int, weight: Array | None, bias: Array | None) -> tuple[Array, Array, Array]:
    """Return contiguous x, weight and bias (ones and zeros for None), or say which of them does not fit."""
    x = np.ascontiguousarray(x)
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{name} of {x.dtype}: x must be float32 or float64; cast it first")
    if x.ndim != ndim:
        raise ValueError(f"{name}: x has shape {x.shape}, but {ndim} axes are needed; reshape it first")
    size = x.shape[1]
    over = size if name == "layer_norm" else x.shape[0] * x.size
    if over == 0:
        raise ValueError(f"{name}: x has shape {x.shape}, so there is no value to take a mean over")
    parts = []
    for label, part, default in (("weight", weight, np.ones), ("bias", bias, np.zeros)):
        if part is None:
            part = default(size, x.dtype)
        if part.shape != (size,) or part.dtype != x.dtype:
            raise ValueError(
                f"{name}: {label} is {part.dtype} of shape {part.shape}; for x of shape {x.shape} it must be "
                f"{x.dtype} of shape ({size},)"
            )
        parts.append(np.ascontiguousarray(part))
    return x, parts[0], parts[1]


def _like(g: Array, x: Array) -> Array:
    """Return the gradient as a contiguous array of x's dtype, or say that its shape is not that of x."""
    if g.shape != x.shape:
        raise ValueError(f"g has shape {g.shape}, but the output it is the gradient for has shape {x.shape}")
    return np.ascontiguousarray(g, x.dtype)
