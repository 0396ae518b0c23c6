"""What the benchmark scripts share: a process per framework, rounds in turn, one thread, tables, results.

A script is started twice over: once by a reader, and once per framework as a *worker* (``--worker
NAME``), which imports that framework only and answers questions in JSON, line by line. The reader's
process asks the workers in turn, A B A B, so that a busy moment of the machine meets all of them alike.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip
ONE_THREAD: dict[str, str] = {
    **dict.fromkeys(_THREAD_VARIABLES, "1"),
    "JAX_PLATFORMS": "cpu",
}

# what a column of the tables is called, and the package that it needs
PACKAGES = {"tinynn": "tinynn", "torch": "torch", "torch-fused": "torch", "jax": "jax"}


# ---------------------------------------------------------------------------------------------------- workers


class Failed(RuntimeError):
    """A worker could not do what it was asked; the text is its traceback."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A worker's environment: one thread everywhere, this repository's tinynn, byte code kept as usual."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "", **(extra or {})}


class Worker:
    """A process of its own in which one framework works; used as a context manager."""

    def __init__(self, script: str, framework: str, extra: Mapping[str, str] | None = None) -> None:
        self.framework = framework
        self._process = subprocess.Popen(
            [sys.executable, script, "--worker", framework],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(extra),
        )

    def ask(self, task: str, **arguments: Any) -> Any:
        """Have a task done, and wait for its answer.

        Raises
        ------
        Failed
            With the worker's traceback.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"the {self.framework} process is gone") from None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the {self.framework} process ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def workers(script: str, frameworks: Sequence[str]) -> Iterator[dict[str, Worker]]:
    """One worker per framework, by name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Worker(script, name)) for name in frameworks}


def serve(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Answer questions from standard input until it ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"value": tasks[question.pop("task")](**question)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def load(framework: str) -> Any:
    """Import a worker's framework, on one thread."""
    if framework.startswith("torch"):
        import torch

        torch.set_num_threads(1)
        return torch
    if framework == "jax" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # XLA makes a thread for each core it may use
    module = importlib.import_module(framework)
    if framework == "jax":
        module.config.update("jax_enable_x64", True)
    return module


def available(framework: str) -> bool:
    """Whether a framework is installed (tinynn is always the one beside this folder)."""
    return framework == "tinynn" or importlib.util.find_spec(PACKAGES[framework]) is not None


# ----------------------------------------------------------------------------------------------------- timing


def best_time(step: Callable[[], Any], seconds: float, chunk: float = 0.004) -> float:
    """Seconds per call: the best of many short chunks of calls in a row, for ``seconds`` altogether.

    A chunk is short enough to fit between two interruptions by the operating system, and long enough for the
    clock.
    """
    step()
    start = time.perf_counter()
    step()
    once = time.perf_counter() - start
    calls = max(1, round(chunk / max(once, 1e-9)))
    best = math.inf
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            step()
        now = time.perf_counter()
        best = min(best, (now - start) / calls)
        if now >= end:
            return best


class Timings:
    """Times of one case, by framework and round, and the ratios between them."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[float]] = {}

    def add(self, framework: str, seconds: float) -> None:
        self.rounds.setdefault(framework, []).append(seconds)

    def median(self, framework: str) -> float | None:
        times = self.rounds.get(framework)
        return statistics.median(times) if times else None

    def ratios(self, slow: str, fast: str = "tinynn") -> list[float]:
        """Round by round, how many times faster ``fast`` was."""
        return [a / b for a, b in zip(self.rounds.get(slow, ()), self.rounds.get(fast, ()), strict=False)]

    def ratio(self, slow: str, fast: str = "tinynn") -> float | None:
        ratios = self.ratios(slow, fast)
        return statistics.median(ratios) if ratios else None


def agreement(reference: Sequence[float], other: Sequence[float]) -> float:
    """The largest relative difference between two series of losses (infinite where one is not a number)."""
    if len(reference) != len(other) or not all(map(math.isfinite, (*reference, *other))):
        return math.inf
    return max(abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in zip(reference, other, strict=True))


# ----------------------------------------------------------------------------------------------------- tables


def duration(seconds: float | None) -> str:
    """``123 µs``, with three digits."""
    if seconds is None:
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9)):
        if seconds * factor >= 1.0 or unit == "ns":
            return f"{three_digits(seconds * factor)} {unit}"
    raise AssertionError


def three_digits(value: float) -> str:
    """A positive number with three digits, without an exponent."""
    if value <= 0 or not math.isfinite(value):
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def spread(values: Sequence[float]) -> str:
    """``2.912 (2.80–3.05)``: the median, and the smallest and largest of the rounds."""
    if not values:
        return "–"
    return f"{statistics.median(values):.3f} ({min(values):.2f}–{max(values):.2f})"


def verdict(value: float | None, bar: float | None, at_least: bool = True) -> str:
    """Whether a bar is reached, in words."""
    if bar is None or value is None:
        return "–"
    return "reached" if (value >= bar if at_least else value <= bar) else "**missed**"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, with columns that line up when read as text."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


# -------------------------------------------------------------------------------------- arguments and results


def arguments(text: str, frameworks: Sequence[str] = ("tinynn", "torch"), rounds: int = 5) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it run? (numbers mean little)")
    parser.add_argument("--rounds", type=int, default=None, help=f"rounds in turn (default {rounds}; with --quick 1)")
    parser.add_argument(
        "--frameworks",
        default=",".join(frameworks),
        help=f"comma-separated, of {', '.join(PACKAGES)} (default {','.join(frameworks)}); "
        "those that are not installed are left out, and with --quick torch-compiled where it is not named",
    )
    parser.add_argument("--json", metavar="OUT", type=Path, help="write the numbers to this file")
    parser.add_argument(
        "--save", action="store_true", help=f"write table and numbers to {RESULTS.name}/ beside the scripts"
    )
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    parser.set_defaults(_rounds=rounds)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``frameworks`` lists those that are here then, ``missing`` the others."""
    options = parser.parse_args(argv)
    names = [name.strip() for name in options.frameworks.split(",") if name.strip()]
    for name in names:
        if name not in PACKAGES:
            parser.error(f"--frameworks: {name!r} is none of {', '.join(PACKAGES)}")
    if options.quick and options.frameworks == parser.get_default("frameworks"):
        names = [name for name in names if name != "torch-compiled"]  # it compiles for half a minute per network
    if options.rounds is None:
        options.rounds = 1 if options.quick else options._rounds
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.frameworks = [name for name in names if available(name)]
    options.missing = [name for name in names if not available(name)]
    return options


def machine() -> dict[str, str]:
    """What a number was measured on."""
    described = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    for package in ("numpy", "numba", "scipy", "torch", "jax"):
        try:
            described[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            described[package] = "not installed"
    described["NumPy's BLAS"] = _blas()
    described["threads"] = "1"
    if hasattr(os, "getloadavg"):
        described["load average"] = f"{os.getloadavg()[0]:.2f} (above 1: other programs were running)"
    return described


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"model name\s*:\s*(.+)", text)
    wide = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if f" {flag} " in text), "")
    return ", ".join(filter(None, (found[1] if found else platform.processor(), wide)))


def _blas() -> str:
    import numpy as np

    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError):
        return "unknown"


def report(name: str, title: str, text: str, numbers: Any, options: argparse.Namespace) -> None:
    """Print a script's tables, and write them where the options ask for it."""
    here = machine()
    described = "\n".join(f"- {key}: {value}" for key, value in here.items())
    missing = "".join(f"\n{framework} is not installed: no column for it.\n" for framework in options.missing)
    how = "Quick run: the numbers mean little.\n" if options.quick else ""
    page = f"# {title}\n\n{how}{text}\n{missing}\n## Machine\n\n{described}\n"
    print(page)
    record = json.dumps({"benchmark": name, "quick": options.quick, "machine": here, "results": numbers}, indent=1)
    if options.json:
        options.json.write_text(record + "\n", encoding="utf-8")
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
        (RESULTS / f"{name}.json").write_text(record + "\n", encoding="utf-8")


def progress(message: str) -> None:
    """Say on standard error what is running."""
    print(message, file=sys.stderr, flush=True)
