"""Training steps on an NVIDIA GPU: `tinynn.compile` next to PyTorch and JAX, each in a process of its own, in turn.

Needs CuPy and a CUDA device, and says so where there is none; PyTorch and JAX with CUDA get columns if they are
installed. A step is: zero the gradients, forward pass, loss, backward pass, optimizer. Every framework starts from
the same weights and sees the same batches, which lie on the GPU; the losses of the first steps must agree, to 1e-8 in
float64 and 1e-3 in float32, or its number is VOID. float32 products are computed in float32 everywhere: TF32 is off.

Steps are not waited for one by one: a chunk of 4 ms (or one step) is, and a round's time is the best of many chunks.

    python benchmarks/compiled_gpu.py --save
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import _common as common
from steps import measure
from steps.cases import CASES, Absent, Bars, Case

COLUMNS = {
    "tinynn": "tinynn, eagerly, by CuPy",
    "tinynn-compiled": "`tinynn.compile`: one CUDA graph per step",
    "torch": "PyTorch as it comes, eagerly",
    "torch-fused": "PyTorch, eagerly, with its fused optimizer",
    "torch-graph": "PyTorch, the whole step captured in a CUDA graph",
    "jax": "`jax.jit` on the whole step, buffers donated",
}
LARGE = Case(
    "wide-4096", "4096-4096-4096-4096-10 ReLU, batch 4096, Adam", (4096, 4096, 4096, 4096, 10), "ReLU", 4096, "float32",
    loss="cross-entropy", learning_rate=1e-4, batches=4, check=4, rtol=1e-3, bars=Bars(),
)  # fmt: skip
ALL = {name: case for name, case in [*CASES.items(), (LARGE.name, LARGE)] if not name.endswith("-cores")}
QUICK = ("lj-gelu", "selu-32-f32", "mnist-mlp")
_FEWER = {"simplechains": 6, "wide": 6}
_ENVIRONMENT = {"JAX_PLATFORMS": "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "CUPY_TF32": "0"}


class Bench:
    """In a worker: one step, built once and timed whenever the reader asks."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.runner: Any = None

    def setup(self, case: dict[str, Any]) -> dict[str, Any]:
        from steps import gpu_steps

        if reason := gpu_steps.why_not(self.column):
            return {"absent": reason}
        start = time.perf_counter()
        try:
            self.runner = gpu_steps.build(self.column, Case.from_json(case))
        except Absent as reason:
            return {"absent": str(reason)}
        return {"losses": self.runner.losses, "note": self.runner.note, "built": time.perf_counter() - start}

    def time(self, seconds: float) -> float:
        """Seconds per step."""
        return measure.best_time(self.runner, seconds)


def main(argv: list[str] | None = None) -> None:
    common.PACKAGES.update({name: name.split("-")[0] for name in COLUMNS})
    made = common.arguments(__doc__ or "", tuple(COLUMNS))
    made.add_argument("--cases", default=",".join(ALL), help=f"comma-separated, of {', '.join(ALL)}")
    made.add_argument("--seconds", type=float, default=0.5, help="measuring time per framework and round (default 0.5)")
    options = common.parse(made, argv)
    sys.path.insert(0, str(common.REPOSITORY))
    if options.worker:
        bench = Bench(options.worker)
        common.serve({"setup": bench.setup, "time": bench.time})
        return
    names = [name.strip() for name in options.cases.split(",")]
    if unknown := [name for name in names if name not in ALL]:
        made.error(f"--cases: {', '.join(unknown)} not in {', '.join(ALL)}")
    from steps import gpu_steps

    if reason := gpu_steps.why_not("tinynn"):
        print(f"Nothing is measured: this benchmark needs CuPy and an NVIDIA GPU. {reason}")
        return
    if options.quick:
        names = [name for name in names if name in QUICK]
    found = []
    for name in names:
        common.progress(name)
        case = replace(ALL[name], check=6, batches=6) if options.quick else ALL[name]
        case = replace(case, batches=max(case.check, _FEWER.get(name, case.check)))
        found.append((case, _measured(case, options)))
    numbers = [_record(case, one) for case, one in found]
    common.report("compiled_gpu", f"Compiled training steps on {_gpu()}", _page(found, options), numbers, options)


def _measured(case: Case, options: Any) -> measure.Measured:
    """All columns of a case: built one after the other, then timed in turn."""
    found = measure.Measured()
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(common.Worker(__file__, name, _ENVIRONMENT)) for name in options.frameworks
        }
        for name, worker in workers.items():
            common.progress(f"  builds: {name}")
            answer = measure._asked(worker, found, {"task": "setup", "case": asdict(case)})
            if answer is None:
                continue
            if "absent" in answer:
                found.absent[name] = answer["absent"][:100]
                continue
            found.losses[name], found.built[name] = answer["losses"], answer["built"]
            if answer["note"]:
                found.notes[name] = answer["note"]
        seconds = 0.05 if options.quick else options.seconds
        for i in range(options.rounds):
            common.progress(f"  round {i + 1} of {options.rounds}")
            for name, worker in workers.items():
                if name not in found.absent:
                    taken = measure._asked(worker, found, {"task": "time", "seconds": seconds})
                    if taken is not None:
                        found.timings.add(name, taken)
    reference = next((found.losses[name] for name in ("torch", "tinynn") if name in found.losses), [])
    for name, losses in found.losses.items():
        difference = common.agreement(reference, losses)
        if difference > case.rtol:
            found.void[name] = f"losses differ by {difference:.0e}"
    return found


def _page(found: list[tuple[Case, measure.Measured]], options: Any) -> str:
    columns = options.frameworks
    times = common.table(
        ["step", *columns],
        [[f"{case.title}, {case.dtype}", *(one.words(name) for name in columns)] for case, one in found],
    )
    peers = [name for name in columns if not name.startswith("tinynn")]
    ratios = common.table(
        ["step", *(f"against {name}" for name in peers)],
        [[f"{case.title}, {case.dtype}", *(_ratio(one.ratio(name, "tinynn-compiled")) for name in peers)]
         for case, one in found],
    )  # fmt: skip
    built = common.table(
        ["until the first losses", *columns],
        [[f"{case.title}, {case.dtype}", *(common.duration(one.built.get(name)) for name in columns)]
         for case, one in found],
    )  # fmt: skip
    what = "\n".join(f"- `{name}`: {COLUMNS[name]}" for name in columns)
    notes = "\n".join(f"- {case.title}, {case.dtype}, {name}: {note}" for case, one in found
                      for name, note in one.notes.items())  # fmt: skip
    return "\n\n".join([
        f"Time per step, median of {options.rounds} rounds in turn.", times,
        "## How many times faster `tinynn-compiled` is", ratios, "## Compiling", built, f"## Columns\n\n{what}",
        f"## How the steps run\n\n{notes}",
    ])  # fmt: skip


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{common.three_digits(value)}×"


def _record(case: Case, found: measure.Measured) -> dict[str, Any]:
    return {
        "case": case.name, "title": case.title, "dtype": case.dtype, "seconds": found.timings.rounds,
        "losses": found.losses, "void": found.void, "absent": found.absent, "built": found.built, "notes": found.notes,
    }  # fmt: skip


def _gpu() -> str:
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(0)["name"].decode()
    return f"{name} (CUDA {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}, CuPy {cupy.__version__})"


if __name__ == "__main__":
    main(sys.argv[1:])
