"""Arrays that begin at a multiple of 64 bytes.

A vector register of 64 bytes that is loaded from an address in between touches two cache lines, which costs
loops that do little arithmetic about a fifth of their speed. NumPy's own arrays begin at multiples of 16.

Results of several megabytes are best written past the caches, see `worth_streaming`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["aligned", "aligned_empty", "worth_streaming"]

_LINE = 64
_SMALL = 1 << 18  # bytes below which the alignment is not worth the microseconds it costs

_STREAM = 8 << 20  # bytes from which a result is unlikely to be in the cache still when it is read


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike, least: int = _SMALL) -> NDArray[Any]:
    """Return an array like ``np.empty(shape, dtype)``; from 256 kB on it begins at a multiple of 64 bytes.

    A smaller array that a long loop goes over many times can be aligned as well, with ``least`` bytes.

    Examples
    --------
    >>> aligned_empty((1000, 100), np.float32).ctypes.data % 64
    0
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < least:
        return np.empty(shape, dtype)
    raw = np.empty(nbytes + _LINE, np.uint8)
    first = -raw.ctypes.data % _LINE
    return raw[first : first + nbytes].view(dtype).reshape(shape)


def aligned(array: NDArray[Any], beside: NDArray[Any]) -> NDArray[Any]:
    """Return an array that is read once per row of ``beside``: a copy at a multiple of 64 bytes, if that pays.

    Examples
    --------
    >>> aligned(np.ones(1000)[1:], beside=np.ones((1000, 999))).ctypes.data % 64
    0
    """
    if beside.nbytes < 4 * _SMALL or array.ctypes.data % _LINE == 0:
        return array
    copy = aligned_empty(array.shape, array.dtype, least=0)
    copy[...] = array
    return copy


def worth_streaming(out: NDArray[Any]) -> bool:
    """Whether a result should be written with `tinynn.kernels.simd.stream`: it is large, and lies aright.

    Streamed lines are not in the cache afterwards. A result that would have fitted is read again from memory
    then, which costs more than was saved; hence the limit of 8 MB, a fraction of the last-level cache of most
    machines.

    Examples
    --------
    >>> worth_streaming(aligned_empty((1000, 100), np.float32))
    False
    >>> worth_streaming(aligned_empty((4096, 1024), np.float32))
    True
    """
    return out.nbytes >= _STREAM and out.ctypes.data % _LINE == 0
