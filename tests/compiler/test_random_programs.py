"""Random programs over tensors: the plan, run by each machine, does what the function does, on fresh data.

``TINYNN_EXAMPLES=50`` asks for fifty times as many programs.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import given, reject, settings

import tinynn as tn
from tests.compiler.strategies import Drawn, programs
from tinynn.compiler.errors import TraceError
from tinynn.compiler.interpret import Interpreter
from tinynn.compiler.numba_machine import NumbaMachine
from tinynn.compiler.record import record

TIMES = int(os.environ.get("TINYNN_EXAMPLES", "1"))
RUNS = 4


def values(nested: Any) -> list[np.ndarray[Any, Any]]:
    return [np.array(t.array) for t in nested]  # copies: leaves are overwritten


def check(program: Drawn, *machines: type) -> None:
    """Each machine against the function itself: results and states, after every run."""
    data = [program.arguments(seed) for seed in range(1, RUNS + 2)]
    with np.errstate(all="ignore"):
        expected = trajectory(program, data)
        rough = in_single(program, data) if program.dtype == "float64" else None
        for machine in machines:
            found = trajectory(program, data, machine)
            for run, (wanted, got) in enumerate(zip(expected, found, strict=True)):
                for i, (a, b) in enumerate(zip(wanted, got, strict=True)):
                    where = f"{machine.__name__}, run {run}, value {i}"
                    assert (b.shape, b.dtype) == (a.shape, a.dtype), where
                    atol, rtol = (1e-10, 1e-10) if a.dtype == np.float64 else (2e-4, 2e-4)
                    if rough is not None and a.size:  # what rounding does in single precision is a measure for it
                        atol += 1e-6 * float(np.nan_to_num(np.abs(rough[run][i] - a)).max())
                    np.testing.assert_allclose(b, a, rtol, atol, err_msg=where)


def in_single(program: Drawn, data: list[list[Any]]) -> list[list[Any]]:
    lines = [line.replace("float64", "float32") for line in program.lines]
    single = Drawn("float32", program.shapes, program.states, lines, program.results, program.wants_gradients)
    return trajectory(single, [[array.astype(np.float32) for array in arrays] for arrays in data])


def trajectory(program: Drawn, data: list[list[Any]], machine: type | None = None) -> list[list[Any]]:
    """Results and states after each run; the first run is that which is recorded."""
    states = program.make_states()
    function = program.function(states)
    if machine is None:
        return [[*values(function(*map(tn.Tensor, arrays))), *values(states.values())] for arrays in data]
    found: list[list[Any]] = []

    def once(*arguments: Any) -> Any:
        out = function(*arguments)
        found.append(values(out))
        return out

    try:
        recorded = record(once, *map(tn.Tensor, data[0]))
    except TraceError as error:  # it says why, and what to do
        if "view of a tensor that was overwritten" in str(error):
            reject()
        raise
    found[0] += values(states.values())
    made = machine(recorded)
    later = [[*values(made.run(arrays)), *values(states.values())] for arrays in data[1:]]
    return [*found, *later]


@settings(max_examples=60 * TIMES)
@given(programs())
def test_plan_run_in_numpy(program: Drawn) -> None:
    check(program, Interpreter)


@settings(max_examples=12 * TIMES)
@given(programs(large=True))
def test_plan_run_by_kernels(program: Drawn) -> None:
    check(program, Interpreter, NumbaMachine)
