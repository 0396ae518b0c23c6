"""What all optimizers share: parameter groups, state, saving and loading; and the step by a formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from tinynn import modes
from tinynn.backends import convert
from tinynn.changes import CountedList, Settings, States, changes
from tinynn.optim import update
from tinynn.optim.checks import as_groups, check_params, checked_group, same_items
from tinynn.optim.recorded import RecordedStep, Together
from tinynn.optim.rule import Rule
from tinynn.optim.update import GroupUpdate
from tinynn.tensor import Tensor

Closure = Callable[[], Any]


class Optimizer(ABC):
    """Base class: parameters in groups, each with its own settings, and what is kept for each parameter.

    Parameters
    ----------
    params : iterable of leaf tensors that require a gradient, or of pairs (name, tensor), or a list of
        group dicts such as ``[{"params": body}, {"params": head, "lr": 1e-2}]``
    defaults : the settings of groups that do not name their own

    Attributes
    ----------
    param_groups : list of dicts; the settings in them are read at every step, so ``group["lr"] = 0.1`` works
    state : dict from parameter to what is kept for it between steps: ``{"step": 3, "exp_avg": tensor, ...}``.
        Made at the first step; to replace it, use `load_state_dict`.

    Raises
    ------
    TypeError, ValueError
        If there are no parameters, one is not a leaf tensor that requires a gradient or is given twice, or a
        setting is out of its range. Nothing has changed then.
    """

    # What may be kept for one parameter beside its step number; arrays of its shape.
    state_names: tuple[str, ...] = ()

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = CountedList()
        self.state: defaultdict[Tensor, dict[str, Any]] = States(dict)
        modes.holders_of_settings.add(self)
        for group in as_groups(type(self).__name__, params):
            self.add_param_group(group)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state":  # another dict in its place
            value = value if isinstance(value, States) else States(dict, value)
            value.default_factory = dict
            changes.bump()
        elif name == "param_groups":
            value = CountedList(value)
            changes.bump()
        super().__setattr__(name, value)

    @abstractmethod
    def step(self, closure: Closure | None = None, keep_grad: bool = False) -> Any:
        """Update the parameters once from their gradients."""

    @abstractmethod
    def check(self, group: Mapping[str, Any]) -> None:
        """Raise if a setting of a group is of the wrong type or out of its range."""

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own, for instance of a layer that is trained from now on.

        Parameters
        ----------
        group : dict with the key ``params``, and any settings that differ from the defaults
        """
        modes.refuse("making an optimizer, or adding a group to one,", "do that once, before")
        taken = {p for other in self.param_groups for p in other["params"]}
        complete = {**self.defaults, **checked_group(type(self).__name__, group, taken)}
        self.check(complete)
        self.param_groups.append(Settings({**complete, "params": CountedList(complete["params"])}))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, so that the next ``backward()`` starts from nothing.

        Parameters
        ----------
        set_to_none : False puts zeros in place of None; then parameters that the loss does not depend on
            are still moved by momentum and weight decay
        """
        changes.bump()
        recorder = modes.mode.recorder
        for group in self.param_groups:
            for p in group["params"]:
                if recorder is not None:
                    recorder.gradient_written(p)
                p._grad = None
                if not set_to_none:
                    p.grad = Tensor(np.zeros_like(p.array))
                    if recorder is not None:
                        recorder.created(p._grad)

    # ---------------------------------------------------------------------------------- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """A copy of all settings and state, for `tinynn.save`; parameters are named by their number.

        Returns
        -------
        ``{"state": {0: {...}, 1: {...}}, "param_groups": [{..., "params": [0, 1]}]}``, as in PyTorch
        """
        modes.refuse("state_dict()", "save states outside of the compiled function")
        number: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            indices = [number.setdefault(p, len(number)) for p in group["params"]]
            groups.append({**group, "params": indices})
        state = {i: _copied(self.state[p]) for p, i in number.items() if p in self.state}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the optimizer that gave ``state_dict`` stood: its settings, moments and step numbers.

        Raises
        ------
        ValueError
            If its groups hold other numbers of parameters, a setting is missing or out of range, or the
            shapes differ. Nothing has changed then.
        """
        modes.refuse("load_state_dict()", "load states outside of the compiled function")
        owner = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(f"{owner}.load_state_dict: expected a dict with the keys 'state' and 'param_groups'")
        given = state_dict["param_groups"]
        sizes, own_sizes = ([len(group["params"]) for group in groups] for groups in (given, self.param_groups))
        if sizes != own_sizes:
            raise ValueError(
                f"{owner}.load_state_dict: the saved groups hold {sizes} parameters, the optimizer's "
                f"{own_sizes}; make the optimizer with the same parameter groups first"
            )
        groups = []
        place: dict[Any, Tensor] = {}
        for i, (old, new) in enumerate(zip(self.param_groups, given, strict=True)):
            if missing := [name for name in self.defaults if name not in new and name not in _OURS]:
                raise ValueError(f"{owner}.load_state_dict: group {i} lacks {missing}; is it of another optimizer?")
            complete = {**old, **new, "params": old["params"]}
            self.check(complete)
            groups.append(complete)
            place.update(zip(new["params"], old["params"], strict=True))
        state: dict[Tensor, dict[str, Any]] = {}
        for number, entry in state_dict["state"].items():
            if number not in place:
                raise ValueError(
                    f"{owner}.load_state_dict: there is state for parameter {number!r}, which is in no group"
                )
            state[place[number]] = self._loaded(number, place[number], entry)
        for old, complete in zip(self.param_groups, groups, strict=True):
            old.update(complete)
        self.state = States(dict, state)

    def _loaded(self, number: Any, p: Tensor, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of one parameter's saved state, in its dtype and on its device."""
        where = f"{type(self).__name__}.load_state_dict: the state of parameter {number}"
        entry = {name: value for name, value in entry.items() if value is not None}
        if unknown := [name for name in entry if name not in ("step", *self.state_names)]:
            raise ValueError(
                f"{where} has {unknown}; it is of another optimizer: this one keeps {list(self.state_names)}"
            )
        loaded: dict[str, Any] = {"step": int(entry.get("step", 1 if entry else 0))}
        for name in self.state_names:
            if name in entry:
                array = getattr(entry[name], "array", None)
                array = np.asarray(entry[name]) if array is None else array
                if tuple(array.shape) != p.shape:
                    raise ValueError(f"{where}: {name} has shape {tuple(array.shape)}, but the parameter has {p.shape}")
                loaded[name] = Tensor(convert.like(array, p.array))
        return loaded

    def settings(self) -> list[dict[str, Any]]:
        """A copy of the settings of each group."""
        return [{name: group[name] for name in group if name != "params"} for group in self.param_groups]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{name}={group[name]!r}" for name in self.defaults)
            count, numbers = len(group["params"]), sum(p.size for p in group["params"])
            lines.append(f"  group {i}: {count} parameters ({numbers:,} numbers), {settings}")
        return "\n".join([*lines, ")"])


# Settings that state dicts of PyTorch do not have.
_OURS = {"bias_correction"}


def _copied(value: Any) -> Any:
    """A copy of a nested state, for itself in memory."""
    if isinstance(value, Tensor):
        return Tensor(value.array.copy())
    if isinstance(value, dict):
        return {name: _copied(entry) for name, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


class FormulaOptimizer(Optimizer):
    """An optimizer whose step is one formula per parameter. A subclass says which, and with which numbers."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._known: list[dict[str, Any]] = []  # the groups that the lists below belong to
        self._updates: list[GroupUpdate] = []
        self._checked: list[list[Any]] = []  # the settings of each group when they were last looked at
        self._rules: list[Rule] = []
        self._recorded: RecordedStep | None = None
        super().__init__(params, defaults)

    @abstractmethod
    def rule(self, group: Mapping[str, Any]) -> Rule:
        """The formula for a group; the same object whenever the same formula is meant."""

    @abstractmethod
    def scalars(self, group: Mapping[str, Any], t: int) -> tuple[float, ...]:
        """The numbers that the formula gets at step ``t`` = 1, 2, ..., in the order of ``rule.scalars``."""

    def scalars_ahead(self, group: Mapping[str, Any], t: int, count: int) -> list[Any]:
        """The numbers of `scalars` for ``count`` steps from ``t`` on: an array, or one number, for each."""
        steps = np.arange(t, t + count, dtype=np.float64)
        try:
            return list(self.scalars(group, steps))  # type: ignore[arg-type]
        except (TypeError, ValueError):  # a formula for single numbers
            return list(np.array([self.scalars(group, int(step)) for step in steps]).T)

    def add_param_group(self, group: dict[str, Any]) -> None:
        super().add_param_group(group)
        complete = self.param_groups[-1]
        self._known.append(complete)
        self._updates.append(self._update_of(complete))
        self._checked.append([complete[name] for name in self.defaults])
        self._rules.append(self.rule(complete))

    def _update_of(self, group: dict[str, Any]) -> GroupUpdate:
        return GroupUpdate(group["params"], f"{type(self).__name__}.step()")

    add_param_group.__doc__ = Optimizer.add_param_group.__doc__

    def step(self, closure: Closure | None = None, keep_grad: bool = False) -> Any:
        """Update the parameters once from their gradients. Parameters without a gradient stay as they are.

        Parameters
        ----------
        closure : computes the loss and its gradients again, and returns the loss
        keep_grad : say that the next ``backward()`` adds to the present gradients on purpose; otherwise it
            warns, because
            a ``zero_grad()`` was probably forgotten

        Returns
        -------
        what the closure returned, or None

        Raises
        ------
        TypeError, ValueError
            If a setting in ``param_groups`` was changed to something out of its range. Nothing has changed
            then.
        """
        loss = None
        if closure is not None:
            with modes.enable_grad():
                loss = closure()
        self._check_settings()
        changes.bump()
        if modes.mode.observer is not None:
            self._record_step(keep_grad)
            return loss
        for group, rule, update_of_group in zip(self.param_groups, self._rules, self._updates, strict=True):
            update_of_group.run(rule, self.state, partial(self.scalars, group), keep_grad)
        return loss

    def _check_settings(self) -> None:
        """Look at settings that have changed, before anything else does."""
        if not same_items(self.param_groups, self._known):
            self._follow_groups()
        for i, group in enumerate(self.param_groups):
            if not same_items(group["params"], self._updates[i].params):
                check_params(type(self).__name__, self.param_groups)
                self._updates[i] = self._update_of(group)
            settings = [group[name] for name in self.defaults]
            if settings != self._checked[i]:
                self.check(group)
                self._checked[i] = settings
                self._rules[i] = self.rule(group)

    def _follow_groups(self) -> None:
        """Groups were removed, or put in another order."""
        places = {id(group): i for i, group in enumerate(self._known)}
        if not all(id(group) in places for group in self.param_groups):
            raise TypeError(f"{type(self).__name__}: a group was put into param_groups; use add_param_group(group)")
        order = [places[id(group)] for group in self.param_groups]
        lists: tuple[list[Any], ...] = (self._known, self._updates, self._checked, self._rules)
        for held in lists:
            held[:] = [held[i] for i in order]

    # --------------------------------------------------------------------------- a step as part of a program

    def _record_step(self, keep_grad: bool) -> None:
        """One step in operations on Tensors. The scalars are Tensors too, whose values `advance` renews."""
        recorded: dict[Any, Together] = {}
        assignments: list[tuple[Tensor, Tensor]] = []
        for i, (group, rule) in enumerate(zip(self.param_groups, self._rules, strict=True)):
            for p in group["params"]:
                if modes.mode.recorder is not None:
                    modes.mode.recorder.gradient_read(p)
                if p._grad is None or p.node is None:
                    continue
                state = update.prepare(p, rule, self.state)
                key = (i, p.dtype, p.device, state["step"])
                if key not in recorded:
                    numbers = self.scalars(group, state["step"] + 1)
                    live = [Tensor(convert.like(np.asarray(number), p.array)) for number in numbers]
                    recorded[key] = Together(group, rule, live, [], [])
                recorded[key].states.append(state)
                recorded[key].params.append(p)
                assignments += update.on_tensors(p, rule, state, recorded[key].scalars)
                p.node.consumed = not keep_grad
        for tensor, value in assignments:
            tensor.assign_(value)
        self._recorded = RecordedStep(self, list(recorded.values()))
        for together in self._recorded.parts:
            for state in together.states:
                state["step"] += 1
        if modes.mode.recorder is not None:
            modes.mode.recorder.stepped(self._recorded)

    def advance(self) -> bool:
        """Prepare the step that was recorded last for running again; see `RecordedStep.advance`."""
        return self._recorded is not None and self._recorded.advance()
