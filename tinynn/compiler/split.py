"""Large batches in parts: what rows hand to each other for a few hundred samples at a time stays in the cache.

A small network makes hundreds of bytes for each sample of a batch. For ten thousand samples that is megabytes, which
each row would write to memory and the next would fetch again. So the rows of a plan that can be cut along the batch
are collected and run once per part of the batch::

    h = tanh(x @ V.T)                for each part: h = tanh(x[part] @ V.T)
    y = h @ W.T              ->                     y = h @ W.T
    loss = sum((y - t)**2)                          partial[part] = sum((y - t[part])**2)
                                     loss = sum of partial

Kernels know nothing of shapes, so nothing more is compiled: the table gets longer, and the arena much smaller.

A row is cut along the batch if each of its operands either goes on by one sample's elements when the row goes on by one
sample, or is the same for all of them. Sums (and largest, smallest values) over the batch, gradients of weights among
them, become partial results, one for each part, and are finished by a row of their own. Rows that need a finished
result run afterwards, those that need nothing of the parts before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tinynn.compiler.cuts import Cut, Cutter
from tinynn.compiler.rows import Loop, Multiply, Row
from tinynn.compiler.views import View, contiguous_strides
from tinynn.kernels.symbols import Symbol

if TYPE_CHECKING:
    from tinynn.compiler.plan import Buffer

# Nanoseconds per sample of a step with tanh and Adam, by samples in a part, on a core of an AMD EPYC (Zen 4; caches of
# 32 KB, 1 MB, and 32 MB that neighbours share), and megabytes of the arena whole and as it is cut now. Between the rows
# of 4-32-16-4 are 384 bytes a sample in float32.
#
#                               256    512   1024   whole     arena
#   4-32-16-4  float32   10000   61     61     61      62    3.8 -> 0.5
#                        40000   65     63     63      74     15 -> 0.6
#                       200000   81     79     76     145     77 -> 1.0
#              float64   10000  131    130    129     135    7.7 -> 0.6
#                        40000  139      -    138     328     31 -> 0.9
#   4-64-64-4  float32   10000  311    307    305     337     10 -> 0.9
CACHE = 1 << 20  # bytes of the second-level cache of a core
SHARE = 2  # a part takes half of it: weights, arguments and partial results want some, too
WORTH = 2 * CACHE  # bytes between the rows below which whole batches stay in the cache, or nearly so
SHORTEST_BATCH = 512
SHORTEST_PART = 64  # samples: below, rows take as long to start as to run
STEP = 16  # samples: parts begin at whole cache lines, whatever a sample is
LARGEST_WEIGHTS = 1 << 18  # bytes of right-hand sides that are read again for each part
MOST_ROWS = 4000  # in a table: parts get longer rather than that there are more
MOST_LENGTHS = 3  # that are tried as the length of the batch
MOST_TRIALS = 20  # places at which a run of rows may begin


def split_batches(
    rows: list[Row],
    buffers: dict[int, Buffer],
    new_buffer: Callable[[tuple[int, ...], Any], View],
    pinned: set[int],
    lanes: int = 1,
) -> None:
    """Let rows that go over the same samples run part by part, where that pays.

    Parameters
    ----------
    rows, buffers : of a plan; changed in place
    new_buffer : makes a buffer of a shape and dtype
    pinned : buffers that are needed after the last row
    lanes : parts that may run at the same time; each lane has memory of its own
    """
    for length in _lengths(buffers):
        splitter = _Splitter(length, buffers, new_buffer, pinned, lanes)
        found = splitter.split(rows)
        if found is not None:
            rows[:] = found
            return


def _lengths(buffers: dict[int, Buffer]) -> list[int]:
    """Lengths that the batch may have: first axes, those of most bytes first."""
    nbytes: dict[int, int] = defaultdict(int)
    for buffer in buffers.values():
        if buffer.kind == "inner" and buffer.shape and buffer.shape[0] >= SHORTEST_BATCH:
            nbytes[buffer.shape[0]] += buffer.nbytes
    lengths = [length for length, total in nbytes.items() if total >= WORTH]
    return sorted(lengths, key=lambda length: -nbytes[length])[:MOST_LENGTHS]


class _Splitter:
    """Cuts runs of rows along batches of one length."""

    def __init__(
        self, length: int, buffers: dict[int, Buffer], new_buffer: Callable[[tuple[int, ...], Any], View],
        pinned: set[int], lanes: int,
    ) -> None:  # fmt: skip
        self.length, self.buffers, self.new_buffer, self.pinned = length, buffers, new_buffer, pinned
        self.lanes = lanes
        self.cut = Cutter(length, buffers).cut

    def split(self, rows: list[Row]) -> list[Row] | None:
        """The rows in parts; None where no run of them is worth it."""
        done: list[Row] = []
        waiting = list(rows)
        found = False
        for _ in range(MOST_TRIALS):
            run = _Run(self)
            run.gather(waiting)
            parts = run.in_parts(self._touched_elsewhere(run, [*done, *run.before, *run.after]))
            if parts is not None:
                done += [*run.before, *parts]
                waiting = run.after
                found = True
            elif run.after:  # try again behind the first row that did not fit
                start = waiting.index(run.after[0]) + 1
                done += waiting[:start]
                waiting = waiting[start:]
            else:
                break
        return [*done, *waiting] if found else None

    def _touched_elsewhere(self, run: _Run, others: list[Row]) -> set[int]:
        return self.pinned | {view.base for row in others for view in (*row.inputs, *row.outputs)}


# ---------------------------------------------------------------------------------------------------- a run


class _Run:
    """Rows that run part by part, and those that move before and behind them.

    Attributes
    ----------
    members : the rows that are cut, and how
    before : rows that need nothing of them
    after : rows that cannot be cut, and all that depend on them
    """

    def __init__(self, splitter: _Splitter) -> None:
        self.splitter, self.buffers, self.length = splitter, splitter.buffers, splitter.length
        self.members: list[tuple[Row, Cut]] = []
        self.before: list[Row] = []
        self.after: list[Row] = []
        self.made: set[int] = set()  # buffers that members write sample by sample
        self.partial: set[int] = set()  # and those of which they make partial results

    def gather(self, rows: list[Row]) -> None:
        """Sort rows, in order, into the three lists."""
        read: set[int] = set()  # by members
        touched_after: set[int] = set()
        written_after: set[int] = set()
        for row in rows:
            sources, targets = {v.base for v in row.inputs}, {v.base for v in row.outputs}
            written = self.made | self.partial
            waits = bool(sources & written_after or targets & touched_after)
            depends = bool(sources & written or targets & (written | read))
            cut = None
            if not waits and not sources & self.partial and not targets & (self.partial | (read - self.made)):
                cut = self.splitter.cut(row, self.made)
            if cut is not None and cut.reduces:
                summed = {v.base for v, axis in zip(row.outputs, cut.outputs, strict=True) if axis is None}
                if summed & self.made:
                    cut = None
                elif not targets & (read | self.made) and self._move_before(sources):
                    cut, depends = None, False
            if cut is not None:
                self.members.append((row, cut))
                read |= sources
                for view, axis in zip(row.outputs, cut.outputs, strict=True):
                    (self.partial if axis is None else self.made).add(view.base)
            elif waits or depends:
                self.after.append(row)
                touched_after |= sources | targets
                written_after |= targets
            else:
                self.before.append(row)

    def _move_before(self, sources: set[int]) -> bool:
        """Move those members before the run that a sum over the batch needs, where that is little work.

        Whoever needs the sum could not join the run: the number of labels that count, say, by which a mean divides.
        Little work is what loops over one number of each sample do, without sums and products. Returns whether it is.
        """
        wanted, early = sources & self.made, []
        for number, (row, cut) in reversed(list(enumerate(self.members))):
            if wanted.intersection(view.base for view in row.outputs):
                if not isinstance(row, Loop) or len(row.space) > 1 or cut.reduces:
                    return False
                early.append(number)
                wanted |= {view.base for view in row.inputs} & self.made
        moved = {view.base for number in early for view in self.members[number][0].outputs}
        rest = [member for number, member in enumerate(self.members) if number not in early]
        if any(view.base in moved for row, _ in rest for view in row.outputs):
            return False
        self.before += [self.members[number][0] for number in reversed(early)]
        self.members = rest
        self.made -= moved
        return True

    def in_parts(self, elsewhere: set[int]) -> list[Row] | None:
        """The members once for each part, and the rows that finish partial results; None if that does not pay.

        ``elsewhere`` are the buffers that other rows read or write: they keep their length.
        """
        local = self.made - elsewhere
        n = self._part_length(local)
        if n is None:
            return None
        starts = range(0, self.length, n)
        partial: dict[tuple[int, int], View] = {}  # (member, output) -> the first part's result
        finishing: list[Row] = []
        for i, (row, cut) in enumerate(self.members):
            for k, axis in enumerate(cut.outputs):
                if axis is None:
                    partial[i, k], last = self._finish(row, k, len(starts))
                    finishing.append(last)
        rows: list[Row] = []
        lanes = min(self.splitter.lanes, len(starts))
        places = self._places(local, n, lanes)
        for number, start in enumerate(starts):
            stop = min(start + n, self.length)
            lane = number * lanes // len(starts)
            # whole vectors are written, which may be more than the samples of the last part: that has buffers
            whole = (stop - start) % STEP == 0
            own = places[lane] if whole else {base: self._new(stop - start, base) for base in local}
            for i, (row, cut) in enumerate(self.members):
                inputs = [self._part(v, axis, start, stop, own) for v, axis in zip(row.inputs, cut.inputs, strict=True)]
                outputs = [
                    self._partial(partial[i, k], cut.axis, stop - start, number)
                    if axis is None
                    else self._part(row.outputs[k], axis, start, stop, own)
                    for k, axis in enumerate(cut.outputs)
                ]
                rows.append(self._shortened(row, cut, inputs, outputs, (number, len(starts)), lane))
        for base in local:
            del self.buffers[base]
        return rows + finishing

    # ------------------------------------------------------------------------------------------- whether it pays

    def _part_length(self, local: set[int]) -> int | None:
        """How many samples make a part; None if whole batches are as good."""
        if len(self.members) < 2 or not local:
            return None
        at_once, total = self._bytes_per_sample(local)
        if at_once * self.length < WORTH or self._weights() > LARGEST_WEIGHTS:
            return None
        fewest = -(-self.length // max(MOST_ROWS // len(self.members), 1))
        n = max(CACHE // SHARE // at_once, fewest, SHORTEST_PART)
        n = -(-self.length // -(-self.length // n))  # all of about the same length
        n = -(-n // STEP) * STEP
        # partial results are written, read and added up: that must be little beside what stays in cache
        if n >= self.length or 8 * self._partial_bytes() * -(-self.length // n) > total * self.length:
            return None
        return n

    def _bytes_per_sample(self, local: set[int]) -> tuple[int, int]:
        """Of the buffers between the rows: the most that are needed at once, and all together."""
        nbytes = {base: self.buffers[base].nbytes // self.length for base in local}
        lives = self._lives(local)
        at_once = [
            sum(nbytes[base] for base, (first, last) in lives.items() if first <= number <= last)
            for number in range(len(self.members))
        ]
        return max(*at_once, 1), sum(nbytes.values())

    def _weights(self) -> int:
        """Bytes that every part reads whole."""
        whole = {
            view.base: view.size * self.buffers[view.base].dtype.itemsize
            for row, cut in self.members
            if isinstance(row, Multiply)
            for view, axis in zip(row.inputs, cut.inputs, strict=True)
            if axis is None
        }
        return sum(whole.values())

    def _partial_bytes(self) -> int:
        return sum(self.buffers[base].nbytes for base in self.partial)

    # ------------------------------------------------------------------------------------------------- making it

    def _lives(self, local: set[int]) -> dict[int, tuple[int, int]]:
        """The first and the last member that needs each buffer."""
        lives: dict[int, tuple[int, int]] = {}
        for number, (row, _) in enumerate(self.members):
            for base in {view.base for view in (*row.inputs, *row.outputs)} & local:
                lives[base] = (lives.get(base, (number, number))[0], number)
        return lives

    def _places(self, local: set[int], samples: int, lanes: int) -> list[dict[int, View]]:
        """Where the buffers lie for a part of each lane: in one buffer for all of a dtype.

        The largest first, each at the lowest place that is free for all of its life; all parts of a lane use the same
        memory.
        """
        lives = self._lives(local)
        places: list[dict[int, View]] = [{} for _ in range(lanes)]
        for dtype in {self.buffers[base].dtype for base in local}:
            placed: list[tuple[int, int, int]] = []  # (begin, end, base), in elements per sample
            mine = [base for base in sorted(local) if self.buffers[base].dtype == dtype]
            for base in sorted(mine, key=lambda base: -self.buffers[base].size):
                size, at = self.buffers[base].size // self.length, 0
                for begin, end, other in sorted(placed):
                    if lives[other][0] <= lives[base][1] and lives[base][0] <= lives[other][1]:
                        if at + size <= begin:
                            break
                        at = max(at, end)
                placed.append((at, at + size, base))
            width = max(end for _, end, _ in placed)
            pool = self.splitter.new_buffer((lanes * samples, width), dtype).base
            for lane, own in enumerate(places):
                own.update((base, View(pool, (), (), (lane * width + begin) * samples)) for begin, _, base in placed)
        return places

    def _new(self, samples: int, base: int) -> View:
        """The beginning of a buffer for some samples of another."""
        buffer = self.buffers[base]
        return self.splitter.new_buffer((samples, buffer.size // self.length), buffer.dtype)

    def _part(self, view: View, axis: int | None, start: int, stop: int, own: dict[int, View]) -> View:
        """An operand for the samples from ``start`` to ``stop``."""
        short = self._along(view, axis, stop - start)
        if axis is None:
            return view
        if view.base in own:
            place = own[view.base]
            return replace(short, base=place.base, offset=view.offset + place.offset)
        per_sample = view.shape[axis] // self.length
        return replace(short, offset=view.offset + start * per_sample * view.strides[axis])

    def _finish(self, row: Row, k: int, parts: int) -> tuple[View, Row]:
        """Memory for the partial results of an output, as a view on the first, and the row that adds them up."""
        out = row.outputs[k]
        kept = [i for i, stride in enumerate(out.strides) if stride and out.shape[i] != 1]
        shape, strides = tuple(out.shape[i] for i in kept), tuple(out.strides[i] for i in kept)
        inner = contiguous_strides(shape)
        step = -(-math.prod(shape) // STEP) * STEP
        dtype = self.buffers[out.base].dtype
        partial = self.splitter.new_buffer((parts, step), dtype).base
        steps = dict(zip(kept, inner, strict=True))
        first = View(partial, out.shape, tuple(steps.get(i, 0) for i in range(len(out.shape))))
        kind, scale = (row.reductions[k], row.scales[k]) if isinstance(row, Loop) else ("sum", 1.0)
        last = Loop(
            [View(partial, (parts, *shape), (step, *inner))],
            [View(out.base, (parts, *shape), (0, *strides), out.offset)],
            row.origins, (parts, *shape), dtype.name, ["a0"], [Symbol.variable("a0")], [kind], [scale],
        )  # fmt: skip
        return first, last

    def _partial(self, first: View, axis: int | None, samples: int, number: int) -> View:
        """Where the partial result of one part goes."""
        step = self.buffers[first.base].shape[1]
        return self._along(replace(first, offset=number * step), axis, samples)

    def _along(self, view: View, axis: int | None, samples: int) -> View:
        """A view with the length of some samples along an axis."""
        if axis is None:
            return view
        per_sample = view.shape[axis] // self.length
        return replace(view, shape=(*view.shape[:axis], samples * per_sample, *view.shape[axis + 1 :]))

    def _shortened(
        self, row: Row, cut: Cut, inputs: list[View], outputs: list[View], part: tuple[int, int], lane: int
    ) -> Row:
        """A row for one part."""
        if not isinstance(row, Loop):
            return replace(row, inputs=inputs, outputs=outputs, part=part, lane=lane)
        scales = [1.0 if axis is None else scale for scale, axis in zip(row.scales, cut.outputs, strict=True)]
        space = (*inputs, *outputs)[0].shape
        return replace(row, inputs=inputs, outputs=outputs, part=part, lane=lane, space=space, scales=scales)
