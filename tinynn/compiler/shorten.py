"""A shorter table: values that are cheap to compute again are not stored; equal updates share a loop, and run early."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tinynn.compiler.rows import Loop, Row
from tinynn.compiler.views import View
from tinynn.kernels.memory import LINE
from tinynn.kernels.rewrites import in_order, substituted
from tinynn.kernels.symbols import Symbol

if TYPE_CHECKING:
    from tinynn.compiler.plan import Buffer

CHEAP = {
    "add", "subtract", "multiply", "negative", "absolute", "maximum", "minimum", "where", "greater", "greater_equal",
    "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not",
}  # fmt: skip
MOST_REPEATED = 6  # operations that may be done again to save a load and a store
SMALL = 4096  # elements up to which updates are put side by side


def recompute_cheap_values(rows: list[Row], buffers: dict[int, Buffer], pinned: set[int]) -> None:
    """Drop stored values that their readers can compute from other stored values in a few operations.

    The derivative 1 - h * h of tanh is such a value: whoever needs it reads h, which is there anyway.
    """
    readers: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        for view in row.inputs:
            readers[view.base].append(row)
    for row in rows:
        if not isinstance(row, Loop) or any(row.reductions):
            continue
        for view in list(row.outputs):
            if view.base in pinned or buffers[view.base].kind != "inner":
                continue
            users = [user for user in readers[view.base] if any(v.base == view.base for v in user.inputs)]
            if users and all(_could_recompute(user, row, view) for user in users):
                basis = _basis(row, view, buffers)
                expression = row.expressions[row.outputs.index(view)]
                if _is_cheap(expression, basis):
                    _recompute(row, view, expression, basis, users, readers)
                    del buffers[view.base]
    rows[:] = [row for row in rows if row.outputs]


def _could_recompute(user: Row, maker: Loop, view: View) -> bool:
    return (
        isinstance(user, Loop)
        and user.space == maker.space
        and user.dtype == maker.dtype
        and all(v == view for v in user.inputs if v.base == view.base)
        and user is not maker
    )


def _basis(row: Loop, view: View, buffers: dict[int, Buffer]) -> dict[Symbol, View]:
    """What stays in memory of a row's inputs and outputs, by its symbol; without the one in question."""
    basis: dict[Symbol, View] = {}
    for name, v in zip(row.names, row.inputs, strict=True):
        if buffers[v.base].kind in ("argument", "constant"):
            basis[Symbol.variable(name, buffers[v.base].dtype == bool)] = v
    stored = zip(row.expressions, row.outputs, strict=True)
    return basis | {e: v for e, v in stored if v != view and buffers[v.base].kind == "inner"}


def _is_cheap(expression: Symbol, basis: dict[Symbol, View]) -> bool:
    count, seen, stack = 0, set(), [expression]
    while stack:
        node = stack.pop()
        if node in basis or node.is_constant or id(node) in seen:
            continue
        seen.add(id(node))
        if node.function not in CHEAP:
            return False
        count += 1
        stack.extend(node.operands)
    return 0 < count <= MOST_REPEATED


def _recompute(
    row: Loop, view: View, expression: Symbol, basis: dict[Symbol, View], users: list[Row],
    readers: dict[int, list[Row]],
) -> None:  # fmt: skip
    for user in set(users):
        assert isinstance(user, Loop)
        (replacement,) = substituted([expression], {node: _variable(user, v, node) for node, v in basis.items()})
        at = user.inputs.index(view)
        old = Symbol.variable(user.names[at], expression.is_bool)
        user.expressions = substituted(user.expressions, {old: replacement})
        used = {node.value for e in user.expressions for node in in_order([e]) if node.function == "variable"}
        kept = [k for k, name in enumerate(user.names) if name in used]
        for v in user.inputs:
            if v != view and user not in readers[v.base]:
                readers[v.base].append(user)
        user.inputs = [user.inputs[k] for k in kept]
        user.names = [user.names[k] for k in kept]
    at = row.outputs.index(view)
    for column in (row.outputs, row.expressions, row.reductions, row.scales):
        del column[at]


def _variable(user: Loop, view: View, node: Symbol) -> Symbol:
    """The variable that holds a view in a loop; the view becomes an input if it is none yet."""
    if view not in user.inputs:
        number = 1 + max((int(name[1:]) for name in user.names), default=-1)
        user.inputs.append(view)
        user.names.append(f"a{number}")
    return Symbol.variable(user.names[user.inputs.index(view)], node.is_bool)


# --------------------------------------------------------------------------------------------- equal updates


def merge_equal_updates(rows: list[Row], buffers: dict[int, Buffer]) -> list[tuple[int, ...]]:
    """Merge equal flat updates of small parameters into one loop over memory in which they lie side by side.

    Returns
    -------
    the groups of buffers that must follow each other in memory, each padded to whole cache lines
    """
    families: dict[object, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        key = _update_key(row, buffers)
        if key is not None:
            families[key].append(number)
    neighbours: list[tuple[int, ...]] = []
    placed: set[int] = set()
    for numbers in families.values():
        members = [rows[number] for number in numbers]
        if len(members) < 2:
            continue
        columns = [tuple(row.inputs[k].base for row in members) for k in _columns(members[0], buffers)]
        bases = [base for column in columns for base in column]
        late = max(numbers)
        written = {view.base for row in members for view in row.outputs}
        used_between = any(
            view.base in written
            for number in range(min(numbers), late)
            if number not in numbers and rows[number] is not None
            for view in (*rows[number].inputs, *rows[number].outputs)
        )
        if len(set(bases)) < len(bases) or placed.intersection(bases) or used_between:
            continue
        placed.update(bases)
        neighbours += columns
        merged = _merge([m for m in members if isinstance(m, Loop)], buffers)
        for number in numbers:
            rows[number] = None  # type: ignore[call-overload]
        rows[late] = merged
    rows[:] = [row for row in rows if row is not None]
    return neighbours


def _columns(row: Row, buffers: dict[int, Buffer]) -> list[int]:
    """The inputs that are arrays, be it of one element, and not single numbers."""
    return [k for k, view in enumerate(row.inputs) if any(view.strides) or buffers[view.base].shape]


def _update_key(row: Row, buffers: dict[int, Buffer]) -> object:
    """What two updates have in common that may share a loop; None for rows that are no such update."""
    if not isinstance(row, Loop) or any(row.reductions) or not row.is_flat() or not row.outputs:
        return None
    size = View.whole(0, row.space).size
    if size > SMALL or any(buffers[v.base].kind != "state" for v in row.outputs):
        return None
    arrays = _columns(row, buffers)
    for view in (*row.outputs, *(row.inputs[k] for k in arrays)):
        if view.offset or buffers[view.base].size != size or buffers[view.base].kind not in ("state", "inner"):
            return None
    order = {view: k for k, view in enumerate(row.inputs)}
    if any(view not in order for view in row.outputs):
        return None
    if any(buffers[view.base].dtype != row.dtype for view in (*row.outputs, *(row.inputs[k] for k in arrays))):
        return None
    numbers = tuple((view.base, view.offset) for k, view in enumerate(row.inputs) if k not in arrays)
    kinds = tuple(buffers[row.inputs[k].base].kind for k in arrays)
    dtypes = tuple(buffers[row.inputs[k].base].dtype for k in arrays)
    outputs = tuple(order[view] for view in row.outputs)
    return (
        row.dtype,
        tuple(map(id, row.expressions)),
        tuple(row.names),
        tuple(arrays),
        numbers,
        kinds,
        dtypes,
        outputs,
    )


def _merge(members: list[Loop], buffers: dict[int, Buffer]) -> Loop:
    first = members[0]
    arrays = set(_columns(first, buffers))
    itemsize = buffers[first.outputs[0].base].dtype.itemsize
    total = sum(padded(buffers[row.outputs[0].base].size, itemsize) for row in members)
    whole = {k: View(first.inputs[k].base, (total,), (1,)) for k in arrays}
    inputs = [whole.get(k, View(v.base, (total,), (0,), v.offset)) for k, v in enumerate(first.inputs)]
    outputs = [inputs[first.inputs.index(v)] for v in first.outputs]
    origins = [origin for row in members for origin in row.origins]
    return Loop(
        inputs, outputs, origins, (total,), first.dtype, first.names, first.expressions, first.reductions, first.scales
    )


def in_canonical_order(loop: Loop) -> None:
    """Name the inputs a0, a1, ... in the order in which the expressions use them, so that equal loops look equal."""
    variables = {str(node.value): node for node in in_order(loop.expressions) if node.function == "variable"}
    names = [f"a{k}" for k in range(len(variables))]
    new = [Symbol.variable(name, old.is_bool) for name, old in zip(names, variables.values(), strict=True)]
    loop.expressions = substituted(loop.expressions, dict(zip(variables.values(), new, strict=True)))
    loop.inputs = [loop.inputs[loop.names.index(old)] for old in variables]
    loop.names = names


def update_early(rows: list[Row], buffers: dict[int, Buffer], neighbours: list[tuple[int, ...]]) -> None:
    """Move updates of parameters up to where the gradient is ready and nobody reads the old value any more.

    The gradient's memory is free then for the next one: with large layers that is a quarter of all memory.
    """
    together = {number: group for group in neighbours for number in group}  # one view goes over all of a group
    touched: dict[int, int] = {}  # buffer -> the last row so far that reads or writes it
    made: dict[int, int] = {}  # buffer -> the last row so far that writes it
    keys = []
    for number, row in enumerate(rows):
        reads = {base for view in row.inputs for base in together.get(view.base, (view.base,))}
        writes = {base for view in row.outputs for base in together.get(view.base, (view.base,))}
        is_update = (
            isinstance(row, Loop) and not any(row.reductions) and all(buffers[w].kind == "state" for w in writes)
        )
        waits_for = [touched.get(base, -1) for base in writes] + [made.get(base, -1) for base in reads]
        keys.append(max(waits_for) + 0.5 if is_update else float(number))
        touched.update(dict.fromkeys(reads | writes, number))
        made.update(dict.fromkeys(writes, number))
    rows[:] = [rows[i] for i in sorted(range(len(rows)), key=keys.__getitem__)]


def padded(size: int, itemsize: int) -> int:
    """A number of elements, rounded up to whole cache lines."""
    line = LINE // itemsize
    return -(-size // line) * line
