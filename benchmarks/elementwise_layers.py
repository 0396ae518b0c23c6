"""Layers on 4 million float32 elements, forward and backward, one thread: tinynn next to PyTorch.

GELU (exact), layer norm over 1024 features, batch norm over 64 channels, dropout with p = 0.5. One time
is one forward pass and one backward pass with a given cotangent. Outputs, gradients of the input and of
weight and bias must agree with PyTorch's, or the row is VOID. Dropout masks differ by design: there,
about half of the elements must be zero and the others doubled, in the output and in the gradient alike,
and a second draw must differ.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Case:
    """One layer, the shape it works on, and how much faster than PyTorch it is to be."""

    title: str
    shape: tuple[int, ...]
    quick_shape: tuple[int, ...]
    make: Callable[[Any], Any]
    bar: float


CASES = {
    "gelu": Case("GELU", (4096, 1024), (64, 128), lambda nn: nn.GELU(), 2.0),
    "layer norm": Case("layer norm", (4096, 1024), (64, 128), lambda nn: nn.LayerNorm(_shape[-1]), 2.5),
    "batch norm": Case("batch norm", (64, 64, 32, 32), (4, 8, 16, 16), lambda nn: nn.BatchNorm2d(_shape[1]), 2.5),
    "dropout": Case("dropout, p = 0.5", (4096, 1024), (64, 128), lambda nn: nn.Dropout(0.5), 10.0),
}
TOLERANCE = 2e-5  # of the largest element, float32

_shape: tuple[int, ...] = ()


# ------------------------------------------------------------- in a worker: the same lines in both frameworks


def _round(framework: str, case: str, shape: list[int], seconds: float, folder: str) -> float:
    """Write output and gradients to files, and return the time of one pass forward and back."""
    global _shape
    _shape = tuple(shape)
    nx = common.load(framework)
    float32 = nx.float32 if nx.__name__ == "torch" else "float32"
    nx.set_default_dtype(float32)
    nx.manual_seed(0)
    rng = np.random.default_rng(3)
    x = nx.tensor(rng.normal(0.3, 2.0, _shape).astype(np.float32)).requires_grad_()
    cotangent = nx.tensor(rng.normal(size=_shape).astype(np.float32))
    layer = CASES[case].make(nx.nn)
    leaves = {"x": x, **dict(layer.named_parameters())}

    def step() -> Any:
        for leaf in leaves.values():
            leaf.grad = None
        out = layer(x)
        out.backward(cotangent)
        return out

    results = {"out": step(), **{f"d {name}": leaf.grad for name, leaf in leaves.items()}}
    arrays = {name: np.array(value.detach().numpy()) for name, value in results.items()}
    arrays["second out"] = np.array(step().detach().numpy())
    np.savez(Path(folder) / f"{framework}.npz", allow_pickle=False, **arrays)
    return common.best_time(step, seconds)


# ------------------------------------------------------------------------------------------------- the checks


def _read(folder: str, framework: str) -> Arrays | None:
    path = Path(folder) / f"{framework}.npz"
    if not path.exists():
        return None
    with np.load(path) as archive:
        return dict(archive)


def difference(reference: Arrays, other: Arrays) -> float:
    """The largest difference of any array, relative to the largest element of the reference's."""
    worst = 0.0
    for name, a in reference.items():
        b = other[name]
        if a.shape != b.shape:
            return math.inf
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)))
    return worst


def dropout_is_right(arrays: Arrays) -> bool:
    """Half of the elements are kept (within five standard deviations) and doubled, as in the gradient."""
    rng = np.random.default_rng(3)
    shape = arrays["out"].shape
    x = np.asarray(rng.normal(0.3, 2.0, shape), np.float32)
    cotangent = np.asarray(rng.normal(size=shape), np.float32)
    kept = arrays["out"] != 0.0
    fair = abs(kept.mean() - 0.5) < 5 * 0.5 / math.sqrt(kept.size)
    doubled = np.array_equal(arrays["out"], np.where(kept, 2 * x, 0)) and np.array_equal(
        arrays["d x"], np.where(kept, 2 * cotangent, 0)
    )
    return bool(fair and doubled and not np.array_equal(kept, arrays["second out"] != 0.0))


def _check(case: str, folder: str, frameworks: list[str]) -> tuple[bool, str]:
    """Whether the results can be trusted, and what was found, in words."""
    found = {name: arrays for name in frameworks if (arrays := _read(folder, name)) is not None}
    if case == "dropout":
        wrong = [name for name, arrays in found.items() if not dropout_is_right(arrays)]
        return (
            not wrong,
            f"wrong: {', '.join(wrong)}" if wrong else "half kept, doubled, same in the gradient",
        )
    if "torch" not in found or "tinynn" not in found:
        return True, "not compared"
    worst = difference(found["torch"], found["tinynn"])
    return worst <= TOLERANCE, f"differ by {worst:.0e} (of {TOLERANCE:.0e})"


# -------------------------------------------------------------------------------------------------- the table


def main(argv: list[str] | None = None) -> None:
    parser = common.arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time per framework and round (default 1)")
    options = common.parse(parser, argv)
    if options.worker:
        common.serve({"round": lambda **question: _round(options.worker, **question)})
        return
    rows, numbers = [], []
    with common.workers(__file__, options.frameworks) as workers:
        for name, case in CASES.items():
            shape = case.quick_shape if options.quick else case.shape
            seconds = 0.05 if options.quick else options.seconds
            timings, failures = common.Timings(), {}
            with tempfile.TemporaryDirectory() as folder:
                for i in range(options.rounds):
                    common.progress(f"{case.title}: round {i + 1} of {options.rounds}")
                    for framework, worker in workers.items():
                        try:
                            timings.add(
                                framework,
                                worker.ask("round", case=name, shape=shape, seconds=seconds, folder=folder),
                            )
                        except common.Failed as error:
                            failures[framework] = str(error).strip().splitlines()[-1]
                            common.progress(f"{framework}: {failures[framework]}")
                right, words = _check(name, folder, options.frameworks)
            times = ["failed" if f in failures else common.duration(timings.median(f)) for f in options.frameworks]
            ratio = common.spread(timings.ratios("torch")) if right else "VOID"
            outcome = common.verdict(timings.ratio("torch"), case.bar) if right else "VOID"
            size = "×".join(map(str, shape))
            rows.append([f"{case.title}, {size}", *times, ratio, f"≥ {case.bar:g}", outcome, words])
            numbers.append(
                {
                    "case": name,
                    "shape": shape,
                    "bar": case.bar,
                    "seconds": timings.rounds,
                    "failures": failures,
                    "ratio to torch": timings.ratio("torch"),
                    "right": right,
                    "check": words,
                }
            )
    header = ["forward and backward", *options.frameworks, "torch / tinynn", "bar", "", "results"]
    text = (
        f"float32, one thread, median of {options.rounds} rounds in turn; ratio: median "
        "(smallest–largest of the rounds).\n\n" + common.table(header, rows)
    )
    common.report("elementwise_layers", "Layers on large arrays", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
