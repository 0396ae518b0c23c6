"""A stand-in for CuPy on machines without a GPU: arrays that refuse to be mixed with NumPy's, as CuPy's do.

It cannot say whether CUDA code is right. It does say whether the library keeps GPU arrays on the GPU: a NumPy array
that slips into a computation raises, as it would with CuPy.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Device:
    id = 0


class GPUArray(NDArrayOperatorsMixin):
    """A NumPy array in disguise."""

    device = Device()

    def __init__(self, array: Any) -> None:
        self.hidden = np.asarray(array)

    def get(self) -> np.ndarray:
        """The array on the CPU, a copy."""
        return self.hidden.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        refuse_numpy((*inputs, *(out or ())))
        if out is not None:
            kwargs["out"] = plain(out)
        return on_gpu(getattr(ufunc, method)(*plain(inputs), **kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        refuse_numpy(args)
        return on_gpu(function(*plain(args), **{name: plain(value) for name, value in kwargs.items()}))

    def __getattr__(self, name: str) -> Any:
        if name == "hidden":
            raise AttributeError(name)
        value = getattr(self.hidden, name)
        if not callable(value):
            return value if name != "base" and name != "T" else on_gpu(value)
        if name in ("item", "tolist"):
            return value
        return lambda *args, **kwargs: on_gpu(value(*plain(args), **kwargs))

    def __len__(self) -> int:
        return len(self.hidden)

    def __float__(self) -> float:
        return float(self.hidden)

    def __int__(self) -> int:
        return int(self.hidden)

    def __bool__(self) -> bool:
        return bool(self.hidden)

    def __getitem__(self, index: Any) -> Any:
        return on_gpu(self.hidden[plain(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        refuse_numpy((value,))
        self.hidden[plain(index)] = plain(value)


def plain(value: Any) -> Any:
    """Without the disguise."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(plain, value))
    return value.hidden if isinstance(value, GPUArray) else value


def refuse_numpy(values: Any) -> None:
    """CuPy does not compute with NumPy arrays."""
    for value in values:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("unsupported type <class 'numpy.ndarray'>")


def on_gpu(result: Any) -> Any:
    """CuPy returns arrays without axes where NumPy returns scalars."""
    if isinstance(result, tuple):
        return tuple(on_gpu(x) for x in result)
    return GPUArray(result) if isinstance(result, (np.ndarray, np.generic)) else result


def fake_cupy() -> types.ModuleType:
    """The functions of NumPy, for arrays on the pretended GPU."""
    module = types.ModuleType("cupy")

    def attribute(name: str) -> Any:
        original = getattr(np, name)
        if not callable(original) or isinstance(original, type):
            return original

        def call(*args: Any, **kwargs: Any) -> Any:
            refuse_numpy(args)
            return on_gpu(original(*plain(args), **kwargs))

        return call

    def as_strided(x: GPUArray, shape: Any, strides: Any) -> GPUArray:
        return GPUArray(np.lib.stride_tricks.as_strided(x.hidden, shape, strides))

    module.__getattr__ = attribute
    module.ndarray = GPUArray
    module.asarray = GPUArray
    module.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))
    return module
