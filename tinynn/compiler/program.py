"""Program: what a recorded function does, as a list of instructions; and the plainest machine that runs it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn import autodiff
from tinynn.backends import convert, dispatch
from tinynn.graph import Leaf
from tinynn.ops.base import Op
from tinynn.random import Generator
from tinynn.tensor import Tensor

Type = tuple[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True)
class Instruction:
    """outputs = op(inputs), all by register. The first output is the result; the rest are ``op.derived``."""

    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    made_at: str = ""

    def __str__(self) -> str:
        outs = ", ".join(f"%{r}" for r in self.outputs)
        return f"{outs} = {self.op!r}({', '.join(f'%{r}' for r in self.inputs)})"


class Register(int):
    """The number of a register; stands in a program's result where a run puts a tensor, among ordinary numbers."""


@dataclass
class Program:
    """What `record` makes.

    Attributes
    ----------
    instructions : in the order in which they ran
    arguments : the registers of the tensors and arrays among the function's arguments, in the order of `leaves`;
        None for those that are neither (numbers, strings, None), which are part of the program
    statics : those others, in the same order; None for tensors and arrays
    constants : register -> value that is the same in every run: an array, a Python number or None
    state : register -> tensor whose array is read at the beginning of a run
    draws : (generator, blocks, register): at each run, in this order, so many blocks are reserved in the generator's
        stream, and the register gets their position: [seed, first block], uint64
    steps : the optimizers' steps, in order; see `advance`
    assignments : (tensor, register) pairs: what is written back at the end, in this order
    grads_in : tensor -> register of its gradient as it is at the beginning. The program holds only while there is one
    grads_absent : tensors whose gradient was looked for at the beginning, and was not there; it must not be
    grads_out : (tensor, register or None) pairs: the gradients at the end that differ from those at the beginning.
        None is no gradient; also where an optimizer's step has used it and the function forgets it at its beginning
    result : what the function returned, with a `Register` in the place of each tensor
    sources : register of a constant -> the NumPy array that was copied
    types : register -> (shape, dtype). A Python number has the dtype that NumPy would give it, None has ``object``
    """

    instructions: list[Instruction] = field(default_factory=list)
    arguments: list[int | None] = field(default_factory=list)
    statics: list[Any] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    state: dict[int, Tensor] = field(default_factory=dict)
    draws: list[tuple[Generator, int, int]] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    assignments: list[tuple[Tensor, int]] = field(default_factory=list)
    grads_in: dict[Tensor, int] = field(default_factory=dict)
    grads_absent: list[Tensor] = field(default_factory=list)
    grads_out: list[tuple[Tensor, int | None]] = field(default_factory=list)
    result: Any = None
    types: dict[int, Type] = field(default_factory=dict)
    sources: dict[int, Any] = field(default_factory=dict)

    def fits_gradients(self) -> bool:
        """Whether gradients are there, and absent, as when the program was recorded."""
        return all(t._grad is not None for t in self.grads_in) and all(t._grad is None for t in self.grads_absent)

    def used_up(self) -> list[Tensor]:
        """Tensors whose gradient is needed at the beginning, and forgotten at the end."""
        return [t for t, register in self.grads_out if register is None and t in self.grads_in]

    def advance(self) -> bool:
        """Prepare the optimizers' steps for the next run: count them, and renew rates and bias corrections.

        To be called before each `run`. False, with nothing changed, where the program does not hold any more: the
        settings ask for another formula, a group was added, or a state dict was loaded.
        """
        if not all(step.holds() for step in self.steps):
            return False
        for step in self.steps:
            step.renew()
        return True

    def inputs(self, arguments: Sequence[Any], keywords: dict[str, Any] | None = None) -> dict[int, Any]:
        """The arrays of new arguments by register.

        Raises
        ------
        TypeError, ValueError
            If they are not of the structure, shapes and dtypes that were recorded, or another number was.
        """
        found = leaves(arguments, keywords or {})
        if len(found) != len(self.arguments):
            raise TypeError(f"the program takes {len(self.arguments)} arguments, {len(found)} were given")
        values: dict[int, Any] = {}
        for i, (register, static, value) in enumerate(zip(self.arguments, self.statics, found, strict=True)):
            if register is None:
                both_nan = static != static and value != value
                if not (static is value or (type(static) is type(value) and (static == value or both_nan))):
                    raise ValueError(f"argument {i} was {static!r} when the program was recorded, and is {value!r}")
                continue
            if not isinstance(value, (Tensor, *convert.ARRAYS)):
                raise TypeError(f"argument {i} must be a tensor or an array, not {value!r}")
            array = value.array if isinstance(value, Tensor) else convert.as_array(value)
            shape, dtype = self.types[register]
            if tuple(array.shape) != shape or array.dtype != dtype:
                raise ValueError(
                    f"argument {i} was {dtype} of shape {shape} when the program was recorded, and is "
                    f"{dispatch.describe(array)}"
                )
            values[register] = array
        return values

    def run(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the instructions on new arguments, of the shapes that were recorded. Optimizers want `advance` before.

        Raises
        ------
        TypeError, ValueError
            If the arguments do not fit, or a gradient is there that was not, or the other way round.
        """
        values = self.inputs(arguments, keywords)
        if not self.fits_gradients():
            raise ValueError("the program was recorded with other gradients present; record it again")
        values.update(self.constants)
        values.update({register: tensor.array for register, tensor in self.state.items()})
        values.update({register: t._grad.array for t, register in self.grads_in.items() if t._grad is not None})
        for generator, blocks, register in self.draws:
            values[register] = generator.position(blocks)
        for instruction in self.instructions:
            given = [values[register] for register in instruction.inputs]
            out, derived = autodiff.apply(instruction.op, *given, with_derived=True)
            values.update(zip(instruction.outputs, (out, *derived), strict=True))

        def taken(register: int) -> Tensor:
            """A copy: a result may be a view of a parameter's array, which is written next."""
            return Tensor(convert.copied(values[register], None))

        result = mapped(self.result, taken, Register)
        gradients = [(t, None if register is None else taken(register)) for t, register in self.grads_out]
        new = [(t, convert.copied(values[register], None)) for t, register in self.assignments]
        for tensor, value in new:
            tensor.assign_(value)
        for tensor, gradient in gradients:
            tensor._grad = gradient
            if isinstance(tensor.node, Leaf):
                tensor.node.consumed = False
        return result

    def __str__(self) -> str:
        return "\n".join(map(str, self.instructions))


def leaves(arguments: Sequence[Any], keywords: dict[str, Any]) -> list[Any]:
    """What is in nested tuples, lists and dicts of arguments, in order.

    Examples
    --------
    >>> leaves((1, [2, {"a": 3}]), {"b": (4, 5)})
    [1, 2, 3, 4, 5]
    """
    found: list[Any] = []
    mapped((tuple(arguments), keywords), found.append, object)
    return found


def mapped(nested: Any, function: Callable[[Any], Any], kind: type) -> Any:
    """The same nest of tuples, lists and dicts, with the function of everything of a kind in it.

    Examples
    --------
    >>> mapped({"a": [1, "x"], "b": (2,)}, lambda i: 10 * i, int)
    {'a': [10, 'x'], 'b': (20,)}
    """
    if type(nested) is dict:
        return {key: mapped(value, function, kind) for key, value in nested.items()}
    if type(nested) in (tuple, list):
        return type(nested)([mapped(value, function, kind) for value in nested])
    if isinstance(nested, tuple) and hasattr(nested, "_fields"):
        return type(nested)(*[mapped(value, function, kind) for value in nested])
    if isinstance(nested, dict):  # an OrderedDict, a defaultdict
        filled = copy.copy(nested)
        for key, value in nested.items():
            filled[key] = mapped(value, function, kind)
        return filled
    return function(nested) if isinstance(nested, kind) else nested
