"""Loops printed as CUDA: run on the CPU against NumPy, and compiled for GPUs by NVRTC or nvcc."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.compiler import emulated, nvrtc
from tinynn.kernels.cuda_launch import SCRATCH, Walk, Work, arrange, launch_shape
from tinynn.kernels.loops import evaluate
from tinynn.kernels.symbols import Symbol, symbolic

on_cpu = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not there to run CUDA code on the CPU")
REDUCE = {"sum": np.sum, "max": np.max, "min": np.min}
A = [Symbol.variable(f"a{i}") for i in range(4)]


def run(work: Work, arrays: dict[Any, np.ndarray]) -> None:
    """Launch the kernels of a loop on the CPU."""
    arrays = {**arrays, SCRATCH: np.full(work.scratch_bytes + 8, 255, np.uint8)}
    for launch in work.launches(lambda walk: arrays[walk.base].ctypes.data + walk.offset):
        emulated.Kernel(launch.source, launch.name, launch.types)(launch.grid, launch.block, launch.arguments)


def strides_of(array: np.ndarray) -> tuple[int, ...]:
    return tuple(s // array.itemsize for s in array.strides)


def check(
    space: tuple[int, ...], inputs: list[np.ndarray], expressions: list[Symbol], kinds: list[Any], dtype: str,
    scales: list[float] | None = None,
) -> Work:  # fmt: skip
    """``kinds``: "" or (kind, axes) for each expression."""
    values = evaluate(expressions, {f"a{i}": np.broadcast_to(x, space) for i, x in enumerate(inputs)}, dtype)
    scales = scales or [1.0] * len(expressions)
    outputs, walks, wanted, names = [], [], [], []
    for number, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        value = np.broadcast_to(value, space)
        kind, axes = kind or ("", ())
        if kind:
            value = REDUCE[kind](value.astype("float64"), axis=axes, keepdims=True) * scales[number]
        out = np.full(value.shape, np.nan if kind or value.dtype.kind == "f" else 0, dtype if kind else value.dtype)
        outputs.append(out)
        wanted.append(value)
        steps = [0 if i in axes else s for i, s in enumerate(strides_of(out))]
        walks.append(Walk(f"out{number}", 0, tuple(steps), out.dtype.name))
        names.append(kind)
    given = [np.broadcast_to(x, space) for x in inputs]
    reads = []
    for i, x in enumerate(given):
        steps = tuple(s if n > 1 else 0 for s, n in zip(strides_of(x), space, strict=True))
        reads.append(Walk(f"in{i}", 0, steps, x.dtype.name))
    work = arrange(space, dtype, reads, [f"a{i}" for i in range(len(inputs))], expressions, walks, names, scales)
    arrays = {f"in{i}": x for i, x in enumerate(given)} | {f"out{i}": x for i, x in enumerate(outputs)}
    run(work, arrays)
    for out, value in zip(outputs, wanted, strict=True):
        scale = max(np.abs(value[np.isfinite(value)]).max(initial=0.0), 1e-300) if value.dtype.kind == "f" else 1
        np.testing.assert_allclose(out, value, rtol=2e-6 if dtype == "float32" else 1e-13,
                                   atol=scale * (1e-6 if dtype == "float32" else 1e-14))  # fmt: skip
    again = {name: np.array(array) if name.startswith("out") else array for name, array in arrays.items()}
    run(work, again)  # blocks and threads take turns in another order
    for number, out in enumerate(outputs):
        np.testing.assert_array_equal(again[f"out{number}"], out)
    return work


@on_cpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_elementwise_functions(dtype: str) -> None:
    x = np.linspace(-4.0, 4.0, 801).astype(dtype)
    a, xp = A[0], symbolic
    check((801,), [x], [
        xp.exp(a), xp.tanh(a), xp.normal_cdf(a) * a, xp.where(a > 0.0, a, xp.expm1(a)), xp.sqrt(abs(a)), a**3,
        xp.sin(a) * xp.cos(a), xp.log1p(abs(a)), xp.maximum(a, 0.5), xp.sign(a), a % 1.5, a // 1.5, a > 1.0,
        xp.logical_and(a > 0.0, a < 1.0),
    ], [""] * 14, dtype)  # fmt: skip


@on_cpu
def test_nan_infinity_and_masks() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 5.0, -5.0])
    mask = np.array([True, False] * 4)
    number = np.arange(8)
    m = Symbol.variable("a1", is_bool=True)
    expressions = [symbolic.isnan(A[0]), symbolic.where(m, A[0], A[2] * 2.0), symbolic.maximum(A[0], 0.0), A[2] + m]
    check((8,), [x, mask, number], expressions, [""] * 4, "float64")
    for kind in ("max", "min", "sum"):
        check((2, 4), [x.reshape(2, 4)], [A[0]], [(kind, (1,))], "float64")


@on_cpu
@pytest.mark.parametrize("seed", range(6))
def test_any_strides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = tuple(map(int, rng.integers(1, 6, rng.integers(1, 5))))
    inputs = []
    for _ in range(3):
        order = rng.permutation(len(space))
        x = rng.normal(size=[space[i] * (2 if rng.random() < 0.3 else 1) for i in order]).transpose(np.argsort(order))
        x = x[tuple(slice(None, None, 2) if x.shape[i] > space[i] else slice(None) for i in range(len(space)))]
        x = x[tuple(slice(None, None, -1) if rng.random() < 0.3 else slice(None) for _ in space)]
        x = x[tuple(slice(0, 1) if rng.random() < 0.3 else slice(None) for _ in space)]
        inputs.append(x)
    expressions = [A[0] * A[1] + A[2], A[0] - A[2], symbolic.exp(A[1]) * A[0]]
    axes = tuple(int(i) for i in range(len(space)) if rng.random() < 0.5)
    other = tuple(int(i) for i in range(len(space)) if rng.random() < 0.5)
    kinds = [("sum", axes) if axes else "", "", ("max", other) if other else ""]
    check(space, inputs, expressions, kinds, "float64", [0.25, 1.0, 1.0])


@on_cpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((100_000,), (0,)), ((7, 9000), (1,)), ((9000, 7), (0,)), ((300, 40), (0,)), ((300, 40), (1,)),
     ((3, 5000, 2), (1,)), ((40, 3, 50), (0, 2)), ((64, 64), (0, 1)), ((1, 1), (0, 1)), ((33, 1), (1,))],
)  # fmt: skip
def test_sums(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    check(shape, [x], [A[0] * A[0], A[0]], [("sum", axes), ("max", axes)], dtype, [0.5, 1.0])
    if len(shape) == 2:
        order = np.ascontiguousarray(x.T).T  # read along the other axis
        check(shape, [order], [A[0], 2.0 * A[0]], [("sum", axes), ""], dtype)


@on_cpu
def test_rows_columns_and_elements_at_once() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50, 30))
    kinds = [("sum", (0,)), ("sum", (1,)), ("sum", (0, 1)), ""]
    work = check((50, 30), [x, y], [A[0] * A[1], A[0], A[1], A[0] - A[1]], kinds, "float64")
    assert len(work.kernels) == 3, "one kernel for each set of axes"


@on_cpu
def test_written_over_an_input_after_it_is_summed() -> None:
    x = np.random.default_rng(0).normal(size=(20, 30))
    column, row = np.zeros(30), np.zeros(20)
    old = x.copy()
    walk = Walk("x", 0, (30, 1), "float64")
    outputs = [walk, Walk("column", 0, (0, 1), "float64"), Walk("row", 0, (1, 0), "float64")]
    expressions, kinds = [A[0] * 2.0, A[0], A[0]], ["", "sum", "sum"]
    work = arrange((20, 30), "float64", [walk], ["a0"], expressions, outputs, kinds, [1.0] * 3)
    run(work, {"x": x, "column": column, "row": row})
    np.testing.assert_allclose(column, old.sum(0), rtol=1e-12)
    np.testing.assert_allclose(row, old.sum(1), rtol=1e-12)
    np.testing.assert_array_equal(x, 2.0 * old)


def test_kernels_are_shared_by_shapes() -> None:
    def source(n: int, m: int) -> list[str]:
        walk, out = Walk("x", 0, (m, 1), "float32"), Walk("y", 0, (0, 1), "float32")
        return arrange((n, m), "float32", [walk], ["a0"], [A[0]], [out], ["sum"], [1.0]).sources

    assert source(3, 4) == source(30, 40)
    assert len(source(100_000, 40)) == 2


def test_large_arrays_get_64_bit_indices() -> None:
    walk, out = Walk("x", 0, (1,), "float32"), Walk("y", 0, (1,), "float32")
    work = arrange((1 << 31,), "float32", [walk], ["a0"], [-A[0]], [out], [""], [1.0])
    assert "typedef long long I" in work.sources[0]
    (launch,) = work.launches(lambda walk: 0)
    assert launch.arguments[-1] == 1 << 31


@pytest.mark.parametrize("kept", [1, 5, 32, 1000, 4096])
@pytest.mark.parametrize("terms", [1, 3, 100, 4096, 10_000_000])
@pytest.mark.parametrize("across", [True, False])
def test_launches_fit_any_device(kept: int, terms: int, across: bool) -> None:
    lanes, places, blocks, parts = launch_shape(kept, terms, across)
    assert lanes * places <= 256
    assert lanes & (lanes - 1) == 0
    assert blocks * places >= kept
    assert 1 <= parts <= 1024


@nvrtc.needed
@pytest.mark.nvrtc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_compiles_for_gpus(architecture: str) -> None:
    m = Symbol.variable("a1", is_bool=True)
    a, xp = A[0], symbolic
    for dtype in ("float32", "float64"):
        walks = [Walk("x", 0, (40, 1), dtype), Walk("m", 0, (0, 1), "bool"), Walk("i", 0, (1, 40), "int64")]
        outs = [Walk(f"y{i}", 0, s, t) for i, (s, t) in enumerate(
            [((40, 1), dtype), ((40, 1), "bool"), ((0, 1), dtype), ((40, 0), dtype), ((0, 0), dtype)])]  # fmt: skip
        expressions = [
            xp.where(m, xp.normal_cdf(a) * xp.tanh(a) + xp.erf(a) ** 3, A[2] % 3.0), xp.isnan(a), xp.exp(a),
            xp.maximum(a, A[2]), a // 2.0 + xp.sign(a) + xp.log1p(abs(a)),
        ]  # fmt: skip
        work = arrange((2000, 40), dtype, walks, ["a0", "a1", "a2"], expressions, outs, ["", "", "sum", "max", "min"],
                       [1.0] * 5)  # fmt: skip
        for source in work.sources:
            ptx = nvrtc.compiled(source, architecture)
            assert ".entry" in ptx
            assert f".target {architecture}" in ptx
