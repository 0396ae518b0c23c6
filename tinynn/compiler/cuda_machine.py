"""The machine for NVIDIA GPUs: each row is a kernel or a product, and a step is the replay of a CUDA graph.

The first run walks through the rows, which compiles their kernels. The second one captures them in a CUDA graph, and
from then on a step is: copy the arguments to where the graph reads them, send one row of scalars (learning rates, bias
corrections, positions of random streams), launch the graph, copy the results. Nothing of it waits for the GPU.

Operations that loops and products do not make up, such as convolutions, run by CuPy between two graphs. `explain` says
which these are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinynn import graph
from tinynn.changes import changes
from tinynn.compiler.cuda_device import CupyDevice
from tinynn.compiler.cuda_homes import move_home, side_by_side
from tinynn.compiler.cuda_program import plan_for_gpu, registers_on_cpu
from tinynn.compiler.cuda_rows import gpu_row
from tinynn.compiler.layout import lay_out, line_bytes
from tinynn.compiler.machine import Machine
from tinynn.compiler.plan import Buffer, Plan
from tinynn.compiler.program import Program
from tinynn.compiler.report import MemoryReport
from tinynn.compiler.rows import Call
from tinynn.compiler.step_numbers import AHEAD, CELL, StepCounter
from tinynn.compiler.views import View
from tinynn.compiler.work import Known, Operand
from tinynn.kernels.cuda_launch import SCRATCH, Launch, Walk
from tinynn.kernels.memory import LINE
from tinynn.tensor import Tensor

__all__ = ["CudaMachine"]

_POSITION = 16  # bytes of a random stream's seed and counter


class CudaMachine(Machine):
    """Runs a plan on the GPU.

    Parameters
    ----------
    program : as recorded, on tensors of the GPU
    device : what stands for the GPU; the current one, through CuPy, if None
    allow_tf32 : whether float32 products may be rounded to TF32, as CuPy's are with ``CUPY_TF32=1``, which is also
        the default here; else they are computed in float32
    recompute : as for every machine

    Attributes
    ----------
    no_graph : why there is no CUDA graph though there could be; None if there is one, or will be
    """

    where = "a compiled step on the GPU"

    def __init__(
        self, program: Program, device: Any = None, allow_tf32: bool | None = None, *, recompute: bool = False
    ) -> None:
        self.program = program
        self.device = CupyDevice(allow_tf32) if device is None else device
        self.plan: Plan = plan_for_gpu(program, recompute)
        self.layout = lay_out(self.plan)
        self.memory: dict[Any, Any] = {}
        self._external = set()
        self._place()
        buffers = self.plan.buffers
        self._refuse_parameters_elsewhere()
        self._states = [b for b in buffers.values() if b.kind == "state" and b.value.ndim]
        whole = lambda r: self.view(View.whole(r, buffers[r].shape))  # noqa: E731
        self._targets = [None if r is None or r not in self.memory else whole(r) for r in program.arguments]
        self.copied = [target is not None for target in self._targets]
        self._steps = [StepCounter(step.optimizer, part) for step in program.steps for part in step.parts]
        StepCounter.number(self._steps)
        self._cells = [
            (b.value, self.memory[b.number])
            for b in buffers.values()
            if b.kind == "state" and not b.value.ndim and id(b.value) not in self._own_scalars
        ]
        self._gradients_in = [(t, whole(r)) for t, r in program.grads_in.items() if r in self.memory]
        self._gradients_out = [(t, r) for t, r in program.grads_out if r is not None]
        self._used_up = program.used_up()
        self._numbers_written = [(t, n) for t, n in self.plan.assigned if not t.ndim]
        self.written = [t for t, _ in self.plan.assigned if t.ndim]
        self._on_cpu = registers_on_cpu(program)
        self._rows = [gpu_row(row, self.plan) for row in self.plan.rows]
        scratch = max((row.scratch_bytes for row in self._rows if row is not None), default=0)
        self.memory[SCRATCH] = self.device.zeros(max(scratch, 1))
        self._scratch_bytes = scratch
        graph.writers.add(self)
        self.last_run = 0
        self.left = 0
        self._started = []
        self._turn = 0
        self.relink()

    # ------------------------------------------------------------------------------------------------- memory

    def _place(self) -> None:
        """Memory on the GPU for everything but the states. What is sent before each step stands first, in one piece."""
        buffers, draws = self.plan.buffers, self.program.draws
        scalars = [t for step in self.program.steps for part in step.parts for t in part.scalars]
        self._own_scalars = {id(t): i for i, t in enumerate(scalars)}
        self._first_position = len(scalars) * CELL
        self._sent = self._first_position + len(draws) * _POSITION
        at = -(-self._sent // LINE) * LINE
        places: dict[int, int] = {}
        for buffer in buffers.values():
            if buffer.kind == "state" and id(buffer.value) in self._own_scalars:
                places[buffer.number] = self._own_scalars[id(buffer.value)] * CELL
            elif buffer.kind in ("argument", "constant") or (buffer.kind == "state" and self._is_kept_here(buffer)):
                places[buffer.number] = at
                at += line_bytes(self.plan, buffer.number)
        self._fixed = self.device.zeros(max(at, LINE))
        self.fixed = np.zeros(0, np.uint8)  # of the CPU: there is none
        for number, place in places.items():
            self.memory[number] = self.device.window(self._fixed, place, (buffers[number].size,), buffers[number].dtype)
        # each stream's position on the GPU, for kernels, and on the CPU, for operations that Python runs
        self._positions = [np.zeros(2, np.uint64) for _ in draws]
        self._host: dict[int, Any] = {}
        for i, (_, _, register) in enumerate(draws):
            self._host[register] = self._positions[i]
            self.memory[register] = self.device.window(
                self._fixed, self._first_position + i * _POSITION, (2,), np.uint64
            )  # fmt: skip
        for buffer in buffers.values():
            if buffer.kind == "constant":
                value = buffer.value.array if isinstance(buffer.value, Known) else buffer.value
                self.device.store(self.memory[buffer.number], np.asarray(value, buffer.dtype).reshape(-1))
        self.arena = self.device.zeros(self.layout.nbytes + LINE)
        for number, offset in self.layout.offsets.items():
            self.memory[number] = self.device.window(self.arena, offset, (buffers[number].size,), buffers[number].dtype)
        self._tables = [self.device.table(AHEAD, self._sent) for _ in range(2)] if self._sent else []

    def _is_kept_here(self, buffer: Buffer) -> bool:
        """Whether a state is copied to the GPU for each run: single numbers, and arrays of the CPU."""
        return not buffer.value.ndim or not self.device.is_here(buffer.value.array)

    def _refuse_parameters_elsewhere(self) -> None:
        for tensor, _ in self.plan.assigned:
            if tensor.ndim and not self.device.is_here(tensor.array):
                raise TypeError(
                    f"a step compiled for the GPU writes {tensor.describe()}, which lies in the CPU's memory: move "
                    "model and data with model.to('cupy'), x.to('cupy'), before the optimizer is made"
                )

    def view(self, view: View) -> Any:
        """The elements of a view as an array of the GPU over the same memory."""
        flat = self.memory[view.base]
        itemsize = flat.dtype.itemsize
        strides = [s * itemsize for s in view.strides]
        return self.device.window(flat, view.offset * itemsize, view.shape, flat.dtype, strides)

    def address(self, walk: Walk) -> int:
        """Where an operand of a kernel begins."""
        return int(self.device.address(self.memory[walk.base])) + walk.offset

    def relink(self) -> None:
        """Find the arrays of the state tensors (they may have been replaced), and point the kernels to them."""
        tensors = {b.number: b.value for b in self._states}
        for group in self.plan.neighbours:
            members = [tensors[number] for number in group if number in tensors]
            if members and not side_by_side(members):
                move_home(members, self.device)
        self._borrowed = []
        for buffer in self._states:
            tensor = buffer.value
            if not self.device.is_here(tensor.array):
                self._borrowed.append((tensor, self.view(View.whole(buffer.number, buffer.shape))))
                continue
            if not tensor.array.flags.c_contiguous:
                move_home([tensor], self.device)
            self.memory[buffer.number] = self.device.window(tensor.array, 0, (buffer.size,), buffer.dtype)
        self._link()
        self._number = None
        self.refresh()

    def _link(self) -> None:
        """Cut the rows into stretches that a graph can hold, and calls between them."""
        self.parts: list[_Stretch | _PythonCall] = []
        self.no_graph: str | None = None
        self._walked = self._captured = False
        for row, work in zip(self.plan.rows, self._rows, strict=True):
            if work is None:
                assert isinstance(row, Call)
                self.parts.append(self._call(row))
                continue
            if not self.parts or not isinstance(self.parts[-1], _Stretch):
                self.parts.append(_Stretch(self.device))
            self.parts[-1].steps += work.steps(self.device, self.address)  # type: ignore[union-attr]

    def _call(self, row: Call) -> _PythonCall:
        inputs = [self._host[v.base] if v.base in self._host else self.view(v) for v in row.inputs]
        for place, value in row.known.items():
            if isinstance(value, np.ndarray) and value.ndim:
                row.known[place] = self.device.to_device(value)
        run = partial(self.call, row, inputs, [self.view(v) for v in row.outputs])
        return _PythonCall(run, row)

    def call(self, row: Call, inputs: list[Any], outputs: list[Any]) -> None:
        """Run an operation by its own forward formula, by CuPy."""
        targets: list[Any] = [_Target(self.device, array) for array in outputs]
        super().call(row, inputs, targets)

    # ------------------------------------------------------------------------------------------------- running

    def inline(self, arguments: Sequence[str]) -> None:
        """`run` stays a function: beside a launch, calling it costs little."""
        return

    def run(self, arguments: Sequence[Any]) -> Any:
        """One step on arrays of the shapes that were recorded: what the program's function would return."""
        if not self.left:
            self.look_ahead(AHEAD)
        for target, array in zip(self._targets, arguments, strict=True):
            if target is not None:
                self.device.store(target, array)
        for tensor, memory in self._gradients_in:
            self.device.store(memory, tensor._grad.array)  # type: ignore[union-attr]
        for tensor, memory in self._borrowed:
            self.device.store(memory, tensor.array)
        for (generator, blocks, _), position in zip(self.program.draws, self._positions, strict=True):
            position[:] = (generator.seed, generator.reserve(blocks))
        self._take_step()
        self.finish()
        return self._collect()

    def _run_rows(self) -> None:
        if self._sent:
            table = self._tables[0]
            if self._positions:
                table.host[self._turn, self._first_position :] = np.concatenate(self._positions).view(np.uint8)
            table.send(self._turn, self.device.address(self._fixed))
        self._turn += 1
        if self._walked and not self._captured:
            self._capture()
        for part in self.parts:
            part.run()
        self._walked = True

    def _capture(self) -> None:
        """Turn stretches into CUDA graphs; where that fails, they are walked through as before."""
        self._captured = True
        stretches = [part for part in self.parts if isinstance(part, _Stretch) and len(part.steps) > 1]
        try:
            for stretch in stretches:
                stretch.graph = self.device.capture(stretch.walk)
        except Exception as error:
            self.no_graph = f"{type(error).__name__}: {error}"
            for stretch in stretches:
                stretch.graph = None

    def look_ahead(self, count: int | None = None) -> None:
        """Compute the optimizers' scalars for the next ``count`` steps, into memory from which they are sent."""
        super().look_ahead(count)
        self._turn = 0
        if self._tables:
            self._tables.reverse()  # the other one may still be on its way
            self._tables[0].wait()
            if self._steps:
                self._tables[0].host[: self.left, : self._first_position] = self._ahead

    def finish(self) -> None:
        """Tell the rest of the library what has been written."""
        graph.clock.last_edit = self.last_run = graph.next_number()
        for tensor, number in self._numbers_written:
            cell = self.view(View.whole(number, ()))
            here = self.device.is_here(tensor.array)
            tensor.array = self.device.copy(cell) if here else self.device.to_host(cell)[()]
        for tensor, register in self._gradients_out:
            if tensor._grad is None:
                changes.bump()  # other programs may want none to be there
            tensor._grad = Tensor(self._value(self.plan.results[register]))
        for tensor in self._used_up:
            tensor._grad = None

    def refresh(self) -> None:
        """Look again at what is not read at every run: single numbers, settings, step numbers."""
        cells, self._cells = self._cells, []
        super().refresh()
        self._cells = cells
        for tensor, memory in cells:
            self.device.store(memory, tensor.array)

    def _collect(self) -> Any:
        results = {register: self._value(x) for register, x in self.plan.results.items()}
        for register in self._on_cpu & set(results):
            results[register] = np.asarray(self.device.to_host(results[register]))[()]
        return self._structure(results)

    def _value(self, operand: Operand) -> Any:
        if isinstance(operand, Known):
            return self.device.to_device(np.array(operand.array))
        return self.device.copy(self.view(operand))

    # ------------------------------------------------------------------------------------------------- reports

    def _kernels(self) -> dict[str, list[tuple[int, Launch]]]:
        """The text of each kernel, with the rows that launch it."""
        found: dict[str, list[tuple[int, Launch]]] = {}
        for number, work in enumerate(self._rows):
            for launch in work.launches(self.address) if work is not None else ():
                found.setdefault(launch.source, []).append((number, launch))
        return found

    @property
    def source(self) -> str:  # type: ignore[override]
        """The printed kernels, each once, with the rows that they do: operations and the user's lines."""
        texts = []
        for source, uses in self._kernels().items():
            about = []
            for number in dict.fromkeys(number for number, _ in uses):
                row = self.plan.rows[number]
                line = next((line for _, line in row.origins if line), "")
                about.append(f"// row {number}: {row.title}" + (f", {line}" if line else ""))
            texts.append("\n".join([*about, source]))
        return "\n\n".join(texts)

    def explain(self) -> str:
        """How a step runs, in words."""
        stretches = [part for part in self.parts if isinstance(part, _Stretch)]
        calls = [part for part in self.parts if isinstance(part, _PythonCall)]
        graphs = sum(stretch.graph is not None for stretch in stretches)
        launches = sum(len(stretch.steps) for stretch in stretches)
        text = f"{len(self.plan.rows)} rows: {launches} launches of {len(self._kernels())} kernels and of cuBLAS"
        text += f" in {len(stretches)} stretches, "
        if self.no_graph is not None:
            text += f"without a CUDA graph, because capturing it failed: {self.no_graph}"
        else:
            text += f"{graphs} of them CUDA graphs" if self._captured else "which become CUDA graphs in the second run"
        for call in calls:
            text += f"\n  between graphs, by CuPy: {call.row.title}"
        return text

    @property
    def memory_report(self) -> MemoryReport:
        """Bytes on the GPU; the fixed part includes intermediate results of kernels."""
        return replace(super().memory_report, fixed=int(self._fixed.nbytes) + self._scratch_bytes)


class _Stretch:
    """Launches one after the other, or the graph that was made of them."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.steps: list[Callable[[], None]] = []
        self.graph: Any = None

    def walk(self) -> None:
        self.device.begin()
        for step in self.steps:
            step()

    def run(self) -> None:
        if self.graph is not None:
            self.graph.launch()
        else:
            self.walk()


class _PythonCall:
    def __init__(self, run: Callable[[], None], row: Call) -> None:
        self.run, self.row = run, row


class _Target:
    """An output that an operation's result, of either side, is stored to by ``target[...] = value``."""

    def __init__(self, device: Any, array: Any) -> None:
        self.device, self.array = device, array

    def __setitem__(self, _: Any, value: Any) -> None:
        self.device.store(self.array, value)
