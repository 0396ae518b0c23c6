"""Philox: the published vectors, one stream in three languages, and distributions that are what they say."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from tinynn.kernels import dropout, philox, philox_numba, threads

BIG = 2**64 - 1

# Known answers from the distribution of Random123 (philox4x32, 10 rounds): counter, key, result.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_vectors(counter, key, expected):
    words = philox.philox4x32(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert words.tolist() == expected


def plain_block(block, seed):
    """The algorithm once more, in Python integers."""
    c0, c1, c2, c3 = block & 0xFFFFFFFF, block >> 32, 0, 0
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


STREAMS = [(0, 0), (1, 5), (BIG, 0), (12345678901234567890, 2**32 - 3), (7, BIG - 2)]


@pytest.mark.parametrize(("seed", "offset"), STREAMS)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 31, 64, 1001])
def test_numpy_and_numba_give_the_words_of_the_definition(n, seed, offset):
    expected = [w for b in range((n + 3) // 4) for w in plain_block((offset + b) % 2**64, seed)][:n]
    for random_bits in (philox.random_bits, philox_numba.random_bits):
        words = random_bits(n, seed, offset)
        assert words.dtype == np.uint32
        assert words.tolist() == expected


def test_chunks_and_threads_do_not_change_the_stream(monkeypatch):
    n = 4 * 40_000 + 3
    words = philox.random_bits(n, 9, 2**40)
    assert (philox_numba.random_bits(n, 9, 2**40) == words).all()
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    assert (philox_numba.random_bits(n, 9, 2**40) == words).all()


def test_numba_loop_is_vectorised():
    fresh = njit(error_model="numpy")(philox_numba._fill_blocks.py_func)  # code from the cache has no assembly
    fresh(0, 1, np.empty(4, np.uint32), np.uint64(0), np.uint64(0))
    (assembly,) = fresh.inspect_asm().values()
    if "imul" not in assembly and "pmuludq" not in assembly:
        pytest.skip("the instructions looked for are those of x86-64")
    assert "pmuludq" in assembly


@pytest.mark.parametrize(
    ("draw", "call"),
    [
        ("bits", lambda n, offset, dtype: philox.random_bits(n, 3, offset)),
        ("uniform", lambda n, offset, dtype: philox.uniform(n, 3, offset, dtype)),
        ("normal", lambda n, offset, dtype: philox.normal(n, 3, offset, dtype)),
        ("integers", lambda n, offset, dtype: philox.integers(n, -5, 5, 3, offset)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_consumed_is_where_the_next_draw_starts(draw, call, dtype):
    whole = call(16, 0, dtype)
    blocks = philox.blocks_consumed(draw, 8, dtype)
    np.testing.assert_array_equal(call(8, blocks, dtype), whole[8:])
    for n in (0, 1, 2, 3, 5, 7):
        np.testing.assert_array_equal(call(n, 0, dtype), whole[:n])  # a shorter draw is a prefix
        assert philox.blocks_consumed(draw, n, dtype) <= philox.blocks_consumed(draw, n + 1, dtype)
    assert philox.blocks_consumed(draw, 0, dtype) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype):
    u = philox.uniform(200_000, 11, dtype=dtype)
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    assert ((counts - 2000.0) ** 2 / 2000.0).sum() < 160  # chi squared with 99 degrees of freedom


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal(dtype):
    x = philox.normal(200_000, 12, dtype=dtype)
    assert x.dtype == dtype
    assert np.isfinite(x).all()
    moments = [np.mean(x.astype(np.float64) ** k) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.06)
    assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 0.01


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0, 10), (-7, 6), (0, 2**40 + 1), (-(2**63), 2**63), (2**62, 2**63), (-(2**63), -(2**62))],
)
def test_integers_against_exact_arithmetic(low, high):
    words = philox.random_bits(200, 13).astype(object)
    exact = [low + ((int(a) << 32 | int(b)) * (high - low) >> 64) for a, b in words.reshape(-1, 2)]
    assert philox.integers(100, low, high, 13).tolist() == exact


def test_permutation():
    for n in (0, 1, 2, 17, 1000):
        assert sorted(philox.permutation(n, 14).tolist()) == list(range(n))
    firsts = [philox.permutation(3, seed).tolist() for seed in range(600)]
    counts = np.unique([100 * a + 10 * b + c for a, b, c in firsts], return_counts=True)[1]
    assert len(counts) == 6
    assert counts.min() > 65


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: philox.random_bits(-1, 0), "not negative"),
        (lambda: philox.random_bits(1, -1), "seed is -1"),
        (lambda: philox.random_bits(1, 0, 2**64), "offset is 18446744073709551616"),
        (lambda: philox_numba.random_bits(1, -1), "seed is -1"),
        (lambda: philox_numba.random_bits(1.5, 0), "not negative"),
        (lambda: philox.integers(1, 3, 3, 0), "needs low < high"),
        (lambda: philox.blocks_consumed("dice", 1), "known are"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_two_dtypes_are_drawn():
    with pytest.raises(TypeError, match="cast them afterwards"):
        philox.uniform(1, 0, dtype=np.float16)


# The CUDA source is compiled twice: by nvcc, to see that it is CUDA, and by the host's C++ compiler behind a
# few lines that play the part of the launch, to see its bits on a machine without a GPU.
HOST = r"""
#include <cstdio>
#include <cstdlib>
#define __device__
#define __global__
#define __forceinline__ inline
struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim = {5, 1, 1}, gridDim = {3, 1, 1};
SOURCE
int main(int argc, char** argv)
{
    unsigned long long n = strtoull(argv[1], 0, 10), seed = strtoull(argv[2], 0, 10);
    unsigned long long offset = strtoull(argv[3], 0, 10);
    unsigned int* out = (unsigned int*)malloc(4 * n + 4);
    float *x = (float*)malloc(4 * n + 4), *y = (float*)malloc(4 * n + 4);
    for (unsigned long long i = 0; i < n; ++i) x[i] = (float)i;
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) {
            philox_bits(out, n, seed, offset);
            dropout_float(x, y, n, 0x80000000u, 2.0f, seed, offset);
        }
    for (unsigned long long i = 0; i < n; ++i) printf("%u %.9g\n", out[i], y[i]);
}
"""


def test_cuda_source_has_the_same_bits_when_compiled_for_the_host(tmp_path: Path):
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler on this machine")
    (tmp_path / "host.cpp").write_text(HOST.replace("SOURCE", dropout.CUDA_SOURCE))
    subprocess.run([compiler, "-O1", "-w", "-o", tmp_path / "host", tmp_path / "host.cpp"], check=True)
    for n, (seed, offset) in zip([1, 4, 61, 1001], STREAMS[1:]):
        lines = subprocess.run(
            [tmp_path / "host", str(n), str(seed), str(offset)], check=True, capture_output=True, text=True
        ).stdout.split()
        assert [int(word) for word in lines[::2]] == philox.random_bits(n, seed, offset).tolist()
        kept = dropout.dropout(np.arange(n, dtype=np.float32), 0.5, seed, offset)
        assert [float(value) for value in lines[1::2]] == kept.tolist()


def test_cuda_source_compiles(tmp_path: Path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on this machine")
    source = tmp_path / "kernels.cu"
    source.write_text(dropout.CUDA_SOURCE)
    done = subprocess.run([nvcc, "-ptx", "-o", tmp_path / "kernels.ptx", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ptx = (tmp_path / "kernels.ptx").read_text()
    assert all(f".entry {name}" in ptx for name in ("philox_bits", "dropout_float", "dropout_double"))
