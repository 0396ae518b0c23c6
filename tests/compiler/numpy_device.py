"""A GPU for `CudaMachine` made of NumPy: arrays in disguise, printed kernels run by g++, graphs that are lists.

Graphs hold what was launched while they were captured, arguments included, as CUDA's do: whatever a step reads must
lie where it lay then. ``log`` says in which order things happened.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.backends.stand_in import GPUArray, plain
from tests.compiler import emulated
from tinynn.kernels.cublas import Cublas
from tinynn.kernels.cuda_launch import Launch

_kernels: dict[str, emulated.Kernel] = {}


class NumpyDevice:
    """The methods of `tinynn.compiler.cuda_device.CupyDevice`."""

    capturable = True

    def __init__(self, allow_tf32: bool | None = None) -> None:
        self.cublas = Cublas(emulated.library_like_cublas(), allow_tf32)
        self.workspace = self.zeros(4096)
        self.log: list[str] = []
        self.captured: list[Callable[[], None]] | None = None

    def zeros(self, nbytes: int) -> GPUArray:
        raw = np.zeros(nbytes + 512, np.uint8)
        first = -raw.ctypes.data % 512
        return GPUArray(raw[first : first + nbytes])

    def address(self, array: GPUArray) -> int:
        return int(array.hidden.ctypes.data)

    def window(self, block: GPUArray, offset: int, shape: Any, dtype: Any, strides: Any = None) -> GPUArray:
        memory = block.hidden
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        first = block.hidden.ctypes.data - memory.ctypes.data
        return GPUArray(np.ndarray(tuple(shape), dtype, memory.data, first + offset, strides))

    def is_here(self, array: Any) -> bool:
        return isinstance(array, GPUArray)

    def store(self, target: GPUArray, value: Any) -> None:
        assert self.captured is None, "copies from Python's side are no part of a graph"
        self.log.append("store")
        target.hidden[...] = plain(value)

    def copy(self, array: GPUArray) -> GPUArray:
        self.log.append("copy")
        return GPUArray(array.hidden.copy())

    def to_device(self, value: Any) -> GPUArray:
        return GPUArray(np.array(value))

    def to_host(self, array: GPUArray) -> np.ndarray:
        return array.get()

    def table(self, rows: int, width: int) -> Table:
        return Table(self, rows, width)

    def launch(self, launch: Launch) -> None:
        if launch.source not in _kernels:
            assert self.captured is None, "a kernel is compiled before it is captured"
            _kernels[launch.source] = emulated.Kernel(launch.source, launch.name, launch.types)
        kernel = _kernels[launch.source]
        self._do(f"launch {launch.name}", lambda: kernel(launch.grid, launch.block, launch.arguments))

    def multiply(self, *arguments: Any) -> None:
        self._do("multiply", lambda: self.cublas.multiply(*arguments))

    def _do(self, name: str, work: Callable[[], None]) -> None:
        if self.captured is not None:
            self.captured.append(work)
        else:
            self.log.append(name)
            work()

    def begin(self) -> None:
        self.cublas.use(1, self.address(self.workspace), 4096)

    def capture(self, work: Callable[[], None]) -> Graph:
        if not self.capturable:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.captured = []
        try:
            work()
            return Graph(self, self.captured)
        finally:
            self.captured = None


class Graph:
    def __init__(self, device: NumpyDevice, work: list[Callable[[], None]]) -> None:
        self.device, self.work = device, work

    def launch(self) -> None:
        self.device.log.append("graph")
        for work in self.work:
            work()


class Table:
    def __init__(self, device: NumpyDevice, rows: int, width: int) -> None:
        self.device = device
        self.host = np.zeros((rows, width), np.uint8)

    def wait(self) -> None:
        self.device.log.append("wait")

    def send(self, row: int, address: int) -> None:
        self.device.log.append("send")
        ctypes.memmove(address, self.host.ctypes.data + row * self.host.shape[1], self.host.shape[1])


class PlainDevice(NumpyDevice):
    """The same for programs over NumPy's arrays, which then count as the GPU's."""

    def zeros(self, nbytes: int) -> Any:
        return super().zeros(nbytes).hidden

    def address(self, array: Any) -> int:
        return int(array.ctypes.data)

    def window(self, block: Any, offset: int, shape: Any, dtype: Any, strides: Any = None) -> Any:
        return super().window(GPUArray(block), offset, shape, dtype, strides).hidden

    def is_here(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def store(self, target: Any, value: Any) -> None:
        target[...] = value

    def copy(self, array: Any) -> Any:
        return array.copy()[()]

    def to_device(self, value: Any) -> Any:
        return np.array(value)

    def to_host(self, array: Any) -> Any:
        return array
