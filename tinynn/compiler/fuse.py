"""Which work runs in one loop: chains of maps, with the full reductions of what they compute, become one group.

A group reads each of its inputs once, keeps what is in between in registers of the processor, and stores only what
others read. Matrix products and calls stay by themselves.

Groups stand in the order in which they run. A map joins

* the group that makes the last of its inputs, if it reads that at the same place in the same loops;
* else the first later group over the same loops that reads one of the same (large) operands;
* else it starts a group, which is merged afterwards into the only group that waits for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinynn.compiler.views import Shape, View, contiguous_strides
from tinynn.compiler.work import Map, Reduction, Work

LARGEST_GROUP = 60  # maps in one loop: more of them spill the registers, and compile slowly
Space = tuple[Shape, str]  # the lengths of the loops, without those of length 1, and the dtype


@dataclass(eq=False)
class Group:
    """Work that runs together: maps and reductions over one space, or one product, or one call (no space)."""

    members: list[Work]
    space: Space | None
    makes: set[int] = field(default_factory=set)

    def add(self, member: Work) -> None:
        self.members.append(member)
        self.makes.update(member.outputs)

    def reads(self) -> Iterator[View]:
        """What it reads from outside."""
        for member in self.members:
            for x in member.inputs:
                if isinstance(x, View) and x.base not in self.makes:
                    yield x

    @property
    def is_loop(self) -> bool:
        return self.space is not None


def space_of(item: Work) -> Space | None:
    """The loops that a piece of work runs over."""
    if isinstance(item, Map):
        return tuple(n for n in item.shape if n != 1), item.dtype
    if isinstance(item, Reduction):
        return tuple(n for n in item.inputs[0].shape if n != 1), item.dtype
    return None


def over(operand: View, item: Work) -> View:
    """An operand as it is walked over in the loops of the work that reads it."""
    shape = item.shape if isinstance(item, Map) else operand.shape
    full = operand.broadcast(shape)
    kept = [i for i, n in enumerate(shape) if n != 1]
    return View(full.base, tuple(shape[i] for i in kept), tuple(full.strides[i] for i in kept), full.offset)


def reads_in_place(operand: View, item: Work) -> bool:
    """Whether element i is read in turn i: then the one who computes it may still hold it in a register."""
    walked = over(operand, item)
    return walked.offset == 0 and walked.strides == contiguous_strides(walked.shape)


def is_full(reduction: Reduction) -> bool:
    """Whether it reduces to a single number."""
    return all(n == 1 or i in reduction.axes for i, n in enumerate(reduction.inputs[0].shape))


def fuse(work: list[Work]) -> list[Group]:
    """Sort work into groups, in an order in which they can run."""
    groups: list[Group] = []
    position: dict[int, int] = {}  # register -> the number of the group that makes it
    readers: dict[tuple[View, Space], list[int]] = defaultdict(list)
    for item in work:
        space = space_of(item)
        inputs = [x for x in item.inputs if isinstance(x, View)]
        latest = max((position[x.base] for x in inputs if x.base in position), default=-1)
        number = _group_to_join(item, space, inputs, latest, groups, position, readers)
        if number is None:
            number = len(groups)
            groups.append(Group([], space))
        groups[number].add(item)
        position.update(dict.fromkeys(item.outputs, number))
        if space is not None:
            for x in inputs:
                if _moves_everywhere(walked := over(x, item)):
                    readers[walked, space].append(number)
    return _merged(groups)


def _group_to_join(
    item: Work,
    space: Space | None,
    inputs: list[View],
    latest: int,
    groups: list[Group],
    position: dict[int, int],
    readers: dict[tuple[View, Space], list[int]],
) -> int | None:
    if space is None or (isinstance(item, Reduction) and not is_full(item)):
        return None
    if latest >= 0 and _fits(item, space, groups[latest]):
        return latest
    if not math.prod(space[0]) > 1:
        return None
    shared = [
        number
        for x in inputs
        for number in readers.get((over(x, item), space), ())
        if number > latest and len(groups[number].members) < LARGEST_GROUP
    ]
    return min(shared, default=None)


def _fits(item: Work, space: Space, group: Group) -> bool:
    """Whether work may join the loops that make (some of) its inputs."""
    if group.space != space or len(group.members) >= LARGEST_GROUP:
        return False
    reduced = {r.out for r in group.members if isinstance(r, Reduction)}
    return all(
        reads_in_place(x, item) and x.base not in reduced
        for x in item.inputs
        if isinstance(x, View) and x.base in group.makes
    )


def _moves_everywhere(walked: View) -> bool:
    return len(walked.shape) > 0 and 0 not in walked.strides


def _merged(groups: list[Group]) -> list[Group]:
    """Move groups down into the one group that waits for them, where nobody in between does."""
    alive: list[Group | None] = list(groups)
    maker = {register: number for number, group in enumerate(groups) for register in group.makes}
    consumers: dict[int, set[int]] = defaultdict(set)
    for number, group in enumerate(groups):
        for x in group.reads():
            if x.base in maker:
                consumers[maker[x.base]].add(number)
    for number in range(len(groups) - 1, -1, -1):
        a = groups[number]
        if not a.is_loop or not consumers[number]:
            continue
        target = min(consumers[number])
        b = groups[target]
        if a.space != b.space or len(a.members) + len(b.members) > LARGEST_GROUP:
            continue
        if not all(_fits(item, a.space, a) for item in b.members if a.space is not None):
            continue
        merged = Group([], b.space)
        for item in (*a.members, *b.members):
            merged.add(item)
        groups[target] = alive[target] = merged
        alive[number] = None
        for x in a.reads():
            if x.base in maker and maker[x.base] != number:
                consumers[maker[x.base]].discard(number)
                consumers[maker[x.base]].add(target)
        consumers[target] |= consumers[number] - {target}
        maker.update(dict.fromkeys(a.makes, target))
    return [group for group in alive if group is not None]
