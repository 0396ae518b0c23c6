"""From a recorded program to few kinds of work: maps over elements, reductions, matrix products, and calls.

Instructions whose inputs are all known now are computed now; equal ones are merged; what nobody reads is dropped.
Reshapes, transposes, slices and broadcasts become views: they are absorbed by whoever reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinynn.compiler.program import Program
from tinynn.compiler.sort import Sorter
from tinynn.compiler.views import View
from tinynn.compiler.work import Operand, Tidied, Work, known


def tidy(program: Program, needed: Iterable[int], constants: Mapping[int, Any] | None = None) -> Tidied:
    """Sort a program's instructions into kinds of work.

    Parameters
    ----------
    program : as recorded
    needed : the registers that are read after the last instruction: results, and what is assigned
    constants : values of further registers that are the same in every run
    """
    needed = list(needed)
    types = dict(program.types)
    operands: dict[int, Operand] = {}
    for register, (shape, _) in types.items():
        operands[register] = View.whole(register, shape)
    for register, value in {**program.constants, **(constants or {})}.items():
        operands[register] = known(value)
    seen: dict[Any, list[Operand]] = {}
    work: list[Work] = []
    sorter = Sorter(types, operands, work)
    for instruction in program.instructions:
        inputs = [operands[register] for register in instruction.inputs]
        key = (repr(instruction.op.key()), *map(_identity, inputs))
        if key in seen:
            operands.update(zip(instruction.outputs, seen[key], strict=True))
            continue
        sorter.sort(instruction, inputs)
        seen[key] = [operands[register] for register in instruction.outputs]
    return Tidied(_alive(work, [operands[r] for r in needed]), operands, types)


def _identity(operand: Operand) -> Any:
    if isinstance(operand, View):
        return operand
    if operand.number is not None:
        return (repr(operand.number), np.shape(operand.array), str(getattr(operand.array, "dtype", "")))
    return id(operand.array)


def _alive(work: list[Work], needed: Iterable[Operand]) -> list[Work]:
    """The work that somebody reads, in order."""
    wanted = {operand.base for operand in needed if isinstance(operand, View)}
    alive = []
    for item in reversed(work):
        if wanted.intersection(item.outputs):
            wanted.update(x.base for x in item.inputs if isinstance(x, View))
            alive.append(item)
    return alive[::-1]
