"""Reverse-mode differentiation: the record that operations leave behind, and the walk back over it.

Every operation passes one door, `apply`. It computes the result and, where an input wants a gradient, leaves a
`Node`: which operation it was, which nodes made its inputs, and the few arrays its gradient formulas ask for.

::

    x = tensor([1., 2.], requires_grad=True)      Leaf(x) <------ Mul <------ Sum
    y = x * x                                        .             |           |
    z = y.sum()                                   x (weak)       y.node      z.node

Tensors own nodes; nodes own older nodes and arrays; a leaf's node only knows its tensor weakly. So nothing owns
in a circle, and memory goes when the last name goes, without the garbage collector.

`backpropagate` starts with dL/dL = 1 and always visits the *newest* node that has a gradient waiting. An
operation is newer than its inputs, so when a node's turn comes, everything that used it has been visited, and its
gradient is complete. (This is why the order matters: in ``b = a + a; c = b + b`` a depth-first walk would
pass on b's gradient before its second half has arrived.)
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.exceptions import AxisError

from tinynn.backends import dispatch
from tinynn.backends.dispatch import FORWARD_KERNELS, GRADIENT_KERNELS, NAMESPACES, PLAIN_TYPES, namespace_of
from tinynn.ops.base import DERIVED, OUT, REST, Op, Plan, keywords

if TYPE_CHECKING:
    from tinynn.tensor import Tensor  # at run time, tensor.py puts the class here once it is made

_next_number = itertools.count(1).__next__


class GraphError(RuntimeError):
    """The recorded graph cannot be differentiated: freed, edited, or nothing in it wants a gradient."""


class ForgottenZeroGradWarning(UserWarning):
    """A gradient that an optimizer step has used already is being added to."""


class Node:
    """One operation that was applied: what is needed to differentiate it, and nothing else.

    Attributes
    ----------
    op : the operation
    parents : for each input the node that made it, or None where no gradient is wanted
    saved : the arrays (and shapes) that the gradient formulas ask for, by name; None once freed
    shape : shape of the output
    number : nodes are numbered as they are made, so an input's number is smaller than its user's
    made_at : the user's line, while `tinynn.debug.detect_anomaly` is on
    """

    __slots__ = ("op", "parents", "saved", "shape", "number", "made_at", "__weakref__")

    def __init__(self, op: Op, parents: Sequence[Node | None], saved: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        self.op = op
        self.parents = parents
        self.saved: Mapping[str, Any] | None = saved
        self.shape = shape
        self.number = _next_number()
        self.made_at: str | None = None

    def __repr__(self) -> str:
        made_at = f", made at {self.made_at}" if self.made_at else ""
        return f"<{type(self.op).__name__} -> {self.shape}{made_at}>"


class Leaf(Node):
    """The node of a tensor that wants a gradient and that no operation made: a parameter, or an input."""

    __slots__ = ("tensor", "version", "edited_at", "consumed")

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(_NO_OP, (), {}, tensor.shape)
        self.tensor = weakref.ref(tensor)
        self.version = 0  # the number on the clock when the array was last edited in place
        self.edited_at: str | None = None
        self.consumed = False  # an optimizer step has used the gradient

    def accumulate(self, gradient: Any) -> None:
        """Add to ``tensor.grad``."""
        tensor = self.tensor()
        if tensor is None:
            return
        if gradient.dtype != tensor.dtype:
            gradient = gradient.astype(tensor.dtype)
        if tensor._grad is None:
            tensor._grad = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
            self.consumed = False
            return
        if self.consumed:
            self.consumed = False
            dispatch.warn_once(
                f"backward() adds to the gradient of {tensor.describe()}, which an optimizer step has used already. "
                "Call optimizer.zero_grad() before backward(); to keep old gradients on purpose, call "
                "optimizer.step(keep_grad=True).",
                ForgottenZeroGradWarning,
                key="forgotten zero_grad",  # one parameter speaks for all
            )
        if isinstance(gradient, Tensor):
            tensor._grad = tensor._grad + gradient
        else:
            tensor._grad = Tensor(tensor._grad.array + gradient)


_NO_OP = Op()


# ------------------------------------------------------------------------------------------ modes, one per thread


class Observer(Protocol):
    """Sees every operation, every gradient and every assignment as it is made: the anomaly detector, the recorder.

    An array keeps its identity on the way: what `apply` saves for the gradient formulas are the very arrays of its
    inputs, its result and ``derived``, so that an observer recognises them in the walk back.
    """

    wants_tensors: bool  # run gradient formulas on Tensors (without recording a graph), so that they pass `apply`

    def applied(self, op: Op, inputs: tuple[Any, ...], result: Tensor, derived: Sequence[Any]) -> None: ...
    def differentiated(self, node: Node, i: int, gradient: Any) -> None: ...
    def assigned(self, tensor: Tensor, value: Any) -> None: ...  # after ``tensor.assign_(value)``


class _Mode(threading.local):
    recording: bool = True
    observer: Observer | None = None


mode = _Mode()
F = TypeVar("F", bound=Callable[..., Any])


class _SetRecording:
    """Switch the recording of nodes on or off, as a context manager or as a decorator."""

    _value: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(mode.recording)
        mode.recording = self._value

    def __exit__(self, *_: object) -> None:
        mode.recording = self._before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class no_grad(_SetRecording):
    """Record nothing: results want no gradient, and no memory is kept. Holds for the calling thread.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> with tinynn.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    _value = False


class enable_grad(_SetRecording):
    """Record again inside `no_grad`. Holds for the calling thread.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> with tinynn.no_grad(), tinynn.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """

    _value = True


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.is_grad_enabled()
    True
    """
    return mode.recording


@contextmanager
def observed_by(observer: Observer) -> Iterator[Observer]:
    """Show every operation of this thread to ``observer`` inside the block."""
    before, mode.observer = mode.observer, observer
    try:
        yield observer
    finally:
        mode.observer = before


# ------------------------------------------------------------------------------------------------- the door


def apply(op: Op, *inputs: Any, with_derived: bool = False) -> Any:
    """Compute ``op`` of the inputs; the one door that every operation passes.

    With Tensors among the inputs the result is a Tensor, recorded if one of them wants a gradient. Without any,
    the result is a plain array (or a symbolic scalar): gradient formulas run through here on raw arrays too.
    ``with_derived`` returns also the list of raw arrays that the op computed on the way (``op.derived``).
    """
    arrays = []
    parents = []
    wanted = 0  # bit i: input i wants a gradient
    traced = unusual = False
    for x in inputs:
        if isinstance(x, Tensor):
            arrays.append(x.array)
            node = x.node
            if node is not None:
                wanted |= 1 << len(parents)
            parents.append(node)
            traced = True
        else:
            arrays.append(x)
            parents.append(None)
            if x.__class__ not in PLAIN_TYPES:
                unusual = True
    if unusual and traced:
        arrays = [a if isinstance(x, Tensor) else dispatch.as_operand(a) for a, x in zip(arrays, inputs, strict=True)]

    try:
        out = NotImplemented
        kernels = FORWARD_KERNELS.get(arrays[0].__class__)
        if kernels is not None and arrays[0].size >= op.worth_kernel and op.__class__ in kernels:
            out = kernels[op.__class__](op, *arrays)
        if out is NotImplemented:
            xp = NAMESPACES.get(arrays[0].__class__) or namespace_of(arrays)
            out = op.forward(xp, *arrays)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, op, arrays) from error
    derived: Sequence[Any] = ()
    if op.derived:
        out, *derived = out
    if not traced:
        return (out, derived) if with_derived else out

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


# ---------------------------------------------------------------------------------------------- the walk back


def backpropagate(
    gradients: dict[Node, Any],
    wanted: Iterable[Node] | None = None,
    record: bool = False,
    keep: bool = False,
) -> dict[Node, Any]:
    """Carry dL/d(output) of some nodes back to what they were computed from.

    Parameters
    ----------
    gradients : dict from Node to dL/d(its output), where the walk starts
    wanted : the nodes whose gradients are asked for (all leaves if None); only paths to them are walked
    record : run the gradient formulas on Tensors, so that the result can itself be differentiated
    keep : leave the saved arrays in place for another walk

    Returns
    -------
    dict from Node to its gradient: an array, or a Tensor with ``record``
    """
    observer = mode.observer
    if observer is not None and observer.wants_tensors and not record:
        with no_grad():  # the formulas pass the door, where the observer sees them, but leave no graph
            starts = {node: g if isinstance(g, Tensor) else Tensor(g) for node, g in gradients.items()}
            return backpropagate(starts, wanted, record=True, keep=keep)
    targets = None if wanted is None else set(wanted)
    useful = None if targets is None else _paths_to(targets, gradients)
    gradients = dict(gradients)
    found: dict[Node, Any] = {}
    summed: set[Node] = set()  # nodes whose waiting gradient is an array of our own, which may be added to in place
    queue = [(-node.number, node) for node in gradients]
    heapify(queue)

    while queue:
        node = heappop(queue)[1]
        g = gradients.pop(node)
        parents = node.parents
        if not parents if targets is None else node in targets:
            found[node] = g
        if not parents or (useful is not None and node not in useful):
            continue

        op = node.op
        saved = node.saved
        if saved is None:
            raise GraphError(_freed_message(node))
        if node.number < _last_edit:
            _check_unedited(node)
        if record:
            saved = _as_tensors(node, constants_too=observer is not None and observer.wants_tensors)
            ready = NotImplemented
        else:
            ready = NotImplemented
            kernels = GRADIENT_KERNELS.get(g.__class__)
            if kernels is not None and g.size >= op.worth_kernel and op.__class__ in kernels:
                ready = kernels[op.__class__](op, g, saved, parents)

        rules = op.rules
        for i, parent in enumerate(parents):
            if parent is None or rules[i] is None:
                continue
            if useful is not None and parent not in useful and parent not in targets:
                continue
            if ready is not NotImplemented:
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
                        f"{type(op).__name__}: the gradient of input {i} has shape {d.shape}, but the input has {parent.shape}"
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


def undo_broadcast(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the axes along which an input of shape ``shape`` was repeated."""
    extra = len(gradient.shape) - len(shape)
    stretched = tuple(extra + i for i, n in enumerate(shape) if n == 1 and gradient.shape[extra + i] != 1)
    axes = (*range(extra), *stretched)
    return gradient.sum(axis=axes).reshape(shape)


def _paths_to(targets: set[Node], starts: Iterable[Node]) -> set[Node]:
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


def _as_tensors(node: Node, constants_too: bool = False) -> dict[str, Any]:
    """The saved arrays as Tensors that remember the nodes that made them: for derivatives of derivatives.

    ``constants_too``: also those that no gradient flows to, so that what a formula computes from them alone is seen
    by an observer.
    """
    saved = node.saved
    if saved is None:
        raise GraphError(_freed_message(node))
    op = node.op

    def constant(value: Any) -> Any:
        return Tensor(value) if constants_too and hasattr(value, "dtype") else value

    values: dict[str, Any] = {}
    for name, value in saved.items():
        place = op._place_of(name)
        if place == OUT:
            values[name] = Tensor(value, node)
        elif place >= REST:
            rest = node.parents[place - REST :]
            values[name] = tuple(Tensor(v, p) if p is not None else constant(v) for v, p in zip(value, rest, strict=True))
        elif 0 <= place < OUT and node.parents[place] is not None:
            values[name] = Tensor(value, node.parents[place])
        else:
            values[name] = constant(value)
    for name in op.derived:
        formula = getattr(op, name, None)
        if name in values and formula is not None:
            values[name] = formula(**{dependency: values[dependency] for dependency in keywords(formula)})
    return values


# ---------------------------------------------------------------------------------- edits of arrays in place

_last_edit = 0
_edited: weakref.WeakSet[Leaf] = weakref.WeakSet()


def note_edit(leaf: Leaf, where: str | None = None) -> None:
    """Count a new version of a leaf's array, which is being overwritten in place."""
    global _last_edit
    if leaf.version == 0:
        _edited.add(leaf)
    leaf.version = _last_edit = _next_number()
    leaf.edited_at = where


def _check_unedited(node: Node) -> None:
    """Refuse to use a saved array that was overwritten after ``node`` was made."""
    edits = [leaf for leaf in _edited if leaf.version > node.number]
    for name, value in (node.saved or {}).items():
        for leaf in edits:
            tensor = leaf.tensor()
            if tensor is not None and dispatch.same_memory(value, tensor.array):
                raise GraphError(
                    f"backward() through {type(node.op).__name__} needs its {name!r}, but {tensor.describe()} was edited in "
                    f"place after that operation ran (at {leaf.edited_at or 'an unknown line'}"
                    + (f"; the operation was recorded at {node.made_at}" if node.made_at else "")
                    + "). Call backward() before optimizer.step(), or compute the result again after it."
                )


# -------------------------------------------------------------------------------------------------- messages


PACKAGE = str(Path(__file__).parent) + os.sep  # what the file names of this library begin with


def user_line() -> str:
    """The file and line of the caller outside this library, for messages."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _freed_message(node: Node) -> str:
    origin = f", recorded at {node.made_at}," if node.made_at else ""
    return (
        f"backward() a second time: the saved arrays of {type(node.op).__name__} (output shape {node.shape}){origin} were freed "
        "by an earlier backward(). To walk the same graph twice, give the first call retain_graph=True. If the "
        "tensor comes from an earlier step of a loop, detach() it before using it again."
        + ("" if node.made_at else " tinynn.debug.detect_anomaly() adds the line where it was made.")
    )


def _explained(error: Exception, op: Op, arrays: list[Any]) -> Exception:
    """The same error, naming the operation and its inputs."""
    if getattr(error, "_tinynn_explained", False):
        return error
    names = (*op.inputs, *[op.inputs[-1]] * len(arrays)) if op.inputs else [""] * len(arrays)
    given = ", ".join(f"{name} {dispatch.describe(array)}" for name, array in zip(names, arrays, strict=False))
    kind = type(error) if type(error) in (ValueError, TypeError, IndexError, AxisError) else ValueError
    explained = kind(f"{op!r}: {error} (inputs: {given})")
    explained._tinynn_explained = True  # type: ignore[union-attr]
    return explained
