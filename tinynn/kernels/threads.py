"""When is a loop long enough to be shared among threads, and how is it shared?

Handing work to another thread takes tens of microseconds, and milliseconds on a busy machine, so a kernel gives an
estimate of the time that one thread would need. Kernels are compiled once, as serial loops over
``range(first, last)`` that release the interpreter's lock; plain Python threads run the same machine code on parts
of the range. (Numba's own parallel loops cost a second of compilation per kernel, and one of its threading layers
ends the process when two threads call it at once.)
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

__all__ = ["LEAST_WORK", "available", "run_together", "share", "threads_for"]

#: Nanoseconds that a thread should have to do at least.
LEAST_WORK = 250_000.0


def available() -> int:
    """How many threads may run: Numba's number (``numba.set_num_threads``)."""
    from numba import get_num_threads

    return int(get_num_threads())


def threads_for(nanoseconds: float) -> int:
    """How many threads should share work that takes one of them so long.

    Examples
    --------
    >>> threads_for(1000.0)
    1
    """
    return 1 if nanoseconds < 2.0 * LEAST_WORK else min(available(), int(nanoseconds / LEAST_WORK))


class _Helper:
    """A thread that waits for a call. Two locks wake it and tell that it is done, in a third of a future's time."""

    def __init__(self) -> None:
        self._begin, self._end = threading.Lock(), threading.Lock()
        self._begin.acquire()
        self._end.acquire()
        self._call: Callable[[], None] | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._work, name="tinynn-kernel", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._begin.acquire()
            try:
                self._call()  # type: ignore[misc]
            except BaseException as error:  # `run_together` raises it
                self._error = error
            self._call = None
            self._end.release()

    @staticmethod
    def started(call: Callable[[], None]) -> _Helper:
        """A helper that runs a call."""
        try:
            helper = _idle.pop()
        except IndexError:
            helper = _Helper()
        helper._call = call
        helper._begin.release()
        return helper

    def wait(self) -> BaseException | None:
        """Return when the call is done, also if an interrupt arrives: what it writes to must live so long."""
        try:
            self._end.acquire()
        except BaseException as interrupt:
            self._end.acquire()
            self._error = interrupt
        error, self._error = self._error, None
        _idle.append(self)
        return error


_idle: list[_Helper] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads do not survive a fork


def run_together(calls: Sequence[Callable[[], None]]) -> None:
    """Run the first call in this thread and the others in threads beside it; return when all are done.

    Examples
    --------
    >>> found = []
    >>> run_together([lambda: found.append(1), lambda: found.append(2)])
    >>> sorted(found)
    [1, 2]
    """
    helpers = [_Helper.started(call) for call in calls[1:]]
    try:
        calls[0]()
    finally:
        errors = [error for helper in helpers if (error := helper.wait()) is not None]
    if errors:
        raise errors[0]


def share(kernel: Callable[..., None], count: int, nanoseconds: float, *args: Any) -> None:
    """Call ``kernel(first, last, *args)`` once with (0, count), or on several threads with parts of that range.

    The kernel is a Numba function compiled with ``nogil=True`` whose results do not depend on how the range
    is cut: what it reduces goes to a slot per item, to be summed afterwards.

    Parameters
    ----------
    kernel : function
    count : int
        The items of the range.
    nanoseconds : float
        An estimate of what one thread would take.
    *args
        The kernel's other arguments.
    """
    parts = min(count, threads_for(nanoseconds))
    if parts < 2:
        kernel(0, count, *args)
        return
    cuts = [count * part // parts for part in range(parts + 1)]
    run_together([partial(kernel, first, last, *args) for first, last in itertools.pairwise(cuts)])
