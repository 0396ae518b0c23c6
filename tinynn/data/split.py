"""Dividing data: training, validation and test; folds for cross-validation.

Every function shuffles with its own counter-based generator, made from `seed`: the same seed gives the same
division on every machine and leaves all other random numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinynn.data.dataset import Subset, common_length
from tinynn.data.sampler import permutation, resolve_seed
from tinynn.random import Generator
from tinynn.tensor import Tensor


def random_split(
    dataset: Any,
    lengths: Sequence[int | float],
    generator: Generator | None = None,
    *,
    seed: int | None = None,
) -> list[Subset]:
    """Divide `dataset` at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int or of float
        Numbers of samples that add up to ``len(dataset)``, or fractions that add up to 1. With fractions
        every part gets the whole number below, and what remains goes one by one to the first parts, as in
        PyTorch.
    generator : Generator, optional
        Where the seed comes from if `seed` is not given; by default the generator that ``tinynn.manual_seed``
        sets.
    seed : int, optional
        Fixes the division.

    Returns
    -------
    list of Subset

    Raises
    ------
    ValueError
        Lengths that do not add up, negative ones, or a fraction that leaves its part empty.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.data import TensorDataset
    >>> train, test = random_split(TensorDataset(np.arange(10.0)), [0.8, 0.2], seed=0)
    >>> len(train), len(test)
    (8, 2)
    """
    n = len(dataset)
    if n == 0:
        raise ValueError("random_split: the data set is empty")
    counts = _counts("random_split: lengths", lengths, n)
    order = permutation(n, resolve_seed(seed, generator))
    ends = np.cumsum(counts)
    return [Subset(dataset, order[end - count : end]) for count, end in zip(counts, ends)]


def train_val_test_split(
    *arrays: Any, fractions: Sequence[float] = (0.6, 0.2, 0.2), seed: int | None = None
) -> tuple[Any, Any, Any]:
    """Divide arrays at random into training, validation and test parts, keeping rows together.

    Parameters
    ----------
    *arrays : array_like or Tensor
        One or more, with the same length. Give ``numpy.arange(n)`` as one of them to get the indices too.
    fractions : three floats
        Shares of training, validation and test; they add up to 1, and one may be 0.
    seed : int, optional
        Fixes the division; by default it follows from ``tinynn.manual_seed``.

    Returns
    -------
    train, val, test
        Each a tuple with one entry per array, or the entry itself if there is one array. Tensors give
        Tensors, all else NumPy arrays.

    Raises
    ------
    ValueError
        No arrays, lengths that differ, fractions that do not add up to 1, or too few samples for three parts.

    Notes
    -----
    Scale with statistics of the training part only (:class:`~tinynn.data.StandardScaler`), choose by the
    validation part, and look at the test part once, at the end.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    >>> (x_train, y_train), (x_val, y_val), (x_test, y_test) = train_val_test_split(x, y, seed=0)
    >>> x_train.shape, y_train.shape, x_test.shape
    ((6, 2), (6,), (2, 2))
    """
    if not arrays:
        raise ValueError("train_val_test_split needs at least one array, as in train_val_test_split(x, y)")
    fractions = tuple(fractions)
    if len(fractions) != 3:
        raise ValueError(
            f"train_val_test_split: fractions are three (training, validation, test), got {len(fractions)}: "
            f"{fractions}; for another number of parts use random_split"
        )
    arrays = tuple(a if isinstance(a, Tensor) else np.asarray(a) for a in arrays)
    n = common_length("train_val_test_split", arrays)
    counts = _counts("train_val_test_split: fractions", [float(f) for f in fractions], n)
    order = permutation(n, resolve_seed(seed))
    train, val, test = np.split(order, np.cumsum(counts)[:2])
    return _pick(arrays, train), _pick(arrays, val), _pick(arrays, test)


class KFold:
    """k-fold cross-validation: every sample is in the validation part exactly once.

    Parameters
    ----------
    n_splits : int
        Number of folds k, at least 2. The first ``n % k`` folds hold one sample more.
    shuffle : bool
        Draw the folds at random, else take them in order. Shuffle data that are sorted.
    seed : int, optional
        Fixes the folds; by default it is drawn once, when the object is made, so that every call of `split`
        agrees.

    Raises
    ------
    ValueError
        Fewer than two folds, or, in `split`, fewer samples than folds.

    Examples
    --------
    >>> for train, val in KFold(3).split([10.0, 20.0, 30.0, 40.0]):
    ...     print(train, val)
    [2 3] [0 1]
    [0 1 3] [2]
    [0 1 2] [3]
    """

    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, seed: int | None = None) -> None:
        if isinstance(n_splits, bool) or not isinstance(n_splits, int | np.integer) or n_splits < 2:
            raise ValueError(f"KFold: n_splits must be an integer of at least 2, got {n_splits!r}")
        self.n_splits = int(n_splits)
        self.shuffle = shuffle
        self.seed = resolve_seed(seed) if shuffle else seed

    def split(self, data: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for every fold, the training indices and the validation indices, both in increasing order.

        Parameters
        ----------
        data : anything with a length
            An array, a Tensor, a data set.
        """
        n = len(data)
        if n < self.n_splits:
            raise ValueError(f"KFold: {n} samples cannot be divided into n_splits={self.n_splits} folds")
        order = permutation(n, self.seed) if self.seed is not None and self.shuffle else np.arange(n)
        for fold in np.array_split(order, self.n_splits):
            held_out = np.zeros(n, bool)
            held_out[fold] = True
            yield np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def __repr__(self) -> str:
        return f"KFold(n_splits={self.n_splits}, shuffle={self.shuffle}, seed={self.seed})"


def _counts(what: str, lengths: Sequence[int | float], n: int) -> list[int]:
    """Turn lengths or fractions into whole numbers of samples that add up to `n`."""
    lengths = list(lengths)
    if not lengths:
        raise ValueError(f"{what} are empty")
    if any(not (math.isfinite(value) and value >= 0) for value in lengths):
        raise ValueError(f"{what} must not be negative or NaN, got {lengths}")
    total = math.fsum(lengths)
    if all(isinstance(value, int | np.integer) for value in lengths):
        if total != n:
            raise ValueError(f"{what} {lengths} add up to {total:.0f}, but there are {n} samples")
        return [int(value) for value in lengths]
    if not math.isclose(total, 1.0, abs_tol=1e-9):
        raise ValueError(f"{what} {lengths} add up to {total:g}, not to 1")
    # A product such as 0.29 * 100 lies a rounding error below 29; the small number keeps the 29.
    counts = [math.floor(value * n + 1e-9 * n) for value in lengths]
    wanted = [i for i, value in enumerate(lengths) if value > 0]
    for k in range(n - sum(counts)):
        counts[wanted[k % len(wanted)]] += 1
    for value, count in zip(lengths, counts):
        if value > 0 and count == 0:
            raise ValueError(f"{what} {lengths} of {n} samples leave a part empty (sizes {counts}); use more samples")
    return counts


def _pick(arrays: tuple[Any, ...], indices: np.ndarray) -> Any:
    parts = tuple(a[indices] for a in arrays)
    return parts[0] if len(parts) == 1 else parts
