"""Rows of a plan with their kernels: what the words of a loop, or of a matrix product, are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinynn.compiler.rows import Loop, Multiply
from tinynn.compiler.views import View, contiguous_strides
from tinynn.kernels.loops import Access, CompiledKernel, LoopSpec, compile_loop, joined_axes, row_words, supported
from tinynn.kernels.memory import LINE
from tinynn.kernels.products import CompiledProduct, choose_product
from tinynn.kernels.products import row_words as product_words

if TYPE_CHECKING:
    from tinynn.compiler.numba_machine import NumbaMachine

_TILES = 32  # rows and columns: whole tiles of any kernel
_KINDS = {"bool": "bool", "int64": "int"}  # of operands that have another dtype than their loop


class LoopRow:
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


class ProductRow:
    """A matrix product, and its kernel."""

    def __init__(self, row: Multiply, machine: NumbaMachine) -> None:
        self.row = row
        a, b = row.inputs[:2]
        m, n, k = row.sizes
        self.kernel: CompiledProduct = choose_product(
            row.dtype, m, n, k, a.strides, b.strides, row.has_bias, row.has_times, len(row.outputs) > 1
        )
        self.cost = float(row.flops) if self.kernel.kind == "blocks" else 0.0
        self.packs = self.kernel.name.endswith(("transposed", "strided"))

    def words(self, machine: NumbaMachine) -> list[int]:
        m, n, _ = self.row.sizes
        return self._words(machine, slice(0, m), slice(0, n), thread=self.row.lane)

    def divided(self, machine: NumbaMachine, parts: int) -> list[list[int]]:
        """The words for each thread: some rows of the result, or some columns where there are more of these."""
        m, n, _ = self.row.sizes
        length = -(-max(m, n) // parts // _TILES) * _TILES
        ranges = [slice(first, min(first + length, max(m, n))) for first in range(0, max(m, n), length)]
        both = [(part, slice(0, n)) if m >= n else (slice(0, m), part) for part in ranges]
        return [self._words(machine, *part, thread) for thread, part in enumerate(both)]

    def in_parts(self, machine: NumbaMachine, most: int) -> list[list[int]]:
        """The words for some rows or columns of the result each, in as many parts."""
        m, n, _ = self.row.sizes
        if self.kernel.kind != "tiles":
            return []
        # where b is copied first, each part of the rows copies all of it: few and long parts, then
        by_columns, unit = (4 * n >= m, 4 * _TILES) if self.packs else (n >= m, _TILES)
        size, unit = (n, _TILES) if by_columns else (m, unit)
        length = -(-size // most // unit) * unit
        starts = range(0, max(size - length + 1, 1), length)  # the last part is longer: a tile must not be cut
        ranges = [slice(first, first + length if first < starts[-1] else size) for first in starts]
        both = [(slice(0, m), part) if by_columns else (part, slice(0, n)) for part in ranges]
        return [self._words(machine, *part, place) for place, part in enumerate(both)]

    def _words(self, machine: NumbaMachine, rows: slice, columns: slice, thread: int) -> list[int]:
        """The words for some rows and columns of the result."""
        row = self.row
        a, b = row.inputs[:2]
        out, *sums = row.outputs if columns.start == 0 else row.outputs[:1]  # sums of a's rows: once
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
            machine.address(sums[0]) + first * size if sums else 0,
        )  # fmt: skip


def _ends_with_buffer(view: View, machine: NumbaMachine, dtype: str) -> bool:
    """Whether a flat output is whole vectors, or what is written behind it, up to there, is its buffer's padding."""
    if view.shape and view.strides != contiguous_strides(view.shape):
        return False
    size, lanes = math.prod(view.shape), LINE // np.dtype(dtype).itemsize
    whole = -(-size // lanes) * lanes
    is_last = view.offset + size >= machine.plan.buffers[view.base].size
    return size == whole or (is_last and view.offset + whole <= machine.memory[view.base].size)
