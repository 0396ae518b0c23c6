"""One thread for the time of a fit."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@functools.cache
def _blas() -> Any:
    return importlib.import_module("threadpoolctl").ThreadpoolController()


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """At most so many threads for BLAS and (where it is loaded) Numba inside the block; None leaves them alone."""
    if count is None:
        yield
        return
    numba = sys.modules.get("numba")
    before = numba.get_num_threads() if numba else 0
    if numba:
        numba.set_num_threads(min(count, before))
    try:
        with _blas().limit(limits=count):
            yield
    finally:
        if numba:
            numba.set_num_threads(before)
