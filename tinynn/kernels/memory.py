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

__all__ = [
    "LINE", "aligned_empty", "empty_apart", "empty_bytes", "has_slack", "whole_lines", "with_slack", "worth_streaming",
    "zero_bytes",
]  # fmt: skip

LINE = 64  # bytes of a cache line, and of the widest vector register
_PAGE = 4096
_SMALL = 1 << 18  # bytes below which the alignment is not worth the microseconds it costs

_STREAM = 8 << 20  # bytes from which a result is unlikely to be in the cache still when it is read


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array like ``np.empty(shape, dtype)``; from 256 kB on it begins at a multiple of 64 bytes.

    Examples
    --------
    >>> aligned_empty((1000, 100), np.float32).ctypes.data % 64
    0
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _SMALL:
        return np.empty(shape, dtype)
    return empty_bytes(nbytes).view(dtype).reshape(shape)


def whole_lines(nbytes: int) -> int:
    """A length in bytes, rounded up to whole cache lines; at least one.

    Examples
    --------
    >>> whole_lines(0), whole_lines(64), whole_lines(65)
    (64, 64, 128)
    """
    return -(-max(nbytes, 1) // LINE) * LINE


def empty_bytes(nbytes: int) -> NDArray[np.uint8]:
    """Uninitialised bytes, from a multiple of 64 on; 64 more behind them can be read."""
    return _from_a_line_on(np.empty(nbytes + 2 * LINE, np.uint8), nbytes)


def zero_bytes(nbytes: int) -> NDArray[np.uint8]:
    """Zeros in bytes, from a multiple of 64 on; 64 more behind them can be read."""
    return _from_a_line_on(np.zeros(nbytes + 2 * LINE, np.uint8), nbytes)


def _from_a_line_on(raw: NDArray[np.uint8], nbytes: int) -> NDArray[np.uint8]:
    first = -raw.ctypes.data % LINE
    return raw[first : first + nbytes]


def has_slack(array: NDArray[Any]) -> bool:
    """Whether 64 bytes behind an array can be read, being in the page of memory in which it ends."""
    return -(array.ctypes.data + array.nbytes) % _PAGE >= LINE


def with_slack(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous copy behind which 64 bytes can be read."""
    copy = empty_bytes(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def empty_apart(shape: tuple[int, ...], dtype: DTypeLike, other: NDArray[Any], quarters: int) -> NDArray[Any]:
    """Return an aligned array that begins some quarters of a page after ``other``, counted modulo the page.

    A processor compares a load with the stores before it by the last twelve bits of their addresses first. A
    loop that writes where these are just those of what it reads next waits for nothing, over and over, and
    its lines contend for the same places in the first-level cache. Where rows are as long as a page, arrays
    that all begin at the start of one cost layer norm's gradient almost half of its speed.

    Examples
    --------
    >>> x = np.empty((1024, 1024))
    >>> out = empty_apart(x.shape, x.dtype, x, quarters=2)
    >>> (out.ctypes.data - x.ctypes.data // 64 * 64) % 4096
    2048
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(nbytes + _PAGE + LINE, np.uint8)
    goal = other.ctypes.data // LINE * LINE + quarters * (_PAGE // 4)
    first = (goal - raw.ctypes.data) % _PAGE
    if -(raw.ctypes.data + first + nbytes) % _PAGE < LINE:  # compiled code would copy it: see `has_slack`
        first += LINE
    return raw[first : first + nbytes].view(dtype).reshape(shape)


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
    return out.nbytes >= _STREAM and out.ctypes.data % LINE == 0
