"""What keeps a function from being compiled."""

from __future__ import annotations


class TraceError(RuntimeError):
    """A function that is being recorded does something that no program can repeat: the message says what and where."""


class CompileError(RuntimeError):
    """A compiled program does not compute what the function computes; it is not used."""
