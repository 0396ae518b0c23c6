"""Lower the learning rate when a metric has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinynn.optim.checks import check_count, check_number
from tinynn.optim.lr_scheduler.base import check_optimizer
from tinynn.optim.optimizer import Optimizer


class ReduceLROnPlateau:
    """Multiply the learning rate by ``factor`` after more than ``patience`` epochs without improvement.

    Parameters
    ----------
    optimizer : whose learning rates are set
    mode : ``"min"`` where smaller is better, ``"max"`` where larger is
    factor : what the learning rate is multiplied by, less than 1
    patience : how many epochs without improvement are forgiven
    threshold : what counts as an improvement: beyond best (1 -+ threshold) with ``threshold_mode="rel"``,
        beyond
        best -+ threshold with ``"abs"``
    threshold_mode : ``"rel"`` or ``"abs"``
    cooldown : how many epochs after a reduction are not counted
    min_lr : the least learning rate, or a list of them, one for each parameter group
    eps : reductions by less than this are left out

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import tinynn
    >>> optimizer = tinynn.optim.SGD([tinynn.zeros(1).requires_grad_()], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for validation_loss in [3.0, 2.0, 2.1, 2.2]:
    ...     scheduler.step(validation_loss)
    ...     print(scheduler.get_last_lr())
    [1.0]
    [1.0]
    [1.0]
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        owner = "ReduceLROnPlateau"
        check_optimizer(owner, optimizer)
        check_number(owner, "factor", factor, least=0.0, below=1.0)
        check_number(owner, "threshold", threshold, least=0.0)
        check_number(owner, "eps", eps, least=0.0)
        check_count(owner, "patience", patience)
        check_count(owner, "cooldown", cooldown)
        if mode not in ("min", "max"):
            raise ValueError(f"{owner}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{owner}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"{owner}: min_lr has {len(self.min_lrs)} entries, the optimizer has {groups} parameter groups"
            )
        for number in self.min_lrs:
            check_number(owner, "min_lr", number, least=0.0)
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def step(self, metrics: Any) -> None:
        """Take notice of the metric of an epoch: a number, or a tensor of one element. NaN is no
        improvement."""
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _is_better(self, current: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            return sign * current > sign * (self.best * (1.0 + sign * self.threshold))
        return sign * current > sign * self.best + self.threshold

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """The learning rates in use, one for each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, for `tinynn.save`."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another schedule of this kind stood. Load the optimizer's own state as well.

        Raises
        ------
        ValueError
            If the state is that of another kind of schedule, or of other parameter groups. Nothing has
            changed then.
        """
        own = self.state_dict()
        if set(own) != set(state_dict) or len(state_dict["min_lrs"]) != len(self.min_lrs):
            raise ValueError(f"ReduceLROnPlateau.load_state_dict: expected {sorted(own)}, got {sorted(state_dict)}")
        vars(self).update(state_dict)
