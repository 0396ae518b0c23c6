"""DataLoader: a data set in batches, in order or shuffled."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from tinynn.data.collate import default_collate
from tinynn.data.dataset import Dataset, TensorDataset, rows
from tinynn.data.sampler import RandomSampler, SequentialSampler, positive_integer
from tinynn.tensor import Tensor


class DataLoader:
    """Yield a data set in batches, once per iteration over the loader.

    Parameters
    ----------
    dataset : Dataset, array or Tensor
        Anything with ``__len__`` and ``__getitem__``. Arrays, Tensors and :class:`TensorDataset` (also below
        :class:`Subset`) are sliced as arrays, with one index operation per batch; others are fetched item by
        item.
    batch_size : int
        Samples per batch. The last batch is smaller if the length is no multiple of it.
    shuffle : bool
        A new random order in every epoch.
    drop_last : bool
        Leave out a last batch that would be smaller.
    sampler : iterable of int, optional
        Gives the order instead of `shuffle`.
    collate_fn : callable, optional
        Makes a batch of a list of samples; data are then fetched item by item. Default:
        :func:`default_collate`.
    seed : int, optional
        Fixes the orders of all epochs; by default it follows from ``tinynn.manual_seed``, at construction.

    Yields
    ------
    list of Tensor
        One entry per array of the data set, of shape ``(batch, ...)``. A data set that is one array yields
        Tensors; other data sets what `collate_fn` returns.

    Attributes
    ----------
    epoch : int
        Number of the epoch that comes next. Set it to continue an interrupted run with the same orders.

    Raises
    ------
    ValueError
        Empty data, a batch size below 1, `shuffle` together with `sampler`, or `drop_last` leaving no batch
        at all.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.data import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(20.0).reshape(10, 2), np.arange(10)), batch_size=4)
    >>> len(loader)
    3
    >>> [tuple(x.shape) for x, y in loader]
    [(4, 2), (4, 2), (2, 2)]
    >>> loader = DataLoader(np.arange(6), batch_size=3, shuffle=True, seed=0)
    >>> sorted(i for batch in loader for i in batch.tolist())
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Iterable[int] | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int | None = None,
    ) -> None:
        self.dataset = _checked_dataset(dataset)
        self.batch_size = positive_integer("DataLoader: batch_size", batch_size)
        self.drop_last = bool(drop_last)
        self.collate_fn = collate_fn
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: a sampler sets the order itself; leave out shuffle=True")
        self.sampler: Any = sampler
        if sampler is None:
            self.sampler = RandomSampler(self.dataset, seed=seed) if shuffle else SequentialSampler(self.dataset)
        if self.drop_last and hasattr(self.sampler, "__len__") and len(self) == 0:
            raise ValueError(
                f"DataLoader: drop_last=True with batch_size={self.batch_size} leaves no batch of "
                f"{len(self.sampler)} samples; take a smaller batch_size or drop_last=False"
            )

    @property
    def epoch(self) -> int:
        return getattr(self.sampler, "epoch", 0)

    @epoch.setter
    def epoch(self, value: int) -> None:
        if hasattr(self.sampler, "epoch"):
            self.sampler.epoch = operator.index(value)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        fetch = self._fetch_batch if self.collate_fn is None and hasattr(self.dataset, "batch") else self._fetch_items
        return map(fetch, self._batches_of_indices())

    def _batches_of_indices(self) -> Iterator[np.ndarray | slice]:
        size, sampler = self.batch_size, self.sampler
        if isinstance(sampler, SequentialSampler | RandomSampler):
            n = len(sampler)
            order = sampler.order() if isinstance(sampler, RandomSampler) else None
            stop = n - n % size if self.drop_last else n
            for start in range(0, stop, size):
                # Rows in order are a slice: a view, no copy.
                part = slice(start, min(start + size, n))
                yield part if order is None else order[part]
            return
        indices = iter(sampler)
        while chunk := list(islice(indices, size)):
            if len(chunk) < size and self.drop_last:
                return
            yield np.array([operator.index(i) for i in chunk], np.int64)

    def _fetch_batch(self, indices: np.ndarray | slice) -> Any:
        return self.dataset.batch(indices)

    def _fetch_items(self, indices: np.ndarray | slice) -> Any:
        positions = range(indices.start, indices.stop) if isinstance(indices, slice) else indices.tolist()
        samples = [self.dataset[i] for i in positions]
        return default_collate(samples) if self.collate_fn is None else self.collate_fn(samples)

    def __repr__(self) -> str:
        order = type(self.sampler).__name__
        return f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, {order}, drop_last={self.drop_last})"


class _RowsOfArray(Dataset):
    """A single array as a data set: batches are Tensors, not lists of them."""

    def __init__(self, data: np.ndarray | Tensor) -> None:
        (self.tensor,) = TensorDataset(data).tensors

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        return self.tensor[index]

    def batch(self, indices: np.ndarray | slice) -> Tensor:
        return rows(self.tensor, indices)

    def __repr__(self) -> str:
        return f"{tuple(self.tensor.shape)} {self.tensor.dtype}"


def _checked_dataset(dataset: Any) -> Any:
    if isinstance(dataset, np.ndarray | Tensor):
        return _RowsOfArray(dataset)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"DataLoader: a data set needs __len__ and __getitem__, {type(dataset).__name__} lacks one; "
            "wrap arrays as TensorDataset(x, y)"
        )
    if isinstance(dataset, tuple) and any(isinstance(entry, np.ndarray | Tensor) for entry in dataset):
        raise TypeError("DataLoader: got a tuple of arrays; wrap them as TensorDataset(x, y)")
    if len(dataset) == 0:
        raise ValueError("DataLoader: the data set is empty (length 0)")
    return dataset
