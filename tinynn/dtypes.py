"""The dtype of new tensors: float64, unless it is set to float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.changes import changes

float32, float64, int64, bool_ = map(np.dtype, (np.float32, np.float64, np.int64, np.bool_))
_default_dtype = float64


def get_default_dtype() -> np.dtype[Any]:
    """The dtype of tensors made from Python floats, and of new parameters.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.get_default_dtype()
    dtype('float64')
    """
    return _default_dtype


def set_default_dtype(dtype: Any) -> None:
    """Choose float32 or float64 for tensors made from Python floats, and for new parameters.

    Raises
    ------
    TypeError
        If the dtype is not a floating-point type.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.set_default_dtype("float32")
    >>> tinynn.tensor([1.0]).dtype
    dtype('float32')
    >>> tinynn.set_default_dtype("float64")
    """
    global _default_dtype
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype("float32"), np.dtype("float64")):
        raise TypeError(f"set_default_dtype: float32 or float64, not {dtype}")
    if dtype != _default_dtype:
        changes.bump()
    _default_dtype = dtype
