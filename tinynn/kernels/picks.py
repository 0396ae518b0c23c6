"""Rows of a compiled table that are no loops over expressions: picking rows of an array, adding to them, dropout masks.

All are called by address with one pointer to their words: see `tinynn.kernels.native`.

An index counts from the end where it is negative. One that is out of range picks NaN, so that it is seen, and adds
nothing: reading memory that is not the array's is no option.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tinynn.kernels.native import as_float32, as_float64, as_int32, as_int64, kernel
from tinynn.kernels.philox_numba import philox_block

__all__ = ["gather_float32", "gather_float64", "keep_mask", "scatter_float32", "scatter_float64"]

_LOW = np.uint64(0xFFFFFFFF)
_NONE = np.int32(0)
# "True" in one of four neighbouring bytes
_FIRST, _SECOND, _THIRD, _FOURTH = (int(number) for number in np.eye(4, dtype=np.uint8).view(np.int32)[:, 0])


@njit(error_model="numpy")  # compiled as part of its callers
def _gather(row, x, index, out):
    """out[o, i, k] = x[o, index[i], k]; words: sizes o, i, k, entries; x, its three strides; index; out."""
    outer, n, inner, entries = row[2], row[3], row[4], row[5]
    s0, s1, s2 = row[7], row[8], row[9]
    for o in range(outer):
        for i in range(n):
            at = index[i]
            at = at + entries if at < 0 else at
            to = (o * n + i) * inner
            if at < 0 or at >= entries:
                for k in range(inner):
                    out[to + k] = math.nan
            elif s2 == 1:
                for k in range(inner):
                    out[to + k] = x[o * s0 + at * s1 + k]
            else:
                for k in range(inner):
                    out[to + k] = x[o * s0 + at * s1 + k * s2]


@njit(error_model="numpy")
def _scatter(row, x, index, out):
    """out = 0, then out[o, index[i], k] += x[o, i, k]; words as of `_gather`, with x and out exchanged."""
    outer, n, inner, entries = row[2], row[3], row[4], row[5]
    s0, s1, s2 = row[7], row[8], row[9]
    for i in range(outer * entries * inner):
        out[i] = 0.0
    for o in range(outer):
        for i in range(n):
            at = index[i]
            at = at + entries if at < 0 else at
            to = (o * entries + at) * inner
            if at >= 0 and at < entries:
                for k in range(inner):
                    out[to + k] += x[o * s0 + i * s1 + k * s2]


@kernel
def gather_float64(row):
    """`_gather` of float64."""
    _gather(row, as_float64(row[6], 0), as_int64(row[10], 1), as_float64(row[11], 2))


@kernel
def gather_float32(row):
    """`_gather` of float32."""
    _gather(row, as_float32(row[6], 0), as_int64(row[10], 1), as_float32(row[11], 2))


@kernel
def scatter_float64(row):
    """`_scatter` of float64."""
    _scatter(row, as_float64(row[6], 0), as_int64(row[10], 1), as_float64(row[11], 2))


@kernel
def scatter_float32(row):
    """`_scatter` of float32."""
    _scatter(row, as_float32(row[6], 0), as_int64(row[10], 1), as_float32(row[11], 2))


@kernel
def keep_mask(row):
    """out[i] = whether word i of the stream is at least the limit; words: blocks, first block, limit, position, out."""
    blocks, limit = row[2], np.uint64(row[4])
    position, out = as_int64(row[5], 0), as_int32(row[6], 1)  # four truth values at once
    key, first = np.uint64(position[0]), np.uint64(position[1]) + np.uint64(row[3])
    for b in range(blocks):
        w0, w1, w2, w3 = philox_block(first + np.uint64(b), key)
        first_two = (_FIRST if (w0 & _LOW) >= limit else _NONE) | (_SECOND if (w1 & _LOW) >= limit else _NONE)
        last_two = (_THIRD if (w2 & _LOW) >= limit else _NONE) | (_FOURTH if (w3 & _LOW) >= limit else _NONE)
        out[b] = first_two | last_two
