"""Adding into rows or elements chosen by an index, in order: the backward pass of indexing and of embeddings.

``np.add.at`` does the same one element at a time through the machinery of ufuncs. Here values are added in
the order of the index, so the result is the same in every run and with any number of threads (each thread
owns a range of rows of ``out`` and reads the whole index).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .threads import share

__all__ = ["scatter_add_flat", "scatter_add_rows"]

Array = NDArray[Any]

LOOP = {"error_model": "numpy", "nogil": True}


@njit(cache=True, **LOOP)
def _add_rows(first: int, last: int, out: Array, index: Array, values: Array) -> None:
    """out[index[i]] += values[i] for those index[i] that lie in first:last."""
    for i in range(index.size):
        row = index[i] if index[i] >= 0 else index[i] + out.shape[0]
        if first <= row < last:
            for j in range(values.shape[1]):
                out[row, j] += values[i, j]


@njit(cache=True, **LOOP)
def _add_flat(out: Array, index: Array, values: Array) -> None:
    for i in range(index.size):
        out[index[i] if index[i] >= 0 else index[i] + out.size] += values[i]


@njit(cache=True, **LOOP)
def _outside(index: Array, size: int) -> int:
    """Return the position of the first index that is not in [-size, size), or -1."""
    for i in range(index.size):
        if index[i] < -size or index[i] >= size:
            return i
    return -1


def scatter_add_rows(out: Array, index: NDArray[np.integer[Any]], values: Array) -> Array:
    """Add ``values[i]`` to ``out[index[i]]`` for i = 0, 1, ... in this order, in place; return ``out``.

    ``out`` is (M, ...), ``values`` is ``index.shape + out.shape[1:]``, both of one float dtype. Negative
    indices count from the end, as everywhere.

    Examples
    --------
    >>> values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> scatter_add_rows(np.zeros((3, 2)), np.array([2, 0, 2]), values)
    array([[3., 4.],
           [0., 0.],
           [6., 8.]])
    """
    values = _checked(out, index, values, out.shape[1:])
    flat_index = _within(index, out.shape[0])
    width = out[:1].size
    if width:
        rows = out.reshape(-1, width)
        share(_add_rows, len(out), 0.3 * values.size, rows, flat_index, values.reshape(-1, width))
    return out


def scatter_add_flat(out: Array, index: NDArray[np.integer[Any]], values: Array) -> Array:
    """Add ``values[i]`` to element ``index[i]`` of ``out`` read flat, in order and in place; return it.

    Examples
    --------
    >>> scatter_add_flat(np.zeros((2, 2)), np.array([3, 0, 3]), np.array([1.0, 2.0, 4.0]))
    array([[2., 0.],
           [0., 5.]])
    """
    values = _checked(out, index, values, ())
    _add_flat(out.reshape(-1), _within(index, out.size), values.reshape(-1))
    return out


def _checked(out: Array, index: Array, values: Array, trailing: tuple[int, ...]) -> Array:
    """Return contiguous values, or say what does not fit."""
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out of shape {out.shape} must be writeable and C-contiguous: it is changed in place")
    if index.dtype.kind not in "iu":
        raise TypeError(f"index has dtype {index.dtype}: positions are integers (a mask goes through np.flatnonzero)")
    if values.shape != index.shape + trailing:
        raise ValueError(
            f"values has shape {values.shape}, but index of shape {index.shape} into out of shape "
            f"{out.shape} needs {index.shape + trailing}"
        )
    if values.dtype != out.dtype:
        raise TypeError(f"values is {values.dtype} and out is {out.dtype}: cast one of them")
    return np.ascontiguousarray(values)


def _within(index: Array, size: int) -> NDArray[np.int64]:
    """Return the index as a flat int64 array, or name the first entry that points outside."""
    flat = np.ascontiguousarray(index.reshape(-1), np.int64)
    bad = _outside(flat, size)
    if bad >= 0:
        raise IndexError(f"index holds {flat[bad]} at flat position {bad}, but there are only {size} places to add to")
    return flat
