"""The two inner products of convolution: weights times shifted rows, and rows dotted with shifted rows.

A plane stored row after row, with its padding, turns a shift by (a, b) into a shift by a * width + b of one
long vector. Convolution is then a matrix product whose second matrix is never formed: its row t is the vector
``source[offsets[t]:]``. Results are held in vector registers, four rows by three registers at a time
(products) or four rows by four shifts (dots), so that twelve or sixteen multiplications share seven or eight
loads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from .simd import REGISTER_BYTES, load, multiply_add, splat, store, sum_of_lanes

__all__ = ["LOOP", "add_products", "add_products_plain", "add_shifted", "add_shifted_plain", "round_up"]

Array = NDArray[Any]

LOOP = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "nogil": True}
TILE = {"error_model": "numpy", "forceinline": True}

U = np.uint64  # unsigned indices: signed ones are tested for "negative, so count from the end"


def round_up(count: int, multiple: int) -> int:
    """Return the smallest multiple that is not below count.

    Examples
    --------
    >>> round_up(10, 4), round_up(8, 4)
    (12, 8)
    """
    return -(-count // multiple) * multiple


@njit(cache=True, **LOOP)
def add_shifted_plain(y: Array, rows: Array, w: Array, x: Array, offsets: Array, n: int) -> None:
    """``add_shifted`` as one would write it down."""
    for m in range(rows.size):
        for t in range(offsets.size):
            for i in range(n):
                y[rows[m] + i] += w[m, t] * x[offsets[t] + i]


@njit(cache=True, **LOOP)
def add_products_plain(
    d: Array, g: Array, rows: Array, x: Array, offsets: Array, n: int, repeats: int, pitch: int
) -> None:
    """``add_products`` as one would write it down."""
    for m in range(rows.size):
        for t in range(offsets.size):
            for r in range(repeats):
                for i in range(r * pitch, r * pitch + n):
                    d[m, t] += g[rows[m] + i] * x[offsets[t] + i]


@njit(cache=True, **TILE)
def _tile_4x3(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, i: np.uint64) -> None:
    """y[rows[m + a] + i + lanes] += sum_t w[m + a, t] * x[offsets[t] + i + lanes], three registers wide."""
    one, two = U(REGISTER_BYTES // y.itemsize), U(2 * (REGISTER_BYTES // y.itemsize))
    r0, r1, r2, r3 = U(rows[m]) + i, U(rows[m + 1]) + i, U(rows[m + 2]) + i, U(rows[m + 3]) + i
    y00, y01, y02 = load(y, r0), load(y, r0 + one), load(y, r0 + two)
    y10, y11, y12 = load(y, r1), load(y, r1 + one), load(y, r1 + two)
    y20, y21, y22 = load(y, r2), load(y, r2 + one), load(y, r2 + two)
    y30, y31, y32 = load(y, r3), load(y, r3 + one), load(y, r3 + two)
    for t in range(offsets.size):
        at = U(offsets[t]) + i
        x0, x1, x2 = load(x, at), load(x, at + one), load(x, at + two)
        w0 = splat(w[m, t])
        y00, y01, y02 = multiply_add(w0, x0, y00), multiply_add(w0, x1, y01), multiply_add(w0, x2, y02)
        w1 = splat(w[m + 1, t])
        y10, y11, y12 = multiply_add(w1, x0, y10), multiply_add(w1, x1, y11), multiply_add(w1, x2, y12)
        w2 = splat(w[m + 2, t])
        y20, y21, y22 = multiply_add(w2, x0, y20), multiply_add(w2, x1, y21), multiply_add(w2, x2, y22)
        w3 = splat(w[m + 3, t])
        y30, y31, y32 = multiply_add(w3, x0, y30), multiply_add(w3, x1, y31), multiply_add(w3, x2, y32)
    store(y, r0, y00), store(y, r0 + one, y01), store(y, r0 + two, y02)
    store(y, r1, y10), store(y, r1 + one, y11), store(y, r1 + two, y12)
    store(y, r2, y20), store(y, r2 + one, y21), store(y, r2 + two, y22)
    store(y, r3, y30), store(y, r3 + one, y31), store(y, r3 + two, y32)


@njit(cache=True, **TILE)
def _tile_4x1(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, i: np.uint64) -> None:
    r0, r1, r2, r3 = U(rows[m]) + i, U(rows[m + 1]) + i, U(rows[m + 2]) + i, U(rows[m + 3]) + i
    y0, y1, y2, y3 = load(y, r0), load(y, r1), load(y, r2), load(y, r3)
    for t in range(offsets.size):
        x0 = load(x, U(offsets[t]) + i)
        y0, y1 = multiply_add(splat(w[m, t]), x0, y0), multiply_add(splat(w[m + 1, t]), x0, y1)
        y2, y3 = multiply_add(splat(w[m + 2, t]), x0, y2), multiply_add(splat(w[m + 3, t]), x0, y3)
    store(y, r0, y0), store(y, r1, y1), store(y, r2, y2), store(y, r3, y3)


@njit(cache=True, **TILE)
def _tile_1x3(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, i: np.uint64) -> None:
    one, two = U(REGISTER_BYTES // y.itemsize), U(2 * (REGISTER_BYTES // y.itemsize))
    r0 = U(rows[m]) + i
    y0, y1, y2 = load(y, r0), load(y, r0 + one), load(y, r0 + two)
    for t in range(offsets.size):
        at, w0 = U(offsets[t]) + i, splat(w[m, t])
        y0 = multiply_add(w0, load(x, at), y0)
        y1 = multiply_add(w0, load(x, at + one), y1)
        y2 = multiply_add(w0, load(x, at + two), y2)
    store(y, r0, y0), store(y, r0 + one, y1), store(y, r0 + two, y2)


@njit(cache=True, **TILE)
def _tile_1x1(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, i: np.uint64) -> None:
    r0 = U(rows[m]) + i
    y0 = load(y, r0)
    for t in range(offsets.size):
        y0 = multiply_add(splat(w[m, t]), load(x, U(offsets[t]) + i), y0)
    store(y, r0, y0)


@njit(cache=True, **TILE)
def _tile_2x3(y: Array, rows: Array, w: Array, m: int, x: Array, offsets: Array, i: np.uint64) -> None:
    one, two = U(REGISTER_BYTES // y.itemsize), U(2 * (REGISTER_BYTES // y.itemsize))
    r0, r1 = U(rows[m]) + i, U(rows[m + 1]) + i
    y00, y01, y02 = load(y, r0), load(y, r0 + one), load(y, r0 + two)
    y10, y11, y12 = load(y, r1), load(y, r1 + one), load(y, r1 + two)
    for t in range(offsets.size):
        at = U(offsets[t]) + i
        x0, x1, x2 = load(x, at), load(x, at + one), load(x, at + two)
        w0, w1 = splat(w[m, t]), splat(w[m + 1, t])
        y00, y01, y02 = multiply_add(w0, x0, y00), multiply_add(w0, x1, y01), multiply_add(w0, x2, y02)
        y10, y11, y12 = multiply_add(w1, x0, y10), multiply_add(w1, x1, y11), multiply_add(w1, x2, y12)
    store(y, r0, y00), store(y, r0 + one, y01), store(y, r0 + two, y02)
    store(y, r1, y10), store(y, r1 + one, y11), store(y, r1 + two, y12)


@njit(cache=True, **LOOP)
def _add_shifted(y: Array, rows: Array, w: Array, x: Array, offsets: Array, n: int) -> None:
    lanes, tiled = U(REGISTER_BYTES // y.itemsize), U(n) // U(3 * (REGISTER_BYTES // y.itemsize))
    for tile in range(tiled + (U(n) - tiled * U(3) * lanes) // lanes):
        wide = tile < tiled
        i = tile * U(3) * lanes if wide else (tile + U(2) * tiled) * lanes
        m = 0
        while m + 4 <= rows.size:
            if wide:
                _tile_4x3(y, rows, w, m, x, offsets, i)
            else:
                _tile_4x1(y, rows, w, m, x, offsets, i)
            m += 4
        if wide and m + 2 <= rows.size:
            _tile_2x3(y, rows, w, m, x, offsets, i)
            m += 2
        while m < rows.size:
            if wide:
                _tile_1x3(y, rows, w, m, x, offsets, i)
            else:
                _tile_1x1(y, rows, w, m, x, offsets, i)
            m += 1


@njit(cache=True, **TILE)
def _dots_4x4(
    d: Array,
    g: Array,
    rows: Array,
    m: int,
    x: Array,
    offsets: Array,
    t: int,
    n: int,
    repeats: int,
    pitch: int,
) -> None:
    """d[m + a, t + b] += the dot product of row m + a with shift t + b, for a, b = 0..3."""
    zero = splat(d.dtype.type(0))
    d00, d01, d02, d03, d10, d11, d12, d13 = zero, zero, zero, zero, zero, zero, zero, zero
    d20, d21, d22, d23, d30, d31, d32, d33 = zero, zero, zero, zero, zero, zero, zero, zero
    for repeat in range(U(repeats)):
        shift = repeat * U(pitch)
        r0, r1, r2, r3 = U(rows[m]), U(rows[m + 1]), U(rows[m + 2]), U(rows[m + 3])
        o0, o1, o2, o3 = U(offsets[t]), U(offsets[t + 1]), U(offsets[t + 2]), U(offsets[t + 3])
        for i in range(shift, shift + U(n), U(REGISTER_BYTES // d.itemsize)):
            x0, x1, x2, x3 = load(x, o0 + i), load(x, o1 + i), load(x, o2 + i), load(x, o3 + i)
            g0, g1, g2, g3 = load(g, r0 + i), load(g, r1 + i), load(g, r2 + i), load(g, r3 + i)
            d00, d01 = multiply_add(g0, x0, d00), multiply_add(g0, x1, d01)
            d02, d03 = multiply_add(g0, x2, d02), multiply_add(g0, x3, d03)
            d10, d11 = multiply_add(g1, x0, d10), multiply_add(g1, x1, d11)
            d12, d13 = multiply_add(g1, x2, d12), multiply_add(g1, x3, d13)
            d20, d21 = multiply_add(g2, x0, d20), multiply_add(g2, x1, d21)
            d22, d23 = multiply_add(g2, x2, d22), multiply_add(g2, x3, d23)
            d30, d31 = multiply_add(g3, x0, d30), multiply_add(g3, x1, d31)
            d32, d33 = multiply_add(g3, x2, d32), multiply_add(g3, x3, d33)
    for b, (a0, a1, a2, a3) in enumerate(
        ((d00, d10, d20, d30), (d01, d11, d21, d31), (d02, d12, d22, d32), (d03, d13, d23, d33))
    ):
        d[m, t + b] += sum_of_lanes(a0)
        d[m + 1, t + b] += sum_of_lanes(a1)
        d[m + 2, t + b] += sum_of_lanes(a2)
        d[m + 3, t + b] += sum_of_lanes(a3)


@njit(cache=True, **TILE)
def _dots_2x4(
    d: Array,
    g: Array,
    rows: Array,
    m: int,
    x: Array,
    offsets: Array,
    t: int,
    n: int,
    repeats: int,
    pitch: int,
) -> None:
    zero = splat(d.dtype.type(0))
    d00, d01, d02, d03, d10, d11, d12, d13 = zero, zero, zero, zero, zero, zero, zero, zero
    for repeat in range(U(repeats)):
        shift = repeat * U(pitch)
        r0, r1 = U(rows[m]), U(rows[m + 1])
        o0, o1, o2, o3 = U(offsets[t]), U(offsets[t + 1]), U(offsets[t + 2]), U(offsets[t + 3])
        for i in range(shift, shift + U(n), U(REGISTER_BYTES // d.itemsize)):
            x0, x1, x2, x3 = load(x, o0 + i), load(x, o1 + i), load(x, o2 + i), load(x, o3 + i)
            g0, g1 = load(g, r0 + i), load(g, r1 + i)
            d00, d01 = multiply_add(g0, x0, d00), multiply_add(g0, x1, d01)
            d02, d03 = multiply_add(g0, x2, d02), multiply_add(g0, x3, d03)
            d10, d11 = multiply_add(g1, x0, d10), multiply_add(g1, x1, d11)
            d12, d13 = multiply_add(g1, x2, d12), multiply_add(g1, x3, d13)
    for b, (a0, a1) in enumerate(((d00, d10), (d01, d11), (d02, d12), (d03, d13))):
        d[m, t + b] += sum_of_lanes(a0)
        d[m + 1, t + b] += sum_of_lanes(a1)


@njit(cache=True, **TILE)
def _dots_1x4(
    d: Array,
    g: Array,
    rows: Array,
    m: int,
    x: Array,
    offsets: Array,
    t: int,
    n: int,
    repeats: int,
    pitch: int,
) -> None:
    zero = splat(d.dtype.type(0))
    d0, d1, d2, d3 = zero, zero, zero, zero
    for repeat in range(U(repeats)):
        shift = repeat * U(pitch)
        o0, o1, o2, o3 = U(offsets[t]), U(offsets[t + 1]), U(offsets[t + 2]), U(offsets[t + 3])
        for i in range(shift, shift + U(n), U(REGISTER_BYTES // d.itemsize)):
            g0 = load(g, U(rows[m]) + i)
            d0, d1 = multiply_add(g0, load(x, o0 + i), d0), multiply_add(g0, load(x, o1 + i), d1)
            d2, d3 = multiply_add(g0, load(x, o2 + i), d2), multiply_add(g0, load(x, o3 + i), d3)
    d[m, t] += sum_of_lanes(d0)
    d[m, t + 1] += sum_of_lanes(d1)
    d[m, t + 2] += sum_of_lanes(d2)
    d[m, t + 3] += sum_of_lanes(d3)


@njit(cache=True, **LOOP)
def _add_products(d: Array, g: Array, rows: Array, x: Array, offsets: Array, n: int, repeats: int, pitch: int) -> None:
    fours, twos = rows.size // 4 * 4, rows.size // 2 * 2
    for t in range(0, offsets.size, 4):
        for m in range(0, fours, 4):
            _dots_4x4(d, g, rows, m, x, offsets, t, n, repeats, pitch)
        if fours < twos:
            _dots_2x4(d, g, rows, fours, x, offsets, t, n, repeats, pitch)
        if twos < rows.size:
            _dots_1x4(d, g, rows, twos, x, offsets, t, n, repeats, pitch)


@njit(cache=True, **LOOP)
def add_shifted(y: Array, rows: Array, w: Array, x: Array, offsets: Array, n: int) -> None:
    """y[rows[m] + i] += sum_t w[m, t] * x[offsets[t] + i]  for all m and for i < n.

    ``y`` and ``x`` are flat, the rows of ``y`` do not overlap, and n is a multiple of 16.
    """
    if config.DISABLE_JIT:
        add_shifted_plain(y, rows, w, x, offsets, n)
    else:
        _add_shifted(y, rows, w, x, offsets, n)


@njit(cache=True, **LOOP)
def add_products(d: Array, g: Array, rows: Array, x: Array, offsets: Array, n: int, repeats: int, pitch: int) -> None:
    """d[m, t] += sum over r < repeats, i < n of g[rows[m] + r * pitch + i] * x[offsets[t] + r * pitch + i].

    ``g`` and ``x`` are flat, and n is a multiple of 16. The number of shifts must be a multiple of four: fill
    up with repeated ones.
    """
    if config.DISABLE_JIT:
        add_products_plain(d, g, rows, x, offsets, n, repeats, pitch)
    else:
        _add_products(d, g, rows, x, offsets, n, repeats, pitch)
