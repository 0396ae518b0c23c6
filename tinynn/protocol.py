"""How a tensor behaves as a Python object: length, iteration, truth, conversion to numbers, copies, NumPy's functions.

What would be silently wrong raises here, with the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import convert
from tinynn.graph import GraphError
from tinynn.modes import mode
from tinynn.ops.ufuncs import ARRAY_FUNCTIONS, UFUNCS

if TYPE_CHECKING:
    from tinynn.tensor import Tensor


# What users of other libraries look for, and what it is called here (docs/from_pytorch.md has the whole table).
NAMES_ELSEWHERE = {
    "view": "use reshape(...)",
    "unsqueeze": "use tinynn.expand_dims(x, axis), or x[..., None]",
    "clamp": "use clip(minimum, maximum)",
    "permute": "use transpose(axes)",
    "t": "use .T",
    "cpu": "use to('cpu')",
    "cuda": "use to('cupy')",
    "float": "use to('float32')",
    "double": "use to('float64')",
    "long": "use to('int64')",
    "data": "use detach() to read, and assign_(value) to overwrite a parameter",
    "zero_": "use assign_(0.0 * x); gradients are forgotten by optimizer.zero_grad()",
    "unbind": "use list(x)",
    "expand": "use tinynn.broadcast_to(x, shape)",
    "gather": "use tinynn.take_along_axis(x, indices, axis)",
    "norm": "use tinynn.norm(x)",
    "pow": "use x**p",
    "add": "use x + y",
    "mul": "use x * y",
}


class PythonProtocol:
    """The methods with double underscores that are no operators, and conversions to Python's and NumPy's types."""

    __slots__ = ()

    def item(self: Any) -> Any:
        """The single element as a Python number.

        Raises
        ------
        ValueError
            If there is more or less than one element.
        """
        if self.size != 1:
            raise ValueError(
                f"item() needs one element, but the tensor has shape {self.shape}; reduce it, or use .tolist()"
            )
        if mode.recorder is not None:
            mode.recorder.reading(self, ".item()")
        return self.array.item()

    def tolist(self: Any) -> Any:
        """Nested Python lists of numbers."""
        if mode.recorder is not None:
            mode.recorder.reading(self, ".tolist()")
        return self.array.tolist()

    def numpy(self: Any) -> np.ndarray[Any, Any]:
        """A read-only NumPy view of the elements (a copy from the GPU). ``.numpy().copy()`` may be written to."""
        if mode.recorder is not None:
            mode.recorder.reading(self, ".numpy()")
        array = np.asarray(convert.to_host(self.array)).view()
        array.flags.writeable = False
        return array

    def __len__(self: Any) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-dimensional tensor")
        return self.shape[0]

    def __iter__(self: Any) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-dimensional tensor")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self: Any) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use (a == b).all() or .any(), or "
                "tinynn.where"
            )
        if mode.recorder is not None:
            mode.recorder.reading(self, "bool() (if, while, and, or, not, assert)")
        return bool(self.array)

    def __float__(self: Any) -> float:
        return float(self._single("float"))

    def __int__(self: Any) -> int:
        return int(self._single("int"))

    def __index__(self: Any) -> int:
        if self.dtype.kind not in "iu" or self.size != 1:
            raise TypeError(f"only a tensor of one integer can be an index, this is {self.describe()}")
        return int(self.item())

    def __complex__(self: Any) -> complex:
        return complex(self._single("complex"))

    def __format__(self: Any, spec: str) -> str:
        return format(self.item(), spec) if self.size == 1 and spec else format(repr(self), spec)

    def _single(self: Any, what: str) -> Any:
        if self.size != 1:
            raise TypeError(f"{what}() needs one element, but the tensor has shape {self.shape}; reduce it first")
        if mode.recorder is not None:
            mode.recorder.reading(self, f"{what}()")
        return self.array.item()

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        raise TypeError(
            "tensors are not edited in place, because a graph may need the old values. Use tinynn.where(mask, new, "
            "old), tinynn.concatenate, or tinynn.scatter_add(x, index, values); to overwrite a parameter use assign_()."
        )

    def __contains__(self: Any, value: Any) -> bool:
        if mode.recorder is not None:
            mode.recorder.reading(self, "the operator `in`")
        return bool((self.array == getattr(value, "array", value)).any())

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        if not self.is_leaf:
            raise GraphError("only leaves can be deep-copied; detach() the tensor first")
        if mode.recorder is not None:
            mode.recorder.reading(self, "copy.deepcopy()")
        copied = _rebuild(type(self), self.array.copy(), self.node is not None)
        if self._grad is not None:
            copied._grad = _rebuild(type(self._grad), self._grad.array.copy(), False)
        memo[id(self)] = copied
        return copied

    def __reduce__(self: Any) -> Any:
        return _rebuild, (type(self), self.numpy().copy(), self.is_leaf and self.requires_grad)

    def __array_ufunc__(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """``ndarray * tensor`` and ``np.exp(tensor)`` come here and give Tensors."""
        function: Any = UFUNCS.get(ufunc.__name__) if method == "__call__" and not kwargs else None
        if "out" in kwargs:
            raise TypeError(
                f"numpy.{ufunc.__name__} cannot write a tensor's result into an array: `a += t` on a NumPy array does "
                "that. Write a = a + t, which is a tensor, or use t.detach().numpy()"
            )
        if function is None:
            raise TypeError(
                f"numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method} is not defined for tensors; use "
                "the function in tinynn, or .detach().numpy() to leave the graph"
            )
        return function(*inputs)

    def __array_function__(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """``np.sum(tensor)`` and the like give what the library's function of that name gives.

        Other functions of NumPy work on the values of tensors that require no gradient, and refuse the rest.
        """
        import tinynn

        name = function.__name__
        if name in ("shape", "ndim", "size"):
            return getattr(args[0], name)
        if name in ARRAY_FUNCTIONS:
            return getattr(tinynn, name)(*args, **kwargs)
        return function(*_as_numpy(args), **{key: _as_numpy(value) for key, value in kwargs.items()})


class _NameElsewhere:
    """In the place of an attribute that a tensor does not have: says what to use. (A ``__getattr__`` would slow all
    other attributes down.)"""

    def __init__(self, name: str, hint: str) -> None:
        self.name, self.hint = name, hint

    def __get__(self, tensor: Any, kind: type) -> Any:
        if tensor is None:
            return self
        raise AttributeError(f"a tensor has no attribute {self.name!r}; {self.hint}")


for _name, _hint in NAMES_ELSEWHERE.items():
    setattr(PythonProtocol, _name, _NameElsewhere(_name, _hint))


def _as_numpy(value: Any) -> Any:
    """Tensors in arguments as NumPy arrays (`Tensor.__array__` refuses those that require a gradient)."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(_as_numpy, value))
    return np.asarray(value) if isinstance(value, PythonProtocol) else value


def _rebuild(kind: Any, array: Any, requires_grad: bool) -> Any:
    """A tensor of a class whose constructor may want something else, such as Parameter."""
    result = kind.__new__(kind)
    result.array, result.node, result._grad = convert.as_array(array), None, None
    return result.requires_grad_() if requires_grad else result
