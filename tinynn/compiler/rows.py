"""The rows of a plan: one loop, one matrix product, or one call each, with views on buffers as operands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tinynn.compiler.views import Shape, View
from tinynn.compiler.work import Call as CallWork
from tinynn.kernels.rewrites import in_order
from tinynn.kernels.symbols import Symbol
from tinynn.ops.piecewise import StopGradient

if TYPE_CHECKING:
    from tinynn.compiler.plan import Plan

SAME = StopGradient()  # the operation of copies: its result is its input
Origin = tuple[str, str]  # the operation, and the user's line


@dataclass(eq=False)
class Row:
    """One entry of the table.

    Attributes
    ----------
    inputs, outputs : views on buffers
    origins : the operations that it does, each with the user's line
    part : (i, n) for part i of n of a batch that is gone through in parts
    lane : rows of different lanes may run at the same time, if they are of different parts
    again : whether it computes what another row has computed before, to spare memory
    """

    inputs: list[View]
    outputs: list[View]
    origins: list[Origin] = field(default_factory=list)
    part: tuple[int, int] = field(default=(0, 1), kw_only=True)
    lane: int = field(default=0, kw_only=True)
    again: bool = field(default=False, kw_only=True)

    def rename(self, old: int, new: View) -> None:
        """Let every operand that lies in buffer ``old`` lie at the beginning of the view ``new`` instead."""
        for views in (self.inputs, self.outputs):
            for k, view in enumerate(views):
                if view.base == old:
                    views[k] = replace(view, base=new.base, offset=view.offset + new.offset)

    @property
    def flops(self) -> int:
        """Arithmetic operations, roughly."""
        return 0

    def traffic(self, plan: Plan) -> int:
        """Bytes that are read and written, each once."""
        total = 0
        for view in (*self.inputs, *self.outputs):
            count = math.prod(n for n, stride in zip(view.shape, view.strides, strict=True) if stride)
            total += count * plan.buffers[view.base].dtype.itemsize
        return total

    @property
    def title(self) -> str:
        """The operations in order, each once: ``Linear``, ``GELU+Mul``."""
        names = list(dict.fromkeys(name for name, _ in self.origins))
        return "+".join(names[:6]) + ("+..." if len(names) > 6 else "")


@dataclass(eq=False)
class Loop(Row):
    """Expressions at every point of a space.

    Attributes
    ----------
    space : the lengths of the loops, outermost first
    dtype : in which everything is computed
    names : the variable in the expressions that each input is
    expressions : one for each output
    reductions : for each output "" where it is stored at every point, else "sum", "max" or "min" over the axes along
        which the output does not move
    scales : factors of finished sums
    """

    space: Shape = ()
    dtype: str = "float64"
    names: list[str] = field(default_factory=list)
    expressions: list[Symbol] = field(default_factory=list)
    reductions: list[str] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)

    @property
    def flops(self) -> int:
        return math.prod(self.space) * sum(1 for node in in_order(self.expressions) if node.operands)

    def inout(self) -> list[int]:
        """For each output, the input over which it is written, or -1."""
        return [self.inputs.index(out) if out in self.inputs else -1 for out in self.outputs]

    def is_flat(self) -> bool:
        """Whether every operand is walked over in order, or is a single number."""
        return all(
            view.strides == whole or not any(view.strides)
            for whole in [View.whole(0, self.space).strides]
            for view in (*self.inputs, *self.outputs)
        )


@dataclass(eq=False)
class Multiply(Row):
    """outputs[0] = (a @ b + bias) * times, of matrices; and perhaps outputs[1] = a summed over its second axis.

    ``inputs`` are a and b, then the bias (added to every row) and ``times`` (multiplied element by element) if they
    are there: `bias` and `times` tell.
    """

    dtype: str = "float64"
    has_bias: bool = False
    has_times: bool = False

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(rows, columns, length of the sums)."""
        (m, k), (_, n) = self.inputs[0].shape, self.inputs[1].shape
        return m, n, k

    @property
    def bias(self) -> View | None:
        return self.inputs[2] if self.has_bias else None

    @property
    def times(self) -> View | None:
        return self.inputs[-1] if self.has_times else None

    @property
    def flops(self) -> int:
        return 2 * math.prod(self.sizes)


@dataclass(eq=False)
class Call(Row):
    """An operation that runs by its own forward formula. ``known`` holds the operands that are no tensors."""

    work: CallWork | None = None
    known: dict[int, object] = field(default_factory=dict)  # place among the operation's inputs -> value
