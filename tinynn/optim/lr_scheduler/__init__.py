"""Schedules of the learning rate: stepped once per epoch (or batch), they write to ``group["lr"]``.

::

    scheduler = StepLR(optimizer, step_size=30)
    for epoch in range(100):
        train(...)                      # with optimizer.step()
        scheduler.step()
"""

from tinynn.optim.lr_scheduler.base import LRScheduler
from tinynn.optim.lr_scheduler.curves import CosineAnnealingLR, LambdaLR, LinearLR
from tinynn.optim.lr_scheduler.one_cycle import OneCycleLR
from tinynn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tinynn.optim.lr_scheduler.sequential import SequentialLR
from tinynn.optim.lr_scheduler.steps import ExponentialLR, MultiStepLR, StepLR

__all__ = [
    "LRScheduler", "StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR", "OneCycleLR",
    "ReduceLROnPlateau", "LambdaLR", "SequentialLR",
]  # fmt: skip
