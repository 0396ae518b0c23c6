"""Reverse-mode differentiation: the door that every operation passes, and the walk back.

`apply` computes an operation and, where an input wants a gradient, leaves a `Node` (see `tinynn.graph`): which
operation it was, which nodes made its inputs, and the few arrays its gradient formulas ask for.

`backpropagate` starts with dL/dL = 1 and always visits the *newest* node that has a gradient waiting. An
operation is newer than its inputs, so when a node's turn comes, everything that used it has been visited, and its
gradient is complete. (This is why the order matters: in ``b = a + a; c = b + b`` a depth-first walk would
pass on b's gradient before its second half has arrived.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.exceptions import AxisError

from tinynn.backends import dispatch
from tinynn.backends.dispatch import FORWARD_KERNELS, GRADIENT_KERNELS, NAMESPACES, PLAIN_TYPES
from tinynn.graph import GraphError, Node, check_unedited, clock, freed_message
from tinynn.modes import mode, no_grad
from tinynn.ops.base import DERIVED, OUT, REST, Op, Plan, keywords
from tinynn.ops.gradient_of import GradientOf

if TYPE_CHECKING:
    from tinynn.tensor import Tensor  # at run time, tensor.py puts the class here once it is made


def apply(op: Op, *inputs: Any, with_derived: bool = False) -> Any:
    """Compute ``op`` of the inputs; the one door that every operation passes.

    With Tensors among the inputs the result is a Tensor, recorded if one of them wants a gradient. Without any,
    the result is a plain array (or a symbolic scalar): gradient formulas run through here on raw arrays too.
    ``with_derived`` returns also the list of raw arrays that the op computed on the way (``op.derived``).
    """
    for x in inputs:
        if isinstance(x, Tensor):
            break
    else:
        out, derived = compute(op, inputs)
        return (out, derived) if with_derived else out

    arrays = []
    parents: list[Node | None] = []
    wanted = 0  # bit i: input i wants a gradient
    for x in inputs:
        if isinstance(x, Tensor):
            arrays.append(x.array)
            node = x.node
            if node is not None:
                wanted |= 1 << len(parents)
            parents.append(node)
        else:
            arrays.append(x if x.__class__ in PLAIN_TYPES else dispatch.as_operand(x))
            parents.append(None)
    out, derived = compute(op, arrays)
    result = Tensor(out)
    wanted &= op.differentiable
    if wanted and mode.recording:
        out = result.array
        plan = op.plans.get(wanted)
        if plan is None:
            plan = op.plans[wanted] = op.saving_plan(wanted, len(arrays))
        saved = _saved(plan, arrays, out, derived) if plan else _NOTHING
        result.node = Node(op, parents, saved, out.shape)
    if mode.observer is not None:
        mode.observer.applied(op, inputs, result, derived)
    return (result, derived) if with_derived else result


def compute(op: Op, arrays: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """``op`` of raw arrays: by the backend's kernel if the arrays are large and there is one, else by its formula."""
    first = arrays[0]
    kernels = FORWARD_KERNELS.get(first.__class__)
    try:
        out = None
        if kernels is not None and first.size >= op.worth_kernel and op.__class__ in kernels:
            out = kernels[op.__class__](op, *arrays)
        if out is None:
            xp = NAMESPACES.get(first.__class__)
            if xp is None:
                xp, arrays = dispatch.resolved(arrays)
            out = op.forward(xp, *arrays)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, op, arrays) from error
    if op.derived:
        out, *derived = out
        return out, derived
    return out, ()


_NOTHING: Mapping[str, Any] = {}


def _saved(plan: Plan, arrays: list[Any], out: Any, derived: Sequence[Any]) -> Mapping[str, Any]:
    """The arrays that the wanted gradients ask for, by name."""
    saved = {}
    for name, place in plan:
        if place == OUT:
            saved[name] = out
        elif place < 0:
            saved[name] = np.shape(arrays[~place])
        elif place < OUT:
            saved[name] = arrays[place]
        elif place >= REST:
            saved[name] = tuple(arrays[place - REST :])
        else:
            saved[name] = derived[place - DERIVED]
    return saved


def _explained(error: Exception, op: Op, arrays: Sequence[Any]) -> Exception:
    """The same error, naming the operation and its inputs."""
    if getattr(error, "_tinynn_explained", False):
        return error
    names = (*op.inputs, *[op.inputs[-1]] * len(arrays)) if op.inputs else [""] * len(arrays)
    given = ", ".join(f"{name} {dispatch.describe(array)}" for name, array in zip(names, arrays, strict=False))
    kind = next(kind for kind in (AxisError, TypeError, IndexError, ValueError) if isinstance(error, kind))
    explained: Any = kind(f"{op!r}: {error} (inputs: {given})")
    explained._tinynn_explained = True
    return explained


# ---------------------------------------------------------------------------------------------- the walk back


def backpropagate(
    gradients: dict[Node, Any],
    wanted: Iterable[Node] | None = None,
    record: bool = False,
    keep: bool = False,
    whole: bool = False,
) -> dict[Node, Any]:
    """Carry dL/d(output) of some nodes back to what they were computed from.

    Parameters
    ----------
    gradients : dict from Node to dL/d(its output), where the walk starts
    wanted : the nodes whose gradients are asked for (all leaves if None); only paths to them are walked
    record : run the gradient formulas on Tensors, so that the result can itself be differentiated
    keep : leave the saved arrays in place for another walk
    whole : let ops with ``whole_gradient`` compute their gradients as one operation (`GradientOf`)

    Returns
    -------
    dict from Node to its gradient: an array, or a Tensor with ``record``
    """
    observer = mode.observer
    if observer is not None and observer.wants_tensors and not record:
        with no_grad():  # the formulas pass the door, where the observer sees them, but leave no graph
            starts = {node: _known(g) for node, g in gradients.items()}
            return backpropagate(starts, wanted, record=True, keep=keep, whole=True)
    targets = set() if wanted is None else set(wanted)
    useful = None if wanted is None else paths_to(targets, gradients)
    gradients = dict(gradients)
    found: dict[Node, Any] = {}
    summed: set[Node] = set()  # nodes whose waiting gradient is an array of our own, which may be added to in place
    queue = [(-node.number, node) for node in gradients]
    heapify(queue)

    while queue:
        node = heappop(queue)[1]
        g = gradients.pop(node)
        parents = node.parents
        if not parents if wanted is None else node in targets:
            found[node] = g
        if not parents or (useful is not None and node not in useful):
            continue

        op = node.op
        saved = node.saved
        if saved is None:
            raise GraphError(freed_message(node))
        if node.number < clock.last_edit:
            check_unedited(node)
        ready = None  # the gradients of all inputs at once, where the backend has a kernel for them
        if whole and op.whole_gradient:
            ready = _whole_gradient(node, g, [
                parent is not None and (useful is None or parent in useful or parent in targets) for parent in parents
            ])  # fmt: skip
        elif record:
            saved = as_tensors(node, constants_too=observer is not None and observer.wants_tensors)
        else:
            kernels = GRADIENT_KERNELS.get(g.__class__)
            if kernels is not None and g.size >= op.worth_kernel and op.__class__ in kernels:
                ready = kernels[op.__class__](op, g, saved, parents)

        rules: Any = op.rules
        for i, parent in enumerate(parents):
            if parent is None or rules[i] is None:
                continue
            if useful is not None and parent not in useful and parent not in targets:
                continue
            if ready is not None:
                d = ready[i]
            else:
                formula, names = rules[i]
                if len(names) == len(saved):
                    d = formula(op, g, **saved)
                else:
                    d = formula(op, g, **{name: saved[name] for name in names})
            if d.shape != parent.shape:
                if not op.broadcasts:
                    raise GraphError(
                        f"{type(op).__name__}: the gradient of input {i} has shape {d.shape}, but the input has "
                        f"{parent.shape}"
                    )
                d = undo_broadcast(d, parent.shape)
            if observer is not None:
                observer.differentiated(node, i, d)
            if parent not in gradients:
                gradients[parent] = d
                heappush(queue, (-parent.number, parent))
            elif parent in summed:
                gradients[parent] += d
            else:
                gradients[parent] = gradients[parent] + d
                summed.add(parent)
        if not keep:
            node.saved = None
    return found


def _known(value: Any) -> Any:
    """A raw array as a Tensor, for the observer that wants Tensors: what it does not know is a constant."""
    if isinstance(value, Tensor):
        return value
    tensor = Tensor(value)
    if mode.recorder is not None:
        mode.recorder.created(tensor)
    return tensor


def _whole_gradient(node: Node, g: Tensor, asked: Sequence[bool]) -> list[Any]:
    """The gradients of a node's op by the inputs that are asked for, as one operation on Tensors; else None."""
    op, saved = node.op, node.saved or {}
    wanted = tuple(i for i, yes in enumerate(asked) if yes and op.rules[i] is not None)
    fixed = [(name, value) for name, value in saved.items() if isinstance(value, tuple)]
    arrays = {
        name: None if value is None else _known(value) for name, value in saved.items() if type(value) is not tuple
    }
    found: list[Any] = [None] * len(asked)
    if wanted:
        gradient = GradientOf(op, wanted, len(asked), tuple(arrays), fixed)
        first, derived = apply(gradient, g, *arrays.values(), with_derived=True)
        for i, d in zip(wanted, (first, *map(Tensor, derived)), strict=True):
            found[i] = d
    return found


def undo_broadcast(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the axes along which an input of shape ``shape`` was repeated."""
    extra = len(gradient.shape) - len(shape)
    stretched = tuple(extra + i for i, n in enumerate(shape) if n == 1 and gradient.shape[extra + i] != 1)
    axes = (*range(extra), *stretched)
    return gradient.sum(axis=axes).reshape(shape)


def paths_to(targets: set[Node], starts: Iterable[Node]) -> set[Node]:
    """The nodes from which a wanted node can be reached. Nodes older than every wanted one cannot."""
    oldest = min((node.number for node in targets), default=0)
    seen: set[Node] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in seen and node.number > oldest:
            seen.add(node)
            stack.extend(parent for parent in node.parents if parent is not None)
    useful: set[Node] = set()
    for node in sorted(seen, key=lambda node: node.number):
        if any(parent in targets or parent in useful for parent in node.parents):
            useful.add(node)
    return useful


def as_tensors(node: Node, constants_too: bool = False) -> dict[str, Any]:
    """The saved arrays as Tensors that remember the nodes that made them: for derivatives of derivatives.

    ``constants_too``: also those that no gradient flows to, so that what a formula computes from them alone is seen
    by an observer.
    """
    saved = node.saved
    if saved is None:
        raise GraphError(freed_message(node))
    op = node.op

    def constant(value: Any) -> Any:
        return _known(value) if constants_too and hasattr(value, "dtype") else value

    values: dict[str, Any] = {}
    for name, value in saved.items():
        place = op._place_of(name)
        if place == OUT:
            values[name] = Tensor(value, node)
        elif place >= REST:
            rest = node.parents[place - REST :]
            values[name] = tuple(
                Tensor(v, p) if p is not None else constant(v) for v, p in zip(value, rest, strict=True)
            )
        elif 0 <= place < OUT and node.parents[place] is not None:
            values[name] = Tensor(value, node.parents[place])
        else:
            values[name] = constant(value)
    for name in op.derived:
        formula = getattr(op, name, None)
        if name in values and formula is not None:
            values[name] = formula(**{dependency: values[dependency] for dependency in keywords(formula)})
    return values
