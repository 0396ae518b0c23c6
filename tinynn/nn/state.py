"""Loading a state dict, and changing dtype or device: all is checked and computed before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinynn import modes
from tinynn.backends import convert
from tinynn.changes import changes
from tinynn.dtypes import get_default_dtype
from tinynn.ops import transfer
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` with ``strict=False`` left alone."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(own: Mapping[str, Tensor], state: Any, strict: bool, owner: str) -> IncompatibleKeys:
    """Overwrite the tensors in ``own`` with the values of the same names in ``state``.

    Raises
    ------
    TypeError, ValueError
        As `Module.load_state_dict` says; nothing has changed then.
    """
    modes.refuse("load_state_dict()", "load states outside of the compiled function")
    if not isinstance(state, Mapping):
        kind = type(state).__name__
        raise TypeError(f"load_state_dict: state must be a dict from names to tensors, not a {kind}")
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    values, wrong = _read(own, state)
    problems = [f"missing: {', '.join(missing)}"] if strict and missing else []
    problems += [f"unexpected: {', '.join(map(str, unexpected))}"] if strict and unexpected else []
    if problems or wrong:
        hint = "\nTo leave names that differ alone, use strict=False." if problems else ""
        lines = "\n  ".join(problems + wrong)
        raise ValueError(f"load_state_dict: the state does not fit this {owner}; nothing was changed.\n  {lines}{hint}")
    for name, value in values.items():
        own[name].assign_(value)
    return IncompatibleKeys(missing, unexpected)


def still_to_learn(module: Module, state: Any) -> dict[str, tuple[Module, str, Tensor]]:
    """The buffers that modules have yet to learn and that ``state`` has: by key, whose they are, and room for them."""
    found: dict[str, tuple[Module, str, Tensor]] = {}
    if isinstance(state, Mapping):
        for path, part in module.named_modules(remove_duplicate=False):
            for name in part.learns_buffers:
                key = f"{path}.{name}" if path else name
                value: Any = state.get(key)
                if getattr(part, name) is None and hasattr(value, "shape"):
                    found[key] = part, name, Tensor(np.zeros(tuple(value.shape), get_default_dtype()))
    return found


def _read(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values of ``state`` that there is a place for, and what is wrong with them."""
    values: dict[str, Any] = {}
    wrong = []
    for name, tensor in own.items():
        if name not in state:
            continue
        value = state[name]
        value = value if isinstance(value, Tensor) else np.asarray(value)
        if value.dtype.kind not in "fiub":
            wrong.append(f"{name}: {value.dtype} values are no numbers")
        elif tuple(value.shape) != tensor.shape:
            wrong.append(f"{name}: shape {tuple(value.shape)} in the state, {tensor.shape} in the module")
        elif not tensor.is_leaf:
            wrong.append(f"{name}: the buffer is the result of a recorded operation; detach() it first")
        values[name] = value
    return values, wrong


def convert_all(tensors: Iterable[Tensor], target: Any) -> None:
    """Give leaves, and their gradients, new arrays of another floating dtype or on another device.

    The tensors stay the same objects. Those of integers keep their dtype.

    Raises
    ------
    TypeError
        As `Module.to` says; nothing has changed then.
    """
    modes.refuse("changing a module's dtype or device", "do that outside of the compiled function")
    is_device = isinstance(target, str) and target.split(":")[0] in convert.DEVICES
    if not is_device and not _is_floating(target):
        raise TypeError(f"to({target!r}): a floating dtype such as 'float32', or a device: 'cpu' or 'cupy'")
    chosen = [tensor for tensor in tensors if is_device or tensor.dtype.kind == "f"]
    chosen += [tensor._grad for tensor in chosen if tensor._grad is not None]
    arrays = [transfer.to(Tensor(tensor.array), target).array for tensor in chosen]
    changes.bump()
    for tensor, array in zip(chosen, arrays, strict=True):
        tensor.array = convert.as_array(array)


def _is_floating(dtype: Any) -> bool:
    try:
        return np.dtype(dtype).kind == "f"
    except TypeError:
        return False


def count_text(module: Module) -> str:
    """How many parameters a module has, as a comment at the end of its line in ``repr``."""
    total = module.num_parameters()
    if not total:
        return ""
    frozen = total - module.num_parameters(trainable_only=True)
    text = f"  # {total:,} parameter{'s' if total != 1 else ''}"
    return text if not frozen else f"{text}, {'all' if frozen == total else f'{frozen:,}'} frozen"
