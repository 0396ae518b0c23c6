"""The machine for the CPU: each row is a few words of a table, and a driver calls its compiled kernel by address.

Kernels know nothing of shapes or addresses; these stand in the table. So a kernel is compiled once for each kind of
loop, kept on disk, and shared by all layers and all programs. Rows that no kernel does (`Call`) run in Python,
between two stretches of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinynn.compiler import sharing
from tinynn.compiler.external import floats
from tinynn.compiler.interpret import run_row
from tinynn.compiler.machine import Array, Machine
from tinynn.compiler.native_rows import NativeRow, native_row
from tinynn.compiler.program import Program
from tinynn.compiler.rows import Call, Loop, Multiply, Row
from tinynn.compiler.views import View, contiguous_strides
from tinynn.kernels import driver
from tinynn.kernels.loops import Access, CompiledKernel, LoopSpec, compile_loop, joined_axes, row_words, supported
from tinynn.kernels.memory import LINE, worth_streaming, zero_bytes
from tinynn.kernels.products import CompiledProduct, choose_product
from tinynn.kernels.products import row_words as product_words
from tinynn.kernels.threads import run_together

_SHORT = 1e5  # operations in a step up to which the interpreter's lock is kept: giving it away costs as much
_TILES = 32  # rows and columns: whole tiles of any kernel
_KINDS = {"bool": "bool", "int64": "int"}  # of operands that have another dtype than their loop


class NumbaMachine(Machine):
    """Runs a plan by compiled kernels.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.compiler.record import record
    >>> w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> program = record(lambda x: (w * x).tanh().sum(), tinynn.tensor([0.5, 0.5]))
    >>> machine = NumbaMachine(program)
    >>> machine.run([tinynn.tensor([1.0, 0.0]).array])
    tensor(0.76159416)
    """

    binds = True
    splits = True

    def __init__(self, program: Program, recompute: bool = False) -> None:
        self._prepared: dict[int, Prepared | None] = {}
        self._scratch: dict[tuple[int, int], Array] = {}
        super().__init__(program, recompute)

    @property
    def source(self) -> str:  # type: ignore[override]
        """The printed kernels, each once, under the rows that they do, with their operations and the user's lines."""
        uses: dict[str, list[str]] = {}
        for number, row in enumerate(self.plan.rows):  # the first part of a batch stands for all
            prepared = self._prepared.get(id(row))
            if prepared is not None and row.part[0] == 0:
                line = next((line for _, line in row.origins if line), "")
                uses.setdefault(prepared.kernel.source, []).append(f"# row {number}: {row.title}  {line}".rstrip())
        return "\n\n".join("\n".join([*lines, source]) for source, lines in uses.items())

    def _link(self) -> None:
        self._stretches: list[Callable[[], None]] = []
        self._table: Array = np.zeros(0, np.int64)  # the first stretch: it copies the scalars
        self._places: dict[int, list[tuple[Array, int, int]]] = {}  # external buffer -> words that point into it
        self._operands: dict[int, list[tuple[list[Any], int, View]]] = {}  # and operands of calls that do
        stretch: list[Row] = []
        rows = [(row, self._prepared_for(row)) for row in self.plan.rows]
        for shared, run in sharing.runs(rows, self):
            if shared:
                self._close(stretch)
                self._stretches.append(self._shared(run))
            elif run[0][1] is None:
                self._close(stretch)
                self._stretches.append(self._caller(run[0][0]))
            else:
                stretch += [row for row, _ in run]
        self._close(stretch)
        once = self._stretches[0] if len(self._stretches) == 1 else self._run_stretches
        self._run_rows = once  # type: ignore[method-assign]

    def _close(self, rows: list[Row]) -> None:
        """End a stretch of rows that run one after the other without Python."""
        if rows or not self._stretches:
            prepared = [(row, self._prepared_for(row)) for row in rows]
            table = self._as_table([(row, each.words(self)) for row, each in prepared if each is not None])
            if not self._stretches:
                self._table = table
            self._stretches.append(driver.stepping(table, unlocked=not self._is_short()))
            rows.clear()

    def _as_table(self, rows: list[tuple[Row, list[int]]]) -> Array:
        head = [0] * driver.HEAD
        head[driver.ROWS] = len(rows)
        words = [*head]
        ranges = []
        for row, part in rows:
            ranges.append((row, len(words), len(words) + len(part)))
            words += part
        table = np.array(words, np.int64)
        for row, start, stop in ranges:
            for number in {v.base for v in (*row.inputs, *row.outputs)} & self._external:
                first = self.memory[number].ctypes.data
                for index in range(start, stop):
                    if first <= words[index] < first + max(self.memory[number].nbytes, 1):
                        self._places.setdefault(number, []).append((table, index, words[index] - first))
        return table

    def _caller(self, row: Row) -> Callable[[], None]:
        if isinstance(row, Call):
            found = {v.base for v in row.outputs if floats(self.plan, v)}
            self._floating |= found
            self._external |= found
            self._reserved |= {number: self.memory[number] for number in found - set(self._reserved)}
        inputs, outputs = [self.view(v) for v in row.inputs], [self.view(v) for v in row.outputs]
        for views, arrays in ((row.inputs, inputs), (row.outputs, outputs)):
            for k, view in enumerate(views):
                if view.base in self._external:
                    self._operands.setdefault(view.base, []).append((arrays, k, view))
        return partial(run_row, self, row, inputs, outputs)

    def bind(self, number: int, flat: Array) -> None:
        """Let an external buffer (a large argument or result) lie in other memory."""
        self.memory[number] = flat
        address = flat.ctypes.data
        for table, index, offset in self._places.get(number, ()):
            table[index] = address + offset
        for arrays, k, view in self._operands.get(number, ()):
            arrays[k] = self.view(view)

    def _shared(self, rows: Sequence[tuple[Row, Any]]) -> Callable[[], None]:
        """Rows that threads share."""
        tables = [self._as_table(words) for words in sharing.cut(rows, self)]
        return partial(run_together, [driver.stepping(table, unlocked=True) for table in tables])

    def _prepared_for(self, row: Row) -> Prepared | None:
        if id(row) not in self._prepared:
            self._prepared[id(row)] = self._prepare(row)
        return self._prepared[id(row)]

    def _is_short(self) -> bool:
        return sum(row.flops for row in self.plan.rows) < _SHORT

    def _run_stretches(self) -> None:
        for stretch in self._stretches:
            stretch()

    def _run_rows(self) -> None:  # replaced by `_link`
        raise AssertionError

    def _point_to_scalars(self, address: int, nbytes: int, cells: int) -> None:
        table = self._table
        table[driver.SCALARS], table[driver.SCALAR_BYTES], table[driver.CELLS] = address, nbytes, cells

    def _steps_taken(self, start: int) -> int:
        nbytes = int(self._table[driver.SCALAR_BYTES])
        return (int(self._table[driver.SCALARS]) - start) // nbytes if nbytes else 0

    # --------------------------------------------------------------------------------------------- whole epochs

    def can_run_batches(self) -> bool:
        """Whether a step is one stretch of the table, so that many can run without Python."""
        if len(self._stretches) > 1 or self.program.grads_in:
            return False
        left = {id(t) for t, register in self.program.grads_out if register is not None}
        if not left.isdisjoint(map(id, self.program.grads_absent)):  # the second batch would add to them
            return False
        if not all(self.view(x).flags.c_contiguous for x in self.plan.results.values() if isinstance(x, View)):
            return False  # results are copied as they lie in memory
        types = [self.program.types[r] for r in self.program.arguments if r is not None]
        types += [((1, *self.program.types[r][0]), self.program.types[r][1]) for r in self.plan.results]
        return all(shape and math.prod(shape[1:]) * dtype.itemsize % 4 == 0 for shape, dtype in types)

    def run_batches(self, arrays: Sequence[Array], order: Array, batch_size: int, n_batches: int) -> Any:
        """One step for each minibatch: rows ``order[0], order[1], ...`` of the arrays, ``batch_size`` at a time.

        Returns
        -------
        what the function returns, with a first axis for the batches
        """
        self.bind_own()
        order = np.ascontiguousarray(order, np.int64)
        sources = [np.ascontiguousarray(array) for array in arrays]
        arguments = [
            [source.ctypes.data, source[0].nbytes, self.memory[register].ctypes.data]
            for source, register in zip(sources, self.program.arguments, strict=True)
            if register in self.memory
        ]
        operands = {r: x for r, x in self.plan.results.items() if isinstance(x, View)}
        flat = {r: self.view(x) for r, x in operands.items()}
        copies = {r: np.empty((n_batches, *view.shape), view.dtype) for r, view in flat.items()}
        results = [[view.ctypes.data, view.nbytes, copies[r].ctypes.data] for r, view in flat.items()]
        per_generator = {id(g): sum(b for h, b, _ in self.program.draws if h is g) for g, _, _ in self.program.draws}
        draws = []
        for generator, blocks, register in self.program.draws:
            start = generator.reserve(blocks)
            if register in self.memory:
                self.memory[register][:2] = (generator.seed, start)
                draws.append([self.memory[register].ctypes.data, per_generator[id(generator)]])
        with self.counted(n_batches):
            driver.run_batches(
                self._table, order, batch_size, n_batches, driver.as_words(arguments, 3), driver.as_words(draws, 2),
                driver.as_words(results, 3),
            )  # fmt: skip
        for generator, total in {g: per_generator[id(g)] for g, _, _ in self.program.draws}.items():
            generator.reserve(total * (n_batches - 1))
        self.finish()
        repeated = {r: np.stack([self._value(x)] * n_batches) for r, x in self.plan.results.items() if r not in copies}
        return self._structure({**repeated, **copies})

    def _prepare(self, row: Row) -> Prepared | None:
        if isinstance(row, Loop):
            try:
                return _LoopRow(row, self)
            except NotImplementedError:  # too many axes, say: NumPy runs it, between two stretches
                return None
        if isinstance(row, Call):
            return native_row(row, self)
        assert isinstance(row, Multiply)
        return _ProductRow(row, self)

    def scratch(self, nbytes: int, thread: int = 0) -> Array:
        """Memory for a row while it runs. Rows run one after the other, so they share it, and it stays in cache."""
        if (nbytes, thread) not in self._scratch:
            self._scratch[nbytes, thread] = zero_bytes(nbytes + LINE)
        return self._scratch[nbytes, thread]

    def streams(self, view: View) -> bool:
        """Whether it is best written past the caches: a large result in memory of its own that no row reads."""
        number = view.base
        is_result = number in self._external and number in self.layout.offsets
        whole = view == View.whole(number, self.plan.buffers[number].shape)
        if not is_result or not whole or not worth_streaming(self.memory[number]):
            return False
        return not any(number == read.base for row in self.plan.rows for read in row.inputs)

    def address(self, view: View) -> int:
        """Where a view begins."""
        flat = self.memory[view.base]
        return int(flat.ctypes.data) + view.offset * flat.itemsize


class _LoopRow:
    """A loop with neighbouring axes joined where all operands allow it, and its kernel."""

    def __init__(self, row: Loop, machine: NumbaMachine) -> None:
        self.row = row
        inout = row.inout()
        fresh = [view for view, over in zip(row.outputs, inout, strict=True) if over < 0]
        operands = [*row.inputs, *fresh]
        outputs = [row.inputs[over] if over >= 0 else view for view, over in zip(row.outputs, inout, strict=True)]
        self.sizes, strides = joined_axes(row.space, [v.strides for v in operands])
        by_view = {id(view): s for view, s in zip(operands, strides, strict=True)}
        kinds = {id(view): _kind(machine.memory[view.base].dtype.name, row.dtype) for view in operands}
        reductions, expressions = list(row.reductions), list(row.expressions)
        if not self.sizes:  # a single point
            self.sizes, by_view = [1], {key: [1] for key in by_view}
            expressions = [
                e * scale if kind == "sum" and scale != 1.0 else e
                for e, kind, scale in zip(expressions, reductions, row.scales, strict=True)
            ]
            reductions = [""] * len(reductions)
        self.strides = [by_view[id(view)] for view in operands]
        self.operands = operands
        flat = len(self.sizes) == 1 and not any(reductions) and all(s[0] in (0, 1) for s in self.strides)
        ends_whole = all(_ends_with_buffer(view, machine, row.dtype) for view in outputs)

        def access(view: View) -> Access:
            steps = by_view[id(view)]
            axes = [int(step != 0) for step in steps]
            if steps[-1] not in (0, 1) or (flat and not ends_whole and steps[-1]):
                axes[-1] = 2
            return Access(tuple(axes), kinds[id(view)])

        scales = tuple(row.scales) if any(reductions) else ()
        self.spec = LoopSpec(
            row.dtype,
            len(self.sizes),
            tuple(access(view) for view in row.inputs),
            tuple(expressions),
            tuple(access(view) for view in outputs),
            tuple(reductions),
            tuple(inout),
            scales,
            tuple(
                k
                for k, view in enumerate(row.outputs)
                if flat and ends_whole and inout[k] < 0 and kinds[id(view)] == "real" and machine.streams(view)
            ),
        )
        if not supported(self.spec):
            raise NotImplementedError(f"no kernel for {self.spec}")
        self.elements = self.sizes[0] if self.spec.is_flat else 0
        self.cost = float(row.flops + row.traffic(machine.plan))
        if self.spec.is_flat:
            self.sizes = [self._whole(self.elements)]
        self.kernel: CompiledKernel = compile_loop(self.spec, row.title)

    def words(self, machine: NumbaMachine) -> list[int]:
        operands = [(machine.address(view), strides) for view, strides in zip(self.operands, self.strides, strict=True)]
        return row_words(self.spec, self.sizes, operands, self.kernel.address)

    def part(self, machine: NumbaMachine, start: int, stop: int) -> list[int]:
        """The words for some elements of a flat loop."""
        operands = []
        for view, strides in zip(self.operands, self.strides, strict=True):
            moved = start * strides[0] * machine.memory[view.base].itemsize
            operands.append((machine.address(view) + moved, strides))
        return row_words(self.spec, [self._whole(stop - start)], operands, self.kernel.address)

    def _whole(self, size: int) -> int:
        return -(-size // self.spec.lanes) * self.spec.lanes


def _kind(dtype: str, computed: str) -> str:
    """The kind of an operand in a loop."""
    return "real" if dtype == computed else _KINDS.get(dtype, dtype)


class _ProductRow:
    """A matrix product, and its kernel."""

    def __init__(self, row: Multiply, machine: NumbaMachine) -> None:
        self.row = row
        a, b = row.inputs[:2]
        m, n, k = row.sizes
        self.kernel: CompiledProduct = choose_product(
            row.dtype, m, n, k, a.strides, b.strides, row.has_bias, row.has_times, len(row.outputs) > 1
        )
        self.cost = float(row.flops) if self.kernel.kind == "blocks" else 0.0

    def words(self, machine: NumbaMachine) -> list[int]:
        m, n, _ = self.row.sizes
        return self._words(machine, slice(0, m), slice(0, n), thread=0)

    def divided(self, machine: NumbaMachine, parts: int) -> list[list[int]]:
        """The words for each thread: some rows of the result, or some columns where there are more of these."""
        m, n, _ = self.row.sizes
        length = -(-max(m, n) // parts // _TILES) * _TILES
        ranges = [slice(first, min(first + length, max(m, n))) for first in range(0, max(m, n), length)]
        both = [(part, slice(0, n)) if m >= n else (slice(0, m), part) for part in ranges]
        return [self._words(machine, *part, thread) for thread, part in enumerate(both)]

    def _words(self, machine: NumbaMachine, rows: slice, columns: slice, thread: int) -> list[int]:
        """The words for some rows and columns of the result."""
        row = self.row
        a, b = row.inputs[:2]
        out, *sums = row.outputs
        size = np.dtype(row.dtype).itemsize
        first, column = rows.start, columns.start

        def at(view: View, i: int, j: int) -> int:
            return machine.address(view) + (i * view.strides[0] + j * view.strides[1]) * size

        return product_words(
            self.kernel, rows.stop - first, columns.stop - column, row.sizes[2],
            (at(a, first, 0), a.strides[0], a.strides[1]),
            (at(b, 0, column), b.strides[0], b.strides[1]),
            machine.address(row.bias) + column * size if row.bias is not None else 0,
            (at(out, first, column), out.strides[0]),
            machine.scratch(self.kernel.scratch_bytes, thread).ctypes.data,
            (at(row.times, first, column), row.times.strides[0]) if row.times is not None else (0, 0),
            machine.address(sums[0]) if sums else 0,
        )  # fmt: skip


Prepared = _LoopRow | _ProductRow | NativeRow


def _ends_with_buffer(view: View, machine: NumbaMachine, dtype: str) -> bool:
    """Whether a flat output is whole vectors, or what is written behind it, up to there, is its buffer's padding."""
    if view.shape and view.strides != contiguous_strides(view.shape):
        return False
    size, lanes = math.prod(view.shape), LINE // np.dtype(dtype).itemsize
    whole = -(-size // lanes) * lanes
    is_last = view.offset + size >= machine.plan.buffers[view.base].size
    return size == whole or (is_last and view.offset + whole <= machine.memory[view.base].size)
