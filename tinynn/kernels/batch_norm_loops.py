"""The loops of batch normalisation, for the two shapes that an array (N, C, L) can have.

*planes*: L is long (images). The array is read as N * C rows of L values; row r belongs to channel r % C.
*columns*: L is short, or 1 (a matrix of features). The array is read as N rows of C * L columns, and the loops run
along a row, so that neighbouring columns share a vector register.

Each kernel works on a range of items, which threads can share. Reductions write one slot per chunk of rows, in
float64; the slots are combined in ``normalization``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "columns_dx",
    "columns_moments",
    "columns_normalise",
    "columns_sums",
    "planes_dx",
    "planes_moments",
    "planes_normalise",
    "planes_sums",
    "row_moments",
    "row_sum",
]

Array = NDArray[Any]

REDUCE = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}, "forceinline": True}
LOOP = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "nogil": True}

_BLOCK = 16384  # elements of a matrix that are read twice while they are in the cache


@njit(cache=True, **REDUCE)
def row_sum(x: Array, row: int) -> Any:
    """Return sum_j x[row, j]."""
    total = x.dtype.type(0)
    for j in range(x.shape[1]):
        total += x[row, j]
    return total


@njit(cache=True, **REDUCE)
def row_moments(x: Array, row: int, centre: Any) -> tuple[Any, Any]:
    """Return sum_j d and sum_j d**2 for d = x[row, j] - centre; the first is what rounding left in the centre."""
    first, second = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.shape[1]):
        d = x[row, j] - centre
        first += d
        second += d * d
    return first, second


@njit(cache=True, **LOOP)
def planes_moments(first: int, last: int, size: int, x: Array, channels: int, means: Array, squares: Array) -> None:
    """For chunks of ``size`` samples: the mean of each channel and the sum of squares about it.

    A row with mean b and sum of squares q joins a set of n values with mean a (Chan, k = values in a row)::

        d = b - a,    a += d * k / (n + k),    squares += q + d**2 * n * k / (n + k)
    """
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
def planes_normalise(first: int, last: int, x: Array, mean: Array, scale: Array, shift: Array, out: Array) -> None:
    """out = (x - mean) * scale + shift, for rows first to last."""
    channels = mean.size
    for row in range(first, last):
        c = row % channels
        m, a, b = mean[c], scale[c], shift[c]
        for j in range(x.shape[1]):
            out[row, j] = (x[row, j] - m) * a + b


@njit(cache=True, **REDUCE)
def _row_products(g: Array, x: Array, row: int, centre: Any) -> tuple[Any, Any]:
    """Return sum_j g and sum_j g * (x - centre)."""
    plain, weighted = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.shape[1]):
        plain += g[row, j]
        weighted += g[row, j] * (x[row, j] - centre)
    return plain, weighted


@njit(cache=True, **LOOP)
def planes_sums(first: int, last: int, size: int, g: Array, x: Array, mean: Array, plain: Array, weighted: Array) -> None:
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
    first: int, last: int, g: Array, x: Array, mean: Array, scale: Array, slope: Array, level: Array, dx: Array
) -> None:
    """dx = g * scale - (x - mean) * slope - level, for rows first to last."""
    channels = mean.size
    for row in range(first, last):
        c = row % channels
        m, a, s, b = mean[c], scale[c], slope[c], level[c]
        for j in range(x.shape[1]):
            dx[row, j] = g[row, j] * a - (x[row, j] - m) * s - b


@njit(cache=True, **LOOP, forceinline=True)
def _add_rows(x: Array, top: int, bottom: int, total: Array) -> None:
    """total[j] += sum of x[top:bottom, j] - x[top, j], four rows at a time: a quarter of the traffic for the totals.

    The first row is subtracted because sums of large numbers are rounded more coarsely than sums of differences.
    """
    fours = top + (bottom - top) // 4 * 4
    for row in range(top, fours, 4):
        for j in range(x.shape[1]):
            a = x[top, j]
            total[j] += ((x[row, j] - a) + (x[row + 1, j] - a)) + ((x[row + 2, j] - a) + (x[row + 3, j] - a))
    for row in range(fours, bottom):
        for j in range(x.shape[1]):
            total[j] += x[row, j] - x[top, j]


@njit(cache=True, **REDUCE)
def _add_squares(x: Array, top: int, bottom: int, centre: Array, total: Array) -> None:
    """total[j] += sum of (x[top:bottom, j] - centre[j])**2, two rows at a time."""
    twos = top + (bottom - top) // 2 * 2
    for row in range(top, twos, 2):
        for j in range(x.shape[1]):
            d0, d1 = x[row, j] - centre[j], x[row + 1, j] - centre[j]
            total[j] += d0 * d0 + d1 * d1
    for row in range(twos, bottom):
        for j in range(x.shape[1]):
            d = x[row, j] - centre[j]
            total[j] += d * d


@njit(cache=True, **LOOP)
def _join(x: Array, top: int, total: Array, square: Array, k: float, n: float, mean: Array, squares: Array) -> None:
    """Join blocks of k values to sets of n values, column by column (Chan's formula as in ``planes_moments``)."""
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


@njit(cache=True, **REDUCE)
def _add_products(g: Array, x: Array, top: int, bottom: int, mean: Array, plain: Array, weighted: Array) -> None:
    """plain[j] += sum of g, weighted[j] += sum of g * (x - mean[j]) over rows, two rows at a time."""
    twos = top + (bottom - top) // 2 * 2
    for row in range(top, twos, 2):
        for j in range(x.shape[1]):
            m, g0, g1 = mean[j], g[row, j], g[row + 1, j]
            plain[j] += g0 + g1
            weighted[j] += g0 * (x[row, j] - m) + g1 * (x[row + 1, j] - m)
    for row in range(twos, bottom):
        for j in range(x.shape[1]):
            plain[j] += g[row, j]
            weighted[j] += g[row, j] * (x[row, j] - mean[j])


@njit(cache=True, **LOOP)
def columns_sums(first: int, last: int, size: int, g: Array, x: Array, mean: Array, plain: Array, weighted: Array) -> None:
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
    first: int, last: int, g: Array, x: Array, mean: Array, scale: Array, slope: Array, level: Array, dx: Array
) -> None:
    """dx = g * scale - (x - mean) * slope - level, for rows first to last, with a value per column."""
    for row in range(first, last):
        for j in range(x.shape[1]):
            dx[row, j] = g[row, j] * scale[j] - (x[row, j] - mean[j]) * slope[j] - level[j]
