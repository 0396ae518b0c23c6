"""The networks that are timed, their data and initial weights, and what a framework's module hands back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]


class Absent(RuntimeError):
    """The framework lacks what the case needs; the text names it in a few words."""


@dataclass(frozen=True)
class Bars:
    """How many times faster than PyTorch eager, and than JAX's best form, compiled tinynn is to be."""

    step: float | None = None
    epoch: float | None = None
    jax: float | None = None


@dataclass(frozen=True)
class Case:
    """One network and the way it is trained."""

    name: str
    title: str
    layers: tuple[int, ...]  # empty: LeNet-5
    activation: str
    batch: int
    dtype: str
    loss: str = "mse"  # "mse", "cross-entropy", "energies and forces"
    optimizer: str = "adam"  # or "sgd" (with momentum 0.9)
    learning_rate: float = 1e-3
    batches: int = 100  # in an epoch
    check: int = 20  # the losses of so many steps are compared
    rtol: float = 1e-8
    inputs: str = "normal"  # or "one-hot"
    all_cores: bool = False  # unless --threads says otherwise
    bars: Bars = field(default_factory=Bars)

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> Case:
        """Undo ``dataclasses.asdict`` and JSON."""
        bars = Bars(**description["bars"])
        return cls(**{**description, "layers": tuple(description["layers"]), "bars": bars})

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(int(np.prod(shape)) for shape in shapes(self).values())

    @property
    def product_flops(self) -> int:
        """Operations of a step's matrix products: forward, for the weights, and for all inputs but the first."""
        sizes = [2 * self.batch * n * m for n, m in zip(self.layers, self.layers[1:])]
        return 3 * sum(sizes) - sizes[0]


@dataclass
class Runner:
    """A training step that is ready to be timed.

    Parameters
    ----------
    losses : losses of the first ``case.check`` steps, each on the next batch
    step : what is timed; may leave work behind that ``finish`` waits for
    steps_per_call : so many steps does one call do
    note : which of several usual forms this is, in words
    moments : when the first step began, and when each of the first losses was there (clock of ``time.time``)
    """

    losses: list[float]
    step: Callable[[], Any]
    steps_per_call: int = 1
    finish: Callable[[], Any] | None = None
    note: str = ""
    moments: list[float] = field(default_factory=list)


# -------------------------------------------------------------------------------------------------- the cases

_FLOAT32: dict[str, Any] = {"dtype": "float32", "rtol": 1e-3}
_FLOAT64: dict[str, Any] = {"dtype": "float64", "rtol": 1e-8}
_CLASSES: dict[str, Any] = {"loss": "cross-entropy", **_FLOAT32}


def _pair(name: str, title: str, first: Bars, second: Bars, **rest: Any) -> list[Case]:
    """The same network in both precisions."""
    return [
        Case(name, title, **rest, **_FLOAT64, bars=first),
        Case(f"{name}-f32", title, **rest, **_FLOAT32, bars=second),
    ]


_LIST = [
    *_pair(
        "lj-gelu", "1-20-10-5-1 GELU, 10 points, Adam", Bars(80, 150, 3), Bars(130, 300, 5),
        layers=(1, 20, 10, 5, 1), activation="GELU", batch=10, batches=1000,
    ),
    *_pair(
        "lj-7-10-10-10-1", "7-10-10-10-1 GELU, one-hot elements, 10 points, Adam", Bars(80, 150, 3), Bars(130, 300, 5),
        layers=(7, 10, 10, 10, 1), activation="GELU", batch=10, batches=1000, inputs="one-hot",
    ),
    *_pair(
        "selu-32", "6-32-32-32-1 SELU, batch 32, Adam", Bars(22, 28, 1.8), Bars(38, 55, 2),
        layers=(6, 32, 32, 32, 1), activation="SELU", batch=32, batches=500,
    ),
    Case(
        "forces", "energies and forces, 30-64-64-64-1 tanh, batch 64, Adam", (30, 64, 64, 64, 1), "Tanh", 64,
        loss="energies and forces", batches=50, bars=Bars(5, 5.5, 1.2), **_FLOAT64,
    ),
    Case(
        "simplechains", "4-32-16-4 tanh, full batch of 10,000, Adam", (4, 32, 16, 4), "Tanh", 10_000,
        batches=6, check=6, bars=Bars(4.5, None, 2), **_FLOAT32,
    ),
    Case(
        "mnist-mlp", "784-256-128-10 ReLU, batch 128, SGD with momentum", (784, 256, 128, 10), "ReLU", 128,
        optimizer="sgd", learning_rate=0.01, batches=50, bars=Bars(1.5, 1.5, 1.1), **_CLASSES,
    ),
    Case(
        "wide", "1024-2048-2048-2048-10 ReLU, batch 1024, Adam", (1024, 2048, 2048, 2048, 10), "ReLU", 1024,
        learning_rate=1e-4, batches=6, check=6, all_cores=True, bars=Bars(1.1, None, 1.0), **_CLASSES,
    ),
    Case(
        "lenet", "LeNet-5 on 28×28, batch 64, SGD with momentum", (), "ReLU", 64,
        optimizer="sgd", learning_rate=0.01, batches=20, bars=Bars(1.2, None, 2.5), **_CLASSES,
    ),
]  # fmt: skip
# the same on all cores, which a user has who sets nothing
_LIST += [
    replace(case, name=f"{case.name}-cores", all_cores=True)
    for case in _LIST
    if case.name in ("simplechains", "mnist-mlp")
]
CASES: dict[str, Case] = {case.name: case for case in _LIST}


# ----------------------------------------------------------------------------------- data and initial weights


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters, under the names that `Sequential` gives them."""
    weights: dict[str, tuple[int, ...]]
    if case.layers:
        pairs = zip(case.layers, case.layers[1:])
        weights = {f"{2 * i}": (n, m) for i, (m, n) in enumerate(pairs)}
    else:
        weights = {"0": (6, 1, 5, 5), "3": (16, 6, 5, 5), "7": (120, 400), "9": (84, 120), "11": (10, 84)}
    named = ({f"{name}.weight": shape, f"{name}.bias": shape[:1]} for name, shape in weights.items())
    return {name: shape for both in named for name, shape in both.items()}


def initial_weights(case: Case) -> Arrays:
    """Drawn as PyTorch's layers do: U[-1/sqrt(n), 1/sqrt(n)] for n inputs."""
    rng = np.random.default_rng(1)
    weights: Arrays = {}
    bound = 1.0
    for name, shape in shapes(case).items():
        if name.endswith("weight"):
            bound = float(np.prod(shape[1:])) ** -0.5
        weights[name] = rng.uniform(-bound, bound, shape).astype(case.dtype)
    return weights


def epoch_data(case: Case) -> Arrays:
    """Inputs and targets of ``case.batches`` batches, one after the other."""
    rng = np.random.default_rng(2)
    rows = case.batch * case.batches
    x = rng.normal(size=(rows, case.layers[0]) if case.layers else (rows, 1, 28, 28))
    total = x.reshape(rows, -1).sum(axis=1, keepdims=True)
    y = np.sin(total + np.arange(case.layers[-1] if case.layers else 1))
    if case.inputs == "one-hot":  # two elements of three, and their distance: a Lennard-Jones energy
        elements = np.eye(3)[rng.integers(0, 3, (rows, 2))]
        distance = rng.uniform(0.98, 2.5, (rows, 1))
        x = np.concatenate([elements.reshape(rows, 6), distance], axis=1)
        y = 4.0 * (distance**-12 - distance**-6)
    data = {"x": x.astype(case.dtype), "y": y.astype(case.dtype)}
    if case.loss == "cross-entropy":
        data["y"] = rng.integers(0, 10, rows)
    if case.loss == "energies and forces":
        data["f"] = -np.broadcast_to(np.cos(total), x.shape).astype(case.dtype)
    return data


def batches(case: Case, data: Arrays) -> list[Arrays]:
    """The first ``case.check`` batches of the data."""
    n = case.batch
    return [{name: a[i * n : (i + 1) * n] for name, a in data.items()} for i in range(case.check)]


def first_losses(step: Callable[[Any], float], several: Iterable[Any]) -> tuple[list[float], list[float]]:
    """Losses of one batch after the other; and the moments before the first and after each."""
    losses, moments = [], [time.time()]
    for batch in several:
        losses.append(step(batch))
        moments.append(time.time())
    return losses, moments
