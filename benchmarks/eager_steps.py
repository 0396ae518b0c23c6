"""Training steps, eagerly, one thread: tinynn next to PyTorch.

A step is: zero the gradients, forward pass, loss, backward pass, optimizer. Both frameworks run the same
lines below, on the same data and from the same initial weights; every round builds the network anew, and
the losses of its first steps must agree, or the row is VOID. A round's time is the best of many short
chunks of steps; the table shows the median over the rounds, and the ratio, round by round, with its
smallest and largest value.

``torch-fused`` is PyTorch with its fused Adam (``Adam(..., fused=True)``), which its users can choose;
``jax`` is the step under ``jax.jit``, which is compiled and so in another league. Both are shown for
information: the bars are against PyTorch as it comes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import _common as common
import numpy as np

Step = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One network and the way it is trained."""

    title: str
    layers: tuple[int, ...]  # empty: LeNet-5
    activation: str
    batch: int
    dtype: str
    loss: str  # "mse", "cross-entropy", "energies and forces"
    optimizer: str  # "adam", "sgd" (with momentum 0.9)
    bar: float  # ratio to PyTorch eager
    check: int = 20  # so many losses are compared
    rtol: float = 1e-8
    learning_rate: float = 1e-3


CASES = {
    "gelu-small": Case(
        "1-20-10-5-1 GELU, 10 points",
        (1, 20, 10, 5, 1), "GELU", 10, "float64", "mse", "adam", 3.0,
    ),
    "selu-32": Case(
        "6-32-32-32-1 SELU, batch 32",
        (6, 32, 32, 32, 1), "SELU", 32, "float64", "mse", "adam", 2.5,
    ),
    "forces": Case(
        "energies and forces, 30-64-64-64-1 tanh, batch 64",
        (30, 64, 64, 64, 1), "Tanh", 64, "float64", "energies and forces", "adam", 1.5,
    ),
    "mnist-mlp": Case(
        "784-256-128-10 ReLU, batch 128",
        (784, 256, 128, 10), "ReLU", 128, "float32", "cross-entropy", "sgd", 1.1,
        rtol=1e-3, learning_rate=0.01,
    ),
    "wide-mlp": Case(
        "1024-2048-2048-2048-10 ReLU, batch 1024",
        (1024, 2048, 2048, 2048, 10), "ReLU", 1024, "float32", "cross-entropy", "adam", 1.0,
        check=2, rtol=1e-3, learning_rate=1e-4,
    ),
    "lenet": Case(
        "LeNet-5 on 28×28, batch 64",
        (), "ReLU", 64, "float32", "cross-entropy", "sgd", 0.7,
        rtol=1e-3, learning_rate=0.01,
    ),
}  # fmt: skip


# ----------------------------------------------------------------------------------- data and initial weights


def _weights(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    """Initial weights under PyTorch's names, drawn as its layers do: U[-1/sqrt(n), 1/sqrt(n)], n inputs."""
    rng = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]]
    if case.layers:
        pairs = zip(case.layers, case.layers[1:], strict=False)
        shapes = {f"{2 * i}": (n, m) for i, (m, n) in enumerate(pairs)}
    else:
        shapes = {"0": (6, 1, 5, 5), "3": (16, 6, 5, 5), "7": (120, 400), "9": (84, 120), "11": (10, 84)}
    weights = {}
    for name, shape in shapes.items():
        bound = np.prod(shape[1:]) ** -0.5
        weights[f"{name}.weight"] = rng.uniform(-bound, bound, shape).astype(case.dtype)
        weights[f"{name}.bias"] = rng.uniform(-bound, bound, shape[0]).astype(case.dtype)
    return weights


def _data(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(2)
    shape = (case.batch, case.layers[0]) if case.layers else (case.batch, 1, 28, 28)
    data = {"x": rng.normal(size=shape).astype(case.dtype)}
    if case.loss == "cross-entropy":
        data["y"] = rng.integers(0, 10, case.batch)
    else:
        data["y"] = np.sin(data["x"].sum(axis=1, keepdims=True))
    if case.loss == "energies and forces":
        data["f"] = -np.broadcast_to(np.cos(data["x"].sum(axis=1, keepdims=True)), shape).copy()
    return data


# ---------------------------------------------------------------- the step: the same lines in both frameworks


def _model(nn: Any, case: Case) -> Any:
    if not case.layers:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip
    parts: list[Any] = []
    for n, m in zip(case.layers, case.layers[1:], strict=False):
        parts += [nn.Linear(n, m), getattr(nn, case.activation)()]
    return nn.Sequential(*parts[:-1])


def eager_step(framework: str, case: Case) -> Step:
    """One training step of PyTorch or tinynn, which returns the loss tensor."""
    nx = common.load(framework)
    nx.set_default_dtype(getattr(nx, case.dtype) if nx.__name__ == "torch" else case.dtype)
    model = _model(nx.nn, case)
    model.load_state_dict({name: nx.tensor(value) for name, value in _weights(case).items()})
    data = {name: nx.tensor(value) for name, value in _data(case).items()}
    x, y = data["x"], data["y"]
    fused = {"fused": True} if framework == "torch-fused" else {}
    if case.optimizer == "adam":
        optimizer = nx.optim.Adam(model.parameters(), lr=case.learning_rate, **fused)
    else:
        optimizer = nx.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=0.9, **fused)
    loss_fn = nx.nn.CrossEntropyLoss() if case.loss == "cross-entropy" else nx.nn.MSELoss()
    grad = nx.autograd.grad if nx.__name__ == "torch" else nx.grad

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def step_with_forces() -> Any:
        optimizer.zero_grad()
        positions = x.detach().requires_grad_()
        energies = model(positions)
        (slopes,) = grad(energies.sum(), (positions,), create_graph=True)
        loss = loss_fn(energies, y) + loss_fn(-slopes, data["f"])
        loss.backward()
        optimizer.step()
        return loss

    return step_with_forces if case.loss == "energies and forces" else step


def jax_step(case: Case) -> Step:
    """The same step as one function under ``jax.jit``."""
    jax = common.load("jax")
    jnp = jax.numpy
    activation = {
        "GELU": lambda z: jax.nn.gelu(z, approximate=False),
        "SELU": jax.nn.selu,
        "Tanh": jnp.tanh,
        "ReLU": jax.nn.relu,
    }
    act = activation[case.activation]
    if not case.layers:
        raise NotImplementedError("LeNet-5 is not written for jax here")
    data = {name: jnp.asarray(value) for name, value in _data(case).items()}
    n_layers = len(case.layers) - 1

    def network(p: Any, x: Any) -> Any:
        for i in range(n_layers):
            x = x @ p[f"{2 * i}.weight"].T + p[f"{2 * i}.bias"]
            x = act(x) if i < n_layers - 1 else x
        return x

    def loss_of(p: Any) -> Any:
        if case.loss == "cross-entropy":
            return -jax.nn.log_softmax(network(p, data["x"]))[jnp.arange(case.batch), data["y"]].mean()
        if case.loss == "mse":
            return ((network(p, data["x"]) - data["y"]) ** 2).mean()
        energies, pull_back = jax.vjp(lambda x: network(p, x), data["x"])
        slopes = pull_back(jnp.ones_like(energies))[0]
        return ((energies - data["y"]) ** 2).mean() + ((-slopes - data["f"]) ** 2).mean()

    def adam(w: Any, g: Any, m: Any, v: Any, t: Any) -> tuple[Any, Any, Any]:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        scale = case.learning_rate / (1 - 0.9**t)
        return w - (scale * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)).astype(w.dtype), m, v

    def momentum(w: Any, g: Any, m: Any, v: Any, t: Any) -> tuple[Any, Any, Any]:
        m = 0.9 * m + g
        return w - case.learning_rate * m, m, v

    rule = adam if case.optimizer == "adam" else momentum

    @jax.jit
    def update(state: Any) -> tuple[Any, Any]:
        p, m, v, t = state
        loss, g = jax.value_and_grad(loss_of)(p)
        new = {k: rule(p[k], g[k], m[k], v[k], t + 1.0) for k in p}
        return (*({k: value[i] for k, value in new.items()} for i in range(3)), t + 1.0), loss

    weights = {k: jnp.asarray(w) for k, w in _weights(case).items()}
    zeros = {k: jnp.zeros_like(w) for k, w in weights.items()}
    state = (weights, zeros, zeros, 0.0)

    def step() -> Any:
        nonlocal state
        state, loss = update(state)
        return loss.block_until_ready()

    return step


def _round(framework: str, case: str, seconds: float, check: int) -> dict[str, Any]:
    """A new network: its first losses, then the time of a step."""
    chosen = CASES[case]
    step = jax_step(chosen) if framework == "jax" else eager_step(framework, chosen)
    losses = [float(step().item()) for _ in range(check)]
    return {"losses": losses, "seconds": common.best_time(step, seconds)}


def _profile(case: str, steps: int) -> None:
    """Where a step of tinynn spends its time, by function, with the profiler's own cost in it."""
    import cProfile
    import pstats

    step = eager_step("tinynn", CASES[case])
    for _ in range(50):
        step()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(steps):
        step()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


# -------------------------------------------------------------------------------------------------- the table


def measure(
    options: Any, names: list[str], workers: dict[str, common.Worker]
) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Rows of the table, and the numbers behind them."""
    rows, numbers = [], []
    for name in names:
        case = CASES[name] if not options.quick else replace(CASES[name], check=min(CASES[name].check, 3))
        seconds = 0.05 if options.quick else options.seconds
        timings = common.Timings()
        losses: dict[str, list[list[float]]] = {}
        failures: dict[str, str] = {}
        for i in range(options.rounds):
            common.progress(f"{case.title}: round {i + 1} of {options.rounds}")
            for framework, worker in workers.items():
                if framework in failures:
                    continue
                try:
                    answer = worker.ask("round", case=name, seconds=seconds, check=case.check)
                except common.Failed as error:
                    failures[framework] = str(error).strip().splitlines()[-1]
                    common.progress(f"{framework}: {failures[framework]}")
                    continue
                timings.add(framework, answer["seconds"])
                losses.setdefault(framework, []).append(answer["losses"])
        rows.append(_row(case, options, timings, losses, failures))
        numbers.append(
            {
                "case": name,
                "title": case.title,
                "bar": case.bar,
                "seconds": timings.rounds,
                "failures": failures,
                "ratio to torch": timings.ratio("torch"),
                "losses": {f: runs[0] for f, runs in losses.items()},
            }
        )
    return rows, numbers


def _row(
    case: Case, options: Any, timings: common.Timings, losses: dict[str, Any], failures: dict[str, str]
) -> list[str]:
    reference = losses.get("torch", losses.get("tinynn", [[]]))[0]
    void, worst = [], 0.0
    for framework, runs in losses.items():
        difference = max(common.agreement(reference, run) for run in runs)
        worst = max(worst, difference)
        if difference > case.rtol:
            void.append(framework)
    times = []
    for framework in options.frameworks:
        if framework in failures:
            times.append("failed" if "NotImplemented" not in failures[framework] else "–")
        else:
            times.append(common.duration(timings.median(framework)) + (" VOID" if framework in void else ""))
    ratios = timings.ratios("torch")
    is_void = "tinynn" in void or "torch" in void
    return [
        f"{case.title}, {case.dtype}, {'Adam' if case.optimizer == 'adam' else 'SGD with momentum'}",
        *times,
        "VOID" if is_void else common.spread(ratios),
        f"≥ {case.bar:g}",
        "VOID" if is_void else common.verdict(timings.ratio("torch"), case.bar),
        f"{worst:.0e} (of {case.rtol:.0e}, {len(reference)} steps)" if len(losses) > 1 else "not compared",
    ]


def main(argv: list[str] | None = None) -> None:
    parser = common.arguments(__doc__ or "", ("tinynn", "torch", "torch-fused", "jax"))
    parser.add_argument("--cases", default=",".join(CASES), help=f"comma-separated, of {', '.join(CASES)}")
    parser.add_argument(
        "--seconds", type=float, default=0.6, help="measuring time per framework and round (default 0.6)"
    )
    parser.add_argument(
        "--profile", metavar="CASE", choices=CASES, help="print where tinynn's step spends its time, and end"
    )
    options = common.parse(parser, argv)
    if options.worker:
        common.serve({"round": lambda **question: _round(options.worker, **question)})
        return
    if options.profile:
        _profile(options.profile, 2000 if CASES[options.profile].batch < 128 else 20)
        return
    names = [name.strip() for name in options.cases.split(",")]
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"--cases: {', '.join(unknown)} not in {', '.join(CASES)}")
    if options.quick:
        names = [name for name in names if name != "wide-mlp"]
    with common.workers(__file__, options.frameworks) as workers:
        rows, numbers = measure(options, names, workers)
    header = ["training step", *options.frameworks, "torch / tinynn", "bar", "", "losses differ by, relative"]
    text = (
        f"Time of one training step, one thread, median of {options.rounds} rounds in turn. The ratio to "
        "PyTorch eager: median (smallest–largest of the rounds).\n\n" + common.table(header, rows)
    )
    common.report("eager_steps", "Training steps, eagerly", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
