"""What a compiled program takes of memory, against what its instructions would take one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinynn.compiler.program import Program


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of a compiled program.

    Attributes
    ----------
    arena : what rows hand to each other, with memory used again
    without_reuse : the same, if every buffer had memory of its own
    fixed : copies of arguments, constants, single numbers
    state : parameters, moments, statistics
    eager_peak : the most that is alive at once when the recorded instructions run one by one, each result in an
        array of its own which is freed after its last use; state not counted

    Examples
    --------
    >>> print(MemoryReport(arena=2048, without_reuse=4096, fixed=64, state=1024, eager_peak=8192))
    arena               2.0 kB  (4.0 kB without reuse; eagerly 8.0 kB at the peak)
    arguments, numbers  64 B
    state               1.0 kB
    """

    arena: int
    without_reuse: int
    fixed: int
    state: int
    eager_peak: int

    def __str__(self) -> str:
        arena = f"{_text(self.arena)}  ({_text(self.without_reuse)} without reuse; "
        return "\n".join(
            [
                f"arena               {arena}eagerly {_text(self.eager_peak)} at the peak)",
                f"arguments, numbers  {_text(self.fixed)}",
                f"state               {_text(self.state)}",
            ]
        )

    __repr__ = __str__


def _text(nbytes: int) -> str:
    for unit in ("B", "kB", "MB"):
        if nbytes < 1024 or unit == "MB":
            return f"{nbytes:.1f} {unit}" if unit != "B" else f"{nbytes} B"
        nbytes /= 1024  # type: ignore[assignment]
    raise AssertionError


def eager_peak(program: Program) -> int:
    """See `MemoryReport`."""
    last = {register: number for number, i in enumerate(program.instructions) for register in i.inputs}
    alive = peak = 0
    leaving: dict[int, int] = {}  # instruction -> bytes that nobody needs after it
    for number, instruction in enumerate(program.instructions):
        for register in instruction.outputs:
            shape, dtype = program.types[register]
            nbytes = math.prod(shape) * dtype.itemsize
            alive += nbytes
            end = max(last.get(register, number), number)
            leaving[end] = leaving.get(end, 0) + nbytes
        peak = max(peak, alive)
        alive -= leaving.pop(number, 0)
    return peak
