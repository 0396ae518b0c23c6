"""How a rule is run over the parameters of a group: small ones packed together, large ones one by one.

A network of a few hundred numbers spends its time not on arithmetic but on calls. So the small parameters of
a group, and what a rule keeps beside them, lie in flat arrays, one for each role:

::

    parameters   [ weight | bias | weight | bias ]      gathered before the formula, written back after it
    gradients    [   .    |  .   |   .    |  .   ]      gathered
    exp_avg      [   .    |  .   |   .    |  .   ]      lives here: the tensors in optimizer.state are views

and the formula runs once on the whole. Each part is then written over its parameter's array, in place.

On large arrays the formula runs in blocks that fit the cache or, under the Numba backend, as one compiled
loop printed from the same formula.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, MutableMapping, Sequence
from itertools import repeat
from operator import is_
from typing import Any

import numpy as np

from tinynn.backends import convert, select
from tinynn.graph import note_edit
from tinynn.modes import no_grad
from tinynn.ops.base import Op
from tinynn.optim.rule import Rule
from tinynn.tensor import Tensor

State = MutableMapping[Tensor, dict[str, Any]]
Scalars = Callable[[int], tuple[float, ...]]  # step number -> what the formula gets

entry_of: Any = dict.get  # to read an optimizer's state without counting it as a change
SMALL = 4096  # elements: parameters up to this size are packed
BLOCK = 16384  # elements: the formula's half a dozen temporaries of this size stay in the cache
# Up to this step number, vectors too short for the backend's kernels stay in NumPy, so that short runs need
# not wait until Numba is imported. It depends on nothing but the step: runs are repeatable.
PLAIN_STEPS = 1000


class GroupUpdate:
    """Runs a rule over one group of parameters; those without a gradient are left out, with their state."""

    def __init__(self, params: Sequence[Tensor], where: str) -> None:
        self.params = list(params)
        self.where = where  # for the message of a backward() that comes after the step
        self.units: list[Pack | Single] = []
        self.present: list[Tensor] = []
        self._absent: list[int] | None = None
        self._rule: Rule | None = None
        self._state: State | None = None

    def run(self, rule: Rule, state: State, scalars: Scalars, keep_grad: bool) -> None:
        """One step on arrays."""
        absent = [i for i, p in enumerate(self.params) if p._grad is None or p.node is None]
        unchanged = absent == self._absent and rule is self._rule and state is self._state
        if not unchanged or not all(unit.intact(state) for unit in self.units):
            self._arrange(rule, state, absent)
        use_kernels = select.backend() == "numba"
        for unit in self.units:
            unit.run(rule, scalars, use_kernels)
        consumed = not keep_grad
        for p in self.present:
            p.node.consumed = consumed

    def _arrange(self, rule: Rule, state: State, absent: list[int]) -> None:
        """Decide which parameters go together: those of one dtype that have taken equally many steps."""
        self._absent = None  # so that an error leaves no half of an arrangement
        skipped = set(absent)
        self.present = [p for i, p in enumerate(self.params) if i not in skipped]
        packs: dict[Any, list[Tensor]] = {}
        self.units = []
        for p in self.present:
            kept = prepare(p, rule, state)
            if isinstance(p.array, (np.ndarray, np.generic)) and p.size <= SMALL:
                packs.setdefault((p.dtype, kept["step"]), []).append(p)
            else:
                self.units.append(Single(p, rule, kept, self.where))
        self.units += [Pack(members, rule, [state[p] for p in members], self.where) for members in packs.values()]
        self._rule, self._state, self._absent = rule, state, absent


def prepare(p: Tensor, rule: Rule, states: State) -> dict[str, Any]:
    """Complete the state of ``p``, in its dtype and on its device; see that its array can be written to."""
    state = states[p]
    state.setdefault("step", 0)
    for name in rule.state:
        if name not in state:
            state[name] = Tensor(np.zeros_like(p.array))  # CuPy arrays answer through NumPy's dispatch
        elif state[name].dtype != p.dtype or state[name].device != p.device:
            state[name] = Tensor(convert.like(state[name].array, p.array))
    if isinstance(p.array, np.ndarray) and not (p.array.flags.writeable and p.array.flags.c_contiguous):
        p.array = np.array(p.array, order="C")
    return state


class Pack:
    """Small parameters of one dtype and one step number, updated together as flat vectors."""

    def __init__(self, params: list[Tensor], rule: Rule, states: list[dict[str, Any]], where: str) -> None:
        self.params = params
        self.states = states
        self.where = where
        size, dtype = sum(p.size for p in params), params[0].dtype
        self.p, self.g = np.empty(size, dtype), np.empty(size, dtype)
        self.moments: list[Any] = []  # one flat array for each name in rule.state
        self._names = [name for name in rule.state for _ in states]
        self._entries = [*states] * len(rule.state)
        self._held: list[Tensor] = []  # the tensors in optimizer.state, and the views that they must hold
        self._views: list[Any] = []
        for name in rule.state:
            tensors = [state[name] for state in states]
            flat = np.concatenate([t.array for t in tensors], axis=None, dtype=dtype)
            for t, view in zip(tensors, _split(flat, params), strict=True):
                t.array = view
                self._held.append(t)
                self._views.append(view)
            self.moments.append(flat)
        self._arrays = [p.array for p in params]
        self._parts_of_p = _split(self.p, params)
        self._parts_of_g = _split(self.g, params)
        self._writable = [pair for pair in zip(self._arrays, self._parts_of_p, strict=True) if pair[0].ndim]
        self._scalar_members = [i for i, p in enumerate(params) if p.ndim == 0]  # NumPy scalars: replaced

    def intact(self, state: State) -> bool:
        """Whether the parameters and the state are still the arrays that were packed, and of one step number."""
        steps = [kept["step"] for kept in self.states]
        return (
            all(map(is_, [p.array for p in self.params], self._arrays))
            and all(map(is_, [t.array for t in self._held], self._views))
            and all(map(is_, map(entry_of, repeat(state), self.params), self.states))
            and all(map(is_, map(entry_of, self._entries, self._names), self._held))
            and steps.count(steps[0]) == len(steps)
        )

    def run(self, rule: Rule, scalars: Scalars, use_kernels: bool) -> None:
        t = self.states[0]["step"] + 1
        numbers = scalars(t)
        p, g, moments, arrays = self.p, self.g, self.moments, self._arrays
        for part, q in zip(self._parts_of_g, self.params, strict=True):
            part[...] = q._grad.array  # type: ignore[union-attr]
        for part, array in zip(self._parts_of_p, arrays, strict=True):
            part[...] = array
        use_kernels = use_kernels and (p.size >= Op.worth_kernel or t > PLAIN_STEPS)
        if use_kernels and (kernel := compiled(rule, p.dtype)) is not None:
            kernel(p, *moments, g, *numbers)
        elif p.size > BLOCK:
            run_in_blocks(rule, [p, *moments], g, numbers)
        else:
            for old, new in zip((p, *moments), rule.formula(p, g, *moments, *numbers), strict=True):
                old[...] = new
        where = self.where
        for q in self.params:
            note_edit(q.node, where)
        for array, part in self._writable:
            array[...] = part
        for i in self._scalar_members:
            arrays[i] = self.params[i].array = self._parts_of_p[i][()]
        for state in self.states:
            state["step"] = t


class Single:
    """One large parameter, or one on the GPU."""

    def __init__(self, p: Tensor, rule: Rule, state: dict[str, Any], where: str) -> None:
        self.param = p
        self.state = state
        self.where = where
        self.array = p.array
        self._names = rule.state
        self._held = [state[name] for name in rule.state]
        if isinstance(p.array, np.ndarray):
            for t in self._held:
                if not (t.array.flags.writeable and t.array.flags.c_contiguous):
                    t.array = np.array(t.array, order="C")
        self._moments = [t.array for t in self._held]

    def intact(self, state: State) -> bool:
        """Whether the parameter and the state are the arrays that they were."""
        return (
            self.param.array is self.array
            and all(map(is_, [t.array for t in self._held], self._moments))
            and entry_of(state, self.param) is self.state
            and all(map(is_, [self.state.get(name) for name in self._names], self._held))
        )

    def run(self, rule: Rule, scalars: Scalars, use_kernels: bool) -> None:
        t = self.state["step"] + 1
        numbers = scalars(t)
        p, moments = self.param.array, self._moments
        g = self.param._grad.array  # type: ignore[union-attr]
        g = g if g.dtype == p.dtype else g.astype(p.dtype)
        note_edit(self.param.node, self.where)
        if not isinstance(p, np.ndarray):  # CuPy
            for array, value in zip((p, *moments), rule.formula(p, g, *moments, *numbers), strict=True):
                array[...] = value
        elif use_kernels and (kernel := compiled(rule, p.dtype)) is not None:
            kernel(p, *moments, np.ascontiguousarray(g), *numbers)
        else:
            run_in_blocks(rule, [p, *moments], g, numbers)
        self.state["step"] = t


def run_in_blocks(rule: Rule, targets: list[Any], g: Any, numbers: tuple[float, ...]) -> None:
    """Run the formula on some thousand elements at a time, and write over ``targets = [p, *state]``."""
    flat = [a.reshape(-1) for a in targets]  # views: the arrays are contiguous
    g = g.reshape(-1)
    for start in range(0, g.size, BLOCK):
        parts = [a[start : start + BLOCK] for a in flat]
        p, *moments = parts
        new = rule.formula(p, g[start : start + BLOCK], *moments, *numbers)
        for part, value in zip(parts, new, strict=True):
            part[...] = value


def on_tensors(p: Tensor, rule: Rule, state: dict[str, Any], scalars: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Run the formula on Tensors, where an observer sees it: what is to be assigned, and the new values."""
    moments = [state[name] for name in rule.state]
    with no_grad():
        new = rule.formula(p, p._grad, *moments, *scalars)
    return list(zip((p, *moments), new, strict=True))


def _split(flat: Any, params: list[Tensor]) -> list[Any]:
    """Views of the parts of a flat array that belong to each parameter, in its shape."""
    ends = np.cumsum([p.size for p in params])
    return [flat[end - p.size : end].reshape(p.shape) for p, end in zip(params, ends, strict=True)]


# ------------------------------------------------------------------------------------------ compiled kernels

_kernels: dict[tuple[Rule, Any], Any] = {}


def compiled(rule: Rule, dtype: Any) -> Any:
    """The rule as a compiled loop that updates p and the state in place; None for dtypes that have none."""
    key = (rule, dtype)
    if key not in _kernels:
        if importlib.util.find_spec("numba") is None:
            select.numba_missing()
            return None
        _kernels[key] = _compile(rule, dtype) if dtype.name in ("float64", "float32") else None
    return _kernels[key]


def _compile(rule: Rule, dtype: Any) -> Any:
    from tinynn.backends.dispatch import NAMESPACES
    from tinynn.kernels.elementwise import compile_elementwise
    from tinynn.kernels.symbols import Symbol, symbolic

    NAMESPACES.setdefault(Symbol, symbolic)  # the library's functions, such as sqrt, in a formula
    inputs, outputs = ["p", "g", *rule.state], ["p", *rule.state]
    return compile_elementwise(rule.name, rule.formula, inputs, rule.scalars, dtype, outputs=outputs)
