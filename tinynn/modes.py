"""What operations do beside computing: record nodes or not, and tell an observer. One setting per thread."""

from __future__ import annotations

import functools
import threading
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


class _Mode(threading.local):
    recording: bool = True
    observer: Observer | None = None


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
    """Show every operation of this thread to ``observer`` inside the block."""
    before, mode.observer = mode.observer, observer
    try:
        yield observer
    finally:
        mode.observer = before
