"""All that a step may change: kept, put back, and compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinynn.backends import convert, dispatch
from tinynn.changes import changes
from tinynn.graph import Leaf
from tinynn.random import Generator
from tinynn.tensor import Tensor

# How far a program's result may be from the eager one, relative to the largest element of its kind. Fusion changes
# the order of sums and the last digits of functions: some ten eps after a step, more where a difference of large
# numbers is left. A wrong program is off by far more.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
_PART = 1 << 18  # elements
NUDGES = (64.0, 1024.0, 8192.0)  # units in the last place, see `nudged`; the last is 1e-3 in float32


class State:
    """Copies of tensors with their gradients, of optimizers' and of generators' states, at one moment.

    Parameters
    ----------
    tensors, optimizers, generators
    restored : State, optional
        What will be put back before anything else is written. Arrays that are not part of it stay as they are, and are
        not copied.
    """

    def __init__(
        self,
        tensors: Iterable[Tensor],
        optimizers: Iterable[Any],
        generators: Iterable[Generator],
        restored: State | None = None,
    ) -> None:
        self.optimizers = [
            (o, o.state, {p: dict(kept) for p, kept in o.state.items()}, [dict(g) for g in o.param_groups])
            for o in optimizers
        ]
        held = {id(t): t for t in tensors}
        for _, _, state, _ in self.optimizers:
            for p, kept in state.items():
                held.setdefault(id(p), p)
                held.update({id(t): t for t in kept.values() if isinstance(t, Tensor)})
        self.own = list(held.values())  # without the gradients
        held.update({id(t._grad): t._grad for t in list(held.values()) if t._grad is not None})
        self.ids = set(held)
        self.memory = {id(dispatch.owner(t.array)) for t in held.values()}

        def copy(t: Tensor) -> Any:
            written = restored is None or id(t) not in restored.ids or id(dispatch.owner(t.array)) in restored.memory
            return _copy(t.array) if written else t.array

        self.tensors = [
            (t, t.array, copy(t), t._grad, t.node, t.node.consumed if isinstance(t.node, Leaf) else None)
            for t in held.values()
        ]
        self.generators = [(g, g.seed, g.offset) for g in {id(g): g for g in generators}.values()]

    def restore(self) -> None:
        """Put everything back: the same arrays with their old contents."""
        changes.bump()
        for t, array, copy, grad, node, consumed in self.tensors:
            if copy is not array:
                array[...] = copy
            t.array, t._grad, t.node = array, grad, node
            if consumed is not None:
                node.consumed = consumed
        for optimizer, state, kept, groups in self.optimizers:
            optimizer.state = state
            for p in [p for p in state if p not in kept]:
                del state[p]
            for p, entry in kept.items():
                state[p].clear()
                state[p].update(entry)
            for group, settings in zip(optimizer.param_groups, groups, strict=False):
                if settings != dict(group):
                    group.clear()
                    group.update(settings)
        for generator, seed, offset in self.generators:
            generator.seed, generator.offset = seed, offset

    def values(self) -> dict[int, tuple[Any, Any]]:
        """By the id of a tensor: its array and the one of its gradient, as they were."""
        copies = {id(t): copy for t, _, copy, *_ in self.tensors}
        return {
            id(t): (copy, None if grad is None else copies.get(id(grad), grad.array))
            for t, _, copy, grad, *_ in self.tensors
        }

    def numbers(self) -> list[Any]:
        """Step numbers of optimizers, and counters of generators."""
        steps = [[entry.get("step") for entry in kept.values()] for _, _, kept, _ in self.optimizers]
        return [steps, [rest for _, *rest in self.generators]]


def _copy(array: Any) -> Any:
    return array.copy() if isinstance(array, convert.ARRAYS) and array.ndim else array


def nudged(array: Any, seed: int, units: float = 64.0) -> Any:
    """A copy in which every number of floating point is moved by up to so many units in the last place, up or down.

    64 units are what a sum of some thousand terms may lose when it is taken in another order.
    """
    host = convert.to_host(array)
    if host.dtype not in (np.float32, np.float64):
        return convert.copied(array, None)
    moves = np.random.default_rng(seed).uniform(-units, units, host.shape).astype(host.dtype)
    return convert.like(host * (1 + np.finfo(host.dtype).eps * moves), array)


def mismatch(
    eager: State,
    machine: State,
    results: tuple[list[Any], list[Any]],
    names: dict[int, str],
    steps: Iterable[Any],
    noise: tuple[State, list[Any]] | None = None,
) -> str | None:
    """What a program computed otherwise than the eager function: a sentence, or None.

    Moments and gradients are compared on the scale of the largest of their kind in the model: a gradient that is
    zero but for rounding (of a bias before batch norm) agrees in no digit. An optimizer that divides by their size
    turns such noise into whole steps, so that parameters are compared only where the first moment is above the noise.

    ``noise`` is what the program makes of `nudged` inputs and parameters: a part of the step that rounding changes
    as much as that has no more digits to agree in, see `_within_noise`.
    """
    wanted, got = eager.values(), machine.values()
    shaken = noise[0].values() if noise else {}
    kinds, noisy = _moments(steps)
    kept = eager.own
    scales: dict[str, float] = {}
    for t in kept:
        array, gradient = wanted[id(t)]
        if id(t) in kinds:
            scales[kinds[id(t)]] = max(scales.get(kinds[id(t)], 0.0), _largest(array))
        if gradient is not None:
            scales["gradient"] = max(scales.get("gradient", 0.0), _largest(gradient))
    # a bias that begins at zero and has no gradient but rounding errors is nothing beside the other parameters
    least = 1e-3 * max((_largest(wanted[id(t)][0]) for t in kept if t.dtype.kind == "f"), default=0.0)
    for t in kept:
        (a, a_gradient), (b, b_gradient) = wanted[id(t)], got.get(id(t), (None, None))
        name = names.get(id(t)) or (f"{kinds[id(t)]} of the optimizer" if id(t) in kinds else t.describe())
        unsure = None
        if id(t) in noisy:
            moment = np.abs(convert.to_host(wanted[id(noisy[id(t)])][0]))
            kind, limit = kinds[id(noisy[id(t)])], TOLERANCE.get(a.dtype.name, 0.0)
            unsure = moment <= scales[kind] * (limit if kind == "exp_avg" else limit**2)
        c, c_gradient = shaken.get(id(t), (None, None))
        if text := _differs(name, a, b, scales.get(kinds.get(id(t), ""), least), unsure, c):
            return text
        if (a_gradient is None) != (b_gradient is None):
            there, missing = ("None", "set") if a_gradient is None else ("set", "None")
            return f"the gradient of {name} is {there}, in the program {missing}"
        if a_gradient is not None:
            text = _differs(f"the gradient of {name}", a_gradient, b_gradient, scales["gradient"], None, c_gradient)
            if text:
                return text
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        if text := _differs(f"result {i}", a, b, 0.0, None, noise[1][i] if noise else None):
            return text
    if eager.numbers() != machine.numbers():
        return f"step numbers and random counters are {eager.numbers()}, in the program {machine.numbers()}"
    return None


def _moments(steps: Iterable[Any]) -> tuple[dict[int, str], dict[int, Any]]:
    """Of optimizers, by the id of a tensor: the kind of a moment; and the moment by whose size a tensor was divided."""
    kinds: dict[int, str] = {}
    divided_by: dict[int, Any] = {}
    for step in steps:
        for part in step.parts:
            for p, state in zip(part.params, part.states, strict=True):
                kinds.update({id(t): name for name, t in state.items() if isinstance(t, Tensor)})
                first = next((state[name] for name in ("exp_avg", "square_avg") if name in state), None)
                if first is not None:
                    divided_by[id(p)] = first
                    if "momentum_buffer" in state:  # of what was divided
                        divided_by[id(state["momentum_buffer"])] = first
    return kinds, divided_by


def _largest(array: Any) -> float:
    array = np.abs(convert.to_host(array))
    finite = array[np.isfinite(array)]
    return float(finite.max()) if finite.size else 0.0


def _within_noise(a: Any, b: Any, c: Any, agree: Any = False) -> bool:
    """Whether b differs from a by no more than ten times what c does: as a whole, and in the largest difference.

    Elements that ``agree`` already do not count against it.

    A ReLU's input of 1e-8 may be -1e-8 where sums are taken in another order: the sample then counts in one gradient
    and not in the other. Through a hundred layers, or in a batch of a thousand, that is no rare event. In a small
    network it is rare, but may happen here and not under a small nudge: hence the larger ones in `NUDGES`.
    """
    norms, largest = np.zeros(2), np.zeros(2)
    flat = [np.ravel(x) for x in np.broadcast_arrays(a, b, c, agree)]
    for start in range(0, flat[0].size, _PART):  # of large networks, a little at a time
        a, b, c, agree = (x[start : start + _PART] for x in flat)
        with np.errstate(all="ignore"):
            for k, x in enumerate((a, c)):
                same = (x == b) | ((x != x) & (b != b)) | (agree if k == 0 else False)
                off = np.where(same, 0.0, np.nan_to_num(np.abs(x - b), nan=np.inf)).astype(float)
                norms[k] = np.hypot(norms[k], np.linalg.norm(off))
                largest[k] = max(largest[k], off.max())
    return bool((norms[0] <= 10.0 * norms[1]) and (largest[0] <= 10.0 * largest[1]) and np.isfinite(largest[0]))


def _differs(name: str, a: Any, b: Any, scale: float, unsure: Any, c: Any = None) -> str | None:
    if b is None or a.shape != b.shape or a.dtype != b.dtype:
        other = "missing" if b is None else f"{b.dtype} of shape {b.shape}"
        return f"{name} is {a.dtype} of shape {a.shape}, in the program {other}"
    a, b = np.asarray(convert.to_host(a)), np.asarray(convert.to_host(b))
    tolerance = TOLERANCE.get(a.dtype.name, 0.0)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= tolerance * max(scale, _largest(a)) if tolerance else a == b
    agree = near | (a == b) | ((a != a) & (b != b))
    if unsure is not None:
        agree |= unsure
    if agree.all() or (c is not None and tolerance and _within_noise(a, b, np.asarray(convert.to_host(c)), agree)):
        return None
    where = tuple(int(i) for i in np.argwhere(~agree)[0]) if a.ndim else ()
    return f"{name}{list(where) if where else ''} is {a[where]!r}, in the program {b[where]!r} (tolerance {tolerance})"
