"""Are the arguments of an optimizer what they must be? Every message names the argument and the way out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from operator import is_
from typing import Any

from tinynn.tensor import Tensor


def check_number(
    owner: str,
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise unless ``value`` is a finite number with least <= value <= most and value < below.

    Examples
    --------
    >>> check_number("SGD", "lr", 0.1, least=0.0)
    >>> check_number("SGD", "lr", -0.1, least=0.0)
    Traceback (most recent call last):
    ...
    ValueError: SGD: lr must be at least 0.0, got -0.1
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r} ({type(value).__name__})")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{owner}: {name} must be finite, got {value!r}")
    if number < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {value!r}")
    if number > most:
        raise ValueError(f"{owner}: {name} must be at most {most}, got {value!r}")
    if number >= below:
        raise ValueError(f"{owner}: {name} must be less than {below}, got {value!r}")


def check_count(owner: str, name: str, value: Any, least: int = 0) -> None:
    """Raise unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{owner}: {name} must be a whole number, got {value!r} ({type(value).__name__})")
    if value < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {value!r}")


def check_betas(owner: str, betas: Any) -> None:
    """Raise unless ``betas`` is a pair of numbers in [0, 1)."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"{owner}: betas must be a pair of numbers such as (0.9, 0.999), got {betas!r}")
    for i, beta in enumerate(betas):
        check_number(owner, f"betas[{i}]", beta, least=0.0, below=1.0)


def as_groups(owner: str, params: Any) -> list[dict[str, Any]]:
    """The argument ``params`` of an optimizer as a list of group dicts, still to be checked."""
    if isinstance(params, Tensor):
        raise TypeError(f"{owner}: params must be an iterable of tensors; for a single tensor pass a list, [tensor]")
    if hasattr(params, "parameters"):
        raise TypeError(f"{owner}: params is a {type(params).__name__}; pass its parameters, model.parameters()")
    if isinstance(params, (str, bytes, dict)) or not isinstance(params, Iterable):
        raise TypeError(
            f"{owner}: params must be an iterable of tensors or a list of group dicts, got a {type(params).__name__}"
        )
    given = list(params)
    if not given:
        raise ValueError(
            f"{owner}: there are no parameters to optimize; a model without any was given, or a generator "
            "that had been used up (call model.parameters() again)"
        )
    if isinstance(given[0], dict):
        return given
    return [{"params": given}]


def checked_group(owner: str, group: Any, taken: set[Tensor]) -> dict[str, Any]:
    """A copy of a group dict with its parameters as a list, each of which can be optimized.

    Pairs (name, tensor), as `Module.named_parameters` gives them, are taken apart into ``params`` and
    ``param_names``.
    """
    if not isinstance(group, dict) or "params" not in group:
        raise TypeError(f"{owner}: a parameter group must be a dict with the key 'params', got {group!r}")
    params = group["params"]
    entries = [params] if isinstance(params, Tensor) else list(params)
    if not entries:
        raise ValueError(f"{owner}: a parameter group has no parameters")
    names = [entry[0] if _is_named(entry) else None for entry in entries]
    tensors = [entry[1] if _is_named(entry) else entry for entry in entries]
    seen = set(taken)
    for i, (name, p) in enumerate(zip(names, tensors, strict=True)):
        label = f"parameter {i}" if name is None else f"parameter {name!r}"
        if not isinstance(p, Tensor):
            raise TypeError(f"{owner}: {label} is a {type(p).__name__}, not a tensor; make it with nn.Parameter(...)")
        if p.node is not None and not p.is_leaf:
            raise ValueError(
                f"{owner}: {label}, {p.describe()}, is the result of {type(p.node.op).__name__}. "
                "Only leaves can be optimized: detach().requires_grad_() makes one"
            )
        if p in seen:
            raise ValueError(f"{owner}: {label}, {p.describe()}, is given twice; it would be updated twice in a step")
        seen.add(p)
    if not any(p.requires_grad for p in tensors):  # some may be frozen: they stay as they are
        raise ValueError(
            f"{owner}: none of the parameters of a group requires a gradient ({tensors[0].describe()}, ...); call "
            "requires_grad_() on those that are to be trained"
        )
    checked = {**group, "params": tensors}
    if any(name is not None for name in names):
        checked["param_names"] = [f"{i}" if name is None else name for i, name in enumerate(names)]
    return checked


def check_params(owner: str, groups: Iterable[dict[str, Any]]) -> None:
    """Look at the parameters of groups again, after somebody has edited their lists."""
    seen: set[int] = set()
    for i, group in enumerate(groups):
        for p in group["params"]:
            if not isinstance(p, Tensor) or not p.is_leaf:
                what = p.describe() if isinstance(p, Tensor) else f"a {type(p).__name__}"
                raise TypeError(
                    f"{owner}: param_groups[{i}]['params'] holds {what}; only leaf tensors can be optimized"
                )
            if id(p) in seen:
                raise ValueError(
                    f"{owner}: {p.describe()} is twice in param_groups; it would be updated twice in a step"
                )
            seen.add(id(p))


def same_items(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two lists hold the very same objects.

    Examples
    --------
    >>> same_items([None, True], (None, True)), same_items([1.0], [float("1")])
    (True, False)
    """
    return len(some) == len(others) and all(map(is_, some, others))


def _is_named(entry: Any) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
