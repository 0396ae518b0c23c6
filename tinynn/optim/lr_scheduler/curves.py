"""Schedules that are a function of the epoch: initial rate in, present rate out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tinynn.optim.checks import check_count, check_number
from tinynn.optim.lr_scheduler.base import LRScheduler, check_optimizer
from tinynn.optim.optimizer import Optimizer


class LambdaLR(LRScheduler):
    """The initial learning rate times a function of the epoch.

    Parameters
    ----------
    optimizer : whose learning rates are set
    lr_lambda : function of the epoch, or a list of them, one for each parameter group
    last_epoch : as in `LRScheduler`

    Examples
    --------
    >>> import tinynn
    >>> optimizer = tinynn.optim.SGD([tinynn.zeros(1).requires_grad_()], lr=1.0)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("LambdaLR", optimizer)
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups or not all(map(callable, self.lr_lambdas)):
            raise ValueError(
                f"LambdaLR: lr_lambda must be a function, or a list of one for each of the {groups} groups"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial learning rate down to ``eta_min`` in ``T_max`` epochs, then up again::

        lr = eta_min + (initial - eta_min) (1 + cos(pi epoch / T_max)) / 2

    Loshchilov & Hutter, arXiv:1608.03983, eq. 5, without the restarts.

    Examples
    --------
    >>> import tinynn
    >>> optimizer = tinynn.optim.SGD([tinynn.zeros(1).requires_grad_()], lr=1.0)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2)
    >>> for epoch in range(3):
    ...     print(f"{scheduler.get_last_lr()[0]:.2f}")
    ...     scheduler.step()
    1.00
    0.50
    0.00
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        check_count("CosineAnnealingLR", "T_max", T_max, least=1)
        check_number("CosineAnnealingLR", "eta_min", eta_min, least=0.0)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        part = (1.0 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2.0
        return [self.eta_min + (base - self.eta_min) * part for base in self.base_lrs]


class LinearLR(LRScheduler):
    """From ``start_factor`` to ``end_factor`` times the initial learning rate, in equal steps: a warm-up.

    Examples
    --------
    >>> import tinynn
    >>> optimizer = tinynn.optim.SGD([tinynn.zeros(1).requires_grad_()], lr=1.0)
    >>> scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> for epoch in range(4):
    ...     print(scheduler.get_last_lr())
    ...     scheduler.step()
    [0.5]
    [0.75]
    [1.0]
    [1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3.0,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        check_number("LinearLR", "start_factor", start_factor, least=0.0, most=1.0)
        check_number("LinearLR", "end_factor", end_factor, least=0.0, most=1.0)
        check_count("LinearLR", "total_iters", total_iters, least=1)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        part = min(self.last_epoch, self.total_iters) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * part
        return [base * factor for base in self.base_lrs]
