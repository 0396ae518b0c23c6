"""Compiled elementwise kernels: right, also in place and on threads, cached, clear about wrong arguments."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import timeit
import warnings

import numpy as np
import pytest

from tinynn.kernels import disk_cache, elementwise, threads
from tinynn.kernels.elementwise import compile_elementwise
from tinynn.kernels.symbols import symbolic

DTYPES = ["float64", "float32"]


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(disk_cache.VARIABLE, str(tmp_path_factory.mktemp("kernels")))
        disk_cache.directory.cache_clear()
        elementwise._kernels.clear()
        yield
    disk_cache.directory.cache_clear()
    elementwise._kernels.clear()


def random(shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def gelu_and_slope(x):
    t = x * math.sqrt(0.5)
    phi = symbolic.exp(-t * t) / math.sqrt(2 * math.pi)
    cumulative = 0.5 * (1.0 + symbolic.erf(t))
    return x * cumulative, cumulative + x * phi


def adam(p, g, m, v, lr, beta1, beta2, eps):
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    return p - lr * m / (symbolic.sqrt(v) + eps), m, v


def adam_kernel(dtype, in_place=True):
    outputs = ["p", "m", "v"] if in_place else ["p_new", "m_new", "v_new"]
    return compile_elementwise(
        "adam", adam, ["p", "g", "m", "v"], ["lr", "beta1", "beta2", "eps"], dtype=dtype, outputs=outputs
    )


@pytest.mark.parametrize("shape", [(), (1,), (7,), (100,), (8, 9), (3, 4, 5), (0,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_shape(shape, dtype):
    kernel = compile_elementwise("scaled_tanh", lambda x, a: a * symbolic.tanh(x), ["x"], ["a"], dtype=dtype)
    x = np.asarray(random(shape), dtype)
    out = np.full_like(x, np.nan)
    kernel(out, x, 1.5)
    np.testing.assert_allclose(out, dtype_of(out, 1.5) * np.tanh(x), rtol=8 * np.finfo(dtype).eps)


def dtype_of(array, number):
    return array.dtype.type(number)


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_outputs(dtype):
    from math import erf

    kernel = compile_elementwise("gelu_and_slope", gelu_and_slope, ["x"], dtype=dtype)
    x = random(1000, dtype)
    out, slope = np.empty_like(x), np.empty_like(x)
    kernel(out, slope, x)
    wide = x.astype(float)
    cumulative = np.array([0.5 * (1 + erf(v / math.sqrt(2))) for v in wide])
    tolerance = {"rtol": 20 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}
    np.testing.assert_allclose(out, wide * cumulative, **tolerance)
    np.testing.assert_allclose(
        slope, cumulative + wide * np.exp(-wide * wide / 2) / math.sqrt(2 * math.pi), **tolerance
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_update_in_place_equals_the_one_into_new_arrays(dtype):
    p, g, m, v = (random(1003, dtype, seed) for seed in range(4))
    v = abs(v)
    settings = (1e-3, 0.9, 0.999, 1e-8)
    new = [np.empty_like(p) for _ in range(3)]
    adam_kernel(dtype, in_place=False)(*new, p, g, m, v, *settings)
    aliased = [p.copy(), m.copy(), v.copy()]
    adam_kernel(dtype, in_place=False)(*aliased, aliased[0], g, aliased[1], aliased[2], *settings)
    updated = [p.copy(), m.copy(), v.copy()]
    adam_kernel(dtype)(*updated, g, *settings)
    for expected, by_alias, in_place in zip(new, aliased, updated):
        np.testing.assert_allclose(by_alias, expected, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(in_place, expected, rtol=4 * np.finfo(dtype).eps)


def test_outputs_may_be_any_of_the_inputs():
    kernel = compile_elementwise("sum_and_difference", lambda a, b: (a + b, a - b), ["a", "b"])
    a, b = random(100), random(100, seed=1)
    x, y = a.copy(), b.copy()
    kernel(y, x, x, y)  # crosswise
    np.testing.assert_array_equal(y, a + b)
    np.testing.assert_array_equal(x, a - b)


def test_truth_values_go_in_and_out():
    kernel = compile_elementwise("masked", lambda m, x: (symbolic.where(m, x, 0.0), x > 0), ["m", "x"], bools=["m"])
    x = random(50)
    mask = x < 1.0
    out, positive = np.empty(50), np.empty(50, bool)
    kernel(out, positive, mask, x)
    np.testing.assert_array_equal(out, np.where(mask, x, 0.0))
    np.testing.assert_array_equal(positive, x > 0)


def test_read_only_inputs_are_fine():
    kernel = compile_elementwise("doubled", lambda x: 2.0 * x, ["x"])
    x = random(5)
    x.flags.writeable = False
    out = np.empty(5)
    kernel(out, x)
    np.testing.assert_array_equal(out, 2 * x)


def test_the_same_request_gives_the_same_kernel():
    def make(dtype="float64", factor=2.0):
        return compile_elementwise("memo", lambda x: factor * x, ["x"], dtype=dtype)

    assert make() is make(np.float64)
    assert make() is not make("float32")
    assert make() is not make(factor=3.0)


def test_threads_give_the_same_bits(monkeypatch):
    kernel = compile_elementwise("threaded", lambda x, y: symbolic.exp(x) * y + x, ["x", "y"])
    x, y = random(300_001), random(300_001, seed=1)
    serial, parallel = np.empty_like(x), np.empty_like(x)
    kernel.compiled()(serial, x, y)
    used = set()
    run = kernel._run

    def watched(*arguments):
        used.add(threading.get_ident())
        run(*arguments)

    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    monkeypatch.setattr(kernel, "_worth_threads", 1000)
    monkeypatch.setattr(kernel, "_run", watched)
    kernel(parallel, x, y)
    np.testing.assert_array_equal(parallel, serial)
    assert 1 < len(used) <= 3
    with pytest.raises(ValueError, match="has shape"):
        kernel(parallel, x, y[:-1])


def test_small_work_stays_on_one_thread(monkeypatch):
    monkeypatch.setattr(threads, "run_together", lambda calls: pytest.fail("no threads for small work"))
    kernel = compile_elementwise("small", lambda x: x + 1.0, ["x"])
    kernel(np.empty(10_000), np.empty(10_000))
    kernel(np.empty((100, 100)), np.empty((100, 100)))


@pytest.mark.parametrize("size", [3, 10_000_000], ids=["small", "large"])
def test_wrong_arguments_are_named(size):
    kernel = compile_elementwise("wrong", lambda x, y, a: a * x + y, ["x", "y"], ["a"], dtype="float32")
    out, x = np.empty(size, np.float32), np.empty(size, np.float32)
    with pytest.raises(TypeError, match=r"takes 3 arrays and 1 scalars, got 3 arguments"):
        kernel(out, x, x)
    with pytest.raises(TypeError, match=r"wrong\(out, x, y, a\): y must have dtype float32, got float64"):
        kernel(out, x, x.astype(float), 1.0)
    with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
        kernel(out, [1.0], x, 1.0)
    with pytest.raises(ValueError, match=rf"x has shape \({size - 1},\), but out has shape \({size},\)"):
        kernel(out, x[1:], x, 1.0)
    with pytest.raises(ValueError, match="C-contiguous"):
        kernel(out[::2], x[::2].copy(), x[::2].copy(), 1.0)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is written to, but the array is read-only"):
        kernel(out, x, x, 1.0)


def test_wrong_requests_are_explained():
    with pytest.raises(TypeError, match="float64 and float32, got dtype int64"):
        compile_elementwise("f", lambda x: x, ["x"], dtype=np.int64)
    with pytest.raises(ValueError, match="identifier"):
        compile_elementwise("not a name", lambda x: x, ["x"])
    with pytest.raises(ValueError, match="gives 2 results, but 1 outputs"):
        compile_elementwise("f", lambda x: (x, x), ["x"], outputs=["out"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_loops_over_many_arrays_are_vectorised(dtype):
    codegen = pytest.importorskip("numba.core.codegen")
    if "+avx" not in codegen.get_host_cpu_features():
        pytest.skip("reads the assembly of an x86-64 processor with AVX")
    xp = symbolic
    kernels = [
        adam_kernel(dtype),
        adam_kernel(dtype, in_place=False),
        compile_elementwise("gelu_and_slope", gelu_and_slope, ["x"], dtype=dtype),
        compile_elementwise("relu_grad", lambda g, x: g * (x > 0), ["g", "x"], dtype=dtype),
        compile_elementwise("spread", lambda x, y: xp.maximum(x, y) - xp.minimum(x, y), "xy", dtype=dtype),
        compile_elementwise("steps", lambda x: xp.sign(x) + xp.floor(x), ["x"], dtype=dtype),
        compile_elementwise(
            "logic", lambda x, y: xp.where(((x > 0) & ~(y < x)) | (y > 1), x, xp.exp(y)), "xy", dtype=dtype
        ),
    ]  # fmt: skip
    packed = "ps" if dtype == "float32" else "pd"
    for kernel in kernels:
        lines = [
            line for line in kernel.inspect_asm().splitlines() if ("ymm" in line or "zmm" in line) and packed in line
        ]
        assert len(lines) >= 3, kernel.name


def test_numba_is_loaded_by_the_first_call_only(tmp_path):
    program = """
import sys
before = "numba" in sys.modules
from tinynn.kernels.elementwise import compile_elementwise
import numpy as np
kernel = compile_elementwise("lazy", lambda x: x + 1.0, ["x"])
imported = "numba" in sys.modules
out = np.zeros(2)
kernel(out, out)
assert before or not imported
assert "numba" in sys.modules and out.tolist() == [1.0, 1.0]
print(sum(kernel.compiled().stats.cache_hits.values()))
"""
    environment = {**os.environ, disk_cache.VARIABLE: str(tmp_path)}
    hits = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert [int(h) for h in hits] == [0, 1]  # the second process loads what the first one compiled


def test_without_the_compiler_a_kernel_is_plain_python(tmp_path):
    program = """
import numpy as np
from tinynn.kernels.elementwise import compile_elementwise
from tinynn.kernels.symbols import symbolic as xp
for dtype in ("float64", "float32"):
    def formula(x):
        g = xp.exp(-x * x)
        return xp.erf(x) + xp.tanh(x) + xp.log(1.5 + x) + xp.log1p(x * x) + xp.expm1(x) + g + 0.5 * (1.0 +
        xp.erf(2 * x))
    kernel = compile_elementwise("plain", formula, ["x"], dtype=dtype)
    x = np.linspace(-1, 1, 9).astype(dtype)
    out = np.empty_like(x)
    kernel(out, x)
    print(*out.tolist())
"""
    results = [
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env={**os.environ, disk_cache.VARIABLE: str(tmp_path), "NUMBA_DISABLE_JIT": disable},
        ).stdout.splitlines()
        for disable in "01"
    ]  # fmt: skip
    for compiled, plain, tolerance in zip(*results, (1e-14, 1e-5)):
        np.testing.assert_allclose(np.fromstring(plain, sep=" "), np.fromstring(compiled, sep=" "), rtol=tolerance)


def test_a_call_costs_little():
    kernel = compile_elementwise("overhead", lambda x: x + 1.0, ["x"])
    x, out = np.zeros(8), np.zeros(8)
    kernel(out, x)
    seconds = min(timeit.repeat(lambda: kernel(out, x), number=2000, repeat=5)) / 2000
    assert seconds < 10e-6  # 0.6e-6 on a quiet machine


class TestDiskCache:
    SOURCE = "def answer():\n    return 42\n"

    @pytest.fixture
    def directory(self, tmp_path, monkeypatch):
        monkeypatch.setenv(disk_cache.VARIABLE, str(tmp_path / "deep" / "cache"))
        disk_cache.directory.cache_clear()
        yield tmp_path / "deep" / "cache"
        disk_cache.directory.cache_clear()

    def test_source_is_stored_once_and_imported(self, directory):
        assert disk_cache.load(self.SOURCE, "answer")() == 42
        (path,) = directory.glob("*.py")
        assert path.name.startswith("answer_")
        assert path.read_text() == self.SOURCE
        written = path.stat().st_mtime_ns
        assert disk_cache.store(self.SOURCE, "answer") == path
        assert path.stat().st_mtime_ns == written
        assert not list(directory.glob("*.part"))

    def test_a_damaged_file_is_written_again(self, directory):
        path = disk_cache.store(self.SOURCE, "answer")
        path.write_text("def answ")
        assert disk_cache.store(self.SOURCE, "answer") == path
        assert path.read_text() == self.SOURCE

    def test_the_name_depends_on_the_functions_that_are_inlined(self, directory, monkeypatch):
        path = disk_cache.store(self.SOURCE, "answer")
        monkeypatch.setattr(disk_cache, "callees", lambda: b"another vectormath.py")
        assert disk_cache.store(self.SOURCE, "answer") != path

    def test_a_directory_that_cannot_be_written_to_is_replaced_with_one_warning(self, tmp_path, monkeypatch):
        file = tmp_path / "file"
        file.write_text("")
        monkeypatch.setenv(disk_cache.VARIABLE, str(file / "cache"))
        disk_cache.directory.cache_clear()
        with pytest.warns(RuntimeWarning, match=disk_cache.VARIABLE):
            assert disk_cache.load(self.SOURCE, "answer")() == 42
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert disk_cache.directory().is_dir()
        disk_cache.directory.cache_clear()
