"""Optimizers in plain NumPy, in place, for frameworks that leave the update to their user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cases import Case

Array = np.ndarray[Any, Any]


def rule(case: Case, parameters: Sequence[Array]) -> Callable[[Sequence[Array]], None]:
    """A function that takes the gradients and changes the parameters: Adam, or descent with momentum 0.9."""
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    count = 0

    def adam(gradients: Sequence[Array]) -> None:
        nonlocal count
        count += 1
        rate, gain = case.learning_rate / (1 - 0.9**count), 1 - 0.999**count
        for p, g, m, v in zip(parameters, gradients, first, second):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            p -= rate * m / (np.sqrt(v / gain) + 1e-8)

    def momentum(gradients: Sequence[Array]) -> None:
        for p, g, m in zip(parameters, gradients, first):
            m *= 0.9
            m += g
            p -= case.learning_rate * m

    return adam if case.optimizer == "adam" else momentum
