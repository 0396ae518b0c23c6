"""Record one run of a function, the walk back and the assignments included, as a list of instructions.

Every operation passes `tinynn.autodiff.apply`, so recording is appending to a list there. While it is on,
the walk back runs the gradient formulas on Tensors too, and optimizers step by their formulas, so that
forward, backward and update land in one list. Each array gets a number, its *register*, when it is first
seen:

* an argument of the function: given anew at every run;
* what an instruction computed;
* the array of a tensor from outside (a parameter, a moment): its `state`, read anew at every run, and written
  back at the end of the run where the function assigned to it;
* anything else is a constant.

`Program.run` is the plainest machine there is: the list, row by row, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn import autodiff, graph, modes
from tinynn.graph import Node
from tinynn.ops.base import Op
from tinynn.tensor import Tensor


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


@dataclass
class Program:
    """What `record` makes.

    Attributes
    ----------
    instructions : in the order in which they ran
    arguments : the registers of the function's arguments (None for those that are no tensors)
    constants : register -> value that is the same in every run
    state : register -> tensor whose array is read at the beginning of a run
    assignments : (tensor, register) pairs: what is written back at the end, in this order
    result : what the function returned, with registers in the place of tensors
    """

    instructions: list[Instruction] = field(default_factory=list)
    arguments: list[int | None] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    state: dict[int, Tensor] = field(default_factory=dict)
    assignments: list[tuple[Tensor, int]] = field(default_factory=list)
    result: Any = None

    def run(self, *arguments: Any) -> Any:
        """Run the instructions on new arguments, of the shapes that were recorded."""
        if len(arguments) != len(self.arguments):
            raise TypeError(f"the program takes {len(self.arguments)} arguments, {len(arguments)} were given")
        values = dict(self.constants)
        values.update({register: tensor.array for register, tensor in self.state.items()})
        for register, value in zip(self.arguments, arguments, strict=True):
            if register is not None:
                values[register] = value.array if isinstance(value, Tensor) else np.asarray(value)
        for instruction in self.instructions:
            inputs = [values[register] for register in instruction.inputs]
            out, derived = autodiff.apply(instruction.op, *inputs, with_derived=True)
            values.update(zip(instruction.outputs, (out, *derived), strict=True))
        # a copy: a result may be a view of a parameter's array, which is written next
        result = _map(self.result, lambda register: Tensor(np.array(values[register])), int)
        for tensor, register in self.assignments:
            tensor.assign_(values[register])
        return result

    def __str__(self) -> str:
        return "\n".join(map(str, self.instructions))


class _Recorder:
    """The observer: gives numbers to arrays, and appends."""

    wants_tensors = True

    def __init__(self) -> None:
        self.program = Program()
        self.registers: dict[int, int] = {}  # id of an array -> its register
        self.alive: list[Any] = []  # so that no id is used twice
        self.count = 0

    def new(self, array: Any) -> int:
        """A register for an array that was just made (or has just got new contents)."""
        self.count += 1
        self.registers[id(array)] = self.count
        self.alive.append(array)
        return self.count

    def of(self, value: Any) -> int:
        """The register of an input."""
        array = value.array if isinstance(value, Tensor) else value
        # Python numbers and None are shared objects: their identity says nothing
        known = self.registers.get(id(array)) if isinstance(array, (np.ndarray, np.generic)) else None
        if known is not None:
            return known
        register = self.new(array)
        if isinstance(value, Tensor):
            self.program.state[register] = value
        else:
            self.program.constants[register] = array
        return register

    def applied(self, op: Op, inputs: tuple[Any, ...], result: Tensor, derived: Sequence[Any]) -> None:
        sources = tuple(self.of(x) for x in inputs)
        targets = tuple(self.new(array) for array in (result.array, *derived))
        self.program.instructions.append(Instruction(op, sources, targets, graph.user_line()))

    def differentiated(self, node: Node, i: int, gradient: Any) -> None:
        pass  # what the formulas compute passes `applied`

    def assigned(self, tensor: Tensor, value: Any) -> None:
        register = self.of(value)
        # Whoever reads the tensor from now on reads this value, wherever its array lies.
        self.registers[id(tensor.array)] = register
        self.alive.append(tensor.array)
        self.program.assignments.append((tensor, register))


def record(function: Callable[..., Any], *arguments: Any) -> Program:
    """Run the function once, and note what it does.

    Parameters
    ----------
    function : computes with the library's operations on Tensors; may call ``backward()`` and
        ``optimizer.step()``
    arguments : tensors to record with; their shapes hold for all runs. Other arguments are constants

    Returns
    -------
    The program. Its ``run`` takes new arguments and returns what the function would return.

    Notes
    -----
    Python numbers that the function read (a learning rate), the choices that it made, and random numbers
    drawn are as they were in the recorded run. The run that is recorded is a real one: parameters are
    updated by it.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.compile import record
    >>> w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> def slope(x):
    ...     return tinynn.grad((w * x).tanh().sum(), w)
    >>> program = record(slope, tinynn.tensor([0.0, 0.0]))
    >>> len(program.instructions) > 3
    True
    >>> program.run(tinynn.tensor([0.0, 1.0]))
    tensor([0.        , 0.07065082])
    """
    recorder = _Recorder()
    program = recorder.program
    for argument in arguments:
        program.arguments.append(recorder.new(argument.array) if isinstance(argument, Tensor) else None)
    with modes.observed_by(recorder):
        result = function(*arguments)
    program.result = _map(result, recorder.of, Tensor)
    return program


def _map(result: Any, function: Callable[[Any], Any], kind: type) -> Any:
    """The function of everything of a kind in nested tuples, lists and dicts."""
    if isinstance(result, kind):
        return function(result)
    if isinstance(result, dict):
        return {key: _map(value, function, kind) for key, value in result.items()}
    if isinstance(result, (tuple, list)):
        return type(result)(_map(value, function, kind) for value in result)
    return result
