"""The one-cycle policy: up to a large learning rate and down to a tiny one, within one training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinynn.optim.checks import check_count, check_number
from tinynn.optim.lr_scheduler.base import LRScheduler, check_optimizer
from tinynn.optim.optimizer import Optimizer

PerGroup = float | Sequence[float]


class OneCycleLR(LRScheduler):
    """Raise the learning rate from first = max_lr/div_factor to max_lr; lower it to first/final_div_factor.

    The momentum (or Adam's beta1) goes the other way. Step it after every *batch*. Smith & Topin,
    arXiv:1708.07120; with ``three_phase`` the rate comes down to where it began before it vanishes, as in the
    paper.

    Parameters
    ----------
    optimizer : whose learning rates are set
    max_lr : the highest learning rate, or a list of them, one for each parameter group
    total_steps : the number of batches in the run; or give
    epochs, steps_per_epoch : whose product it is
    pct_start : the part of the run in which the rate rises, in [0, 1]
    anneal_strategy : ``"cos"`` or ``"linear"``
    cycle_momentum : let the momentum fall and rise between the next two
    base_momentum, max_momentum : the lowest and highest momentum, or a list for each parameter group
    div_factor, final_div_factor : what the first rate is below the highest, and the last below the first
    three_phase : rise, fall to the first rate, vanish
    last_epoch : the number of steps taken in a run that is taken up again

    Raises
    ------
    ValueError
        If the number of steps is not given, an argument is out of its range, or the optimizer has no momentum
        to cycle; by `step` after the last one.

    Examples
    --------
    >>> import tinynn
    >>> optimizer = tinynn.optim.Adam([tinynn.zeros(1).requires_grad_()])
    >>> scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=6, anneal_strategy="linear", pct_start=0.5)
    >>> for _ in range(5):
    ...     print(f"{scheduler.get_last_lr()[0]:.3f}")
    ...     scheduler.step()
    0.040
    0.520
    1.000
    0.667
    0.333
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: PerGroup,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.85,
        max_momentum: PerGroup = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR: give total_steps, or both epochs and steps_per_epoch")
        if total_steps is None:
            check_count("OneCycleLR", "epochs", epochs, least=1)
            check_count("OneCycleLR", "steps_per_epoch", steps_per_epoch, least=1)
            total_steps = epochs * steps_per_epoch  # type: ignore[operator]
        check_count("OneCycleLR", "total_steps", total_steps, least=1)
        check_number("OneCycleLR", "pct_start", pct_start, least=0.0, most=1.0)
        for name, factor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            check_number("OneCycleLR", name, factor, least=1e-300)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        groups = optimizer.param_groups
        if cycle_momentum and not all("momentum" in group or "betas" in group for group in groups):
            raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum; give cycle_momentum=False")
        highest = _per_group("max_lr", max_lr, len(groups), math.inf)
        most, least = (
            _per_group(name, value, len(groups), 1.0) if cycle_momentum else []
            for name, value in (("max_momentum", max_momentum), ("base_momentum", base_momentum))
        )

        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        # The ends of the phases, as step numbers, and the values at their ends: (rates, momenta) for each
        # group.
        first = [lr / div_factor for lr in highest]
        last = [lr / final_div_factor for lr in first]
        peak, end = float(pct_start * total_steps) - 1.0, float(total_steps - 1)
        self.ends = [0.0, peak, 2.0 * peak, end] if three_phase else [0.0, peak, end]
        self.lrs = [first, highest, first, last] if three_phase else [first, highest, last]
        self.momenta = [most, least, most, most] if three_phase else [most, least, most]
        if last_epoch == -1:
            for group, lr in zip(groups, first, strict=True):
                group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch >= self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.last_epoch + 1} of a cycle of {self.total_steps}; make total_steps "
                "(or epochs times steps_per_epoch) as large as the number of calls to step()"
            )
        return self._between(self.lrs)

    def step(self) -> None:
        """Go on by one batch, and set learning rates and momenta."""
        super().step()
        if not self.cycle_momentum:
            return
        for group, momentum in zip(self.optimizer.param_groups, self._between(self.momenta), strict=True):
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def _between(self, values: list[list[float]]) -> list[float]:
        """The values of the groups at ``last_epoch``, by the phase that it falls into."""
        phase = 1
        while phase < len(self.ends) - 1 and self.last_epoch > self.ends[phase]:
            phase += 1
        start, end = self.ends[phase - 1], self.ends[phase]
        part = (self.last_epoch - start) / (end - start) if end != start else 1.0
        part = (1.0 - math.cos(math.pi * part)) / 2.0 if self.anneal_strategy == "cos" else part
        return [a + (b - a) * part for a, b in zip(values[phase - 1], values[phase], strict=True)]


def _per_group(name: str, value: PerGroup, groups: int, below: float) -> list[float]:
    """One number for each group."""
    numbers: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(numbers) != groups:
        raise ValueError(f"OneCycleLR: {name} has {len(numbers)} entries, the optimizer has {groups} parameter groups")
    for number in numbers:
        check_number("OneCycleLR", name, number, least=0.0, below=below)
    return [float(number) for number in numbers]
