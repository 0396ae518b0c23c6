"""The loops of batch normalisation, for the two shapes that an array (N, C, L) can have.

*planes*: L is long (images). The array is read as N * C rows of L values; row r belongs to channel r % C.
*columns*: L is short, or 1 (a matrix of features). The array is read as N rows of C * L columns, and the
loops run along a row, so that neighbouring columns share a vector register.

Where planes are made of whole vector registers, two *register* loops take the place of the plain ones. They
can write past the caches.

Each kernel works on a range of items, which threads can share. Reductions write one slot per chunk of rows,
in float64; the slots are combined in ``normalization``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .simd import REGISTER_BYTES, drain, load, multiply_add, splat, store, stream

__all__ = [
    "columns_dx",
    "columns_moments",
    "columns_normalise",
    "columns_sums",
    "finish_moments",
    "finish_sums",
    "planes_dx",
    "planes_moments",
    "planes_normalise",
    "planes_sums",
    "register_dx",
    "register_normalise",
    "row_moments",
    "row_sum",
]

Array = NDArray[Any]

REDUCE = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}, "forceinline": True}
LOOP = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "nogil": True}

_BLOCK = 32768  # elements of a matrix that are read twice while they are in the cache


@njit(cache=True, **REDUCE)
def row_sum(x: Array, row: int) -> Any:
    """Return sum_j x[row, j]."""
    total = x.dtype.type(0)
    for j in range(x.shape[1]):
        total += x[row, j]
    return total


@njit(cache=True, **REDUCE)
def row_moments(x: Array, row: int, centre: Any) -> tuple[Any, Any]:
    """Return sum_j d and sum_j d**2 for d = x[row, j] - centre; the first is what the centre is off by."""
    first, second = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.shape[1]):
        d = x[row, j] - centre
        first += d
        second += d * d
    return first, second


@njit(cache=True, **LOOP)
def planes_moments(first: int, last: int, size: int, x: Array, means: Array, squares: Array) -> None:
    """For chunks of ``size`` samples: the mean of each channel and the sum of squares about it.

    A row with mean b and sum of squares q joins a set of n values with mean a (Chan, k = values in a row)::

        d = b - a,    a += d * k / (n + k),    squares += q + d**2 * n * k / (n + k)
    """
    channels = means.shape[1]
    samples, width = x.shape[0] // channels, np.float64(x.shape[1])
    for chunk in range(first, last):
        for c in range(channels):
            means[chunk, c] = 0.0
            squares[chunk, c] = 0.0
        n = 0.0
        for sample in range(chunk * size, min((chunk + 1) * size, samples)):
            share = width / (n + width)
            for c in range(channels):
                row = sample * channels + c
                centre = row_sum(x, row) / x.dtype.type(width)
                left, square = row_moments(x, row, centre)
                rest = np.float64(left) / width
                d = (np.float64(centre) - means[chunk, c]) + rest
                means[chunk, c] += d * share
                squares[chunk, c] += (np.float64(square) - width * rest * rest) + d * d * n * share
            n += width


@njit(cache=True, **LOOP)
def finish_moments(
    means: Array, squares: Array, size: int, samples: int, length: int, weight: Array, bias: Array, eps:
    float, mean: Array, var: Array, rstd: Array, centre: Array, scale: Array, shift: Array,
) -> None:  # fmt: skip
    """Combine slots (S, C, K) to the moments of C channels, and to what ``normalise`` loops need.

    K is 1 for planes and ``length`` for columns; centre, scale and shift have C * K elements.
    """
    slots, channels, columns = means.shape
    values = float(samples * length)
    for c in range(channels):
        total = 0.0
        for s in range(slots):
            count = float(min(size, samples - s * size) * (length // columns))
            for k in range(columns):
                total += means[s, c, k] * count
        m, square = total / values, 0.0
        for s in range(slots):
            count = float(min(size, samples - s * size) * (length // columns))
            for k in range(columns):
                square += squares[s, c, k] + count * (means[s, c, k] - m) ** 2
        v = square / values
        r = 1.0 / np.sqrt(v + eps)
        mean[c], var[c], rstd[c] = m, v, r
        for k in range(c * columns, (c + 1) * columns):
            centre[k], scale[k] = mean[c], r * weight[c]
            shift[k] = bias[c] - (m - mean[c]) * (r * weight[c])  # what rounding took from the mean


@njit(cache=True, **LOOP)
def finish_sums(
    plain: Array, weighted: Array, values: int, mean: Array, rstd: Array, weight: Array, dweight: Array,
    dbias: Array, centre: Array, scale: Array, slope: Array, level: Array,
) -> None:  # fmt: skip
    """Combine slots (S, C, K) of sums to dweight and dbias, and to what the ``dx`` loops need."""
    slots, channels, columns = plain.shape
    for c in range(channels):
        sum_g, sum_gx = 0.0, 0.0
        for s in range(slots):
            for k in range(columns):
                sum_g += plain[s, c, k]
                sum_gx += weighted[s, c, k]
        r = np.float64(rstd[c])
        dweight[c], dbias[c] = sum_gx * r, sum_g
        a = r * weight[c]
        for k in range(c * columns, (c + 1) * columns):
            centre[k], scale[k] = mean[c], a
            slope[k], level[k] = a * r * r * sum_gx / values, a * sum_g / values


@njit(cache=True, **LOOP)
def planes_normalise(first: int, last: int, x: Array, mean: Array, scale: Array, shift: Array, out: Array) -> None:
    """out = (x - mean) * scale + shift, for rows first to last."""
    channels = mean.size
    for row in range(first, last):
        c = row % channels
        m, a, b = mean[c], scale[c], shift[c]
        for j in range(x.shape[1]):
            out[row, j] = (x[row, j] - m) * a + b


@njit(cache=True, **LOOP)
def register_normalise(
    first: int, last: int, x: Array, mean: Array, scale: Array, shift: Array, out: Array, streaming: bool
) -> None:
    """As ``planes_normalise``, for rows of whole registers."""
    flat_x, flat_out, width = x.reshape(-1), out.reshape(-1), np.uint64(x.shape[1])
    step, one = np.uint64(REGISTER_BYTES // x.itemsize), splat(x.dtype.type(1))
    for row in range(first, last):
        c, start = row % mean.size, np.uint64(row) * width
        m, a, b = splat(-mean[c]), splat(scale[c]), splat(shift[c])
        for j in range(start, start + width, step):
            d = multiply_add(load(flat_x, j), one, m)
            if streaming:
                stream(flat_out, j, multiply_add(d, a, b))
            else:
                store(flat_out, j, multiply_add(d, a, b))
    if streaming:
        drain()


@njit(cache=True, **REDUCE)
def _row_products(g: Array, x: Array, row: int, centre: Any) -> tuple[Any, Any]:
    """Return sum_j g and sum_j g * (x - centre)."""
    plain, weighted = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.shape[1]):
        plain += g[row, j]
        weighted += g[row, j] * (x[row, j] - centre)
    return plain, weighted


@njit(cache=True, **LOOP)
def planes_sums(
    first: int, last: int, size: int, g: Array, x: Array, mean: Array, plain: Array, weighted: Array
) -> None:
    """For chunks of ``size`` samples: sums over a channel of g and of g * (x - mean)."""
    channels = mean.size
    samples = x.shape[0] // channels
    for chunk in range(first, last):
        for c in range(channels):
            plain[chunk, c] = 0.0
            weighted[chunk, c] = 0.0
        for sample in range(chunk * size, min((chunk + 1) * size, samples)):
            for c in range(channels):
                p, w = _row_products(g, x, sample * channels + c, mean[c])
                plain[chunk, c] += p
                weighted[chunk, c] += w


@njit(cache=True, **LOOP)
def planes_dx(
    first: int,
    last: int,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    slope: Array,
    level: Array,
    dx: Array,
) -> None:
    """dx = g * scale - (x - mean) * slope - level, for rows first to last."""
    channels = mean.size
    for row in range(first, last):
        c = row % channels
        m, a, s, b = mean[c], scale[c], slope[c], level[c]
        for j in range(x.shape[1]):
            dx[row, j] = g[row, j] * a - (x[row, j] - m) * s - b


@njit(cache=True, **LOOP)
def register_dx(
    first: int,
    last: int,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    slope: Array,
    level: Array,
    dx: Array,
    streaming: bool,
) -> None:
    """As ``planes_dx``, for rows of whole registers."""
    flat_g, flat_x, flat_dx, width = g.reshape(-1), x.reshape(-1), dx.reshape(-1), np.uint64(x.shape[1])
    step, one = np.uint64(REGISTER_BYTES // x.itemsize), splat(x.dtype.type(1))
    for row in range(first, last):
        c, start = row % mean.size, np.uint64(row) * width
        m, a, s, b = splat(-mean[c]), splat(scale[c]), splat(-slope[c]), splat(-level[c])
        for j in range(start, start + width, step):
            d = multiply_add(load(flat_x, j), one, m)
            value = multiply_add(load(flat_g, j), a, multiply_add(d, s, b))
            if streaming:
                stream(flat_dx, j, value)
            else:
                store(flat_dx, j, value)
    if streaming:
        drain()


@njit(cache=True, **LOOP, forceinline=True)
def _add_rows(x: Array, top: int, bottom: int, total: Array) -> None:
    """total[j] += sum of x[top:bottom, j] - x[top, j].

    The first row is subtracted because sums of large numbers are rounded more coarsely than sums of
    differences.
    """
    for row in range(top, bottom):
        for j in range(x.shape[1]):
            total[j] += x[row, j] - x[top, j]


@njit(cache=True, **LOOP, forceinline=True)
def _add_squares(x: Array, top: int, bottom: int, centre: Array, total: Array) -> None:
    """total[j] += sum of (x[top:bottom, j] - centre[j])**2."""
    for row in range(top, bottom):
        for j in range(x.shape[1]):
            d = x[row, j] - centre[j]
            total[j] += d * d


@njit(cache=True, **LOOP)
def _join(x: Array, top: int, total: Array, square: Array, k: float, n: float, mean: Array, squares: Array) -> None:
    """Join blocks of k values to sets of n values, column by column, as in ``planes_moments``."""
    share = k / (n + k)
    for j in range(total.size):
        d = (np.float64(x[top, j]) - mean[j]) + np.float64(total[j]) / k
        mean[j] += d * share
        squares[j] += np.float64(square[j]) + d * d * n * share


@njit(cache=True, **LOOP)
def columns_moments(first: int, last: int, size: int, x: Array, means: Array, squares: Array) -> None:
    """For chunks of ``size`` rows: the mean of each column and the sum of squares about it."""
    rows, columns = x.shape
    step = max(8, _BLOCK // columns)
    total, centre, square = np.empty(columns, x.dtype), np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for chunk in range(first, last):
        mean, sum_of_squares = means[chunk], squares[chunk]
        mean[:] = 0.0
        sum_of_squares[:] = 0.0
        start, stop = chunk * size, min((chunk + 1) * size, rows)
        for top in range(start, stop, step):
            bottom = min(top + step, stop)
            part = x.dtype.type(bottom - top)
            total[:] = 0
            square[:] = 0
            _add_rows(x, top, bottom, total)
            for j in range(columns):
                centre[j] = x[top, j] + total[j] / part
            _add_squares(x, top, bottom, centre, square)
            _join(x, top, total, square, float(bottom - top), float(top - start), mean, sum_of_squares)


@njit(cache=True, **LOOP)
def columns_normalise(first: int, last: int, x: Array, mean: Array, scale: Array, shift: Array, out: Array) -> None:
    """out = (x - mean) * scale + shift, for rows first to last, with a value per column."""
    for row in range(first, last):
        for j in range(x.shape[1]):
            out[row, j] = (x[row, j] - mean[j]) * scale[j] + shift[j]


@njit(cache=True, **LOOP, forceinline=True)
def _add_products(g: Array, x: Array, top: int, bottom: int, mean: Array, plain: Array, weighted: Array) -> None:
    """plain[j] += sum of g, weighted[j] += sum of g * (x - mean[j]), over the rows from top to bottom."""
    for row in range(top, bottom):
        for j in range(x.shape[1]):
            plain[j] += g[row, j]
            weighted[j] += g[row, j] * (x[row, j] - mean[j])


@njit(cache=True, **LOOP)
def columns_sums(
    first: int, last: int, size: int, g: Array, x: Array, mean: Array, plain: Array, weighted: Array
) -> None:
    """For chunks of ``size`` rows: sums over each column of g and of g * (x - mean)."""
    rows, columns = x.shape
    p, w = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for chunk in range(first, last):
        plain_sum, weighted_sum = plain[chunk], weighted[chunk]
        plain_sum[:] = 0.0
        weighted_sum[:] = 0.0
        stop = min((chunk + 1) * size, rows)
        for top in range(chunk * size, stop, 64):
            p[:] = 0
            w[:] = 0
            _add_products(g, x, top, min(top + 64, stop), mean, p, w)
            for j in range(columns):
                plain_sum[j] += p[j]
                weighted_sum[j] += w[j]


@njit(cache=True, **LOOP)
def columns_dx(
    first: int,
    last: int,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    slope: Array,
    level: Array,
    dx: Array,
) -> None:
    """dx = g * scale - (x - mean) * slope - level, for rows first to last, with a value per column."""
    for row in range(first, last):
        for j in range(x.shape[1]):
            dx[row, j] = g[row, j] * scale[j] - (x[row, j] - mean[j]) * slope[j] - level[j]
