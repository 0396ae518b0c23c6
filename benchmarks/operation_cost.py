"""What one small operation costs, forward and backward, and where the microseconds go.

1. A chain of 100 operations on arrays of 10 float64 elements (10 by 10 for the product): time per
   operation, forward and backward. ``sum`` and indexing change the shape, so they stand a hundred times
   beside each other, and their gradients are added up.
2. A chain of 1000 scalar additions, per addition: ``z = z + x`` and ``z = z + 1.0``; beside them a scalar
   engine of a dozen lines in pure Python (in this file), as a yardstick.
3. The budget of one operation: each row of the table adds one layer of the engine to the row above it.

Gradients are compared with their exact values; a wrong one makes the row VOID.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import _common as common
import numpy as np

LENGTH = 100  # operations in a chain
ADDITIONS = 1000


# ---------------------------------------------------------------------------------------------- the yardstick


class Value:
    """A number that remembers how it was computed: about the least that reverse mode can be."""

    __slots__ = ("data", "grad", "parents", "slopes")

    def __init__(self, data: float, parents: tuple[Value, ...] = (), slopes: tuple[float, ...] = ()) -> None:
        self.data, self.grad, self.parents, self.slopes = data, 0.0, parents, slopes

    def __add__(self, other: Any) -> Value:
        if isinstance(other, Value):
            return Value(self.data + other.data, (self, other), (1.0, 1.0))
        return Value(self.data + other, (self,), (1.0,))

    def backward(self) -> None:
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            value, done = stack.pop()
            if done:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                stack.extend((parent, False) for parent in value.parents)
        self.grad = 1.0
        for value in reversed(order):
            for parent, slope in zip(value.parents, value.slopes, strict=True):
                parent.grad += slope * value.grad


# ------------------------------------------------------------- in a worker: the same lines in both frameworks


def _chains(nx: Any) -> dict[str, tuple[Callable[[], Any], Any, Callable[[], Any]]]:
    """name -> (run once, leaf, what the leaf's gradient must be)."""
    torch = nx.__name__ == "torch"
    options = {"dtype": nx.float64} if torch else {}
    rng = np.random.default_rng(4)
    start = rng.normal(size=10)
    x = nx.tensor(start, requires_grad=True)
    ones = nx.tensor(np.ones(10))
    c = nx.tensor(np.linspace(0.99, 1.01, 10))
    one = nx.tensor(1.0, **options)
    a = nx.tensor(rng.normal(size=(10, 10)), requires_grad=True)
    q = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    turn = nx.tensor(q)
    square_ones = nx.tensor(np.ones((10, 10)))
    grad = nx.autograd.grad if torch else nx.grad

    def chain(op: Callable[[Any], Any], leaf: Any, cotangent: Any) -> Callable[[], Any]:
        def run() -> Any:
            leaf.grad = None
            y = leaf
            for _ in range(LENGTH):
                y = op(y)
            y.backward(cotangent)
            return leaf.grad

        return run

    def side_by_side(op: Callable[[Any], Any], seeds: list[Any]) -> Callable[[], Any]:
        def run() -> Any:
            return grad([op(x) for _ in range(LENGTH)], (x,), seeds)[0]

        return run

    def tanh_gradient() -> Any:
        y, g = start, np.ones(10)
        for _ in range(LENGTH):
            y = np.tanh(y)
            g = g * (1 - y * y)
        return g

    picked = np.zeros(10)
    picked[2:7] = LENGTH
    five = nx.tensor(np.ones(5))
    return {
        "tanh": (chain(nx.tanh, x, ones), x, tanh_gradient),
        "add": (chain(lambda y: y + c, x, ones), x, lambda: np.ones(10)),
        "mul": (chain(lambda y: y * c, x, ones), x, lambda: np.linspace(0.99, 1.01, 10) ** LENGTH),
        "matmul 10×10": (
            chain(lambda y: y @ turn, a, square_ones),
            a,
            lambda: np.ones((10, 10)) @ np.linalg.matrix_power(q.T, LENGTH),
        ),
        "sum": (side_by_side(lambda y: y.sum(), [one] * LENGTH), x, lambda: np.full(10, float(LENGTH))),
        "x[2:7]": (side_by_side(lambda y: y[2:7], [five] * LENGTH), x, lambda: picked),
    }


def _operation(framework: str, name: str, seconds: float) -> dict[str, Any]:
    run, _, exact = _chains(common.load(framework))[name]
    right = np.allclose(np.asarray(run().detach().numpy()), exact(), rtol=1e-9, atol=1e-12)
    return {"right": bool(right), "seconds": common.best_time(run, seconds) / LENGTH}


def _additions(framework: str, constant: bool, seconds: float) -> dict[str, Any]:
    """A chain of scalar additions, forward and backward, per addition."""
    if framework == "yardstick":
        make: Callable[[float], Any] = Value
    else:
        nx = common.load(framework)
        options = {"dtype": nx.float64} if nx.__name__ == "torch" else {}

        def make(value: float) -> Any:
            return nx.tensor(value, requires_grad=True, **options)

    x = make(2.0)

    def run() -> Any:
        x.grad = 0.0 if framework == "yardstick" else None
        z = x
        if constant:
            for _ in range(ADDITIONS):
                z = z + 1.0
        else:
            for _ in range(ADDITIONS):
                z = z + x
        z.backward()
        return x.grad

    right = float(run()) == (1.0 if constant else ADDITIONS + 1.0)
    return {"right": right, "seconds": common.best_time(run, seconds, chunk=0.008) / ADDITIONS}


def _single(framework: str, seconds: float) -> float:
    """One tanh and one call of backward, with all that a call costs once."""
    nx = common.load(framework)
    x = nx.tensor(np.linspace(-1, 1, 10), requires_grad=True)
    ones = nx.tensor(np.ones(10))

    def run() -> None:
        x.grad = None
        nx.tanh(x).backward(ones)

    return common.best_time(run, seconds)


def _budget(seconds: float) -> list[tuple[str, float]]:
    """One tanh of ten elements, layer upon layer."""
    nx = common.load("tinynn")
    array = np.linspace(-1.0, 1.0, 10)
    g = np.ones(10)
    constant = nx.tensor(array)
    x = nx.tensor(array, requires_grad=True)
    ones = nx.tensor(g)

    def formulas() -> Any:
        out = np.tanh(array)
        return g * (1.0 - out * out)

    def chain(leaf: Any) -> Callable[[], Any]:
        def run() -> Any:
            y = leaf
            for _ in range(LENGTH):
                y = nx.tanh(y)
            return y

        return run

    def both() -> None:
        x.grad = None
        chain(x)().backward(ones)

    return [
        ("np.tanh alone", common.best_time(lambda: np.tanh(array), seconds)),
        ("np.tanh and the gradient formula on raw arrays, by hand", common.best_time(formulas, seconds)),
        ("tinynn.tanh of a raw array: through the door", common.best_time(lambda: nx.tanh(array), seconds)),
        (
            "tinynn.tanh of a Tensor that wants no gradient",
            common.best_time(chain(constant), seconds) / LENGTH,
        ),
        (
            "tinynn.tanh of a Tensor that wants one: recorded (and forgotten)",
            common.best_time(chain(x), seconds) / LENGTH,
        ),
        ("recorded, and walked back: the whole", common.best_time(both, seconds) / LENGTH),
    ]


# ------------------------------------------------------------------------------------------------- the tables


def _in_turn(
    workers: dict[str, common.Worker], rounds: int, task: str, **question: Any
) -> tuple[common.Timings, list[str]]:
    """Times of one task by framework, and who had a wrong gradient."""
    timings, wrong = common.Timings(), set()
    for _ in range(rounds):
        for framework, worker in workers.items():
            answer = worker.ask(task, **question)
            timings.add(framework, answer["seconds"])
            if not answer["right"]:
                wrong.add(framework)
    return timings, sorted(wrong)


def _cells(timings: common.Timings, wrong: list[str], frameworks: list[str], bar: float | None) -> list[str]:
    times = [common.duration(timings.median(f)) + (" VOID" if f in wrong else "") for f in frameworks]
    if bar is None:
        return [*times, "–", "–"]
    value = timings.median("tinynn")
    return [
        *times,
        f"≤ {bar * 1e6:g} µs",
        "VOID" if "tinynn" in wrong else common.verdict(value, bar, at_least=False),
    ]


def main(argv: list[str] | None = None) -> None:
    options = common.parse(common.arguments(__doc__ or ""), argv)
    if options.worker:
        name = options.worker
        common.serve(
            {
                "operation": lambda **question: _operation(name, **question),
                "additions": lambda **question: _additions(name, **question),
                "single": lambda **question: {"right": True, "seconds": _single(name, **question)},
                "budget": lambda **question: _budget(**question),
            }
        )
        return
    seconds = 0.02 if options.quick else 0.4
    numbers: dict[str, Any] = {"operations": {}, "additions": {}}
    names = options.frameworks
    with common.workers(__file__, [*names, "yardstick"]) as all_workers:
        workers = {name: all_workers[name] for name in names}
        rows = []
        for op in ("tanh", "add", "mul", "matmul 10×10", "sum", "x[2:7]"):
            common.progress(op)
            timings, wrong = _in_turn(workers, options.rounds, "operation", name=op, seconds=seconds)
            rows.append([op, *_cells(timings, wrong, names, 7e-6 if op == "tanh" else None)])
            numbers["operations"][op] = timings.rounds
        timings, wrong = _in_turn(workers, options.rounds, "single", seconds=seconds)
        rows.append(["one tanh and one whole backward()", *_cells(timings, wrong, names, None)])
        numbers["one call"] = timings.rounds
        operations = common.table(["operation, forward and backward", *names, "bar", ""], rows)

        rows = []
        for line, constant in (("z = z + x", False), ("z = z + 1.0", True)):
            common.progress(line)
            timings, wrong = _in_turn(all_workers, options.rounds, "additions", constant=constant, seconds=seconds)
            rows.append([f"`{line}`", *_cells(timings, wrong, [*names, "yardstick"], 3e-6)])
            numbers["additions"][line] = timings.rounds
        additions = common.table(["scalar addition, forward and backward", *names, "scalar engine", "bar", ""], rows)

        budget = ""
        if "tinynn" in workers:
            runs = [workers["tinynn"].ask("budget", seconds=seconds) for _ in range(options.rounds)]
            lines = [(line, min(run[i][1] for run in runs)) for i, (line, _) in enumerate(runs[0])]
            numbers["budget"] = dict(lines)
            budget = common.table(
                ["tanh of 10 float64 elements", "time"], [[line, common.duration(t)] for line, t in lines]
            )
    text = (
        f"One thread, median of {options.rounds} rounds in turn.\n\n{operations}\n\n"
        f"A chain of {ADDITIONS} additions of scalars, per addition:\n\n{additions}\n\n"
        f"The budget of one operation:\n\n{budget}"
    )
    common.report("operation_cost", "What one small operation costs", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
