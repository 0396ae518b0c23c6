"""A step of an optimizer as part of a recorded program: what is renewed before each run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from operator import is_
from typing import TYPE_CHECKING, Any

from tinynn.optim.checks import same_items
from tinynn.optim.rule import Rule
from tinynn.optim.update import entry_of
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn.optim.optimizer import FormulaOptimizer


class RecordedStep:
    """A step of an optimizer as it stands in a recorded program.

    Attributes
    ----------
    parts : the parameters that share the numbers of their formula: ``scalars`` are tensors without axes, which the
        program reads at every run, and whose values follow from the settings and the step number
    """

    def __init__(self, optimizer: FormulaOptimizer, parts: list[Together]) -> None:
        self.optimizer = optimizer
        self.parts = parts
        self._state = optimizer.state
        self._groups = [(group, list(group["params"])) for group in optimizer.param_groups]
        self._params = [p for part in parts for p in part.params]
        self._entries = [state for part in parts for state in part.states]
        named = [(state, name) for part in parts for state in part.states for name in part.rule.state]
        self._entry_of, self._name_of = [state for state, _ in named], [name for _, name in named]
        self._moments = [state[name] for state, name in named]  # what the program reads and writes

    def holds(self) -> bool:
        """Whether the program still does what ``optimizer.step()`` would do.

        Raises
        ------
        TypeError, ValueError
            If a setting in ``param_groups`` was changed to something out of its range.
        """
        optimizer = self.optimizer
        optimizer._check_settings()
        if self._state is not optimizer.state or len(self._groups) != len(optimizer.param_groups):
            return False
        for group, (known, params) in zip(optimizer.param_groups, self._groups, strict=True):
            if group is not known or not same_items(group["params"], params):
                return False
        if not all(map(is_, map(entry_of, repeat(self._state), self._params), self._entries)):
            return False
        if not all(map(is_, map(entry_of, self._entry_of, self._name_of), self._moments)):
            return False
        return all(
            optimizer.rule(part.group) is part.rule and len({state["step"] for state in part.states}) == 1
            for part in self.parts
        )

    def advance(self) -> bool:
        """Count a step, and renew learning rates and bias corrections.

        Returns
        -------
        False, with nothing changed, where the record does not hold any more: the settings ask for another
        formula, a group was added, or a state dict was loaded

        Raises
        ------
        TypeError, ValueError
            If a setting in ``param_groups`` was changed to something out of its range. Nothing has changed
            then.
        """
        if not self.holds():
            return False
        self.renew()
        return True

    def renew(self) -> None:
        """As `advance`, where nothing that `holds` looks at has changed since it was asked."""
        for part in self.parts:
            t = part.states[0]["step"] + 1
            for scalar, number in zip(part.scalars, self.optimizer.scalars(part.group, t), strict=True):
                scalar.assign_(number)
            for state in part.states:
                state["step"] = t

    def undo(self) -> None:
        """Take back the count of a step that did not come about."""
        for part in self.parts:
            for state in part.states:
                state["step"] -= 1


@dataclass(frozen=True, eq=False)
class Together:
    """Parameters of a group that share the numbers of their formula, as they were recorded."""

    group: dict[str, Any]
    rule: Rule
    scalars: list[Tensor]  # tensors without axes, in the order of rule.scalars
    states: list[dict[str, Any]]
    params: list[Tensor]
