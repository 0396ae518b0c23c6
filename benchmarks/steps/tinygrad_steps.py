"""tinygrad: the step under ``TinyJit``, on the CPU. It needs clang, or a name for it in the variable ``CC``."""

from __future__ import annotations

import os
import shutil
from typing import Any

from . import cases
from .cases import Absent, Case, Runner


def build(column: str, case: Case) -> Runner:
    """A step on a batch."""
    compiler = next(filter(shutil.which, ("clang", *(f"clang-{n}" for n in range(22, 13, -1)))), None)
    if "CC" not in os.environ:
        if compiler is None:
            raise Absent("no clang here")
        os.environ["CC"] = compiler
    os.environ.setdefault("DEV", "CPU")
    os.environ.setdefault("NUM_CPU_THREADS", os.environ["OMP_NUM_THREADS"])
    if case.loss == "energies and forces":
        raise Absent("gradients of gradients not tried")
    os.environ["DEFAULT_FLOAT"] = case.dtype.upper()  # read when tinygrad is imported
    os.environ["OPTIM_DTYPE"] = case.dtype
    from tinygrad import Context, Tensor, TinyJit, nn

    weights = [Tensor(w).realize() for w in cases.initial_weights(case).values()]
    if case.optimizer == "adam":
        optimizer: Any = nn.optim.Adam(weights, lr=case.learning_rate)
    else:
        optimizer = nn.optim.SGD(weights, lr=case.learning_rate, momentum=0.9)
    root = 2.0**-0.5
    activation = {
        "GELU": lambda z: 0.5 * z * (1.0 + (z * root).erf()),
        "SELU": lambda z: z.selu(alpha=1.6732632423543772, gamma=1.0507009873554805),
        "Tanh": lambda z: z.tanh(),
        "ReLU": lambda z: z.relu(),
    }[case.activation]

    def dense(p: list[Any], x: Any) -> Any:
        for i in range(0, len(p), 2):
            x = x.linear(p[i].T, p[i + 1])
            x = activation(x) if i + 2 < len(p) else x
        return x

    def lenet(p: list[Any], x: Any) -> Any:
        x = x.conv2d(p[0], p[1], padding=2).relu().max_pool2d((2, 2))
        x = x.conv2d(p[2], p[3]).relu().max_pool2d((2, 2))
        return dense(p[4:], x.flatten(1))

    network = dense if case.layers else lenet

    @TinyJit
    def step(x: Any, y: Any) -> Any:
        with Context(TRAINING=1):
            optimizer.zero_grad()
            out = network(weights, x)
            loss = out.sparse_categorical_crossentropy(y) if case.loss == "cross-entropy" else (out - y).square().mean()
            loss.backward()
            return loss.realize(*optimizer.schedule_step())

    several = [
        tuple(Tensor(a).realize() for a in batch.values()) for batch in cases.batches(case, cases.epoch_data(case))
    ]
    losses = [float(step(*batch).numpy()) for batch in several]
    x, y = several[0]
    last: Any = None

    def once() -> None:
        nonlocal last
        last = step(x, y)

    return Runner(losses, once, finish=lambda: last.numpy())
