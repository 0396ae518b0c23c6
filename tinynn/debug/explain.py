"""A readable plan of what ``backward()`` is going to do, before it does it."""

from __future__ import annotations

from typing import Any

from tinynn.backends.dispatch import owner
from tinynn.graph import GraphError, Leaf, Node
from tinynn.tensor import Tensor


def explain(loss: Tensor, names: Any = None) -> str:
    """What ``loss.backward()`` will do: one line per operation, in the order in which it visits them.

    Each line gives the operation's number, its output's shape, and for each input that gets a gradient the
    formula, the saved arrays that the formula reads, and where the result goes. The last lines list the
    leaves that end up with a gradient, and the memory that the graph keeps alive.

    Parameters
    ----------
    loss : the tensor that ``backward()`` would be called on
    names : a module, or a dict from name to tensor: what to call the leaves

    Raises
    ------
    GraphError
        If the tensor has no graph.

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> print(tinynn.debug.explain((w * w).sum(), {"w": w}))
    backward() starts with dL/dL = 1 at [2] and visits 2 operations, the newest first:
      [2] Sum        -> ()      grad_x(x_shape=(2,)) -> [1]
      [1] Mul        -> (2,)    grad_a(b=(2,) 16 B) -> w
                                grad_b(a=(2,) 16 B) -> w
    gradients end up in 1 leaf: w (2,), arriving from 2 places and added up
    kept alive until then: 1 array, 16 B, of which 16 B are the leaves' own
    """
    if loss.node is None:
        raise GraphError(
            f"explain: {loss.describe()} does not depend on anything with requires_grad=True, there is no graph"
        )
    order = reachable(loss.node)
    leaf_names = name_leaves(order, names)
    numbers = {node: str(k) for k, node in enumerate((n for n in reversed(order) if n.parents), start=1)}
    called = {node: leaf_names[node] if node in leaf_names else f"[{numbers[node]}]" for node in order}
    operations = [node for node in order if node.parents]

    rows, arrivals = [], dict.fromkeys(leaf_names, 0)
    for node in operations:
        formulas = [_formula(node, i) + f" -> {called[parent]}" for i, parent in _differentiated(node)]
        for _, parent in _differentiated(node):
            if parent in arrivals:
                arrivals[parent] += 1
        rows.append((called[node], type(node.op).__name__, str(node.shape), formulas or ["(nothing to pass on)"]))

    width, kinds, shapes = (max([len(row[k]) for row in rows], default=0) for k in range(3))
    kinds, shapes = max(kinds, 10), max(shapes, 6)
    given = "= 1" if loss.size == 1 else f"of shape {loss.shape}, to be given,"
    lines = [
        f"backward() starts with dL/dL {given} at {called[loss.node]} and visits {len(operations)} "
        f"operation{'s' * (len(operations) != 1)}, the newest first:"
    ]
    for number, kind, shape, formulas in rows:
        head = f"  {number:>{width}} {kind:<{kinds}} -> {shape:<{shapes}}"
        for k, formula in enumerate(formulas):
            lines.append(f"{head if k == 0 else ' ' * len(head)}  {formula}")
    lines.append(_leaves_line(leaf_names, arrivals))
    lines.append(_memory_line(order))
    return "\n".join(lines)


def reachable(start: Node) -> list[Node]:
    """All nodes that a walk back from ``start`` visits, the newest first: the order of `backpropagate`."""
    seen, stack = {start}, [start]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: -node.number)


def name_leaves(nodes: list[Node], names: Any) -> dict[Node, str]:
    """What to call each leaf: its name where one was given, else leaf1, leaf2, ... in their order."""
    given = dict(names.named_parameters()) if hasattr(names, "named_parameters") else dict(names or {})
    by_node = {tensor.node: name for name, tensor in given.items()}
    leaves = sorted((node for node in nodes if not node.parents), key=lambda node: node.number)
    return {node: by_node.get(node) or f"leaf{k}" for k, node in enumerate(leaves, start=1)}


def _differentiated(node: Node) -> list[tuple[int, Node]]:
    """The inputs whose gradient formula will run."""
    return [(i, parent) for i, parent in enumerate(node.parents) if parent is not None and node.op.rules[i] is not None]


def _formula(node: Node, i: int) -> str:
    op = node.op
    name = op.inputs[min(i, len(op.inputs) - 1)]
    needs = op.rules[i][1]  # type: ignore[index]
    if node.saved is None:
        return f"grad_{name}(freed: an earlier backward() used it)"
    parts = []
    for key in needs:
        value = node.saved[key]
        parts.append(f"{key}={value if key.endswith('_shape') else _size(value)}")
    return f"grad_{name}({', '.join(parts)})"


def _size(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_size, value)) + "]"
    if hasattr(value, "nbytes"):
        return f"{tuple(value.shape)} {in_bytes(value.nbytes)}"
    return repr(value)


def in_bytes(count: int) -> str:
    """``512 B``, ``1.5 KiB``, ``20.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    if count < 1024**2:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024**2:.1f} MiB"


def _leaves_line(leaf_names: dict[Node, str], arrivals: dict[Node, int]) -> str:
    parts = []
    for node, name in leaf_names.items():
        times = arrivals[node]
        parts.append(f"{name} {node.shape}" + (f", arriving from {times} places and added up" if times > 1 else ""))
    return f"gradients end up in {len(parts)} lea{'f' if len(parts) == 1 else 'ves'}: {'; '.join(parts)}"


def _memory_line(nodes: list[Node]) -> str:
    """How many bytes the graph keeps, counting memory that is shared only once."""
    owned = {}
    for node in nodes:
        for value in (node.saved or {}).values():
            for array in value if isinstance(value, tuple) else (value,):
                if hasattr(array, "nbytes"):
                    base = owner(array)
                    owned[id(base)] = base
    leaves = [node.tensor() for node in nodes if isinstance(node, Leaf)]
    theirs = {id(owner(tensor.array)) for tensor in leaves if tensor is not None}
    total = sum(array.nbytes for array in owned.values())
    own = sum(array.nbytes for key, array in owned.items() if key in theirs)
    return f"kept alive until then: {len(owned)} array{'s' * (len(owned) != 1)}, {in_bytes(total)}" + (
        f", of which {in_bytes(own)} are the leaves' own" if own else ""
    )


__all__ = ["explain"]
