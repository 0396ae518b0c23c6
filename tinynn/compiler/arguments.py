"""Arguments of a compiled function: nested structures taken apart, arrays on one side, all else in the key."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinynn.backends import convert
from tinynn.compiler.errors import TraceError
from tinynn.compiler.guards import SIMPLE, value_mark
from tinynn.compiler.program import mapped
from tinynn.graph import Leaf
from tinynn.tensor import Tensor


class Arguments:
    """The arguments of one call.

    Attributes
    ----------
    leaves : the tensors and arrays, in order; arrays become tensors
    shapes : what is said in the key about them
    values : path -> mark of each Python number, string or flag
    objects : (path, object) of anything else: looked through by `guards.Look`
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str] = ()) -> None:
        self.leaves: list[Tensor] = []
        self.shapes: list[tuple[Any, ...]] = []
        self.values: dict[str, Hashable] = {}
        self.objects: list[tuple[str, Any]] = []
        self._structure: list[Hashable] = [len(args), tuple(kwargs)]
        self._args = tuple(self._take(names[i] if i < len(names) else f"argument {i}", x) for i, x in enumerate(args))
        self._kwargs = {name: self._take(name, x) for name, x in kwargs.items()}
        self.key: Hashable = (*self._structure, *self.shapes, *self.values.items())

    def _take(self, path: str, value: Any) -> Any:
        if isinstance(value, Tensor) or (isinstance(value, convert.ARRAYS) and value.dtype != object):
            tensor = value if isinstance(value, Tensor) else Tensor(value)
            self.leaves.append(tensor)
            array = tensor.array
            if not array.dtype.isnative and tensor.node is None:  # from a file of another machine
                self.leaves[-1] = tensor = Tensor(array.astype(array.dtype.newbyteorder("=")))
                array = tensor.array
            self.shapes.append((path, array.shape, array.dtype.str, convert.device_of(array), tensor.requires_grad))
            return _Place(len(self.leaves) - 1)
        if isinstance(value, np.generic):
            self.values[path] = (value.dtype.str, value.tobytes())
            return value
        if type(value) in SIMPLE:
            self.values[path] = value_mark(value)
            return value
        if isinstance(value, dict):
            self._structure.append((path, type(value).__name__, tuple(value)))
            return {name: self._take(f"{path}[{name!r}]", x) for name, x in value.items()}
        if isinstance(value, (tuple, list)):
            self._structure.append((path, type(value), len(value)))
            items = [self._take(f"{path}[{i}]", x) for i, x in enumerate(value)]
            return sequence_like(value, items)
        self.objects.append((path, value))
        return value

    def call(self, function: Callable[..., Any], leaves: Sequence[Tensor]) -> Any:
        """The function of these arguments, with other tensors in their places."""
        return function(*_filled(self._args, leaves), **_filled(self._kwargs, leaves))

    def check_leaves(self) -> None:
        """Refuse arguments to which a gradient would have to flow."""
        for tensor in self.leaves:
            if not tensor.is_leaf:
                raise TraceError(
                    f"an argument is {tensor.describe()}, the result of {type(tensor.node.op).__name__}, and wants a "
                    "gradient, which would have to flow out of the compiled function; give it detach() of it"
                )

    @property
    def label(self) -> str:
        """Names and shapes of the arrays, for people."""
        return ", ".join(f"{path} {shape}" for path, shape, *_ in self.shapes)

    @property
    def plain(self) -> bool:
        """Whether all arguments are tensors or arrays, given by position."""
        return not self._kwargs and len(self.leaves) == len(self._args) and all(type(x) is _Place for x in self._args)


class _Place:
    """Stands where a tensor was."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


def sequence_like(model: Any, items: list[Any]) -> Any:
    """The items as a list, a tuple or a named tuple, as the model is one."""
    if isinstance(model, list):
        return items
    return type(model)(*items) if hasattr(model, "_fields") else tuple(items)


def _filled(value: Any, leaves: Sequence[Tensor]) -> Any:
    if type(value) is _Place:
        return leaves[value.index]
    if isinstance(value, dict):
        return {name: _filled(x, leaves) for name, x in value.items()}
    if isinstance(value, (tuple, list)):
        return sequence_like(value, [_filled(x, leaves) for x in value])
    return value


def detached(result: Any) -> Any:
    """A result with its tensors outside any graph and for themselves in memory, as compiled calls give them."""
    return mapped(result, lambda tensor: Tensor(convert.copied(tensor.array, None)), Tensor)


def tensors_in(result: Any) -> list[Tensor]:
    """The tensors of a nested result, in order."""
    if isinstance(result, Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else ()
    return [t for x in values for t in tensors_in(x)]


def check_lines(leaves: Sequence[Tensor], recording: bool, copied: Sequence[bool]) -> tuple[list[str], dict[str, Any]]:
    """Source that takes arguments x0, x1, ... and makes their arrays a0, a1, ..., or returns MISS.

    MISS where a shape, a dtype or a kind is another one. Arrays that are, or look into, memory that the step writes to
    (``own``: the ids of those) are copied, unless the machine does so anyway (``copied``). The very array of the call
    before needs no second look. The names of what the source uses come with it.
    """
    lines: list[str] = []
    names: dict[str, Any] = {"Tensor": Tensor, "Leaf": Leaf}
    names["last"] = SimpleNamespace(**{f"a{i}": None for i in range(len(leaves))})
    for i, leaf in enumerate(leaves):
        array = leaf.array
        names |= {f"shape{i}": array.shape, f"dtype{i}": array.dtype, f"class{i}": type(array)}
        lines += [f"if x{i}.__class__ is Tensor:"]
        if recording and leaf.node is None:
            lines += [f"    if x{i}.node is not None: return MISS"]
        elif recording:
            lines += [f"    if x{i}.node.__class__ is not Leaf: return MISS"]
        lines += [f"    a{i} = x{i}.array", f"else: a{i} = x{i}" if leaf.node is None else "else: return MISS"]
        check = (
            f"if a{i}.__class__ is not class{i} or a{i}.dtype is not dtype{i} or a{i}.shape != shape{i}: return MISS"
        )
        if isinstance(array, np.ndarray) and not copied[i]:
            lines += [check, f"b = a{i}.base", f"if (id(a{i}) if b is None else id(b)) in own: a{i} = a{i}.copy()"]
        else:
            # a bare array may have got another shape or dtype in place
            lines += [f"if a{i} is x{i} or a{i} is not last.a{i}:", f"    {check}", f"    last.a{i} = a{i}"]
    return lines, names
