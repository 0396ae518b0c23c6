"""Printed source: readable, in one precision, computing what NumPy computes, as Python and as CUDA C++."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from tinynn.kernels import disk_cache
from tinynn.kernels.printer import cuda_source, numba_source
from tinynn.kernels.symbols import Symbol, symbolic, trace

RANDOM = np.random.default_rng(3)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-3])
PAIRS = [a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL)]
X = np.concatenate([PAIRS[0], RANDOM.normal(size=300) * 3])
Y = np.concatenate([PAIRS[1], RANDOM.normal(size=300) * 3])

# name -> formula of (xp, x, y) that NumPy can compute as well
FORMULAS = {
    "arithmetic": lambda xp, x, y: (x - (y - 1.0)) * 2.0 / (x / (y / 3.0)) - (-x) * -(y + x),
    "powers": lambda xp, x, y: x**2 + y**3 - x**-1 + xp.abs(x) ** 0.5 + x**4,
    "general_power": lambda xp, x, y: xp.power(xp.abs(x), 0.3) + xp.abs(y) ** y,
    "comparisons": lambda xp, x, y: (x > y) * 1.0 + 2.0 * (x >= y) + 4.0 * (x < y) + (x == y) - (x != y) * y,
    "logic": lambda xp, x, y: xp.where(((x > 0) & (y > 0)) | ~(x < y) | xp.isnan(y), x, y),
    "logic_functions": lambda xp, x, y: xp.where(
        xp.logical_and(x, xp.logical_not(y > 1)), 1.0, xp.logical_or(x > 1, y > 1) * 3.0
    ),
    "nested_where": lambda xp, x, y: xp.where(x > 0, xp.where(y > 0, x * y, x), xp.where(y > 0, y, -x)),
    "extremes": lambda xp, x, y: xp.maximum(x, y) + 2.0 * xp.minimum(x + 1.0, y),
    "maximum": lambda xp, x, y: xp.maximum(x * 1.5, y),
    "minimum": lambda xp, x, y: xp.minimum(x, y * 1.5),
    "relu": lambda xp, x, y: xp.maximum(x, 0.0),
    "rounding": lambda xp, x, y: xp.floor(x) + xp.sign(y) * 0.25,
    "remainder": lambda xp, x, y: x % y,
    "floor_divide": lambda xp, x, y: x // y,
    "transcendental": lambda xp, x, y: xp.exp(-abs(x)) + xp.log(abs(y)) + xp.log1p(abs(x)) + xp.tanh(y),
    "trigonometric": lambda xp, x, y: xp.sin(x) * xp.cos(y) + xp.pi,
    "softplus": lambda xp, x, y: xp.maximum(x, 0.0) + xp.log1p(xp.exp(-abs(x))) - xp.expm1(xp.minimum(y, 1)),
    "constants": lambda xp, x, y: xp.where(x > 1.0, xp.inf, xp.where(x < -1.0, -xp.inf, 0.1 + 1e-30)),
}  # fmt: skip


def traced(name):
    return trace(lambda x, y: FORMULAS[name](symbolic, x, y))


def reference(name, dtype):
    x, y = X.astype(dtype), Y.astype(dtype)
    with np.errstate(all="ignore"):
        return np.broadcast_to(FORMULAS[name](np, x, y), x.shape)


def assert_agrees(name, got, dtype):
    eps = np.finfo(dtype).eps
    expected = reference(name, dtype)
    # Magnitudes that cancel: compare with what the terms may have been.
    np.testing.assert_allclose(got, expected, rtol=60 * eps, atol=400 * eps, equal_nan=True, err_msg=name)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYNN_CACHE_DIR", str(tmp_path))
    disk_cache.directory.cache_clear()
    yield
    disk_cache.directory.cache_clear()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FORMULAS)
def test_numba_source_computes_what_numpy_does(name, dtype):
    function = disk_cache.load(numba_source(name, ["x", "y"], [], {"out": traced(name)[0]}, dtype=dtype), name)
    out = np.empty(X.size, dtype)
    function(out, X.astype(dtype), Y.astype(dtype))
    assert_agrees(name, out, dtype)


@pytest.mark.parametrize("name", FORMULAS)
def test_float32_stays_float32(name):
    function = disk_cache.load(numba_source(name, ["x", "y"], [], {"out": traced(name)[0]}, dtype="float32"), name)
    assert "double" not in function.inspect_llvm(function.signatures[0])


def test_scalars_come_in_as_float64_and_are_rounded_once():
    source = numba_source("step", ["x"], ["lr"], {"out": Symbol.variable("x") * Symbol.variable("lr")}, dtype="float32")
    function = disk_cache.load(source, "step")
    out = np.empty(3, np.float32)
    function(out, np.ones(3, np.float32), 0.1)
    assert (out == np.float32(0.1)).all()
    body = function.inspect_llvm(function.signatures[0])
    assert "fptrunc double" in body
    assert "fpext" not in body


def test_shared_subexpressions_get_names_in_order_and_the_rest_stays_in_place():
    g, x = Symbol.variable("g"), Symbol.variable("x")
    t = symbolic.tanh(x + 1.0)
    source = numba_source(
        "demo", ["g", "x"], [], {"a": g * (1.0 - t * t), "b": t}, comment="a = g (1 - tanh(x + 1)**2)"
    )
    assert source.endswith(
        '''def demo(a_array, b_array, g_array, x_array):
    """a = g (1 - tanh(x + 1)**2)"""
    n = a_array.size
    if b_array.size != n or g_array.size != n or x_array.size != n:
        raise ValueError("the arrays differ in size")
    for i in range(n):
        g = g_array[i]
        x = x_array[i]
        t1 = vm.tanh(x + real(1.0))
        a_array[i] = g * (real(1.0) - t1 * t1)
        b_array[i] = t1
'''
    )


def test_brackets_are_written_where_precedence_needs_them():
    a, b, c = map(Symbol.variable, "abc")
    for expression, text in [
        (a - (b - c), "a - (b - c)"), ((a - b) - c, "a - b - c"), (a / (b * c), "a / (b * c)"),
        (a * b / c, "a * b / c"),
        (-(a + b), "-(a + b)"), (a - (-b), "a - -b"), (a * (b + c), "a * (b + c)"),
        (abs(a + b), "abs(a + b)"),
        ((a > b) & (b > c), "(a > b) & (b > c)"), (a * (b > c), "a * real(b > c)"),
    ]:  # fmt: skip
        assert f" = {text}\n" in numba_source("f", ["a", "b", "c"], [], {"out": expression})


def test_erf_shares_the_gaussian_and_does_not_cancel():
    x = Symbol.variable("x")
    t = x * 0.7071067811865476
    for gaussian in (symbolic.exp(-t * t), symbolic.exp(x * x * -0.5), symbolic.exp(-(x**2) / 2)):
        source = numba_source("f", ["x"], [], {"a": symbolic.erf(t), "b": gaussian})
        assert source.count("vm.exp(") == 1
        assert "vm.erf_given(" in source
    for sum_ in (1.0 + symbolic.erf(t), 0.5 * symbolic.erf(x) + 0.5):
        assert "vm.one_plus_erf(" in numba_source("f", ["x"], [], {"out": sum_})
    assert "vm.normal_cdf(" in numba_source("f", ["x"], [], {"out": 0.5 * symbolic.erf(t) + 0.5})
    for other in (2.0 + symbolic.erf(t), symbolic.erf(t) + x, 0.5 * symbolic.erf(t) + 1.0):
        assert "vm.erf(" in numba_source("f", ["x"], [], {"out": other})
    assert "vm.erf(" in numba_source("f", ["x"], [], {"a": symbolic.erf(t), "b": symbolic.exp(-x * x)})


@pytest.mark.parametrize("name", ["i", "n", "t1", "real", "exp", "x_array", "float", "not valid"])
def test_names_that_the_source_needs_are_refused(name):
    with pytest.raises(ValueError, match="cannot name"):
        numba_source("f", [name], [], {"out": Symbol.constant(1.0)})
    with pytest.raises(ValueError, match="cannot name"):
        cuda_source("f", [name], [], {"out": Symbol.constant(1.0)})


def test_cuda_parameters():
    p, g, lr = map(Symbol.variable, ("p", "g", "lr"))
    mask = Symbol.variable("mask", is_bool=True)
    source = cuda_source(
        "sgd", ["p", "g", "mask"], ["lr"], {"p": symbolic.where(mask, p - lr * g, p), "moved": g != 0.0},
        "p <- p - lr g", bools=["mask"],
    )  # fmt: skip
    assert source.in_params == "T p, T g, bool mask, T lr"
    assert source.out_params == "T p_out, bool moved"
    assert source.operation == (
        "// p <- p - lr g\nconst T t1 = p - lr * g;\np_out = mask ? t1 : p;\nmoved = g != T(0.0);"
    )


# --- CUDA without a GPU: the text is C++. A C++ compiler runs it on the host; nvcc compiles it for the
# device. ---

INTRINSIC = """
static inline double __longlong_as_double(long long bits) {
    union { long long i; double d; } both; both.i = bits; return both.d;
}
"""


def as_cpp(marker):
    """One function template per formula, and their calls."""
    functions = []
    for name in FORMULAS:
        source = cuda_source(name, ["x", "y"], [], {"out": traced(name)[0]})
        functions.append(
            f"template <typename T> {marker} void f_{name}(const T x, const T y, T& out) {{\n{source.operation}\n}}"
        )
    return "\n".join(functions)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the printed C++ with")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cuda_source_computes_what_numpy_does(dtype, tmp_path):
    real = {"float64": "double", "float32": "float"}[dtype]
    loops = "\n".join(
        f"for (long k = 0; k < n; k++) f_{f}<{real}>(x[k], y[k], out[{j} * n + k]);" for j, f in enumerate(FORMULAS)
    )
    program = f"#include <cmath>\nusing namespace std;\n{INTRINSIC}\n{as_cpp('static')}\n"
    program += f'extern "C" void run(long n, const {real}* x, const {real}* y, {real}* out) {{\n{loops}\n}}\n'
    (tmp_path / "f.cpp").write_text(program)
    library = tmp_path / "f.so"
    options = ["-O1", "-Wall", "-Werror", "-Wno-unused", "-Wno-div-by-zero", "-shared", "-fPIC"]
    subprocess.run(["g++", *options, "-o", library, tmp_path / "f.cpp"], check=True)
    x, y = X.astype(dtype), Y.astype(dtype)
    out = np.empty((len(FORMULAS), x.size), dtype)
    ctypes.CDLL(str(library)).run(ctypes.c_long(x.size), *(ctypes.c_void_p(a.ctypes.data) for a in (x, y, out)))
    for row, name in zip(out, FORMULAS):
        assert_agrees(name, row, dtype)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc to compile the printed CUDA source with")
def test_cuda_source_compiles_for_the_device_and_float_stays_float(tmp_path):
    for real, widened in (("float", False), ("double", True)):
        kernels = "\n".join(
            f'extern "C" __global__ void k_{f}(const {real}* x, const {real}* y, {real}* out)'
            f" {{ int k = threadIdx.x; f_{f}<{real}>(x[k], y[k], out[k]); }}"
            for f in FORMULAS
            if f
            not in (
                "trigonometric",
                "general_power",
                "remainder",
                "floor_divide",
            )  # CUDA's own use doubles inside
        )
        (tmp_path / "f.cu").write_text(as_cpp("__device__") + "\n" + kernels)
        subprocess.run(["nvcc", "-ptx", "-o", tmp_path / "f.ptx", tmp_path / "f.cu"], check=True, capture_output=True)
        assert (".f64" in (tmp_path / "f.ptx").read_text()) is widened
