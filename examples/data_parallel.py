"""Data-parallel training: two processes share out each batch, and take the same steps as one (row 11).

Every process (a rank) has the whole model and computes the gradient of its part of a batch; the mean of the gradients
is that of the whole batch. Three lines of `train` are there for that, and do nothing where there is one rank:
`broadcast_parameters`, `DistributedOptimizer`, `DistributedSampler`.

The data are the PDF curves of metal nanoparticles, and the task to name the structure type. The script starts itself on
one rank, with batches of n, and on two, with n/2 each; it compares their losses and weights, counts the steps, ⌈N/n⌉
in an epoch, and times them. (A step of this network takes a fraction of a millisecond: two ranks gain nothing. See
benchmarks/data_parallel.py for larger ones.)

    python examples/data_parallel.py
    python examples/data_parallel.py --ranks 4 --no-compile
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _example import BLUE, DATA, GREY, ORANGE, Report, parser, start

import tinynn
from tinynn import distributed, nn, optim
from tinynn.data import DataLoader, TensorDataset, train_val_test_split
from tinynn.distributed import DistributedOptimizer, DistributedSampler, broadcast_parameters

BATCH = 24


def load_curves() -> tuple[np.ndarray, np.ndarray]:
    """504 of the 630 curves, brought to mean 0, and their structure types (0 ... 6)."""
    with np.load(DATA / "pdf_structures.npz") as file:
        curves, labels = file["G"].astype(float), file["label"].astype(np.int64)
    (x, y), _, _ = train_val_test_split(curves, labels, fractions=(0.8, 0.1, 0.1), seed=0)
    return (x - x.mean(axis=0)) / x.std(), y


def train(epochs: int, seed: int, compiled: bool) -> dict[str, Any]:
    """What every rank does. Returns the losses over all ranks, the weights, and the time of a step."""
    x, y = load_curves()
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    tinynn.manual_seed(seed + rank)  # other weights on each rank: see what the next but one line does
    model = nn.Sequential(nn.Linear(186, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 7))
    broadcast_parameters(model)
    optimizer = DistributedOptimizer(optim.Adam(model.parameters(), lr=1e-3))
    data = TensorDataset(x, y)
    loader = DataLoader(data, batch_size=BATCH // ranks, sampler=DistributedSampler(data, seed=seed))

    def step(curves: Any, types: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(curves), types)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    losses, times = [], []
    for _ in range(epochs):
        begin = time.perf_counter()
        of_epoch = [step(curves, types).detach() for curves, types in loader]
        times.append((time.perf_counter() - begin) / len(loader))
        losses += distributed.all_reduce(tinynn.stack(of_epoch), "mean").tolist()
    distributed.check_same_parameters(model)
    weights = np.concatenate([p.detach().numpy() for p in model.parameters()], axis=None)
    return {"losses": losses, "weights": weights.tolist(), "seconds": min(times), "batches": len(loader)}


def start_on(ranks: int, options: Any, epochs: int) -> dict[str, Any]:
    """Run this script on so many ranks, and read what rank 0 has found."""
    file = options.out / f"data_parallel_{ranks}.json"
    how = [__file__, "--write", file, "--epochs", epochs, "--seed", options.seed]
    done = distributed.launch([*map(str, how), "--compile" if options.compile else "--no-compile"], ranks, check=False)
    if done.returncode:
        raise SystemExit(f"a rank failed, of {ranks}: its error stands above")
    found = json.loads(file.read_text("utf-8"))
    file.unlink()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(__doc__, compiles=True)
    made.add_argument("--ranks", type=int, default=2, help="how many share the work (default %(default)s)")
    made.add_argument("--epochs", type=int, help="passes over the data (default 40, with --quick 4)")
    made.add_argument("--write", type=Path, help="(for the ranks themselves)")
    options = made.parse_args(arguments)
    epochs = options.epochs or (4 if options.quick else 40)
    if options.write:
        found = train(epochs, options.seed, options.compile)
        if distributed.get_rank() == 0:
            options.write.write_text(json.dumps(found), "utf-8")
        return 0
    if importlib.util.find_spec("mpi4py") is None or distributed.find_mpiexec() is None:
        print("This example needs mpi4py and mpiexec: pip install 'tinynn[mpi]' mpich", file=sys.stderr)
        return 0
    if options.ranks < 2 or BATCH % options.ranks:
        made.error(f"--ranks: {options.ranks} does not divide the batch of {BATCH}")

    plt = start(options)
    report = Report(__file__, options)
    one, several = (start_on(ranks, options, epochs) for ranks in (1, options.ranks))
    losses = np.array([one["losses"], several["losses"]])
    apart = np.abs(losses[0] - losses[1])
    who = f"{options.ranks} ranks and one"
    steps = -(-len(load_curves()[0]) // BATCH) * epochs
    report.number(11, f"steps of {epochs} epochs: ⌈N/n⌉ · epochs is", steps)
    report.number(11, "steps taken by each rank", len(losses[1]), f"== {steps}", quick=f"== {steps}")
    report.number(11, f"{who}: largest difference of the losses", apart.max(), "<= 1e-12", quick="<= 1e-12")
    moved = np.abs(np.subtract(one["weights"], several["weights"])).max()
    report.number(11, f"{who}: largest difference of weights at the end", moved, "<= 1e-12", quick="<= 1e-12")
    report.number(11, "time of a step on one rank", 1e6 * one["seconds"], unit="µs")
    report.number(11, f"time of a step on {options.ranks} ranks", 1e6 * several["seconds"], unit="µs")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.semilogy(losses[0], color=ORANGE, lw=3.5, label="one rank")
    left.semilogy(losses[1], color=BLUE, lw=1, label=f"{options.ranks} ranks")
    left.set(xlabel="step", ylabel="cross-entropy of the batch")
    left.set_title("the same training")
    left.legend()
    right.semilogy(np.maximum(apart, 1e-17), ".", color=GREY, ms=3)
    right.axhline(np.finfo(float).eps, color=BLUE, lw=0.8, ls=":")
    right.text(
        len(apart), 1.2 * np.finfo(float).eps, "last digit of 1", color=BLUE, ha="right", va="bottom", fontsize=9
    )
    right.set(xlabel="step", ylabel="difference of the losses")
    right.set_title("rounding, and nothing else")
    report.picture(figure)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
