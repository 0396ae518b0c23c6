"""Scaling of features, and their range in training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.data.scaling import StandardScaler
from tinynn.tensor import Tensor

NEGLIGIBLE = 1e-6  # of the largest standard deviation


class FeatureRange(StandardScaler):
    """A `StandardScaler` that also keeps the smallest and the largest value of every feature.

    A feature that varies less than others by a factor of a million is left as small as it is: scaled up, it would tell
    of rounding errors in training, and dominate everything outside of its range.

    Parameters
    ----------
    features : int

    Attributes
    ----------
    mean, scale, lowest, highest : Tensors (features,)
        Before `fit` nothing is scaled, and everything is within the range.

    Examples
    --------
    >>> import numpy as np
    >>> seen = FeatureRange(2).fit(np.array([[0.0, 1.0], [2.0, 5.0]]))
    >>> seen.outside(np.array([[[1.0, 2.0]], [[2.5, 9.0]]]), tolerance=0.1)
    array([0, 2])
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("lowest", Tensor(np.full(features, -np.inf)))
        self.register_buffer("highest", Tensor(np.full(features, np.inf)))

    def fit(self, x: Any, sample_weight: Any = None, *, common: bool = False) -> FeatureRange:
        """Take mean, standard deviation and range from data (n, features), as `StandardScaler.fit`."""
        super().fit(x, sample_weight, common=common)
        assert self.scale is not None
        scale = self.scale.numpy()
        varied = np.ptp(x, axis=0) > 0.0
        largest = scale[varied].max(initial=0.0)
        self.scale = Tensor(np.where(scale < NEGLIGIBLE * largest, 1.0, scale))
        self.lowest, self.highest = Tensor(np.min(x, axis=0)), Tensor(np.max(x, axis=0))
        return self

    def outside(self, values: NDArray[Any], tolerance: float) -> NDArray[np.int64]:
        """Count the features (n, centers, features) beyond the range, by more than ``tolerance`` standard deviations.

        Returns
        -------
        (n,) int
        """
        assert self.scale is not None
        room = tolerance * self.scale.numpy()
        beyond = (values < self.lowest.numpy() - room) | (values > self.highest.numpy() + room)
        return beyond.sum(axis=(1, 2))
