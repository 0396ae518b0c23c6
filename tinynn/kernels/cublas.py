"""Matrix products by cuBLAS, called directly: so that they can be part of a CUDA graph, which CuPy's ``@`` refuses.

What a captured call must not do is allocate memory. cuBLAS does so for its workspace unless it is given one, and
``cublasSetStream`` takes a workspace away again: `Cublas.use` sets both, in this order.

float32 products are computed in float32. The tensor cores' TF32, which keeps 10 bits of the fraction where float32
has 23, is several times faster and is used only if `allow_tf32` says so. By default that follows ``CUPY_TF32=1``,
CuPy's own switch, so that compiled and eager steps round alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["WORKSPACE", "Cublas", "layout", "tf32_is_on"]

WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper, and more than older GPUs want
_DEFAULT_MATH, _TF32_MATH = 0, 3
_VERSIONS = ("13", "12")
_LARGEST = 2**31 - 1
_ERRORS = {
    1: "not initialised", 3: "out of memory", 7: "an invalid value", 8: "not supported on this GPU",
    11: "memory could not be accessed", 13: "execution failed", 14: "internal error", 15: "not supported",
}  # fmt: skip


def tf32_is_on() -> bool:
    """Whether the environment asks for TF32: ``CUPY_TF32=1``."""
    return os.environ.get("CUPY_TF32", "0") == "1"


def layout(shape: Sequence[int], strides: Sequence[int]) -> tuple[bool, int] | None:
    """How a matrix lies: whether by columns, and the distance between two rows (or columns); None if as neither.

    Examples
    --------
    >>> layout((3, 4), (4, 1)), layout((3, 4), (1, 3)), layout((3, 4), (8, 2)), layout((3, 4), (0, 1))
    ((False, 4), (True, 3), None, None)
    """
    (m, n), (down, right) = shape, strides
    if (n == 1 or right == 1) and (m == 1 or down >= n):
        return False, max(n, 1) if m == 1 else down
    if (m == 1 or down == 1) and (n == 1 or right >= m):
        return True, max(m, 1) if n == 1 else right
    return None


class Cublas:
    """A handle of its own.

    Parameters
    ----------
    library : cuBLAS as a `ctypes.CDLL`; looked for if None
    allow_tf32 : whether float32 products may be rounded to TF32; by the environment if None

    Raises
    ------
    ImportError
        If cuBLAS is not found.
    """

    def __init__(self, library: Any = None, allow_tf32: bool | None = None) -> None:
        self.library = find() if library is None else library
        self.allow_tf32 = tf32_is_on() if allow_tf32 is None else allow_tf32
        handle = ctypes.c_void_p()
        self._check("cublasCreate", self.library.cublasCreate_v2(ctypes.byref(handle)))
        self._handle = handle
        mode = _TF32_MATH if self.allow_tf32 else _DEFAULT_MATH
        self._check("cublasSetMathMode", self.library.cublasSetMathMode(handle, ctypes.c_int(mode)))
        self._numbers: dict[str, tuple[Any, Any]] = {
            "float32": (ctypes.c_float(1.0), ctypes.c_float(0.0)),
            "float64": (ctypes.c_double(1.0), ctypes.c_double(0.0)),
        }
        self._gemm = {"float32": self.library.cublasSgemm_v2, "float64": self.library.cublasDgemm_v2}

    def use(self, stream: int, workspace: int, nbytes: int = WORKSPACE) -> None:
        """Let the next products run on a stream, with memory that they may use."""
        self._check("cublasSetStream", self.library.cublasSetStream_v2(self._handle, ctypes.c_void_p(stream)))
        status = self.library.cublasSetWorkspace_v2(
            self._handle, ctypes.c_void_p(workspace), ctypes.c_size_t(nbytes)
        )  # fmt: skip
        self._check("cublasSetWorkspace", status)

    def multiply(
        self, dtype: str, sizes: tuple[int, int, int], a: tuple[int, bool, int], b: tuple[int, bool, int],
        out: tuple[int, int],
    ) -> None:  # fmt: skip
        """out = a @ b, of matrices of which out lies by rows.

        Parameters
        ----------
        dtype : "float32" or "float64"
        sizes : (m, n, k): rows of out, columns of out, length of the sums
        a, b : address, and the two numbers of `layout`
        out : address, and the distance between two rows
        """
        m, n, k = sizes
        if max(m, n, k, a[2], b[2], out[1]) > _LARGEST:
            raise ValueError(f"a product of {m}x{k} and {k}x{n} is too large for cuBLAS: its sizes are 32 bit integers")
        one, zero = self._numbers[dtype]
        # cuBLAS thinks in columns: what lies by rows is the transpose to it, and out.T = b.T a.T
        status = self._gemm[dtype](
            self._handle, ctypes.c_int(b[1]), ctypes.c_int(a[1]), ctypes.c_int(n), ctypes.c_int(m), ctypes.c_int(k),
            ctypes.byref(one), ctypes.c_void_p(b[0]), ctypes.c_int(b[2]), ctypes.c_void_p(a[0]), ctypes.c_int(a[2]),
            ctypes.byref(zero), ctypes.c_void_p(out[0]), ctypes.c_int(out[1]),
        )  # fmt: skip
        self._check(f"the product of {m}x{k} and {k}x{n} in {dtype}", status)

    def _check(self, what: str, status: int) -> None:
        if status:
            raise RuntimeError(f"cuBLAS: {what} failed: {_ERRORS.get(status, 'unknown error')} (status {status})")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.library.cublasDestroy_v2(self._handle)


@functools.cache
def find() -> Any:
    """The shared library.

    Raises
    ------
    ImportError
        With the places that were looked at.
    """
    with contextlib.suppress(Exception):  # what CuPy has found and loaded is then known by its name
        importlib.import_module("cupy_backends.cuda.libs.cublas")
    tried = []
    for name in _candidates():
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append(str(error))
    raise ImportError(
        "compiled steps on the GPU need cuBLAS, which comes with the CUDA toolkit and with "
        "pip install nvidia-cublas-cu12 (CUDA 13: nvidia-cublas); looked for:\n  " + "\n  ".join(tried)
    )


def _candidates() -> Iterator[str]:
    names = [f"libcublas.so.{version}" for version in _VERSIONS] + [f"cublas64_{v}.dll" for v in _VERSIONS]
    yield from names
    yield "libcublas.so"
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if root := os.environ.get(variable):
            for name in names:
                yield from map(str, [Path(root, "lib64", name), Path(root, "bin", name)])
    found = importlib.util.find_spec("nvidia")
    for folder in (found.submodule_search_locations or []) if found else []:
        for pattern in ("cublas/lib/libcublas.so.*", "cu13/lib/libcublas.so.*", "cublas/bin/cublas64_*.dll"):
            yield from map(str, sorted(Path(folder).glob(pattern)))
