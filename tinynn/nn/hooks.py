"""What registering a hook returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Self

_next_hook = itertools.count().__next__


class RemovableHook:
    """Returned by the functions that register hooks; ``remove()`` takes the hook away again."""

    def __init__(self, hooks: dict[int, Any], function: Callable[..., Any]) -> None:
        self._hooks, self._key = hooks, _next_hook()
        hooks[self._key] = function

    def remove(self) -> None:
        """Take the hook away. A second call does nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
