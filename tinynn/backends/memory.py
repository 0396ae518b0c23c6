"""Keep freed memory in the process, so that the next training step finds its pages in place.

By default glibc gives arrays of more than a few megabytes back to the operating system when they are freed. The next
step asks for the same arrays again, and the kernel has to clear every page of them: on arrays of 16 MB that takes
longer than computing GELU on them. Two settings of glibc's allocator change that. They hold for the process; a program
that would rather return memory at once sets TINYNN_KEEP_MEMORY=0.
"""

from __future__ import annotations

import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names and numbers of malloc.h
_LARGEST_ON_HEAP = 32 * 2**20  # glibc's upper limit for the second
_KEEP = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make the settings; False where there is no glibc, or the user has said no."""
    if not sys.platform.startswith("linux") or os.environ.get("TINYNN_KEEP_MEMORY", "1") == "0":
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEEP))


def return_freed_memory() -> None:
    """Give back what is free now: after work whose memory is not asked for again, such as comparing two recordings."""
    if sys.platform.startswith("linux"):
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
