"""When is a loop long enough to be shared among threads, and how is it shared?

Handing work to another thread takes tens of microseconds, and milliseconds on a busy machine, so a kernel gives an
estimate of the time that one thread would need. Kernels are compiled once, as serial loops over
``range(first, last)`` that release the interpreter's lock; plain Python threads run the same machine code on parts
of the range. (Numba's own parallel loops cost a second of compilation per kernel, and one of its threading layers
ends the process when two threads call it at once.)
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

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


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """The threads beside the calling one; they start when there is something to do."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tinynn-kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # the threads of a pool do not survive a fork


def run_together(calls: Sequence[Callable[[], None]]) -> None:
    """Run the first call in this thread and the others in threads beside it; return when all are done.

    Examples
    --------
    >>> found = []
    >>> run_together([lambda: found.append(1), lambda: found.append(2)])
    >>> sorted(found)
    [1, 2]
    """
    first, *others = calls
    waiting = [_pool().submit(call) for call in others]
    try:
        first()
    finally:  # what the others write to must live until they are done
        for call in waiting:
            call.result()


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
