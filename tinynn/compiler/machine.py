"""What all machines share: the memory of a plan, its inputs and results. How rows run is a machine's own affair.

Memory is of three kinds::

    fixed    arguments, constants, single numbers (learning rates, loss weights), seeds and positions of random streams
    arena    what rows hand to each other; used again as soon as nobody needs it
    homes    parameters, moments, running statistics: the tensors' own arrays, moved once to where they lie side by
             side at whole cache lines, with their tensors seeing them there ever after
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn import autodiff, graph
from tinynn.changes import changes
from tinynn.compiler.external import LARGE, is_fresh, reads_in_place
from tinynn.compiler.homes import is_home, move_home, side_by_side
from tinynn.compiler.layout import lay_out, line_bytes
from tinynn.compiler.plan import Buffer, Plan, make_plan
from tinynn.compiler.program import Program, Register, mapped
from tinynn.compiler.report import MemoryReport, eager_peak
from tinynn.compiler.rows import Call
from tinynn.compiler.step_numbers import CELL, StepCounter, StepNumbers
from tinynn.compiler.views import View
from tinynn.compiler.work import Known, Operand
from tinynn.kernels.memory import LINE, empty_bytes, has_slack, with_slack, zero_bytes
from tinynn.tensor import Tensor

Array = NDArray[Any]


class Machine(StepNumbers, ABC):
    """Runs a program by its plan.

    Parameters
    ----------
    program : as recorded
    recompute : compute activations again for the way back, to spare memory

    Attributes
    ----------
    plan, layout : what runs, and where the inner buffers lie
    copied : for each argument, whether `run` copies it before it computes anything
    source : the text of the machine's kernels
    """

    binds = False  # whether large arguments are read where they lie, and large results written to fresh memory
    splits = False  # whether large batches are gone through in parts that fit into a cache
    source = ""
    _floating: set[int] = frozenset()  # type: ignore[assignment]  # external, and whatever a call returned
    where = "a compiled step"  # for messages about what it has written in place

    def lanes(self) -> int:
        """How many parts of a batch may run at the same time."""
        return 1

    def __init__(self, program: Program, recompute: bool = False) -> None:
        self.program = program
        self.plan: Plan = make_plan(program, self.splits, recompute, self.lanes())
        self.layout = lay_out(self.plan)
        self.arena = zero_bytes(self.layout.nbytes + LINE)
        self.memory: dict[int, Array] = {}  # buffer -> its memory as a flat array, padding included
        self._external = self._external_buffers() if self.binds else set()
        self._floating = set()
        self._own: dict[int, Array] = {}
        self._place_fixed()
        for number, offset in self.layout.offsets.items():
            self.memory[number] = self._part(self.arena, offset, self.plan.buffers[number])
        self._reserved = {number: self.memory[number] for number in self._external}
        self._states = [b for b in self.plan.buffers.values() if b.kind == "state" and b.value.ndim]
        self._targets = [
            None if r is None or r not in self.memory else self.view(View.whole(r, self.plan.buffers[r].shape))
            for r in program.arguments
        ]
        self.copied = [t is not None and r not in self._external for t, r in zip(self._targets, program.arguments)]
        self._steps = [StepCounter(step.optimizer, part) for step in program.steps for part in step.parts]
        StepCounter.number(self._steps)
        self._cells = [
            (b.value, self.memory[b.number])
            for b in self.plan.buffers.values()
            if b.kind == "state" and not b.value.ndim and id(b.value) not in self._own_scalars
        ]
        self._draws = [(g, blocks, self.memory.get(register)) for g, blocks, register in program.draws]
        self._gradients_in = [
            (t, self.view(View.whole(r, self.plan.buffers[r].shape)))
            for t, r in program.grads_in.items()
            if r in self.memory
        ]
        self._gradients_out = [(t, r) for t, r in program.grads_out if r is not None]
        self._used_up = program.used_up()
        self._written_cells = [(t, self.memory[n]) for t, n in self.plan.assigned if not t.ndim]
        self.written = [t for t, _ in self.plan.assigned if t.ndim]
        graph.writers.add(self)
        self.last_run = 0
        self.left = 0  # steps for which the scalars are there
        self._horizon = 1
        self._started: list[int] = []  # step numbers when they were computed
        self.relink()

    # ------------------------------------------------------------------------------------------------- memory

    def _external_buffers(self) -> set[int]:
        """Large arguments, and large results that rows compute as they are returned: these are not copied."""
        buffers = self.plan.buffers
        found = {r for r in self.program.arguments if r in buffers and reads_in_place(buffers[r])}
        for operand in self.plan.results.values():
            if isinstance(operand, View) and operand.base in self.layout.offsets:
                buffer = buffers[operand.base]
                if buffer.nbytes >= LARGE and operand == View.whole(buffer.number, buffer.shape):
                    found.add(buffer.number)
        return found

    def bind(self, number: int, flat: Array) -> None:
        """Let an external buffer lie in other memory."""
        raise NotImplementedError

    def _place_fixed(self) -> None:
        """Memory for arguments, constants, and single numbers. Optimizers' scalars stand first, side by side."""
        buffers = self.plan.buffers
        scalars = [t for step in self.program.steps for part in step.parts for t in part.scalars]
        self._own_scalars = {id(t): i for i, t in enumerate(scalars)}
        cells = len(scalars) * CELL
        others = [
            b
            for b in buffers.values()
            if b.kind in ("argument", "constant", "draw") or (b.kind == "state" and not b.value.ndim)
            if not (b.kind == "state" and id(b.value) in self._own_scalars)
        ]
        first = -(-cells // LINE) * LINE
        self.fixed = zero_bytes(first + sum(line_bytes(self.plan, b.number) for b in others) + LINE)
        for buffer in buffers.values():
            if buffer.kind == "state" and id(buffer.value) in self._own_scalars:
                at = self._own_scalars[id(buffer.value)] * CELL
                self.memory[buffer.number] = self.fixed[at : at + CELL].view(buffer.dtype)
        at = first
        for buffer in others:
            self.memory[buffer.number] = part = self._part(self.fixed, at, buffer)
            at += line_bytes(self.plan, buffer.number)
            if buffer.kind == "constant":
                value = buffer.value.array if isinstance(buffer.value, Known) else buffer.value
                part[: buffer.size] = np.asarray(value).reshape(-1)

    def _part(self, block: Array, offset: int, buffer: Buffer) -> Array:
        return block[offset : offset + line_bytes(self.plan, buffer.number)].view(buffer.dtype)

    def view(self, view: View) -> Array:
        """The elements of a view as a NumPy array over the same memory."""
        flat = self.memory[view.base]
        if view.size == 0:
            return np.empty(view.shape, flat.dtype)
        strides = tuple(s * flat.itemsize for s in view.strides)
        if view.size > flat.size - view.offset:  # over several neighbours, or broadcast
            first = flat[view.offset :]
            return np.lib.stride_tricks.as_strided(first, view.shape, strides)
        return np.ndarray(view.shape, flat.dtype, flat, view.offset * flat.itemsize, strides)

    def relink(self) -> None:
        """Find the arrays of the state tensors (they may have been replaced), and point the rows to them."""
        tensors = {b.number: b.value for b in self._states}
        for group in self.plan.neighbours:
            members = [tensors[number] for number in group if number in tensors]
            if members and not side_by_side(members):
                move_home(members)
        for buffer in self._states:
            if not is_home(buffer.value.array):
                move_home([buffer.value])
            array = buffer.value.array
            block = array.base
            start = array.ctypes.data - block.ctypes.data
            self.memory[buffer.number] = self._part(block, start, buffer)
        self.memory.update(self._reserved)  # two arguments may have been one array: words must be told apart
        self._link()
        self._prepare_results()
        self.refresh()

    def _prepare_results(self) -> None:
        result = self.program.result
        operand = self.plan.results[result] if isinstance(result, Register) else None
        self._number: Array | None = None  # where the result lies, if it is a single number, as a loss is
        if isinstance(operand, View) and not operand.shape:
            self._number = self.memory[operand.base][operand.offset : operand.offset + 1]

    @abstractmethod
    def _link(self) -> None:
        """Prepare the rows for the memory as it lies now."""

    @abstractmethod
    def _run_rows(self) -> None:
        """Run all rows once."""

    # ------------------------------------------------------------------------------------------------- running

    def run(self, arguments: Sequence[Any]) -> Any:
        """One step on arrays of the shapes that were recorded: what the program's function would return.

        Optimizers' steps are counted, and their scalars renewed, here. After an exception (an interrupt) between
        rows of a long program, parameters may be those of before or after the step.
        """
        if not self.left:
            self.look_ahead()
        if self._external:
            arguments = self._bind_external(arguments)
        for target, array in zip(self._targets, arguments, strict=True):
            if target is not None:
                target[...] = array
        for tensor, memory in self._gradients_in:
            memory[...] = tensor._grad.array  # type: ignore[union-attr]
        for generator, blocks, position in self._draws:
            start = generator.reserve(blocks)
            if position is not None:
                position[:2] = (generator.seed, start)
        self._take_step()
        self.finish()
        return self._collect()

    def _bind_external(self, arguments: Sequence[Any]) -> list[Any]:
        """Let large arguments be read where they lie, and get fresh memory for large results."""
        rest = list(arguments)
        self._bound = rest  # kept alive while the rows run
        for place, number in enumerate(self.program.arguments):
            if number in self._external:
                array = rest[place]
                if not (array.flags.c_contiguous and array.flags.aligned and has_slack(array)):
                    array = with_slack(array)
                self._bound = [*self._bound, array]
                self.bind(number, array.reshape(-1))
                rest[place] = self._targets[place] = None
        for number in self._external:
            if number in self.layout.offsets and number not in self._floating:
                self.bind(number, self._fresh_memory(number))
        return rest

    def _fresh_memory(self, number: int) -> Array:
        return empty_bytes(line_bytes(self.plan, number)).view(self.plan.buffers[number].dtype)

    def inline(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]] | None:
        """What `run` does, as lines of Python for these names of arrays, with the names that the lines use.

        A step of a small network takes two microseconds. Called loops and attributes would take as long again, so
        the compiled function prints what is to be done. None where a step is more than a few assignments.
        """
        gradients = self._gradients_in or self._gradients_out or self._used_up
        if self._external or gradients or self._written_cells or self._draws:
            return None
        names: dict[str, Any] = {"machine": self, "clock": graph.clock, "next_number": graph.next_number}
        names |= {"rows": self._run_rows, "Tensor": Tensor, "collect": self._collect, "number": self._number}
        lines = ["if not machine.left: machine.look_ahead()", "machine.left -= 1"]
        for i, (name, target) in enumerate(zip(arguments, self._targets, strict=True)):
            if target is not None:
                names[f"target{i}"] = target
                lines.append(f"target{i}[...] = {name}")
        lines.append("rows()")
        for i, counted in enumerate(self._steps):
            names[f"counted{i}"] = counted
            lines.append(f"counted{i}.t = t = counted{i}.t + {counted.turns}")
            for j, state in enumerate(counted.states):
                names[f"state{i}_{j}"] = state
                lines.append(f"state{i}_{j}['step'] = t")
        lines.append("clock.last_edit = machine.last_run = next_number()")
        lines.append("return Tensor(number[0])" if self._number is not None else "return collect()")
        return lines, names

    def can_run_batches(self) -> bool:
        """Whether there is a ``run_batches``, which takes many steps at once, and the program allows it."""
        return False

    def bind_own(self) -> None:
        """Let large arguments and results lie in memory of the machine's own, for many steps at once."""
        for number in self._external:
            if number not in self._own:
                buffer = self.plan.buffers[number]
                self._own[number] = zero_bytes(line_bytes(self.plan, number)).view(buffer.dtype)
            self.bind(number, self._own[number])

    def finish(self) -> None:
        """Tell the rest of the library what has been written."""
        graph.clock.last_edit = self.last_run = graph.next_number()
        for tensor, memory in self._written_cells:
            tensor.array = memory[0]
        for tensor, register in self._gradients_out:
            if tensor._grad is None:
                changes.bump()  # other programs may want none to be there
            tensor._grad = Tensor(self._value(self.plan.results[register]))
        for tensor in self._used_up:
            tensor._grad = None

    def refresh(self) -> None:
        """Look again at what is not read at every run: single numbers, settings, step numbers."""
        for tensor, memory in self._cells:
            memory[0] = tensor.array
        for tensor, register in self.program.grads_out:
            if register is None and tensor not in self.program.grads_in:  # those are read first
                if tensor._grad is not None:
                    changes.bump()  # other programs may want it
                tensor._grad = None
        for tensor, _ in self.program.grads_out:
            if isinstance(tensor.node, graph.Leaf):
                tensor.node.consumed = False
        self.left = 0
        self._horizon = 1
        self._started = []

    def _collect(self) -> Any:
        """The results of a run, as new tensors."""
        if self._number is not None:
            return Tensor(self._number[0])
        return self._structure({register: self._value(x) for register, x in self.plan.results.items()})

    @cached_property
    def _alike(self) -> bool:
        """Whether two results are one: each is to have memory of its own."""
        found: list[Any] = []
        mapped(self.program.result, lambda register: found.append(self.plan.results[register]), Register)
        views = [x for x in found if isinstance(x, View)]
        return any(x == y for i, x in enumerate(views) for y in views[:i])

    def _structure(self, values: dict[int, Any]) -> Any:
        if self._alike:
            return mapped(self.program.result, lambda register: Tensor(values[register].copy()), Register)
        return mapped(self.program.result, lambda register: Tensor(values[register]), Register)

    def _value(self, operand: Operand) -> Any:
        if isinstance(operand, Known):
            return np.array(operand.array)[()]
        if operand.base in self._external and operand.base in self.layout.offsets:
            return self.view(operand)  # memory of its own
        return np.array(self.view(operand))[()]

    def call(self, row: Call, inputs: list[Array], outputs: list[Array]) -> None:
        """Run an operation by its own forward formula, or its backend's kernel."""
        assert row.work is not None
        arrays = iter(inputs)
        operands = [row.known[i] if i in row.known else next(arrays) for i in range(len(row.work.inputs))]
        out, derived = autodiff.apply(row.work.op, *operands, with_derived=True)
        others = list(inputs)
        for k, (view, value) in enumerate(zip(row.outputs, (out, *derived), strict=True)):
            if view.base in self._floating:
                fresh = is_fresh(value, outputs[k], others)
                others.append(value)
                self.bind(view.base, value.reshape(-1) if fresh else self._fresh_memory(view.base))
                if fresh:
                    continue
            outputs[k][...] = value

    @property
    def memory_report(self) -> MemoryReport:
        """Bytes by kind, and what the recorded instructions would take."""
        return MemoryReport(
            arena=self.layout.nbytes,
            without_reuse=self.layout.without_reuse,
            fixed=self.fixed.nbytes,
            state=sum(line_bytes(self.plan, b.number) for b in self._states),
            eager_peak=eager_peak(self.program),
        )
