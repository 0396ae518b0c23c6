"""What a computation leaves behind for its derivatives: nodes, and the clock that numbers them.

::

    x = tensor([1., 2.], requires_grad=True)      Leaf(x) <------ Mul <------ Sum
    y = x * x                                        .             |           |
    z = y.sum()                                   x (weak)       y.node      z.node

Tensors own nodes; nodes own older nodes and arrays; a leaf's node only knows its tensor weakly. So nothing owns
in a circle, and memory goes when the last name goes, without the garbage collector.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinynn.backends import dispatch
from tinynn.changes import changes as changes
from tinynn.ops.base import Op

if TYPE_CHECKING:
    from tinynn.tensor import Tensor

next_number = itertools.count(1).__next__


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

    __slots__ = ("__weakref__", "made_at", "number", "op", "parents", "saved", "shape")

    def __init__(
        self, op: Op, parents: Sequence[Node | None], saved: Mapping[str, Any], shape: tuple[int, ...]
    ) -> None:
        self.op = op
        self.parents = parents
        self.saved: Mapping[str, Any] | None = saved
        self.shape = shape
        self.number = next_number()
        self.made_at: str | None = None

    def __repr__(self) -> str:
        made_at = f", made at {self.made_at}" if self.made_at else ""
        return f"<{type(self.op).__name__} -> {self.shape}{made_at}>"


class Leaf(Node):
    """The node of a tensor that wants a gradient and that no operation made: a parameter, or an input."""

    __slots__ = ("consumed", "edited", "edited_at", "tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(_NO_OP, (), {}, tensor.shape)
        self.tensor = weakref.ref(tensor)
        self.version = 0  # the number on the clock when the array was last edited in place
        self.edited: Any = None  # that array (or a weak reference): views of it may be saved when the tensor is gone
        self.edited_at: str | None = None
        self.consumed = False  # an optimizer step has used the gradient


_NO_OP = Op()


# ---------------------------------------------------------------------------------- edits of arrays in place


class _Clock:
    """Nodes and edits are numbered by one counter, so that each knows which came first."""

    last_edit = 0


clock = _Clock()
_edited: weakref.WeakSet[Leaf] = weakref.WeakSet()
# Compiled programs: each has the number of its ``last_run``, and the tensors that it has ``written`` in place.
writers: weakref.WeakSet[Any] = weakref.WeakSet()
_edited_lock = threading.Lock()


def note_edit(leaf: Leaf, where: str | None = None) -> None:
    """Count a new version of a leaf's array, which is being overwritten in place."""
    if leaf.version == 0:
        with _edited_lock:
            _edited.add(leaf)
    leaf.version = clock.last_edit = next_number()
    tensor = leaf.tensor()
    leaf.edited = None if tensor is None else tensor.array
    leaf.edited_at = where


def release_edited(leaf: Leaf) -> None:
    """Hold the edited array no longer than others do; to be called when the tensor gets an array elsewhere.

    What views of the array hold is the memory that it lies in. That is watched in its place where there is nothing
    else in it.
    """
    if leaf.edited is None or isinstance(leaf.edited, weakref.ref):
        return
    memory = dispatch.owner(leaf.edited)
    if memory.nbytes <= leaf.edited.nbytes + 128:  # aligned arrays have two cache lines to spare
        leaf.edited = weakref.ref(memory)


def _array_of(leaf: Leaf) -> Any:
    return leaf.edited() if isinstance(leaf.edited, weakref.ref) else leaf.edited


def check_unedited(node: Node) -> None:
    """Refuse to use a saved array that was overwritten after ``node`` was made."""
    with _edited_lock:
        edits = [leaf for leaf in _edited if leaf.version > node.number]
        edited = [(_array_of(leaf), leaf.shape, leaf.edited_at) for leaf in edits]
        edited += [(t.array, t.shape, w.where) for w in writers if w.last_run > node.number for t in w.written]
    for name, value in (node.saved or {}).items():
        for array, shape, where in edited:
            if dispatch.same_memory(value, array):
                raise GraphError(
                    f"backward() through {type(node.op).__name__} needs its {name!r}, but a tensor of "
                    f"shape {shape} was edited in place after that operation ran (at "
                    f"{where or 'an unknown line'}"
                    + (f"; the operation was recorded at {node.made_at}" if node.made_at else "")
                    + "). Call backward() before optimizer.step(), or compute the result again after it."
                )


# -------------------------------------------------------------------------------------------------- messages


PACKAGE = str(Path(__file__).parent) + os.sep  # what the file names of this library begin with
_STANDARD = tuple(str(module.__file__) for module in (contextlib, copy, functools))


def user_line() -> str:
    """The file and line of the caller outside this library, for messages."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(PACKAGE) or frame.f_code.co_filename in _STANDARD
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def freed_message(node: Node) -> str:
    origin = f", recorded at {node.made_at}," if node.made_at else ""
    return (
        f"backward() a second time: the saved arrays of {type(node.op).__name__} (output shape {node.shape}){origin} "
        "were freed by an earlier backward(). To walk the same graph twice, give the first call retain_graph=True. If "
        "the tensor comes from an earlier step of a loop, detach() it before using it again."
        + ("" if node.made_at else " tinynn.debug.detect_anomaly() adds the line where it was made.")
    )


def note_forgotten_zero_grad(tensor: Tensor) -> None:
    """Warn, once, that a gradient which an optimizer step has used is being added to."""
    leaf = tensor.node
    if isinstance(leaf, Leaf) and leaf.consumed:
        leaf.consumed = False
        dispatch.warn_once(
            f"backward() adds to the gradient of {tensor.describe()}, which an optimizer step has used already. "
            "Call optimizer.zero_grad() before backward(); to keep old gradients on purpose, call "
            "optimizer.step(keep_grad=True).",
            ForgottenZeroGradWarning,
            key="forgotten zero_grad",  # one parameter speaks for all
        )
