"""Compiled training steps: `tinynn.compile` next to its peers, each in a process of its own, in turn.

A step is: zero the gradients, forward pass, loss, backward pass, optimizer, as one call with a batch; with
``tinynn-epoch`` and ``jax-scan`` one call does all batches of an epoch, in order, and its time is divided
by their number. Every framework starts from the same weights and sees the same batches; the losses of its
first steps (the same number, each on the next batch) must agree with PyTorch's to the case's tolerance,
1e-8 relative in float64 and 1e-3 in float32, or its number is VOID. For the layers at the end, samples of
output and gradients must agree.

Each worker builds (and compiles) its step once and trains on; the workers are then timed in turn, round by
round. A round's time is the best of many chunks of 4 ms (or of one call); the tables show medians over the
rounds, the ratios are medians of the ratios of each round. One thread for every framework where the case
is small, all cores where it is marked so (`--threads` changes that).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import _common as common
from steps import COLUMNS, measure, report
from steps.cases import CASES
from steps.elementwise import LAYERS

measure.register()
FRAMEWORKS = tuple(name for name in COLUMNS if name != "torch-foreach")
QUICK = ("lj-gelu", "mnist-mlp", "lenet", "gelu", "dropout")


def parser() -> Any:
    """The options."""
    made = common.arguments(__doc__ or "", FRAMEWORKS)
    every = [*CASES, *LAYERS]
    made.add_argument("--cases", default=",".join(every), help=f"comma-separated, of {', '.join(every)}")
    made.add_argument("--seconds", type=float, default=0.5, help="measuring time per framework and round (default 0.5)")
    measure.add_threads(made)
    return made


def main(argv: list[str] | None = None) -> None:
    made = parser()
    options = common.parse(made, argv)
    if options.worker:
        measure.serve(options.worker)
        return
    names = [name.strip() for name in options.cases.split(",")]
    if unknown := [name for name in names if name not in CASES and name not in LAYERS]:
        made.error(f"--cases: {', '.join(unknown)} not in {', '.join([*CASES, *LAYERS])}")
    if options.quick:
        names = [name for name in names if name in QUICK]
    seconds = 0.02 if options.quick else options.seconds
    rows, numbers, limits = [], [], []
    for name in names:
        common.progress(name)
        if name in CASES:
            case = replace(CASES[name], check=8, batches=8) if options.quick else CASES[name]
            title, bars, all_cores = f"{case.title}, {case.dtype}", case.bars, case.all_cores
            threads = measure.threads_for(options, all_cores)
            found = measure.measure_case(__file__, case, options.frameworks, threads, options.rounds, seconds)
            limits.append(report.peak_line(case, found))
        else:
            layer = LAYERS[name]
            size = "×".join(map(str, layer.quick_shape if options.quick else layer.shape))
            title, bars, all_cores = f"{layer.title}, {size}, float32, forward and backward", layer.bars, True
            threads = measure.threads_for(options, all_cores)
            found = measure.measure_layer(
                __file__, layer, options.frameworks, threads, options.rounds, seconds, options.quick
            )
            limits.append("" if options.quick else report.memory_line(layer, found))
        if threads > 1:
            title += f" ({threads} threads)"
        rows.append((title, bars, found))
        numbers.append({**report.numbers(name, title, found, options, all_cores), "bars": vars(bars)})
    report.write("compiled_steps", "Compiled training steps", _page(options, rows, limits), numbers, options)


def _page(options: Any, rows: list[Any], limits: list[str]) -> str:
    """The tables and their explanation."""
    pairs = [(title, found) for title, _, found in rows]
    columns = "\n".join(f"- `{name}`: {COLUMNS[name].what}" for name in options.frameworks)
    return "\n\n".join(
        part
        for part in (
            f"Time per step, median of {options.rounds} rounds in turn; threads: one unless a title says otherwise. "
            "A word instead of a time says what the framework lacks; where losses differ, the number is void.",
            report.times_table(pairs, options.frameworks),
            "## Bars\n\nThe ratio is to PyTorch as it comes; beside it, to its fastest eager form in the same run.",
            report.bars_table(rows),
            *filter(None, limits),
            f"## Columns\n\n{columns}",
            report.notes(pairs),
        )
        if part
    )


if __name__ == "__main__":
    main(sys.argv[1:])
