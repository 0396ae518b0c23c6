"""Sums of what a loop computes, done in that loop: its results need not be stored and read again for them.

The walk back through a norm asks for four sums of two arrays that one loop makes: the gradients of weight and bias, and
two means. `fuse` leaves sums over some of the axes by themselves, because a matrix product may take one over (see
`tinynn.compiler.absorb`); what is left then joins the loop that computes it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from tinynn.compiler.rows import Loop, Row
from tinynn.compiler.shorten import in_canonical_order
from tinynn.compiler.views import View
from tinynn.kernels.rewrites import substituted
from tinynn.kernels.symbols import Symbol

if TYPE_CHECKING:
    from tinynn.compiler.plan import Buffer

LARGEST = 1 << 18  # elements: longer loops are shared by threads, which sums along other axes would prevent
MOST_OUTPUTS = 8  # of a loop: every one is a pointer, and a sum a register or a row of partial sums


def join_reductions(rows: list[Row], buffers: dict[int, Buffer], pinned: set[int]) -> None:
    """Let loops do the reductions of what they store, and store only what others read."""
    gone: set[int] = set()
    for number, row in enumerate(rows):
        if not isinstance(row, Loop) or not all(row.reductions) or math.prod(row.space) > LARGEST:
            continue
        home = _loop_to_join(number, row, rows, buffers, gone)
        if home is not None:
            _join(home, row)
            in_canonical_order(home)
            gone.add(number)
    rows[:] = [row for number, row in enumerate(rows) if number not in gone]
    if gone:
        _drop_unread(rows, buffers, pinned)


def _loop_to_join(number: int, row: Loop, rows: list[Row], buffers: dict[int, Buffer], gone: set[int]) -> Loop | None:
    """The loop that makes the last of a reduction's inputs, if it can do the reduction as well."""
    bases = {view.base for view in row.inputs}
    written = {view.base for view in row.outputs}
    for at in range(number - 1, -1, -1):
        other = rows[at]
        if at in gone:
            continue
        made = bases.intersection(view.base for view in other.outputs)
        if not made:
            if written.intersection(view.base for view in (*other.inputs, *other.outputs)):
                return None
            continue
        if not isinstance(other, Loop) or other.space != row.space or other.dtype != row.dtype:
            return None
        if len(other.outputs) + len(row.outputs) > MOST_OUTPUTS:
            return None
        if any(buffers[base].kind != "inner" for base in made | written):
            return None
        stored = {v for v, kind in zip(other.outputs, other.reductions, strict=True) if not kind}
        if all(view in stored for view in row.inputs if view.base in made):
            return other
        return None
    return None


def _join(home: Loop, row: Loop) -> None:
    values: dict[Symbol, Symbol] = {}
    stored = dict(zip(home.outputs, home.expressions, strict=True))
    for name, view in zip(row.names, row.inputs, strict=True):
        for is_bool in (False, True):
            old = Symbol.variable(name, is_bool)
            if view in stored:
                values[old] = stored[view]
                continue
            if view not in home.inputs:
                home.inputs.append(view)
                home.names.append(f"a{1 + max((int(n[1:]) for n in home.names), default=-1)}")
            values[old] = Symbol.variable(home.names[home.inputs.index(view)], is_bool)
    home.outputs += row.outputs
    home.expressions += substituted(row.expressions, values)
    home.reductions += row.reductions
    home.scales += row.scales
    home.origins += row.origins


def _drop_unread(rows: list[Row], buffers: dict[int, Buffer], pinned: set[int]) -> None:
    readers: dict[int, int] = defaultdict(int)
    for row in rows:
        for view in row.inputs:
            readers[view.base] += 1
    for row in rows:
        if not isinstance(row, Loop):
            continue
        kept = [k for k, v in enumerate(row.outputs) if readers[v.base] or not _is_inner(v, buffers, pinned)]
        if len(kept) < len(row.outputs) and kept:
            for base in {v.base for k, v in enumerate(row.outputs) if k not in kept}:
                del buffers[base]
            row.outputs = [row.outputs[k] for k in kept]
            row.expressions = [row.expressions[k] for k in kept]
            row.reductions = [row.reductions[k] for k in kept]
            row.scales = [row.scales[k] for k in kept]


def _is_inner(view: View, buffers: dict[int, Buffer], pinned: set[int]) -> bool:
    return view.base not in pinned and buffers[view.base].kind == "inner"
