"""When is a loop long enough to be shared among threads, and how is it shared?

Handing work to another thread takes some 40 microseconds on an idle machine (and milliseconds where something else
keeps the processor busy), so a kernel gives an estimate of the time that one thread would need. Kernels are compiled
once, as serial loops over ``range(first, last)`` that release the interpreter's lock; plain Python threads run the same
machine code on parts of the range. (Numba's own parallel loops cost a second of compilation per kernel, and one of its
threading layers ends the process when two threads call it at once.)
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

__all__ = ["LEAST_WORK", "available", "run_aside", "run_together", "share", "threads_for"]

CONTROL_GROUP = "/sys/fs/cgroup"
#: Nanoseconds that a thread should have to do at least.
LEAST_WORK = 250_000.0


def available() -> int:
    """How many threads may run: Numba's number (``numba.set_num_threads``), or what it will be once it is imported.

    At most as many as a container may use processors (``docker run --cpus``), which is not what it sees of them.
    """
    count = getattr(sys.modules.get("numba"), "get_num_threads", None)  # not there while it is being imported
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if count is not None:
        found = int(count())
    elif asked.isdigit() and int(asked) > 0:
        found = int(asked)
    else:
        found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, _quota(CONTROL_GROUP))


@functools.cache
def _quota(folder: str) -> int:
    """The processors that Linux lets this container use, rounded up: "max 100000" or "250000 100000" microseconds."""
    try:
        quota, period = Path(folder, "cpu.max").read_text(encoding="utf-8").split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no Linux, no limit
        return sys.maxsize


def threads_for(nanoseconds: float) -> int:
    """How many threads should share work that takes one of them so long.

    Examples
    --------
    >>> threads_for(1000.0)
    1
    """
    return 1 if nanoseconds < 2.0 * LEAST_WORK else min(available(), int(nanoseconds / LEAST_WORK))


class _Helper:
    """A thread that waits for calls. Two queues do in a third of the time what a pool of futures does."""

    def __init__(self) -> None:
        self.done = True
        self.error: BaseException | None = None
        self._calls: SimpleQueue[tuple[Callable[[], None], bool]] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=self._work, name="tinynn-kernel", daemon=True).start()

    def _work(self) -> None:
        while True:
            call, aside = self._calls.get()
            try:
                call()
            except BaseException as error:  # `run_together` raises it
                self.error = error
            del call  # and what it holds
            self.done = True  # from here on somebody may start the next call, if this one was waited for
            if aside:
                _idle.append(self)
            else:
                self._ended.put(None)

    def start(self, call: Callable[[], None], aside: bool = False) -> None:
        """Run a call; ``aside``: nobody will wait for it."""
        self.done, self.error = False, None
        self._calls.put((call, aside))

    def wait(self) -> None:
        while not self.done:  # an interrupted wait may have left a message behind
            self._ended.get()


_idle: list[_Helper] = []  # as many as were needed at once
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads do not survive a fork


def _one_idle() -> _Helper:
    try:
        return _idle.pop()
    except IndexError:
        return _Helper()


def run_aside(call: Callable[[], None]) -> None:
    """Run a call in another thread, and do not wait for it; what it raises is lost."""
    _one_idle().start(call, aside=True)


def run_together(calls: Sequence[Callable[[], None]]) -> None:
    """Run the first call in this thread and the others in threads beside it; return when all are done.

    Also if one fails, or the user interrupts: what the others write to must live as long as they run.

    Examples
    --------
    >>> found = []
    >>> run_together([lambda: found.append(1), lambda: found.append(2)])
    >>> sorted(found)
    [1, 2]
    """
    helpers: list[_Helper] = []
    try:
        for call in calls[1:]:
            helper = _one_idle()
            helper.start(call)
            helpers.append(helper)
        calls[0]()
    finally:
        errors = _waited_for(helpers)
    if errors:
        raise errors[0]


def _waited_for(helpers: list[_Helper]) -> list[BaseException]:
    """What the helpers raised, when all are done."""
    interrupt: BaseException | None = None
    for helper in helpers:
        while not helper.done:
            try:
                helper.wait()
            except BaseException as raised:
                interrupt = raised
    errors = [helper.error for helper in helpers if helper.error is not None]
    _idle.extend(helpers)
    if interrupt is not None:
        raise interrupt
    return errors


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
