"""What keeps a function from being compiled."""

from __future__ import annotations

import functools
import inspect
from typing import Any


class TraceError(RuntimeError):
    """A function that is being recorded does something that no program can repeat: the message says what and where."""


class CompileError(RuntimeError):
    """A compiled program does not compute what the function computes; it is not used."""


def suspended(function: Any) -> str | None:
    """What kind of function it is if a call runs no body yet; None for ordinary ones."""
    while isinstance(function, functools.partial):
        function = function.func
    for called in (function, type(function).__call__, getattr(function, "forward", None)):
        if inspect.isgeneratorfunction(called):
            return "a generator function"
        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
            return "an async function"
    return None
