"""Less memory for more arithmetic: values of the way forward that are computed again for the way back.

A step of a deep network holds the activations of all its layers until the way back needs them. Here the way forward is
cut into stretches. What goes over a cut is kept; what else the way back needs of a stretch is computed again just
before it is read. With as many stretches as a stretch has layers, this holds twice the square root of n activations of
n, and costs at most one more way forward (Chen, Xu, Zhang, Guestrin: Training Deep Nets with Sublinear Memory Cost,
2016, arXiv:1604.06174). A row that runs again on the same numbers gives the same bits.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tinynn.compiler.rows import Loop, Row
from tinynn.compiler.shorten import in_canonical_order
from tinynn.compiler.views import View

if TYPE_CHECKING:
    from tinynn.compiler.plan import Buffer

_WORTH = 64  # what is so many times smaller than the largest activation is kept


def recompute_activations(
    rows: list[Row],
    buffers: dict[int, Buffer],
    pinned: set[int],
    neighbours: list[tuple[int, ...]],
    new: Callable[..., View],
) -> None:
    """Put rows that compute activations again in front of the rows of the way back that read them.

    Parameters
    ----------
    rows, buffers : of a plan, in the order in which they will run; both are changed
    pinned : the buffers of results
    neighbours : groups of buffers that lie side by side, where one view may go over all of a group
    new : makes a buffer
    """
    way = _Forward(rows, buffers, pinned, neighbours)
    inserted: dict[int, list[Row]] = {}  # in front of the row of this number
    for first, last in way.stretches():
        again = way.computed_again(first, last)
        if again:
            place = way.first_late_read(again)
            inserted.setdefault(place, []).extend(way.repeated(again, first, last, place, new))
    rows[:] = [row for number, old in enumerate(rows) for row in (*inserted.get(number, ()), old)]


class _Forward:
    """The rows up to the one at which most memory is in use: behind it the way back gives memory free.

    Attributes
    ----------
    writes, reads : the rows that write or read a buffer
    peak : the row at which most memory is in use
    activations : buffers that one row writes on the way forward, and that wait for the way back
    kept : buffers that hold their values until these are read for the last time
    """

    def __init__(
        self, rows: list[Row], buffers: dict[int, Buffer], pinned: set[int], neighbours: list[tuple[int, ...]]
    ) -> None:
        self.rows, self.buffers = rows, buffers
        groups = {group[0]: group for group in neighbours}  # a view that goes over a group begins in its first buffer
        self.writes: dict[int, list[int]] = {}
        self.reads: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            for views, rows_of in ((row.outputs, self.writes), (row.inputs, self.reads)):
                for base in {base for view in views for base in self._bases(view, groups)}:
                    rows_of.setdefault(base, []).append(number)
        self.inner = [base for base in self.writes if buffers[base].kind == "inner"]
        self.peak = self._peak()
        beside = {base for group in neighbours for base in group}
        self.once = {
            base for base in self.inner if base not in pinned and base not in beside and len(self.writes[base]) == 1
        }
        waiting = {
            base: buffers[base].nbytes
            for base in self.inner
            if self.writes[base][0] < self.peak < max(self.reads.get(base, [0]))
        }
        least = max(waiting.values(), default=0) / _WORTH
        self.activations = {base for base, nbytes in waiting.items() if base in self.once and nbytes >= least}
        self.kept = waiting.keys() - self.activations

    def _bases(self, view: View, groups: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
        """The buffers that a view goes over."""
        length = view.offset + sum((n - 1) * abs(stride) for n, stride in zip(view.shape, view.strides, strict=True))
        return groups.get(view.base, (view.base,)) if length >= self.buffers[view.base].size else (view.base,)

    def _peak(self) -> int:
        change = [0] * (len(self.rows) + 1)
        for base in self.inner:
            change[self.writes[base][0]] += self.buffers[base].nbytes
            change[max(self.writes[base] + self.reads.get(base, [])) + 1] -= self.buffers[base].nbytes
        most = peak = alive = 0
        for number, more in enumerate(change):
            alive += more
            if alive > most:
                most, peak = alive, number
        return peak

    def first_late_read(self, bases: set[int]) -> int:
        """The first row of the way back that reads one of some buffers."""
        return min(number for base in bases for number in self.reads[base] if number > self.peak)

    # ------------------------------------------------------------------------------------------- stretches

    def stretches(self) -> list[tuple[int, int]]:
        """The first and the last row of each stretch, without the last stretch, whose values are needed at once.

        All that goes over a cut is kept from now on.
        """
        held = [
            sum(self.buffers[base].nbytes for base in {view.base for view in row.outputs} & self.activations)
            for row in self.rows[: self.peak]
        ]
        wanted = math.sqrt(sum(held) * max(held, default=0))
        found = []
        first = 0
        while wanted:
            totals = dict(enumerate(itertools.accumulate(held[first:]), first))
            end = max(totals.values(), default=0) - wanted / 2  # the last stretch is not much shorter than the others
            long = [cut for cut, total in totals.items() if wanted <= total <= end]
            if not long:
                break
            # between one and two times the length that is wanted: where least goes over the cut, which
            # is between the blocks of a network and not inside of one
            reached = [cut for cut in long if totals[cut] < 2 * wanted] or long[:1]
            crossing = {cut: self._crossing(cut) for cut in reached}
            last = min(reached, key=lambda cut: sum(self.buffers[base].nbytes for base in crossing[cut]))
            self.kept |= crossing[last]
            found.append((first, last))
            first = last + 1
        return found

    def _crossing(self, cut: int) -> set[int]:
        """Buffers that are written up to a row, and read on the way forward behind it."""
        return {
            base
            for base in self.inner
            if self.writes[base][0] <= cut and any(cut < number <= self.peak for number in self.reads.get(base, ()))
        }

    # ---------------------------------------------------------------------------------------- computed again

    def computed_again(self, first: int, last: int) -> set[int]:
        """The activations of a stretch that are not kept."""
        written = {view.base for row in self.rows[first : last + 1] for view in row.outputs}
        again = written & self.activations - self.kept
        while again:
            able = self._able(first, last, self.first_late_read(again))
            if again <= able:
                break
            again &= able  # the others stay in memory; where the first is needed may have moved
        return again

    def _able(self, first: int, last: int, place: int) -> set[int]:
        """The buffers of a stretch that can be computed again in front of row ``place``."""
        able: set[int] = set()
        for number in range(first, last + 1):
            for base in {view.base for view in self.rows[number].outputs} & self.once:
                row = _only(self.rows[number], {base})
                if (
                    row.part == (0, 1)
                    and all(self.buffers[view.base].kind == "inner" for view in row.outputs)
                    and all(v.base in able or self._holds(v.base, number, place) for v in row.inputs)
                ):
                    able.add(base)
        return able

    def _holds(self, base: int, number: int, place: int) -> bool:
        """Whether a buffer holds in front of row ``place`` what row ``number`` read in it."""
        if any(number <= writer < place for writer in self.writes.get(base, ())):
            return False
        return base in self.kept or self.buffers[base].kind != "inner"

    def repeated(self, again: set[int], first: int, last: int, place: int, new: Callable[..., View]) -> list[Row]:
        """Rows that compute ``again`` from what is kept; the rows of the way back read what these write."""
        needed, chosen = set(again), []
        for number in range(last, first - 1, -1):
            wanted = needed & {view.base for view in self.rows[number].outputs}
            if wanted:
                row = _only(self.rows[number], wanted)
                row.again = True
                chosen.append(row)
                needed |= {view.base for view in row.inputs if not self._holds(view.base, number, place)}
        for base in {view.base for row in chosen for view in row.outputs}:
            buffer = self.buffers[base]
            place_of_copy = View.whole(new(buffer.shape, buffer.dtype).base, ())
            for row in (*chosen, *(self.rows[self.peak + 1 :] if base in again else ())):
                row.rename(base, place_of_copy)
        return chosen[::-1]


def _only(row: Row, wanted: set[int]) -> Row:
    """A copy of a row; of a loop, one that computes only what is wanted."""
    made = copy.copy(row)
    made.inputs, made.outputs = list(row.inputs), list(row.outputs)
    if isinstance(made, Loop):
        chosen = [k for k, view in enumerate(made.outputs) if view.base in wanted]
        for column in ("outputs", "expressions", "reductions", "scales"):
            setattr(made, column, [getattr(made, column)[k] for k in chosen])
        in_canonical_order(made)
    return made
