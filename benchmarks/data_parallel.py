"""How data-parallel training scales: the same batches on one rank, and shared out to two.

Four networks, from a step of some microseconds (where the exchange of gradients costs as much as the step) to one of
milliseconds. Strong scaling: a batch of n on one rank against n/2 on each of two, which is the same training; the
losses of the first steps must agree, to 1e-12 relative in float64, or the row is void. Weak scaling: n on each of
two ranks. The exchange is the time of one all-reduce of so many numbers alone. Every rank has one thread; more ranks
than cores measure nothing. Ranks are started in turn, 1 2 1 2, for several rounds; a round's time is the best of many
chunks of steps, and the table gives medians over the rounds. (``--frameworks`` is for tinynn alone.)
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import statistics
import sys
import time
from typing import Any

import _common as common
import numpy as np

# name, layers, samples in the joined batch, dtype
CASES = (
    ("small", (8, 32, 32, 1), 32, "float64"),
    ("surface", (42, 64, 64, 1), 256, "float64"),
    ("digits", (784, 256, 128, 10), 256, "float32"),
    ("wide", (256, 512, 512, 256), 1024, "float32"),
)
AGREE = {"float64": 1e-12, "float32": 1e-4}
STEPS = 10  # whose losses are compared


# ------------------------------------------------------------------------------------------------- on every rank


def training(layers: tuple[int, ...], batch: int, dtype: str, compiled: bool) -> Any:
    """A function that takes the next step on this rank's part of a batch, and returns the loss over all ranks."""
    import tinynn
    from tinynn import distributed, nn, optim

    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    tinynn.manual_seed(rank)
    parts: list[Any] = []
    for n, m in itertools.pairwise(layers):
        parts += [nn.Linear(n, m), nn.Tanh()]
    model = nn.Sequential(*parts[:-1]).to(dtype)
    distributed.broadcast_parameters(model)
    optimizer = distributed.DistributedOptimizer(optim.Adam(model.parameters(), lr=1e-3))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, layers[0])).astype(dtype)[rank::ranks]
    y = rng.standard_normal((batch, layers[-1])).astype(dtype)[rank::ranks]
    x, y = tinynn.tensor(x), tinynn.tensor(y)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = tinynn.compile(step) if compiled else step
    return lambda: run(x, y)


def steps_together(step: Any, seconds: float) -> float:
    """Seconds per step, of the slowest rank: the best of chunks of equally many steps on all ranks."""
    from tinynn import distributed

    for _ in range(3):
        step()
    start = time.perf_counter()
    for _ in range(5):
        step()
    once = distributed.all_reduce((time.perf_counter() - start) / 5, "max")
    calls = max(1, round(0.01 / once))
    chunks = max(3, round(seconds / (calls * once)))
    best = float("inf")
    for _ in range(chunks):
        distributed.barrier()
        start = time.perf_counter()
        for _ in range(calls):
            step()
        best = min(best, (time.perf_counter() - start) / calls)
    return distributed.all_reduce(best, "max")


def on_every_rank(job: dict[str, Any]) -> None:
    """Measure all cases; rank 0 prints what was found."""
    from tinynn import distributed

    ranks = distributed.get_world_size()
    found = {}
    for name, layers, batch, dtype in CASES:
        if name not in job["cases"]:
            continue
        for compiled in (False, True):
            mode = "compiled" if compiled else "eager"
            step = training(layers, batch, dtype, compiled)
            losses = [distributed.all_reduce(step().detach(), "mean").item() for _ in range(STEPS)]
            entry = {"losses": losses, "strong": steps_together(step, job["seconds"])}
            if ranks > 1:
                weak = training(layers, ranks * batch, dtype, compiled)
                entry["weak"] = steps_together(weak, job["seconds"])
            found[f"{name} {mode}"] = entry
        size = sum(n * m + m for n, m in itertools.pairwise(layers))
        numbers = np.zeros(size, dtype)
        found[f"{name} exchange"] = steps_together(lambda n=numbers: distributed.all_reduce(n), 0.1)
    if distributed.get_rank() == 0:
        print(json.dumps(found))


# ---------------------------------------------------------------------------------------------------- the reader


def started(ranks: int, job: dict[str, Any]) -> dict[str, Any]:
    """What `on_every_rank` finds."""
    from tinynn.distributed import launch

    done = launch(
        [__file__, "--job", json.dumps(job)], ranks, common.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise common.Failed(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def rows(rounds: dict[int, list[dict[str, Any]]], cases: list[str]) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """The table's rows, and the numbers behind them."""
    table, numbers = [], []
    for name, layers, batch, dtype in CASES:
        if name not in cases:
            continue
        for mode in ("eager", "compiled"):
            key = f"{name} {mode}"
            one = [r[key]["strong"] for r in rounds[1]]
            two = [r[key]["strong"] for r in rounds[2]]
            weak = [r[key]["weak"] for r in rounds[2]]
            exchange = statistics.median(r[f"{name} exchange"] for r in rounds[2])
            apart = max(
                common.agreement(a[key]["losses"], b[key]["losses"]) for a, b in zip(rounds[1], rounds[2], strict=True)
            )
            void = apart > AGREE[dtype]
            gain = [a / b for a, b in zip(one, two, strict=True)]
            gain_weak = [2 * a / b for a, b in zip(one, weak, strict=True)]
            table.append([
                f"{name}: {'-'.join(map(str, layers))}, batch {batch}, {dtype}", mode,
                common.duration(statistics.median(one)), common.duration(statistics.median(two)),
                "VOID" if void else common.spread(gain), "VOID" if void else common.spread(gain_weak),
                common.duration(exchange), f"{apart:.0e}",
            ])  # fmt: skip
            numbers.append({
                "case": name, "mode": mode, "layers": layers, "batch": batch, "dtype": dtype, "one rank": one,
                "two ranks": two, "two ranks, twice the batch": weak, "exchange": exchange, "losses apart": apart,
                "void": void,
            })  # fmt: skip
    return table, numbers


def main(argv: list[str] | None = None) -> None:
    made = common.arguments(__doc__ or "", ("tinynn",), rounds=5)
    made.add_argument(
        "--cases", default=None, help=f"comma-separated, of {', '.join(c[0] for c in CASES)} (default all)"
    )
    made.add_argument("--job", help="(for the ranks themselves)")
    options = common.parse(made, argv)
    if options.job:
        on_every_rank(json.loads(options.job))
        return
    from tinynn.distributed.launch import find_mpiexec

    if importlib.util.find_spec("mpi4py") is None or find_mpiexec() is None:
        print("mpi4py or mpiexec is missing, so nothing was measured: pip install 'tinynn[mpi]' mpich")
        return
    chosen = (options.cases or ("small,surface" if options.quick else ",".join(c[0] for c in CASES))).split(",")
    job = {"cases": chosen, "seconds": 0.05 if options.quick else 1.0}
    rounds: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for number in range(options.rounds):
        for ranks in (1, 2):
            common.progress(f"round {number + 1} of {options.rounds}, {ranks} rank{'s' if ranks > 1 else ''}")
            rounds[ranks].append(started(ranks, job))
    table, numbers = rows(rounds, chosen)
    header = [
        "network",
        "step",
        "1 rank",
        "2 ranks",
        "faster",
        "twice the batch: throughput",
        "exchange",
        "losses apart",
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = (
        f"Time per step with Adam, one thread per rank, {cores} cores, median of {options.rounds} rounds in turn. "
        "*Faster*: how many times, with the same batch shared out to two ranks (2 would be perfect). *Throughput*: "
        "samples per second with the batch on each of two ranks, against one.\n\n" + common.table(header, table)
    )
    common.report("data_parallel", "Data-parallel training over two ranks", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
