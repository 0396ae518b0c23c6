"""Layers on four million float32 elements, forward and backward, as functions of input and cotangent.

The compiled forms return the output and the gradients of the input and of the layer's parameters; the
eager ones compute them and leave the gradients in ``.grad``, as their users do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import _common as common
import numpy as np

from .cases import Absent, Bars, Runner

SAMPLES = 4096


@dataclass(frozen=True)
class Layer:
    """One layer and the shape it works on."""

    name: str
    title: str
    shape: tuple[int, ...]
    quick_shape: tuple[int, ...]
    bars: Bars


_LIST = [
    Layer("gelu", "GELU", (4096, 1024), (64, 128), Bars(4.0, None, 1.0)),
    Layer("layer-norm", "layer norm", (4096, 1024), (64, 128), Bars(3.0, None, 1.0)),
    Layer("batch-norm", "batch norm", (64, 64, 32, 32), (4, 8, 16, 16), Bars(3.5, None, 1.0)),
    Layer("dropout", "dropout, p = 0.5", (4096, 1024), (64, 128), Bars(30.0, None, 1.0)),
]
LAYERS: dict[str, Layer] = {layer.name: layer for layer in _LIST}
COLUMNS = ("tinynn", "torch", "tinynn-compiled", "torch-compiled", "jax")
TOLERANCE = 2e-5  # of the largest element

Results = dict[str, "np.ndarray[Any, Any]"]
Made = tuple[Callable[[], Any], Callable[[], Any] | None, Callable[[], Results]]  # step, finish, read the results


def build(column: str, name: str, shape: tuple[int, ...]) -> tuple[Runner, dict[str, list[float]], str]:
    """What is timed, samples of each result, and what is wrong with them ('' where nothing is)."""
    if column not in COLUMNS:
        raise Absent("not written for it")
    rng = np.random.default_rng(3)
    x, cotangent = rng.normal(0.3, 2.0, shape).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    make = _jax if column == "jax" else _same_lines
    step, finish, read = make(column, name, x, cotangent)
    for _ in range(5):
        step()
    results = read()
    wrong = ""
    if name == "dropout":
        step()
        wrong = _dropout(x, cotangent, results, read())
    samples = {key: _samples(array) for key, array in results.items()} if name != "dropout" else {}
    return Runner([], step, finish=finish), samples, wrong


def _samples(array: np.ndarray[Any, Any]) -> list[float]:
    """Elements at fixed places, the mean, and the largest."""
    flat = array.reshape(-1).astype(np.float64)
    chosen = flat[np.random.default_rng(4).integers(0, flat.size, SAMPLES)]
    return [*chosen.tolist(), float(flat.mean()), float(np.abs(flat).max())]


def bandwidth(seconds: float, elements: int = 4 << 20) -> float:
    """Bytes per second that threads read and write together, from two large arrays to two others past the caches."""
    from numba import njit

    from tinynn.kernels.memory import aligned_empty
    from tinynn.kernels.simd import REGISTER_BYTES, drain, load, stream
    from tinynn.kernels.threads import share

    block = 1 << 16

    @njit(nogil=True)
    def move(first: int, last: int, x: Any, g: Any, out: Any, dx: Any) -> None:
        for i in range(np.uint64(first * block), np.uint64(last * block), np.uint64(REGISTER_BYTES // 4)):
            stream(out, i, load(x, i))
            stream(dx, i, load(g, i))
        drain()

    arrays = [aligned_empty((elements,), np.float32) for _ in range(4)]
    for array in arrays:
        array.fill(1.0)
    work = elements // block, 1e9, *arrays
    return 4.0 * arrays[0].nbytes / common.best_time(lambda: share(move, *work), seconds)


def difference(reference: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """The largest difference of the samples, relative to the largest element."""
    if reference.keys() != other.keys():
        return float("inf")
    pairs = ((np.array(reference[key]), np.array(other[key])) for key in reference)
    return max((float(np.abs(a - b).max() / max(a[-1], 1e-30)) for a, b in pairs), default=0.0)


def _dropout(x: Any, cotangent: Any, first: Results, second: Results) -> str:
    """Masks differ by design: half is kept (within five standard deviations), doubled, and drawn anew."""
    kept = first["out"] != 0.0
    if abs(kept.mean() - 0.5) > 2.5 / np.sqrt(kept.size):
        return f"keeps {kept.mean():.4f}"
    if not np.array_equal(first["out"], np.where(kept, 2 * x, 0)):
        return "output not doubled"
    if not np.array_equal(first["d x"], np.where(kept, 2 * cotangent, 0)):
        return "gradient has another mask"
    return "the same mask twice" if np.array_equal(kept, second["out"] != 0.0) else ""


def _same_lines(column: str, name: str, x: Any, cotangent: Any) -> Made:
    """tinynn and PyTorch, eager and compiled."""
    from . import same_lines

    nx = same_lines.load(column)
    nx.set_default_dtype(same_lines.dtype_of(nx, "float32"))
    nx.manual_seed(0)
    layer = {
        "gelu": lambda: nx.nn.GELU(),
        "layer-norm": lambda: nx.nn.LayerNorm(x.shape[-1]),
        "batch-norm": lambda: nx.nn.BatchNorm2d(x.shape[1]),
        "dropout": lambda: nx.nn.Dropout(0.5),
    }[name]()
    source, given = nx.tensor(x).requires_grad_(), nx.tensor(cotangent)
    names = ["d x", *(f"d {key}" for key, _ in layer.named_parameters())]
    last: Any = None

    def eager() -> None:
        nonlocal last
        for leaf in (source, *layer.parameters()):
            leaf.grad = None
        out = layer(source)
        out.backward(given)
        last = (out, source.grad, *(p.grad for p in layer.parameters()))

    grad = nx.autograd.grad if nx.__name__ == "torch" else nx.grad

    def function(source: Any, given: Any) -> Any:
        out = layer(source)
        return (out, *grad(out, (source, *layer.parameters()), given))

    if column == "tinynn-compiled":
        fast = nx.compile(function)
    elif column == "torch-compiled":
        forward = nx.compile(layer)  # its backward pass is compiled with it

        def fast(source: Any, given: Any) -> Any:
            out = forward(source)
            return (out, *grad(out, (source, *layer.parameters()), given))

    def compiled() -> None:
        nonlocal last
        last = fast(source, given)

    def read() -> Results:
        arrays = (np.array(value.detach().numpy()) for value in last)
        return dict(zip(("out", *names), arrays, strict=True))

    return compiled if column.endswith("compiled") else eager, None, read


def _jax(column: str, name: str, x: Any, cotangent: Any) -> Made:
    """JAX: one function under ``jit``; random numbers by the fastest of its generators on a CPU."""
    from .jax_steps import load

    jax = load()
    jnp = jax.numpy

    def normed(z: Any, axes: tuple[int, ...]) -> Any:
        mean = z.mean(axes, keepdims=True)
        return (z - mean) * jax.lax.rsqrt(((z - mean) ** 2).mean(axes, keepdims=True) + 1e-5)

    def layer(z: Any, w: Any, b: Any, key: Any) -> Any:
        if name == "gelu":
            return jax.nn.gelu(z, approximate=False)
        if name == "layer-norm":
            return normed(z, (-1,)) * w + b
        if name == "batch-norm":
            return normed(z, (0, 2, 3)) * w[:, None, None] + b[:, None, None]
        return jnp.where(jax.random.bernoulli(key, 0.5, z.shape), 2.0 * z, 0.0)

    def both(z: Any, w: Any, b: Any, key: Any, given: Any) -> Any:
        key, now = jax.random.split(key)
        out, pull_back = jax.vjp(lambda *leaves: layer(*leaves, now), z, w, b)
        return key, (out, *pull_back(given))

    run = jax.jit(both)
    n = {"layer-norm": x.shape[-1], "batch-norm": x.shape[1]}.get(name, 1)
    z, given = jnp.asarray(x), jnp.asarray(cotangent)
    w, b = jnp.ones(n, jnp.float32), jnp.zeros(n, jnp.float32)
    key, last = jax.random.key(0, impl="rbg"), None

    def step() -> None:
        nonlocal key, last
        key, last = run(z, w, b, key, given)

    def read() -> Results:
        names = ("out", "d x", "d weight", "d bias")[: 4 if "norm" in name else 2]
        return dict(zip(names, map(np.array, last)))

    return step, lambda: jax.block_until_ready(last), read
