"""The two inner products of convolution: weights times shifted rows, and rows dotted with shifted rows.

A plane stored row after row, with its padding, turns a shift by (a, b) into a shift by a * width + b of one long
vector. Convolution is then a matrix product whose second matrix is never formed: its row t is the vector
``source[offsets[t]:]``. Both functions work on blocks of 4 x 4 (rows by shifts), so that sixteen multiplications share
eight loads, and their inner loops are long, contiguous and free of branches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_products", "add_shifted", "round_up"]

Array = NDArray[Any]

LOOP = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "nogil": True}
INNER = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "forceinline": True}
REDUCE = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}, "forceinline": True}

_PART = 1024  # elements of a row that are worked on at a time: four rows of results stay in the first cache

U = np.uint64  # unsigned indices: signed ones are tested for "from the end", and the loop stays scalar


def round_up(count: int, multiple: int) -> int:
    """Return the smallest multiple that is not below count.

    Examples
    --------
    >>> round_up(10, 4), round_up(8, 4)
    (12, 8)
    """
    return -(-count // multiple) * multiple


@njit(cache=True, **INNER)
def _four_rows(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, t: int, at: int, n: int) -> None:
    """y[rows[m + a] + i] += sum over b of w[m + a, t + b] * x[offsets[t + b] + i], for a, b in 0..3."""
    o0, o1 = U(offsets[t] + at), U(offsets[t + 1] + at)
    o2, o3 = U(offsets[t + 2] + at), U(offsets[t + 3] + at)
    r0, r1, r2, r3 = U(rows[m] + at), U(rows[m + 1] + at), U(rows[m + 2] + at), U(rows[m + 3] + at)
    w00, w01, w02, w03 = w[m, t], w[m, t + 1], w[m, t + 2], w[m, t + 3]
    w10, w11, w12, w13 = w[m + 1, t], w[m + 1, t + 1], w[m + 1, t + 2], w[m + 1, t + 3]
    w20, w21, w22, w23 = w[m + 2, t], w[m + 2, t + 1], w[m + 2, t + 2], w[m + 2, t + 3]
    w30, w31, w32, w33 = w[m + 3, t], w[m + 3, t + 1], w[m + 3, t + 2], w[m + 3, t + 3]
    for i in range(U(n)):
        x0, x1, x2, x3 = x[o0 + i], x[o1 + i], x[o2 + i], x[o3 + i]
        y[r0 + i] += w00 * x0 + w01 * x1 + w02 * x2 + w03 * x3
        y[r1 + i] += w10 * x0 + w11 * x1 + w12 * x2 + w13 * x3
        y[r2 + i] += w20 * x0 + w21 * x1 + w22 * x2 + w23 * x3
        y[r3 + i] += w30 * x0 + w31 * x1 + w32 * x2 + w33 * x3


@njit(cache=True, **INNER)
def _two_rows(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, t: int, at: int, n: int) -> None:
    o0, o1 = U(offsets[t] + at), U(offsets[t + 1] + at)
    o2, o3 = U(offsets[t + 2] + at), U(offsets[t + 3] + at)
    r0, r1 = U(rows[m] + at), U(rows[m + 1] + at)
    w00, w01, w02, w03 = w[m, t], w[m, t + 1], w[m, t + 2], w[m, t + 3]
    w10, w11, w12, w13 = w[m + 1, t], w[m + 1, t + 1], w[m + 1, t + 2], w[m + 1, t + 3]
    for i in range(U(n)):
        x0, x1, x2, x3 = x[o0 + i], x[o1 + i], x[o2 + i], x[o3 + i]
        y[r0 + i] += w00 * x0 + w01 * x1 + w02 * x2 + w03 * x3
        y[r1 + i] += w10 * x0 + w11 * x1 + w12 * x2 + w13 * x3


@njit(cache=True, **INNER)
def _one_row(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, t: int, at: int, n: int) -> None:
    o0, o1 = U(offsets[t] + at), U(offsets[t + 1] + at)
    o2, o3 = U(offsets[t + 2] + at), U(offsets[t + 3] + at)
    r0 = U(rows[m] + at)
    w00, w01, w02, w03 = w[m, t], w[m, t + 1], w[m, t + 2], w[m, t + 3]
    for i in range(U(n)):
        y[r0 + i] += w00 * x[o0 + i] + w01 * x[o1 + i] + w02 * x[o2 + i] + w03 * x[o3 + i]


@njit(cache=True, **LOOP)
def add_shifted(y: Array, rows: Array, w: Array, x: Array, offsets: Array, n: int) -> None:
    """y[rows[m] + i] += sum_t w[m, t] * x[offsets[t] + i]  for all m and for i < n.

    ``y`` and ``x`` are flat. The number of shifts must be a multiple of four: fill up with weights of zero and with
    shifts to where x holds n zeros.
    """
    for at in range(0, n, _PART):
        part = min(_PART, n - at)
        m = 0
        while m < rows.size:
            if m + 4 <= rows.size:
                for t in range(0, offsets.size, 4):
                    _four_rows(y, rows, w, m, x, offsets, t, at, part)
                m += 4
            elif m + 2 <= rows.size:
                for t in range(0, offsets.size, 4):
                    _two_rows(y, rows, w, m, x, offsets, t, at, part)
                m += 2
            else:
                for t in range(0, offsets.size, 4):
                    _one_row(y, rows, w, m, x, offsets, t, at, part)
                m += 1


@njit(cache=True, **REDUCE)
def _four_dots(
    d: Array, g: Array, rows: Array, m: int, x: Array, offsets: Array, t: int, n: int
) -> None:
    r0, r1, r2, r3 = U(rows[m]), U(rows[m + 1]), U(rows[m + 2]), U(rows[m + 3])
    o0, o1, o2, o3 = U(offsets[t]), U(offsets[t + 1]), U(offsets[t + 2]), U(offsets[t + 3])
    d00, d01, d02, d03 = d[m, t], d[m, t + 1], d[m, t + 2], d[m, t + 3]
    d10, d11, d12, d13 = d[m + 1, t], d[m + 1, t + 1], d[m + 1, t + 2], d[m + 1, t + 3]
    d20, d21, d22, d23 = d[m + 2, t], d[m + 2, t + 1], d[m + 2, t + 2], d[m + 2, t + 3]
    d30, d31, d32, d33 = d[m + 3, t], d[m + 3, t + 1], d[m + 3, t + 2], d[m + 3, t + 3]
    for i in range(U(n)):
        x0, x1, x2, x3 = x[o0 + i], x[o1 + i], x[o2 + i], x[o3 + i]
        g0, g1, g2, g3 = g[r0 + i], g[r1 + i], g[r2 + i], g[r3 + i]
        d00 += g0 * x0
        d01 += g0 * x1
        d02 += g0 * x2
        d03 += g0 * x3
        d10 += g1 * x0
        d11 += g1 * x1
        d12 += g1 * x2
        d13 += g1 * x3
        d20 += g2 * x0
        d21 += g2 * x1
        d22 += g2 * x2
        d23 += g2 * x3
        d30 += g3 * x0
        d31 += g3 * x1
        d32 += g3 * x2
        d33 += g3 * x3
    d[m, t], d[m, t + 1], d[m, t + 2], d[m, t + 3] = d00, d01, d02, d03
    d[m + 1, t], d[m + 1, t + 1], d[m + 1, t + 2], d[m + 1, t + 3] = d10, d11, d12, d13
    d[m + 2, t], d[m + 2, t + 1], d[m + 2, t + 2], d[m + 2, t + 3] = d20, d21, d22, d23
    d[m + 3, t], d[m + 3, t + 1], d[m + 3, t + 2], d[m + 3, t + 3] = d30, d31, d32, d33


@njit(cache=True, **REDUCE)
def _two_dots(d: Array, g: Array, rows: Array, m: int, x: Array, offsets: Array, t: int, n: int) -> None:
    r0, r1 = U(rows[m]), U(rows[m + 1])
    o0, o1, o2, o3 = U(offsets[t]), U(offsets[t + 1]), U(offsets[t + 2]), U(offsets[t + 3])
    d00, d01, d02, d03 = d[m, t], d[m, t + 1], d[m, t + 2], d[m, t + 3]
    d10, d11, d12, d13 = d[m + 1, t], d[m + 1, t + 1], d[m + 1, t + 2], d[m + 1, t + 3]
    for i in range(U(n)):
        x0, x1, x2, x3 = x[o0 + i], x[o1 + i], x[o2 + i], x[o3 + i]
        g0, g1 = g[r0 + i], g[r1 + i]
        d00 += g0 * x0
        d01 += g0 * x1
        d02 += g0 * x2
        d03 += g0 * x3
        d10 += g1 * x0
        d11 += g1 * x1
        d12 += g1 * x2
        d13 += g1 * x3
    d[m, t], d[m, t + 1], d[m, t + 2], d[m, t + 3] = d00, d01, d02, d03
    d[m + 1, t], d[m + 1, t + 1], d[m + 1, t + 2], d[m + 1, t + 3] = d10, d11, d12, d13


@njit(cache=True, **REDUCE)
def _one_dot(d: Array, g: Array, rows: Array, m: int, x: Array, offsets: Array, t: int, n: int) -> None:
    r0 = U(rows[m])
    o0, o1, o2, o3 = U(offsets[t]), U(offsets[t + 1]), U(offsets[t + 2]), U(offsets[t + 3])
    d00, d01, d02, d03 = d[m, t], d[m, t + 1], d[m, t + 2], d[m, t + 3]
    for i in range(U(n)):
        g0 = g[r0 + i]
        d00 += g0 * x[o0 + i]
        d01 += g0 * x[o1 + i]
        d02 += g0 * x[o2 + i]
        d03 += g0 * x[o3 + i]
    d[m, t], d[m, t + 1], d[m, t + 2], d[m, t + 3] = d00, d01, d02, d03


@njit(cache=True, **LOOP)
def add_products(d: Array, g: Array, rows: Array, x: Array, offsets: Array, n: int) -> None:
    """d[m, t] += sum over i < n of g[rows[m] + i] * x[offsets[t] + i].

    ``g`` and ``x`` are flat. The number of shifts must be a multiple of four: fill up with repeated ones.
    """
    m = 0
    while m < rows.size:
        if m + 4 <= rows.size:
            for t in range(0, offsets.size, 4):
                _four_dots(d, g, rows, m, x, offsets, t, n)
            m += 4
        elif m + 2 <= rows.size:
            for t in range(0, offsets.size, 4):
                _two_dots(d, g, rows, m, x, offsets, t, n)
            m += 2
        else:
            for t in range(0, offsets.size, 4):
                _one_dot(d, g, rows, m, x, offsets, t, n)
            m += 1
