"""The plainest machine: the table row by row in NumPy. Slow, easy to step through, and the reference in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.compiler.machine import Array, Machine
from tinynn.compiler.rows import Call, Loop, Multiply, Row
from tinynn.kernels.loops import evaluate

_REDUCE: dict[str, Callable[..., Any]] = {"sum": np.sum, "max": np.max, "min": np.min}


class Interpreter(Machine):
    """Runs a plan in NumPy.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.compiler.record import record
    >>> w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> program = record(lambda x: (w * x).tanh().sum(), tinynn.tensor([0.5, 0.5]))
    >>> machine = Interpreter(program)
    >>> machine.run([tinynn.tensor([1.0, 0.0]).array])
    tensor(0.76159416)
    """

    def _link(self) -> None:
        self.operands = [([self.view(v) for v in row.inputs], [self.view(v) for v in row.outputs])
                         for row in self.plan.rows]  # fmt: skip

    def _run_rows(self) -> None:
        self._next_scalars()
        for row, (inputs, outputs) in zip(self.plan.rows, self.operands, strict=True):
            run_row(self, row, inputs, outputs)


def run_row(machine: Machine, row: Row, inputs: list[Array], outputs: list[Array]) -> None:
    """Run one row in NumPy."""
    if isinstance(row, Loop):
        _run_loop(row, inputs, outputs)
    elif isinstance(row, Multiply):
        product = inputs[0] @ inputs[1]
        product = product + inputs[2] if row.has_bias else product
        outputs[0][...] = product * inputs[-1] if row.has_times else product
        if len(outputs) > 1:
            outputs[1][...] = inputs[0].sum(axis=1)
    elif isinstance(row, Call):
        machine.call(row, inputs, outputs)


def _run_loop(row: Loop, inputs: list[Array], outputs: list[Array]) -> None:
    values = evaluate(row.expressions, dict(zip(row.names, inputs, strict=True)), row.dtype)
    kinds = zip(values, outputs, row.outputs, row.reductions, row.scales, strict=True)
    for value, target, view, kind, scale in kinds:
        value = np.broadcast_to(value, row.space)
        if kind:
            axes = tuple(i for i, stride in enumerate(view.strides) if stride == 0 and row.space[i] != 1)
            value = _REDUCE[kind](value, axis=axes, keepdims=True)
            value = value if kind != "sum" else value * np.asarray(scale, value.dtype)
            target = target[(..., *(slice(0, 1) if i in axes else slice(None) for i in range(len(row.space))))]
        target[...] = value
