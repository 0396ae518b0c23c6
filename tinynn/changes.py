"""A count of everything that may change what a compiled step must do.

A compiled function remembers the count of its last call. As long as it stands still, no array of a tensor was
replaced, no layer frozen, no module edited and no setting of an optimizer changed, so that a call need not look at
any of them. Values that change inside their arrays do not count: compiled code reads them anew.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any


class _Changes:
    __slots__ = ("_setting_tickets", "_tickets", "count", "runner", "settings")

    def __init__(self) -> None:
        # Each value is stored once, and none comes back: of two threads that add 1 to a number, one may store
        # what it read long before.
        self._tickets, self._setting_tickets = itertools.count(1), itertools.count(1)
        self.count = 0
        self.settings = 0  # the same for optimizers' settings: a learning rate may change at every step
        self.runner: Any = None  # the compiled program that ran last: others must look at step numbers again

    def bump(self) -> None:
        """Something has changed."""
        self.count = next(self._tickets)

    def bump_settings(self) -> None:
        """A setting of an optimizer has."""
        self.settings = next(self._setting_tickets)


changes = _Changes()


class CountedDict(dict[Any, Any]):
    """A dict whose edits are counted: an optimizer's settings, a module's hooks and layers.

    Examples
    --------
    >>> before = changes.count
    >>> group = CountedDict(lr=0.1)
    >>> group["lr"] = 0.2
    >>> group, changes.count - before
    ({'lr': 0.2}, 1)
    """

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        changes.bump()
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        changes.bump()
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        changes.bump()
        return super().__ior__(other)

    def update(self, *args: Any, **kwargs: Any) -> None:
        changes.bump()
        super().update(*args, **kwargs)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        changes.bump()
        return super().setdefault(key, default)

    def pop(self, *args: Any) -> Any:
        changes.bump()
        return super().pop(*args)

    def popitem(self) -> Any:
        changes.bump()
        return super().popitem()

    def clear(self) -> None:
        changes.bump()
        super().clear()

    def copy(self) -> dict[Any, Any]:
        """An ordinary dict, whose edits mean nothing."""
        return dict(self)


class Settings(CountedDict):
    """The settings of an optimizer's group. New values are counted by themselves: mostly they are other numbers only.

    Examples
    --------
    >>> before = changes.count, changes.settings
    >>> group = Settings(lr=0.1)
    >>> group["lr"] = 0.2
    >>> changes.count - before[0], changes.settings - before[1]
    (0, 1)
    """

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update({key: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        new = dict(*args, **kwargs)
        changes.bump_settings()
        if "params" in new:
            changes.bump()
            if not isinstance(new["params"], CountedList):
                new["params"] = CountedList(new["params"])
        dict.update(self, new)


class CountedList(list[Any]):
    """A list whose edits are counted: an optimizer's groups, and the parameters of one.

    Examples
    --------
    >>> before = changes.count
    >>> params = CountedList("ab")
    >>> params.pop(), params, changes.count - before
    ('b', ['a'], 1)
    """

    __slots__ = ()


class States(defaultdict[Any, dict[Any, Any]]):
    """What an optimizer keeps for each parameter. Whoever is handed an entry may edit it, so that reading counts.

    Examples
    --------
    >>> before = changes.settings
    >>> state = States(dict, {"weight": {"step": 3}})
    >>> state["weight"]["step"] = 0
    >>> changes.settings - before
    1
    """

    __slots__ = ()


def _counting(kind: type, name: str, bump: Callable[[], None]) -> None:
    """Let a method count, and then do what it does."""
    plain = getattr(kind, name)

    @functools.wraps(plain)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bump()
        return plain(self, *args, **kwargs)

    setattr(kind, name, method)


_EDITS = "append extend insert remove pop clear sort reverse __setitem__ __delitem__ __iadd__ __imul__"
for _name in _EDITS.split():
    _counting(CountedList, _name, changes.bump)
_READS = "__getitem__ get values items __setitem__ __delitem__ pop popitem clear update setdefault __ior__"
for _name in _READS.split():
    _counting(States, _name, changes.bump_settings)
