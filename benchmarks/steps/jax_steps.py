"""JAX: the whole step under ``jax.jit``, and the same step scanned over the batches of an epoch.

The best form that was found: the state is donated, so that it is updated in place; small networks keep
their parameters in one vector (16 µs instead of 40 a step for 1-20-10-5-1 with 10 points); a step is not
waited for before the next is asked for, only at the end of each chunk of measured steps.
"""

from __future__ import annotations

import os
from typing import Any

from . import cases
from .cases import Case, Runner

SMALL = 100_000


def build(column: str, case: Case) -> Runner:
    """One step per call, or with ``jax-scan`` one epoch."""
    jax = load()
    jnp = jax.numpy
    state, unpack = _state(jax, case)
    update = _update(jax, case, unpack)
    data = cases.epoch_data(case)
    chunks = {k: jnp.asarray(a).reshape(case.batches, case.batch, *a.shape[1:]) for k, a in data.items()}

    if column == "jax-scan":
        scan = jax.jit(lambda state, xs: jax.lax.scan(update, state, xs), donate_argnums=0)
        state, losses = scan(state, {k: a[: case.check] for k, a in chunks.items()})

        def epoch() -> Any:
            nonlocal state
            state, losses = scan(state, chunks)
            return losses.block_until_ready()

        return Runner([float(loss) for loss in losses], epoch, steps_per_call=case.batches)

    step = jax.jit(update, donate_argnums=0)
    several = [{k: a[i] for k, a in chunks.items()} for i in range(case.check)]
    first, last = several[0], None

    def once(batch: Any = first) -> Any:
        nonlocal state, last
        state, last = step(state, batch)
        return last

    losses, moments = cases.first_losses(lambda batch: float(once(batch)), several)

    note = "one vector of parameters" if case.parameters <= SMALL else ""
    return Runner(losses, once, finish=lambda: last.block_until_ready(), note=note, moments=moments)


def load() -> Any:
    """JAX in both precisions, on one core if this process was given one thread.

    XLA makes a thread per core that it may use; so it starts while it may use one only. Afterwards its
    threads may go where they like, as those of other frameworks.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    alone = os.environ.get("OMP_NUM_THREADS") == "1" and len(cores) > 1
    if alone:
        os.sched_setaffinity(0, {min(cores)})
    import jax

    jax.config.update("jax_enable_x64", True)
    (jax.numpy.zeros(3) + 1.0).block_until_ready()
    if alone:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cores)
    return jax


def _state(jax: Any, case: Case) -> tuple[Any, Any]:
    """Parameters, moments and step count; and how to get the parameters by name."""
    jnp = jax.numpy
    weights = {k: jnp.asarray(w) for k, w in cases.initial_weights(case).items()}
    unpack = lambda p: p  # noqa: E731
    if case.parameters <= SMALL:
        from jax.flatten_util import ravel_pytree

        weights, unpack = ravel_pytree(weights)
    zeros = lambda: jax.tree.map(jnp.zeros_like, weights)  # noqa: E731
    return (weights, zeros(), zeros(), jnp.zeros((), jnp.float64)), unpack


def _update(jax: Any, case: Case, unpack: Any) -> Any:
    """One step: state and batch in, state and loss out."""
    jnp = jax.numpy
    loss_of = _loss(jax, case)

    def adam(p: Any, g: Any, m: Any, v: Any, t: Any) -> tuple[Any, Any, Any]:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        scale, gain = (case.learning_rate / (1 - 0.9**t)).astype(p.dtype), (1 - 0.999**t).astype(p.dtype)
        return p - scale * m / (jnp.sqrt(v / gain) + 1e-8), m, v

    def momentum(p: Any, g: Any, m: Any, v: Any, t: Any) -> tuple[Any, Any, Any]:
        m = 0.9 * m + g
        return p - case.learning_rate * m, m, v

    rule = adam if case.optimizer == "adam" else momentum

    def update(state: Any, batch: Any) -> tuple[Any, Any]:
        p, m, v, t = state
        loss, g = jax.value_and_grad(lambda q: loss_of(unpack(q), batch))(p)
        new = jax.tree.map(lambda *arrays: rule(*arrays, t + 1.0), p, g, m, v)
        split = jax.tree.transpose(jax.tree.structure(p), jax.tree.structure((0, 0, 0)), new)
        return (*split, t + 1.0), loss

    return update


def _loss(jax: Any, case: Case) -> Any:
    """The loss as a function of the parameters by name and a batch."""
    jnp, lax = jax.numpy, jax.lax
    activation = {
        "GELU": lambda z: jax.nn.gelu(z, approximate=False),
        "SELU": jax.nn.selu,
        "Tanh": jnp.tanh,
        "ReLU": jax.nn.relu,
    }[case.activation]

    def dense(layers: list[tuple[Any, Any]], x: Any) -> Any:
        for i, (w, b) in enumerate(layers):
            x = x @ w.T + b
            x = activation(x) if i + 1 < len(layers) else x
        return x

    def convolution(x: Any, w: Any, b: Any, padding: int) -> Any:
        pads = [(padding, padding)] * 2  # channels last, as XLA likes it
        out = lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=("NHWC", "OIHW", "NHWC"))
        out = jax.nn.relu(out + b)
        return lax.reduce_window(out, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def network(p: Any, x: Any) -> Any:
        names = [k.removesuffix(".weight") for k in cases.shapes(case) if k.endswith("weight")]
        layers = [(p[f"{k}.weight"], p[f"{k}.bias"]) for k in names]
        if case.layers:
            return dense(layers, x)
        x = convolution(convolution(x.transpose(0, 2, 3, 1), *layers[0], 2), *layers[1], 0)
        return dense(layers[2:], x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1))

    def loss(p: Any, batch: Any) -> Any:
        x, y = batch["x"], batch["y"]
        if case.loss == "cross-entropy":
            return -jax.nn.log_softmax(network(p, x))[jnp.arange(case.batch), y].mean()
        if case.loss == "mse":
            return ((network(p, x) - y) ** 2).mean()
        energies, pull_back = jax.vjp(lambda positions: network(p, positions), x)
        slopes = pull_back(jnp.ones_like(energies))[0]
        return ((energies - y) ** 2).mean() + ((-slopes - batch["f"]) ** 2).mean()

    return loss
