"""The two sides of a measurement: a worker that builds one step and times it, and the reader that asks in turn."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import _common as common

from . import COLUMNS, Absent, Case, Runner, build, elementwise

SAMPLE = 0.004  # seconds: short enough to fit between two interruptions, long enough for the clock


def register() -> None:
    """Let the options that all scripts have know the columns of these ones."""
    sys.path.insert(0, str(common.REPOSITORY))
    common.PACKAGES.update({name: column.package for name, column in COLUMNS.items()})


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option ``--threads``."""
    parser.add_argument(
        "--threads", default="auto", help="of every framework: a number, 'all' cores, or 'auto': one for small cases"
    )


def threads_for(options: Any, all_cores: bool) -> int:
    """How many threads each framework gets for a case."""
    every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if options.threads == "auto":
        return every if all_cores else 1
    return every if options.threads == "all" else int(options.threads)


def thread_environment(threads: int) -> dict[str, str]:
    """What tells every library how many threads to use, before it is imported."""
    return dict.fromkeys((name for name in common.ONE_THREAD if name.endswith("THREADS")), str(threads))


# ------------------------------------------------------------------------------------------------- the worker


class Bench:
    """In a worker: one step, built once and timed whenever the reader asks."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.runner: Runner | None = None

    def setup(self, case: dict[str, Any]) -> dict[str, Any]:
        """Build a training step; its first losses, and how long that took, with all that was compiled for it."""
        start = time.perf_counter()
        try:
            self.runner = build(self.column, Case.from_json(case))
        except Absent as reason:
            return {"absent": str(reason)}
        return {"losses": self.runner.losses, "note": self.runner.note, "built": time.perf_counter() - start}

    def layer(self, name: str, shape: list[int]) -> dict[str, Any]:
        """Build a layer on large arrays, and check it."""
        try:
            self.runner, samples, wrong = elementwise.build(self.column, name, tuple(shape))
        except Absent as reason:
            return {"absent": str(reason)}
        return {"samples": samples, "wrong": wrong, "note": self.runner.note}

    def time(self, seconds: float) -> float:
        """Seconds per step: the best of many short chunks."""
        assert self.runner is not None
        return best_time(self.runner, seconds)

    def peak(self, seconds: float, n: int = 1024) -> float:
        """Operations per second of NumPy's best float32 product."""
        import numpy as np

        a, b = np.random.default_rng(0).normal(size=(2, n, n)).astype(np.float32)
        out = np.empty_like(a)
        return 2.0 * n**3 / common.best_time(lambda: np.matmul(a, b, out=out), seconds)

    def bandwidth(self, seconds: float) -> float:
        """Bytes per second that all threads together read and write at best."""
        return elementwise.bandwidth(seconds)


def best_time(runner: Runner, seconds: float) -> float:
    """As `_common.best_time`, for work that may be left behind by a call and is waited for after each chunk."""
    step, finish = runner.step, runner.finish or (lambda: None)
    step()
    finish()
    start = time.perf_counter()
    step()
    finish()
    calls = max(1, round(SAMPLE / max(time.perf_counter() - start, 1e-9)))
    best, end = math.inf, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            step()
        finish()
        now = time.perf_counter()
        best = min(best, (now - start) / calls)
        if now >= end:
            return best / runner.steps_per_call


def serve(column: str) -> None:
    """Be a worker until the reader has had enough."""
    bench = Bench(column)
    tasks = (bench.setup, bench.layer, bench.time, bench.peak, bench.bandwidth)
    common.serve({task.__name__: task for task in tasks})


# ------------------------------------------------------------------------------------------------- the reader


@dataclass
class Measured:
    """What was found for one case: times by column and round, losses, and why a column has none."""

    timings: common.Timings = field(default_factory=common.Timings)
    losses: dict[str, list[float]] = field(default_factory=dict)
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    void: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    built: dict[str, float] = field(default_factory=dict)
    limit: float | None = None  # of the machine: operations, or bytes, per second

    def seconds(self, column: str) -> float | None:
        """The median over the rounds; None where there is none, or its losses are wrong."""
        return None if column in self.void else self.timings.median(column)

    def ratio(self, slow: str, fast: str) -> float | None:
        """Round by round, how many times faster ``fast`` was: the median."""
        return None if {slow, fast} & self.void.keys() else self.timings.ratio(slow, fast)

    def words(self, column: str) -> str:
        """A cell of a table."""
        if column in self.absent:
            return self.absent[column]
        time = common.duration(self.timings.median(column))
        return f"{time} VOID: {self.void[column]}" if column in self.void else time


@contextmanager
def _workers(script: str, columns: Sequence[str], threads: int) -> Iterator[dict[str, common.Worker]]:
    extra = thread_environment(threads)
    with ExitStack() as stack:
        yield {name: stack.enter_context(common.Worker(script, name, extra)) for name in columns}


def measure(
    script: str,
    question: dict[str, Any],
    columns: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float,
    limit: str = "",
) -> Measured:
    """Every column in a process of its own; all are built first, and then timed in turn, round by round.

    ``limit`` names the worker's task that finds what the machine can do at most.
    """
    found = Measured()
    with _workers(script, columns, threads) as workers:
        for name, worker in workers.items():
            common.progress(f"  builds: {name}")
            answer = _asked(worker, found, question)
            if answer is None:
                continue
            if "absent" in answer:
                found.absent[name] = answer["absent"]
                continue
            for key, store in (("losses", found.losses), ("samples", found.samples), ("built", found.built)):
                if key in answer:
                    store[name] = answer[key]
            if answer["note"]:
                found.notes[name] = answer["note"]
            if answer.get("wrong"):
                found.void[name] = answer["wrong"]
        for i in range(rounds):
            common.progress(f"  round {i + 1} of {rounds}")
            for name, worker in workers.items():
                if name in found.absent:
                    continue
                time = _asked(worker, found, {"task": "time", "seconds": seconds})
                if time is not None:
                    found.timings.add(name, time)
            if limit and "tinynn" in workers:
                found.limit = max(found.limit or 0.0, workers["tinynn"].ask(limit, seconds=seconds))
    for name in columns:
        common.progress(f"  {name:16} {found.words(name)}")
    return found


def _asked(worker: common.Worker, found: Measured, question: dict[str, Any]) -> Any:
    """An answer; or None, and the reason among the absent."""
    try:
        return worker.ask(**question)
    except common.Failed as error:
        reason = str(error).strip().splitlines()[-1][:100].replace("|", "/")
        found.absent[worker.framework] = f"failed: {reason}"
        common.progress(f"{worker.framework}: {error}")
        return None


def measure_case(
    script: str, case: Case, columns: Sequence[str], threads: int, rounds: int, seconds: float
) -> Measured:
    """A training step; a column whose losses differ from the reference's is void."""
    question = {"task": "setup", "case": asdict(case)}
    found = measure(script, question, columns, threads, rounds, seconds, "peak" if "chains" in case.name else "")
    reference = next((found.losses[name] for name in ("torch", "tinynn") if name in found.losses), [])
    for name, losses in found.losses.items():
        difference = common.agreement(reference, losses)
        if difference > case.rtol:
            found.void[name] = f"losses differ by {difference:.0e}"
    return found


def measure_layer(
    script: str,
    layer: elementwise.Layer,
    columns: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float,
    quick: bool,
) -> Measured:
    """A layer on large arrays; a column whose results differ from PyTorch's is void."""
    shape = layer.quick_shape if quick else layer.shape
    question = {"task": "layer", "name": layer.name, "shape": shape}
    columns = [name for name in columns if name in elementwise.COLUMNS]
    found = measure(script, question, columns, threads, rounds, seconds, limit="bandwidth")
    reference = next((found.samples[name] for name in ("torch", "tinynn") if name in found.samples), {})
    for name, samples in found.samples.items():
        difference = elementwise.difference(reference, samples)
        if difference > elementwise.TOLERANCE:
            found.void[name] = f"results differ by {difference:.0e}"
    return found


def best(found: Measured, columns: Sequence[str]) -> str | None:
    """The fastest of several columns."""
    here = [(seconds, name) for name in columns if (seconds := found.seconds(name)) is not None]
    return min(here)[1] if here else None
