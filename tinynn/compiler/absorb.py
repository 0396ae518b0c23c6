"""Small loops that a matrix product does on its way: a factor for its result, and the sums of its first operand.

On small networks these loops cost less than the way to them: ``g = (g @ W) * slope`` in the walk back, where the
slope of the activation was stored, and the gradient of the bias, which sums what the gradient of the weight
multiplies: ``g.T @ x`` reads all of ``g`` anyway.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tinynn.compiler.rows import Loop, Multiply, Row
from tinynn.compiler.views import View
from tinynn.kernels.symbols import Symbol

if TYPE_CHECKING:
    from tinynn.compiler.plan import Buffer

LARGEST = 1 << 26  # multiply-adds: larger products may be done in blocks or by BLAS, without factors and sums


def absorb_into_products(rows: list[Row], buffers: dict[int, Buffer], pinned: set[int]) -> None:
    """Let products take over the factors and sums that follow them."""
    made: dict[int, int] = {}
    readers: dict[int, list[int]] = defaultdict(list)
    first_operands: dict[View, int] = {}
    for number, row in enumerate(rows):
        for view in row.outputs:
            made[view.base] = number
        for view in row.inputs:
            readers[view.base].append(number)
        if isinstance(row, Multiply) and row.flops <= 2 * LARGEST:
            first_operands.setdefault(row.inputs[0], number)
    gone: set[int] = set()
    for number, row in enumerate(rows):
        if not isinstance(row, Loop) or len(row.outputs) != 1 or buffers[row.outputs[0].base].kind != "inner":
            continue
        taken = _factor(number, row, rows, buffers, pinned, made, readers)
        taken = taken or _sums(number, row, rows, first_operands, readers)
        if taken:
            gone.add(number)
    rows[:] = [row for number, row in enumerate(rows) if number not in gone]


def _factor(
    number: int, row: Loop, rows: list[Row], buffers: dict[int, Buffer], pinned: set[int],
    made: dict[int, int], readers: dict[int, list[int]],
) -> bool:  # fmt: skip
    """out = product * times, in order: the product stores that at once."""
    a0, a1 = Symbol.variable("a0"), Symbol.variable("a1")
    if row.reductions[0] or len(row.inputs) != 2 or row.expressions[0] is not a0 * a1 or not row.is_flat():
        return False
    out = row.outputs[0]
    for product, times in (row.inputs, row.inputs[::-1]):
        maker = rows[made[product.base]] if product.base in made else None
        if not isinstance(maker, Multiply) or maker.has_times or maker.flops > 2 * LARGEST or len(maker.outputs) > 1:
            continue
        whole = View.whole(product.base, product.shape)
        if product != whole or readers[product.base] != [number] or product.base in pinned:
            continue
        if made.get(times.base, -1) >= made[product.base] or not times.is_whole(buffers[times.base].size):
            continue
        if buffers[times.base].dtype != buffers[product.base].dtype:
            continue
        if buffers[times.base].kind == "state" or not out.is_whole(buffers[out.base].size):
            continue
        m, n, _ = maker.sizes
        if buffers[product.base].size != m * n or buffers[times.base].size != m * n:
            continue
        maker.inputs.append(View.whole(times.base, (m, n)))
        maker.outputs[0] = View.whole(out.base, (m, n))
        maker.has_times = True
        maker.origins += row.origins
        made[out.base] = made[product.base]
        readers[times.base].append(made[product.base])
        del buffers[product.base]
        return True
    return False


def _sums(
    number: int, row: Loop, rows: list[Row], first_operands: dict[View, int], readers: dict[int, list[int]]
) -> bool:
    """out[i] = sum over j of x[j, i], where a product has x.T as its first operand."""
    if row.reductions != ["sum"] or row.expressions[0] is not Symbol.variable("a0") or row.scales != [1.0]:
        return False
    x, out = row.inputs[0], row.outputs[0]
    if len(x.shape) != 2 or x.strides[1] != 1 or out.strides != (0, 1) or out.offset:
        return False
    at = first_operands.get(x.transposed((1, 0)))
    product = rows[at] if at is not None else None
    if at is None or not isinstance(product, Multiply) or len(product.outputs) > 1:
        return False
    if any(reader < at for reader in readers[out.base]):
        return False
    product.outputs.append(View.whole(out.base, (x.shape[1],)))
    product.origins += row.origins
    return True
