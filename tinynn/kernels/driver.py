"""Running the rows of a table, or an epoch of minibatches, in one call from Python.

A table begins with `HEAD` words of its own, the rows follow::

    0  how many rows          2  address of the next row of scalars    4  address of the cells they are copied to
    1  (free)                 3  its length in bytes, 0 for none       5-7 (free)

Scalars are what changes from step to step in a known way, such as Adam's bias corrections. They are computed for
many steps ahead (by NumPy, from the optimizer's own formula), and a step copies its row to where kernels read them.
The loops themselves are kernels (`tinynn.kernels.driver_loops`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.kernels.kernel_sources import kernel_of_module
from tinynn.kernels.machine_code import interpreted

__all__ = ["CELLS", "HEAD", "ROWS", "SCALARS", "SCALAR_BYTES", "drive", "driving", "run_batches", "stepping"]

HEAD = 8  # words before the first row
ROWS, SCALARS, SCALAR_BYTES, CELLS = 0, 2, 3, 4

Words = np.ndarray[Any, Any]  # int64


def stepping(table: Words, unlocked: bool = False) -> Callable[[], None]:
    """A function that runs one step of a table.

    Parameters
    ----------
    table : numpy.ndarray of int64
        Kept alive by the function.
    unlocked : bool
        Whether other Python threads may run meanwhile; for a few microseconds that is not worth while.
    """
    return _bound("run_step", table, unlocked)


def drive(table: Words, n_rows: int) -> None:
    """Call the kernels of the first `n_rows` rows, one after the other.

    Parameters
    ----------
    table : numpy.ndarray of int64, one-dimensional
        Rows of words: a kernel's address, the row's length, then what the kernel expects. There is no head.
    n_rows : int
    """
    driving(table, n_rows)()


def driving(table: Words, n_rows: int) -> Callable[[], None]:
    """A function that does what `drive` does, for as long as the table lives."""
    return _bound("run_rows", np.array([0, 4, n_rows, table.ctypes.data], np.int64), unlocked=True)


def run_batches(
    table: Words, order: Words, batch_size: int, n_batches: int, arguments: Words, draws: Words, results: Words
) -> None:
    """One step for each minibatch.

    Parameters
    ----------
    table : of the program for ``batch_size`` rows
    order : the number of the row that comes at each place, ``n_batches * batch_size`` long
    arguments : for each argument (address of all data, bytes of a row, address of the program's input)
    draws : for each random stream (address of its position, blocks that a step takes)
    results : for each result (address, bytes, address of the first batch's copy)
    """
    lists = [word for rows in (arguments, draws, results) for word in (len(rows), rows.ctypes.data)]
    in_order = len(order) > 0 and bool((order == np.arange(order[0], order[0] + len(order))).all())
    words = [0, 13, table.ctypes.data, order.ctypes.data, batch_size, n_batches, *lists, order[0] if in_order else -1]
    _bound("run_batches", np.array(words, np.int64), unlocked=True)()


def _bound(name: str, row: Words, unlocked: bool) -> Callable[[], None]:
    kernel = kernel_of_module("tinynn.kernels.driver_loops", name)
    if interpreted():
        function = ctypes.CFUNCTYPE(None, ctypes.c_int64)(kernel.address)
        return lambda: function(row.ctypes.data)
    from tinynn.kernels.python_calls import bound

    return bound(kernel.address, row, unlocked)


def as_words(rows: list[list[int]], width: int) -> Words:
    """Lists of words as an array of ``width`` columns, also if there are none."""
    return np.array(rows, np.int64).reshape(-1, width)
