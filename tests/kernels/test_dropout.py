"""Dropout: the mask is the stream's, forward and backward, whatever size, dtype or number of threads."""

import numpy as np
import pytest
from numba import njit

from tinynn.kernels import dropout as module
from tinynn.kernels import philox, threads
from tinynn.kernels.dropout import dropout, threshold


def reference(x, p, seed, offset):
    keep = philox.random_bits(x.size, seed, offset).reshape(x.shape) >= np.uint64(p * 2.0**32)
    return np.where(keep, x * x.dtype.type(1 / (1 - p)), x.dtype.type(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (4,), (5,), (7, 9), (2, 3, 5), (1027,), (64, 64)])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999])
def test_against_the_definition(shape, p, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    out = dropout(x, p, 2**63 + 5, 2**32 - 1)
    assert out.dtype == dtype
    assert out.shape == x.shape
    np.testing.assert_array_equal(out, reference(x, p, 2**63 + 5, 2**32 - 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_do_not_change_the_result(monkeypatch, dtype):
    x = np.random.default_rng(1).normal(size=4 * 70_000 + 1).astype(dtype)
    serial = dropout(x, 0.3, 1, 2)
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    np.testing.assert_array_equal(dropout(x, 0.3, 1, 2), serial)


def test_backward_has_the_mask_of_forward():
    out, back = dropout(np.ones(1000), 0.4, 5, 6), dropout(np.full(1000, 3.0), 0.4, 5, 6)
    np.testing.assert_array_equal(back, 3.0 * out)


def test_share_of_zeros_and_mean():
    out = dropout(np.ones(100_000), 0.25, 7)
    assert abs((out == 0).mean() - 0.25) < 0.005
    assert abs(out.mean() - 1) < 0.01


def test_corner_values():
    x = np.array([1.0, np.inf, np.nan, -2.0, 5.0])
    np.testing.assert_array_equal(dropout(x, 1.0, 0), np.zeros(5))
    np.testing.assert_array_equal(dropout(x, 0.0, 0), x)
    assert dropout(np.full(64, np.nan), 0.5, 0).tolist().count(0.0) > 10  # dropped means 0, not NaN
    assert threshold(1.0) == 2**32
    transposed = np.arange(12.0).reshape(3, 4).T
    np.testing.assert_array_equal(dropout(transposed, 0.5, 3), dropout(transposed.copy(), 0.5, 3))


def test_errors():
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(np.ones(3), 1.5, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(np.ones(3), float("nan"), 0)
    with pytest.raises(TypeError, match="int64"):
        dropout(np.arange(3), 0.5, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loop_is_vectorised(dtype):
    fresh = njit(error_model="numpy")(module._drop_blocks.py_func)  # code from the cache has no assembly
    x, word = np.ones(8, dtype), np.uint64(1)
    fresh(0, 2, x, x.copy(), word, dtype(2), dtype(0), word, word)
    (assembly,) = fresh.inspect_asm().values()
    if "imul" not in assembly and "pmuludq" not in assembly:
        pytest.skip("the instructions looked for are those of x86-64")
    assert "pmuludq" in assembly
