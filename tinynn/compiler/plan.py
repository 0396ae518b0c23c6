"""The plan of a program: a table with one row per loop, product or call, and the buffers between them.

`make_plan` tidies the program, fuses its work into groups, turns groups into rows, and decides what is written in
place: new values of parameters and moments go over the old ones where nobody reads those any more. Many small
updates of one kind, such as Adam's for every layer, become a single loop over parameters that lie side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn.compiler import fuse, rows
from tinynn.compiler.absorb import absorb_into_products
from tinynn.compiler.expand import expand
from tinynn.compiler.join import join_reductions
from tinynn.compiler.program import Program, Register
from tinynn.compiler.recompute import recompute_activations
from tinynn.compiler.rows import Call, Loop, Multiply, Row
from tinynn.compiler.shorten import in_canonical_order, merge_equal_updates, recompute_cheap_values, update_early
from tinynn.compiler.sort import COPIED
from tinynn.compiler.split import split_batches
from tinynn.compiler.tidy import tidy
from tinynn.compiler.views import Shape, View
from tinynn.compiler.work import Call as CallWork
from tinynn.compiler.work import Known, Map, Operand, Pieces, Product, Reduction, Tidied
from tinynn.kernels.symbols import Symbol
from tinynn.tensor import Tensor


@dataclass(eq=False)
class Buffer:
    """Memory of one register: ``size`` elements of a dtype.

    ``kind`` is "argument", "state" (a tensor's own memory), "draw" (seed and position
    of a random stream), "constant", or "inner".
    """

    number: int
    shape: Shape
    dtype: np.dtype[Any]
    kind: str
    value: Any = None  # a constant's array, a state's tensor

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(eq=False, repr=False)
class Plan:
    """A program's table.

    Attributes
    ----------
    rows : in the order in which they run
    buffers : by number
    neighbours : buffers that lie side by side, each padded to whole cache lines
    results : where the registers lie that the program returns or assigns at its end
    assigned : (tensor, state buffer) pairs: these tensors have got new values when the rows are done
    """

    program: Program
    rows: list[Row]
    buffers: dict[int, Buffer]
    neighbours: list[tuple[int, ...]]
    results: dict[int, Operand]
    assigned: list[tuple[Tensor, int]] = field(default_factory=list)

    def __repr__(self) -> str:
        from tinynn.compiler.table import as_table

        return as_table(self)


def make_plan(program: Program, splits: bool = False, recompute: bool = False, lanes: int = 1) -> Plan:
    """Plan a program.

    Parameters
    ----------
    program : as recorded
    splits : large batches are gone through in parts
    recompute : activations of deep networks are computed again for the way back, to spare memory
    lanes : how many of the parts may run at the same time, on as many threads
    """
    return _Planner(program).plan(splits, recompute, lanes)


class _Planner:
    def __init__(self, program: Program) -> None:
        self.program = program
        final = {id(tensor): (tensor, register) for tensor, register in program.assignments}
        self.assignments = list(final.values())  # only the last assignment to a tensor counts
        self.returned = list(dict.fromkeys(_registers(program.result)))
        self.returned += [r for _, r in program.grads_out if r is not None]
        alone = {register: tensor.array for register, tensor in held_by_nobody_else(program.state).items()}
        needed = [*self.returned, *(r for _, r in self.assignments)]
        self.tidied: Tidied = tidy(expand(program), needed, alone)
        self.next = max(self.tidied.types, default=0) + 1
        self.alone = alone
        self.buffers: dict[int, Buffer] = {}
        self.constants: dict[int, int] = {}  # id of a known array -> its buffer
        self.rows: list[Row] = []
        self._declare_inputs()

    def _declare_inputs(self) -> None:
        program, types = self.program, self.tidied.types
        kinds: dict[int, tuple[str, Any]] = {
            register: ("argument", None) for register in program.arguments if register is not None
        }
        for register, tensor in program.state.items():
            if register not in self.alone:
                kinds[register] = ("state", tensor)
        kinds.update(dict.fromkeys(program.grads_in.values(), ("argument", None)))
        kinds.update((register, ("draw", None)) for _, _, register in program.draws)
        for register, (kind, value) in kinds.items():
            self.buffers[register] = Buffer(register, *types[register], kind, value)

    # ------------------------------------------------------------------------------------------------ buffers

    def new(self, shape: Shape, dtype: Any, kind: str = "inner", value: Any = None) -> View:
        """A buffer that the program has no register for."""
        number, self.next = self.next, self.next + 1
        self.buffers[number] = Buffer(number, shape, np.dtype(dtype), kind, value)
        return View.whole(number, shape)

    def placed(self, operand: Operand, dtype: Any = None) -> View:
        """An operand as a view: known arrays get a buffer of their own."""
        if isinstance(operand, View):
            return operand
        key = id(operand.array)
        if key not in self.constants:
            array = np.asarray(operand.array, dtype)
            self.constants[key] = self.new(array.shape, array.dtype, "constant", operand).base
        buffer = self.buffers[self.constants[key]]
        return View.whole(buffer.number, buffer.shape)

    def dtype_of(self, view: View) -> np.dtype[Any]:
        return self.buffers[view.base].dtype if view.base in self.buffers else self.tidied.types[view.base][1]

    # --------------------------------------------------------------------------------------------------- rows

    def plan(self, splits: bool, recompute: bool, lanes: int) -> Plan:
        groups = fuse.fuse(self.tidied.work)
        read_by: dict[int, set[int]] = {}
        for number, group in enumerate(groups):
            for view in group.reads():
                read_by.setdefault(view.base, set()).add(number)
        operands = self.tidied.operands
        wanted = {operands[r].base for r in self.returned if isinstance(operands[r], View)}  # type: ignore[union-attr]
        wanted |= {x.base for _, r in self.assignments if isinstance(x := operands[r], View)}
        for number, group in enumerate(groups):
            stored = {r for r in group.makes if r in wanted or read_by.get(r, set()) - {number}}
            self.rows += self._rows_of(group, stored if group.is_loop else group.makes)
        results = {r: operands[r] for r in self.returned}
        assigned = self._assign(results)
        recompute_cheap_values(self.rows, self.buffers, self._pinned(results))
        for row in self.rows:
            if isinstance(row, Loop):
                in_canonical_order(row)
        absorb_into_products(self.rows, self.buffers, self._pinned(results))
        join_reductions(self.rows, self.buffers, self._pinned(results))
        if splits:
            split_batches(self.rows, self.buffers, self.new, self._pinned(results), lanes)
        neighbours = merge_equal_updates(self.rows, self.buffers)
        update_early(self.rows, self.buffers, neighbours)
        if recompute:
            recompute_activations(self.rows, self.buffers, self._pinned(results), neighbours, self.new)
        return Plan(self.program, self.rows, self.buffers, neighbours, results, assigned)

    def _pinned(self, results: dict[int, Operand]) -> set[int]:
        return {x.base for x in results.values() if isinstance(x, View)}

    def _rows_of(self, group: fuse.Group, stored: set[int]) -> Iterable[Row]:
        for register in stored:
            self.buffers[register] = Buffer(register, *self.tidied.types[register], "inner")
        first = group.members[0]
        if group.is_loop:
            return [self._loop(group, stored)]
        origins = [(first.name, first.made_at)]
        outputs = [View.whole(r, self.buffers[r].shape) for r in first.outputs]
        if isinstance(first, Product):
            inputs = [self.placed(x, first.dtype) for x in first.inputs if not _is_none(x)]
            return [Multiply(inputs, [first.place], origins, dtype=first.dtype, has_bias=len(inputs) == 3)]
        if isinstance(first, Pieces):
            return self._pieces(first)
        assert isinstance(first, CallWork)
        views = [x for x in first.inputs if isinstance(x, View)]
        known = {i: x.array for i, x in enumerate(first.inputs) if isinstance(x, Known)}
        return [Call(views, outputs, origins, work=first, known=known)]

    def _pieces(self, work: Pieces) -> Iterable[Row]:
        """Copies into parts of one buffer, over what fills the rest."""
        dtype = self.tidied.types[work.out][1]
        if work.fill is not None:
            filled = View.whole(work.out, work.shape).squeezed()
            loop = Loop([], [], [(work.name, work.made_at)], space=filled.shape, dtype=_loop_dtype(dtype))
            value = bool(work.fill) if dtype.kind == "b" else float(work.fill)
            self._store(loop, filled, Symbol.constant(value))
            yield loop
        for x, place in zip(work.inputs, work.places, strict=True):
            if place.size:
                source = self.placed(x, dtype)
                yield self._copying(source.broadcast(place.shape), place, work.name, work.made_at)

    def _loop(self, group: fuse.Group, stored: set[int]) -> Loop:
        assert group.space is not None
        space, dtype = group.space
        loop = Loop([], [], space=space, dtype=dtype)
        symbols: dict[int, Symbol] = {}  # register -> what the loop holds of it
        variables: dict[View, Symbol] = {}

        def symbol(x: Operand, item: Map | Reduction) -> Symbol:
            if isinstance(x, Known):
                if x.number is not None:
                    return Symbol.constant(x.number)
                x = self.placed(x, dtype if np.asarray(x.array).dtype.kind == "f" else None)
            if x.base in symbols and fuse.reads_in_place(x, item):
                return symbols[x.base]
            walked = fuse.over(x, item)
            if walked not in variables:
                name = f"a{len(variables)}"
                variables[walked] = Symbol.variable(name, self.dtype_of(walked).kind == "b")
                loop.inputs.append(walked)
                loop.names.append(name)
            return variables[walked]

        for item in group.members:
            assert isinstance(item, (Map, Reduction))
            loop.origins.append((item.name, item.made_at))
            inputs = [symbol(x, item) for x in item.inputs]
            if isinstance(item, Map):
                symbols[item.out] = item.formula(*inputs)
                if item.out in stored:
                    self._store(loop, View.whole(item.out, space), symbols[item.out])
            else:
                self._store(loop, _reduced(item), inputs[0], item.kind, item.scale)
        return loop

    def _store(self, loop: Loop, view: View, expression: Symbol, kind: str = "", scale: float = 1.0) -> None:
        loop.outputs.append(view)
        loop.expressions.append(expression)
        loop.reductions.append(kind)
        loop.scales.append(scale)

    def copy(self, source: View, name: str) -> View:
        """Append a row that copies; the copy."""
        dtype = self.dtype_of(source)
        target = self.new(source.shape, dtype)
        self.rows.append(self._copying(source, target, name))
        return target

    def _copying(self, source: View, target: View, name: str, made_at: str = "") -> Row:
        """A row that copies."""
        dtype = self.dtype_of(source)
        walked, out = source.squeezed(), target.squeezed()
        if dtype.name not in COPIED:
            work = CallWork(rows.SAME, (source,), (target.base,), name, made_at)
            return Call([source], [target], [(name, made_at)], work=work)
        loop = Loop([walked], [], [(name, made_at)], space=walked.shape, dtype=_loop_dtype(dtype), names=["a0"])
        self._store(loop, out, Symbol.variable("a0", dtype.kind == "b"))
        return loop

    # ------------------------------------------------------------------------------------------- assignments

    def _assign(self, results: dict[int, Operand]) -> list[tuple[Tensor, int]]:
        """Let new values be written over old ones, or be copied there at the end."""
        operands = self.tidied.operands
        state_of = {id(tensor): register for register, tensor in self.program.state.items()}
        assigned, copies = [], []
        overwritten = set()
        self._index_rows()
        for tensor, register in self.assignments:
            state = state_of.get(id(tensor))
            if state is None or state not in self.buffers:
                view = self.new(tensor.shape, tensor.dtype, "state", tensor)
                state = view.base
            assigned.append((tensor, state))
            overwritten.add(state)
            source = operands[register]
            if source == View.whole(state, self.buffers[state].shape):
                continue
            if not self._in_place(source, state, results):
                copies.append((register, state))
        # old values that are returned, or that go to another tensor, are put aside before anything is written over
        sources = []
        for register, state in copies:  # their operands may have been moved since
            view = self.placed(operands[register], self.buffers[state].dtype)
            if self.buffers[view.base].kind != "inner":
                view = self.copy(view, "keep")
            elif view.shape != self.buffers[state].shape:
                view = view.broadcast(self.buffers[state].shape)
            sources.append((view, state))
        for register, operand in results.items():
            if isinstance(operand, View) and operand.base in overwritten and operand.base not in self.new_values:
                results[register] = self.copy(operand, "keep")
        for view, state in sources:
            buffer = self.buffers[state]
            self.rows.append(self._copying(view.broadcast(buffer.shape), View.whole(state, buffer.shape), "assign"))
        return assigned

    def _index_rows(self) -> None:
        self.maker: dict[int, int] = {}
        self.in_parts: set[int] = set()  # written by several rows
        self.readers: dict[int, list[int]] = {}
        for number, row in enumerate(self.rows):
            for view in row.outputs:
                if view.base in self.maker:
                    self.in_parts.add(view.base)
                self.maker[view.base] = number
            for view in row.inputs:
                self.readers.setdefault(view.base, []).append(number)
        self.taken: dict[int, list[int]] = {}  # buffer -> the registers of values in it that are assigned
        for _, register in self.assignments:
            if isinstance(x := self.tidied.operands[register], View):
                self.taken.setdefault(x.base, []).append(register)
        self.new_values: set[int] = set()  # states that hold their new values as soon as these are computed

    def _in_place(self, source: Operand, state: int, results: dict[int, Operand]) -> bool:
        """Make the row that computes ``source`` write it over the state, if no one reads the old value later."""
        if not isinstance(source, View) or self.buffers[source.base].kind != "inner":
            return False
        buffer = self.buffers[state]
        if not source.is_whole(buffer.size) or self.buffers[source.base].size != buffer.size:
            return False
        if self.buffers[source.base].dtype != buffer.dtype:
            return False
        if state in self.taken or any(isinstance(x, View) and x.base == state for x in results.values()):
            return False  # the old value is returned, or goes to another tensor
        maker = self.maker[source.base]
        row = self.rows[maker]
        if source.base in self.in_parts or not isinstance(row, Loop) or max(self.readers.get(state, [-1])) > maker:
            return False
        whole = View.whole(state, row.space)
        if any(v.base == state and v != whole for v in row.inputs):
            return False
        if any(v.base == source.base and row.reductions[k] for k, v in enumerate(row.outputs)):
            return False
        if any(v.base == state for v in row.outputs):
            return False
        for number in {maker, *self.readers.get(source.base, ())}:
            self.rows[number].rename(source.base, View.whole(state, ()))
        for register, operand in results.items():
            if isinstance(operand, View) and operand.base == source.base:
                results[register] = View(state, operand.shape, operand.strides, operand.offset)
        self.taken[state] = self.taken.pop(source.base)
        for register in self.taken[state]:
            operand = self.tidied.operands[register]
            assert isinstance(operand, View)
            self.tidied.operands[register] = View(state, operand.shape, operand.strides, operand.offset)
        del self.buffers[source.base]
        self.new_values.add(state)
        return True


def _loop_dtype(dtype: np.dtype[Any]) -> str:
    """The dtype of a loop that copies elements of a dtype."""
    return "float64" if dtype.kind == "b" else dtype.name


def held_by_nobody_else(state: dict[int, Tensor]) -> dict[int, Tensor]:
    """Tensors that only the program knows, such as the 1 that a walk back starts with: their values stay."""
    alone = _reference_counts({-1: Tensor(np.zeros(()))})[-1]
    return {register: state[register] for register, count in _reference_counts(state).items() if count <= alone}


def _reference_counts(held: dict[int, Tensor]) -> dict[int, int]:
    return {key: sys.getrefcount(held[key]) for key in held}


def _reduced(item: Reduction) -> View:
    """The output of a reduction as it is walked over in its loops: it stands still along the reduced axes."""
    shape = item.inputs[0].shape
    kept = View.whole(item.out, tuple(1 if i in item.axes else n for i, n in enumerate(shape)))
    strides = tuple(0 if i in item.axes else kept.strides[i] for i in range(len(shape)))
    loops = [i for i, n in enumerate(shape) if n != 1]
    return View(item.out, tuple(shape[i] for i in loops), tuple(strides[i] for i in loops))


def _is_none(operand: Operand) -> bool:
    return isinstance(operand, Known) and operand.array is None


def _registers(result: Any) -> Iterator[int]:
    """The registers in what a function returned."""
    if isinstance(result, Register):
        yield result
    elif isinstance(result, dict):
        for value in result.values():
            yield from _registers(value)
    elif isinstance(result, (tuple, list)):
        for value in result:
            yield from _registers(value)
