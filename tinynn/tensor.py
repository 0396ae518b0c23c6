"""Tensor: an array, and the node that made it. All mathematics is in `tinynn.ops`.

The methods of a Tensor *are* the library's functions: ``x.sum(axis=0)`` is ``tinynn.sum(x, axis=0)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn import autodiff
from tinynn.autodiff import GraphError, Leaf, Node, backpropagate
from tinynn.backends import convert
from tinynn.ops import arithmetic, elementwise, indexing, linalg, reduce, transfer
from tinynn.ops import shape as shapes

_ARRAY_TYPES: set[type] = {np.ndarray, np.float64, np.float32}
_default_dtype = np.dtype(np.float64)


class Tensor:
    """An n-dimensional array that can remember how it was computed.

    Make one with `tinynn.tensor`; the class itself wraps an array without copying it.

    Attributes
    ----------
    array : the raw NumPy or CuPy array. Not to be written to: other tensors may share it.
    node : the `Node` that made it, a `Leaf` for a tensor that wants a gradient, or None
    grad : dL/d(this tensor), a Tensor, after ``backward()``. Only leaves keep it, and it *accumulates*:
        each ``backward()`` adds to it until it is set to None (``optimizer.zero_grad()``).

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ("array", "node", "_grad", "__weakref__")

    def __init__(self, array: Any, node: Node | None = None) -> None:
        if array.__class__ not in _ARRAY_TYPES:  # a scalar, a list, or an array of another kind
            array = convert.as_array(array)
        self.array = array
        self.node = node
        self._grad: Tensor | None = None

    # ------------------------------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.array.dtype

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:0"``: where the array lives."""
        return convert.device_of(self.array)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """True for what no recorded operation made."""
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf."""
        if not self.is_leaf:
            raise GraphError(
                f"{self.describe()} is the result of {type(self.node.op).__name__}: only leaves keep .grad. "  # type: ignore[union-attr]
                "Ask for it with tinynn.grad(loss, tensor), or detach().requires_grad_() to make a leaf."
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else tensor(value, dtype=self.dtype)
            if value.shape != self.shape:
                raise ValueError(f"grad: a gradient of shape {value.shape} does not fit {self.describe()}")
        elif isinstance(self.node, Leaf):
            self.node.consumed = False
        self._grad = value

    def describe(self) -> str:
        """A few words for messages."""
        return f"a {self.dtype} tensor of shape {self.shape}"

    # -------------------------------------------------------------------------------------- differentiation

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for the gradient of this tensor (or no longer). Returns the tensor itself.

        Raises
        ------
        TypeError
            If the elements are integers or bools: they have no derivative.
        GraphError
            If the tensor is the result of an operation.
        """
        if requires_grad:
            if self.dtype.kind != "f":
                raise TypeError(f"only floating-point tensors have gradients, this is {self.describe()}; use .to('float64')")
            if self.node is None:
                self.node = Leaf(self)
        elif not self.is_leaf:
            raise GraphError("requires_grad cannot be switched off for the result of an operation; use detach()")
        else:
            self.node = None
            self._grad = None
        return self

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add dL/d(leaf) to the ``grad`` of every leaf that this tensor L was computed from.

        Parameters
        ----------
        gradient : dL/d(this tensor) where it is not a scalar: the cotangent, of the tensor's shape
        retain_graph : keep what the graph saved, so that it can be walked again; as ``create_graph`` if None
        create_graph : record the gradients' own computation, for derivatives of derivatives

        Raises
        ------
        GraphError
            If nothing in the graph wants a gradient, the graph was freed, or a saved array was edited.
        ValueError
            If the tensor is no scalar and no gradient is given, or its shape does not fit.
        """
        if self.node is None:
            raise GraphError(
                f"backward() on {self.describe()} that does not depend on anything with requires_grad=True"
                + ("" if autodiff.is_grad_enabled() else " (recording is off: this is inside no_grad)")
            )
        g = _seed(self, gradient, create_graph)
        keep = create_graph if retain_graph is None else retain_graph
        found = backpropagate({self.node: g}, record=create_graph, keep=keep)
        for leaf, value in found.items():
            if isinstance(leaf, Leaf):
                leaf.accumulate(value)

    def detach(self) -> Tensor:
        """The same array, outside the graph."""
        return elementwise.stop_gradient(self)

    def clone(self) -> Tensor:
        """A copy that stays in the graph."""
        return self + 0.0 if self.node is not None else Tensor(self.array.copy())

    # ---------------------------------------------------------------------------------------- to other types

    def item(self) -> Any:
        """The single element as a Python number.

        Raises
        ------
        ValueError
            If there is more or less than one element.
        """
        if self.size != 1:
            raise ValueError(f"item() needs one element, but the tensor has shape {self.shape}; reduce it, or use .tolist()")
        return self.array.item()

    def tolist(self) -> Any:
        """Nested Python lists of numbers."""
        return self.array.tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """A read-only NumPy view of the elements (a copy from the GPU). ``.numpy().copy()`` may be written to."""
        array = np.asarray(convert.to_host(self.array)).view()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.node is not None and autodiff.is_grad_enabled():
            raise TypeError(
                "a tensor that requires a gradient does not turn into a NumPy array by itself: NumPy would drop it from the "
                "graph. Use tinynn's functions (tinynn.stack for a list of tensors), or t.detach().numpy()."
            )
        array = self.numpy()
        array = array if dtype is None else array.astype(dtype, copy=False)
        return array.copy() if copy else array

    # ---------------------------------------------------------------------------------------- changing values

    def assign_(self, value: Any) -> Tensor:
        """Overwrite the elements of a leaf. The only edit in place that there is: optimizers use it.

        Raises
        ------
        ValueError
            If the shape differs.
        GraphError
            If the tensor is the result of a recorded operation.
        """
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        if tuple(array.shape) != self.shape:
            raise ValueError(f"assign_: a value of shape {tuple(array.shape)} does not fit {self.describe()}")
        if not self.is_leaf:
            raise GraphError("assign_ on the result of an operation would make its gradient wrong; assign to a leaf")
        if isinstance(self.node, Leaf) and isinstance(self.array, convert.ARRAYS):
            autodiff.note_edit(self.node, autodiff.user_line())
            self.array[...] = array
        else:  # no graph refers to the array's memory by way of a leaf: a new array leaves older results alone
            self.array = convert.like(array, self.array)
        if autodiff.mode.observer is not None:
            autodiff.mode.observer.assigned(self, value)
        return self

    def copy_(self, source: Any) -> Tensor:
        """Overwrite the elements; see `assign_`."""
        return self.assign_(source)

    # -------------------------------------------------------------------------------------------- Python protocol

    def __repr__(self) -> str:
        body = np.array2string(np.asarray(convert.to_host(self.array)), separator=", ", prefix="tensor(")
        extra = "" if self.dtype in (_default_dtype, np.dtype(int), np.dtype(bool)) else f", dtype={self.dtype}"
        extra += "" if self.device == "cpu" else f", device={self.device}"
        if isinstance(self.node, Leaf):
            extra += ", requires_grad=True"
        elif self.node is not None:
            extra += f", op={type(self.node.op).__name__}"
        return f"tensor({body}{extra})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-dimensional tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-dimensional tensor")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use (a == b).all() or .any(), or tinynn.where"
            )
        return bool(self.array)

    def __float__(self) -> float:
        return float(self._single("float"))

    def __int__(self) -> int:
        return int(self._single("int"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.size != 1:
            raise TypeError(f"only a tensor of one integer can be an index, this is {self.describe()}")
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self._single("complex"))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.size == 1 and spec else format(repr(self), spec)

    def _single(self, what: str) -> Any:
        if self.size != 1:
            raise TypeError(f"{what}() needs one element, but the tensor has shape {self.shape}; reduce it first")
        return self.array.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "tensors are not edited in place, because a graph may need the old values. Use tinynn.where(mask, new, old), "
            "tinynn.concatenate, or tinynn.scatter_add(x, index, values); to overwrite a parameter use assign_()."
        )

    def __contains__(self, value: Any) -> bool:
        return bool((self.array == getattr(value, "array", value)).any())

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GraphError("only leaves can be deep-copied; detach() the tensor first")
        copied = type(self).__new__(type(self))
        Tensor.__init__(copied, self.array.copy())
        if self.node is not None:
            copied.requires_grad_()
            copied._grad = None if self._grad is None else Tensor(self._grad.array.copy())
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.numpy().copy(), self.is_leaf and self.requires_grad)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """``ndarray * tensor`` and ``np.exp(tensor)`` come here and give Tensors."""
        function = _UFUNCS.get(ufunc.__name__) if method == "__call__" and not kwargs else None
        if function is None:
            raise TypeError(
                f"numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method} is not defined for tensors; use the function "
                "in tinynn, or .detach().numpy() to leave the graph"
            )
        return function(*inputs)

    # --------------------------------------------------------------------------- operators: the functions of ops/

    __hash__ = object.__hash__
    __add__ = arithmetic.add
    __radd__ = arithmetic.radd
    __sub__ = arithmetic.subtract
    __rsub__ = arithmetic.rsub
    __mul__ = arithmetic.multiply
    __rmul__ = arithmetic.rmul
    __truediv__ = arithmetic.divide
    __rtruediv__ = arithmetic.rdiv
    __floordiv__ = arithmetic.floor_divide
    __rfloordiv__ = arithmetic.rfloordiv
    __mod__ = arithmetic.remainder
    __rmod__ = arithmetic.rmod
    __pow__ = arithmetic.power
    __rpow__ = arithmetic.rpow
    __neg__ = arithmetic.negative
    __abs__ = elementwise.abs
    __matmul__ = linalg.matmul
    __rmatmul__ = linalg.rmatmul
    __eq__ = arithmetic.equal  # type: ignore[assignment]
    __ne__ = arithmetic.not_equal  # type: ignore[assignment]
    __lt__ = arithmetic.less
    __le__ = arithmetic.less_equal
    __gt__ = arithmetic.greater
    __ge__ = arithmetic.greater_equal
    __and__ = __rand__ = arithmetic.logical_and
    __or__ = __ror__ = arithmetic.logical_or
    __invert__ = arithmetic.logical_not
    __getitem__ = indexing.getitem

    exp = elementwise.exp
    log = elementwise.log
    sqrt = elementwise.sqrt
    square = elementwise.square
    abs = elementwise.abs
    sin = elementwise.sin
    cos = elementwise.cos
    tanh = elementwise.tanh
    sigmoid = elementwise.sigmoid
    relu = elementwise.relu
    clip = elementwise.clip
    sum = reduce.sum
    mean = reduce.mean
    max = reduce.max
    min = reduce.min
    cumsum = reduce.cumsum
    argmax = reduce.argmax
    argmin = reduce.argmin
    dot = linalg.dot
    reshape = shapes.reshape
    ravel = flatten = shapes.ravel
    transpose = shapes.transpose
    swapaxes = shapes.swapaxes
    squeeze = shapes.squeeze
    repeat = shapes.repeat
    take = indexing.take
    to = astype = transfer.to

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return shapes.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return shapes.swapaxes(self, -1, -2)

    def prod(self, axis: reduce.Axis = None, keepdims: bool = False) -> Tensor:
        """Product of the elements over ``axis``; see `tinynn.prod`."""
        from tinynn.functional import prod

        return prod(self, axis, keepdims)

    def var(self, axis: reduce.Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """Variance over ``axis``; see `tinynn.var`."""
        from tinynn.functional import var

        return var(self, axis, ddof, keepdims)

    def std(self, axis: reduce.Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """Standard deviation over ``axis``; see `tinynn.std`."""
        from tinynn.functional import std

        return std(self, axis, ddof, keepdims)

    def all(self) -> Tensor:
        """Whether all elements are true."""
        return Tensor(self.array.all())

    def any(self) -> Tensor:
        """Whether any element is true."""
        return Tensor(self.array.any())


class Parameter(Tensor):
    """A tensor that a module trains: it wants a gradient, and `nn.Module` lists it.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(tensor(data).array)
        if requires_grad:
            self.requires_grad_()


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
        raise TypeError("tensor() of a list of tensors would drop them from the graph; use tinynn.stack or tinynn.concatenate")
    source = data.array if isinstance(data, Tensor) else data
    if not hasattr(source, "dtype"):
        source = np.asarray(source)
        if source.dtype == np.float64 and dtype is None:
            dtype = _default_dtype
    if source.dtype.kind not in "fiub":
        raise TypeError(f"tensor: the data must be real numbers, not {source.dtype}")
    array = convert.copied(source, dtype)
    if isinstance(array, np.ndarray) and not isinstance(data, Tensor):
        array = convert.placed(array)
    result = Tensor(array)
    return result.requires_grad_() if requires_grad else result


def _holds_tensors(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, Tensor)


def _rebuild(kind: type[Tensor], array: Any, requires_grad: bool) -> Tensor:
    result = kind.__new__(kind)
    Tensor.__init__(result, convert.as_array(array))
    return result.requires_grad_() if requires_grad else result


def _seed(output: Tensor, gradient: Any, record: bool) -> Any:
    """Where the walk back starts: dL/d(output), 1 for a scalar."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"backward() of {output.describe()}: only a scalar has a gradient by itself. Reduce it (loss.mean()), or give "
                f"the gradient argument, of shape {output.shape}."
            )
        g = convert.as_array(np.ones_like(output.array))  # CuPy arrays answer through NumPy's dispatch
    else:
        given = gradient if isinstance(gradient, Tensor) else Tensor(np.asarray(gradient, output.dtype))
        if given.shape != output.shape:
            raise ValueError(f"backward: a gradient of shape {given.shape} does not fit an output of shape {output.shape}")
        if record:
            return given
        g = given.array
    return Tensor(g) if record else g


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
    _default_dtype = dtype


_UFUNCS = {
    "add": arithmetic.add,
    "subtract": arithmetic.subtract,
    "multiply": arithmetic.multiply,
    "divide": arithmetic.divide,
    "floor_divide": arithmetic.floor_divide,
    "remainder": arithmetic.remainder,
    "power": arithmetic.power,
    "negative": arithmetic.negative,
    "matmul": linalg.matmul,
    "equal": arithmetic.equal,
    "not_equal": arithmetic.not_equal,
    "less": arithmetic.less,
    "less_equal": arithmetic.less_equal,
    "greater": arithmetic.greater,
    "greater_equal": arithmetic.greater_equal,
    "absolute": elementwise.abs,
    "exp": elementwise.exp,
    "expm1": elementwise.expm1,
    "log": elementwise.log,
    "log1p": elementwise.log1p,
    "sqrt": elementwise.sqrt,
    "square": elementwise.square,
    "sin": elementwise.sin,
    "cos": elementwise.cos,
    "tanh": elementwise.tanh,
    "sign": elementwise.sign,
    "floor": elementwise.floor,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
}

autodiff.Tensor = Tensor  # type: ignore[misc]  # the engine makes Tensors; it could not import us before we existed
