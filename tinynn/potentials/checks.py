"""Data that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def require_finite(name: str, values: NDArray[Any], numbers: Any = None) -> None:
    """Refuse values (n, ...) of n configurations with NaN or infinity among them.

    Parameters
    ----------
    numbers : (n,), optional
        The configurations' numbers for the message.

    Raises
    ------
    ValueError
        Naming the first configuration.

    Examples
    --------
    >>> require_finite("energy", np.array([0.5, np.nan]))
    Traceback (most recent call last):
    ValueError: energy must be finite; NaN or infinity in 1 of 2 configurations, the first is number 1
    """
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{name} must be finite; NaN or infinity in {bad.sum()} of {len(values)} configurations, the first is "
            f"number {first if numbers is None else numbers[first]}"
        )
