"""What a potential says of configurations, and the warning where it has nothing to go by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ExtrapolationWarning(UserWarning):
    """Features lie outside of their range in training: nothing holds the error down there."""


class Prediction(NamedTuple):
    """Energies and forces of n configurations.

    Attributes
    ----------
    energy : (n,), in eV
    forces : (n, atoms, 3), in eV/Å; None where they were not asked for
    outside : (n,) int
        How many features lie outside of their range in training, of all atoms together.
    """

    energy: Array
    forces: Any
    outside: NDArray[np.int64]


def extrapolation_message(outside: NDArray[np.int64], features: int) -> str:
    """Say how many configurations extrapolate, and which is the worst.

    Examples
    --------
    >>> print(extrapolation_message(np.array([0, 7, 2]), 84))
    2 of 3 configurations lie outside of the range of training, number 1 with 7 of its 84 features: energies and forces there are extrapolated
    """  # noqa: E501
    worst = int(outside.argmax())
    if len(outside) == 1:
        text = f"the configuration lies outside of the range of training, with {outside[0]}"
    else:
        many = f"{np.count_nonzero(outside)} of {len(outside)} configurations"
        text = f"{many} lie outside of the range of training, number {worst} with {outside[worst]}"
    return f"{text} of its {features} features: energies and forces there are extrapolated"
