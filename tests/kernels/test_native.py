"""Kernels by address: the driver, pointers of every kind, and machine code that outlives the process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tinynn.kernels import disk_cache
from tinynn.kernels.native import (
    add_reassociated,
    as_bool,
    as_float32,
    as_float64,
    as_int64,
    drive,
    kernel,
    maximum,
    minimum,
)  # fmt: skip

HEAD = "from tinynn.kernels.native import *\n\n\n"
TWICE = HEAD + (
    "@kernel\ndef twice(row):\n    n, x, out = row[2], as_float64(row[3], 0), as_float64(row[4], 1)\n"
    "    for i in range(n):\n        out[i] = x[i] + x[i]\n"
)


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(disk_cache.VARIABLE, str(tmp_path_factory.mktemp("kernels")))
        disk_cache.directory.cache_clear()
        yield
    disk_cache.directory.cache_clear()


def run(function, *words):
    row = np.array([function.address, len(words) + 2, *words], np.int64)
    drive(row, 1)


def test_a_table_runs_in_order():
    @kernel
    def add_one(row):
        out = as_float64(row[2])
        out[0] += 1.0

    @kernel
    def double(row):
        n, out = row[2], as_float64(row[3])
        for i in range(n):
            out[i] *= 2.0

    x = np.array([3.0, 5.0])
    at = x.ctypes.data
    table = np.array([add_one.address, 3, at, double.address, 4, 2, at, add_one.address, 3, at, 0, 0], np.int64)
    drive(table, 3)
    assert x.tolist() == [9.0, 10.0]
    drive(table, 1)
    assert x.tolist() == [10.0, 10.0]
    drive(table, 0)
    assert x.tolist() == [10.0, 10.0]


def test_pointers_of_every_kind():
    @kernel
    def convert(row):
        whole, flags, single, double = as_int64(row[2], 0), as_bool(row[3], 1), as_float32(row[4]), as_float64(row[5])
        for i in range(3):
            double[i] = single[i] + whole[i] if flags[i] else -1.0
            flags[i] = double[i] > 0.0 and not flags[i - 0]

    whole, flags = np.array([1, 2, 3]), np.array([True, False, True])
    single, double = np.array([0.5, 0.25, 0.125], np.float32), np.empty(3)
    run(convert, *(a.ctypes.data for a in (whole, flags, single, double)))
    assert double.tolist() == [1.5, -1.0, 3.125]
    assert flags.tolist() == [False, False, False]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_reductions_are_vectorised_and_nan_survives(dtype):
    as_real = {"float64": as_float64, "float32": as_float32}[dtype]

    @kernel
    def reduce(row):
        n, x, out = row[2], as_real(row[3], 0), as_real(row[4], 1)
        total, largest, smallest = out[0], x[0], x[0]
        for i in range(n):
            total = add_reassociated(total, x[i])
            largest = maximum(largest, x[i])
            smallest = minimum(smallest, x[i])
        out[0], out[1], out[2] = total, largest, smallest

    for bad in (0.0, np.nan, np.inf, -np.inf):
        x = np.random.default_rng(0).normal(size=1000).astype(dtype)
        x[517] = bad
        out = np.zeros(3, dtype)
        run(reduce, 1000, x.ctypes.data, out.ctypes.data)
        np.testing.assert_allclose(out, [x.sum(), x.max(), x.min()], rtol=1e-4)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="looks at machine code")
def test_the_machine_code_is_kept(tmp_path):
    program = f"""
import time
from tinynn.kernels.kernel_sources import printed_kernel
from tinynn.kernels.native import *
start = time.perf_counter()
twice = printed_kernel({TWICE!r}, "twice")
seconds = time.perf_counter() - start
import numpy as np
x, out = np.arange(8.0), np.empty(8)
drive(np.array([twice.address, 5, 8, x.ctypes.data, out.ctypes.data]), 1)
assert (out == 2 * x).all()
print(twice.cache_hits, seconds)
"""
    environment = {**os.environ, disk_cache.VARIABLE: str(tmp_path)}
    results = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [hits for hits, _ in results] == ["0", "1"]
    assert float(results[1][1]) < 0.05  # 0.002 on a quiet machine
