"""When is a loop long enough to be shared among threads, and how is it shared?

Forking and joining costs tens of microseconds on an idle machine and several milliseconds on a busy one, so a
kernel gives an estimate of the time that one thread would need. Kernels are compiled once, as serial loops
over ``range(first, last)`` that release the interpreter lock; threads run the same machine code on parts of
the range.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

__all__ = ["WORTH_SHARING_NS", "share", "worth_threads"]

#: Work below this estimate (nanoseconds on one thread) is never split.
WORTH_SHARING_NS = 10e6


def worth_threads(nanoseconds: float) -> bool:
    """Say whether work of that length on one thread should be split among Numba's threads.

    Examples
    --------
    >>> worth_threads(1000.0)
    False
    """
    return nanoseconds > WORTH_SHARING_NS and numba.get_num_threads() > 1


def share(kernel: Callable[..., None], count: int, nanoseconds: float, *args: Any) -> None:
    """Call ``kernel(first, last, *args)`` once with (0, count), or on several threads with parts of that
    range.

    The kernel is a Numba function compiled with ``nogil=True`` whose results do not depend on how the range
    is cut: what it reduces goes to a slot per item, to be summed afterwards. The number of threads is Numba's
    (``numba.set_num_threads``). Threads are made for each call: that takes a hundredth of the shortest work
    that is split, and leaves nothing behind for a later ``fork``.
    """
    if count < 2 or not worth_threads(nanoseconds):
        kernel(0, count, *args)
        return
    parts = min(count, numba.get_num_threads())
    cuts = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        calls = [pool.submit(kernel, first, last, *args) for first, last in itertools.pairwise(cuts)]
        for call in calls:
            call.result()
