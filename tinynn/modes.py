"""What operations do beside computing: record nodes or not, and tell an observer. One setting per thread."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from tinynn.graph import Node
    from tinynn.ops.base import Op
    from tinynn.tensor import Tensor


class Observer(Protocol):
    """Sees every operation, every gradient and every assignment as it is made: the anomaly detector, the recorder.

    An array keeps its identity on the way: what `apply` saves for the gradient formulas are the very arrays of its
    inputs, its result and ``derived``, so that an observer recognises them in the walk back.
    """

    wants_tensors: bool  # run gradient formulas on Tensors (without recording a graph), so that they pass `apply`

    def applied(self, op: Op, inputs: tuple[Any, ...], result: Tensor, derived: Sequence[Any]) -> None: ...
    def differentiated(self, node: Node, i: int, gradient: Any) -> None: ...
    def assigned(self, tensor: Tensor, value: Any) -> None: ...  # after ``tensor.assign_(value)``


class Recorder(Observer, Protocol):
    """An observer with ``wants_tensors``: makes a program of what it sees, and refuses what no program can repeat."""

    def forbid(self, what: str, advice: str) -> None: ...  # raises
    def reading(self, tensor: Tensor, what: str) -> None: ...  # before Python looks at the values; may raise
    def of(self, value: Any) -> int: ...  # make known a tensor whose bare array is about to be used
    def created(self, tensor: Tensor) -> None: ...  # made from Python numbers, not from what the recorder knows
    def drawn(self, generator: Any, blocks: int, position: Any) -> None: ...  # blocks of random numbers were reserved
    def made(self, thing: Any) -> None: ...  # a generator or module that is made anew at each run
    def attribute_set(self, owner: Any, name: str, value: Any) -> None: ...  # before it is; may raise
    def reseeding(self, generator: Any, what: str) -> None: ...  # before a generator is set back; may raise
    def assigning(self, tensor: Tensor) -> None: ...  # before ``tensor.assign_``; may raise
    def gradient_read(self, tensor: Tensor) -> None: ...  # before ``tensor.grad`` is looked at or added to
    def gradient_written(self, tensor: Tensor) -> None: ...  # before ``tensor.grad`` is replaced
    def requires_grad_set(self, tensor: Tensor, value: bool) -> None: ...  # before it is; may raise
    def stepped(self, step: Any) -> None: ...  # an optimizer's recorded step


class _Mode(threading.local):
    recording: bool = True
    observer: Observer | None = None
    recorder: Any = None  # the observer again, if it is a `Recorder`


# Objects with a method ``settings()``, which must not change while a program is recorded: the optimizers.
holders_of_settings: weakref.WeakSet[Any] = weakref.WeakSet()


mode = _Mode()
F = TypeVar("F", bound=Callable[..., Any])


class _SetRecording:
    """Switch the recording of nodes on or off, as a context manager or as a decorator."""

    _value: bool

    def __new__(cls, function: Any = None) -> Any:
        """``@no_grad`` without parentheses decorates, too."""
        return super().__new__(cls) if function is None else cls()(function)

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
    """Show every operation of this thread to ``observer`` inside the block.

    Raises
    ------
    TraceError
        If a program is being recorded: the recorder would see nothing of the block.
    """
    refuse("watching operations (detect_anomaly, another recording)", "do that outside of the recorded function")
    before = mode.observer, mode.recorder
    mode.observer, mode.recorder = observer, observer if hasattr(observer, "forbid") else None
    try:
        yield observer
    finally:
        mode.observer, mode.recorder = before


def refuse(what: str, advice: str) -> None:
    """Raise a `TraceError` if a program is being recorded: ``what`` would not be repeated by its runs."""
    if mode.recorder is not None:
        mode.recorder.forbid(what, advice)
