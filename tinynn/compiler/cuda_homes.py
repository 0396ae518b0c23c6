"""Tensors side by side in the GPU's memory, so that one loop updates them all."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

from tinynn.kernels.memory import LINE, whole_lines
from tinynn.tensor import Tensor

__all__ = ["move_home", "side_by_side"]

_homes: dict[int, tuple[Any, Any, int, int]] = {}  # id of an array -> the array (weakly), its block, begin and end


def side_by_side(tensors: Sequence[Tensor]) -> bool:
    """Whether arrays were put into one block, one after the other."""
    found = [_homes.get(id(tensor.array)) for tensor in tensors]
    places = [home for home, t in zip(found, tensors, strict=True) if home is not None and home[0]() is t.array]
    return len(places) == len(found) and all(a[1] is b[1] and a[3] == b[2] for a, b in itertools.pairwise(places))


def move_home(tensors: Sequence[Tensor], device: Any) -> None:
    """Give tensors memory side by side; their values stay."""
    lengths = [whole_lines(int(t.array.nbytes)) for t in tensors]
    block = device.zeros(sum(lengths) + LINE)
    token, at = object(), 0
    for tensor, length in zip(tensors, lengths, strict=True):
        home = device.window(block, at, tensor.array.shape, tensor.array.dtype)
        device.store(home, tensor.array)
        tensor.array = home
        _homes[id(home)] = (weakref.ref(home), token, at, at + length)
        weakref.finalize(home, _homes.pop, id(home), None).atexit = False
        at += length
