"""The machine for the CPU: each row is a few words of a table, and a driver calls its compiled kernel by address.

Kernels know nothing of shapes or addresses; these stand in the table. So a kernel is compiled once for each kind of
loop, kept on disk, and shared by all layers and all programs. Rows that no kernel does (`Call`) run in Python,
between two stretches of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from tinynn.compiler import sharing
from tinynn.compiler.external import floats
from tinynn.compiler.interpret import run_row
from tinynn.compiler.kernel_rows import LoopRow, ProductRow
from tinynn.compiler.machine import Array, Machine
from tinynn.compiler.native_rows import NativeRow, native_row
from tinynn.compiler.program import Program
from tinynn.compiler.rows import Call, Loop, Multiply, Row
from tinynn.compiler.views import View
from tinynn.kernels import driver, threads
from tinynn.kernels.gang import Gang
from tinynn.kernels.kernel_sources import kernel_of_module
from tinynn.kernels.machine_code import interpreted
from tinynn.kernels.memory import LINE, worth_streaming, zero_bytes

_SHORT = 1e5  # operations in a step up to which the interpreter's lock is kept: giving it away costs as much
_MOST_THREADS = 16  # that share a step: there are few parts, and who finds none looks for work in vain
_WORTH_SHARING = 4e6  # operations of a product, some forty microseconds
_SHORTEST = 5e5  # operations of a part


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
        self._gang: Gang | None = None  # threads that share rows without Python
        super().__init__(program, recompute)

    def lanes(self) -> int:
        return 1 if interpreted() else min(threads.available(), _MOST_THREADS)

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
        self._parts: list[Array] = []  # tables of what threads share
        self._gang = None
        words: list[tuple[Row, list[int]]] = []
        waiting: list[Row] = []  # the next rows that no threads share row by row
        rows = [(row, self._prepared_for(row)) for row in self.plan.rows]
        for shared, run in sharing.runs(rows, self):
            first, prepared = run[0]
            if prepared is not None and not shared:
                waiting += [row for row, _ in run]
                continue
            words += self._words_of_rows(waiting)
            waiting.clear()
            if shared:
                words.append((first, self._in_turn(sharing.cut(run, self))))
            else:
                self._close(words)
                self._stretches.append(self._caller(first))
        words += self._words_of_rows(waiting)
        self._close(words)
        once = self._stretches[0] if len(self._stretches) == 1 else self._run_stretches
        self._run_rows = once  # type: ignore[method-assign]

    def _close(self, words: list[tuple[Row, list[int]]]) -> None:
        """End a stretch of rows that run one after the other without Python."""
        if words or not self._stretches:
            table = self._as_table(words)
            if not self._stretches:
                self._table = table
            step = driver.stepping(table, unlocked=self._gang is not None or not self._is_short())
            # rows between stretches may have threads of their own: helpers do not stay for those
            self._stretches.append(step if self._gang is None else self._gang.leading(step, self._parts))
            words.clear()

    def _words_of_rows(self, rows: list[Row]) -> list[tuple[Row, list[int]]]:
        """The words of some rows; parts of a batch in lanes, which threads take one by one."""
        found = []
        for run in _runs_of_parts(rows):
            prepared = [(row, each) for row in run if (each := self._prepared_for(row)) is not None]
            lanes = {row.lane: [(r, each.words(self)) for r, each in prepared if r.lane == row.lane] for row in run}
            if len(lanes) > 1:
                found.append((run[0], self._in_turn(list(lanes.values()))))
            else:
                found += [(row, self._words_of(each)) for row, each in prepared]
        return found

    def _in_turn(self, parts: list[list[tuple[Row, list[int]]]]) -> list[int]:
        """The words of a row whose parts, of several rows each, threads take one by one."""
        tables = [self._as_table(part) for part in parts]
        self._parts += tables  # they live as long as the machine
        run_rows = kernel_of_module("tinynn.kernels.driver_loops", "run_rows").address
        begin = driver.HEAD * 8
        words = [[run_rows, 4, int(table[driver.ROWS]), table.ctypes.data + begin] for table in tables]
        return self._with_others().words(words)

    def _words_of(self, prepared: Prepared) -> list[int]:
        """The words of a row; of a product that is worth it, in parts that threads take one by one."""
        if not isinstance(prepared, ProductRow) or prepared.row.flops < _WORTH_SHARING or self.lanes() < 2:
            return prepared.words(self)
        parts = prepared.in_parts(self, min(4 * self.lanes(), int(prepared.row.flops / _SHORTEST)))
        return self._with_others().words(parts) if len(parts) > 1 else prepared.words(self)

    def _with_others(self) -> Gang:
        self._gang = self._gang or Gang(self.lanes() - 1)
        return self._gang

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
        with self.counted(n_batches), self._gang.staying() if self._gang else nullcontext():
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
                return LoopRow(row, self)
            except NotImplementedError:  # too many axes, say: NumPy runs it, between two stretches
                return None
        if isinstance(row, Call):
            return native_row(row, self)
        assert isinstance(row, Multiply)
        return ProductRow(row, self)

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


Prepared = LoopRow | ProductRow | NativeRow


def _runs_of_parts(rows: list[Row]) -> list[list[Row]]:
    """Rows one by one, or the rows of all parts of a batch together."""
    runs: list[list[Row]] = []
    for row in rows:
        before = runs[-1][-1].part if runs else (0, 1)
        if row.part[1] == before[1] > 1 and row.part[0] >= before[0]:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs
