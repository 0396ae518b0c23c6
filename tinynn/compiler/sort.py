"""One instruction at a time: is it a view, a known value, or which kind of work?"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinynn import autodiff
from tinynn.backends import dispatch
from tinynn.compiler.matrices import as_products
from tinynn.compiler.program import Instruction
from tinynn.compiler.views import Shape, View
from tinynn.compiler.work import Call, Known, Map, Operand, Pieces, Reduction, Work, known
from tinynn.kernels.rewrites import in_order
from tinynn.kernels.symbols import Symbol, symbolic
from tinynn.ops.base import Op
from tinynn.ops.indexing import Gather, Scatter, Slice, Unslice
from tinynn.ops.joining import Concatenate, Pad
from tinynn.ops.reduce import Max, Mean, Min, Sum
from tinynn.ops.shape import BroadcastTo, Reshape, Transpose, normalize_axes
from tinynn.ops.transfer import Cast, Truncate

dispatch.NAMESPACES[Symbol] = symbolic  # the library's functions, such as exp, in a formula
dispatch.PLAIN_TYPES.add(Symbol)

REALS = ("float64", "float32")
INTEGERS = ("int64", "int32", "uint8")  # that loops can read
COPIED = (*REALS, "int64", "bool")  # that loops can copy
_SMALL_INTEGER = 2**24
_WHOLE = {"variable", "add", "subtract", "multiply", "negative", "where", "logical_and", "logical_or", "logical_not",
          "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}  # fmt: skip


class Sorter:
    """Turns instructions into work, or into views and known values, which are no work.

    Parameters
    ----------
    types : register -> (shape, dtype); new registers are added
    operands : register -> where it lies; gets an entry for each output
    work : is appended to
    """

    def __init__(
        self, types: dict[int, tuple[Shape, np.dtype[Any]]], operands: dict[int, Operand], work: list[Work]
    ) -> None:
        self.types, self.operands, self.work = types, operands, work
        self._next = max(types, default=0) + 1
        self._reduced: dict[Any, int] = {}
        reals = {dtype.name for _, dtype in types.values() if dtype.name in REALS}
        self.real = "float32" if reals == {"float32"} else "float64"  # in which truth values are computed

    def sort(self, instruction: Instruction, inputs: list[Operand]) -> None:
        """Sort one instruction in."""
        op, out = instruction.op, instruction.outputs[0]
        if all(isinstance(x, Known) for x in inputs):
            values, derived = autodiff.apply(op, *[x.array for x in inputs], with_derived=True)  # type: ignore[union-attr]
            for register, value in zip(instruction.outputs, (values, *derived), strict=True):
                self.operands[register] = known(value)
            return
        made: Operand | Work | None = _as_view(op, inputs)
        kinds: tuple[Callable[..., Operand | Work | None], ...] = (
            self._as_map, self._as_pieces, self._as_reduction, partial(as_products, self), self._as_call
        )  # fmt: skip
        for kind in kinds:
            if made is None:
                made = kind(instruction, inputs)
        if isinstance(made, (View, Known)):
            self.operands[out] = made
        elif made is not None:
            self.work.append(made)

    def _as_call(self, instruction: Instruction, inputs: list[Operand]) -> Call:
        op = instruction.op
        if isinstance(op, (Gather, Scatter)):  # for which there are kernels that want operands in order
            axis = len(op.pattern) - 1
            for i, x in enumerate(inputs):
                if isinstance(x, View) and self.types[x.base][1].name in COPIED:
                    split = axis + (1 if isinstance(op, Gather) else len(_shape(inputs[1])))
                    in_order = x.is_contiguous() if i else x.in_three(axis, split) is not None
                    inputs[i] = x if in_order else self.copied(x, instruction.made_at)
        return Call(op, tuple(inputs), instruction.outputs, type(op).__name__, instruction.made_at)

    def new(self, shape: Shape, dtype: Any) -> int:
        """A fresh register."""
        register, self._next = self._next, self._next + 1
        self.types[register] = shape, np.dtype(dtype)
        self.operands[register] = View.whole(register, shape)
        return register

    def copied(self, view: View, made_at: str) -> View:
        """The same elements side by side, in order."""
        register = self.new(view.shape, self.types[view.base][1])
        whole = View.whole(register, view.shape)
        self.work.append(Pieces(register, view.shape, (view,), (whole,), None, "Copy", made_at))
        return whole

    def dtype_of(self, operand: Operand) -> str:
        """The name of an operand's dtype; of plain numbers, their type."""
        return self.types[operand.base][1].name if isinstance(operand, View) else _dtype(operand)

    def _as_map(self, instruction: Instruction, inputs: list[Operand]) -> Map | Operand | None:
        op, out = instruction.op, instruction.outputs[0]
        shape, dtype = self.types[out]
        if not (op.elementwise or isinstance(op, (Cast, Truncate))) or len(instruction.outputs) != 1:
            return None
        computed = self._computed_in(op, inputs, dtype)
        if computed is None:
            return None
        inputs = [_converted(x, computed) for x in inputs]

        def formula(*symbols: Symbol) -> Symbol:
            if isinstance(op, (Cast, Truncate)):
                return symbols[0] + 0.0 if symbols[0].is_bool and dtype.kind != "b" else symbols[0]
            return op.forward(symbolic, *symbols)

        try:
            traced = formula(*[_symbol(x, f"x{i}", self.types) for i, x in enumerate(inputs)])
        except (AttributeError, TypeError):
            return None  # the formula asks for something that symbols cannot do
        if not isinstance(traced, Symbol) or traced.is_bool != (dtype.kind == "b"):
            return None
        if computed == "int64" and not all(_is_whole(node) for node in in_order([traced])):
            return None
        same = inputs[int(str(traced.value)[1:])] if traced.function == "variable" else None
        if isinstance(same, View) and self.types[same.base][1] == dtype:
            return same.broadcast(shape)
        if traced.is_constant:
            return known(np.broadcast_to(np.asarray(traced.value, dtype), shape))
        return Map(out, shape, computed, tuple(inputs), formula, type(op).__name__, instruction.made_at)

    def _computed_in(self, op: Op, inputs: list[Operand], dtype: np.dtype[Any]) -> str | None:
        """The dtype of the loop for an elementwise operation; None if it is none for loops."""
        kinds = [self.types[x.base][1].name for x in inputs if isinstance(x, View)]
        arrays = [x for x in inputs if isinstance(x, Known) and x.number is None]
        if isinstance(op, (Cast, Truncate)):
            held = (*REALS, "bool", *INTEGERS) if dtype.name in REALS else ("bool", *INTEGERS)
            return dtype.name if dtype.name in (*REALS, "int64") and kinds[0] in held else None
        if dtype.name not in (*REALS, "int64", "bool"):
            return None
        reals = {kind for kind in kinds if kind in REALS} | ({dtype.name} if dtype.name in REALS else set())
        if len(reals) > 1:
            return None
        if reals:
            (computed,) = reals
            whole = {"int64"} if computed == "float64" else set()  # float32 does not hold every integer
            known = {computed, "bool", *whole}
            return computed if {*kinds, *map(_dtype, arrays)} <= known else None
        integers = [kind for kind in kinds if kind != "bool"]
        if any(kind != "int64" for kind in integers) or any(_dtype(x) not in ("int64", "bool") for x in arrays):
            return None
        if any(isinstance(x, Known) and x.number is not None and not float(x.number).is_integer() for x in inputs):
            return None
        if dtype.name == "bool":
            limit = _SMALL_INTEGER  # a number and a small integer are equal where they are after rounding to float32
            small = all(np.abs(x.array).max(initial=0) < limit for x in inputs if isinstance(x, Known))
            if not integers or (len(integers) == 1 and len(inputs) == 2 and small):
                return self.real
        return "int64"

    def _as_pieces(self, instruction: Instruction, inputs: list[Operand]) -> Pieces | None:
        op, out = instruction.op, instruction.outputs[0]
        shape, dtype = self.types[out]
        if dtype.name not in COPIED or any(self.dtype_of(x) != dtype.name for x in inputs):
            return None
        whole = View.whole(out, shape)
        places: list[View] = []
        fill: float | bool | None = None
        if isinstance(op, Reshape) and isinstance(inputs[0], View):  # one that is no view
            places = [View.whole(out, inputs[0].shape)]
        elif isinstance(op, Concatenate):
            start = 0
            for n in op.lengths:
                places.append(_cut(whole, op.axis, start, start + n))
                start += n
        elif isinstance(op, Pad):
            place, fill = whole, op.value
            for axis, (before, after) in enumerate(op.widths):
                place = _cut(place, axis, before, shape[axis] - after)
            places = [place]
        elif isinstance(op, Unslice):
            inside = whole.sliced(op.index)
            places, fill = ([] if inside is None else [inside]), 0
        if not places:
            return None
        if math.prod(shape) == 0:
            fill = 0
        return Pieces(out, shape, tuple(inputs), tuple(places), fill, type(op).__name__, instruction.made_at)

    def _as_reduction(self, instruction: Instruction, inputs: list[Operand]) -> Reduction | View | None:
        op, out = instruction.op, instruction.outputs[0]
        kind = {Sum: "sum", Mean: "sum", Max: "max", Min: "min"}.get(type(op))
        x = inputs[0]
        if kind is None or not isinstance(x, View) or self.types[x.base][1].name not in REALS or x.size == 0:
            return None
        axes = normalize_axes(op.axis, len(x.shape))  # type: ignore[attr-defined]
        if self.types[out][1] != self.types[x.base][1]:
            return None
        count = math.prod(x.shape[i] for i in axes)
        scale = 1.0 / count if isinstance(op, Mean) else 1.0
        name = type(op).__name__
        key = (kind, x, axes, scale)
        if key in self._reduced:  # max(x, -1) and max(x, 1, keepdims=True) are one
            return View.whole(self._reduced[key], self.types[out][0])
        self._reduced[key] = out
        return Reduction(out, kind, (x,), axes, scale, self.types[out][1].name, name, instruction.made_at)


def _as_view(op: Op, inputs: list[Operand]) -> View | None:
    x = inputs[0]
    if isinstance(x, Known):
        return None
    if isinstance(op, Reshape):
        shape = op.shape
        if -1 in shape:
            rest = math.prod(n for n in shape if n != -1)
            shape = tuple(x.size // max(rest, 1) if n == -1 else n for n in shape)
        return x.reshaped(shape)
    if isinstance(op, Transpose):
        return x.transposed(op.axes)
    if isinstance(op, BroadcastTo):
        return x.broadcast(op.shape)
    if isinstance(op, Slice):
        return x.sliced(op.index)
    return None


def _shape(x: Operand) -> Shape:
    return x.shape if isinstance(x, View) else np.shape(x.array)


def _cut(view: View, axis: int, start: int, stop: int) -> View:
    cut = view.sliced((*[slice(None)] * axis, slice(start, stop)))
    assert cut is not None
    return cut


def _symbol(x: Operand, name: str, types: dict[int, tuple[Shape, np.dtype[Any]]]) -> Symbol:
    if isinstance(x, Known):
        return Symbol.variable(name, _dtype(x) == "bool") if x.number is None else Symbol.constant(x.number)
    return Symbol.variable(name, types[x.base][1].kind == "b")


def _dtype(x: Known) -> str:
    return str(getattr(x.array, "dtype", type(x.array).__name__))


def _converted(x: Operand, computed: str) -> Operand:
    """A known array of integers as numbers of the loop."""
    if isinstance(x, Known) and x.number is None and _dtype(x) not in (computed, "bool"):
        return Known(np.asarray(x.array).astype(computed), None)
    return x


def _is_whole(node: Symbol) -> bool:
    """Whether a node of an expression is right in a loop over int64."""
    if node.is_constant:
        return node.is_bool or (abs(float(node.value)) < 2.0**53 and float(node.value).is_integer())  # type: ignore[arg-type]
    return node.function in _WHOLE
