"""The compiled loops over a table's rows, and over the minibatches of an epoch. They are kernels themselves.

`tinynn.kernels.driver` tells what a table's first words are.
"""

from __future__ import annotations

from numba import njit

from tinynn.kernels.driver import CELLS, HEAD, ROWS, SCALAR_BYTES, SCALARS
from tinynn.kernels.native import as_float32, as_int32, as_int64, call, kernel, row_at

__all__ = ["run_batches", "run_rows", "run_step"]


@kernel
def run_rows(row):
    """Rows without a head; words: how many, where the first one is."""
    table, at = as_int64(row[3]), 0
    for _ in range(row[2]):
        call(row_at(table, at))
        at += table[at + 1]


@kernel
def run_step(table):
    """One step of a table with its head."""
    cells, scalars = as_int32(table[CELLS], 0), as_int32(table[SCALARS], 1)
    for i in range(table[SCALAR_BYTES] >> 2):
        cells[i] = scalars[i]
    table[SCALARS] += table[SCALAR_BYTES]
    at = HEAD
    for _ in range(table[ROWS]):
        call(row_at(table, at))
        at += table[at + 1]


@njit(error_model="numpy")  # compiled as part of its caller
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


@kernel
def run_batches(row):
    """One step for each minibatch.

    The words are: the table's address, order, batch size, batches, then how many and where: arguments (address of all
    data, bytes of a row, address of the program's input), draws (address of a stream's position, blocks that a step
    takes), results (address, bytes, address of the first batch's copy); then the number of the first row if rows are
    taken in their order, else -1.
    """
    table, order, batch_size, n_batches = as_int64(row[2]), as_int64(row[3]), row[4], row[5]
    n_arguments, arguments = row[6], as_int64(row[7])
    n_draws, draws = row[8], as_int64(row[9])
    n_results, results = row[10], as_int64(row[11])
    first = row[12]
    for batch in range(n_batches):
        for a in range(n_arguments):
            source, nbytes, target = arguments[3 * a], arguments[3 * a + 1], arguments[3 * a + 2]
            if first >= 0:
                _copy(target, source + (first + batch * batch_size) * nbytes, batch_size * nbytes)
            else:
                for i in range(batch_size):
                    _copy(target + i * nbytes, source + order[batch * batch_size + i] * nbytes, nbytes)
        _copy(table[CELLS], table[SCALARS], table[SCALAR_BYTES])
        table[SCALARS] += table[SCALAR_BYTES]
        at = HEAD
        for _ in range(table[ROWS]):
            call(row_at(table, at))
            at += table[at + 1]
        for d in range(n_draws):
            position = as_int64(draws[2 * d])
            position[1] += draws[2 * d + 1]
        for r in range(n_results):
            _copy(results[3 * r + 2] + batch * results[3 * r + 1], results[3 * r], results[3 * r + 1])
