"""Peak memory of a training step: compiled tinynn next to PyTorch.

1024-2048-2048-2048-10 with ReLU, batch 1024, cross entropy; and 100 layers of 256 with ReLU, batch 256, mean
squared error; both with Adam, float32. Every measurement has a process of its own, which imports the
framework, trains (and compiles) a network of two layers of 256 and applies a ReLU to a large array, so that
libraries and compiler are loaded, and then builds the network and trains it for six steps, of which a
compiled step compiles the third. The peak of the resident memory is given over the memory before the network
was built: recording, compiling and the eager first steps are in it ("with the first steps"). It is then set
back, and taken again over three more steps ("a step"), again over the memory before the network was built.
The shortest of these three is the time of a step. ``tinynn-recompute`` computes activations again for the
way back instead of keeping them all: ``tinynn.compile(step, recompute=True)``.
The losses must agree with PyTorch's, or the row is VOID.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from typing import Any

import _common as common
import numpy as np
from memory import forget_peak, resident
from memory import peak as peak_of_process
from steps import measure, report, same_lines

measure.register()
FRAMEWORKS = ("tinynn", "torch", "torch-fused", "tinynn-compiled", "tinynn-recompute")
RTOL = 2e-3
NETWORKS = {
    "wide": ("1024-2048-2048-2048-10, batch 1024", (1024, 2048, 2048, 2048, 10), 1024, "CrossEntropyLoss", 0.75),
    "deep": ("100 layers of 256, batch 256", (256,) * 101, 256, "MSELoss", 0.65),
}
QUICK = {"wide": ((64, 64, 10), 32), "deep": ((32,) * 9, 32)}


# -------------------------------------------------------------------------------------------------- the worker


def _trainer(column: str, nx: Any, layers: tuple[int, ...], batch: int, loss: str) -> Any:
    """A function that does one step and gives its loss."""
    nn = nx.nn
    parts: list[Any] = []
    for n, m in itertools.pairwise(layers):
        parts += [nn.Linear(n, m), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    rng = np.random.default_rng(5)
    with nx.no_grad():
        for p in model.parameters():  # one by one, so that no second copy of all weights counts
            bound = (6 / p.shape[-1]) ** 0.5 if len(p.shape) == 2 else 0.01
            p.copy_(nx.tensor(rng.uniform(-bound, bound, tuple(p.shape)).astype(np.float32)))
    x = nx.tensor(rng.normal(size=(batch, layers[0])).astype(np.float32))
    classes = loss == "CrossEntropyLoss"
    y = nx.tensor(
        rng.integers(0, layers[-1], batch) if classes else rng.normal(size=(batch, layers[-1])).astype(np.float32)
    )
    form = {"fused": True} if column == "torch-fused" else {}
    rule = nx.optim.Adam(model.parameters(), lr=1e-4, **form)
    loss_fn = getattr(nn, loss)()

    def step(x: Any, y: Any) -> Any:
        rule.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        rule.step()
        return loss

    step = same_lines.compiled(column, nx, step)
    return lambda: float(step(x, y).item())


def _peak(column: str, layers: list[int], batch: int, loss: str) -> dict[str, Any]:
    nx = same_lines.load(column)
    nx.set_default_dtype(same_lines.dtype_of(nx, "float32"))
    small = _trainer(column, nx, (256, 256, layers[-1]), 256, loss)
    for _ in range(5):
        small()
    del small
    # A small compiled network does without Numba; a large array does not. Of PyTorch all is loaded by now.
    float(nx.nn.functional.relu(nx.tensor(np.ones((1024, 1024), np.float32))).sum().item())
    gc.collect()
    before = resident()
    forget_peak()
    step = _trainer(column, nx, tuple(layers), batch, loss)
    losses = [step() for _ in range(6)]
    with_first = peak_of_process() - before
    gc.collect()
    forget_peak()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - begin)
    return {"losses": losses, "first": with_first, "step": peak_of_process() - before, "seconds": min(times)}


# -------------------------------------------------------------------------------------------------- the reader


def _measured(options: Any, name: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    _, layers, batch, loss, _ = NETWORKS[name]
    if options.quick:
        layers, batch = QUICK[name]
    found: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    extra = measure.thread_environment(measure.threads_for(options, False))
    for _ in range(options.rounds):
        for column in options.frameworks:
            common.progress(f"{name}: {column}")
            with common.Worker(__file__, column, extra) as worker:
                try:
                    answer = worker.ask("peak", layers=layers, batch=batch, loss=loss)
                except common.Failed as error:
                    absent[column] = f"failed: {str(error).strip().splitlines()[-1][:100]}"
                    continue
            best = found.setdefault(column, answer)
            for key in ("first", "step", "seconds"):
                best[key] = min(best[key], answer[key])
    return found, absent


def _cell(key: str, value: float, void: bool) -> str:
    return (common.duration(value) if key == "seconds" else f"{value / 1e6:.1f} MB") + " VOID" * void


def main(argv: list[str] | None = None) -> None:
    made = common.arguments(__doc__ or "", FRAMEWORKS, rounds=3)
    measure.add_threads(made)
    options = common.parse(made, argv)
    if options.worker:
        common.serve({"peak": lambda **question: _peak(options.worker, **question)})
        return
    rows, numbers, columns = [], [], options.frameworks
    for name, (title, *_, bar) in NETWORKS.items():
        found, absent = _measured(options, name)
        reference = found.get("torch", found.get("tinynn", {"losses": []}))["losses"]
        void = [c for c, one in found.items() if common.agreement(reference, one["losses"]) > RTOL]
        for key, words in (("step", "a step"), ("first", "with the first steps"), ("seconds", "time of a step")):
            cells = [absent.get(c, "–") if c not in found else _cell(key, found[c][key], c in void) for c in columns]
            verdicts = []
            for column in ("tinynn-compiled", "tinynn-recompute"):
                both = {"torch", column} <= found.keys() and not {"torch", column} & set(void)
                ratio = found[column][key] / found["torch"][key] if both else None
                word = common.verdict(ratio, bar if key == "step" else None, at_least=False)
                verdicts.append("–" if ratio is None else f"{ratio:.2f} {word.strip('–')}".strip())
            rows.append([title, words, *cells, f"≤ {bar:g}" if key == "step" else "–", *verdicts])
        numbers.append({"case": name, "title": title, "bar": bar, "found": found, "absent": absent, "void": void})
    header = ["network", "peak of", *columns, "bar", "compiled / torch", "recompute / torch"]
    text = (
        f"Peak of resident memory over that before the network was built, and the shortest time of a step, of "
        f"{options.rounds} runs, each in a process of its own. `tinynn-recompute`: "
        "`tinynn.compile(step, recompute=True)`.\n\n" + common.table(header, rows)
    )
    report.write("compiled_memory", "Memory of a compiled training step", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
