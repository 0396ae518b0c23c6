"""In which order samples come: seeds, permutations, samplers.

Nothing here touches NumPy's global random state. An order follows from a seed and an epoch alone, so it is
the same on every machine and after every restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn.random import Generator, default_generator


class SequentialSampler:
    """The indices 0, 1, ..., n - 1 in this order.

    Examples
    --------
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))


class RandomSampler:
    """The indices in a random order, another one in every epoch.

    Parameters
    ----------
    data_source : anything with a length
    replacement : bool
        Draw every index independently (bootstrap), so that some come several times and others not at all.
    num_samples : int, optional
        How many to draw in an epoch; by default ``len(data_source)``. More than that needs `replacement`.
    seed : int, optional
        By default it follows from ``tinynn.manual_seed``.

    Attributes
    ----------
    epoch : int
        Number of the epoch that the next iteration draws; each iteration adds one. Seed and epoch together
        fix the order: to continue an interrupted run, set `epoch`.

    Examples
    --------
    >>> sampler = RandomSampler(range(100), seed=0)
    >>> first, second = list(sampler), list(sampler)
    >>> sorted(first) == sorted(second) == list(range(100)), first == second
    (True, False)
    >>> sampler.epoch = 0
    >>> list(sampler) == first
    True
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        seed: int | None = None,
    ) -> None:
        n = len(data_source)
        if n == 0:
            raise ValueError("RandomSampler: there are no samples to draw from")
        self.num_samples = n if num_samples is None else positive_integer("RandomSampler: num_samples", num_samples)
        if self.num_samples > n and not replacement:
            raise ValueError(
                f"RandomSampler: num_samples={self.num_samples} is more than the {n} samples there are; "
                "pass replacement=True to draw some of them several times"
            )
        self.data_source = data_source
        self.replacement = replacement
        self.seed = resolve_seed(seed)
        self.epoch = 0

    def order(self) -> np.ndarray:
        """Return the indices of this epoch as an array, and go on to the next epoch."""
        n, epoch = len(self.data_source), self.epoch
        self.epoch += 1
        if self.replacement:
            return epoch_generator(self.seed, epoch).integers(n, size=self.num_samples)
        return permutation(n, self.seed, epoch)[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())


def permutation(n: int, seed: int, epoch: int = 0) -> np.ndarray:
    """Return a random order of 0 ... n - 1 that depends on nothing but `n`, `seed` and `epoch`.

    Examples
    --------
    >>> permutation(5, seed=0).tolist() == permutation(5, seed=0).tolist()
    True
    """
    return epoch_generator(seed, epoch).permutation(n)


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """Return a NumPy generator for one epoch.

    Seed and epoch are the two words of a Philox key (Salmon, Moraes, Dror & Shaw, SC'11), so that no epoch of
    one seed repeats an epoch of another, as ``seed + epoch`` would.
    """
    key = np.array([seed, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def resolve_seed(seed: int | None, generator: Generator | None = None) -> int:
    """Return `seed`, or draw one from `generator` (default: the one that ``tinynn.manual_seed`` sets)."""
    if seed is None:
        return (default_generator if generator is None else generator).next_seed()
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an integer, got {type(seed).__name__}: {seed!r}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be in 0 ... 2**64 - 1, got {seed}")
    return int(seed)


def positive_integer(what: str, value: Any) -> int:
    """Return `value` as an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{what} must be an integer, got {type(value).__name__}: {value!r}")
    if value < 1:
        raise ValueError(f"{what} must be at least 1, got {value}")
    return int(value)
