"""The loops of layer normalisation, over rows that threads can share.

Each exists twice. *Plain* loops take rows of any length, and LLVM vectorises them. *Register* loops are for
rows that are made of whole pairs of vector registers, which is what layers have: they keep the sums of a row
in registers, and write large results past the caches. Both read x (and g) from memory once: a row is in the
first-level cache when it is read again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .batch_norm_loops import LOOP, REDUCE, row_moments, row_sum
from .simd import REGISTER_BYTES, drain, load, multiply_add, splat, store, stream, sum_of_lanes

__all__ = ["ROWS_PER_SLOT", "plain_backward", "plain_forward", "register_backward", "register_forward"]

Array = NDArray[Any]

ROWS_PER_SLOT = 128  # rows whose contributions to dweight and dbias are summed before they join the others
_BYTES = np.uint64(REGISTER_BYTES)


@njit(cache=True, **LOOP)
def plain_forward(
    first: int,
    last: int,
    x: Array,
    weight: Array,
    bias: Array,
    eps: Any,
    out: Array,
    mean: Array,
    rstd: Array,
) -> None:
    """Rows first to last of out, mean and rstd."""
    one, zero, width = x.dtype.type(1), x.dtype.type(0), x.dtype.type(x.shape[1])
    for row in range(first, last):
        centre = row_sum(x, row) / width
        left, square = row_moments(x, row, centre)
        rest = left / width
        r = one / np.sqrt(max(square / width - rest * rest, zero) + eps)
        mean[row], rstd[row] = centre + rest, r
        for j in range(x.shape[1]):  # two subtractions: the sum centre + rest would be rounded
            out[row, j] = ((x[row, j] - centre) - rest) * r * weight[j] + bias[j]


@njit(cache=True, **REDUCE)
def _layer_sums(
    g: Array, x: Array, row: int, mean: Any, rstd: Any, weight: Array, dweight: Array, dbias: Array
) -> tuple[Any, Any]:
    """Return sum_j h and sum_j h * x_hat of a row, and add g * x_hat and g to the parameters' gradients."""
    plain, weighted = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.shape[1]):
        x_hat = (x[row, j] - mean) * rstd
        h = g[row, j] * weight[j]
        plain += h
        weighted += h * x_hat
        dweight[j] += g[row, j] * x_hat
        dbias[j] += g[row, j]
    return plain, weighted


@njit(cache=True, **LOOP)
def plain_backward(
    first: int, last: int, g: Array, x: Array, mean: Array, rstd: Array, weight: Array, dx: Array,
    dweight: Array, dbias: Array,
) -> None:  # fmt: skip
    """Rows of the slots first to last; ``dweight`` and ``dbias`` have one row per slot."""
    width = x.dtype.type(x.shape[1])
    for slot in range(first, last):
        dw, db = dweight[slot], dbias[slot]
        dw[:] = 0
        db[:] = 0
        for row in range(slot * ROWS_PER_SLOT, min((slot + 1) * ROWS_PER_SLOT, x.shape[0])):
            m, r = mean[row], rstd[row]
            plain, weighted = _layer_sums(g, x, row, m, r, weight, dw, db)
            level, slope = r * plain / width, r * r * weighted / width
            for j in range(x.shape[1]):
                dx[row, j] = g[row, j] * weight[j] * r - (x[row, j] - m) * slope - level


@njit(cache=True, **LOOP, forceinline=True)
def _moments(x: Array, start: np.uint64, width: np.uint64, centre: Any) -> tuple[Any, Any]:
    """Return sum_j d / width and sum_j d**2 / width for d = x[start + j] - centre, j < width."""
    step = _BYTES // np.uint64(x.itemsize)
    one, shift = splat(x.dtype.type(1)), splat(-centre)
    first0 = first1 = second0 = second1 = splat(x.dtype.type(0))
    for j in range(start, start + width, step + step):
        d0 = multiply_add(load(x, j), one, shift)
        d1 = multiply_add(load(x, j + step), one, shift)
        first0, first1 = multiply_add(d0, one, first0), multiply_add(d1, one, first1)
        second0, second1 = multiply_add(d0, d0, second0), multiply_add(d1, d1, second1)
    count = x.dtype.type(width)
    return (
        (sum_of_lanes(first0) + sum_of_lanes(first1)) / count,
        (sum_of_lanes(second0) + sum_of_lanes(second1)) / count,
    )


@njit(cache=True, **LOOP)
def register_forward(
    first: int, last: int, x: Array, weight: Array, bias: Array, eps: Any, out: Array, mean: Array,
    rstd: Array, streaming: bool,
) -> None:  # fmt: skip
    """As ``plain_forward``.

    The moments of a row are taken about the mean of its first two pairs of registers, so that one reading
    gives both. The variance is ``square - rest**2``; where so much cancels that it would be wrong by more
    than a few units in the last place, they are taken once more, about the mean just found.
    """
    flat_x, flat_out = x.reshape(-1), out.reshape(-1)
    width, step = np.uint64(weight.size), _BYTES // np.uint64(x.itemsize)
    sample = min(width, np.uint64(4) * step)
    unit, zero, nothing = x.dtype.type(1), x.dtype.type(0), splat(x.dtype.type(0))
    one = splat(unit)
    for row in range(np.uint64(first), np.uint64(last)):
        start = row * width
        centre, _ = _moments(flat_x, start, sample, zero)
        rest, square = _moments(flat_x, start, width, centre)
        if not rest * rest <= square * x.dtype.type(0.5):
            centre += rest
            rest, square = _moments(flat_x, start, width, centre)
        r = unit / np.sqrt(max(square - rest * rest, zero) + eps)
        mean[row], rstd[row] = centre + rest, r
        by_centre, by_rest, scale = splat(-centre), splat(-rest), splat(r)
        for j in range(np.uint64(0), width, step):
            d = multiply_add(multiply_add(load(flat_x, start + j), one, by_centre), one, by_rest)
            x_hat = multiply_add(d, scale, nothing)
            value = multiply_add(x_hat, load(weight, j), load(bias, j))
            if streaming:
                stream(flat_out, start + j, value)
            else:
                store(flat_out, start + j, value)
    if streaming:
        drain()


@njit(cache=True, **LOOP, forceinline=True)
def _register_sums(
    g: Array, x: Array, start: np.uint64, mean: Any, rstd: Any, weight: Array, dweight: Array, dbias: Array
) -> tuple[Any, Any]:
    """As ``_layer_sums``, for the row of flat g and x that begins at ``start``."""
    step = _BYTES // np.uint64(x.itemsize)
    nothing, one = splat(x.dtype.type(0)), splat(x.dtype.type(1))
    by_mean, scale = splat(-mean), splat(rstd)
    plain0 = plain1 = weighted0 = weighted1 = nothing
    for j in range(np.uint64(0), np.uint64(weight.size), step + step):
        k = j + step
        g0, g1 = load(g, start + j), load(g, start + k)
        x_hat0 = multiply_add(multiply_add(load(x, start + j), one, by_mean), scale, nothing)
        x_hat1 = multiply_add(multiply_add(load(x, start + k), one, by_mean), scale, nothing)
        store(dweight, j, multiply_add(g0, x_hat0, load(dweight, j)))
        store(dbias, j, multiply_add(g0, one, load(dbias, j)))
        store(dweight, k, multiply_add(g1, x_hat1, load(dweight, k)))
        store(dbias, k, multiply_add(g1, one, load(dbias, k)))
        h0, h1 = multiply_add(g0, load(weight, j), nothing), multiply_add(g1, load(weight, k), nothing)
        plain0, plain1 = multiply_add(h0, one, plain0), multiply_add(h1, one, plain1)
        weighted0, weighted1 = multiply_add(h0, x_hat0, weighted0), multiply_add(h1, x_hat1, weighted1)
    return (
        sum_of_lanes(plain0) + sum_of_lanes(plain1),
        sum_of_lanes(weighted0) + sum_of_lanes(weighted1),
    )


@njit(cache=True, **LOOP)
def register_backward(
    first: int, last: int, g: Array, x: Array, mean: Array, rstd: Array, weight: Array, dx: Array,
    dweight: Array, dbias: Array, streaming: bool,
) -> None:  # fmt: skip
    """As ``plain_backward``."""
    flat_g, flat_x, flat_dx = g.reshape(-1), x.reshape(-1), dx.reshape(-1)
    width, step = np.uint64(weight.size), _BYTES // np.uint64(x.itemsize)
    count, nothing, one = x.dtype.type(weight.size), splat(x.dtype.type(0)), splat(x.dtype.type(1))
    for slot in range(first, last):
        dw, db = dweight[slot], dbias[slot]
        dw[:] = 0
        db[:] = 0
        for row in range(slot * ROWS_PER_SLOT, min((slot + 1) * ROWS_PER_SLOT, mean.size)):
            m, r, start = mean[row], rstd[row], np.uint64(row) * width
            plain, weighted = _register_sums(flat_g, flat_x, start, m, r, weight, dw, db)
            by_mean, scale = splat(-m), splat(r)
            level, slope = splat(-(r * plain / count)), splat(-(r * r * weighted / count))
            for j in range(np.uint64(0), width, step):
                d = multiply_add(load(flat_x, start + j), one, by_mean)
                h = multiply_add(load(flat_g, start + j), load(weight, j), nothing)
                value = multiply_add(h, scale, multiply_add(d, slope, level))
                if streaming:
                    stream(flat_dx, start + j, value)
                else:
                    store(flat_dx, start + j, value)
    if streaming:
        drain()
