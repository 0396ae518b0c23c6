"""DistributedSampler: which samples of a data set are this rank's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn.data.sampler import permutation, positive_integer, resolve_seed
from tinynn.distributed import group


class DistributedSampler:
    """Every rank's part of a data set: the same number for all, so that all make the same number of steps.

    Of the order of an epoch, which is the same everywhere, rank r of R takes every R-th sample, from the r-th on.
    So the k-th batches of all ranks together are the k-th batch of a single process with R times the batch size.

    Parameters
    ----------
    dataset : anything with a length
    num_replicas, rank : int, optional
        R and r; by default those of this run.
    shuffle : bool
        Another order in every epoch, or the order of the data set.
    seed : int
        Of the orders; the same on all ranks.
    drop_last : bool
        Where the length is no multiple of R, leave out the rest; otherwise, the first samples of the order are used
        again to fill up.

    Attributes
    ----------
    epoch : int
        Of the order that comes next; each iteration adds one. `set_epoch` sets it, as in PyTorch (where, without that
        call, all epochs have one order).

    Raises
    ------
    ValueError
        For a rank that is not below `num_replicas`, or a data set with no sample for some rank.

    Examples
    --------
    >>> parts = [list(DistributedSampler(range(10), num_replicas=2, rank=r, seed=1)) for r in (0, 1)]
    >>> sorted(parts[0] + parts[1])
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))  # 0 is used twice
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.dataset = dataset
        size = group.get_world_size() if num_replicas is None else num_replicas
        self.num_replicas = positive_integer("DistributedSampler: num_replicas", size)
        self.rank = group.get_rank() if rank is None else int(rank)
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"DistributedSampler: rank={self.rank}, but with num_replicas={self.num_replicas} ranks are "
                f"0 ... {self.num_replicas - 1}"
            )
        self.shuffle = bool(shuffle)
        self.seed = resolve_seed(seed)
        self.drop_last = bool(drop_last)
        self.epoch = 0
        n = len(dataset)
        self.num_samples = n // self.num_replicas if self.drop_last else -(-n // self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas
        if self.num_samples == 0:
            raise ValueError(f"DistributedSampler: {n} samples are not enough for {self.num_replicas} ranks")

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = int(epoch)

    def order(self) -> np.ndarray:
        """Return this rank's indices of this epoch as an array, and go on to the next epoch."""
        n = len(self.dataset)
        everything = permutation(n, self.seed, self.epoch) if self.shuffle else np.arange(n)
        self.epoch += 1
        return np.resize(everything, self.total_size)[self.rank :: self.num_replicas]

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())
