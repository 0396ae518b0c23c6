"""Calls for which the CPU has a kernel of the table: rows that are picked or added to, and dropout masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.compiler.rows import Call
from tinynn.compiler.views import View
from tinynn.kernels.kernel_sources import kernel_of_module
from tinynn.ops.indexing import ARRAY, Gather, Scatter
from tinynn.ops.neural import Keep

if TYPE_CHECKING:
    from tinynn.compiler.numba_machine import NumbaMachine

_PER_WORD = 16  # a random word costs as much as so many operations


class NativeRow:
    """A row for a kernel that was written by hand.

    Attributes
    ----------
    kernel : `SourceKernel`
    """

    def __init__(self, row: Call, name: str) -> None:
        self.row = row
        self.kernel = kernel_of_module("tinynn.kernels.picks", name)

    def words(self, machine: NumbaMachine) -> list[int]:
        """The words of the table."""
        raise NotImplementedError


def native_row(row: Call, machine: NumbaMachine) -> NativeRow | None:
    """The kernel's row for a call; None if Python has to run it."""
    op = row.work.op if row.work is not None else None
    if isinstance(op, Keep):
        return _Mask(row)
    if isinstance(op, (Gather, Scatter)):
        return _picks(row, op, machine)
    return None


class _Mask(NativeRow):
    """A dropout mask."""

    def __init__(self, row: Call) -> None:
        super().__init__(row, "keep_mask")
        op: Any = row.work.op if row.work is not None else None
        self.limit = math.floor(op.p * 2.0**32)
        self.elements = row.outputs[0].size
        self.cost = float(self.elements * _PER_WORD)

    def words(self, machine: NumbaMachine) -> list[int]:
        return self.part(machine, 0, self.elements)

    def part(self, machine: NumbaMachine, start: int, stop: int) -> list[int]:
        """The words for some elements, from a multiple of four on."""
        position, out = machine.address(self.row.inputs[0]), machine.address(self.row.outputs[0])
        blocks = -(-(stop - start) // 4)
        return [self.kernel.address, 7, blocks, start // 4, self.limit, position, out + start]


def _picks(row: Call, op: Gather | Scatter, machine: NumbaMachine) -> NativeRow | None:
    """Picks along one axis by an array of int64."""
    axis = len(op.pattern) - 1
    dtype = machine.plan.buffers[row.outputs[0].base].dtype.name
    if dtype not in ("float64", "float32"):
        return None
    if op.pattern[-1] is not ARRAY or any(part != slice(None) for part in op.pattern[:-1]):
        return None
    operands = _Operands(row)
    index = operands.views[1]
    if operands.dtype(machine, 1) != np.int64 or operands.dtype(machine, 0) != dtype or not index.is_contiguous():
        return None
    whole = operands.views[0].shape if isinstance(op, Gather) else op.shape
    split = axis + (1 if isinstance(op, Gather) else len(index.shape))
    x = operands.views[0].in_three(axis, split)
    if x is None:
        return None
    sizes = (math.prod(whole[:axis]), index.size, math.prod(whole[axis + 1 :]), whole[axis])
    return _Pick(row, f"{'gather' if isinstance(op, Gather) else 'scatter'}_{dtype}", operands, x, sizes)


class _Operands:
    """An operation's first two operands; constants lie in arrays of their own, with a view's base below zero."""

    def __init__(self, row: Call) -> None:
        given = iter(row.inputs)
        self.arrays: dict[int, np.ndarray[Any, Any]] = {}
        self.views: list[View] = []
        for i in range(2):
            if i in row.known:
                self.arrays[~i] = np.array(row.known[i], order="C")
                self.views.append(View.whole(~i, self.arrays[~i].shape))
            else:
                self.views.append(next(given))

    def dtype(self, machine: NumbaMachine, i: int) -> np.dtype[Any]:
        base = self.views[i].base
        return self.arrays[base].dtype if base < 0 else machine.plan.buffers[base].dtype

    def address(self, machine: NumbaMachine, view: View) -> int:
        if view.base < 0:
            array = self.arrays[view.base]
            return int(array.ctypes.data) + view.offset * array.itemsize
        return machine.address(view)


class _Pick(NativeRow):
    def __init__(self, row: Call, name: str, operands: _Operands, x: View, sizes: tuple[int, ...]) -> None:
        super().__init__(row, name)
        self.operands, self.x, self.sizes = operands, x, sizes

    def words(self, machine: NumbaMachine) -> list[int]:
        x = self.operands.address(machine, self.x)
        index = self.operands.address(machine, self.operands.views[1])
        words = [*self.sizes, x, *self.x.strides, index, machine.address(self.row.outputs[0])]
        return [self.kernel.address, len(words) + 2, *words]
