"""Mean and deviation, with sample weights; and one thread for the time of a fit."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Scaling:
    """(x - mean) / scale, feature by feature.

    Examples
    --------
    >>> import numpy as np
    >>> scaling = Scaling.of(np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]]))
    >>> scaling.mean, scaling.scale
    (array([2., 5.]), array([1.63299316, 1.        ]))
    """

    mean: Array
    scale: Array

    @staticmethod
    def of(x: Array, weights: Array | None = None, common: bool = False) -> Scaling:
        """The statistics of data.

        Parameters
        ----------
        x : (n, ...)
        weights : (n,); a sample of weight 2 counts as two
        common : one deviation for all features, that of all values from their features' means. For curves and
            images: each pixel's own deviation would blow up pixels with nothing but noise
        """
        wide = x.astype(np.float64)
        mean = np.average(wide, axis=0, weights=weights)
        variance = np.average((wide - mean) ** 2, axis=0, weights=weights)
        if common:
            variance = np.broadcast_to(variance.mean(), mean.shape)
        # a constant's mean is off by rounding, and its deviation is that rounding error
        least = (16 * np.finfo(x.dtype).eps * np.abs(wide).max(axis=0)) ** 2
        scale = np.sqrt(np.where(variance <= least, 1.0, variance))
        return Scaling(mean.astype(x.dtype), scale.astype(x.dtype))

    @staticmethod
    def none(x: Array) -> Scaling:
        """The identity."""
        return Scaling(np.zeros(x.shape[1:], x.dtype), np.ones(x.shape[1:], x.dtype))

    def apply(self, x: Array) -> Array:
        """Scaled values."""
        return (x - self.mean) / self.scale

    def undo(self, x: Array) -> Array:
        """Values in their own units."""
        return x * self.scale + self.mean


@functools.cache
def _blas() -> Any:
    return importlib.import_module("threadpoolctl").ThreadpoolController()


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """At most so many threads for BLAS and (where it is loaded) Numba inside the block; None leaves them alone."""
    if count is None:
        yield
        return
    numba = sys.modules.get("numba")
    before = numba.get_num_threads() if numba else 0
    if numba:
        numba.set_num_threads(min(count, before))
    try:
        with _blas().limit(limits=count):
            yield
    finally:
        if numba:
            numba.set_num_threads(before)
