"""Where arrays are placed in memory, and stores that go past the caches."""

import llvmlite.binding
import numpy as np
import pytest
from numba import config, njit

from tinynn.kernels import memory, simd

compiled = pytest.mark.skipif(config.DISABLE_JIT, reason="registers exist in compiled code only")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_arrays_begin_at_a_cache_line(dtype):
    for size in (1, 1000, 1 << 18, (1 << 18) + 3):
        array = memory.aligned_empty((size,), dtype)
        assert array.shape == (size,)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.nbytes < 1 << 18 or array.ctypes.data % 64 == 0


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("start", [0, 1, 17])
def test_apart(start, quarters):
    other = np.empty(5000, np.float32)[start:]
    array = memory.empty_apart((70, 9), np.float64, other, quarters)
    assert array.shape == (70, 9)
    assert array.dtype == np.float64
    assert array.flags.c_contiguous
    assert array.ctypes.data % 64 == 0
    assert (array.ctypes.data - other.ctypes.data // 64 * 64) % 4096 - 1024 * quarters in (0, 64)
    array[...] = 1.0  # its own memory, to the last element


def test_what_is_worth_streaming():
    large = memory.aligned_empty((1 << 21, 2), np.float32)
    assert memory.worth_streaming(large)
    assert not memory.worth_streaming(large.reshape(-1)[1:])  # begins between two lines
    assert not memory.worth_streaming(large[:1000])


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_streamed_copy(dtype):
    @njit(error_model="numpy")
    def copy(x, out, step):
        for j in range(np.uint64(0), np.uint64(x.size), step):
            simd.stream(out, j, simd.load(x, j))
        simd.drain()

    x = np.random.default_rng(0).normal(size=4097).astype(dtype)[1:]
    out = memory.empty_apart(x.shape, dtype, x, 2)
    copy(x, out, np.uint64(simd.REGISTER_BYTES // x.itemsize))
    np.testing.assert_array_equal(out, x)
    if llvmlite.binding.get_process_triple().startswith("x86_64"):
        assembly = copy.inspect_asm(copy.signatures[0])
        assert "movnt" in assembly
        assert "sfence" in assembly


@compiled
def test_rows_that_fit_registers():
    for dtype in (np.float32, np.float64):
        lanes = simd.REGISTER_BYTES // np.dtype(dtype).itemsize
        assert simd.fits_registers(np.empty((2, 3 * lanes), dtype))
        assert not simd.fits_registers(np.empty((2, 3 * lanes), dtype), at_once=2)
        assert not simd.fits_registers(np.empty((2, 3 * lanes + 1), dtype))


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("nbytes", [4096, 4096 - 64, 4096 + 16])
def test_arrays_apart_can_be_read_beyond_their_ends(quarters, nbytes):
    """Wherever the other array lies, they do not end with a page."""
    other = memory.empty_bytes(3 * 4096)
    for start in range(0, 4096, 64):
        array = memory.empty_apart((nbytes,), np.uint8, other[start:], quarters)
        assert memory.has_slack(array)
        assert array.base.ctypes.data + array.base.nbytes >= array.ctypes.data + nbytes + 64
