"""What the schedules share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from tinynn.optim.optimizer import Optimizer


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise unless ``optimizer`` is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{owner}: the first argument must be an optimizer, got a {type(optimizer).__name__}")


class LRScheduler(ABC):
    """Base class. A subclass says in `get_lr` what the rates are at ``self.last_epoch``.

    Making a schedule notes each group's learning rate as ``group["initial_lr"]`` and sets that of epoch 0.

    Parameters
    ----------
    optimizer : whose ``param_groups`` are written to
    last_epoch : the epoch of a run that is taken up again; -1 starts a new one

    Attributes
    ----------
    last_epoch : how often `step` has been called
    base_lrs : the initial learning rate of each group
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        without = [i for i, group in enumerate(optimizer.param_groups) if "initial_lr" not in group]
        if last_epoch != -1 and without:
            raise ValueError(
                f"{type(self).__name__}: last_epoch={last_epoch} takes up a run, but the optimizer's groups "
                f"{without} have no 'initial_lr'; load the optimizer's state_dict first"
            )
        for i in without:
            optimizer.param_groups[i]["initial_lr"] = optimizer.param_groups[i]["lr"]
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    @abstractmethod
    def get_lr(self) -> list[float]:
        """The learning rate of each group at ``self.last_epoch``."""

    def step(self) -> None:
        """Go on by one epoch, and set the learning rates. Call it after ``optimizer.step()``."""
        self.last_epoch += 1
        try:
            rates = self.get_lr()
        except Exception:
            self.last_epoch -= 1
            raise
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr

    def restart(self) -> None:
        """Go back to epoch 0."""
        self.last_epoch = -1
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr
        self.step()

    def get_last_lr(self) -> list[float]:
        """The learning rates in use, one for each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions, for `tinynn.save`."""
        state = {name: value for name, value in vars(self).items() if name != "optimizer" and not _is_code(value)}
        return {name: list(value) if isinstance(value, list) else value for name, value in state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another schedule of this kind stood. Load the optimizer's own state as well.

        Raises
        ------
        ValueError
            If the state is that of another kind of schedule, or of other parameter groups. Nothing has
            changed then.
        """
        own = self.state_dict()
        if set(own) != set(state_dict):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected the entries {sorted(own)}, got {sorted(state_dict)}"
            )
        for name, value in own.items():
            if isinstance(value, list) and len(value) != len(state_dict[name]):
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: {name} has {len(state_dict[name])} entries, "
                    f"here it has {len(value)}"
                )
        vars(self).update({k: list(v) if isinstance(v, list) else v for k, v in state_dict.items()})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr={self.get_last_lr()})"


def _is_code(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(map(callable, value)))
