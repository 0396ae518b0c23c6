"""From loops over given shapes to launches: which kernels, how many threads, and their arguments.

`arrange` takes a space, operands with strides, and expressions, and gives `Work`: one kernel for a map, one for each
set of axes that is reduced, and a second one where the terms are cut into parts. `Work.launches` fills in addresses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinynn.kernels import cuda_loops
from tinynn.kernels.cuda_loops import THREADS, CudaLoop, Operand
from tinynn.kernels.loops import joined_axes
from tinynn.kernels.rewrites import in_order, substituted
from tinynn.kernels.symbols import Symbol

__all__ = ["Launch", "Walk", "Work", "arrange", "launch_shape"]

_NARROW = 1 << 30  # below it, indices of 32 bits do, sums of two included
_TERMS = 16  # that a lane should at least add before terms are cut into parts
_BLOCKS = 1024  # that fill any device
_MOST_BLOCKS = 1 << 20


@dataclass(frozen=True)
class Walk:
    """An operand: a name for its memory (any key), where it begins there in bytes, strides in elements, and dtype."""

    base: Any
    offset: int
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Launch:
    """One kernel with all that it needs to run. Arguments are NumPy scalars of exactly the parameters' types."""

    name: str
    source: str
    grid: tuple[int, int]
    block: tuple[int, int]
    arguments: tuple[Any, ...]
    types: tuple[str, ...]  # the parameters' types in C, with the kernel's T and I spelled out


@dataclass(eq=False)
class _Step:
    """A kernel over a given space, before addresses are known."""

    loop: CudaLoop
    source: str
    operands: list[Walk]  # those with a pointer
    strides: list[list[int]]  # of these, along the loops
    sizes: list[int]
    scales: list[float]
    across: bool
    cut: tuple[int, int, int, int] = (1, 1, 1, 1)  # lanes, results in a block, blocks along x, parts
    part_strides: list[int] = field(default_factory=list)

    def launch(self, address: Callable[[Walk], int]) -> Launch | None:
        """With addresses. None where there is nothing to do."""
        loop = self.loop
        kept, terms = math.prod(self.sizes[: loop.kept]), math.prod(self.sizes[loop.kept :])
        if not kept:
            return None
        values: list[Any] = [address(walk) for walk in self.operands]
        for operand, strides in zip(loop.operands, self.strides, strict=True):
            values += [stride for step, stride in zip(operand.steps, strides, strict=True) if step == "s"]
        values += [*self.sizes, kept]
        grid, block = (min(-(-kept // THREADS), _MOST_BLOCKS), 1), (THREADS, 1)
        if loop.reduced:
            lanes, places, blocks, parts = self.cut
            values += [terms, -(-terms // parts), int(self.across)]
            for part, scale in zip(self.part_strides, self.scales, strict=True):
                values += [part, scale]
            grid, block = (blocks, parts), (places, lanes) if self.across else (lanes, places)
        meaning = {"T": cuda_loops.CTYPES[loop.dtype], "I": "long long" if loop.wide else "int"}
        types = tuple("pointer" if ctype.endswith("*") else meaning.get(ctype, ctype) for ctype, _ in
                      cuda_loops.parameters(loop))  # fmt: skip
        arguments = tuple(_SCALARS[ctype](value) for ctype, value in zip(types, values, strict=True))
        return Launch(loop.name, self.source, grid, block, arguments, types)


_SCALARS: dict[str, Any] = {
    "pointer": np.uint64, "int": np.int32, "long long": np.int64, "float": np.float32, "double": np.float64,
}  # fmt: skip


class Scratch:
    """The key of memory for intermediate results that a work's kernels hand to each other."""


SCRATCH = Scratch()


@dataclass(eq=False)
class Work:
    """The kernels of a loop, in order.

    Attributes
    ----------
    scratch_bytes : of intermediate memory that it needs while it runs
    """

    steps: list[_Step]
    scratch_bytes: int = 0

    @property
    def kernels(self) -> list[CudaLoop]:
        return [step.loop for step in self.steps]

    @property
    def sources(self) -> list[str]:
        return [step.source for step in self.steps]

    def launches(self, address: Callable[[Walk], int]) -> list[Launch]:
        """With addresses; of the base `SCRATCH` too, where scratch is needed."""
        return [launch for step in self.steps if (launch := step.launch(address)) is not None]


_known: dict[tuple[Any, ...], tuple[str, tuple[Symbol, ...]]] = {}


def _source(loop: CudaLoop) -> str:
    """The text of a kernel, printed once; the expressions are kept, so that the key stays theirs."""
    key = cuda_loops.key(loop)
    if key not in _known:
        _known[key] = (cuda_loops.cuda_loop_source(loop), loop.expressions)
    return _known[key][0]


def arrange(
    space: Sequence[int],
    dtype: str,
    inputs: Sequence[Walk],
    names: Sequence[str],
    expressions: Sequence[Symbol],
    outputs: Sequence[Walk],
    kinds: Sequence[str],
    scales: Sequence[float],
    cut: bool = True,
) -> Work:
    """Kernels for a loop.

    Parameters
    ----------
    space : the lengths of the loops
    dtype : in which everything is computed
    inputs, names : the operands, and the variables that they are in the expressions
    expressions, outputs, kinds, scales : for each output; kinds are "", "sum", "max", "min". A reduced output has
        stride 0 along the axes over which it is reduced. An output may be one of the inputs, and is then written
        over it
    cut : whether sums of many terms may be cut into parts

    Returns
    -------
    Work
    """
    expressions, kinds = list(expressions), list(kinds)
    axes: list[frozenset[int]] = []
    for number, output in enumerate(outputs):
        over = frozenset(i for i, n in enumerate(space) if n != 1 and output.strides[i] == 0) if kinds[number] else None
        if not over:
            if kinds[number] == "sum" and scales[number] != 1.0:
                expressions[number] = expressions[number] * scales[number]
            kinds[number] = ""
        axes.append(over or frozenset())
    groups: dict[frozenset[int], list[int]] = {}
    for number in range(len(outputs)):
        if kinds[number]:
            groups.setdefault(axes[number], []).append(number)
    # What is stored at every point goes with the last group: what is written over an input then does not come early
    stored = [number for number in range(len(outputs)) if not kinds[number]]
    parts = list(groups.items()) or [(frozenset(), [])]
    parts[-1] = (parts[-1][0], sorted([*parts[-1][1], *stored]))
    work = Work([])
    for over, numbers in parts:
        _add(work, space, dtype, over, list(zip(names, inputs, strict=True)), [
            (expressions[number], outputs[number], kinds[number], scales[number]) for number in numbers
        ], cut)  # fmt: skip
    return work


def _add(
    work: Work, space: Sequence[int], dtype: str, over: frozenset[int], inputs: list[tuple[str, Walk]],
    outputs: list[tuple[Symbol, Walk, str, float]], cut: bool,
) -> None:  # fmt: skip
    """Append the kernels of the outputs that are reduced over the same axes."""
    used = {str(v.value) for v in in_order([e for e, *_ in outputs]) if v.function == "variable"}
    fresh: dict[Walk, str] = {}
    renamed: dict[Symbol, Symbol] = {}
    for name, walk in inputs:
        if name in used:  # the same operand under two names is read once
            known = fresh.setdefault(walk, f"a{len(fresh)}")
            is_bool = next(v.is_bool for v in in_order([e for e, *_ in outputs]) if v.value == name)
            renamed[Symbol.variable(name, is_bool)] = Symbol.variable(known, is_bool)
    expressions = tuple(substituted([e for e, *_ in outputs], renamed))
    walks = list(fresh)
    inout = tuple(walks.index(walk) if walk in walks and not kind else -1 for _, walk, kind, _ in outputs)
    operands = [*walks, *(walk for (_, walk, _, _), place in zip(outputs, inout, strict=True) if place < 0)]
    kept = [i for i in range(len(space)) if i not in over]
    order = [*kept, *sorted(over)]
    everything = [*walks, *(walk for _, walk, _, _ in outputs)]
    kept_sizes, kept_strides = _joined([space[i] for i in kept], [[w.strides[i] for i in kept] for w in everything])
    reduced = order[len(kept) :]
    sizes, strides = _joined([space[i] for i in reduced], [[w.strides[i] for i in reduced] for w in everything])
    if over and not sizes:  # one term
        sizes, strides = [1], [[0] for _ in everything]
    if not over:
        sizes, strides = [], [[] for _ in everything]
        if not kept_sizes:
            kept_sizes, kept_strides = [1], [[0] for _ in everything]
    along = {id(w): [*a, *b] for w, a, b in zip(everything, kept_strides, strides, strict=True)}
    whole = [*kept_sizes, *sizes]
    wide = math.prod(whole) >= _NARROW or any(
        sum(abs(s) * (n - 1) for s, n in zip(along[id(w)], whole, strict=True)) >= _NARROW for w in everything
    )
    loop = CudaLoop(
        dtype, len(kept_sizes), len(sizes), tuple(_operand(w, along[id(w)], dtype) for w in walks), expressions,
        tuple(_operand(w, along[id(w)], dtype) for _, w, _, _ in outputs), tuple(kind for *_, kind, _ in outputs),
        inout, wide,
    )  # fmt: skip
    step = _Step(
        loop, _source(loop), operands, [along[id(w)] for w in operands], whole,
        [scale if kind == "sum" else 1.0 for *_, kind, scale in outputs if kind], False,
    )  # fmt: skip
    work.steps.append(step)
    if over:
        _spread(work, step, [output for output in outputs if output[2]], along, cut)


def _operand(walk: Walk, strides: list[int], dtype: str) -> Operand:
    steps = tuple("" if s == 0 else "1" if s == 1 else "s" for s in strides)
    return Operand(steps, "" if walk.dtype == dtype else walk.dtype)


def _joined(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Without axes of length 1, and with neighbouring axes joined along which every operand goes on.

    Examples
    --------
    >>> _joined((2, 1, 3, 4), [(12, 7, 4, 1), (0, 7, 0, 1)])
    ([6, 4], [[4, 1], [0, 1]])
    """
    kept = [axis for axis, n in enumerate(sizes) if n != 1]
    return joined_axes([sizes[axis] for axis in kept], [[steps[axis] for axis in kept] for steps in strides])


# ------------------------------------------------------------------------------------------------- reductions


def launch_shape(kept: int, terms: int, across: bool) -> tuple[int, int, int, int]:
    """Lanes for a result, results in a block, blocks, and parts into which the terms are cut.

    Depends on nothing but the sizes, so that sums come out the same everywhere.

    Examples
    --------
    >>> launch_shape(1, 1000, False), launch_shape(1, 16_000_000, False), launch_shape(4096, 4096, True)
    ((256, 1, 1, 1), (256, 1, 1, 1024), (8, 32, 128, 8))
    """
    if across:
        places = min(32, _power(kept))
        lanes = min(THREADS // places, _power(terms))
    else:
        lanes = min(THREADS, _power(terms))
        places = min(THREADS // lanes, _power(kept))
    blocks = -(-kept // places)
    parts = min(-(-terms // (lanes * _TERMS)), -(-_BLOCKS // blocks), _BLOCKS)
    return lanes, places, blocks, max(parts, 1)


def _power(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def _spread(
    work: Work, step: _Step, outputs: list[tuple[Symbol, Walk, str, float]], along: dict[int, list[int]], cut: bool
) -> None:
    """Decide how a reduction is spread over threads, and append the launch that adds its parts, if there are some."""
    loop, sizes = step.loop, step.sizes[: step.loop.kept]
    kept, terms = math.prod(sizes), math.prod(step.sizes[loop.kept :])
    step.across = _neighbours_are_kept(step)
    lanes, places, blocks, parts = launch_shape(kept, terms, step.across)
    step.cut = (lanes, places, blocks, parts if cut else 1)
    step.part_strides = [0] * len(outputs)
    if not cut or parts == 1:
        return
    # The parts' results go to scratch: for each output one row of all results after the other, in the loops' order
    nbytes = parts * kept * np.dtype(loop.dtype).itemsize
    rows = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    walked = [*rows, *([0] * loop.reduced)]
    places_of = {id(w): Walk(SCRATCH, k * nbytes, tuple(rows), loop.dtype) for k, (_, w, _, _) in enumerate(outputs)}
    work.scratch_bytes = max(work.scratch_bytes, len(outputs) * nbytes)
    step.strides = [
        walked if id(w) in places_of else old for w, old in zip(step.operands, step.strides, strict=True)
    ]  # fmt: skip
    targets = [Walk(w.base, w.offset, (0, *along[id(w)][: loop.kept]), w.dtype) for _, w, _, _ in outputs]
    sources = [Walk(SCRATCH, places_of[id(w)].offset, (kept, *rows), loop.dtype) for _, w, _, _ in outputs]
    step.operands = [places_of.get(id(w), w) for w in step.operands]
    scratch = _operand(sources[0], walked, loop.dtype)
    step.loop = replace(loop, outputs=tuple(
        scratch if kind else operand for operand, kind in zip(loop.outputs, loop.kinds, strict=True)
    ))  # fmt: skip
    step.source = _source(step.loop)
    names = [f"a{number}" for number in range(len(outputs))]
    joining = arrange(
        (parts, *sizes), loop.dtype, sources, names, [Symbol.variable(name) for name in names], targets,
        [kind for _, _, kind, _ in outputs], step.scales, cut=False,
    )  # fmt: skip
    step.scales, step.part_strides = [1.0] * len(outputs), [kept] * len(outputs)
    work.steps += joining.steps


def _neighbours_are_kept(step: _Step) -> bool:
    """Whether threads that run along the kept loops read neighbouring elements."""
    loop = step.loop
    votes = 0
    for strides in step.strides[: len(loop.inputs)]:
        steps = [abs(s) for s in strides]
        kept = min((s for s in steps[: loop.kept] if s), default=None)
        reduced = min((s for s in steps[loop.kept :] if s), default=None)
        if kept is not None and reduced is not None:
            votes += 1 if kept < reduced else -1
    return votes > 0
