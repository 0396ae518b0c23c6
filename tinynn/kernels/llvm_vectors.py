"""LLVM's language for loops over vectors: loads, stores and arithmetic of vectors, counted loops, and whole kernels.

For machine code that is written as it should run (`tinynn.kernels.tiles`), where a compiler has nothing to find
out. Addresses and strides are 64-bit integers, in bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir

__all__ = ["I32", "INT", "REGISTER_BYTES", "Vectors", "counted", "declared", "kernel_text", "least", "number", "steps"]

INT, I32 = ir.IntType(64), ir.IntType(32)
_labels = itertools.count()
CONTRACT = ("contract",)


def _register_bytes() -> int:
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


#: Width of a vector register on this machine.
REGISTER_BYTES = _register_bytes()


class Vectors:
    """Writes loads, stores and arithmetic of vectors of one type into a function under construction."""

    def __init__(self, builder: Any, dtype: str, lanes: int) -> None:
        self.builder = builder
        self.dtype = dtype
        self.bytes = np.dtype(dtype).itemsize
        self.scalar = ir.DoubleType() if self.bytes == 8 else ir.FloatType()
        self.lanes = lanes
        self.kind = ir.VectorType(self.scalar, lanes)
        self.zero = ir.Constant(self.kind, None)

    def at(self, address: Any, kind: Any) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer())

    def load(self, address: Any) -> Any:
        return self.builder.load(self.at(address, self.kind), align=self.bytes)

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.at(address, self.kind), align=self.bytes)

    def first(self, count: Any) -> Any:
        """The mask of the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(self.builder.trunc(count, I32)))

    def _masked(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [x.type for x in arguments])
        return self.builder.call(declared(self.builder.module, kind, name), arguments)

    def masked_store(self, value: Any, address: Any, mask: Any) -> None:
        name = f"llvm.masked.store.v{self.lanes}f{self.bytes * 8}.p0"
        align = ir.Constant(I32, self.bytes)
        self._masked(name, ir.VoidType(), [value, self.at(address, self.kind), align, mask])

    def masked_load(self, address: Any, mask: Any) -> Any:
        """The lanes in the mask, zeros elsewhere: nothing is read there."""
        name = f"llvm.masked.load.v{self.lanes}f{self.bytes * 8}.p0"
        align = ir.Constant(I32, self.bytes)
        return self._masked(name, self.kind, [self.at(address, self.kind), align, mask, self.zero])

    def splat(self, value: Any) -> Any:
        kind = ir.VectorType(value.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        return self.shuffle(one, one, [0] * self.lanes)

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))

    def broadcast(self, address: Any) -> Any:
        return self.splat(self.builder.load(self.at(address, self.scalar), align=self.bytes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(a, b, flags=CONTRACT), c, flags=CONTRACT)

    def sum(self, value: Any) -> Any:
        kind = ir.FunctionType(self.scalar, [self.scalar, self.kind])
        name = f"llvm.vector.reduce.fadd.v{self.lanes}f{self.bytes * 8}"
        function = declared(self.builder.module, kind, name)
        return self.builder.call(function, [ir.Constant(self.scalar, -0.0), value], fastmath=("reassoc",))

    def rows(self, address: Any, stride: Any, count: int) -> list[Any]:
        """The addresses of rows; sums of few products, so that they need few registers."""
        b, found = self.builder, [address]
        for _ in range(count - 1):
            found.append(b.add(found[-1], stride))
        return found


def _not_unrolled(module: Any) -> Any:
    """The label of one loop whose body is long enough: unrolling it would only take time and code."""
    wish = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    label = module.add_metadata([wish, number(next(_labels))])
    label.operands = (label, wish)  # LLVM tells such labels from others by their naming themselves first
    return label


@contextmanager
def counted(builder: Any, count: Any, carried: list[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """A loop of `count` passes (perhaps none): yields the carried values, and a list to replace by their successors.

    After the block that list holds the values after the last pass.
    """
    before, body, after = builder.block, builder.append_basic_block("body"), builder.append_basic_block("after")
    zero, one = ir.Constant(INT, 0), ir.Constant(INT, 1)
    builder.cbranch(builder.icmp_signed(">", count, zero), body, after)
    builder.position_at_end(body)
    passes = builder.phi(INT)
    passes.add_incoming(zero, before)
    phis = [builder.phi(value.type) for value in carried]
    for phi, value in zip(phis, carried, strict=True):
        phi.add_incoming(value, before)
    result: list[Any] = []
    yield phis, result
    following = builder.add(passes, one)
    passes.add_incoming(following, builder.block)
    for phi, value in zip(phis, result, strict=True):
        phi.add_incoming(value, builder.block)
    again = builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    again.set_metadata("llvm.loop", _not_unrolled(builder.module))
    end = builder.block
    builder.position_at_end(after)
    final = []
    for first, value in zip(carried, result, strict=True):
        phi = builder.phi(value.type)
        phi.add_incoming(first, before)
        phi.add_incoming(value, end)
        final.append(phi)
    result[:] = final


def number(value: int) -> Any:
    return ir.Constant(INT, value)


def least(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_signed("<", x, y), x, y)


@contextmanager
def steps(builder: Any, stop: Any, step: int) -> Iterator[Any]:
    """The loop ``for i in range(0, stop, step)``."""
    passes = builder.sdiv(builder.add(stop, number(step - 1)), number(step))
    with counted(builder, passes, [number(0)]) as ((i,), following):
        yield i
        following.append(builder.add(i, number(step)))


def declared(module: Any, kind: Any, name: str) -> Any:
    """A function that is defined elsewhere."""
    return module.globals.get(name) or ir.Function(module, kind, name)


def kernel_text(name: str, write: Callable[[Any, Any], None]) -> str:
    """A module with one kernel, ``void name(i64* row)``; ``write(builder, row)`` writes its instructions."""
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT.as_pointer()]), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    write(builder, function.args[0])
    builder.ret_void()
    return str(module)
