"""Where the buffers between rows lie: one arena, in which memory is used again as soon as nobody needs it.

Rows run in order, so a buffer lives from the row that writes it to the last one that reads it; in rows that may run at
the same time, from the first to the last of these. Large buffers are placed
one after the other, the largest first, each at the lowest place that is free for all of its life. Small ones come
behind them: the rows are walked through once, with a list of free stretches.
"""

from __future__ import annotations

import itertools
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from tinynn.compiler.plan import Plan
from tinynn.compiler.rows import Row
from tinynn.compiler.views import View
from tinynn.kernels.memory import whole_lines

_LARGE = 1 << 16  # bytes


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
    for row, (begin, end) in zip(plan.rows, _at_once(plan.rows), strict=True):
        for view in (*row.outputs, *row.inputs):
            if plan.buffers[view.base].kind == "inner":
                for member in together.get(view.base, (view.base,)):
                    first.setdefault(member, begin)
                    last[member] = len(plan.rows) if member in kept else end
    groups = list(dict.fromkeys(together.get(number, (number,)) for number in first))
    lives = [
        _Life(group, first[group[0]], max(last[n] for n in group), sum(line_bytes(plan, n) for n in group))
        for group in groups
    ]
    end = _place_large([life for life in lives if life.nbytes >= _LARGE])
    end = _place_small([life for life in lives if life.nbytes < _LARGE], len(plan.rows), end)
    offsets: dict[int, int] = {}
    for life in lives:
        at = life.offset
        for number in life.group:
            offsets[number] = at
            at += line_bytes(plan, number)
    return Layout(offsets, end, sum(life.nbytes for life in lives))


def _at_once(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """For each row the first and the last that may run at the same time: parts of a batch, if they have lanes."""
    found: list[tuple[int, int]] = []
    for in_parts, run in itertools.groupby(rows, lambda row: row.part[1] > 1):
        lanes = [row.lane for row in run]
        begin, end = len(found), len(found) + len(lanes) - 1
        found += [(begin, end) if in_parts and max(lanes) else (k, k) for k in range(begin, end + 1)]
    return found


@dataclass(eq=False)
class _Life:
    """Buffers that lie side by side, the rows during which they are needed, and their place."""

    group: tuple[int, ...]
    first: int
    last: int
    nbytes: int
    offset: int = 0


def _place_large(lives: list[_Life]) -> int:
    """The largest first, each in the lowest gap between those that live at the same time. Returns the end."""
    placed: list[_Life] = []
    for life in sorted(lives, key=lambda life: -life.nbytes):
        at = 0
        for other in placed:  # in the order of their places
            if other.first <= life.last and life.first <= other.last:
                if at + life.nbytes <= other.offset:
                    break
                at = max(at, other.offset + other.nbytes)
        life.offset = at
        insort(placed, life, key=lambda life: life.offset)
    return max((life.offset + life.nbytes for life in placed), default=0)


def _place_small(lives: list[_Life], turns: int, begin: int) -> int:
    """In the order of rows: each in the smallest free stretch that is large enough. Returns the end."""
    begins: dict[int, list[_Life]] = {}
    ends: dict[int, list[_Life]] = {}
    for life in lives:
        begins.setdefault(life.first, []).append(life)
        ends.setdefault(life.last, []).append(life)
    memory = _Memory(begin)
    for turn in range(turns):
        for life in begins.get(turn, ()):
            life.offset = memory.take(life.nbytes)
        for life in ends.get(turn, ()):
            memory.give(life.offset, life.nbytes)
    return memory.end


def line_bytes(plan: Plan, number: int) -> int:
    """A buffer's length in bytes, in whole cache lines."""
    return whole_lines(plan.buffers[number].nbytes)


class _Memory:
    """Free stretches of an arena that grows at its end."""

    def __init__(self, begin: int) -> None:
        self.end = begin
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
