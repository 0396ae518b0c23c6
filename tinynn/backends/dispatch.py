"""Which namespace an array belongs to, and which ops have a kernel under the backend in use.

The tables are empty under the ``numpy`` backend. `tinynn.backends.numba_backend` and `cupy_backend` fill them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynn.backends import numpy_backend

# type of array -> the namespace that ``Op.forward`` gets as ``xp``; CuPy arrays and symbolic scalars are added when
# used
NAMESPACES: dict[type, Any] = {
    np.ndarray: numpy_backend,
    np.float64: numpy_backend,
    np.float32: numpy_backend,
}

# types of operand that need no conversion when they are combined with a Tensor
PLAIN_TYPES: set[type] = {np.ndarray, float, int, bool, type(None)}

# type of array -> class of op -> kernel(op, *arrays), and kernel(op, g, saved, parents) -> one gradient per input.
# A kernel returns None where it does not want the job (mixed dtypes, odd layouts).
FORWARD_KERNELS: dict[type, dict[type, Callable[..., Any]]] = {np.ndarray: {}}
GRADIENT_KERNELS: dict[type, dict[type, Callable[..., Any]]] = {np.ndarray: {}}


def namespace_of(arrays: Sequence[Any]) -> Any:
    """The namespace of the first array that has one; NumPy's where there is none."""
    for array in arrays:
        namespace = NAMESPACES.get(array.__class__)
        if namespace is not None:
            return namespace
    return numpy_backend


def as_operand(value: Any) -> Any:
    """Make something that is combined with a Tensor ready for an op.

    NumPy scalars become Python numbers, so that they do not widen a float32 tensor; lists become arrays.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return np.asarray(value)
    return value


def same_memory(a: Any, b: Any) -> bool:
    """Whether two arrays are views of one array."""
    return _owner(a) is _owner(b)


def _owner(array: Any) -> Any:
    while type(base := getattr(array, "base", None)) is type(array):
        array = base
    return array


def describe(array: Any) -> str:
    """``float64 (3, 4)`` for messages."""
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        return f"{array.dtype} {tuple(array.shape)}"
    return repr(array)


_warned: set[str] = set()


def warn_once(message: str, category: type[Warning], key: str | None = None) -> None:
    """Warn the first time in a process that this message (or one with the same key) is given."""
    if (key or message) not in _warned:
        _warned.add(key or message)
        warnings.warn(message, category, stacklevel=4)
