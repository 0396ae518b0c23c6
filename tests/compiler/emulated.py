"""Printed CUDA code on the CPU: g++ compiles it as C++, with a small header for what CUDA adds to the language.

A block's threads are coroutines that take turns at each ``__syncthreads()``, so that shared memory and barriers mean
what they mean on a GPU. Blocks run one after the other, in an order that changes from launch to launch: code that
depends on it shows. It says nothing about speed, caches, or races within a block that a barrier is missing for.

`library_like_cublas` is a shared library with cuBLAS's names and argument lists, over host memory.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMPILER = shutil.which("g++")
_OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-w")

_HEADER = r"""
#include <cmath>
#include <cstring>
#include <vector>
#include <ucontext.h>
using namespace std;
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
static inline double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{ return (unsigned long long)(((unsigned __int128)a * b) >> 64); }
static ucontext_t scheduler;
static ucontext_t* running;
static inline void __syncthreads() { swapcontext(running, &scheduler); }
"""

_LAUNCHER = r"""
static void** given;
static void body() { %(call)s; }
static vector<char> finished;
static int current;
static void thread() { body(); finished[current] = 1; swapcontext(running, &scheduler); }

extern "C" void launch(unsigned gx, unsigned gy, unsigned bx, unsigned by, void** arguments, unsigned shuffle)
{
    gridDim = {gx, gy, 1}; blockDim = {bx, by, 1}; given = arguments;
    const unsigned threads = bx * by, blocks = gx * gy, stack = 1 << 16;
    const bool barriers = %(barriers)d;
    vector<char> stacks(barriers ? (size_t)threads * stack : 0);
    vector<ucontext_t> contexts(barriers ? threads : 0);
    for (unsigned turn = 0; turn < blocks; ++turn) {
        const unsigned block = (turn + shuffle) %% blocks;  // begin anywhere
        blockIdx = {block %% gx, block / gx, 0};
        if (!barriers) {
            for (unsigned t = 0; t < threads; ++t) { threadIdx = {t %% bx, t / bx, 0}; body(); }
            continue;
        }
        finished.assign(threads, 0);
        for (unsigned t = 0; t < threads; ++t) {
            getcontext(&contexts[t]);
            contexts[t].uc_stack.ss_sp = &stacks[(size_t)t * stack];
            contexts[t].uc_stack.ss_size = stack;
            contexts[t].uc_link = 0;
            makecontext(&contexts[t], thread, 0);
        }
        for (bool busy = true; busy;) {
            busy = false;
            for (unsigned i = 0; i < threads; ++i) {
                const unsigned t = shuffle %% 2 ? threads - 1 - i : i;
                if (finished[t]) continue;
                threadIdx = {t %% bx, t / bx, 0}; current = t; running = &contexts[t];
                swapcontext(&scheduler, &contexts[t]);
                busy = busy || !finished[t];
            }
        }
    }
}
"""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Lives as long as the process, with the header that all kernels include, parsed once."""
    folder = tempfile.TemporaryDirectory(prefix="tinynn-cuda-on-cpu-")
    header = Path(folder.name, "cuda.h")
    header.write_text(_HEADER)
    assert COMPILER is not None
    subprocess.run([COMPILER, *_OPTIONS, "-x", "c++-header", str(header)], check=True)
    return folder


def library(text: str) -> ctypes.CDLL:
    """C++ text as a shared library."""
    assert COMPILER is not None
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    target = Path(_folder().name, f"{name}.so")
    if not target.exists():
        source = Path(_folder().name, f"{name}.cpp")
        source.write_text(text)
        command = [COMPILER, *_OPTIONS, "-shared", "-o", str(target), str(source)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"g++ refuses the kernel:\n{made.stderr}\n{text}")
    return ctypes.CDLL(str(target))


class Kernel:
    """A CUDA kernel that runs on the CPU, called with grid, block, and NumPy scalars as arguments."""

    def __init__(self, source: str, name: str, types: Sequence[str]) -> None:
        head = source[source.index(f"{name}(") + len(name) + 1 :]
        head = head[: head.index(")")]
        self.ctypes = [" ".join(p.split()[:-1]) for p in head.split(",")]
        assert len(self.ctypes) == len(types)
        call = ", ".join(f"*({ctype}*)given[{i}]" for i, ctype in enumerate(self.ctypes))
        text = (
            '#include "cuda.h"\n'
            + source
            + _LAUNCHER % {"call": f"{name}({call})", "barriers": "__syncthreads" in source}
        )
        self.function = library(text).launch
        self.calls = 0

    def __call__(self, grid: tuple[int, int], block: tuple[int, int], arguments: Sequence[Any]) -> None:
        held = [ctypes.create_string_buffer(a.tobytes(), a.itemsize) for a in arguments]
        pointers = (ctypes.c_void_p * len(held))(*[ctypes.addressof(b) for b in held])
        self.calls += 1
        self.function(*grid, *block, pointers, self.calls)


_CUBLAS = r"""
#include <cstddef>
static int calls, mode = -1, stream_set;
static void* workspace;
static size_t workspace_bytes;
extern "C" {
int cublasCreate_v2(void** handle) { *handle = &calls; return 0; }
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void* h, void*) { stream_set = 1; workspace = 0; return h == &calls ? 0 : 1; }
int cublasSetWorkspace_v2(void*, void* p, size_t n) { workspace = p; workspace_bytes = n; return 0; }
int cublasSetMathMode(void*, int m) { mode = m; return 0; }
int math_mode() { return mode; }
}
template <class T>
int multiply(void* h, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda, const T* b, int ldb,
             const T* beta, T* c, int ldc)
{
    if (h != &calls || !stream_set || !workspace || !workspace_bytes) return 1;   // CUBLAS_STATUS_NOT_INITIALIZED
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7;             // CUBLAS_STATUS_INVALID_VALUE
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
            T sum = 0;
            for (int l = 0; l < k; ++l)
                sum += a[ta ? l + (size_t)i * lda : i + (size_t)l * lda] *
                       b[tb ? j + (size_t)l * ldb : l + (size_t)j * ldb];
            T* to = c + i + (size_t)j * ldc;
            *to = *alpha * sum + (*beta == 0 ? 0 : *beta * *to);
        }
    ++calls;
    return 0;
}
extern "C" int cublasSgemm_v2(void* h, int ta, int tb, int m, int n, int k, const float* x, const float* a, int lda,
                              const float* b, int ldb, const float* y, float* c, int ldc)
{ return multiply(h, ta, tb, m, n, k, x, a, lda, b, ldb, y, c, ldc); }
extern "C" int cublasDgemm_v2(void* h, int ta, int tb, int m, int n, int k, const double* x, const double* a, int lda,
                              const double* b, int ldb, const double* y, double* c, int ldc)
{ return multiply(h, ta, tb, m, n, k, x, a, lda, b, ldb, y, c, ldc); }
"""


def library_like_cublas() -> ctypes.CDLL:
    """cuBLAS's functions for memory of the CPU. A product without a stream and a workspace set before is an error."""
    return library(_CUBLAS)
