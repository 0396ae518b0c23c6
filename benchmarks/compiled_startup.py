"""How soon a compiled step is there: from the start of a process, and against the depth of the network.

1. From the start of the interpreter to the results of the first call of the step (tinynn's first two calls
   run eagerly and record) and of the third, which is compiled; for 6-32-32-32-1 SELU with batch 32 and for
   784-256-128-10 ReLU with batch 128. tinynn with an empty cache of kernels and with a warm one; PyTorch
   eager and JAX under ``jit`` beside it, likewise (JAX's persistent cache is off, as it comes).
2. The time that calls one to three take, less three times that of a later call, for 1, 10 and 100 hidden
   layers of 64: recording, planning, compiling.

Medians of several processes, in turn. The losses must agree with PyTorch's, or the number is VOID.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _common as common
from steps import measure, report
from steps.cases import CASES, Case

measure.register()
FRAMEWORKS = ("tinynn", "torch", "tinynn-compiled", "torch-compiled", "jax")
RTOL = 2e-3
BARS = {("tinynn-compiled", "empty"): 2.0, ("tinynn-compiled", "warm"): 0.8}

_PROCESS = """
import json, sys, time
sys.path[:0] = {path}
from steps import Absent, Case, fresh
try:
    print(json.dumps(fresh.calls({column!r}, Case.from_json(json.loads({case!r})))))
except Absent as reason:
    print(json.dumps({{"absent": str(reason)}}))
"""


def _process(column: str, case: Case, cache: str | None, threads: int) -> dict[str, Any]:
    """Times of a fresh process, from its start, in seconds."""
    here = Path(__file__).resolve().parent
    code = _PROCESS.format(path=[str(here), str(common.REPOSITORY)], column=column, case=json.dumps(asdict(case)))
    extra = measure.thread_environment(threads)
    if cache is not None:
        names = ("TINYNN_CACHE_DIR", "NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
        extra |= {name: f"{cache}/{name}" for name in names}
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code], env=common.environment(extra), capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"absent": f"failed: {done.stderr.strip().splitlines()[-1][:100]}"}
    answer = json.loads(done.stdout.splitlines()[-1])
    if "calls" in answer:
        answer["calls"] = [moment - start for moment in answer["calls"]]
    return answer


def _runs(options: Any, column: str, case: Case, state: str) -> list[dict[str, Any]]:
    """Several processes, each with an empty cache; or with one that a process before them has filled."""
    threads = measure.threads_for(options, case.all_cores)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        rounds = options.rounds + (state == "warm")
        for i in range(rounds):
            common.progress(f"{case.title}, {column}, {state} cache: {i + 1} of {rounds}")
            runs.append(_process(column, case, f"{folder}/{i}" if state == "empty" else folder, threads))
            if "absent" in runs[-1]:
                return runs[-1:]
    return runs[state == "warm" :]


def _starts(options: Any) -> tuple[str, list[Any]]:
    rows, numbers = [], []
    for name in ("selu-32",) if options.quick else ("selu-32", "mnist-mlp"):
        case = CASES[name]
        reference: list[float] = []
        for column in sorted(options.frameworks, key=lambda c: c != "torch"):  # the reference first
            for state in ("empty", "warm") if column.endswith("compiled") else ("warm",):
                runs = _runs(options, column, case, state)
                title = f"{case.title}, {case.dtype}"
                cache = state if column.endswith("compiled") else "–"
                if "absent" in runs[0]:
                    rows.append([title, column, cache, runs[0]["absent"], "–", "–", "–", "–"])
                    numbers.append({"case": name, "framework": column, "cache": state, **runs[0]})
                    continue
                reference = reference or runs[0]["losses"]
                wrong = common.agreement(reference, runs[0]["losses"]) > RTOL
                first, third = (statistics.median(run["calls"][i] for run in runs) for i in (0, 2))
                bar = BARS.get((column, state))
                best = min(run["calls"][2] for run in runs)
                rows.append([
                    title, column, cache, common.duration(first), "VOID" if wrong else common.duration(third),
                    common.duration(best), "–" if bar is None else f"≤ {bar:g} s",
                    "VOID" if wrong else common.verdict(third, bar, at_least=False),
                ])  # fmt: skip
                numbers.append({"case": name, "framework": column, "cache": state, "runs": runs, "bar": bar})
    header = ["network", "", "cache", "first call", "third call", "best third call", "bar", ""]
    return common.table(header, rows), numbers


def _depths(options: Any) -> tuple[str, list[Any]]:
    rows, numbers = [], []
    for depth in (1, 3) if options.quick else (1, 10, 100):
        case = Case(
            f"depth-{depth}", f"{depth} hidden layers of 64", (8, *[64] * depth, 1), "Tanh", 32,
            dtype="float32", rtol=RTOL, learning_rate=1e-4, batches=8, check=8,
        )  # fmt: skip
        cells: list[str] = []
        value = None
        for column in options.frameworks:
            for state in ("empty", "warm") if column == "tinynn-compiled" else ("empty",):
                runs = _runs(options, column, case, state)
                if "absent" in runs[0]:
                    cells.append(runs[0]["absent"])
                    numbers.append({"depth": depth, "framework": column, "cache": state, **runs[0]})
                    continue
                spent = statistics.median(run["compiling"] for run in runs)
                cells.append(common.duration(spent))
                if (column, state) == ("tinynn-compiled", "empty"):
                    value = spent
                numbers.append({"depth": depth, "framework": column, "cache": state, "runs": runs})
        bar = 3.0 if depth == 100 else None
        rows.append([case.title, *cells, "≤ 3 s" if bar else "–", common.verdict(value, bar, at_least=False)])
    columns = []
    for column in options.frameworks:
        columns += [f"{column}, empty cache", f"{column}, warm cache"] if column == "tinynn-compiled" else [column]
    return common.table(["network", *columns, "bar (empty cache)", ""], rows), numbers


def main(argv: list[str] | None = None) -> None:
    made = common.arguments(__doc__ or "", FRAMEWORKS, rounds=3)
    measure.add_threads(made)
    options = common.parse(made, argv)
    starts, start_numbers = _starts(options)
    depths, depth_numbers = _depths(options)
    text = (
        f"From the start of the process, median of {options.rounds} processes:\n\n{starts}\n\n"
        f"Compiling, against depth (first three calls less three later ones):\n\n{depths}"
    )
    numbers = {"starts": start_numbers, "depths": depth_numbers}
    report.write("compiled_startup", "Start of a compiled training step", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
