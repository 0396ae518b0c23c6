"""Where printed kernels live: one readable source file per kernel, with its machine code beside it.

Numba keeps machine code between runs only for functions that come from real files, and so does a debugger
show only lines of real files. A kernel's file is named by a hash of everything that its machine code
follows from (its source, and the functions inlined into it), so that a file, once written, never changes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "TINYNN_CACHE_DIR"


@functools.cache
def directory() -> Path:
    """Where printed kernels go: ``$TINYNN_CACHE_DIR``, else ``tinynn`` in the user's cache directory.

    Where that cannot be written to, a temporary directory serves this process, with a warning.
    """
    chosen = os.environ.get(VARIABLE)
    path = Path(chosen).expanduser() if chosen else _user_cache() / "tinynn"
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        path = Path(tempfile.mkdtemp(prefix="tinynn-"))
        warnings.warn(
            f"compiled kernels cannot be kept in {error.filename} ({error.strerror}): they go to {path} "
            f"and are compiled again in the next run; set {VARIABLE} to a directory that can be written to",
            RuntimeWarning,
            stacklevel=2,
        )
    return path


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


#: The sources that machine code follows from beside a kernel's own: functions inlined into it, and what writes it.
_CALLEES = (
    "blas", "blocks", "driver", "floatbits", "gang", "llvm_vectors", "machine_code", "native", "numba_text",
    "philox_numba", "products", "python_calls", "simd", "tiles", "vectormath",
)  # fmt: skip


@functools.cache
def callees() -> bytes:
    """A hash of the sources that printed kernels import: when one of them changes, kernels are compiled anew."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{name}.py").read_bytes() for name in _CALLEES)).digest()


def store(source: str, name: str) -> Path:
    """Write a source to its file, unless it is there, and return the path. Processes may race."""
    digest = hashlib.sha256(source.encode() + callees()).hexdigest()[:16]
    path = directory() / f"{re.sub(r'[^0-9A-Za-z_]+', '_', name)[:60]}_{digest}.py"
    try:
        if path.read_text(encoding="utf-8") == source:
            return path
    except (OSError, UnicodeDecodeError):
        pass
    write(path, source.encode())
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file so that readers see the whole of it or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(source: str, name: str) -> Callable[..., Any]:
    """Write a source to its file, import it, and return the function called `name` in it.

    Parameters
    ----------
    source : str
        Python source that defines a module-level function `name`.
    name : str
        A Python identifier.
    """
    path = store(source, name)
    module_name = f"tinynn_kernels.{path.stem}"
    module = sys.modules.get(module_name)
    if module is None:
        specification = importlib.util.spec_from_file_location(module_name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[module_name] = module
        try:
            specification.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    function: Callable[..., Any] = getattr(module, name)
    return function
