"""Loop kernels against NumPy's evaluation of the same expressions: ranks, walks, reductions, kinds, odd sizes."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynn.kernels import disk_cache, loops
from tinynn.kernels.loops import Access, LoopSpec, Unsupported, compile_loop, evaluate, row_words, supported
from tinynn.kernels.machine_code import assembly
from tinynn.kernels.native import drive
from tinynn.kernels.symbols import Symbol, symbolic, trace

xp = symbolic
DTYPES = ["float64", "float32"]
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # interpreted kernels meet inf - inf, too
compiled_only = pytest.mark.skipif(PLAIN, reason="looks at machine code")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(disk_cache.VARIABLE, str(tmp_path_factory.mktemp("kernels")))
        disk_cache.directory.cache_clear()
        loops._compiled.clear()
        yield
    disk_cache.directory.cache_clear()
    loops._compiled.clear()


def aligned(shape, dtype):
    """An array at a multiple of 64 bytes with 64 bytes after it, all of them NaN."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.full(size + 192, 255, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def operand(access, sizes, dtype, rng, order=None):
    """An array over which to walk: `whole` in memory, and `array` as seen from all loops (by broadcasting)."""
    kept = [n if moves else 1 for n, moves in zip(sizes, access.axes)]
    if access.axes[-1] == 2:
        kept[-1] *= 3
    kind = {"real": dtype, "bool": "bool", "int": "int64"}[access.kind]
    order = list(range(len(kept) - 1)) if order is None else order
    stored = aligned([kept[axis] for axis in order] + kept[-1:], kind)
    stored[...] = rng.normal(size=stored.shape) * 2 if access.kind != "bool" else rng.random(stored.shape) < 0.5
    array = stored.transpose([*np.argsort(order), len(kept) - 1]) if order else stored
    return array[..., ::3] if access.axes[-1] == 2 else array


def require_avx():
    codegen = pytest.importorskip("numba.core.codegen")
    if "+avx" not in codegen.get_host_cpu_features():
        pytest.skip("reads the assembly of an x86-64 processor with AVX")


def machine_code(spec):
    kernel = compile_loop(spec)
    return assembly(disk_cache.load(kernel.source, kernel.name).written())


def run(spec, sizes, arrays):
    compiled = compile_loop(spec, "made by a test")
    words = row_words(
        spec, sizes, [(a.ctypes.data, [s // a.itemsize for s in a.strides]) for a in arrays], compiled.address
    )
    drive(np.array(words, np.int64), 1)


def expected(spec, sizes, inputs):
    """What a loop should give, from NumPy, in float64."""
    values = {f"a{k}": np.broadcast_to(a, sizes) for k, a in enumerate(inputs)}
    values = {name: a.astype(float) if a.dtype.kind == "f" else a for name, a in values.items()}
    results = []
    for k, value in enumerate(evaluate(spec.expressions, values, "float64")):
        value = np.broadcast_to(value, sizes)
        if spec.reductions[k]:
            over = tuple(axis for axis, moves in enumerate(spec.outputs[k].axes) if not moves)
            value = value.astype(float)
            start = {"sum": 0.0, "max": -np.inf, "min": np.inf}[spec.reductions[k]]
            with np.errstate(invalid="ignore"):
                value = getattr(np, spec.reductions[k])(value, axis=over, keepdims=True, initial=start)
            if spec.scales:
                value = value * spec.scales[k]
        results.append(value)
    return results


def check(spec, sizes, seed=0, orders=None, special=False):
    rng = np.random.default_rng(seed)
    orders = orders or [None] * len(spec.operands)
    arrays = [operand(a, sizes, spec.dtype, rng, order) for a, order in zip(spec.operands, orders)]
    inputs = arrays[: len(spec.inputs)]
    if special:
        for a in inputs:
            if a.dtype.kind == "f":
                a[rng.random(a.shape) < 0.2] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    wanted = expected(spec, sizes, [a.copy() for a in inputs])
    untouched = [a.copy() for a in inputs]
    if spec.is_flat:
        sizes = (-(-sizes[0] // spec.lanes) * spec.lanes,)
    run(spec, sizes, arrays)
    new = iter(arrays[len(spec.inputs) :])
    tolerance = 60 * np.finfo(spec.dtype).eps * (math.prod(sizes) ** 0.5 + 1)
    for k, over in enumerate(spec.inout):
        result = arrays[over] if over >= 0 else next(new)
        np.testing.assert_allclose(result, wanted[k].astype(result.dtype), rtol=tolerance, atol=tolerance)
    for k, a in enumerate(inputs):
        if k not in spec.inout:
            np.testing.assert_array_equal(a, untouched[k])


def flat(formula, n_arrays, n_scalars=0, dtype="float64", inout=None):
    expressions = trace(formula, [f"a{k}" for k in range(n_arrays + n_scalars)])
    count = len(expressions)
    accesses = (Access((1,)),) * n_arrays + (Access((0,)),) * n_scalars
    outputs = tuple(Access((1,), "bool" if e.is_bool else "real") for e in expressions)
    return LoopSpec(dtype, 1, accesses, expressions, outputs, ("",) * count, inout or (-1,) * count)


def gelu_and_slope(x):
    t = x * math.sqrt(0.5)
    cumulative = 0.5 * (1.0 + xp.erf(t))
    return x * cumulative, cumulative + x * (xp.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))


def adam(p, g, m, v, lr, beta1, beta2, eps):
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    return p - lr * m / (xp.sqrt(abs(v)) + abs(eps)), m, v


A = [Symbol.variable(f"a{k}") for k in range(4)]
FLAGS = [Symbol.variable(f"a{k}", is_bool=True) for k in range(4)]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 100, 1003])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: flat(gelu_and_slope, 1, dtype=dtype),
        lambda dtype: flat(lambda x: xp.tanh(x) * xp.exp(x) + xp.log(abs(x)), 1, dtype=dtype),
        lambda dtype: flat(adam, 4, 4, dtype, inout=(0, 2, 3)),
        lambda dtype: flat(adam, 4, 4, dtype),
        lambda dtype: flat(lambda x, y: (x > y, xp.where(x > y, x, 2.0), x + (x > y)), 2, dtype=dtype),
        lambda dtype: flat(lambda x, y: (y, x), 2, dtype=dtype, inout=(0, 1)),  # exchanged
        lambda dtype: flat(lambda x: (xp.maximum(x, 0.3), xp.sign(x), xp.floor(x)), 1, dtype=dtype),
        lambda dtype: flat(lambda: 2.5, 0, dtype=dtype),
    ],
)
def test_flat_loops(make, dtype, n):
    check(make(dtype), (n,))
    check(make(dtype), (n,), special=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [64, 1600, 4096])
def test_results_past_the_caches(dtype, n):
    """The same numbers; what the other output gets goes the usual way."""
    rng = np.random.default_rng(n)
    x, y = (np.asarray(rng.normal(size=n), dtype) for _ in range(2))
    a0, a1 = Symbol.variable("a0"), Symbol.variable("a1")
    one = Access((1,))
    usual = LoopSpec(dtype, 1, (one, one), (xp.tanh(a0) * a1, a0 - a1), (one, one), ("", ""), (-1, -1))
    for streamed in ((0,), (1,), (0, 1)):
        results = []
        for spec in (usual, replace(usual, streamed=streamed)):
            arrays = [aligned((n,), dtype) for _ in range(4)]
            arrays[0][...], arrays[1][...] = x, y
            run(spec, (n,), arrays)
            results.append(arrays[2:])
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(Unsupported, match="past the caches"):
        compile_loop(replace(usual, outputs=(one, Access((2,))), streamed=(1,)))


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_past_the_caches(dtype):
    require_avx()
    one, a0, a1 = Access((1,)), Symbol.variable("a0"), Symbol.variable("a1")
    usual = LoopSpec(dtype, 1, (one, one), (a0 * a1, a0 - a1), (one, one), ("", ""), (-1, -1))
    for streamed in ((), (1,), (0, 1)):
        text = machine_code(replace(usual, streamed=streamed))
        stores = re.findall(r"\bv?movnt\w+", text)
        assert bool(stores) == bool(streamed)
        assert len(stores) % max(len(streamed), 1) == 0
        assert ("sfence" in text) == bool(streamed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(1,), (0, 1), (1, 0), (1, 2), (0, 2)])
def test_truth_values_and_whole_numbers(axes, dtype):
    rank = len(axes)
    everywhere = (1,) * rank
    inputs = (Access(axes, "bool"), Access(axes, "int"), Access(everywhere), Access(everywhere, "bool"))
    expressions = (xp.where(FLAGS[0], A[1] * 0.5, A[2]), FLAGS[0] & ~FLAGS[3], A[2] + FLAGS[3], A[1])
    outputs = (Access(everywhere), Access(everywhere, "bool"), Access(everywhere), Access(everywhere, "int"))
    check(LoopSpec(dtype, rank, inputs, expressions, outputs, ("",) * 4, (-1,) * 4), (5, 19)[-rank:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_and_its_gradient_in_one_loop(dtype):
    error = A[0] - A[1]
    spec = LoopSpec(
        dtype, 1, (Access((1,)), Access((1,))), (error * error, 2.0 * error, abs(error)),
        (Access((0,)), Access((1,)), Access((0,))), ("sum", "", "max"), (-1, -1, -1), (0.25, 1.0, 1.0),
    )  # fmt: skip
    for n in (0, 1, 9, 37, 5000):
        check(spec, (n,))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["sum", "max", "min"])
@pytest.mark.parametrize(
    "kept", [(0,), (0, 0), (1, 0), (0, 1), (1, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0, 1, 0)]
)
def test_reductions(kept, reduction, dtype):
    rank = len(kept)
    inputs = (Access((1,) * rank), Access(kept), Access((1,) * (rank - 1) + (2,)))
    scales = (-0.5,) if reduction == "sum" else ()
    spec = LoopSpec(dtype, rank, inputs, (A[0] * A[1] + A[2],), (Access(kept),), (reduction,), (-1,), scales)
    for sizes in [(3, 2, 5, 4, 7), (6, 1, 2, 3, 33), (0, 3, 0, 2, 0), (2, 0, 3, 0, 4)]:
        check(spec, sizes[-rank:])
        check(spec, sizes[-rank:], special=True)


def accesses(rank):
    outer = [st.sampled_from((0, 1))] * (rank - 1)
    return st.builds(
        lambda axes, kind: Access(axes, kind),
        st.tuples(*outer, st.sampled_from((0, 1, 1, 2))), st.sampled_from(("real", "real", "real", "bool", "int")),
    )  # fmt: skip


@st.composite
def any_loop(draw):
    rank = draw(st.integers(1, 5))
    inputs = tuple(draw(st.lists(accesses(rank), min_size=1, max_size=3)))
    a = [Symbol.variable(f"a{k}", access.kind == "bool") for k, access in enumerate(inputs)]
    x, y, z = (a * 3)[:3]
    forms = [x + y * z, xp.where(x > y, z, 0.5), xp.exp(-abs(x)) * y, x - 1.0, (x > 0.5) & (y < 1.0), xp.tanh(x + y)]
    outputs, expressions, reductions = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        reduction = draw(st.sampled_from(("", "", "sum", "max", "min")))
        expression = draw(st.sampled_from(forms))
        access = draw(accesses(rank))
        axes = access.axes if reduction else (*(1,) * (rank - 1), access.axes[-1] or 1)
        outputs.append(Access(axes, "bool" if expression.is_bool and not reduction else "real"))
        expressions.append(expression)
        reductions.append(reduction)
    count = len(outputs)
    return LoopSpec(
        draw(st.sampled_from(DTYPES)),
        rank,
        inputs,
        tuple(expressions),
        tuple(outputs),
        tuple(reductions),
        (-1,) * count,
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(any_loop(), st.data())
def test_any_loop(spec, data):
    assert supported(spec)
    sizes = tuple(data.draw(st.integers(0, 5)) for _ in range(spec.rank - 1)) + (data.draw(st.integers(0, 40)),)
    orders = [data.draw(st.permutations(range(spec.rank - 1))) for _ in spec.operands]
    check(spec, sizes, orders=orders)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_with_a_rank(dtype):
    everywhere = Access((1, 1))
    spec = LoopSpec(
        dtype, 2, (everywhere, Access((0, 1)), Access((1, 0))), (A[0] * 0.5 + A[1], A[2] + A[0]),
        (everywhere, Access((1, 0))), ("", "sum"), (0, 2),
    )  # fmt: skip
    inputs = [operand(a, (4, 11), dtype, np.random.default_rng(0)) for a in spec.inputs]
    wanted = [a.copy() for a in expected(spec, (4, 11), inputs)]
    run(spec, (4, 11), inputs)
    np.testing.assert_allclose(inputs[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(inputs[2], wanted[1], rtol=1e-5)


@compiled_only
@pytest.mark.parametrize("shape", [(4_000_000,), (400, 10_000), (100_000, 40)])
def test_long_sums_keep_their_digits(shape):
    rank = len(shape)
    spec = LoopSpec("float32", rank, (Access((1,) * rank),), (A[0],), (Access((0,) * rank),), ("sum",), (-1,))
    x, out = aligned(shape, "float32"), aligned((1,) * rank, "float32")
    x[...] = np.random.default_rng(0).random(shape)
    run(spec, shape, [x, out])
    np.testing.assert_allclose(out.ravel()[0], x.sum(dtype=float), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float16"}, "float64 or float32"),
        ({"rank": 3}, "for each of 3 loops"),
        ({"outputs": (Access((1, 0)),)}, "stored at every point"),
        ({"outputs": (Access((1, 0)),), "reductions": ("product",)}, "no reduction 'product'"),
        ({"inout": (1,)}, "walk differently"),
        ({"inputs": (Access((1, 1)),)}, "a0, a1, ... for its 1 inputs, got a1"),
        ({"inputs": (Access((2, 1)), Access((0, 1)))}, "0 or 1"),
        ({"inputs": (Access((1, 1), "complex"), Access((0, 1)))}, "'complex'"),
        ({"outputs": (Access((0, 1)),), "reductions": ("sum",), "inout": (1,)}, "in memory"),
        ({"outputs": (Access((0, 1)),), "reductions": ("max",), "scales": (2.0,)}, "only sums"),
        ({"outputs": ()}, "one expression"),
    ],
)
def test_what_is_not_supported_is_said(change, message):
    good = {
        "dtype": "float64", "rank": 2, "inputs": (Access((1, 1)), Access((0, 1))), "expressions": (A[0] + A[1],),
        "outputs": (Access((1, 1)),), "reductions": ("",), "inout": (-1,),
    }  # fmt: skip
    assert supported(LoopSpec(**good))
    spec = LoopSpec(**{**good, **change})
    assert not supported(spec)
    with pytest.raises(Unsupported, match=re.escape(message)):
        compile_loop(spec)


def test_rows_are_checked():
    spec = flat(lambda x: x + 1.0, 1)
    assert row_words(spec, (16,), [(640, (1,)), (1280, (1,))], 7) == [7, 5, 16, 640, 1280]
    with pytest.raises(ValueError, match="multiple of 8, got 15"):
        row_words(spec, (15,), [(640, (1,)), (1280, (1,))])
    with pytest.raises(ValueError, match="2 operands, got 1 and 1"):
        row_words(spec, (16,), [(640, (1,))])
    nested = LoopSpec("float64", 2, (Access((1, 0)), Access((1, 2))), (A[0],), (Access((1, 1)),), ("",), (-1,))
    assert row_words(nested, (2, 3), [(64, (5, 9)), (128, (6, 2)), (192, (3, 1))]) == [
        0, 11, 2, 3, 64, 5, 128, 6, 2, 192, 3
    ]  # fmt: skip


def test_the_same_specification_gives_the_same_kernel():
    assert compile_loop(flat(lambda x: x + 1.0, 1)) is compile_loop(flat(lambda x: x + 1.0, 1))
    assert flat(lambda x: x + 1.0, 1) != flat(lambda x: x + 2.0, 1)
    assert flat(lambda x: x + 1.0, 1) != flat(lambda x: x + 1.0, 1, dtype="float32")


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_loops_are_vectorised(dtype):
    require_avx()
    everywhere, over = Access((1, 1)), ("sum",)
    flats = [
        flat(gelu_and_slope, 1, dtype=dtype),
        flat(lambda x: xp.tanh(x), 1, dtype=dtype),
        flat(adam, 4, 4, dtype, inout=(0, 2, 3)),
        flat(lambda a, b, c, d: (a + b, b * c, c - d, d * a, xp.exp(a)), 4, dtype=dtype),
    ]
    nested = [
        LoopSpec(dtype, 2, (everywhere,), (A[0],), (Access((0, 1)),), over, (-1,)),
        LoopSpec(dtype, 2, (everywhere,), (A[0] * A[0],), (Access((1, 0)),), over, (-1,)),
        LoopSpec(dtype, 2, (everywhere,), (xp.exp(A[0]),), (Access((0, 0)),), over, (-1,)),
        LoopSpec(dtype, 2, (everywhere, Access((0, 1))), (xp.tanh(A[0] + A[1]),), (everywhere,), ("",), (-1,)),
        LoopSpec(dtype, 2, (everywhere,), (A[0],), (Access((1, 0)),), ("max",), (-1,)),
        LoopSpec(dtype, 2, (everywhere,), (A[0],), (Access((0, 1)),), ("max",), (-1,)),
        LoopSpec(dtype, 2, (everywhere, Access((1, 0))), (xp.exp(A[0] - A[1]),) * 2, (everywhere, Access((1, 0))),
                 ("", "sum"), (-1, -1)),
    ]  # fmt: skip
    packed, single = ("ps", "ss") if dtype == "float32" else ("pd", "sd")
    for spec in (*flats, *nested):
        code = machine_code(spec)
        wide = [line for line in code.splitlines() if re.search(rf"v\w+{packed}\s.*[yz]mm", line)]
        assert len(wide) >= 2, compile_loop(spec).source
        if spec in flats:  # nothing is left over, and nothing is compared to find that operands do not overlap
            assert not re.search(rf"v(fm\w+|mul|div|mov){single}\s.*\(%r\w+,%r\w+", code)


@compiled_only
def test_the_machine_code_is_kept(tmp_path):
    program = """
import time
from tinynn.kernels import native
from tinynn.kernels.loops import *
from tinynn.kernels.symbols import Symbol, symbolic
kernels = []
for k in range(5):
    a0 = Symbol.variable("a0")
    spec = LoopSpec("float32", 1, (Access((1,)),), (symbolic.tanh(a0) * (k + 2.0),), (Access((1,)),), ("",), (-1,))
    start = time.perf_counter()
    kernels.append(compile_loop(spec))
    seconds = time.perf_counter() - start
print(sum(kernel.function.cache_hits for kernel in kernels), seconds)
"""
    environment = {**os.environ, disk_cache.VARIABLE: str(tmp_path)}
    results = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [int(hits) for hits, _ in results] == [0, 5]
    assert float(results[1][1]) < 0.05  # 0.003 on a quiet machine


def test_evaluate_counts_truth_values_as_numbers():
    m, x = Symbol.variable("m", is_bool=True), Symbol.variable("x")
    values = {"m": np.array([True, False, True]), "x": np.array([1.0, 2.0, np.nan], np.float32)}
    total, product, chosen, both = evaluate([m + m, -(m * 2.0), xp.where(m, m, x), m & (x > 0.5)], values)
    assert total.tolist() == [2.0, 0.0, 2.0]
    assert product.tolist() == [-2.0, 0.0, -2.0]
    assert chosen.tolist() == [1.0, 2.0, 1.0]
    assert both.tolist() == [True, False, False]
    assert total.dtype == chosen.dtype == np.float32
    (cdf,) = evaluate([xp.normal_cdf(A[0])], {"a0": np.array([0.0, 1.0])})
    np.testing.assert_allclose(cdf, [0.5, 0.8413447460685429])
