"""What a recorded function must not do."""

from __future__ import annotations


class TraceError(RuntimeError):
    """A function that is being recorded does something that no program can repeat: the message says what and where."""
