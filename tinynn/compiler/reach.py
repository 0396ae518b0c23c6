"""What code can mean: whose a file is, the names that a function uses, and the methods that syntax calls."""

from __future__ import annotations

import dis
import functools
import io
import os
import sys
import sysconfig
import types
import weakref
from collections import ChainMap, UserDict, UserList
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from tinynn.graph import PACKAGE

__all__ = [
    "MAPPINGS",
    "READ_AS_A_WHOLE",
    "SYNTAX",
    "file_of",
    "global_names",
    "imported",
    "is_iterator",
    "is_strange",
    "is_users",
    "names_in",
]

#: Folders whose code is taken as it is. (Not the folder above them: the user's own files may lie there.)
_LIBRARIES = tuple(
    {PACKAGE, *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
)
#: Where code names one of these, it may read attributes that it does not name.
READ_AS_A_WHOLE = frozenset({"vars", "__dict__", "asdict", "astuple", "_asdict"})
#: Containers that hold what they hold in an attribute of their own.
MAPPINGS = (types.MappingProxyType, UserDict, UserList, ChainMap)

_OPERATORS = (
    "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "and", "or",
    "xor",
)  # fmt: skip
_OTHERS = (
    "call", "getitem", "missing", "len", "iter", "next", "reversed", "contains", "enter", "exit", "get", "getattr",
    "getattribute", "bool", "int", "float", "complex", "index", "array", "neg", "pos", "abs", "invert", "round",
)  # fmt: skip
#: Methods that are called without being named, on objects that exist already. (Comparisons are left out: those of a
#: dataclass name all of its fields.)
SYNTAX = frozenset(f"__{name}__" for name in (*_OPERATORS, *(f"r{name}" for name in _OPERATORS), *_OTHERS))


@functools.lru_cache(maxsize=4096)
def is_users(filename: str) -> bool:
    """Whether a file is not one of a library.

    Examples
    --------
    >>> is_users(functools.__file__), is_users("/home/me/train.py"), is_users("<stdin>")
    (False, True, True)
    """
    return not filename.startswith(_LIBRARIES) and "site-packages" not in filename


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """The names of globals and attributes in a function's code, and strings that may be used as such."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, str) and constant.isidentifier():
            found.add(constant)
        elif isinstance(constant, types.CodeType):
            found |= names_in(constant)
    return frozenset(found)


@functools.lru_cache(maxsize=4096)
def global_names(code: types.CodeType) -> frozenset[str]:
    """The names that a function's code looks up as globals: an attribute of the same name is another thing."""
    return _arguments_of(code, ("LOAD_GLOBAL", "LOAD_NAME"))


@functools.lru_cache(maxsize=4096)
def imported(code: types.CodeType) -> frozenset[str]:
    """The modules that a function's code imports when it runs."""
    return _arguments_of(code, ("IMPORT_NAME",))


def _arguments_of(code: types.CodeType, operations: tuple[str, ...]) -> frozenset[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _arguments_of(constant, operations)
    return frozenset(found)


def file_of(kind: type) -> str:
    """The file that a class is from; the library's own folder for those of no file."""
    module = sys.modules.get(kind.__module__)
    if kind.__module__ == "__main__":
        return ""
    return getattr(module, "__file__", None) or PACKAGE


def is_iterator(value: Any) -> bool:
    """Whether ``next(value)`` gives another thing each time: a generator, ``iter(...)``, ``itertools.count()``."""
    if isinstance(value, types.GeneratorType):
        return True
    if isinstance(value, (io.IOBase, weakref.ProxyTypes)):  # proxies stand for anything
        return False
    return isinstance(value, Iterator) and not is_users(file_of(type(value)))


def is_strange(value: Any) -> bool:
    """Whether nobody can tell from outside when an object gives another answer: one of another package, say.

    Examples
    --------
    >>> is_strange(os.environ), is_strange([1, 2])
    (True, False)
    """
    kind = type(value)
    if isinstance(value, (ContextVar, type(os.environ), weakref.ProxyTypes)):
        return True
    if is_users(file_of(kind)) or "function" in kind.__name__:  # such as "cython_function_or_method"
        return False
    return kind.__module__.partition(".")[0] not in ("tinynn", "numpy", "builtins", *sys.stdlib_module_names)
