"""Vector registers as values in Numba functions: load, store, stream, splat, multiply-add, sum of lanes.

LLVM vectorises simple loops by itself, but it does not keep a tile of a matrix product in registers. With
these functions a tile is written as ordinary assignments, and LLVM maps each value to a register (or to
several, on a machine whose registers are narrower). They exist in compiled code only; kernels that use them
have a plain twin for ``NUMBA_DISABLE_JIT=1``.

An ordinary store reads the cache line it writes to before it changes it. `stream` does not: it saves a
third of the traffic of a loop that reads one array and writes another. The line goes to memory and not to the
cache, so it is for results larger than the cache only (`tinynn.kernels.memory.worth_streaming`).
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

from tinynn.kernels.llvm_vectors import REGISTER_BYTES

__all__ = [
    "REGISTER_BYTES",
    "drain",
    "fits_registers",
    "load",
    "load_first",
    "multiply_add",
    "splat",
    "store",
    "store_first",
    "stream",
    "sum_of_lanes",
]


_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i686", "i386"))


def fits_registers(array: NDArray[Any], at_once: int = 1) -> bool:
    """Whether loops can take an array's rows ``at_once`` whole registers at a time, and are compiled."""
    return array.shape[-1] * array.itemsize % (at_once * REGISTER_BYTES) == 0 and not config.DISABLE_JIT


class Vector(types.Type):
    """The Numba type of a register full of float32 or float64."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        super().__init__(name=f"Vector({element}, {REGISTER_BYTES} bytes)")

    @property
    def llvm(self) -> ir.VectorType:
        scalar = ir.FloatType() if self.element.bitwidth == 32 else ir.DoubleType()
        return ir.VectorType(scalar, REGISTER_BYTES * 8 // self.element.bitwidth)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Return a pointer to the vector that begins at ``array[index]``, and its alignment."""
    is_pointer = isinstance(array_type, types.CPointer)
    data = array if is_pointer else context.make_array(array_type)(context, builder, array).data
    vector = Vector(array_type.dtype).llvm
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer()), array_type.dtype.bitwidth // 8


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Return the register that holds ``array[index], array[index + 1], ...`` of a flat contiguous array or pointer."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, align = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=align)

    return Vector(array.dtype)(array, types.uint64), code


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a register to ``array[index], array[index + 1], ...`` of a flat contiguous array or pointer."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, align = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, types.uint64, value), code


def _masked(builder: Any, name: str, kind: Any, count: Any, result: Any, before: list[Any], after: list[Any]) -> Any:
    """Call one of LLVM's masked loads and stores with the first `count` lanes as the mask."""
    numbers = ir.VectorType(ir.IntType(64), kind.count)
    one = builder.insert_element(ir.Constant(numbers, ir.Undefined), count, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    limit = builder.shuffle_vector(one, ir.Constant(numbers, ir.Undefined), zeros)
    mask = builder.icmp_unsigned("<", ir.Constant(numbers, list(range(kind.count))), limit)
    arguments = [*before, mask, *after]
    bits = 32 if isinstance(kind.element, ir.FloatType) else 64
    full_name = f"llvm.masked.{name}.v{kind.count}f{bits}.p0"
    function = builder.module.globals.get(full_name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), full_name)
    return builder.call(function, arguments)


@intrinsic
def load_first(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """Return ``array[index], ..., array[index + count - 1]``, then zeros: nothing is read there."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, align = _pointer(context, builder, signature.args[0], *arguments[:2])
        kind = signature.return_type.llvm
        zeros, alignment = ir.Constant(kind, None), ir.Constant(ir.IntType(32), align)
        return _masked(builder, "load", kind, arguments[2], kind, [pointer, alignment], [zeros])

    return Vector(array.dtype)(array, types.uint64, types.uint64), code


@intrinsic
def store_first(typing_context: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes of a register to ``array[index], ...``, and nothing beyond."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, align = _pointer(context, builder, signature.args[0], *arguments[:2])
        kind, alignment = signature.args[2].llvm, ir.Constant(ir.IntType(32), align)
        _masked(builder, "store", kind, arguments[3], ir.VoidType(), [arguments[2], pointer, alignment], [])
        return context.get_dummy_value()

    return types.void(array, types.uint64, value, types.uint64), code


@intrinsic
def stream(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a register past the caches; ``array[index]`` must lie at a multiple of its width in memory.

    After the last one `drain` must be called. On machines without such an instruction it is a plain store.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, _ = _pointer(context, builder, signature.args[0], *arguments[:2])
        written = builder.store(arguments[2], pointer, align=REGISTER_BYTES)
        hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        written.set_metadata("nontemporal", hint)
        return context.get_dummy_value()

    return types.void(array, types.uint64, value), code


@intrinsic
def drain(typing_context: Any) -> Any:
    """Order what was streamed before all that this thread writes later, such as "I am done"."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _X86:  # LLVM's own fence does not speak of streamed data
            name = "llvm.x86.sse.sfence"
            function = builder.module.globals.get(name)
            if function is None:
                function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), []), name)
            builder.call(function, [])
        else:
            builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def splat(typing_context: Any, value: Any) -> Any:
    """Return a register with the number in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.return_type.llvm
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), lanes)

    return Vector(value)(value), code


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c lane by lane, in one instruction where the machine has it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = builder.fmul(arguments[0], arguments[1], flags=("contract",))
        return builder.fadd(product, arguments[2], flags=("contract",))

    return a(a, a, a), code


@intrinsic
def sum_of_lanes(typing_context: Any, value: Any) -> Any:
    """Return the sum of a register's lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0].llvm
        name = f"llvm.vector.reduce.fadd.v{kind.count}f{signature.args[0].element.bitwidth}"
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(kind.element, [kind.element, kind]), name)
        return builder.call(function, [ir.Constant(kind.element, -0.0), arguments[0]], fastmath=("reassoc",))

    return value.element(value), code
