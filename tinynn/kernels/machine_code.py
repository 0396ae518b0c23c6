"""From LLVM's language to an address, with the machine code kept on disk in between: no compiler's front end.

`address_of` looks for the machine code of a kernel in the cache directory, and loads it in about a millisecond. Only
if it is not there is the kernel written (by Numba, or directly), compiled, and stored. A file is named by a hash of all
that its contents follow from: the kernel's recipe, the library's own sources that are inlined into it, the processor,
and the versions of LLVM and Numba. It holds a checksum; a file that fails it is written anew. Files appear under their
names all at once (`tinynn.kernels.disk_cache.write`), so processes may race.

Symbols. Each kernel's own symbol carries its hash, and everything else in its object file is local to it; so object
files cannot be mistaken for one another. What a file needs from outside (the C library's ``sin``, BLAS) is written in
it and looked up before loading, as LLVM ends the process over a symbol that it cannot find.

Memory. LLVM's MCJIT takes fresh pages for each object file, so that those that run are never writable again. Code is
made for the "large" model: it refers to constants and other code by 64-bit addresses, wherever the pages are. After a
fork the child has the pages at the same addresses. The lock is held over a fork, so that no child starts with
half of a file loaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from tinynn.kernels import disk_cache
from tinynn.kernels.memory import LINE

__all__ = ["Written", "address_of", "assembly", "interpreted", "was_kept"]

_FORMAT = b"tinynn machine code 1\n"
_CHECKSUM = 32  # bytes
_VARIABLES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX", "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE",
              "NUMBA_SLP_VECTORIZE")  # fmt: skip
STREAMED = "streamed"  # the name of the scope of stores that go past the caches
_BYTES = {"float": 4, "double": 8}
_lock = threading.RLock()
_addresses: dict[str, int] = {}
_kept: set[int] = set()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@dataclass(frozen=True)
class Written:
    """A kernel in LLVM's language.

    Attributes
    ----------
    text : str
        A module.
    entry : str
        The name of its function ``void (i64*)``, which is called from outside.
    passes : int
        The level of LLVM's passes, 1 to 3, with loops vectorised. 0 for code that is written as it should run: it is
        translated as it stands.
    """

    text: str
    entry: str
    passes: int = 0


def interpreted() -> bool:
    """Whether kernels run as plain Python (``NUMBA_DISABLE_JIT=1``)."""
    numba = sys.modules.get("numba")
    if numba is not None and hasattr(numba, "config"):
        return bool(numba.config.DISABLE_JIT)
    return os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")


def address_of(name: str, recipe: str | None, write: Callable[[], Written]) -> int:
    """The address of a kernel: from this process, from the disk, or compiled.

    Parameters
    ----------
    name : str
        Letters, digits and underscores.
    recipe : str or None
        What the machine code follows from, beside the library and the machine. If None it is not kept.
    write : callable
        Gives the kernel in LLVM's language; called if no earlier run left the machine code.
    """
    with _lock:
        if recipe is None:
            symbol = f"tinynn_{name}_{len(_addresses)}_unkept"
            return _loaded(symbol, _compile(write(), symbol))
        digest = hashlib.sha256(_fingerprint() + recipe.encode()).hexdigest()[:32]
        symbol = f"tinynn_{name}_{digest}"
        if symbol in _addresses:
            return _addresses[symbol]
        path = disk_cache.directory() / f"{name[:60]}_{digest[:20]}.machine"
        code = _read(path)
        if code is not None:
            address = _loaded(symbol, code)
            _kept.add(address)
            return address
        code = _compile(write(), symbol)
        with suppress(OSError):  # a full disk: the code is in memory
            disk_cache.write(path, _FORMAT + hashlib.sha256(code).digest() + code)
        return _loaded(symbol, code)


def was_kept(address: int) -> bool:
    """Whether an earlier process had compiled the kernel at an address."""
    return address in _kept


def _read(path: Path) -> bytes | None:
    """The code in a file, if the file is whole and all that it needs is there."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_FORMAT) + _CHECKSUM
    code = content[start:]
    if content[:start] != _FORMAT + hashlib.sha256(code).digest():
        return None
    needs = json.loads(code[: code.index(b"\n")])
    return code if all(map(_is_known, needs)) else None


def _is_known(symbol: str) -> bool:
    return bool(llvm.address_of_symbol(symbol))


# ------------------------------------------------------------------------------------------------- the machine


@functools.cache
def _fingerprint() -> bytes:
    """What the machine code of all kernels follows from."""
    machine = (*_processor(), llvm.get_process_triple(), llvmlite.__version__, repr(llvm.llvm_version_info))
    settings = repr([os.environ.get(variable) for variable in _VARIABLES])
    parts = [part.encode() for part in (*machine, settings, sys.version)] + [_numba_version(), disk_cache.callees()]
    return hashlib.sha256(b"\0".join(parts)).digest()


def _numba_version() -> bytes:
    """Numba's version without its import."""
    found = importlib.util.find_spec("numba")
    for folder in (found.submodule_search_locations or ()) if found else ():
        with suppress(OSError):
            return (Path(folder) / "_version.py").read_bytes()
    return b""


@functools.cache
def _processor() -> tuple[str, str]:
    """Name and features of the processor, by LLVM and by what Numba's variables ask for."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        found = llvm.get_host_cpu_features() if name != "generic" else {}
        if os.environ.get("NUMBA_ENABLE_AVX", "1") in ("", "0"):
            found.update({key: False for key in found if key.startswith("avx")})
        features = ",".join(("+" if there else "-") + key for key, there in sorted(found.items()))
    return name, features


@functools.cache
def _target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    options: dict[str, Any] = {"cpu": name, "features": features, "opt": 2, "codemodel": "jitdefault"}
    options["reloc"] = "static" if target.name.startswith("x86") else "default"  # what loads at run time is not shared
    if "jit" in inspect.signature(target.create_target_machine).parameters:
        options["jit"] = True
    return target.create_target_machine(**options)


def assembly(written: Written) -> str:
    """The machine code as text, to look at."""
    return str(_target_machine().emit_assembly(_finished(written, written.entry)))


def _compile(written: Written, symbol: str) -> bytes:
    """Machine code: a line of JSON that lists what it needs, then an object file."""
    module = _finished(written, symbol)
    values = [*module.functions, *module.global_variables]
    needs = [v.name for v in values if v.is_declaration and not v.name.startswith("llvm.")]
    return json.dumps(needs).encode() + b"\n" + bytes(_target_machine().emit_object(module))


def _finished(written: Written, symbol: str) -> Any:
    """The module after LLVM's passes, in which nothing but the entry can be seen from outside."""
    machine = _target_machine()
    module = llvm.parse_assembly(written.text)
    module.data_layout = str(machine.target_data)
    for value in [*module.functions, *module.global_variables]:
        if value.name == written.entry:
            value.name = symbol
        elif not value.is_declaration:
            value.linkage = "internal"
    module.verify()
    if written.passes:
        options = llvm.create_pipeline_tuning_options(written.passes)
        options.loop_vectorization = True
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        if f'!"{STREAMED}"' in written.text:
            module = llvm.parse_assembly(_with_streaming_stores(str(module)))
    return module


def _with_streaming_stores(text: str) -> str:
    """Let vectors that are stored through a pointer marked `STREAMED` go past the caches."""
    scopes = re.findall(rf'^(!\d+) = !{{!"{STREAMED}"', text, re.MULTILINE)
    if not scopes:
        return text
    lists = re.findall(rf"^(!\d+) = !{{[^}}]*(?:{'|'.join(scopes)})\b", text, re.MULTILINE)

    def store(match: re.Match[str]) -> str:
        begin, lanes, element, rest, scope = match.groups()
        if scope not in lists:
            return match[0]
        aligned = min(int(lanes) * _BYTES[element], LINE)  # as far as arrays are
        return f"{begin}, align {aligned}{rest}, !nontemporal !{{i32 1}}"

    stored = r"^( *store <(\d+) x (float|double)> .*), align \d+(.*!alias\.scope (!\d+).*)$"
    return re.sub(stored, store, text, flags=re.MULTILINE)


# --------------------------------------------------------------------------------------------------- loading


@functools.cache
def _engine() -> Any:
    machine = _target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _loaded(symbol: str, code: bytes) -> int:
    """Load machine code into memory that can be executed; return the address of a symbol in it."""
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code[code.index(b"\n") + 1 :]))
    engine.finalize_object()
    _addresses[symbol] = address = int(engine.get_function_address(symbol))
    return address
