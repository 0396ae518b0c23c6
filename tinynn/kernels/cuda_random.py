"""Random numbers and the masks of dropout as CUDA kernels that read their position from the GPU's memory.

The numbers are those of `tinynn.kernels.philox`. Because seed and counter are read, and are no arguments, a launch in a
CUDA graph draws new numbers at every replay.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.kernels.cuda_launch import Launch
from tinynn.kernels.philox import CUDA_SOURCE

__all__ = ["KINDS", "draw", "keep"]

_PHILOX = CUDA_SOURCE[: CUDA_SOURCE.index('extern "C"')]
_THREADS = 256
_MOST_BLOCKS = 1 << 16
_TYPES = ("pointer", "pointer", "long long", "unsigned long long")

# One thread for each block of four words. `words` of the block make `per` values.
_LOOP = """
extern "C" __global__ void %(name)s(T* out, const unsigned long long* position, long long n%(parameters)s)
{
    const long long blocks = (n + %(per)d - 1) / %(per)d, stride = (long long)blockDim.x * gridDim.x;
    for (long long b = (long long)blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += stride) {
        unsigned int w[4];
        T values[%(per)d];
        philox4x32(position[1] + b, position[0], w);
%(body)s
        for (int j = 0; j < %(per)d; ++j)
            if (b * %(per)d + j < n) out[b * %(per)d + j] = values[j];
    }
}
"""

_BITS64 = "(((unsigned long long)w[2 * j] << 32) | w[2 * j + 1])"
_UNIFORM32 = "values[j] = (float)(w[j] >> 8) * 5.9604644775390625e-08f;"
_UNIFORM64 = f"values[j] = (double)({_BITS64} >> 11) * 1.1102230246251565e-16;"
# Box and Muller, as in philox.normal: u in (0, 1], v in [0, 1)
_NORMAL32 = """\
const float u = (float)((double)w[2 * j] + 1.0) * 2.3283064365386963e-10f;
const float angle = (float)(w[2 * j + 1] >> 8) * 5.9604644775390625e-08f * 6.2831855f;
const float radius = sqrt(-2.0f * log(u));
values[2 * j] = radius * cos(angle);
values[2 * j + 1] = radius * sin(angle);"""
_NORMAL64 = """\
const double u = 1.0 - (double)((((unsigned long long)w[0] << 32) | w[1]) >> 11) * 1.1102230246251565e-16;
const double angle = (double)((((unsigned long long)w[2] << 32) | w[3]) >> 11) * 1.1102230246251565e-16
                     * 6.283185307179586;
const double radius = sqrt(-2.0 * log(u));
values[0] = radius * cos(angle);
values[1] = radius * sin(angle);"""
_INTEGERS = f"values[j] = low + (long long)(width ? __umul64hi({_BITS64}, width) : {_BITS64});"

# kind and dtype -> how many values a block of words makes, how often the body runs, and the body
_BODIES = {
    ("uniform", "float32"): (4, 4, _UNIFORM32), ("uniform", "float64"): (2, 2, _UNIFORM64),
    ("normal", "float32"): (4, 2, _NORMAL32), ("normal", "float64"): (2, 1, _NORMAL64),
    ("integers", "int64"): (2, 2, _INTEGERS),
}  # fmt: skip
KINDS = tuple(_BODIES)

_CTYPE = {"float32": "float", "float64": "double", "int64": "long long"}

_KEEP = """
extern "C" __global__ void keep(bool* out, const unsigned long long* position, long long n,
                                unsigned long long threshold)
{
    const long long blocks = (n + 3) / 4, stride = (long long)blockDim.x * gridDim.x;
    for (long long b = (long long)blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += stride) {
        unsigned int w[4];
        philox4x32(position[1] + b, position[0], w);
        for (int j = 0; j < 4; ++j)
            if (4 * b + j < n) out[4 * b + j] = w[j] >= threshold;
    }
}
"""


def draw(
    kind: str, dtype: str, n: int, out: int, position: int, low: int | None = None, high: int | None = None
) -> Launch:
    """The launch that writes n numbers.

    Parameters
    ----------
    kind, dtype : one of `KINDS`
    out, position : addresses, of the numbers and of [seed, first block], two uint64
    low, high : the range of integers
    """
    per, turns, body = _BODIES[kind, dtype]
    name = f"{kind}_{dtype}"
    lines = [f"{12 * ' '}{line}" for line in body.splitlines()]
    text = "\n".join([f"        for (int j = 0; j < {turns}; ++j) {{", *lines, "        }"])
    arguments: tuple[Any, ...] = (np.uint64(out), np.uint64(position), np.int64(n))
    types: tuple[str, ...] = ("pointer", "pointer", "long long")
    parameters = ""
    if kind == "integers":
        assert low is not None
        assert high is not None
        parameters = ", long long low, unsigned long long width"
        arguments += (np.int64(low), np.uint64((high - low) % 2**64))
        types += ("long long", "unsigned long long")
    source = f"typedef {_CTYPE[dtype]} T;\n{_PHILOX.lstrip()}" + (
        _LOOP.lstrip() % {"name": name, "per": per, "body": text, "parameters": parameters}
    )
    return Launch(name, source, _grid(-(-n // per)), (_THREADS, 1), arguments, types)


def keep(p: float, n: int, out: int, position: int) -> Launch:
    """The launch for which elements dropout keeps: n bools, false with probability p."""
    source = _PHILOX.lstrip() + _KEEP.lstrip()
    arguments = (np.uint64(out), np.uint64(position), np.int64(n), np.uint64(math.floor(p * 2.0**32)))
    return Launch("keep", source, _grid(-(-n // 4)), (_THREADS, 1), arguments, _TYPES)


def _grid(blocks: int) -> tuple[int, int]:
    return min(max(-(-blocks // _THREADS), 1), _MOST_BLOCKS), 1
