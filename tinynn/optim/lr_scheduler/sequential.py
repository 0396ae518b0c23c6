"""One schedule after another: a warm-up and then a cosine, for instance."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from tinynn.optim.checks import check_count
from tinynn.optim.lr_scheduler.base import LRScheduler, check_optimizer
from tinynn.optim.optimizer import Optimizer


class SequentialLR:
    """Use one schedule up to the first milestone, then the next one from its own epoch 0, and so on.

    Parameters
    ----------
    optimizer : whose learning rates are set
    schedulers : schedules of this optimizer
    milestones : the epochs, in rising order, at which the second, third, ... takes over

    Raises
    ------
    ValueError
        If there is not one milestone less than schedules, or a schedule belongs to another optimizer.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.optim.lr_scheduler import ExponentialLR, LinearLR
    >>> optimizer = tinynn.optim.SGD([tinynn.zeros(1).requires_grad_()], lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> decay = ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = SequentialLR(optimizer, [warm_up, decay], milestones=[2])
    >>> for epoch in range(5):
    ...     print(scheduler.get_last_lr())
    ...     scheduler.step()
    [0.5]
    [0.75]
    [1.0]
    [0.5]
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        check_optimizer("SequentialLR", optimizer)
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need {max(len(schedulers) - 1, 0)} milestones, "
                f"got {len(milestones)}"
            )
        for milestone in milestones:
            check_count("SequentialLR", "each of milestones", milestone, least=1)
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"SequentialLR: milestones must rise, got {list(milestones)}")
        for i, scheduler in enumerate(schedulers):
            if getattr(scheduler, "optimizer", None) is not optimizer or not isinstance(scheduler, LRScheduler):
                raise ValueError(f"SequentialLR: schedulers[{i}] is not a per-epoch schedule of this optimizer")
        self.optimizer = optimizer
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        self.last_epoch = 0
        self.schedulers[0].restart()  # the others have each set their own first rate when they were made

    def step(self) -> None:
        """Go on by one epoch."""
        epoch = self.last_epoch + 1
        now = bisect_right(self.milestones, epoch)
        if now > 0 and self.milestones[now - 1] == epoch:
            self.schedulers[now].restart()
        else:
            self.schedulers[now].step()
        self.last_epoch = epoch

    def get_last_lr(self) -> list[float]:
        """The learning rates in use, one for each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and the state of each schedule."""
        return {"last_epoch": self.last_epoch, "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another sequence of the same schedules stood.

        Raises
        ------
        ValueError
            If it is the state of other schedules. Nothing has changed then.
        """
        states = state_dict.get("schedulers")
        if states is None or len(states) != len(self.schedulers) or "last_epoch" not in state_dict:
            raise ValueError(
                f"SequentialLR.load_state_dict: expected 'last_epoch' and {len(self.schedulers)} 'schedulers'"
            )
        before = [scheduler.state_dict() for scheduler in self.schedulers]
        try:
            for scheduler, state in zip(self.schedulers, states, strict=True):
                scheduler.load_state_dict(state)
        except ValueError:
            for scheduler, state in zip(self.schedulers, before, strict=True):
                scheduler.load_state_dict(state)
            raise
        self.last_epoch = state_dict["last_epoch"]
