"""All gradients of one operation as one instruction of a recorded program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynn.backends.dispatch import GRADIENT_KERNELS
from tinynn.ops.base import Op

Saved = Sequence[tuple[str, Any]]


class GradientOf(Op):
    """out = the gradients of ``op`` by its inputs ``wanted``, from g and the arrays that the op has saved

    The backend's kernel computes them together; where it has none, or does not want the job, the op's formulas run on
    the raw arrays: what an ordinary walk back does. Not itself differentiable.

    Parameters
    ----------
    op : the operation
    wanted : numbers of the inputs by which the gradients are asked for, one output each
    count : how many inputs the operation has
    names : of the saved arrays, which are the inputs after g
    fixed : (name, value) of what was saved beside arrays: shapes
    """

    def __init__(self, op: Op, wanted: tuple[int, ...], count: int, names: tuple[str, ...], fixed: Saved) -> None:
        self.op, self.wanted, self.count, self.names, self.fixed = op, wanted, count, names, tuple(fixed)
        self.derived = tuple(f"gradient_{i}" for i in wanted[1:])  # type: ignore[misc]

    def forward(self, xp, g, *arrays):
        op, saved = self.op, {**dict(zip(self.names, arrays, strict=True)), **dict(self.fixed)}
        ready = None
        kernels = GRADIENT_KERNELS.get(g.__class__)
        if kernels is not None and g.size >= op.worth_kernel and op.__class__ in kernels:
            parents = [True if i in self.wanted else None for i in range(self.count)]
            ready = kernels[op.__class__](op, g, saved, parents)
        if ready is None:
            rules: Any = op.rules
            ready = {i: rules[i][0](op, g, **{name: saved[name] for name in rules[i][1]}) for i in self.wanted}
        found = [ready[i] for i in self.wanted]
        return found[0] if len(found) == 1 else found

    def __repr__(self) -> str:
        by = ", ".join(self.op.inputs[i] for i in self.wanted)
        return f"GradientOf({self.op!r}, by {by})"

    def key(self) -> tuple[Any, ...]:
        return (GradientOf, self.op.key(), self.wanted, self.count, self.names, self.fixed)
