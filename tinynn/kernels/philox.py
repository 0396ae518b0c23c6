"""Philox4x32-10: random numbers that are a function of (seed, position), in plain NumPy.

A counter-based generator has no hidden state. Block ``b`` of the stream with a given seed is

    words[4 * b : 4 * b + 4] = philox4x32_10(counter=(b low, b high, 0, 0), key=(seed low, seed high))

so any element can be computed alone, in any order, on any machine, and the same seed gives the same numbers
in NumPy, in Numba (``philox_numba``) and on a GPU (``CUDA_SOURCE``). A draw of ``n`` words that starts at
block ``offset`` uses the blocks ``offset, ..., offset + blocks_consumed("bits", n) - 1``; the next draw
starts after them.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC11 (2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = [
    "CUDA_SOURCE",
    "ROUNDS",
    "blocks_consumed",
    "integers",
    "normal",
    "permutation",
    "philox4x32",
    "random_bits",
    "split64",
    "uniform",
]

ROUNDS = 10
MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57  # the multipliers of the two halves of a block
WEYL_0, WEYL_1 = (
    0x9E3779B9,
    0xBB67AE85,
)  # what the key grows by from round to round (golden ratio, sqrt(3) - 1)

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_CHUNK = 8192  # blocks worked on at a time, so that the sixty-odd passes stay in the cache


def split64(value: int, name: str) -> tuple[int, int]:
    """Return the low and the high 32 bits of an integer in [0, 2**64).

    Examples
    --------
    >>> split64(2**32 + 7, "seed")
    (7, 1)
    """
    value = int(value)
    if not 0 <= value < 2**64:
        raise ValueError(f"{name} is {value}: it must lie in [0, 2**64); take {name} % 2**64 to fold a larger number")
    return value & 0xFFFFFFFF, value >> 32


def philox4x32(counter: NDArray[np.uint32], key: NDArray[np.uint32], rounds: int = ROUNDS) -> NDArray[np.uint32]:
    """Encrypt counters (..., 4) under keys (..., 2): the bare block function of the paper.

    One round, with hi and lo the halves of a 32 x 32 -> 64 bit product::

        c0, c1, c2, c3 = hi(M1 * c2) ^ c1 ^ k0,  lo(M1 * c2),  hi(M0 * c0) ^ c3 ^ k1,  lo(M0 * c0)
        k0, k1         = k0 + W0,  k1 + W1                                       (modulo 2**32)

    Examples
    --------
    >>> [hex(word) for word in philox4x32(np.zeros(4, np.uint32), np.zeros(2, np.uint32))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = (np.asarray(counter)[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = (np.asarray(key)[..., i].astype(np.uint64) for i in range(2))
    for _ in range(rounds):
        p0, p1 = np.uint64(MULTIPLIER_0) * c0, np.uint64(MULTIPLIER_1) * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + np.uint64(WEYL_0)) & _LOW, (k1 + np.uint64(WEYL_1)) & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def random_bits(n: int, seed: int, offset: int = 0) -> NDArray[np.uint32]:
    """Return n words of 32 random bits; word i is word i % 4 of block ``offset + i // 4`` (modulo 2**64).

    Examples
    --------
    >>> [hex(word) for word in random_bits(5, seed=0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8', '0xf8e4cca4']
    >>> bool((random_bits(8, seed=3, offset=2) == random_bits(16, seed=3)[8:]).all())
    True
    """
    n = _count(n)
    key = np.array(split64(seed, "seed"), np.uint32)
    split64(offset, "offset")
    out = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(out), _CHUNK):
        stop = min(start + _CHUNK, len(out))
        block = np.arange(stop - start, dtype=np.uint64) + np.uint64((int(offset) + start) % 2**64)
        zero = np.zeros_like(block)
        out[start:stop] = philox4x32(np.stack([block & _LOW, block >> _32, zero, zero], axis=-1), key)
    return out.reshape(-1)[:n]


def blocks_consumed(draw: str, n: int, dtype: DTypeLike = np.float64) -> int:
    """Return how many blocks of the stream a draw of n values uses: what to add to ``offset`` before
    the next draw.

    ``draw`` is "bits" (one word a value), "uniform" or "normal" (one word in float32, two in float64),
    "integers" or "permutation" (two words). Normal numbers come in pairs, so n is rounded up to even.

    Examples
    --------
    >>> blocks_consumed("bits", 5), blocks_consumed("uniform", 5, "float32"), blocks_consumed("normal", 5)
    (2, 2, 3)
    """
    n = _count(n)
    if draw in ("uniform", "normal"):
        words = 1 if _float_dtype(dtype) == np.float32 else 2
    elif draw in ("bits", "integers", "permutation"):
        words = 1 if draw == "bits" else 2
    else:
        raise ValueError(f"draw is {draw!r}: known are 'bits', 'uniform', 'normal', 'integers' and 'permutation'")
    if draw == "normal":
        n += n % 2
    return -(-n * words // 4)


def uniform(n: int, seed: int, offset: int = 0, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return n numbers that are uniform in [0, 1).

    float64: 53 bits, ``(a * 2**32 + b) >> 11`` over 2**53 from two words; float32: the high 24 bits of one
    word over 2**24.

    Examples
    --------
    >>> uniform(2, seed=0, dtype="float32").tolist()
    [0.3990464210510254, 0.8805201649665833]
    """
    if _float_dtype(dtype) == np.float32:
        return (random_bits(n, seed, offset) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    return (_random_bits64(n, seed, offset) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(n: int, seed: int, offset: int = 0, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return n standard normal numbers (Box and Muller 1958).

    From two uniform numbers u in (0, 1] and v in [0, 1) come two independent normal ones,
    ``sqrt(-2 log u) cos(2 pi v)`` and ``sqrt(-2 log u) sin(2 pi v)``. In float32, u has 32 bits (so the tail
    reaches 6.6 standard deviations) and v has 24; in float64 both have 53.

    Examples
    --------
    >>> x = normal(100_000, seed=1)
    >>> bool(abs(x.mean()) < 0.01), bool(abs(x.std() - 1) < 0.01)
    (True, True)
    """
    n = _count(n)
    pairs = -(-n // 2)
    if _float_dtype(dtype) == np.float32:
        words = random_bits(2 * pairs, seed, offset).reshape(pairs, 2)
        u = (words[:, 0].astype(np.float64) + 1.0).astype(np.float32) * np.float32(2.0**-32)
        v = (words[:, 1] >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    else:
        uv = uniform(2 * pairs, seed, offset).reshape(pairs, 2)
        u, v = 1.0 - uv[:, 0], uv[:, 1]
    radius = np.sqrt(-2.0 * np.log(u))
    angle = v * v.dtype.type(2.0 * np.pi)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:n]


def integers(n: int, low: int, high: int, seed: int, offset: int = 0) -> NDArray[np.int64]:
    """Return n integers that are uniform in [low, high): ``low + floor(bits64 * (high - low) / 2**64)``.

    No two values differ in probability by more than 2**-64, which no one can measure.

    Examples
    --------
    >>> integers(6, 1, 7, seed=0).tolist()
    [3, 5, 6, 5, 1, 1]
    """
    low, high = int(low), int(high)
    if not -(2**63) <= low < high <= 2**63:
        raise ValueError(f"integers in [{low}, {high}): needs low < high, both within the range of int64")
    if high - low == 2**64:
        return _random_bits64(n, seed, offset).view(np.int64) ^ np.int64(-(2**63))  # every pattern once
    width_low, width_high = (np.uint64(part) for part in split64(high - low, "high - low"))
    bits = _random_bits64(n, seed, offset)
    bits_low, bits_high = bits & _LOW, bits >> _32
    # The high half of the 128-bit product bits * width, by long multiplication with 32-bit digits.
    middle = bits_high * width_low + (bits_low * width_low >> _32)
    carry = bits_low * width_high + (middle & _LOW)
    product = bits_high * width_high + (middle >> _32) + (carry >> _32)
    return (product + np.uint64(low % 2**64)).view(np.int64)


def permutation(n: int, seed: int, offset: int = 0) -> NDArray[np.int64]:
    """Return the numbers 0 .. n - 1 in random order: a stable argsort of 64-bit random keys.

    Examples
    --------
    >>> permutation(6, seed=0).tolist()
    [4, 5, 0, 3, 1, 2]
    """
    return np.argsort(_random_bits64(n, seed, offset), kind="stable").astype(np.int64, copy=False)


def _random_bits64(n: int, seed: int, offset: int) -> NDArray[np.uint64]:
    """Return n words of 64 bits, each made of two words of the stream, the first one high."""
    words = random_bits(2 * _count(n), seed, offset).astype(np.uint64).reshape(-1, 2)
    return (words[:, 0] << _32) | words[:, 1]


def _count(n: int) -> int:
    """Return n as an int, or say what is wrong with it."""
    if int(n) != n or n < 0:
        raise ValueError(f"n is {n!r}: the number of values to draw must be an integer that is not negative")
    return int(n)


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64, or say that nothing else can be drawn."""
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype is {dtype}: random numbers are drawn in float32 or float64; cast them afterwards")
    return dtype


#: CUDA C of the same stream: the block function for other kernels to call, and ``philox_bits``, which writes
#: n words. Launch one thread per block of four words; the bits do not depend on the launch shape.
CUDA_SOURCE = r"""
__device__ __forceinline__ void philox4x32(unsigned long long block, unsigned long long seed,
                                           unsigned int w[4])
{
    unsigned int c0 = (unsigned int)block, c1 = (unsigned int)(block >> 32), c2 = 0u, c3 = 0u;
    unsigned int k0 = (unsigned int)seed, k1 = (unsigned int)(seed >> 32);
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        unsigned long long p0 = 0xD2511F53ull * c0;
        unsigned long long p1 = 0xCD9E8D57ull * c2;
        c0 = (unsigned int)(p1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned int)p1;
        c2 = (unsigned int)(p0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned int)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    w[0] = c0; w[1] = c1; w[2] = c2; w[3] = c3;
}

extern "C" __global__ void philox_bits(unsigned int* out, unsigned long long n, unsigned long long seed,
                                       unsigned long long offset)
{
    unsigned long long blocks = (n + 3ull) / 4ull;
    unsigned long long stride = (unsigned long long)blockDim.x * gridDim.x;
    unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned long long b = first; b < blocks; b += stride) {
        unsigned int w[4];
        philox4x32(offset + b, seed, w);
        for (int j = 0; j < 4; ++j)
            if (4ull * b + j < n) out[4ull * b + j] = w[j];
    }
}
"""
