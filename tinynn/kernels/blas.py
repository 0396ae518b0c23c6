"""Matrix products by BLAS, called by address from compiled code: no Python on the way.

SciPy publishes the functions of the BLAS that it was built with (`scipy.linalg.cython_blas`). Their addresses change
from run to run, and machine code is kept on disk; so the code calls a name, and `link` tells the loader which address
the name stands for.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import llvmlite.binding
from llvmlite import ir

from tinynn.kernels.llvm_vectors import I32, declared, number, steps
from tinynn.kernels.tiles import Words

__all__ = ["emit_gemm", "expressible", "link"]

BYTE = ir.IntType(8)
FUNCTIONS = {"float32": "sgemm", "float64": "dgemm"}


@functools.cache
def link(dtype: str) -> None:
    """Make the BLAS function for a dtype known to compiled code. To be called before such code is loaded."""
    from scipy.linalg import cython_blas

    name = FUNCTIONS[dtype]
    capsule = ctypes.py_object(cython_blas.__pyx_capi__[name])
    signature, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    signature.restype, pointer.restype = ctypes.c_char_p, ctypes.c_void_p
    address = pointer(capsule, ctypes.c_char_p(signature(capsule)))
    llvmlite.binding.add_symbol(f"tinynn_{name}", address)


def expressible(rows: int, columns: int, strides: tuple[int, ...]) -> bool:
    """Whether BLAS can read a matrix: one stride is 1, the other at least as long as what it steps over.

    Examples
    --------
    >>> expressible(3, 4, (4, 1)), expressible(3, 4, (1, 3)), expressible(3, 4, (8, 2)), expressible(3, 4, (0, 1))
    (True, True, False, False)
    """
    down, right = strides
    most = 2**31 - 1  # BLAS counts in 32 bits
    return (right == 1 and max(columns, 1) <= down <= most) or (down == 1 and max(rows, 1) <= right <= most)


def emit_gemm(builder: Any, row: Any, dtype: str) -> None:
    """Write the product of a row's operands, which must be `expressible`, as a call.

    BLAS stores matrices column by column, so it is asked for out.T = b.T @ a.T.
    """
    size = 8 if dtype == "float64" else 4
    real = ir.DoubleType() if size == 8 else ir.FloatType()
    w = Words(builder, row, size, swapped=False)
    has_bias = builder.icmp_signed("!=", w.bias, number(0))
    with builder.if_then(has_bias), steps(builder, w.m, 1) as i:  # rows start as the bias, and products are added
        target = builder.inttoptr(builder.add(w.out, builder.mul(i, w.out_row)), BYTE.as_pointer())
        bias, nbytes = builder.inttoptr(w.bias, BYTE.as_pointer()), builder.mul(w.n, number(size))
        copy = builder.module.declare_intrinsic("llvm.memcpy", [target.type, bias.type, nbytes.type])
        builder.call(copy, [target, bias, nbytes, ir.Constant(ir.IntType(1), 0)])

    def by_address(value: Any) -> Any:
        with builder.goto_entry_block():
            place = builder.alloca(value.type)
        builder.store(value, place)
        return place

    def whole(value: Any) -> Any:
        return by_address(builder.trunc(value, I32))

    def matrix(first: Any, down: Any, right: Any, columns: Any) -> tuple[Any, Any, Any]:
        """Whether rows are contiguous ("N") or columns ("T"), the address, and the other stride in elements."""
        rows_apart = builder.icmp_signed(">=", down, builder.mul(columns, number(size)))
        plain = builder.and_(builder.icmp_signed("==", right, number(size)), rows_apart)
        letter = builder.select(plain, ir.Constant(BYTE, ord("N")), ir.Constant(BYTE, ord("T")))
        stride = builder.sdiv(builder.select(plain, down, right), number(size))
        return by_address(letter), builder.inttoptr(first, real.as_pointer()), whole(stride)

    a_letter, a, a_stride = matrix(w.a, w.a_row, w.a_step, w.k)
    b_letter, b, b_stride = matrix(w.b, w.b_row, w.b_column, w.n)
    one = by_address(ir.Constant(real, 1.0))
    kept = by_address(builder.select(has_bias, ir.Constant(real, 1.0), ir.Constant(real, 0.0)))
    out = builder.inttoptr(w.out, real.as_pointer())
    out_stride = whole(builder.sdiv(w.out_row, number(size)))
    sizes = [whole(w.n), whole(w.m), whole(w.k)]
    arguments = [b_letter, a_letter, *sizes, one, b, b_stride, a, a_stride, kept, out, out_stride]
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    function = declared(builder.module, kind, f"tinynn_{FUNCTIONS[dtype]}")
    builder.call(function, arguments)
