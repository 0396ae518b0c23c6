"""Which namespace an array belongs to, and which ops have a kernel under the backend in use.

The tables are empty under the ``numpy`` backend. `tinynn.backends.numba_backend` and `cupy_backend` fill them.
"""

from __future__ import annotations

import numbers
import sys
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


def resolved(values: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """A namespace, and the values; lists and numbers as arrays if no array is among them: ``mean([1.0, 2.0])``."""
    if any(value.__class__ in NAMESPACES for value in values):
        return namespace_of(values), values
    python = (list, tuple, int, float)
    return numpy_backend, [np.asarray(value)[()] if isinstance(value, python) else value for value in values]


def as_operand(value: Any) -> Any:
    """Make something that is combined with a Tensor ready for an op.

    NumPy scalars become Python numbers, so that they do not widen a float32 tensor; lists become arrays.

    Raises
    ------
    TypeError
        For a complex number: gradients here are those of real functions.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return np.asarray(value)
    if isinstance(value, complex):
        raise TypeError(f"{value!r} is complex; tensors hold real numbers: keep real and imaginary part in two tensors")
    if isinstance(value, numbers.Real) and not isinstance(value, (int, float)):
        return float(value)  # a Fraction, which NumPy would make an array of objects of
    return value


def same_memory(a: Any, b: Any) -> bool:
    """Whether ``a``, an array or a tuple of arrays, may lie in the memory of the array ``b``."""
    if isinstance(a, tuple):
        return any(same_memory(part, b) for part in a)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.may_share_memory(a, b)
    return hasattr(a, "base") and owner(a) is owner(b)  # CuPy; NumPy's scalars are never edited


def owner(array: Any) -> Any:
    """The array whose memory an array lies in."""
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
    """Warn, at the user's line, the first time in a process that this message (or one with the same key) is given."""
    if (key or message) not in _warned:
        _warned.add(key or message)
        frame, level = sys._getframe(1), 2
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tinynn."):
            frame, level = frame.f_back, level + 1
        warnings.warn(message, category, stacklevel=level)
