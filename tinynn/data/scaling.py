"""Scaling of features and targets, saved together with the model that needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.nn.module import Module
from tinynn.tensor import Tensor


class StandardScaler(Module):
    """Shift and scale every feature to mean 0 and standard deviation 1.

    .. math::

        y = (x - \\mu) / \\sigma, \\qquad \\mu = \\frac1n \\sum_i x_i, \\qquad
        \\sigma^2 = \\frac1n \\sum_i (x_i - \\mu)^2

    The statistics are taken over the first axis. A feature that is constant gets :math:`\\sigma = 1`, so that
    it becomes 0.

    The scaler is a Module without parameters: put it in a model (``nn.Sequential(scaler, nn.Linear(4, 1))``)
    and its buffers are in the model's ``state_dict`` under ``mean`` and ``scale``. Its output is
    differentiable: forces through scaled features need no extra care.

    Parameters
    ----------
    num_features : int or tuple of int, optional
        Shape of one sample: of the data without the first axis. With it the scaler is the identity until it is
        fitted; without it, an unfitted scaler refuses data. Saved statistics can be loaded into either.

    Attributes
    ----------
    mean, scale : Tensor or None
        Shape of one sample.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    >>> scaler = StandardScaler().fit(x)
    >>> scaler.mean.tolist(), scaler.scale.tolist()
    ([2.0, 5.0], [1.632993161855452, 1.0])
    >>> scaler.transform(x)[:, 0]
    array([-1.22474487,  0.        ,  1.22474487])
    >>> np.allclose(scaler.inverse_transform(scaler.transform(x)), x)
    True
    """

    learns_buffers = ("mean", "scale")
    mean: Tensor | None
    scale: Tensor | None

    def __init__(self, num_features: int | tuple[int, ...] | None = None) -> None:
        super().__init__()
        if num_features is None:
            self.register_buffer("mean", None)
            self.register_buffer("scale", None)
        else:
            self.register_buffer("mean", Tensor(np.zeros(num_features)))
            self.register_buffer("scale", Tensor(np.ones(num_features)))

    def fit(self, x: Any, sample_weight: Any = None, *, common: bool = False) -> StandardScaler:
        """Compute mean and scale from data, which should be the training part only.

        Parameters
        ----------
        x : array_like or Tensor, shape (n, ...)
            Floating-point data keep their dtype; integers count as float64.
        sample_weight : array_like, shape (n,), optional
            A sample of weight 2 counts as two.
        common : bool
            One deviation for all features, that of all values from their features' means. For curves and images:
            each pixel's own deviation would blow up pixels with nothing but noise.

        Returns
        -------
        The scaler itself.

        Raises
        ------
        ValueError
            No samples, NaN or infinite values, or weights that do not fit; nothing is changed then.
        TypeError
            Data that are not real numbers.
        """
        data = _to_numpy(x)
        if data.dtype.kind not in "biuf":
            raise TypeError(f"StandardScaler.fit: x must hold real numbers, got dtype {data.dtype}")
        if data.ndim == 0 or data.shape[0] == 0:
            raise ValueError(f"StandardScaler.fit: x needs at least one sample, shape (n, ...), got shape {data.shape}")
        dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
        # Sums of many float32 values lose digits, so the statistics are taken in float64.
        wide = data.astype(np.float64)
        bad = ~np.isfinite(wide)
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"StandardScaler.fit: x has {bad.sum()} values that are NaN or infinite, the first at index "
                f"{first}; remove these samples (numpy.isfinite) before fitting"
            )
        if sample_weight is not None:
            weight = np.asarray(sample_weight, np.float64)
            if weight.shape != data.shape[:1] or not (np.isfinite(weight).all() and weight.min() >= 0 < weight.sum()):
                raise ValueError(
                    f"StandardScaler.fit: sample_weight must hold {len(data)} numbers, one for each sample, none of "
                    f"them negative and not all 0; its shape is {weight.shape}"
                )
            wide, sample_weight = wide[weight > 0], weight[weight > 0]
        # The mean of the differences to one sample: so the mean of a constant is exactly that constant.
        mean = wide[0] + np.average(wide - wide[0], axis=0, weights=sample_weight)
        spread = np.ptp(wide, axis=0)
        constant = spread <= 16 * np.finfo(dtype).eps * np.abs(wide).max(axis=0)
        # In units of the spread, squares neither overflow nor vanish.
        unit = np.where(constant, 1.0, spread)
        scale = np.where(
            constant, 1.0, unit * np.sqrt(np.average(((wide - mean) / unit) ** 2, axis=0, weights=sample_weight))
        )
        if common:
            over_all = np.sqrt(np.mean(np.where(constant, 0.0, scale) ** 2))
            scale = np.broadcast_to(over_all if over_all > 0.0 else 1.0, scale.shape)
        self.mean = Tensor(np.asarray(mean, dtype))
        self.scale = Tensor(np.asarray(scale, dtype))
        return self

    def transform(self, x: Any) -> Any:
        """Return ``(x - mean) / scale``: a Tensor of a Tensor (differentiable), an array of an array.

        Raises
        ------
        RuntimeError
            The scaler was not fitted.
        ValueError
            The features of `x` are not those of the fit.
        """
        mean, scale = self._statistics(x, "transform")
        return (x - mean) / scale if isinstance(x, Tensor) else (np.asarray(x) - mean.numpy()) / scale.numpy()

    def inverse_transform(self, x: Any) -> Any:
        """Return ``x * scale + mean``, the inverse of :meth:`transform`, with the same errors."""
        mean, scale = self._statistics(x, "inverse_transform")
        return x * scale + mean if isinstance(x, Tensor) else np.asarray(x) * scale.numpy() + mean.numpy()

    def fit_transform(self, x: Any) -> Any:
        """Return ``fit(x).transform(x)``."""
        return self.fit(x).transform(x)

    def forward(self, x: Any) -> Any:
        """Scale: ``scaler(x)`` is ``scaler.transform(x)``."""
        return self.transform(x)

    def extra_repr(self) -> str:
        return "not fitted" if self.mean is None else f"features={tuple(self.mean.shape)}"

    def _statistics(self, x: Any, method: str) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.scale is None:
            raise RuntimeError(f"StandardScaler.{method}: there are no statistics yet; call fit(x_train) first")
        features, shape = tuple(self.mean.shape), tuple(np.shape(x) if not isinstance(x, Tensor) else x.shape)
        if shape[max(0, len(shape) - len(features)) :] != features:
            raise ValueError(
                f"StandardScaler.{method}: it was fitted on samples of shape {features}, but x has shape "
                f"{shape}; x must have shape (n, {', '.join(map(str, features))})"
            )
        return self.mean, self.scale


def _to_numpy(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)
