"""The compiled loops over a table's rows, and over the minibatches of an epoch: no Python in between.

A table begins with `HEAD` words of its own, the rows follow::

    0  how many rows          2  address of the next row of scalars    4  address of the cells they are copied to
    1  (free)                 3  its length in bytes, 0 for none       5-7 (free)

Scalars are what changes from step to step in a known way, such as Adam's bias corrections. They are computed for
many steps ahead (by NumPy, from the optimizer's own formula), and a step copies its row to where kernels read them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from tinynn.kernels.native import address_of, as_float32, as_int64, call

HEAD = 8  # words before the first row
ROWS, SCALARS, SCALAR_BYTES, CELLS = 0, 2, 3, 4

_words = types.Array(types.int64, 1, "C")
_table = types.Array(types.int64, 2, "C")
_options: dict[str, Any] = {"cache": True, "error_model": "numpy"}


@njit(error_model="numpy")  # compiled as part of its callers
def _copy(target, source, nbytes):
    """Copy memory; the number of bytes is a multiple of four."""
    if nbytes % 8 == 0:
        wide_to, wide_from = as_int64(target), as_int64(source)
        for i in range(nbytes // 8):
            wide_to[i] = wide_from[i]
    else:
        narrow_to, narrow_from = as_float32(target), as_float32(source)
        for i in range(nbytes // 4):
            narrow_to[i] = narrow_from[i]


@njit(error_model="numpy")
def _step(table):
    _copy(table[CELLS], table[SCALARS], table[SCALAR_BYTES])
    table[SCALARS] += table[SCALAR_BYTES]
    at = HEAD
    for _ in range(table[ROWS]):
        call(address_of(table, at))
        at += table[at + 1]


@njit(types.void(_words), **_options)
def run_once(table):
    """One step; holds the interpreter's lock, as is best for a few microseconds."""
    _step(table)


@njit(types.void(_words), nogil=True, **_options)
def run_once_unlocked(table):
    """One step, with other Python threads running on."""
    _step(table)


@njit(types.void(_words, _words, types.int64, types.int64, _table, _table, _table), nogil=True, **_options)
def run_batches(table, order, batch_size, n_batches, arguments, draws, results):
    """One step for each minibatch.

    Parameters
    ----------
    table : of the program for ``batch_size`` rows
    order : the number of the row that comes at each place, ``n_batches * batch_size`` long
    arguments : for each argument (address of all data, bytes of a row, address of the program's input)
    draws : for each random stream (address of its position, blocks that a step takes)
    results : for each result (address, bytes, address of the first batch's copy)
    """
    for batch in range(n_batches):
        for a in range(arguments.shape[0]):
            source, nbytes, target = arguments[a, 0], arguments[a, 1], arguments[a, 2]
            for i in range(batch_size):
                _copy(target + i * nbytes, source + order[batch * batch_size + i] * nbytes, nbytes)
        _step(table)
        for d in range(draws.shape[0]):
            position = as_int64(draws[d, 0])
            position[1] += draws[d, 1]
        for r in range(results.shape[0]):
            _copy(results[r, 2] + batch * results[r, 1], results[r, 0], results[r, 1])


def as_words(rows: list[list[int]], width: int) -> np.ndarray[Any, Any]:
    """Lists of words as an array of ``width`` columns, also if there are none."""
    return np.array(rows, np.int64).reshape(-1, width)
