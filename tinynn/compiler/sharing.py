"""Long elementwise rows on several threads: which rows are shared, and how they are cut.

Rows that go over the same elements one by one are cut together. A thread takes a part of the elements, and goes
through it in pieces that stay in its cache: all rows on one piece, then all rows on the next::

    mask = random > p                for each part, by whoever takes it (`tinynn.kernels.gang`):
    out = where(mask, 2 x, 0)   ->       for each piece of the part:
    dx = where(mask, 2 g, 0)                 mask; out; dx
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tinynn.compiler.numba_machine import NumbaMachine
    from tinynn.compiler.rows import Row
    from tinynn.compiler.views import View

PIECE = 1 << 16  # elements: whole pages of every dtype
_PER_NANOSECOND = 40  # operations and bytes that one thread does, about
LONG = 1e5 * _PER_NANOSECOND  # from which on threads share rows,
SHORT = LONG / 4  # if each of them has that many
_PARTS = 4  # for each thread: who is faster does more


@runtime_checkable
class Sharable(Protocol):
    """A row whose elements can be computed in any order.

    Attributes
    ----------
    elements : how many there are; 0 where the row cannot be cut after all
    cost : operations, and bytes that are read and written
    """

    elements: int
    cost: float

    def part(self, machine: NumbaMachine, start: int, stop: int) -> list[int]:
        """The words of the row for some of its elements; ``start`` is a multiple of `PIECE`."""


@runtime_checkable
class Divisible(Protocol):
    """A row that is long enough for threads to share it by itself.

    Attributes
    ----------
    cost : as above; 0 where it cannot be divided after all
    """

    cost: float

    def divided(self, machine: NumbaMachine, parts: int) -> list[list[int]]:
        """The words of the row for at most so many threads."""


def runs(rows: Sequence[tuple[Row, Any]], machine: NumbaMachine) -> Iterator[tuple[bool, list[tuple[Row, Any]]]]:
    """The rows in their order, one by one or in runs that threads should share; and whether they should.

    Parameters
    ----------
    rows : with how the machine prepared each
    """
    at = 0
    while at < len(rows):
        run: list[tuple[Row, Any]] = []
        for k in range(at, len(rows)):
            row, prepared = rows[k]
            if not isinstance(prepared, Sharable) or not prepared.elements or prepared.cost < SHORT:
                break
            if run and prepared.elements != run[0][1].elements:
                break
            if any(_collide(row, other, machine) for other, _ in run):
                break
            run.append((row, prepared))
        cost = sum(prepared.cost for _, prepared in run)
        if not run:
            run, alone = [rows[at]], rows[at][1]
            cost = alone.cost if isinstance(alone, Divisible) else 0.0
        yield cost >= LONG and machine.lanes() > 1, run
        at += len(run)


def _collide(row: Row, other: Row, machine: NumbaMachine) -> bool:
    """Whether one row writes what is, for the other, another element: then all of one must run before the other."""
    pairs = itertools.chain(
        itertools.product(row.outputs, (*other.inputs, *other.outputs)), itertools.product(row.inputs, other.outputs)
    )
    for a, b in pairs:
        span, other_span = _span(a, machine), _span(b, machine)
        if span != other_span and span[0] < other_span[1] and other_span[0] < span[1]:
            return True
    return False


def _span(view: View, machine: NumbaMachine) -> tuple[int, int]:
    """Where a view begins and ends. Rows of a run have as many elements: in one span they meet one by one."""
    first, size = machine.address(view), machine.memory[view.base].itemsize
    length = math.prod(n for n, stride in zip(view.shape, view.strides, strict=True) if stride)
    return first, first + size * length


def cut(rows: Sequence[tuple[Row, Any]], machine: NumbaMachine) -> list[list[tuple[Row, list[int]]]]:
    """The rows' words for each of some parts, which threads take one by one."""
    row, prepared = rows[0]
    if isinstance(prepared, Divisible):
        return [[(row, words)] for words in prepared.divided(machine, machine.lanes())]
    elements = rows[0][1].elements
    length = -(-elements // (_PARTS * machine.lanes()) // PIECE) * PIECE
    piece = PIECE if len(rows) > 1 else length
    return [
        [
            (row, prepared.part(machine, start, min(start + piece, first + length, elements)))
            for start in range(first, min(first + length, elements), piece)
            for row, prepared in rows
        ]
        for first in range(0, elements, length)
    ]
