"""The CUDA kernels of random numbers and dropout give the numbers of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler import emulated, nvrtc
from tinynn.kernels import cuda_random, philox
from tinynn.kernels.cuda_launch import Launch

on_cpu = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not there to run CUDA code on the CPU")


def run(launch: Launch) -> None:
    emulated.Kernel(launch.source, launch.name, launch.types)(launch.grid, launch.block, launch.arguments)


@on_cpu
@pytest.mark.parametrize("n", [1, 3, 1000, 70_001])
@pytest.mark.parametrize(("kind", "dtype"), cuda_random.KINDS)
def test_draws(kind: str, dtype: str, n: int) -> None:
    for low, high in [(-3, 10), (-(2**63), 2**63)]:
        out, position = np.zeros(n, dtype), np.array([2**63 + 5, 2**64 - 7], np.uint64)
        run(cuda_random.draw(kind, dtype, n, out.ctypes.data, position.ctypes.data, low, high))
        if kind == "integers":
            np.testing.assert_array_equal(out, philox.integers(n, low, high, *map(int, position)))
        else:
            wanted = getattr(philox, kind)(n, *map(int, position), dtype)
            tight = 0.0 if kind == "uniform" else 4e-6 if dtype == "float32" else 1e-14
            np.testing.assert_allclose(out, wanted, rtol=tight, atol=tight)


@on_cpu
@pytest.mark.parametrize("p", [0.0, 0.3, 0.999])
def test_masks_of_dropout(p: float) -> None:
    out, position = np.zeros(1003, bool), np.array([7, 2**40], np.uint64)
    run(cuda_random.keep(p, out.size, out.ctypes.data, position.ctypes.data))
    np.testing.assert_array_equal(out, philox.random_bits(out.size, 7, 2**40) >= np.floor(p * 2.0**32))


@nvrtc.needed
@pytest.mark.nvrtc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_compiles_for_gpus(architecture: str) -> None:
    launches = [cuda_random.draw(kind, dtype, 9, 0, 0, 0, 5) for kind, dtype in cuda_random.KINDS]
    launches.append(cuda_random.keep(0.5, 9, 0, 0))
    for launch in launches:
        assert f".entry {launch.name}" in nvrtc.compiled(launch.source, architecture)
