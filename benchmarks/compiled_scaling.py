"""How the time of a training step grows with width, depth and batch: where compiling pays.

Networks of tanh layers with one output, mean squared error, Adam, float32, one thread for every framework:
width 8 to 2048 (8-w-w-w-1, batch 32), depth 1 to 100 hidden layers of 32 and of 64 (batch 32), batch 1 to
4096 (8-32-32-32-1). As in ``compiled_steps.py``, each framework works in a process of its own, the losses
of the first steps must agree, and times are medians over rounds in turn. With ``--save`` the pictures
(time per step against width, depth, and batch, one line per framework, logarithmic axes) are written too.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import _common as common
from steps import COLUMNS, measure, report
from steps.cases import Case

measure.register()
FRAMEWORKS = tuple(name for name in COLUMNS if name not in ("torch-foreach", "autograd"))
LAST_LIMIT = 30.0  # seconds to build, above which a framework is not asked for larger networks

Sweep = dict[int, Case]


def _case(name: str, size: int, layers: tuple[int, ...], batch: int) -> Case:
    work = batch * sum(n * m for n, m in itertools.pairwise(layers))
    batches = 100 if work < 1e6 else 8  # of an epoch
    return Case(
        f"{name}-{size}", f"{name} {size}", layers, "Tanh", batch,
        dtype="float32", rtol=2e-3, learning_rate=1e-4, batches=batches, check=8,
    )  # fmt: skip


def sweeps(quick: bool) -> dict[str, Sweep]:
    """All networks, by what is varied and its value."""
    widths = (8, 64) if quick else (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    depths = (1, 3) if quick else (1, 3, 10, 30, 100)
    sizes = (1, 64) if quick else (1, 4, 16, 64, 256, 1024, 4096)
    found = {"width": {w: _case("width", w, (8, w, w, w, 1), 32) for w in widths}}
    for width in (32,) if quick else (32, 64):
        found[f"depth at width {width}"] = {d: _case("depth", d, (8, *[width] * d, 1), 32) for d in depths}
    found["batch"] = {n: _case("batch", n, (8, 32, 32, 32, 1), n) for n in sizes}
    return found


def _measure(options: Any, sweep: Sweep) -> dict[int, measure.Measured]:
    """One sweep; a framework that failed or compiled too long is not asked for what is larger."""
    columns = list(options.frameworks)
    found = {}
    for size, case in sweep.items():
        common.progress(case.title)
        threads = measure.threads_for(options, False)
        seconds = 0.02 if options.quick else options.seconds
        result = measure.measure_case(__file__, case, columns, threads, options.rounds, seconds)
        found[size] = result
        failed = {c for c, reason in result.absent.items() if reason.startswith("failed")}
        columns = [c for c in columns if c not in failed and result.built.get(c, 0.0) < LAST_LIMIT]
    return found


def _table(options: Any, what: str, found: dict[int, measure.Measured]) -> str:
    rows = []
    for size, result in found.items():
        ratio = result.ratio("torch", "tinynn-compiled")
        cells = [result.words(c) if c in (result.absent | result.timings.rounds) else "–" for c in options.frameworks]
        rows.append([str(size), *cells, report.times(ratio)])
    return common.table([what, *options.frameworks, "torch / tinynn-compiled"], rows)


def main(argv: list[str] | None = None) -> None:
    made = common.arguments(__doc__ or "", FRAMEWORKS, rounds=3)
    made.add_argument("--sweeps", help="comma-separated beginnings of: width, depth, batch (default: all)")
    made.add_argument("--seconds", type=float, default=0.2, help="measuring time per framework and round (default 0.2)")
    made.add_argument("--replot", action="store_true", help="draw the pictures anew from the saved results, and end")
    measure.add_threads(made)
    options = common.parse(made, argv)
    if options.worker:
        measure.serve(options.worker)
        return
    if options.replot:
        from steps import picture

        picture.from_results()
        return
    chosen = tuple((options.sweeps or "width,depth,batch").split(","))
    every = {what: sweep for what, sweep in sweeps(options.quick).items() if what.startswith(chosen)}
    if not every:
        made.error(f"--sweeps: {options.sweeps!r} is none of width, depth, batch")
    parts, numbers = [], {}
    for what, sweep in every.items():
        found = _measure(options, sweep)
        parts.append(f"## Time against {what}\n\n{_table(options, what, found)}")
        numbers[what] = [
            {"size": size, **report.numbers(sweep[size].name, sweep[size].title, result, options, False)}
            for size, result in found.items()
        ]
    text = f"Time per step, median of {options.rounds} rounds in turn.\n\n" + "\n\n".join(parts)
    report.write("compiled_scaling", "How the cost of a step grows", text, numbers, options)
    if options.save:
        from steps import picture

        picture.draw(numbers)


if __name__ == "__main__":
    main(sys.argv[1:])
