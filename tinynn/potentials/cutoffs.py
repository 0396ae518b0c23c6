"""Cutoff functions: 1 at distance 0, and 0 with zero slope from the cutoff on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cosine:
    """f(r) = (cos(pi r / rc) + 1) / 2 for r < rc, else 0.

    Behler, J. Chem. Phys. 134, 074106 (2011), eq. (4). The second derivative jumps at the cutoff.

    Examples
    --------
    >>> value, slope = Cosine()([0.0, 3.0, 6.0], 6.0)
    >>> value
    array([1. , 0.5, 0. ])
    """

    def __call__(self, r: ArrayLike, cutoff: float) -> tuple[Array, Array]:
        """Return f(r) and df/dr."""
        x, inside = _reduced(r, cutoff)
        value = 0.5 * (np.cos(np.pi * x) + 1.0)
        slope = -0.5 * np.pi / cutoff * np.sin(np.pi * x)
        return np.where(inside, value, 0.0), np.where(inside, slope, 0.0)

    def code(self) -> tuple[int, float]:
        """Say which function the compiled kernel takes, and its parameter."""
        return 0, 0.0


@dataclass(frozen=True)
class Polynomial:
    """f(r) = 1 + γ (r/rc)^(γ+1) - (γ+1) (r/rc)^γ for r < rc, else 0.

    Khorshidi & Peterson, Comput. Phys. Commun. 207, 310 (2016). A larger γ keeps more weight near the cutoff.

    Parameters
    ----------
    gamma : at least 2

    Examples
    --------
    >>> value, slope = Polynomial(gamma=2.0)([0.0, 3.0, 6.0], 6.0)
    >>> value
    array([1. , 0.5, 0. ])
    """

    gamma: float = 4.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gamma) and self.gamma >= 2.0):
            raise ValueError(f"Polynomial: gamma must be at least 2, got {self.gamma}")

    def __call__(self, r: ArrayLike, cutoff: float) -> tuple[Array, Array]:
        """Return f(r) and df/dr."""
        x, inside = _reduced(r, cutoff)
        gamma = self.gamma
        value = 1.0 + gamma * x ** (gamma + 1.0) - (gamma + 1.0) * x**gamma
        slope = gamma * (gamma + 1.0) * (x**gamma - x ** (gamma - 1.0)) / cutoff
        return np.where(inside, value, 0.0), np.where(inside, slope, 0.0)

    def code(self) -> tuple[int, float]:
        """Say which function the compiled kernel takes, and its parameter."""
        return 1, self.gamma


def _reduced(r: ArrayLike, cutoff: float) -> tuple[Array, NDArray[Any]]:
    r = np.asarray(r, np.float64)
    return r / cutoff, r < cutoff
