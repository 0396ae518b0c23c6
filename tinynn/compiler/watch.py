"""Comparisons of what a function names with what it named before, printed as one expression: tens of ns per name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

ERRORS = "(LookupError, AttributeError, ValueError, TypeError)"  # of names and items that are gone


def function_from_source(name: str, source: str, names: dict[str, Any]) -> Any:
    """The function that ``source`` defines; ``names`` are cells of it, which are found faster than globals."""
    inner = "\n".join(f"    {line}" for line in source.split("\n"))
    space: dict[str, Any] = {}
    exec(f"def make({', '.join(names)}):\n{inner}\n    return {name}", space)
    return space["make"](**names)


class Watch:
    """A comparison of contents by identity, printed as one expression and compiled: some ten ns per name.

    Examples
    --------
    >>> settings = {"a": 1}
    >>> watch = Watch()
    >>> watch.items(settings, ["a"])
    >>> unchanged = watch.compiled()
    >>> unchanged()
    True
    >>> settings["a"] = 2
    >>> unchanged()
    False
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._objects: dict[str, Any] = {}

    def _name(self, value: Any) -> str:
        name = f"v{len(self._objects)}"
        self._objects[name] = value
        return name

    def items(self, mapping: Any, keys: Iterable[Any], complete: bool = False) -> None:
        """The values of a dict or list under some keys; ``complete``: there must be no others."""
        where = self._name(mapping)
        keys = list(keys)
        for key in keys:
            plain = repr(key) if type(key) in (str, int) else self._name(key)
            self._parts.append(f"{where}[{plain}] is {self._name(mapping[key])}")
        if complete:
            self.size(mapping)

    def size(self, mapping: Any) -> None:
        """How many values a dict or list has."""
        self._parts.append(f"len({self._name(mapping)}) == {len(mapping)}")

    def attribute(self, owner: Any, name: str) -> None:
        """An attribute, looked up in the ordinary way."""
        self._parts.append(f"{self._name(owner)}.{name} is {self._name(getattr(owner, name))}")

    def contents(self, array: Any) -> None:
        """The elements of a small array, or of a ``bytearray``."""
        if isinstance(array, bytearray):
            self._parts.append(f"{self._name(array)} == {self._name(bytes(array))}")
            return
        self._parts.append(f"{self._name(array)}.tobytes() == {self._name(array.tobytes())}")

    def same(self, value: Any) -> None:
        """All items of a long list or dict, or of a set."""
        where, held = self._name(value), self._name(items_of(value))
        self._parts.append(f"{self._name(_holds)}({where}, {held})")

    def expression(self) -> tuple[str, dict[str, Any]]:
        """The comparison as text, and the objects that are named in it."""
        return " and ".join(self._parts) or "True", self._objects

    def compiled(self) -> Callable[[], bool]:
        """A function that says whether all is as it was."""
        body, names = self.expression()
        source = f"def unchanged():\n    try:\n        return {body}\n    except {ERRORS}:\n        return False\n"
        return function_from_source("unchanged", source, names)


def items_of(value: Any) -> Any:
    """The items of a list, or the keys and values of a dict, for `_holds`."""
    if isinstance(value, (set, frozenset)):
        return frozenset(value)
    return (*value, *value.values()) if isinstance(value, dict) else tuple(value)


def _holds(value: Any, held: Any) -> bool:
    """Whether the items are still the very same."""
    now = items_of(value)
    if isinstance(now, frozenset):
        return bool(now == held)
    return len(now) == len(held) and all(map(operator.is_, now, held))
