"""Memory in which the arrays of tensors lie at whole cache lines, side by side where a program wants them so.

A tensor's array moves there once; the tensor sees it there ever after.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.graph import Leaf, release_edited
from tinynn.kernels.memory import LINE, whole_lines
from tinynn.tensor import Tensor

# the memory by its id, and by where in it an array begins and how long it is: a slice of the array is no home
_homes: weakref.WeakValueDictionary[tuple[int, int, int], Any] = weakref.WeakValueDictionary()


def is_home(array: Any) -> bool:
    """Whether an array lies in memory that was made here for it, from a whole cache line on."""
    base = getattr(array, "base", None)
    if not isinstance(base, np.ndarray) or not array.flags.c_contiguous:
        return False
    return _homes.get((id(base), array.ctypes.data, array.nbytes)) is base


def side_by_side(tensors: Sequence[Tensor]) -> bool:
    """Whether the tensors' arrays follow each other in one such memory, each from a whole cache line on."""
    arrays = [tensor.array for tensor in tensors]
    if not all(map(is_home, arrays)):
        return False
    starts = [array.ctypes.data for array in arrays]
    return all(
        array.base is arrays[0].base and start + whole_lines(array.nbytes) == following
        for array, start, following in zip(arrays, starts, starts[1:], strict=False)
    )


def move_home(tensors: Sequence[Tensor]) -> None:
    """Give the tensors memory side by side; their values stay."""
    arrays = [tensor.array for tensor in tensors]
    raw = np.zeros(sum(whole_lines(array.nbytes) for array in arrays) + 2 * LINE, np.uint8)
    at = -raw.ctypes.data % LINE
    for tensor, array in zip(tensors, arrays, strict=True):
        home = np.ndarray(array.shape, array.dtype, raw, at)
        home[...] = array
        _homes[id(raw), home.ctypes.data, home.nbytes] = raw
        if isinstance(tensor.node, Leaf) and not is_home(array):
            release_edited(tensor.node)
        tensor.array = home
        at += whole_lines(array.nbytes)
