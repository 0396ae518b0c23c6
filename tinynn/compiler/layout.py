"""Where the buffers between rows lie: one arena, in which memory is used again as soon as nobody needs it.

Rows run in order, so a buffer lives from the row that writes it to the last one that reads it. The rows are walked
through once, with a list of the free stretches of memory: a buffer takes the smallest stretch that is large enough.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from tinynn.compiler.plan import Plan
from tinynn.compiler.rows import Loop
from tinynn.compiler.views import View

LINE = 64  # bytes: buffers begin and end at whole cache lines


@dataclass(frozen=True)
class Layout:
    """Byte offsets of the inner buffers in the arena, the arena's length, and what all would take side by side."""

    offsets: dict[int, int]
    nbytes: int
    without_reuse: int


def lay_out(plan: Plan) -> Layout:
    """Place the inner buffers of a plan."""
    together = {number: group for group in plan.neighbours for number in group}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    kept = {operand.base for operand in plan.results.values() if isinstance(operand, View)}
    for number, row in enumerate(plan.rows):
        for view in (*row.outputs, *row.inputs):
            if plan.buffers[view.base].kind == "inner":
                for member in together.get(view.base, (view.base,)):
                    first.setdefault(member, number)
                    last[member] = len(plan.rows) if member in kept else number
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for number in first:
        begins.setdefault(first[number], []).append(number)
        ends.setdefault(last[number], []).append(number)
    memory = _Memory()
    offsets: dict[int, int] = {}
    total = 0
    for turn in range(len(plan.rows)):
        for number in begins.get(turn, ()):
            if number in offsets:
                continue
            group = together.get(number, (number,))
            at = memory.take(sum(line_bytes(plan, member) for member in group))
            for member in group:
                offsets[member] = at
                at += line_bytes(plan, member)
                total += line_bytes(plan, member)
        for number in ends.get(turn, ()):
            memory.give(offsets[number], line_bytes(plan, number))
    return Layout(offsets, memory.end, total)


def line_bytes(plan: Plan, number: int) -> int:
    """A buffer's length in bytes, in whole cache lines."""
    return -(-max(plan.buffers[number].nbytes, 1) // LINE) * LINE


class _Memory:
    """Free stretches of an arena that grows at its end."""

    def __init__(self) -> None:
        self.end = 0
        self.free: list[tuple[int, int]] = []  # (begin, length), in order

    def take(self, length: int) -> int:
        fitting = [stretch for stretch in self.free if stretch[1] >= length]
        if fitting:
            begin, found = min(fitting, key=lambda stretch: stretch[1])
            self.free.remove((begin, found))
            if found > length:
                insort(self.free, (begin + length, found - length))
            return begin
        if self.free and sum(self.free[-1]) == self.end:  # the last stretch grows
            begin, _ = self.free.pop()
        else:
            begin = self.end
        self.end = begin + length
        return begin

    def give(self, begin: int, length: int) -> None:
        insort(self.free, (begin, length))
        at = self.free.index((begin, length))
        for left in (at, at - 1):  # join with the stretches on both sides
            if 0 <= left < len(self.free) - 1 and sum(self.free[left]) == self.free[left + 1][0]:
                joined = (self.free[left][0], self.free[left][1] + self.free[left + 1][1])
                self.free[left : left + 2] = [joined]


__all__ = ["LINE", "Layout", "Loop", "lay_out", "line_bytes"]
