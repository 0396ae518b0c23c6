"""How soon one can begin: the import, and the first training step of a fresh process.

1. ``import tinynn`` next to ``import numpy``, each in a fresh interpreter, in turn; the interpreter's own
   start is not counted.
2. From the start of the interpreter to the end of the first training step: for a small network, whose
   arrays stay in NumPy; for 784-256-128-10 with batch 128, which asks for compiled kernels; and for a
   convolutional network. Once with warm kernel caches, and (tinynn only) once with empty ones, which is
   what the first run after an installation pays. PyTorch beside it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common as common

_IMPORT = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"

_FIRST_STEP = """
import time
started = time.perf_counter()
import numpy as np
import {module} as nx
{threads}
nn = nx.nn
imported = time.perf_counter()
model = {model}
{dtype}
optimizer = nx.optim.Adam(model.parameters(), lr=1e-3)
rng = np.random.default_rng(0)
x = nx.tensor(rng.normal(size={shape}).astype("float32"))
y = nx.tensor(rng.integers(0, 10, {shape}[0]))
loss = nn.CrossEntropyLoss()(model(x), y)
loss.backward()
optimizer.step()
first = time.perf_counter()
now = time.time()
optimizer.zero_grad()
nn.CrossEntropyLoss()(model(x), y).backward()
optimizer.step()
print(imported - started, first - imported, time.perf_counter() - first, float(loss.item()), now)
"""

NETWORKS = {
    "6-32-32-10, batch 32": (
        "nn.Sequential(nn.Linear(6, 32), nn.SELU(), nn.Linear(32, 32), nn.SELU(), nn.Linear(32, 10))",
        (32, 6),
    ),
    "784-256-128-10 GELU, batch 128": (
        "nn.Sequential(nn.Linear(784, 256), nn.GELU(), nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 10))",
        (128, 784),
    ),
    "LeNet-5, batch 64": (
        "nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), "
        "nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), "
        "nn.ReLU(), nn.Linear(84, 10))",
        (64, 1, 28, 28),
    ),
}


def _python(code: str, extra: dict[str, str] | None = None) -> tuple[list[float], float]:
    """What a fresh interpreter prints, as numbers, and when it was started."""
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=common.environment(extra),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise common.Failed(done.stderr)
    return [float(word) for word in done.stdout.split()], start


def _imports(options: Any) -> tuple[str, dict[str, list[float]]]:
    modules = ["numpy", *[f for f in options.frameworks if f in ("tinynn", "torch")]]
    times: dict[str, list[float]] = {module: [] for module in modules}
    rounds = 2 if options.quick else max(options.rounds, 15)
    for i in range(rounds + 1):
        common.progress(f"imports: {i} of {rounds}")
        for module in modules:
            if module == "torch" and i > 5:
                continue
            (seconds,), _ = _python(_IMPORT.format(module=module))
            if i:  # the first time may write byte code and read from a cold disk
                times[module].append(seconds)
    rows = []
    for module in modules:
        ratio = min(times[module]) / min(times["numpy"])
        middle = statistics.median(times[module]) / statistics.median(times["numpy"])
        bar = 1.6 if module == "tinynn" else None
        rows.append(
            [
                f"`import {module}`",
                common.duration(min(times[module])),
                common.duration(statistics.median(times[module])),
                f"{ratio:.2f}",
                f"{middle:.2f}",
                "≤ 1.6" if bar else "–",
                common.verdict(middle, bar, at_least=False),
            ]
        )
    header = ["", "best", "median", "best / NumPy's", "median / NumPy's", "bar (median)", ""]
    return common.table(header, rows), times


def _first_steps(options: Any) -> tuple[str, list[Any]]:
    rows, numbers = [], []
    names = list(NETWORKS)[:1] if options.quick else list(NETWORKS)
    for network in names:
        code, shape = NETWORKS[network]
        for framework in [f for f in options.frameworks if f in ("tinynn", "torch")]:
            torch = framework == "torch"
            text = _FIRST_STEP.format(
                module=framework,
                model=code,
                shape=shape,
                threads="nx.set_num_threads(1)" if torch else "",
                dtype="" if torch else 'model = model.to("float32")',
            )
            for warm in (True,) if torch or options.quick else (False, True):
                common.progress(f"first step of {network}: {framework}, {'warm' if warm else 'empty'} cache")
                with tempfile.TemporaryDirectory() as folder:
                    empty = {
                        "TINYNN_CACHE_DIR": str(Path(folder) / "a"),
                        "NUMBA_CACHE_DIR": str(Path(folder) / "b"),
                    }
                    runs = [_python(text, None if warm else empty) for _ in range(options.rounds + 1 if warm else 1)]
                if warm and len(runs) > 1:
                    runs = runs[1:]  # the first filled the cache
                numbers_of_best, start = min(runs, key=lambda run: run[0][-1] - run[1])
                imported, first, second, loss, now = numbers_of_best
                ready = now - start
                bar = 1.0 if warm and not torch else None
                rows.append(
                    [
                        network,
                        framework,
                        "–" if torch else "warm" if warm else "empty",
                        common.duration(imported),
                        common.duration(first),
                        common.duration(second),
                        common.duration(ready),
                        "≤ 1 s" if bar else "–",
                        common.verdict(ready, bar, at_least=False),
                    ]
                )
                numbers.append(
                    {
                        "network": network,
                        "framework": framework,
                        "warm": warm,
                        "import": imported,
                        "first step": first,
                        "second step": second,
                        "until first step": ready,
                        "loss": loss,
                    }
                )
    header = [
        "network",
        "",
        "kernel cache",
        "import",
        "first step",
        "second step",
        "process start to first step",
        "bar",
        "",
    ]
    return common.table(header, rows), numbers


def main(argv: list[str] | None = None) -> None:
    options = common.parse(common.arguments(__doc__ or ""), argv)
    imports, import_numbers = _imports(options)
    steps, step_numbers = _first_steps(options)
    what = f"The first training step of a fresh process, best of {options.rounds} processes:"
    text = f"{imports}\n\n{what}\n\n{steps}"
    common.report("startup", "Start-up", text, {"imports": import_numbers, "first steps": step_numbers}, options)


if __name__ == "__main__":
    main(sys.argv[1:])
