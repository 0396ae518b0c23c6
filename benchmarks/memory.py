"""Memory: the peak while a deep network trains, next to PyTorch; and whether anything grows in a long run.

1. A network of 100 linear layers of width 256 with ReLU, float32, mean squared error. Every measurement
   has a process of its own, which imports the framework, trains a network of two layers for a step (so
   that libraries and kernels that load at first use are there), and then builds the deep network and
   trains it for a few steps. The peak of the resident memory is given over the memory before the deep
   network was built, over the memory right after the import, and as a whole.
2. 20,000 steps with Python's garbage collector off: how much the resident memory and the number of Python
   objects grow in the second half of them.

The losses must agree with PyTorch's, or the row is VOID. The operating system's peak can be set back on
Linux only; elsewhere the first column falls back to the peak of the whole life of the process.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

WIDTH = 256
MEASURES = {"over warm": "the network", "over import": "all since the import", "whole": "the process"}
RTOL = 1e-3


# ------------------------------------------------------------------------------------------ asking the system


def _status(field: str) -> int:
    """A size in bytes from what Linux says about this process; the peak so far on other systems."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident() -> int:
    """Resident memory now."""
    return _status("VmRSS")


def peak() -> int:
    """The most that was resident since the start, or since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak start again from now, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


# ------------------------------------------------------------- in a worker: the same lines in both frameworks


def _trained(nx: Any, layers: int, batch: int, optimizer: str, steps: int) -> list[float]:
    """Losses of a new network's first steps."""
    nn = nx.nn
    parts: list[Any] = []
    for _ in range(layers):
        parts += [nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    rng = np.random.default_rng(5)
    with nx.no_grad():
        for p in model.parameters():  # one by one, so that no second copy of all weights counts
            bound = (6 / WIDTH) ** 0.5 if len(p.shape) == 2 else 0.01
            p.copy_(nx.tensor(rng.uniform(-bound, bound, tuple(p.shape)).astype(np.float32)))
    x = nx.tensor(rng.normal(size=(batch, WIDTH)).astype(np.float32))
    y = nx.tensor(rng.normal(size=(batch, WIDTH)).astype(np.float32))
    rule = (
        nx.optim.Adam(model.parameters(), lr=1e-4) if optimizer == "Adam" else nx.optim.SGD(model.parameters(), lr=1e-4)
    )
    loss_fn = nn.MSELoss()
    losses = []
    for _ in range(steps):
        rule.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        rule.step()
        losses.append(float(loss.item()))
    return losses


def _peak(framework: str, layers: int, batch: int, optimizer: str) -> dict[str, Any]:
    nx = common.load(framework)
    nx.set_default_dtype(nx.float32 if framework == "torch" else "float32")
    _ = nx.nn, nx.optim
    after_import = resident()
    _trained(nx, 2, batch, optimizer, 2)
    gc.collect()
    peak_of_loading = peak()
    warm = resident()
    forget_peak()
    losses = _trained(nx, layers, batch, optimizer, 4)
    highest = peak()
    return {
        "losses": losses,
        "over warm": highest - warm,
        "over import": max(highest, peak_of_loading) - after_import,
        "whole": max(highest, peak_of_loading),
    }


def _growth(framework: str, steps: int) -> dict[str, int]:
    """Energies and forces on a small network, with the garbage collector off."""
    nx = common.load(framework)
    nx.set_default_dtype(nx.float64 if framework == "torch" else "float64")
    grad = nx.autograd.grad if framework == "torch" else nx.grad
    nn = nx.nn
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    rule = nx.optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(6)
    x, y, f = (nx.tensor(rng.normal(size=shape)) for shape in ((16, 6), (16, 1), (16, 6)))
    loss_fn = nn.MSELoss()

    def run(n: int) -> None:
        for _ in range(n):
            rule.zero_grad()
            positions = x.detach().requires_grad_()
            energies = model(positions)
            (slopes,) = grad(energies.sum(), (positions,), create_graph=True)
            (loss_fn(energies, y) + loss_fn(-slopes, f)).backward()
            rule.step()

    gc.collect()
    gc.disable()
    run(steps // 2)
    objects = len(gc.get_objects())  # before the memory is looked at: the list itself takes a megabyte
    before = resident()
    run(steps - steps // 2)
    after = resident()
    objects_after = len(gc.get_objects())
    gc.enable()
    return {"bytes": after - before, "objects": objects_after - objects}


# ------------------------------------------------------------------------------------------------- the tables


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _peaks(options: Any) -> tuple[str, list[Any]]:
    layers = 10 if options.quick else 100
    rows, numbers = [], []
    cases = [("SGD", 64)] if options.quick else [("SGD", 64), ("SGD", 256), ("Adam", 64), ("Adam", 256)]
    for optimizer, batch in cases:
        found: dict[str, dict[str, Any]] = {}
        for _ in range(options.rounds):
            for framework in options.frameworks:
                common.progress(f"{layers} layers, {optimizer}, batch {batch}: {framework}")
                with common.Worker(__file__, framework) as worker:
                    answer = worker.ask("peak", layers=layers, batch=batch, optimizer=optimizer)
                best = found.setdefault(framework, answer)
                for key in ("over warm", "over import", "whole"):
                    best[key] = min(best[key], answer[key])
        name = f"{optimizer}, batch {batch}"
        compared = "tinynn" in found and "torch" in found
        right = not compared or common.agreement(found["torch"]["losses"], found["tinynn"]["losses"]) <= RTOL
        for key, words in MEASURES.items():
            sizes = [_megabytes(found[f][key]) for f in options.frameworks]
            ratio = found["tinynn"][key] / found["torch"][key] if compared else None
            outcome = common.verdict(ratio, 1.0, at_least=False) if right else "VOID"
            rows.append([name, words, *sizes, "–" if ratio is None else f"{ratio:.2f}", "≤ 1", outcome])
        numbers.append({"case": name, "layers": layers, "agree": right, **found})
    header = [
        f"{layers} layers of {WIDTH}, float32",
        "peak of",
        *options.frameworks,
        "tinynn / torch",
        "bar",
        "",
    ]
    return common.table(header, rows), numbers


def _growths(options: Any) -> tuple[str, dict[str, Any]]:
    steps = 400 if options.quick else 20_000
    rows, numbers = [], {}
    for framework in options.frameworks:
        common.progress(f"{steps} steps without garbage collection: {framework}")
        with common.Worker(__file__, framework) as worker:
            answer = worker.ask("growth", steps=steps)
        bar, outcome = ("≤ 1 MB, no objects", "–") if framework == "tinynn" else ("–", "–")
        if framework == "tinynn":
            outcome = "reached" if answer["bytes"] <= 1e6 and answer["objects"] <= 10 else "**missed**"
        rows.append([framework, _megabytes(answer["bytes"]), f"{answer['objects']:+d}", bar, outcome])
        numbers[framework] = answer
    text = f"Growth in the second half of {steps} steps (energies and forces, Adam), garbage collector off:\n\n"
    return text + common.table(["", "memory", "objects", "bar", ""], rows), numbers


def main(argv: list[str] | None = None) -> None:
    options = common.parse(common.arguments(__doc__ or "", rounds=2), argv)
    if options.worker:
        name = options.worker
        common.serve(
            {
                "peak": lambda **question: _peak(name, **question),
                "growth": lambda **question: _growth(name, **question),
            }
        )
        return
    peaks, peak_numbers = _peaks(options)
    growths, growth_numbers = _growths(options)
    how = f"Peak of resident memory, smallest of {options.rounds} runs, each in a process of its own."
    text = f"{how}\n\n{peaks}\n\n{growths}"
    common.report("memory", "Memory", text, {"peaks": peak_numbers, "growth": growth_numbers}, options)


if __name__ == "__main__":
    main(sys.argv[1:])
