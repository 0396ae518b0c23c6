"""Operations that exist for the sake of a fast kernel, written out in plain ones: then loops can be made of them.

Eagerly, a layer norm is one operation, because one kernel does it in two passes over memory. In a compiled step of a
small network it would be a call to Python between two stretches of the table, which costs more than the whole step.
So it is written in the library's own operations: the formula runs once on stand-ins, and what it does is put in its
place. Large arrays keep their kernels, where those are faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinynn.compiler.formulas import FORMULAS, Formula
from tinynn.compiler.program import Instruction, Program, Type
from tinynn.compiler.rows import SAME
from tinynn.modes import no_grad, observed_by
from tinynn.ops.base import Op
from tinynn.tensor import Tensor


def expand(program: Program) -> Program:
    """The program with operations written out in plainer ones, where that is worth it. Registers keep their meaning.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.compiler.record import record
    >>> layer = tinynn.nn.LayerNorm(3)
    >>> program = record(layer, tinynn.ones(2, 3))
    >>> [type(instruction.op).__name__ for instruction in program.instructions]
    ['Reshape', 'Reshape', 'Reshape', 'LayerNorm', 'Reshape']
    >>> any(type(instruction.op).__name__ == "LayerNorm" for instruction in expand(program).instructions)
    False
    """
    return Expander(program).expanded()


class Expander:
    """Builds the new list of instructions.

    Attributes
    ----------
    types, constants : as in `Program`, with those of the new registers
    makers : register -> the instruction that makes it
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.types: dict[int, Type] = dict(program.types)
        self.constants: dict[int, Any] = dict(program.constants)
        self.instructions: list[Instruction] = []
        self.makers: dict[int, Instruction] = {}
        self._next = max(self.types, default=0) + 1
        self._by_value: dict[Any, int] = {}  # constants that formulas brought along

    def expanded(self) -> Program:
        """The new program."""
        for instruction in self.program.instructions:
            self.add(instruction)
        return replace(self.program, instructions=self.instructions, constants=self.constants, types=self.types)

    def add(self, instruction: Instruction) -> None:
        """Append an instruction, or what it is made of."""
        rule = FORMULAS.get(type(instruction.op))
        found = None if rule is None else rule(self, instruction)
        if found is None:
            self.instructions.append(instruction)
            self.makers.update(dict.fromkeys(instruction.outputs, instruction))
            return
        formula, inputs = found
        for part in self._parts(formula, inputs, instruction):
            self.add(part)

    def new(self, shape: tuple[int, ...], dtype: Any) -> int:
        """A fresh register."""
        register, self._next = self._next, self._next + 1
        self.types[register] = shape, np.dtype(dtype)
        return register

    def size(self, register: int) -> int:
        """How many elements a register holds."""
        return math.prod(self.types[register][0])

    def _parts(self, formula: Formula, inputs: Sequence[int], whole: Instruction) -> list[Instruction]:
        """The instructions that a formula is made of; their results stand in the registers of the whole."""
        watch = _Observer(self, whole.made_at)
        with no_grad(), observed_by(watch), np.errstate(all="ignore"):
            given = [self._stand_in(register) for register in inputs]
            watch.know(given, inputs)
            results = formula(*given)
        results = results if isinstance(results, tuple) else (results,)
        names: dict[int, int] = {}
        parts = watch.parts
        for result, register in zip(results, whole.outputs, strict=True):
            found = watch.of(result)
            made_here = any(found in part.outputs for part in parts)
            if made_here and found not in names:
                names[found] = register
            else:  # an input, or two outputs that are the same
                parts.append(Instruction(SAME, (found,), (register,), whole.made_at))
        return [
            Instruction(
                part.op,
                tuple(names.get(r, r) for r in part.inputs),
                tuple(names.get(r, r) for r in part.outputs),
                part.made_at,
            )
            for part in parts
        ]

    def _stand_in(self, register: int) -> Any:
        """Something of the register's shape and dtype; constants as they are."""
        if register in self.constants:
            value = self.constants[register]
            return Tensor(value) if isinstance(value, (np.ndarray, np.generic)) else value
        shape, dtype = self.types[register]
        return Tensor((np.ones if dtype.kind == "f" else np.zeros)(shape, dtype)[()])  # as indices, zeros are in range

    def constant(self, value: Any) -> int:
        """The register of a constant that a formula brings along; equal ones share it."""
        array = isinstance(value, (np.ndarray, np.generic))
        key = (value.tobytes(), value.shape, value.dtype) if array else (type(value), repr(value))
        if key not in self._by_value:
            register = self.new(np.shape(value), object if value is None else np.asarray(value).dtype)
            self.constants[register] = value
            self._by_value[key] = register
        return self._by_value[key]


class _Observer:
    """The observer: notes what a formula does."""

    wants_tensors = False

    def __init__(self, expander: Expander, made_at: str) -> None:
        self.expander, self.made_at = expander, made_at
        self.parts: list[Instruction] = []
        self.registers: dict[int, int] = {}  # id of a tensor -> its register
        self.alive: list[Tensor] = []

    def know(self, tensors: Sequence[Any], registers: Sequence[int]) -> None:
        for tensor, register in zip(tensors, registers, strict=True):
            if isinstance(tensor, Tensor):
                self.registers[id(tensor)] = register
                self.alive.append(tensor)

    def of(self, value: Any) -> int:
        if isinstance(value, Tensor):
            if id(value) not in self.registers:
                self.know([value], [self.expander.constant(np.asarray(value.array))])
            return self.registers[id(value)]
        return self.expander.constant(value)

    def applied(self, op: Op, inputs: tuple[Any, ...], result: Tensor, derived: Sequence[Any]) -> None:
        sources = tuple(map(self.of, inputs))
        arrays = (result.array, *derived)
        targets = tuple(self.expander.new(tuple(a.shape), a.dtype) for a in arrays)
        self.know([result], targets[:1])
        self.parts.append(Instruction(op, sources, targets, self.made_at))

    def differentiated(self, node: Any, i: int, gradient: Any) -> None:
        """Formulas do not walk back."""

    def assigned(self, tensor: Tensor, value: Any) -> None:
        """Formulas assign nothing."""
