"""Machine code for small matrix products: tiles of the result that stay in vector registers.

A tile is a few rows of ``out = a @ b + bias`` by a few vectors of columns. For each step along k it loads one row of
b (a few vectors), and copies each element of a's column to all lanes of a register; so rows + vectors loads serve
rows * vectors multiply-adds. In Python, with the vectors of `tinynn.kernels.simd`, a tile of two rows by one vector
reads ::

    sum0 = sum1 = load(bias, 0)
    for t in range(k):
        b0 = load(b, t * b_stride)
        sum0 = multiply_add(splat(a[0, t]), b0, sum0)
        sum1 = multiply_add(splat(a[1, t]), b0, sum1)
    store(out, 0, sum0), store(out, out_stride, sum1)

Numba would take a third of a second to find the types in such lines for all heights of tiles, so the loops are written
in LLVM's language here, and translated as they stand (`tinynn.kernels.machine_code`). `tinynn.kernels.products` prints
what they do as Python.

Addresses and strides are in bytes here. Loads of whole vectors may read up to 64 bytes beyond an array's last element;
nothing is written beyond it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinynn.kernels.llvm_vectors import Vectors, counted, least, number, steps

__all__ = ["Words", "emit_dots", "emit_tiles", "pack"]


class Words:
    """A product's row, read into values: sizes, addresses, and strides in bytes.

    ``swapped`` computes the transposed product ``out.T = b.T @ a.T`` instead.
    """

    def __init__(self, builder: Any, row: Any, size: int, swapped: bool) -> None:
        words = [builder.load(builder.gep(row, [number(i)])) for i in range(18)]
        for i in (6, 7, 9, 10, 13, 16):
            words[i] = builder.mul(words[i], number(size))
        _, _, m, n, self.k, a, a_row, a_step, b, b_row, b_column, self.bias, self.out, out_row, *more = words
        self.scratch, self.times, self.times_row, self.sums = more
        self.summed = (m, a, a_step)
        self.swapped = swapped
        self.m, self.n = (n, m) if swapped else (m, n)
        self.a, self.a_row, self.a_step = (b, b_column, b_row) if swapped else (a, a_row, a_step)
        self.b, self.b_row, self.b_column = (a, a_step, a_row) if swapped else (b, b_row, b_column)
        self.out_row, self.out_column = (number(size), out_row) if swapped else (out_row, number(size))


# ----------------------------------------------------------------------------------------------- tiles of products


def emit_tiles(builder: Any, row: Any, dtype: str, rows: int, vectors: int, lanes: int, layout: str) -> None:
    """Write the product of a row's operands, in tiles of at most `rows` by ``vectors * lanes``.

    `layout` tells how b is stored: "direct" (its rows are contiguous), "transposed" (its columns are), "strided"; or
    it is "swapped": a's columns are contiguous, and out.T = b.T @ a.T is computed, in the scratch memory at first.
    A panel of columns is taken at a time. The last panel ends with the last column, so it overlaps the one before it
    (the same numbers are written twice) unless there is only one; the last vector of that one is masked.
    """
    v = Vectors(builder, dtype, lanes)
    swapped = layout == "swapped"
    w = Words(builder, row, v.bytes, swapped)
    _sum_rows(v, w)
    target, target_row = (w.scratch, builder.mul(w.n, number(v.bytes))) if swapped else (w.out, w.out_row)
    width = vectors * lanes
    last = builder.sub(least(builder, w.n, number(width)), number(width - lanes))
    rightmost = builder.sub(w.n, number(width))
    rightmost = builder.select(builder.icmp_signed("<", rightmost, number(0)), number(0), rightmost)
    packed = layout in ("transposed", "strided")
    b_row = number(width * v.bytes) if packed else w.b_row
    with steps(builder, w.n, width) as start:
        column = least(builder, start, rightmost)
        offset = builder.mul(column, number(v.bytes))
        no_bias = builder.icmp_signed("==", w.bias, number(0))
        bias = number(0) if swapped else builder.select(no_bias, number(0), builder.add(w.bias, offset))
        if packed:
            source = builder.add(w.b, builder.mul(column, w.b_column))
            count = least(builder, builder.sub(w.n, column), number(width))
            side = lanes if layout == "transposed" else 1
            pack(v, source, w.b_column, w.b_row, w.k, count, w.scratch, width, side)
        b = w.scratch if packed else builder.add(w.b, offset)
        out = builder.add(target, offset)
        no_times, times = builder.icmp_signed("==", w.times, number(0)), builder.add(w.times, offset)

        def tile(first: Any, height: int) -> None:
            a = builder.add(w.a, builder.mul(first, w.a_row))
            corner = builder.add(out, builder.mul(first, target_row))
            factors = builder.add(times, builder.mul(first, w.times_row))
            factors = builder.select(no_times, number(0), factors)
            arguments = [w.k, a, w.a_row, w.a_step, b, b_row, bias, corner, target_row, last, factors, w.times_row]
            _tile(v, height, vectors, arguments)

        with steps(builder, builder.sub(w.m, number(rows - 1)), rows) as first:
            tile(first, rows)
        done = builder.mul(builder.sdiv(w.m, number(rows)), number(rows))
        rest = builder.sub(w.m, done)
        for height in (8, 4, 2, 1):  # of the rows that are left
            if height < rows:
                with builder.if_then(builder.icmp_signed("!=", builder.and_(rest, number(height)), number(0))):
                    tile(builder.add(done, builder.and_(rest, number(-2 * height))), height)
    if swapped:
        with steps(builder, w.n, 1) as i, steps(builder, w.m, 1) as j:
            source = builder.add(builder.mul(j, target_row), builder.mul(i, number(v.bytes)))
            place = builder.add(builder.mul(j, w.out_row), builder.mul(i, w.out_column))
            value = builder.load(v.at(builder.add(target, source), v.scalar), align=v.bytes)
            builder.store(value, v.at(builder.add(w.out, place), v.scalar), align=v.bytes)


def _sum_rows(v: Vectors, w: Words) -> None:
    """Write sums[i] = sum over t of a[i, t], where they are asked for; a's columns are contiguous then."""
    builder = v.builder
    m, a, a_step = w.summed
    with builder.if_then(builder.icmp_signed("!=", w.sums, number(0))), steps(builder, m, v.lanes) as i:
        offset = builder.mul(i, number(v.bytes))
        with counted(builder, w.k, [builder.add(a, offset), v.zero]) as ((at, total), following):
            following += [builder.add(at, a_step), builder.fadd(total, v.load(at))]
        v.masked_store(following[1], builder.add(w.sums, offset), v.first(builder.sub(m, i)))


def _tile(v: Vectors, rows: int, vectors: int, arguments: list[Any]) -> None:
    """Write a call of the function that computes one tile, and that function where it is the first call.

    A function of its own, as otherwise LLVM prepares addresses for the tiles of all heights before the first.
    """
    module, name = v.builder.module, f"tile_{rows}x{vectors}"
    function = module.globals.get(name)
    if function is None:
        kinds = [value.type for value in arguments]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        _tile_body(function, v, rows, vectors)
    v.builder.call(function, arguments)


def _tile_body(function: Any, outside: Vectors, rows: int, vectors: int) -> None:
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    v = Vectors(builder, outside.dtype, outside.lanes)
    k, a, a_row, a_step, b, b_row, bias, out, out_row, last, times, times_row = function.args
    offsets = [number(j * v.lanes * v.bytes) for j in range(vectors)]
    before = builder.block  # every row starts with the bias, or with zeros
    with builder.if_then(builder.icmp_signed("!=", bias, number(0))):
        loaded = [v.load(builder.add(bias, offset)) for offset in offsets]
        inside = builder.block
    start = []
    for value in loaded:
        phi = builder.phi(v.kind)
        phi.add_incoming(v.zero, before)
        phi.add_incoming(value, inside)
        start.append(phi)

    down = [builder.mul(a_row, number(i)) for i in range(rows)]
    with counted(builder, k, [a, b, *start * rows]) as ((a_at, b_at, *sums), following):
        b_now = [v.load(builder.add(b_at, offset)) for offset in offsets]
        for i in range(rows):
            a_now = v.broadcast(builder.add(a_at, down[i]))
            for j in range(vectors):
                sums[i * vectors + j] = v.multiply_add(a_now, b_now[j], sums[i * vectors + j])
        following += [builder.add(a_at, a_step), builder.add(b_at, b_row), *sums]

    sums, before = following[2:], builder.block
    with builder.if_then(builder.icmp_signed("!=", times, number(0))):
        places = [builder.add(row, offset) for row in v.rows(times, times_row, rows) for offset in offsets]
        scaled = [builder.fmul(value, v.load(place)) for value, place in zip(sums, places, strict=True)]
        inside = builder.block
    for i, value in enumerate(scaled):
        phi = builder.phi(v.kind)
        phi.add_incoming(sums[i], before)
        phi.add_incoming(value, inside)
        sums[i] = phi

    mask = v.first(last)
    for i, address in enumerate(v.rows(out, out_row, rows)):
        for j in range(vectors):
            value, target = sums[i * vectors + j], builder.add(address, offsets[j])
            if j < vectors - 1:
                v.store(value, target)
            else:
                v.masked_store(value, target, mask)
    builder.ret_void()


def pack(
    v: Vectors, source: Any, across: Any, along: Any, k: Any, count: Any, target: Any, width: int, side: int
) -> None:
    """Write ``target[t, j] = source[j * across + t * along]`` for j < count: rows of `width` elements, one for each t.

    A square of `side` elements at a time is transposed in registers; for j beyond the last it is the last again.
    """
    builder, row_bytes = v.builder, width * v.bytes
    block = Vectors(builder, v.dtype, side)
    with steps(builder, count, side) as j:
        places = [least(builder, builder.add(j, number(lane)), builder.sub(count, number(1))) for lane in range(side)]
        sources = [builder.add(source, builder.mul(place, across)) for place in places]
        there = builder.add(target, builder.mul(j, number(v.bytes)))
        with steps(builder, k, side) as t:
            here = builder.add(there, builder.mul(t, number(row_bytes)))
            moved = builder.mul(t, along)
            values = [block.load(builder.add(source, moved)) for source in sources]
            for i, value in enumerate(_transposed(block, values)):
                block.store(value, builder.add(here, number(i * row_bytes)))


def _transposed(v: Vectors, block: list[Any]) -> list[Any]:
    """Transpose as many vectors as there are lanes: each stage is a perfect shuffle of the block."""
    half = v.lanes // 2
    low = [x for i in range(half) for x in (i, v.lanes + i)]
    high = [x + half for x in low]
    for _ in range(v.lanes.bit_length() - 1):
        pairs = zip(block[:half], block[half:], strict=True)
        block = [x for p, q in pairs for x in (v.shuffle(p, q, low), v.shuffle(p, q, high))]
    return block


# ------------------------------------------------------------------------------------------------- dot products


def emit_dots(builder: Any, row: Any, dtype: str, rows: int, lanes: int, swapped: bool) -> None:
    """Write the product of a row's operands as dot products of a's rows with b's columns, both contiguous along k.

    So many `rows` at a time share the loads of a column. The last one is repeated where there are fewer.
    """
    v = Vectors(builder, dtype, lanes)
    w = Words(builder, row, v.bytes, swapped)
    _sum_rows(v, w)
    step, end = number(lanes * v.bytes), builder.sub(w.m, number(1))
    whole, mask = builder.sdiv(w.k, number(lanes)), v.first(builder.srem(w.k, number(lanes)))
    with steps(builder, w.n, 1) as j, steps(builder, w.m, rows) as first:
        places = [least(builder, builder.add(first, number(i)), end) for i in range(rows)]
        sources = [builder.add(w.a, builder.mul(place, w.a_row)) for place in places]
        b = builder.add(w.b, builder.mul(j, w.b_column))
        with counted(builder, whole, [number(0), *[v.zero] * rows]) as ((t, *sums), following):
            b_now = v.load(builder.add(b, t))
            following.append(builder.add(t, step))
            for source, total in zip(sources, sums, strict=True):
                following.append(v.multiply_add(v.load(builder.add(source, t)), b_now, total))
        t, *sums = following
        b_now = v.masked_load(builder.add(b, t), mask)
        for place, source, total in zip(places, sources, sums, strict=True):
            total = v.sum(v.multiply_add(v.masked_load(builder.add(source, t), mask), b_now, total))
            target = builder.add(builder.mul(place, w.out_row), builder.mul(j, w.out_column))
            row, column = (j, place) if swapped else (place, j)
            _finish(v, w, total, row, column, builder.add(w.out, target))


def _finish(v: Vectors, w: Words, value: Any, row: Any, column: Any, target: Any) -> None:
    """Store (value + bias[column]) * times[row, column]."""
    builder, across = v.builder, v.builder.mul(column, number(v.bytes))
    for operand, place, combine in (
        (w.bias, across, builder.fadd),
        (w.times, builder.add(builder.mul(row, w.times_row), across), builder.fmul),
    ):
        before = builder.block
        with builder.if_then(builder.icmp_signed("!=", operand, number(0))):
            address = v.at(builder.add(operand, place), v.scalar)
            changed = combine(value, builder.load(address, align=v.bytes))
            inside = builder.block
        phi = builder.phi(v.scalar)
        phi.add_incoming(value, before)
        phi.add_incoming(changed, inside)
        value = phi
    builder.store(value, v.at(target, v.scalar), align=v.bytes)
