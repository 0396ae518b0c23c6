"""What `CudaMachine` asks of a GPU, in a few functions: memory, copies, kernels, products, graphs.

The machine knows a plan and no CuPy; this knows CuPy and no plan. Tests put a device in its place whose memory is
NumPy's, so that everything but the GPU itself runs without one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.backends import cupy_backend
from tinynn.kernels.cublas import WORKSPACE, Cublas
from tinynn.kernels.cuda_launch import Launch

__all__ = ["CupyDevice", "Table"]

_HOST_TO_DEVICE, _ON_DEVICE = 1, 3  # of cudaMemcpyKind
_OPTIONS = ("--std=c++17",)


class CupyDevice:
    """The current GPU, through CuPy.

    All work goes to CuPy's current stream, so that it stays in order with the user's own; graphs are captured on a
    stream of their own and launched on the current one.
    """

    def __init__(self, allow_tf32: bool | None = None) -> None:
        self.cupy = cupy_backend.require()
        self.cublas = Cublas(allow_tf32=allow_tf32)
        self.workspace = self.zeros(WORKSPACE)
        self._kernels: dict[str, Any] = {}
        self._stream: int | None = None  # the one that cuBLAS uses at present

    # ------------------------------------------------------------------------------------------------- memory

    def zeros(self, nbytes: int) -> Any:
        """Bytes, from a multiple of 512 on."""
        return self.cupy.zeros(nbytes, self.cupy.uint8)

    def address(self, array: Any) -> int:
        """Where an array begins."""
        return int(array.data.ptr)

    def window(
        self, block: Any, offset: int, shape: Sequence[int], dtype: Any, strides: Sequence[int] | None = None
    ) -> Any:
        """An array over the memory of another one, from a byte on; strides in bytes."""
        return self.cupy.ndarray(tuple(shape), dtype, block.data + offset, None if strides is None else tuple(strides))

    def is_here(self, array: Any) -> bool:
        """Whether an array lies on the GPU."""
        return isinstance(array, self.cupy.ndarray)

    def store(self, target: Any, value: Any) -> None:
        """Overwrite an array with an array of either side, or with a number."""
        if self.is_here(value):
            flags, others = target.flags, value.flags
            if (
                flags.c_contiguous and others.c_contiguous
                and target.dtype == value.dtype and target.shape == value.shape
            ):  # fmt: skip
                self._copy_bytes(target, value)  # a fifth of the time that an assignment takes to launch
            else:
                target[...] = value
        else:
            target[...] = self.cupy.asarray(np.asarray(value, target.dtype))

    def copy(self, array: Any) -> Any:
        """The same in memory of its own."""
        if not array.flags.c_contiguous:
            return array.copy()
        copy = self.cupy.empty(array.shape, array.dtype)
        self._copy_bytes(copy, array)
        return copy

    def _copy_bytes(self, target: Any, source: Any) -> None:
        stream = self.cupy.cuda.get_current_stream().ptr
        self.cupy.cuda.runtime.memcpyAsync(target.data.ptr, source.data.ptr, source.nbytes, _ON_DEVICE, stream)

    def to_device(self, value: Any) -> Any:
        """A NumPy array on the GPU."""
        return self.cupy.asarray(value)

    def to_host(self, array: Any) -> Any:
        """An array of the GPU as a NumPy array; waits."""
        return array.get()

    def table(self, rows: int, width: int) -> Table:
        """Rows of bytes that are sent one by one."""
        return Table(self.cupy, rows, width)

    # ---------------------------------------------------------------------------------------------------- work

    def kernel(self, launch: Launch) -> Any:
        """The compiled kernel of a launch: by NVRTC, kept on disk by CuPy, and for the process here."""
        if launch.source not in self._kernels:
            module = self.cupy.RawModule(code=launch.source, options=_OPTIONS)
            self._kernels[launch.source] = module.get_function(launch.name)
        return self._kernels[launch.source]

    def launch(self, launch: Launch) -> None:
        """Run a kernel."""
        self.kernel(launch)(launch.grid, launch.block, launch.arguments)

    def multiply(self, dtype: str, sizes: Any, a: Any, b: Any, out: Any) -> None:
        """A product; see `Cublas.multiply`."""
        self.cublas.multiply(dtype, sizes, a, b, out)

    def begin(self) -> None:
        """To be called before products: cuBLAS follows the current stream."""
        stream = int(self.cupy.cuda.get_current_stream().ptr)
        if stream != self._stream:
            self.cublas.use(stream, self.address(self.workspace))
            self._stream = stream

    def capture(self, work: Callable[[], None]) -> Any:
        """A CUDA graph of what a function launches, with a method ``launch``. Nothing runs yet.

        Raises
        ------
        RuntimeError
            If something in it cannot be captured.
        """
        stream = self.cupy.cuda.Stream(non_blocking=True)
        with stream:
            self.begin()
            stream.begin_capture()
            try:
                work()
            except BaseException:
                with contextlib.suppress(Exception):
                    stream.end_capture()  # CUDA wants it, though the capture is void
                raise
            finally:
                self._stream = None
            return stream.end_capture()


class Table:
    """Rows of bytes in pinned memory. A row is sent without waiting, and the memory is not written before it has gone.

    Attributes
    ----------
    host : the rows, (rows, width) of uint8
    """

    def __init__(self, cupy: Any, rows: int, width: int) -> None:
        self.cupy = cupy
        self.memory = cupy.cuda.alloc_pinned_memory(rows * width)
        self.host: NDArray[np.uint8] = np.frombuffer(self.memory, np.uint8, rows * width).reshape(rows, width)
        self.sent = cupy.cuda.Event(disable_timing=True)

    def wait(self) -> None:
        """Until all rows that were sent have arrived."""
        self.sent.synchronize()

    def send(self, row: int, address: int) -> None:
        """Copy a row to the GPU."""
        stream, width = self.cupy.cuda.get_current_stream(), self.host.shape[1]
        source = self.host.ctypes.data + row * width
        self.cupy.cuda.runtime.memcpyAsync(address, source, width, _HOST_TO_DEVICE, stream.ptr)
        self.sent.record(stream)
