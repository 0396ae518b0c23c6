"""The rows of a plan as work for a GPU: kernels printed for loops, products for cuBLAS, kernels for random numbers.

Nothing here runs anything. `GpuRow.steps` gives functions without arguments, which launch; a machine walks through
them, or captures them in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tinynn.compiler.plan import Plan
from tinynn.compiler.rows import SAME, Call, Loop, Multiply, Row
from tinynn.compiler.views import View
from tinynn.kernels import cuda_random
from tinynn.kernels.cublas import layout
from tinynn.kernels.cuda_launch import SCRATCH, Launch, Walk, Work, arrange
from tinynn.kernels.symbols import Symbol
from tinynn.ops.draw import Draw
from tinynn.ops.neural import Keep
from tinynn.ops.transfer import Copy, Move

__all__ = ["GpuRow", "gpu_row"]

_LINE = 256  # bytes to which intermediate memory is aligned
_COPIED_AS = {"uint64": "int64"}
Address = Callable[[Walk], int]


class GpuRow:
    """A row that needs no Python while it runs.

    Attributes
    ----------
    scratch_bytes : of intermediate memory; the base `SCRATCH` of the addresses that `steps` asks for
    """

    scratch_bytes = 0

    def launches(self, address: Address) -> list[Launch]:
        """Its kernels, without products."""
        return []

    def steps(self, device: Any, address: Address) -> list[Callable[[], None]]:
        """What is to be called, in order."""
        return [partial(device.launch, launch) for launch in self.launches(address)]


def gpu_row(row: Row, plan: Plan) -> GpuRow | None:
    """A row as work for the GPU; None if Python has to run it, by CuPy."""
    if isinstance(row, Loop):
        return _Loop(row, plan)
    if isinstance(row, Multiply):
        return _Product(row, plan)
    assert isinstance(row, Call)
    op = row.work.op if row.work is not None else None
    if not all(view.is_contiguous() for view in row.outputs):
        return None
    if isinstance(op, Keep) or (isinstance(op, Draw) and (op.kind, _dtype(plan, row.outputs[0])) in cuda_random.KINDS):
        return _Random(row, plan)
    if (isinstance(op, (Copy, Move)) or op is SAME) and row.inputs and row.inputs[0].shape == row.outputs[0].shape:
        return _copy(row, plan)
    return None


def _dtype(plan: Plan, view: View) -> str:
    return str(plan.buffers[view.base].dtype.name)


def _walk(plan: Plan, view: View) -> Walk:
    buffer = plan.buffers[view.base]
    return Walk(view.base, view.offset * buffer.dtype.itemsize, view.strides, buffer.dtype.name)


class _Arranged(GpuRow):
    def __init__(self, work: Work) -> None:
        self.work, self.scratch_bytes = work, work.scratch_bytes

    def launches(self, address: Address) -> list[Launch]:
        return self.work.launches(address)


class _Loop(_Arranged):
    """A loop."""

    def __init__(self, row: Loop, plan: Plan) -> None:
        super().__init__(arrange(
            row.space, row.dtype, [_walk(plan, v) for v in row.inputs], row.names, row.expressions,
            [_walk(plan, v) for v in row.outputs], row.reductions, row.scales,
        ))  # fmt: skip


def _copy(row: Call, plan: Plan) -> GpuRow | None:
    (source, *_), (target, *_) = row.inputs, row.outputs
    dtype = _dtype(plan, source)
    if dtype != _dtype(plan, target) or dtype not in ("float64", "float32", "int64", "uint64", "bool"):
        return None
    walks = [Walk(w.base, w.offset, w.strides, _COPIED_AS.get(w.dtype, w.dtype)) for w in
             (_walk(plan, source), _walk(plan, target))]  # fmt: skip
    symbol = Symbol.variable("a0", dtype == "bool")
    computed = "int64" if dtype == "bool" else walks[0].dtype
    return _Arranged(arrange(source.shape, computed, walks[:1], ["a0"], [symbol], walks[1:], [""], [1.0]))


class _Random(GpuRow):
    """Random numbers, or the mask of a dropout, from a position in the GPU's memory."""

    def __init__(self, row: Call, plan: Plan) -> None:
        assert row.work is not None
        self.op: Any = row.work.op
        self.position, self.out = _walk(plan, row.inputs[0]), _walk(plan, row.outputs[0])
        self.n = row.outputs[0].size

    def launches(self, address: Address) -> list[Launch]:
        out, position = address(self.out), address(self.position)
        if not self.n:
            return []
        if isinstance(self.op, Keep):
            return [cuda_random.keep(self.op.p, self.n, out, position)]
        op = self.op
        return [cuda_random.draw(op.kind, self.out.dtype, self.n, out, position, op.low, op.high)]


class _Product(GpuRow):
    """A product by cuBLAS, with what it does on its way in kernels before and after it.

    Operands that lie neither by rows nor by columns are copied before; a bias and a factor are added and multiplied
    after it, in one kernel; so are the sums of the first operand, in another one.
    """

    def __init__(self, row: Multiply, plan: Plan) -> None:
        self.row, self.plan = row, plan
        self.m, self.n, self.k = row.sizes
        self.before: list[Work] = []
        self.after: list[Work] = []
        self._copies = 0  # bytes of copies
        itemsize = plan.buffers[row.outputs[0].base].dtype.itemsize
        self._itemsize = itemsize
        self.a, self.b = self._operand(row.inputs[0]), self._operand(row.inputs[1])
        out = row.outputs[0]
        self.out = _walk(plan, out)
        found = layout(out.shape, out.strides)
        self.swapped = found is not None and found[0]
        if found is None:
            self.out = self._place(self.m, self.n)
            found = (False, self.n)
        self.distance = found[1]
        self._epilogue()
        if self.out.base is SCRATCH and not (row.has_bias or row.has_times):
            self._map([self.out], Symbol.variable("a0"), _walk(plan, out))
        if len(row.outputs) > 1:
            first, sums = _walk(plan, row.inputs[0]), row.outputs[1]
            target = Walk(sums.base, sums.offset * itemsize, (sums.squeezed().strides[0] if sums.size > 1 else 1, 0),
                          self.out.dtype)  # fmt: skip
            symbol = Symbol.variable("a0")
            space = (self.m, self.k)
            self.after.append(arrange(space, row.dtype, [first], ["a0"], [symbol], [target], ["sum"], [1.0]))
        # Intermediate results of kernels stand behind the copies, which have to last
        self._copies = -(-self._copies // _LINE) * _LINE
        self.scratch_bytes = self._copies + max((w.scratch_bytes for w in (*self.before, *self.after)), default=0)

    def _place(self, rows: int, columns: int) -> Walk:
        """Room for a matrix in scratch."""
        walk = Walk(SCRATCH, self._copies, (columns, 1), self.row.dtype)
        self._copies += -(-rows * columns * self._itemsize // _LINE) * _LINE
        return walk

    def _operand(self, view: View) -> tuple[Walk, bool, int]:
        found = layout(view.shape, view.strides)
        if found is not None:
            return _walk(self.plan, view), *found
        place = self._place(*view.shape)
        self.before.append(arrange(
            view.shape, self.row.dtype, [_walk(self.plan, view)], ["a0"], [Symbol.variable("a0")], [place], [""], [1.0]
        ))  # fmt: skip
        return place, False, view.shape[1]

    def _epilogue(self) -> None:
        row, names = self.row, iter(("a1", "a2"))
        walks, result = [self.out], Symbol.variable("a0")
        if row.bias is not None:
            walks.append(_walk(self.plan, row.bias.broadcast((self.m, self.n))))
            result = result + Symbol.variable(next(names))
        if row.times is not None:
            walks.append(_walk(self.plan, row.times.broadcast((self.m, self.n))))
            result = result * Symbol.variable(next(names))
        if len(walks) > 1:
            self._map(walks, result, _walk(self.plan, row.outputs[0]))

    def _map(self, walks: list[Walk], result: Symbol, out: Walk) -> None:
        names = [f"a{i}" for i in range(len(walks))]
        space = (self.m, self.n)
        self.after.append(arrange(space, self.row.dtype, walks, names, [result], [out], [""], [1.0]))

    def launches(self, address: Address) -> list[Launch]:
        return [launch for work in (*self.before, *self.after) for launch in self._of(work, address)]

    def _of(self, work: Work, address: Address) -> list[Launch]:
        """Kernels whose own intermediate results stand behind this row's copies."""
        copies = {self.a[0], self.b[0], self.out}

        def placed(walk: Walk) -> int:
            apart = walk.base is SCRATCH and walk not in copies
            return address(walk) + (self._copies if apart else 0)

        return work.launches(placed)

    def steps(self, device: Any, address: Address) -> list[Callable[[], None]]:
        (a, a_columns, a_distance), (b, b_columns, b_distance) = self.a, self.b
        first, second = (address(a), a_columns, a_distance), (address(b), b_columns, b_distance)
        sizes = (self.m, self.n, self.k)
        if self.swapped:  # out.T = b.T a.T, whose operands lie the other way round
            first, second = (second[0], not second[1], second[2]), (first[0], not first[1], first[2])
            sizes = (self.n, self.m, self.k)
        product = partial(device.multiply, self.row.dtype, sizes, first, second, (address(self.out), self.distance))
        steps = [partial(device.launch, launch) for work in self.before for launch in self._of(work, address)]
        steps.append(product)
        return steps + [partial(device.launch, launch) for work in self.after for launch in self._of(work, address)]
