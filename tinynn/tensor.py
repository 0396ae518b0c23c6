"""Tensor: an array, and the node that made it. All mathematics is in `tinynn.ops`.

The methods of a Tensor *are* the library's functions: ``x.sum(axis=0)`` is ``tinynn.sum(x, axis=0)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import autodiff
from tinynn.autodiff import backpropagate
from tinynn.backends import convert
from tinynn.changes import changes
from tinynn.dtypes import get_default_dtype
from tinynn.graph import GraphError, Leaf, Node, note_edit, note_forgotten_zero_grad, user_line
from tinynn.modes import is_grad_enabled, mode
from tinynn.ops import (
    activations,
    arithmetic,
    comparison,
    elementwise,
    indexing,
    joining,
    linalg,
    piecewise,
    reduce,
    transfer,
)
from tinynn.ops import shape as shapes
from tinynn.protocol import PythonProtocol

# Arrays and NumPy's scalars are kept as they are, the very objects, so that an observer recognises them.
_ARRAY_TYPES: set[type] = {np.ndarray, *(np.dtype(code).type for code in np.typecodes["AllInteger"] + "?efd")}


class Tensor(PythonProtocol):
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

    __slots__ = ("__weakref__", "_grad", "array", "node")

    def __init__(self, array: Any, node: Node | None = None) -> None:
        if array.__class__ not in _ARRAY_TYPES:  # a scalar, a list, or an array of another kind
            array = convert.as_array(array)
        self.array = array
        self.node: Any = node
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
                f"{self.describe()} is the result of {type(self.node.op).__name__}: only leaves keep .grad. Ask for it "
                "with tinynn.grad(loss, tensor), or detach().requires_grad_() to make a leaf."
            )
        if mode.recorder is not None:
            mode.recorder.gradient_read(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if mode.recorder is not None:
            mode.recorder.gradient_written(self)
        if value is not None:
            if not isinstance(value, Tensor):
                value = Tensor(np.array(value, self.dtype))
                if mode.recorder is not None:
                    mode.recorder.created(value)
            if value.shape != self.shape:
                raise ValueError(f"grad: a gradient of shape {value.shape} does not fit {self.describe()}")
        elif isinstance(self.node, Leaf):
            self.node.consumed = False
        self._grad = value
        changes.bump()

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
        if mode.recorder is not None:
            mode.recorder.requires_grad_set(self, requires_grad)
        if requires_grad:
            if self.dtype.kind != "f":
                raise TypeError(
                    f"only floating-point tensors have gradients, this is {self.describe()}; use .to('float64')"
                )
            if self.node is None:
                self.node = Leaf(self)
                changes.bump()
        elif not self.is_leaf:
            raise GraphError("requires_grad cannot be switched off for the result of an operation; use detach()")
        else:
            self.node = None
            self._grad = None
            changes.bump()
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
                + ("" if is_grad_enabled() else " (recording is off: this is inside no_grad)")
                + ". (`w -= step` makes a new tensor, which is no leaf; w.assign_(w - step) overwrites the leaf. What "
                "tinynn.compile(f) returns is outside of any graph: compile the function that calls backward().)"
            )
        g = _seed(self, gradient, create_graph)
        keep = create_graph if retain_graph is None else retain_graph
        found = backpropagate({self.node: g}, record=create_graph, keep=keep)
        for leaf, value in found.items():
            tensor = leaf.tensor() if isinstance(leaf, Leaf) else None
            if tensor is not None:
                tensor._accumulate(value)

    def _accumulate(self, gradient: Any) -> None:
        """Add an array, or a Tensor with ``create_graph``, to ``grad``."""
        changes.bump()
        if mode.recorder is not None:
            mode.recorder.gradient_read(self)
        if gradient.dtype != self.array.dtype:
            gradient = gradient.astype(self.dtype)
        if self._grad is None:
            self._grad = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
            self.node.consumed = False
            return
        note_forgotten_zero_grad(self)
        if isinstance(gradient, Tensor):
            self._grad = self._grad + gradient
        else:
            self._grad = Tensor(self._grad.array + gradient)

    def detach(self) -> Tensor:
        """The same array, outside the graph. A later ``assign_`` shows in both; ``detach().clone()`` is a copy."""
        return piecewise.stop_gradient(self)

    def clone(self) -> Tensor:
        """A copy that stays in the graph."""
        if mode.recorder is not None and self.node is None:
            return transfer.copied(self)
        return self + 0.0 if self.node is not None else Tensor(self.array.copy())

    # ---------------------------------------------------------------------------------------- to other types

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.node is not None and is_grad_enabled():
            raise TypeError(
                "a tensor that requires a gradient does not turn into a NumPy array by itself: NumPy would drop it "
                "from the graph. Use tinynn's functions (tinynn.stack for a list of tensors), or t.detach().numpy()."
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
        if mode.recorder is not None:
            mode.recorder.assigning(self)
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        if tuple(array.shape) != self.shape:
            raise ValueError(f"assign_: a value of shape {tuple(array.shape)} does not fit {self.describe()}")
        if not self.is_leaf:
            raise GraphError("assign_ on the result of an operation would make its gradient wrong; assign to a leaf")
        if isinstance(self.node, Leaf) and isinstance(self.array, convert.ARRAYS):
            note_edit(self.node, user_line())
            self.array[...] = array
        elif value is not self:  # no graph refers to the memory: a new array leaves older results alone
            self.array = convert.like(array, self.array)
            changes.bump()
        if mode.observer is not None:
            mode.observer.assigned(self, value)
        return self

    def copy_(self, source: Any) -> Tensor:
        """Overwrite the elements; see `assign_`."""
        return self.assign_(source)

    def __repr__(self) -> str:
        if mode.recorder is not None:
            mode.recorder.reading(self, "printing (repr, str, format)")
        body = np.array2string(np.asarray(convert.to_host(self.array)), separator=", ", prefix="tensor(")
        extra = "" if self.dtype in (get_default_dtype(), np.dtype(int), np.dtype(bool)) else f", dtype={self.dtype}"
        extra += "" if self.device == "cpu" else f", device={self.device}"
        if isinstance(self.node, Leaf):
            extra += ", requires_grad=True"
        elif self.node is not None:
            extra += f", op={type(self.node.op).__name__}"
        return f"tensor({body}{extra})"

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
    __abs__ = piecewise.abs
    __matmul__ = linalg.matmul
    __rmatmul__ = linalg.rmatmul
    __eq__ = comparison.equal
    __ne__ = comparison.not_equal
    __lt__ = comparison.less
    __le__ = comparison.less_equal
    __gt__ = comparison.greater
    __ge__ = comparison.greater_equal
    __and__ = __rand__ = comparison.and_
    __or__ = __ror__ = comparison.or_
    __invert__ = comparison.not_
    __getitem__ = indexing.getitem

    exp = elementwise.exp
    log = elementwise.log
    sqrt = elementwise.sqrt
    square = elementwise.square
    abs = piecewise.abs
    sin = elementwise.sin
    cos = elementwise.cos
    tanh = elementwise.tanh
    sigmoid = elementwise.sigmoid
    relu = activations.relu
    clip = piecewise.clip
    sum = reduce.sum
    mean = reduce.mean
    max = reduce.max
    min = reduce.min
    cumsum = reduce.cumsum
    argmax = reduce.argmax
    argmin = reduce.argmin
    all = reduce.all
    any = reduce.any
    dot = linalg.dot
    reshape = shapes.reshape
    ravel = flatten = shapes.ravel
    transpose = shapes.transpose
    swapaxes = shapes.swapaxes
    squeeze = shapes.squeeze
    repeat = joining.repeat
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


def _seed(output: Tensor, gradient: Any, record: bool) -> Any:
    """Where the walk back starts: dL/d(output), 1 for a scalar."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"backward() of {output.describe()}: only a scalar has a gradient by itself. Reduce it (loss.mean()), "
                f"or give the gradient argument, of shape {output.shape}."
            )
        g = convert.as_array(np.ones_like(output.array))  # CuPy arrays answer through NumPy's dispatch
    else:
        given = gradient if isinstance(gradient, Tensor) else Tensor(np.asarray(gradient, output.dtype))
        if given.shape != output.shape:
            raise ValueError(
                f"backward: a gradient of shape {given.shape} does not fit an output of shape {output.shape}"
            )
        if record:
            return given
        if mode.recorder is not None:
            return given.detach()
        g = given.array
    return Tensor(g) if record else g


autodiff.Tensor = Tensor  # type: ignore[misc]  # the engine makes Tensors; it could not import us before we existed
