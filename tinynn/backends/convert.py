"""Raw arrays between types, dtypes and devices. Knows no Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.kernels.memory import aligned_empty

ARRAYS: tuple[Any, ...] = (np.ndarray,)  # cupy_backend adds its own
default_device = "cpu"  # where new tensors are made; set by tinynn.use
DEVICES = {"cpu": "cpu", "numpy": "cpu", "numba": "cpu", "cupy": "cuda", "cuda": "cuda", "gpu": "cuda"}


def as_array(value: Any) -> Any:
    """NumPy scalars, lists and numbers as arrays; arrays as they are.

    A NumPy array without axes becomes a NumPy scalar, which has the same attributes and computes five times faster.
    """
    if isinstance(value, ARRAYS) and value.ndim:
        return value
    if value.__class__ is np.ndarray or not isinstance(value, ARRAYS):
        return np.asarray(value)[()]
    return value


def copied(array: Any, dtype: Any) -> Any:
    """A copy in the dtype given, or in its own; a large one begins on a cache line, which kernels like."""
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    if array.__class__ is np.ndarray and array.ndim:
        copy = aligned_empty(array.shape, dtype)
        copy[...] = array
        return copy
    return as_array(array.astype(dtype))


def placed(array: Any) -> Any:
    """A new NumPy array, moved to where new tensors are made."""
    return array if default_device == "cpu" else to_device(array, default_device)


def like(array: Any, model: Any) -> Any:
    """A copy of ``array`` with the dtype and device of ``model``."""
    return copied(to_device(array, device_of(model).split(":")[0]), model.dtype)


def device_of(array: Any) -> str:
    """``"cpu"``, or ``"cuda:0"`` for a CuPy array."""
    device = getattr(array, "device", "cpu")
    return "cpu" if isinstance(device, str) else f"cuda:{device.id}"


def to_host(array: Any) -> Any:
    """The array in the memory of the CPU."""
    return array.get() if hasattr(array, "get") else array


def to_device(array: Any, device: str) -> Any:
    """The array on the CPU (``"cpu"``) or on the current GPU (``"cuda"``)."""
    if device == "cpu":
        return to_host(array)
    from tinynn.backends import cupy_backend

    return cupy_backend.asarray(array)
