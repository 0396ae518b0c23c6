"""Machine code for large matrix products: blocks that stay in the caches, and tiles of those that stay in registers.

Where the operands do not fit into a cache, tiles (`tinynn.kernels.tiles`) wait for them. So a product is taken apart
until what is read again and again is near::

    for each block of steps along k:                          1024
        for each block of b's columns, packed as panels:      1024 x 1024, in the last cache
            for each block of a's rows, packed as strips:     64 x 1024, in the second cache
                for each panel of b, each strip of a:         1024 x 32, 8 x 1024
                    out[8, 32] += strip @ panel               in registers

*Packed* means copied to where it is read in order: a strip holds the eight elements of a column one after the other,
then those of the next. Sums along k are in order within a block of k, and the blocks are added in order, whatever the
number of threads.

Source: K. Goto, R. A. van de Geijn, Anatomy of high-performance matrix multiplication, ACM Trans. Math. Softw. 34
(2008) 12.

The numbers are those of float32; for float64 a panel, and so a tile, is half as wide. Each thread that shares a product
packs for itself.

Addresses and strides are in bytes here. Up to 64 bytes beyond an array's last element may be read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from tinynn.kernels.llvm_vectors import I32, Vectors, counted, declared, least, number, steps
from tinynn.kernels.tiles import Words, pack

__all__ = ["Blocks", "emit_blocks"]

_BYTE = ir.IntType(8)


class Blocks(NamedTuple):
    """How a product is taken apart.

    Attributes
    ----------
    rows, vectors, lanes : of a tile; rows and lanes are powers of two, and there are no more rows than lanes
    depth : steps along k that a block has; a multiple of the lanes
    high, wide : a's rows and b's columns in a block; multiples of a tile's
    """

    rows: int = 8
    vectors: int = 2
    lanes: int = 16
    depth: int = 1024
    high: int = 64
    wide: int = 1024

    def scratch_bytes(self, size: int) -> int:
        """How much memory the packed blocks take."""
        return (self.high + self.wide) * self.depth * size


def emit_blocks(builder: Any, row: Any, dtype: str, *options: int) -> None:
    """Write ``out = a @ b + bias`` for a row's operands, of which each has rows or columns that are contiguous.

    `options` are those of `Blocks`. There must be steps along k: without any, nothing is written.
    """
    sizes = Blocks(*options)
    assert sizes.rows.bit_count() == 1, "rows are transposed in squares"
    assert sizes.lanes % sizes.rows == sizes.depth % sizes.lanes == 0, "packing writes whole squares"
    assert sizes.high % sizes.rows == sizes.wide % (sizes.vectors * sizes.lanes) == 0, "blocks are whole tiles"
    v = Vectors(builder, dtype, sizes.lanes)
    w = Words(builder, row, v.bytes, swapped=False)
    width = sizes.vectors * sizes.lanes
    strips, panels = w.scratch, builder.add(w.scratch, number(sizes.high * sizes.depth * v.bytes))

    size = number(v.bytes)

    def at(first: Any, i: Any, down: Any, j: Any, right: Any) -> Any:
        """The address of an element."""
        return builder.add(first, builder.add(builder.mul(i, down), builder.mul(j, right)))

    with steps(builder, w.k, sizes.depth) as t, steps(builder, w.n, sizes.wide) as column:
        depth = least(builder, builder.sub(w.k, t), number(sizes.depth))
        wide = least(builder, builder.sub(w.n, column), number(sizes.wide))
        _pack_block(v, at(w.b, t, w.b_row, column, w.b_column), w.b_column, w.b_row, depth, wide, panels, width)
        with steps(builder, w.m, sizes.high) as top:
            high = least(builder, builder.sub(w.m, top), number(sizes.high))
            _pack_block(v, at(w.a, top, w.a_row, t, w.a_step), w.a_row, w.a_step, depth, high, strips, sizes.rows)
            with steps(builder, wide, width) as j, steps(builder, high, sizes.rows) as i:
                out = at(w.out, builder.add(top, i), w.out_row, builder.add(column, j), size)
                bias = builder.add(w.bias, builder.mul(builder.add(column, j), size))
                bias = builder.select(builder.icmp_signed("==", w.bias, number(0)), number(0), bias)
                is_first = builder.icmp_signed("==", t, number(0))
                before = builder.select(is_first, bias, out)  # what the sums are added to; 0: nothing
                before_row = builder.select(is_first, number(0), w.out_row)
                strip = builder.add(strips, builder.mul(i, builder.mul(depth, size)))
                panel = builder.add(panels, builder.mul(j, builder.mul(depth, size)))
                left = builder.sub(high, i), builder.sub(wide, j)
                _tile(v, sizes, [depth, strip, panel, out, w.out_row, *left, before, before_row])


def _pack_block(
    v: Vectors, source: Any, across: Any, along: Any, depth: Any, count: Any, target: Any, width: int
) -> None:
    """Copy rows of a, or columns of b, which lie `across` apart, in groups of `width`: see `_pack_group`."""
    builder = v.builder
    with steps(builder, count, width) as j:
        here = builder.add(source, builder.mul(j, across))
        there = builder.add(target, builder.mul(builder.mul(j, depth), number(v.bytes)))
        _pack_group(v, width, [here, across, along, depth, builder.sub(count, j), there])


def _pack_group(v: Vectors, width: int, arguments: list[Any]) -> None:
    """Write ``target[t, j] = source[j * across + t * along]`` for j < width, a function of its own.

    What lies beyond the last, if there are fewer, does not matter: it is never stored.
    """
    function, first = _function(v, f"pack_{width}", arguments)
    if first:
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        source, across, along, depth, count, target = function.args
        row = Vectors(builder, v.dtype, min(v.lanes, width))
        count = least(builder, count, number(width))
        neighbours = builder.icmp_signed("==", across, number(v.bytes))
        with builder.if_else(neighbours) as (contiguous, otherwise):
            with contiguous, steps(builder, depth, 1) as t:
                here, there = builder.mul(t, along), builder.mul(t, number(width * v.bytes))
                for j in range(0, width, row.lanes):
                    mask, offset = row.first(builder.sub(count, number(j))), number(j * v.bytes)
                    value = row.masked_load(builder.add(builder.add(source, here), offset), mask)
                    row.store(value, builder.add(builder.add(target, there), offset))
            with otherwise:
                pack(row, source, across, along, depth, count, target, width, row.lanes)
        builder.ret_void()
    v.builder.call(function, arguments)


def _tile(v: Vectors, sizes: Blocks, arguments: list[Any]) -> None:
    """Write a call of the function that adds the product of a strip and a panel, and that function at first."""
    function, first = _function(v, "tile", arguments)
    if first:
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        _tile_body(Vectors(builder, v.dtype, v.lanes), sizes, function.args)
        builder.ret_void()
    v.builder.call(function, arguments)


def _tile_body(v: Vectors, sizes: Blocks, arguments: Any) -> None:
    builder, rows = v.builder, range(sizes.rows)
    depth, strip, panel, out, out_row, rows_left, columns_left, before, before_row = arguments
    offsets = [number(j * v.lanes * v.bytes) for j in range(sizes.vectors)]
    for address in v.rows(out, out_row, sizes.rows):
        for offset in offsets:
            _prefetch(v, builder.add(address, offset))

    with counted(builder, depth, [strip, panel, *[v.zero] * sizes.rows * sizes.vectors]) as ((a, b, *sums), following):
        b_now = [v.load(builder.add(b, offset)) for offset in offsets]
        for i in rows:
            a_now = v.broadcast(builder.add(a, number(i * v.bytes)))
            for j in range(sizes.vectors):
                place = i * sizes.vectors + j
                sums[place] = v.multiply_add(a_now, b_now[j], sums[place])
        following += [builder.add(a, number(sizes.rows * v.bytes))]
        following += [builder.add(b, number(sizes.vectors * v.lanes * v.bytes)), *sums]
    sums = following[2:]

    masks = [v.first(builder.sub(columns_left, number(j * v.lanes))) for j in range(sizes.vectors)]

    def finish(adding: bool) -> None:
        places = zip(v.rows(out, out_row, sizes.rows), v.rows(before, before_row, sizes.rows), strict=True)
        for i, (address, start) in enumerate(places):
            with builder.if_then(builder.icmp_signed("<", number(i), rows_left)):
                for j, (offset, mask) in enumerate(zip(offsets, masks, strict=True)):
                    value = sums[i * sizes.vectors + j]
                    if adding:
                        value = builder.fadd(v.masked_load(builder.add(start, offset), mask), value)
                    v.masked_store(value, builder.add(address, offset), mask)

    with builder.if_else(builder.icmp_signed("==", before, number(0))) as (alone, added):
        with alone:
            finish(adding=False)
        with added:
            finish(adding=True)


def _prefetch(v: Vectors, address: Any) -> None:
    """Ask for a line that is written later."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), I32, I32, I32])
    to_write, soon, data = I32(1), I32(3), I32(1)
    function = declared(v.builder.module, kind, "llvm.prefetch.p0")
    v.builder.call(function, [v.at(address, _BYTE), to_write, soon, data])


def _function(v: Vectors, name: str, arguments: list[Any]) -> tuple[Any, bool]:
    """A function of the module, to be called with such arguments; and whether it has yet to be written."""
    function = v.builder.module.globals.get(name)
    if function is not None:
        return function, False
    function = ir.Function(v.builder.module, ir.FunctionType(ir.VoidType(), [x.type for x in arguments]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function, True
