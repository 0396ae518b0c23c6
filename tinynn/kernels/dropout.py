"""Dropout with the mask recomputed from the counter, never stored.

Element i is kept where word i of the Philox stream (seed, offset) is at least floor(p * 2**32), and is then
divided by 1 - p. Backward is the same function on the gradient: the same seed and offset give the same mask.
Generator and multiplication share one loop, so a word lives in a register only.

Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15
(2014); the scaling by 1 / (1 - p) during training ("inverted" dropout) is what makes evaluation the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .memory import aligned_empty
from .philox import CUDA_SOURCE as PHILOX_CUDA_SOURCE
from .philox import split64
from .philox_numba import philox_block
from .threads import share

__all__ = ["CUDA_SOURCE", "dropout", "threshold"]

_LOW = np.uint64(0xFFFFFFFF)


def threshold(p: float) -> int:
    """Return floor(p * 2**32): an element is kept where its 32 random bits are at least this.

    Examples
    --------
    >>> threshold(0.5) == 2**31
    True
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p is {p!r}: the probability of dropping an element lies between 0 and 1")
    return int(float(p) * 2.0**32)


@njit(cache=True, error_model="numpy", nogil=True)
def _drop_blocks(
    first: int,
    last: int,
    x: NDArray[Any],
    out: NDArray[Any],
    limit: np.uint64,
    scale: Any,
    zero: Any,
    key: np.uint64,
    offset: np.uint64,
) -> None:  # fmt: skip
    """Treat the whole blocks ``first`` to ``last``. Signed indices would stop the vectoriser."""
    for b in range(np.uint64(first), np.uint64(last)):
        w0, w1, w2, w3 = philox_block(offset + b, key)
        i0 = np.uint64(4) * b
        i1, i2, i3 = i0 + np.uint64(1), i0 + np.uint64(2), i0 + np.uint64(3)
        y0, y1, y2, y3 = x[i0] * scale, x[i1] * scale, x[i2] * scale, x[i3] * scale
        out[i0] = y0 if (w0 & _LOW) >= limit else zero
        out[i1] = y1 if (w1 & _LOW) >= limit else zero
        out[i2] = y2 if (w2 & _LOW) >= limit else zero
        out[i3] = y3 if (w3 & _LOW) >= limit else zero


@njit(cache=True, error_model="numpy")
def _drop_tail(
    x: NDArray[Any],
    out: NDArray[Any],
    limit: np.uint64,
    scale: Any,
    zero: Any,
    key: np.uint64,
    offset: np.uint64,
) -> None:
    """Treat the last one to three elements, which do not fill a block."""
    first = x.size // 4 * 4
    words = philox_block(offset + np.uint64(first // 4), key)
    for j in range(x.size - first):
        out[first + j] = x[first + j] * scale if (words[j] & _LOW) >= limit else zero


def dropout(x: NDArray[Any], p: float, seed: int, offset: int = 0) -> NDArray[Any]:
    """Return ``x[i] / (1 - p)`` where word i of the stream is at least ``floor(p * 2**32)``, and 0 elsewhere.

    Parameters
    ----------
    x : float32 or float64 array of any shape; elements are counted in C order.
    p : probability of dropping; 0 returns a copy, 1 returns zeros.
    seed, offset : 64-bit seed, and the block of the stream to begin at. The draw takes
        ``blocks_consumed("bits", x.size)`` blocks. For the backward pass call again with the gradient and the
        same p, seed and offset.

    Notes
    -----
    A dropped element is 0 even where x is infinite or NaN (a product with a mask of zeros would give NaN).

    Examples
    --------
    >>> dropout(np.ones(6), p=0.5, seed=0).tolist()
    [0.0, 2.0, 2.0, 2.0, 2.0, 0.0]
    """
    x = np.asarray(x, order="C")
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dropout of {x.dtype}: x must be float32 or float64; cast it first")
    limit = threshold(p)
    split64(seed, "seed")
    split64(offset, "offset")
    if limit == 2**32:
        return np.zeros_like(x)
    out = aligned_empty(x.shape, x.dtype)
    kind = x.dtype.type
    stream = np.uint64(seed), np.uint64(offset)
    values = np.uint64(limit), kind(1.0 / (1.0 - p)), kind(0.0)
    flat_x, flat_out = x.reshape(-1), out.reshape(-1)
    share(_drop_blocks, x.size // 4, 0.7 * x.size, flat_x, flat_out, *values, *stream)
    if x.size % 4:
        _drop_tail(flat_x, flat_out, *values, *stream)
    return out


#: CUDA C of the same function: ``dropout_float`` and ``dropout_double``, one thread per block of four
#: elements.
CUDA_SOURCE = (
    PHILOX_CUDA_SOURCE
    + r"""
template <typename T>
__device__ __forceinline__ void drop(const T* x, T* out, unsigned long long n, unsigned int limit, T scale,
                                     unsigned long long seed, unsigned long long offset)
{
    unsigned long long blocks = (n + 3ull) / 4ull;
    unsigned long long stride = (unsigned long long)blockDim.x * gridDim.x;
    unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned long long b = first; b < blocks; b += stride) {
        unsigned int w[4];
        philox4x32(offset + b, seed, w);
        for (int j = 0; j < 4; ++j) {
            unsigned long long i = 4ull * b + j;
            if (i < n) out[i] = w[j] >= limit ? x[i] * scale : T(0);
        }
    }
}

extern "C" __global__ void dropout_float(const float* x, float* out, unsigned long long n, unsigned int limit,
                                         float scale, unsigned long long seed, unsigned long long offset)
{ drop<float>(x, out, n, limit, scale, seed, offset); }

extern "C" __global__ void dropout_double(const double* x, double* out, unsigned long long n,
                                          unsigned int limit, double scale, unsigned long long seed,
                                          unsigned long long offset)
{ drop<double>(x, out, n, limit, scale, seed, offset); }
"""
)
