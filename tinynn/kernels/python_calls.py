"""Machine code as a Python function without arguments: a kernel together with the row that it is called for.

A step of a small network takes a few microseconds in all, and a call through ctypes 0.25 us, one of a Numba function
with an array 0.33 us. So the way from Python is machine code as well: a function of Python's own kind (what a C
extension would define), which takes the two addresses out of the tuple that it is bound to, and calls: 0.06 us.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinynn.kernels.llvm_vectors import INT, number
from tinynn.kernels.machine_code import Written, address_of

__all__ = ["bound"]

_OBJECT = ir.IntType(8).as_pointer()
_NO_ARGUMENTS = 4  # Python's METH_NOARGS
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "PyTuple_GetItem": (_OBJECT, [_OBJECT, INT]),
    "PyLong_AsVoidPtr": (_OBJECT, [_OBJECT]),
    "PyEval_SaveThread": (_OBJECT, []),
    "PyEval_RestoreThread": (ir.VoidType(), [_OBJECT]),
    "Py_IncRef": (ir.VoidType(), [_OBJECT]),
}


class _Definition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def bound(address: int, row: np.ndarray[Any, Any], unlocked: bool = False) -> Callable[[], None]:
    """A function that calls a kernel for a row.

    Parameters
    ----------
    address : int
        The kernel's.
    row : numpy.ndarray of int64
        Its words; the function keeps them alive, but not what they point to.
    unlocked : bool
        Whether other Python threads may run meanwhile. That costs time, above all if they do.
    """
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    definition = _definition("call_unlocked" if unlocked else "call")
    function: Callable[[], None] = new(ctypes.addressof(definition), (address, row.ctypes.data, row), None)
    return function


@functools.cache
def _definition(name: str) -> _Definition:
    """What Python knows of the function; as long as the process lives, as Python keeps its address."""
    for symbol in _FUNCTIONS:
        llvm.add_symbol(symbol, ctypes.cast(getattr(ctypes.pythonapi, symbol), ctypes.c_void_p).value)
    llvm.add_symbol("_Py_NoneStruct", id(None))
    address = address_of(name, "python_calls " + name, functools.partial(_written, name))
    return _Definition(b"run", address, _NO_ARGUMENTS, b"Call a kernel for its row.")


def _written(name: str) -> Written:
    """``PyObject* name(PyObject* self, PyObject* nothing)``, where self is (kernel, row, ...)."""
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(_OBJECT, [_OBJECT, _OBJECT]), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    c = {symbol: ir.Function(module, ir.FunctionType(*kind), symbol) for symbol, kind in _FUNCTIONS.items()}
    none = ir.GlobalVariable(module, ir.IntType(8), "_Py_NoneStruct")

    def item(place: int) -> Any:
        found = builder.call(c["PyTuple_GetItem"], [function.args[0], number(place)])
        return builder.call(c["PyLong_AsVoidPtr"], [found])

    kernel = builder.bitcast(item(0), ir.FunctionType(ir.VoidType(), [_OBJECT]).as_pointer())
    row = item(1)
    if name == "call_unlocked":
        thread = builder.call(c["PyEval_SaveThread"], [])
        builder.call(kernel, [row])
        builder.call(c["PyEval_RestoreThread"], [thread])
    else:
        builder.call(kernel, [row])
    builder.call(c["Py_IncRef"], [none])
    builder.ret(none)
    return Written(str(module), name)
