"""New tensors: from data, and zeros, ones, ranges, identity."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from tinynn.backends import convert
from tinynn.dtypes import get_default_dtype
from tinynn.modes import mode
from tinynn.ops import transfer
from tinynn.tensor import Tensor


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested lists, array or tensor
    requires_grad : ask for its gradient
    dtype : type of the elements; by default that of an array, and for Python floats the default dtype (float64,
        see `set_default_dtype`)

    Raises
    ------
    TypeError
        If the data are no numbers, or a gradient of integers is asked for.
    ValueError
        If nested lists are ragged.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.tensor([[1, 2], [3, 4]], dtype="float32")
    tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    if isinstance(data, (list, tuple)) and _holds_tensors(data):
        raise TypeError(
            "tensor() of a list of tensors would drop them from the graph; use tinynn.stack or tinynn.concatenate"
        )
    source = data.array if isinstance(data, Tensor) else data
    if not isinstance(getattr(source, "dtype", None), np.dtype):  # lists, numbers, arrays of other frameworks
        source = _read(source)
        if source.dtype == np.float64 and dtype is None:
            dtype = get_default_dtype()
    if source.dtype.kind not in "fiub" or np.dtype(dtype or source.dtype).kind not in "fiub":
        raise TypeError(f"tensor: the data must be real numbers, not {dtype or source.dtype}")
    if mode.recorder is not None and isinstance(data, Tensor):
        result = transfer.copied(data if dtype is None else transfer.to(data, dtype))
        return result.requires_grad_() if requires_grad else result
    array = convert.copied(source, dtype)
    if isinstance(array, np.ndarray) and not isinstance(data, Tensor):
        array = convert.placed(array)
    result = Tensor(array)
    if mode.recorder is not None:
        mode.recorder.created(result)
    return result.requires_grad_() if requires_grad else result


def _read(data: Any) -> Any:
    """Numbers and nested lists of numbers as an array."""
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: nested lists must be of equal lengths, as the rows of a table ({error})") from None
    if array.dtype == object:
        raise TypeError(f"tensor: the data must be real numbers that fit into 64 bits, not {_short(data)}")
    return array


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _holds_tensors(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, Tensor)


def lengths(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape asked for by ``zeros(2, 3)`` or ``zeros((2, 3))``.

    Raises
    ------
    TypeError
        If a length is not an integer.
    """
    given = shape
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    try:
        return tuple(index(n) for n in shape)
    except TypeError:
        raise TypeError(f"a shape is made of integers, such as (2, 3), but {given} was given") from None


def _made(array: Any, requires_grad: bool) -> Tensor:
    result = Tensor(convert.placed(array))
    if mode.recorder is not None:
        mode.recorder.created(result)
    return result.requires_grad_() if requires_grad else result


def zeros(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.zeros(2, 2)
    tensor([[0., 0.],
            [0., 0.]])
    """
    return _made(np.zeros(lengths(shape), dtype or get_default_dtype()), requires_grad)


def ones(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ones(3)
    tensor([1., 1., 1.])
    """
    return _made(np.ones(lengths(shape), dtype or get_default_dtype()), requires_grad)


def full(shape: Any, value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.full(2, 7.0)
    tensor([7., 7.])
    """
    if dtype is None:
        dtype = get_default_dtype() if isinstance(value, float) else None
    return _made(np.full(shape, value, dtype), requires_grad)


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape, dtype and device of ``x``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.zeros_like(tinynn.tensor([1.0, 2.0]))
    tensor([0., 0.])
    """
    return _made(np.zeros_like(getattr(x, "array", x), dtype), requires_grad)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape, dtype and device of ``x``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.ones_like(tinynn.tensor([1.0, 2.0]))
    tensor([1., 1.])
    """
    return _made(np.ones_like(getattr(x, "array", x), dtype), requires_grad)


def arange(*args: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Evenly spaced numbers: ``arange(stop)``, ``arange(start, stop)``, ``arange(start, stop, step)``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.arange(3)
    tensor([0, 1, 2])
    """
    if dtype is None and any(isinstance(a, float) for a in args):
        dtype = get_default_dtype()
    return _made(np.arange(*args, dtype=dtype), requires_grad)


def linspace(start: float, stop: float, num: int = 50, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """``num`` numbers from ``start`` to ``stop``, both included.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    return _made(np.linspace(start, stop, num, dtype=dtype or get_default_dtype()), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = None) -> Tensor:
    """Ones on the diagonal.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _made(np.eye(n, m, dtype=dtype or get_default_dtype()), False)
