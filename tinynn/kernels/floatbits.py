"""What the vector functions need below the level of Python: bits of floats, typed constants, Horner's scheme.

Each function here is a Numba *intrinsic*: it writes its LLVM instructions directly, for float32 or float64
according to its argument. This keeps float32 code in float32 (in Numba a Python float or an int32 operation
would widen it), and keeps compilation short: a polynomial of ten terms is one call to type, not twenty.

With ``NUMBA_DISABLE_JIT=1`` the same names are plain Python functions on NumPy scalars, so that a
printed kernel can be stepped through in a debugger.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba import config, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

# Precision by precision: integer width, bits of the fraction, exponent bias, and the number `shift` = 1.5 *
# 2**fraction bits. Adding `shift` to a small float rounds it to an integer, which then stands in the lowest
# bits of the sum.
_LAYOUT = {
    types.float32: (ir.IntType(32), 23, 127, 0x4B400000),
    types.float64: (ir.IntType(64), 52, 1023, 0x4338000000000000),
}
_SQRT_HALF_BITS = {types.float32: 0x3F3504F3, types.float64: 0x3FE6A09E667F3BCD}


def _check_real(x: Any) -> None:
    if x not in _LAYOUT:
        raise TypeError(f"expected a float32 or float64 scalar, got {x}")


def constant(double: float, single: float | None = None) -> Callable[[Any], Any]:
    """Make a function ``c(x)`` that returns a constant in the precision of `x`.

    Parameters
    ----------
    double, single : float
        The constant for float64 and for float32 arguments; `single` defaults to `double`, rounded.
    """
    values = {types.float64: double, types.float32: double if single is None else single}
    if config.DISABLE_JIT:
        return lambda x: _interpreted_type(x)(values[types.float32 if isinstance(x, np.float32) else types.float64])

    @intrinsic
    def constant_like(typing_context, x):
        _check_real(x)

        def emit(context, builder, signature, arguments):
            return ir.Constant(arguments[0].type, values[x])

        return x(x), emit

    return constant_like


def polynomial(double: Sequence[float], single: Sequence[float]) -> Callable[[Any], Any]:
    """Make a function ``p(x) = c[0] + c[1] x + c[2] x**2 + ...``, evaluated by Horner's scheme.

    Parameters
    ----------
    double, single : sequence of float
        The coefficients, lowest power first, for float64 and for float32 arguments.
    """
    coefficients = {types.float64: tuple(double), types.float32: tuple(single)}
    if config.DISABLE_JIT:

        def interpreted(x: Any) -> Any:
            real = _interpreted_type(x)
            total = real(0)
            for c in reversed(coefficients[types.float32 if real is np.float32 else types.float64]):
                total = total * x + real(c)
            return total

        return interpreted

    @intrinsic
    def evaluate(typing_context, x):
        _check_real(x)

        def emit(context, builder, signature, arguments):
            (value,) = arguments
            *rest, total = (ir.Constant(value.type, c) for c in coefficients[x])
            for c in reversed(rest):
                total = builder.fadd(builder.fmul(total, value, flags=("contract",)), c, flags=("contract",))
            return total

        return x(x), emit

    return evaluate


def _interpreted_type(x: Any) -> Any:
    return np.float32 if isinstance(x, np.float32) else np.float64


@functools.cache
def _has_scale_instruction() -> bool:
    """Whether LLVM turns `llvm.ldexp` in a loop into one vector instruction: on AVX-512, from LLVM 21 on."""
    features = config.CPU_FEATURES or get_host_cpu_features() if config.CPU_NAME is None else config.CPU_FEATURES or ""
    return llvm_version_info[0] >= 21 and "+avx512f" in features and "+avx512vl" in features


if config.DISABLE_JIT:

    def like(x: Any, value: float) -> Any:
        """`value` in the precision of `x`."""
        return _interpreted_type(x)(value)

    def power_of_two(shifted: Any) -> Any:
        """2**k, where ``shifted = k + shift``, for a result that is a normal number."""
        return np.ldexp(_interpreted_type(shifted)(1), _rounded(shifted))

    def scale(x: Any, shifted: Any) -> Any:
        """x * 2**k, where ``shifted = k + shift``, rounded once; may underflow gradually or overflow."""
        return np.ldexp(x, _rounded(shifted))

    def split(x: Any) -> Any:
        """``(m, k, 2**-k)`` with x = m * 2**k, sqrt(1/2) <= m < sqrt(2), for a positive normal `x`."""
        real = _interpreted_type(x)
        m, k = np.frexp(x)
        if m < math.sqrt(0.5):
            m, k = m * real(2), k - 1
        return m, real(k), np.ldexp(real(1), -k)

    def _rounded(shifted: Any) -> int:
        shift = 1.5 * 2.0**23 if isinstance(shifted, np.float32) else 1.5 * 2.0**52
        return int(shifted - shift) if math.isfinite(shifted) else 0

else:

    @intrinsic
    def like(typing_context, x, value):
        """`value` in the precision of `x`."""
        _check_real(x)

        def emit(context, builder, signature, arguments):
            return context.cast(builder, arguments[1], value, x)

        return x(x, value), emit

    @intrinsic
    def power_of_two(typing_context, shifted):
        """2**k, where ``shifted = k + shift``, for a result that is a normal number."""
        _check_real(shifted)
        integer, fraction, bias, shift = _LAYOUT[shifted]

        def emit(context, builder, signature, arguments):
            (value,) = arguments
            bits = builder.add(builder.bitcast(value, integer), ir.Constant(integer, bias - shift))
            return builder.bitcast(builder.shl(bits, ir.Constant(integer, fraction)), value.type)

        return shifted(shifted), emit

    @intrinsic
    def scale(typing_context, x, shifted):
        """x * 2**k, where ``shifted = k + shift``, rounded once; may underflow gradually or overflow."""
        _check_real(x)
        integer, fraction, bias, shift = _LAYOUT[x]

        def emit(context, builder, signature, arguments):
            # 2**k need not be a normal number, but 2**(k // 2) and 2**(k - k // 2) are. The first product is
            # exact.
            value, total = arguments
            bits = builder.bitcast(total, integer)
            if _has_scale_instruction():
                i32 = ir.IntType(32)
                exponent = builder.sub(bits, ir.Constant(integer, shift))
                exponent = exponent if integer.width == 32 else builder.trunc(exponent, i32)
                kind = ir.FunctionType(value.type, [value.type, i32])
                ldexp = builder.module.declare_intrinsic("llvm.ldexp", [value.type, i32], kind)
                return builder.call(ldexp, [value, exponent])
            half = builder.sub(builder.lshr(bits, ir.Constant(integer, 1)), ir.Constant(integer, shift // 2))
            rest = builder.sub(builder.sub(bits, ir.Constant(integer, shift)), half)
            for exponent in (half, rest):
                biased = builder.add(exponent, ir.Constant(integer, bias))
                factor = builder.bitcast(builder.shl(biased, ir.Constant(integer, fraction)), value.type)
                value = builder.fmul(value, factor)
            return value

        return x(x, shifted), emit

    @intrinsic
    def split(typing_context, x):
        """``(m, k, 2**-k)`` with x = m * 2**k, sqrt(1/2) <= m < sqrt(2), for a positive normal `x`."""
        _check_real(x)
        integer, fraction, bias, shift = _LAYOUT[x]
        pair = types.UniTuple(x, 3)

        def emit(context, builder, signature, arguments):
            (value,) = arguments

            def integer_constant(n: int) -> Any:
                return ir.Constant(integer, n)

            bits = builder.bitcast(value, integer)
            one = bias << fraction
            # Moves the border between two exponents from 1 to sqrt(1/2), and keeps the sum positive.
            moved = builder.add(bits, integer_constant(one - _SQRT_HALF_BITS[x]))
            biased = builder.lshr(moved, integer_constant(fraction))
            mantissa = builder.sub(bits, builder.shl(biased, integer_constant(fraction)))
            mantissa = builder.bitcast(builder.add(mantissa, integer_constant(one)), value.type)
            # An integer to a float without a conversion: AVX2 has none for 64 bits.
            exponent = builder.bitcast(builder.add(biased, integer_constant(shift)), value.type)
            exponent = builder.fsub(exponent, ir.Constant(value.type, 1.5 * 2.0**fraction + bias))
            inverse = builder.shl(builder.sub(integer_constant(2 * bias), biased), integer_constant(fraction))
            return context.make_tuple(builder, pair, (mantissa, exponent, builder.bitcast(inverse, value.type)))

        return pair(x), emit
