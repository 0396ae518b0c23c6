"""Kernels that are called by address, and the driver that calls a table of them without Python in between.

A kernel is a function of one *row*: a run of int64 words that hold the kernel's own address, the row's length in
words, sizes, and the addresses and strides of its operands::

    @kernel
    def twice(row):
        n, x, out = row[2], as_float64(row[3], 0), as_float64(row[4], 1)
        for i in range(n):
            out[i] = x[i] + x[i]

It has one signature whatever it computes, so a table of rows is a program, and `drive` runs it.

Pointers may be numbered, ``as_float64(address, 3)``: what is written through one numbered pointer is then known to
be read through no other one, and LLVM vectorises the loop without a check at run time that nothing overlaps.

What is written to ``past_caches(pointer)`` goes to memory and not to the caches, if LLVM makes vectors of it. That is
for whole vectors that begin at a multiple of 64 bytes; `drain` follows the last one. (LLVM does not vectorise stores
that are marked so from the beginning: `tinynn.kernels.machine_code` marks the vectors.)

With ``NUMBA_DISABLE_JIT=1`` the same names are plain Python: pointers read and write memory through ctypes, and a
kernel can be stepped through in a debugger.

Examples
--------
>>> import numpy as np
>>> @kernel
... def twice(row):
...     n, x, out = row[2], as_float64(row[3], 0), as_float64(row[4], 1)
...     for i in range(n):
...         out[i] = x[i] + x[i]
>>> x, out = np.arange(4.0), np.empty(4)
>>> table = np.array([twice.address, 5, 4, x.ctypes.data, out.ctypes.data])
>>> drive(table, 1)
>>> out
array([0., 2., 4., 6.])
"""

from __future__ import annotations

import ctypes
import functools
import math
import operator
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model

from tinynn.kernels.driver import drive
from tinynn.kernels.kernel_sources import recipe
from tinynn.kernels.machine_code import STREAMED, Written, address_of
from tinynn.kernels.simd import drain

__all__ = [
    "add_reassociated",
    "as_bool",
    "as_float32",
    "as_float64",
    "as_int32",
    "as_int64",
    "as_uint8",
    "call",
    "drain",
    "drive",
    "kernel",
    "maximum",
    "minimum",
    "past_caches",
    "row_at",
    "whole",
]

ROW = types.CPointer(types.int64)
#: How kernels are compiled: no exceptions, and a product and a sum may become one instruction. Sums are reordered
#: only where they say so (`add_reassociated`).
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}
_NUMBERED = 32  # pointers beyond this many are not told apart


class Pointer(types.CPointer):
    """The Numba type of a pointer to elements; those with different numbers point to memory that does not overlap."""

    def __init__(self, dtype: Any, number: int, streamed: bool = False) -> None:
        super().__init__(dtype)
        self.number, self.streamed = number, streamed
        self.name = f"Pointer({dtype}, {number}, {streamed})"

    @property
    def key(self) -> tuple[Any, int, bool]:
        return self.dtype, self.number, self.streamed


register_model(Pointer)(models.PointerModel)


_labels: weakref.WeakKeyDictionary[Any, dict[int, tuple[Any, Any]]] = weakref.WeakKeyDictionary()  # of each module


def _label(builder: Any, instruction: Any, number: int, streamed: bool = False) -> None:
    """Tell LLVM which pointer a load or store goes through, and that the other pointers lead elsewhere."""
    if not 0 <= number < _NUMBERED:
        return
    module = builder.module
    labels = _labels.setdefault(module, {})
    if number not in labels:
        domain = module.add_metadata(["tinynn operands"])
        scopes = [module.add_metadata([f"operand {k}", domain]) for k in range(_NUMBERED)]
        others = scopes[:number] + scopes[number + 1 :]
        labels[number] = module.add_metadata([scopes[number]]), module.add_metadata(others)
    own, others = labels[number]
    if streamed:  # a scope of a domain that no other operand knows says nothing about them
        mark = module.add_metadata([STREAMED, module.add_metadata(["tinynn streamed operands"])])
        own = module.add_metadata([*own.operands, mark])
    instruction.set_metadata("alias.scope", own)
    instruction.set_metadata("noalias", others)


@lower_builtin(operator.getitem, Pointer, types.Integer)
def _read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind = signature.args[0]
    loaded = builder.load(builder.gep(arguments[0], [arguments[1]], inbounds=True))
    _label(builder, loaded, kind.number)
    return context.data_model_manager[kind.dtype].from_data(builder, loaded)


@lower_builtin(operator.setitem, Pointer, types.Integer, types.Any)
def _write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind = signature.args[0]
    value = context.cast(builder, arguments[2], signature.args[2], kind.dtype)
    data = context.data_model_manager[kind.dtype].as_data(builder, value)
    stored = builder.store(data, builder.gep(arguments[0], [arguments[1]], inbounds=True))
    _label(builder, stored, kind.number, kind.streamed)
    return context.get_dummy_value()


def _pointer_maker(dtype: Any) -> Any:
    def make(typing_context: Any, address: Any, number: Any = None) -> Any:
        literal = getattr(number, "literal_value", -1)
        result = Pointer(dtype, literal)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return result(types.int64, types.Omitted(None) if number is None else number), code

    make.__name__ = make.__qualname__ = f"as_{'bool' if dtype is types.boolean else dtype}"
    make.__doc__ = f"Return a pointer p to {dtype} elements at an address; p[i] reads and writes them."
    return intrinsic(prefer_literal=True)(make)


class _PlainPointer:
    """A pointer for interpreted kernels: elements are NumPy scalars of their type."""

    def __init__(self, address: int, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._elements = ctypes.cast(int(address), ctypes.POINTER(np.ctypeslib.as_ctypes_type(self._dtype)))

    def __getitem__(self, index: int) -> Any:
        return self._dtype.type(self._elements[int(index)])

    def __setitem__(self, index: int, value: Any) -> None:
        self._elements[int(index)] = self._dtype.type(value).item()


class _PlainKernel:
    """A kernel that Python interprets; its address leads to a callback, so that tables work as ever."""

    def __init__(self, function: Callable[[Any], None]) -> None:
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self._callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(lambda row: function(_PlainPointer(row, np.int64)))
        self.address = ctypes.cast(self._callback, ctypes.c_void_p).value


class Kernel:
    """A kernel that is compiled when its address is asked for, unless an earlier process did."""

    def __init__(self, function: Callable[[Any], None]) -> None:
        self.__wrapped__ = function
        self.__name__ = function.__name__

    @functools.cached_property
    def address(self) -> int:
        """Where its machine code is. That of a function at the top level of a file is kept on disk."""
        function = self.__wrapped__
        path = Path(function.__code__.co_filename)
        of_file = function.__qualname__ == function.__name__ and path.is_file()
        kept = recipe(path.read_text(encoding="utf-8"), function.__name__) if of_file else None
        return address_of(function.__name__, kept, self.written)

    def written(self) -> Written:
        """The kernel in LLVM's language."""
        from tinynn.kernels.numba_text import written_by_numba

        return written_by_numba(self.__wrapped__, ROW, OPTIONS)


if config.DISABLE_JIT:

    def _plain(dtype: Any) -> Any:
        return lambda address, number=-1: _PlainPointer(address, dtype)

    as_float64, as_float32, as_int64, as_bool = map(_plain, (np.float64, np.float32, np.int64, np.bool_))
    as_int32, as_uint8 = map(_plain, (np.int32, np.uint8))

    def kernel(function: Callable[[Any], None]) -> Any:
        """Make a function of a row a kernel, with an ``.address``."""
        return _PlainKernel(function)

    def call(row: Any) -> None:
        """Call the kernel whose row this is."""
        address = ctypes.cast(row._elements, ctypes.c_void_p).value
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(int(row[0]))(address)

    def row_at(table: Any, index: int) -> Any:
        """Return a pointer to ``table[index]``."""
        return _PlainPointer(ctypes.addressof(table._elements.contents) + 8 * int(index), np.int64)

    def add_reassociated(a: Any, b: Any) -> Any:
        """a + b, in a sum whose order is free."""
        return a + b

    def maximum(a: Any, b: Any) -> Any:
        """The larger; NaN if either is."""
        return a if a > b or math.isnan(a) else b

    def minimum(a: Any, b: Any) -> Any:
        """The smaller; NaN if either is."""
        return a if a < b or math.isnan(a) else b

    def whole(n: int, lanes: int) -> int:
        """Return n, a multiple of `lanes` (a power of two) and not negative, so that LLVM knows it."""
        return int(n) // lanes * lanes

    def past_caches(pointer: Any) -> Any:
        """The same pointer; what is written there is not read soon."""
        return pointer

    def drain() -> None:
        """Wait until all that was written past the caches can be seen."""

else:
    as_float64, as_float32, as_int64, as_bool = map(
        _pointer_maker, (types.float64, types.float32, types.int64, types.boolean)
    )
    as_int32, as_uint8 = map(_pointer_maker, (types.int32, types.uint8))

    def kernel(function: Callable[[Any], None]) -> Any:
        """Make a function of a row a kernel, with an ``.address``: compiled, or loaded, when that is asked for."""
        return Kernel(function)

    @intrinsic
    def call(typing_context: Any, row: Any) -> Any:
        """Call the kernel whose row this is."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [arguments[0].type])
            address = builder.load(arguments[0])
            builder.call(builder.inttoptr(address, kind.as_pointer()), [arguments[0]])
            return context.get_dummy_value()

        return types.void(ROW), code

    @intrinsic
    def row_at(typing_context: Any, table: Any, index: Any) -> Any:
        """Return a pointer to ``table[index]``."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.gep(arguments[0], [arguments[1]])

        return ROW(table, types.intp), code

    @intrinsic
    def add_reassociated(typing_context: Any, a: Any, b: Any) -> Any:
        """a + b, in a sum whose order is free."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fadd(*arguments, flags=("reassoc", "contract"))

        return a(a, a), code

    def _extremum(name: str, doc: str) -> Any:
        def make(typing_context: Any, a: Any, b: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                number = arguments[0].type
                kind = ir.FunctionType(number, [number, number])
                function = builder.module.declare_intrinsic(f"llvm.{name}", [number], kind)
                return builder.call(function, arguments, fastmath=("nsz",))  # either zero may win, as in NumPy

            return a(a, a), code

        make.__name__, make.__doc__ = name, doc
        return intrinsic(make)

    maximum = _extremum("maximum", "The larger; NaN if either is.")
    minimum = _extremum("minimum", "The smaller; NaN if either is.")

    @intrinsic(prefer_literal=True)
    def whole(typing_context: Any, n: Any, lanes: Any) -> Any:
        """Return n, a multiple of `lanes` (a power of two) and not negative, so that LLVM knows it."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.and_(arguments[0], ir.Constant(arguments[0].type, 2**63 - lanes.literal_value))

        return types.int64(types.int64, lanes), code

    @intrinsic
    def past_caches(typing_context: Any, pointer: Any) -> Any:
        """The same pointer; what is written there is not read soon."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return arguments[0]

        return Pointer(pointer.dtype, pointer.number, streamed=True)(pointer), code
