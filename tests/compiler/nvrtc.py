"""CUDA source to PTX without a GPU: by NVRTC (``pip install nvidia-cuda-nvrtc-cu12``, 86 MB), else by nvcc."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


@functools.cache
def _library() -> ctypes.CDLL | None:
    names = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in (found.submodule_search_locations or []) if found else []:
            names += map(str, sorted(Path(folder, "lib").glob("libnvrtc.so.*")))
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def why_not() -> str | None:
    """What is missing, or None."""
    if _library() is None and shutil.which("nvcc") is None:
        return "neither NVRTC (pip install nvidia-cuda-nvrtc-cu12, 86 MB) nor nvcc is there"
    return None


needed = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@functools.cache
def compiled(source: str, architecture: str) -> str:
    """The PTX of a source; an AssertionError with the compiler's words where it is refused."""
    library = _library()
    if library is None:
        return _by_nvcc(source, architecture)
    program = ctypes.c_void_p()
    check = lambda code: None if code == 0 else pytest.fail(f"NVRTC returned {code}")  # noqa: E731
    check(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
    code = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    check(library.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
    log = ctypes.create_string_buffer(size.value)
    check(library.nvrtcGetProgramLog(program, log))
    assert code == 0, f"NVRTC refuses the kernel:\n{log.value.decode()}\n{source}"
    check(library.nvrtcGetPTXSize(program, ctypes.byref(size)))
    ptx = ctypes.create_string_buffer(size.value)
    check(library.nvrtcGetPTX(program, ptx))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.value.decode()


def _by_nvcc(source: str, architecture: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        text, ptx = Path(folder, "kernel.cu"), Path(folder, "kernel.ptx")
        text.write_text(source)
        command = ["nvcc", "-ptx", "-std=c++17", f"-arch={architecture}", "-o", str(ptx), str(text)]
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode == 0, f"nvcc refuses the kernel:\n{made.stderr}\n{source}"
        return ptx.read_text()
