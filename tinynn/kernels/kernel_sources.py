"""Kernels that are functions in a Python source: printed ones, and those of the library's own files.

Their machine code is looked for first; Numba is imported, and the source executed, only where there is none yet.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinynn.kernels import disk_cache
from tinynn.kernels.machine_code import address_of, interpreted, was_kept

__all__ = ["SourceKernel", "kernel_of_module", "printed_kernel"]


class SourceKernel:
    """A kernel with its text.

    Attributes
    ----------
    name : str
    address : int
    source : str
        The function's own text for a kernel of a file, all that was printed for a printed one.
    """

    def __init__(self, name: str, source: str, address: int, keep: Any = None) -> None:
        self.__name__ = self.name = name
        self.source = source
        self.address = address
        self._keep = keep  # what must live as long as the address is used

    @property
    def cache_hits(self) -> int:
        """1 if an earlier process had compiled it, else 0."""
        return int(was_kept(self.address))


def printed_kernel(source: str, name: str) -> SourceKernel:
    """A printed kernel: the function called `name` in a source, which is stored when it is compiled.

    Sources that differ in their first docstring only share their machine code.
    """
    code = re.sub(r'"""(?:.|\n)*?"""', "", source, count=1)
    return _kernel(code, name, source, lambda: disk_cache.load(source, name))


@functools.cache
def kernel_of_module(module: str, name: str) -> SourceKernel:
    """A kernel of one of the library's files, without importing it."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    text = Path(found.origin).read_text(encoding="utf-8")
    return _kernel(text, name, _function_text(text, name), lambda: getattr(importlib.import_module(module), name))


def _kernel(text: str, name: str, shown: str, function: Callable[[], Any]) -> SourceKernel:
    if interpreted():
        plain = function()
        return SourceKernel(name, shown, plain.address, plain)
    address = address_of(name, recipe(text, name), lambda: function().written())
    return SourceKernel(name, shown, address)


def recipe(text: str, name: str) -> str:
    """What the machine code of a function in a file follows from."""
    return f"{name} in\n{text}"


def _function_text(text: str, name: str) -> str:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines = text.splitlines()
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return "\n".join(lines[first - 1 : node.end_lineno]) + "\n"
    raise ValueError(f"there is no function {name} at the top level of the source")
