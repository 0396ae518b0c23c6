"""Products by address against NumPy in higher precision: every manner, any strides, masked edges, zero sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config, njit

from tinynn.kernels import blas, disk_cache, products
from tinynn.kernels.blocks import Blocks
from tinynn.kernels.native import as_float32, as_float64, drive
from tinynn.kernels.products import choose_product, compile_product, row_words
from tinynn.kernels.simd import REGISTER_BYTES, load_first, store, store_first

SLACK = 16  # elements that may be read beyond an array's last
DTYPES = ["float64", "float32"]


def matrix(rng, rows, columns, dtype, layout):
    """A matrix with slack behind it: "rows" or "columns" contiguous, either with "gaps", or "spread" both ways."""
    gap = {"rows": 0, "columns": 0, "row gaps": 3, "column gaps": 5, "spread": 2}[layout]
    by_columns = layout.startswith("column")
    long, wide = (columns, rows) if by_columns else (rows, columns)
    step = 2 if layout == "spread" else 1
    stride = wide * step + gap
    memory = rng.normal(size=long * stride + SLACK).astype(dtype)
    view = memory[: long * stride].reshape(long, stride)[:, : wide * step : step]
    return view.T if by_columns else view


def strides(array):
    return array.strides[0] // array.itemsize, array.strides[1] // array.itemsize


def run(product, a, b, bias, gap=0):
    """Compute with a kernel into a part of a larger array, and check that nothing around it was written."""
    (m, k), n = a.shape, b.shape[1]
    memory = np.full((m + 2) * (n + gap) + 2 * SLACK, 7.5, a.dtype)
    rows = memory[SLACK : SLACK + m * (n + gap)].reshape(m, n + gap)
    scratch = np.full(product.scratch_bytes // a.itemsize + SLACK, np.nan, a.dtype)
    address = 0 if bias is None else bias.ctypes.data
    out = (rows.ctypes.data, n + gap)
    words = row_words(
        product, m, n, k, (a.ctypes.data, *strides(a)), (b.ctypes.data, *strides(b)), address, out, scratch.ctypes.data
    )
    drive(np.array(words, np.int64), 1)
    result = rows[:, :n].copy()
    rows[:, :n] = 7.5
    assert (memory == 7.5).all()
    assert product.scratch_bytes == 0 or np.isnan(scratch[-SLACK:]).all()
    return result


def check(result, a, b, bias):
    """Against a wider sum, with the bound of the module's docstring."""
    wide = np.longdouble
    exact = a.astype(wide) @ b.astype(wide)
    size = abs(a).astype(wide) @ abs(b).astype(wide)
    if bias is not None:
        exact, size = exact + bias, size + abs(bias)
    bound = (a.shape[1] + 16) * np.finfo(a.dtype).eps / 2 * size * 1.01 + np.finfo(a.dtype).tiny
    assert (abs(result - exact) <= bound).all()


LAYOUTS = ["rows", "columns", "row gaps", "column gaps", "spread"]
SIZES = st.one_of(st.integers(0, 70), st.sampled_from([1, 7, 8, 9, 15, 16, 17, 31, 32, 33]))


@settings(deadline=None, max_examples=10 if config.DISABLE_JIT else 300)
@given(
    m=SIZES,
    n=SIZES,
    k=SIZES,
    a_layout=st.sampled_from(LAYOUTS),
    b_layout=st.sampled_from(LAYOUTS),
    has_bias=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    gap=st.sampled_from([0, 1, 5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_chosen_product(m, n, k, a_layout, b_layout, has_bias, dtype, gap, seed):
    rng = np.random.default_rng(seed)
    a, b = matrix(rng, m, k, dtype, a_layout), matrix(rng, k, n, dtype, b_layout)
    bias = rng.normal(size=n + SLACK).astype(dtype)[:n] if has_bias else None
    product = choose_product(dtype, m, n, k, strides(a), strides(b), has_bias)
    check(run(product, a, b, bias, gap), a, b, bias)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layouts", [("rows", "rows"), ("rows", "columns"), ("columns", "row gaps"), ("columns",) * 2])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 1, 1), (10, 20, 1), (10, 1, 20), (100, 60, 3), (0, 4, 3)])
def test_blas(dtype, layouts, has_bias, shape):
    rng = np.random.default_rng(1)
    m, n, k = shape
    a, b = matrix(rng, m, k, dtype, layouts[0]), matrix(rng, k, n, dtype, layouts[1])
    bias = rng.normal(size=n).astype(dtype) if has_bias else None
    check(run(compile_product("blas", dtype), a, b, bias, gap=2), a, b, bias)


@settings(deadline=None, max_examples=5 if config.DISABLE_JIT else 200)
@given(
    m=SIZES,
    n=SIZES,
    k=st.integers(1, 70),
    layouts=st.tuples(*[st.sampled_from([layout for layout in LAYOUTS if layout != "spread"])] * 2),
    has_bias=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    gap=st.sampled_from([0, 1, 5]),
    options=st.sampled_from([Blocks(8, 2, 8, 16, 16, 32), Blocks(4, 3, 4, 8, 8, 24), Blocks(8, 2, 16, 16, 8, 64)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_blocks(m, n, k, layouts, has_bias, dtype, gap, options, seed):
    """Several blocks along each axis, and parts of them at the edges."""
    rng = np.random.default_rng(seed)
    a, b = matrix(rng, m, k, dtype, layouts[0]), matrix(rng, k, n, dtype, layouts[1])
    bias = rng.normal(size=n).astype(dtype) if has_bias else None
    product = compile_product("blocks", dtype, *options)
    product = replace(product, scratch_bytes=options.scratch_bytes(a.itemsize))
    check(run(product, a, b, bias, gap), a, b, bias)


@pytest.mark.skipif(config.DISABLE_JIT, reason="interpreted loops would take minutes")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layouts", [("rows", "columns"), ("columns", "rows")])
def test_blocks_as_chosen(monkeypatch, dtype, layouts):
    monkeypatch.setattr(products, "_BLOCKS", True)
    monkeypatch.setattr(products, "_large", lambda volume: True)
    rng = np.random.default_rng(8)
    a, b = matrix(rng, 130, 1030, dtype, layouts[0]), matrix(rng, 1030, 1060, dtype, layouts[1])
    product = choose_product(dtype, 130, 1060, 1030, strides(a), strides(b), False)
    assert product.kind == "blocks"
    check(run(product, a, b, None), a, b, None)


@pytest.mark.skipif(config.DISABLE_JIT, reason="interpreted loops would take minutes")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 300, 300), (1030, 130, 257), (10000, 32, 4), (32, 4, 10000)])
@pytest.mark.parametrize("layouts", [("rows", "columns"), ("columns", "rows"), ("spread", "rows")])
def test_larger(dtype, shape, layouts):
    rng = np.random.default_rng(2)
    m, n, k = shape
    a, b = matrix(rng, m, k, dtype, layouts[0]), matrix(rng, k, n, dtype, layouts[1])
    product = choose_product(dtype, m, n, k, strides(a), strides(b), False)
    check(run(product, a, b, None), a, b, None)


def test_what_writes_kernels_is_part_of_their_names_on_disk():
    writers = {emitter.__module__.rpartition(".")[2] for emitter in products._EMITTERS.values()}
    assert writers <= set(disk_cache._CALLEES)


def test_kinds():
    def kind(m, n, k, a, b):
        return choose_product("float64", m, n, k, a, b, False).kind

    assert kind(10, 10, 10, (10, 1), (1, 10)) == "tiles"
    assert kind(10, 1, 10, (10, 1), (1, 10)) == "dots"
    assert kind(1, 30, 10, (10, 1), (1, 10)) == "dots"
    assert "swapped" in choose_product("float32", 32, 4, 10000, (1, 32), (4, 1), False).name
    assert kind(2048, 2048, 2048, (2048, 1), (1, 2048)) == ("blocks" if REGISTER_BYTES == 64 else "blas")
    assert kind(2048, 2048, 2048, (4096, 2), (1, 2048)) == "tiles"  # neither can step over columns
    assert kind(10**7, 10, 100, (100, 1), (1, 100)) == "tiles"
    assert kind(10, 100, 10**7, (1, 10), (100, 1)) == kind(2048, 2048, 2048, (2048, 1), (1, 2048))
    assert choose_product("float32", 2048, 2048, 2048, (1, 2048), (2048, 1), False, has_sums=True).kind == "tiles"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 5, 20])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("blocks", [False, True])
def test_not_a_number_stays_in_its_row_and_column(dtype, n, layout, blocks):
    rng = np.random.default_rng(3)
    a, b = matrix(rng, 11, 9, dtype, "rows"), matrix(rng, 9, n, dtype, layout)
    product = choose_product(dtype, 11, n, 9, strides(a), strides(b), False)
    if blocks:
        sizes = Blocks(8, 2, 8, 8, 8, 16)
        product = replace(compile_product("blocks", dtype, *sizes), scratch_bytes=sizes.scratch_bytes(a.itemsize))
    a[4, 2], b[3, n - 1] = np.nan, np.inf
    result = run(product, a, b, None)
    with np.errstate(invalid="ignore"):
        expected = a @ b
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(result), np.isinf(expected))


@pytest.mark.parametrize("lanes", [REGISTER_BYTES // 8, REGISTER_BYTES // 16])
@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4, 5, 8])
def test_every_height_and_width(rows, vectors, lanes):
    if lanes < 2:
        pytest.skip("no narrower vectors here")
    rng = np.random.default_rng(4)
    width = vectors * lanes
    product = compile_product("tiles", "float64", rows, vectors, lanes, "direct")
    for m in range(2 * rows + 2):
        for n in {width - lanes + 1, width, width + 1, 2 * width + 1}:
            a, b = matrix(rng, m, 6, "float64", "rows"), matrix(rng, 6, n, "float64", "rows")
            check(run(product, a, b, None), a, b, None)


@pytest.mark.skipif(config.DISABLE_JIT, reason="vector registers exist in compiled code only")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("by_pointer", [False, True])
def test_first_lanes(dtype, by_pointer):
    lanes = REGISTER_BYTES // dtype().itemsize
    pointer = as_float64 if dtype is np.float64 else as_float32

    @njit
    def copy(x, out, x_address, out_address, count):
        if by_pointer:
            store_first(pointer(out_address), 1, load_first(pointer(x_address), 2, count), count)
            store(pointer(out_address), 1 + lanes, load_first(pointer(x_address), 2, count))
        else:
            store_first(out, 1, load_first(x, 2, count), count)
            store(out, 1 + lanes, load_first(x, 2, count))

    x = np.arange(1, 3 * lanes, dtype=dtype)
    for count in range(lanes + 1):
        out = np.full(3 * lanes, -1, dtype)
        copy(x, out, x.ctypes.data, out.ctypes.data, count)
        read = x[2 : 2 + count]
        expected = np.concatenate([[-1], read, [-1] * (lanes - count), read, [0] * (lanes - count), [-1] * (lanes - 1)])
        np.testing.assert_array_equal(out, expected)


def test_other_dtypes_are_refused():
    with pytest.raises(TypeError, match="float64 and float32, got dtype int64"):
        choose_product("int64", 2, 2, 2, (2, 1), (2, 1), False)


def test_strides_that_blas_knows():
    assert blas.expressible(3, 4, (4, 1))
    assert not blas.expressible(3, 4, (0, 1))
    assert not blas.expressible(3, 4, (2**31, 1))


def test_source_shows_the_tile():
    source = compile_product("tiles", "float64", 2, 1, 4, "direct").source
    assert "s10 = multiply_add(a1, b0, s10)" in source
    assert "for t in range(k):" in source


def test_interpreted():
    """Without compilation the printed loops give the same result."""
    script = (
        "import numpy as np\n"
        "from tinynn.kernels.native import drive\n"
        "from tinynn.kernels.products import choose_product, row_words\n"
        "a, b, bias, out = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(4, 3), np.ones(4), np.empty((2, 4))\n"
        "p = choose_product('float64', 2, 4, 3, (3, 1), (1, 3), True)\n"
        "scratch = np.empty(p.scratch_bytes // 8 + 1)\n"
        "at = lambda array: array.ctypes.data\n"
        "words = row_words(p, 2, 4, 3, (at(a), 3, 1), (at(b), 1, 3), at(bias), (at(out), 4), at(scratch))\n"
        "drive(np.array(words), 1)\n"
        "assert (out == a @ b.T + bias).all()\n"
    )
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, check=True)
