"""Data sets: what has a length, and gives a sample for an index.

A data set that holds arrays also gives a whole batch at once (:meth:`TensorDataset.batch`): one fancy index
per array instead of one Python call per sample. :class:`~tinynn.data.DataLoader` uses that wherever it finds
it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinynn.data.collate import default_collate
from tinynn.tensor import Tensor


class Dataset(ABC):
    """Base class of data sets: a subclass defines ``__len__`` and ``__getitem__``.

    A data set of any other class serves as well, as long as it has the two methods; this one adds iteration
    and says at once when one of them is missing.

    Notes
    -----
    A data set may also define ``batch(indices)``, with an integer array or a slice, returning what
    ``DataLoader`` shall yield for these indices. Without it the loader fetches item by item and stacks.

    Examples
    --------
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> list(Squares())
    [(0, 0), (1, 1), (2, 4), (3, 9)]
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, index: Any) -> Any:
        """Return the sample at `index`, from 0 to ``len(self) - 1``."""

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self[index]


class TensorDataset(Dataset):
    """Arrays of equal length; sample i is the tuple of their i-th rows.

    Parameters
    ----------
    *tensors : Tensor or array_like
        At least one, all with the same ``shape[0]``. Arrays are wrapped, not copied.

    Attributes
    ----------
    tensors : tuple of Tensor

    Raises
    ------
    ValueError
        No array, an array without a first axis, lengths that differ, or length zero.

    Examples
    --------
    >>> import numpy as np
    >>> data = TensorDataset(np.arange(6.0).reshape(3, 2), np.array([0, 1, 1]))
    >>> len(data)
    3
    >>> x, y = data[1]
    >>> x.tolist(), y.item()
    ([2.0, 3.0], 1)
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset needs at least one array, as in TensorDataset(x, y)")
        self.tensors = tuple(as_tensor(value) for value in tensors)
        common_length("TensorDataset", self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def batch(self, indices: np.ndarray | slice) -> list[Tensor]:
        """Return the rows at `indices` of every array: shapes ``(len(indices), ...)``."""
        return [rows(tensor, indices) for tensor in self.tensors]

    def __repr__(self) -> str:
        inside = ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in self.tensors)
        return f"TensorDataset({inside})"


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order.

    Parameters
    ----------
    dataset : Dataset
    indices : sequence of int
        Positions in `dataset`; negative ones count from its end. May repeat.

    Raises
    ------
    TypeError
        `indices` are not integers.
    IndexError
        An index outside `dataset`.

    Examples
    --------
    >>> import numpy as np
    >>> data = TensorDataset(np.arange(10.0))
    >>> [x.item() for (x,) in Subset(data, [7, 1, -1])]
    [7.0, 1.0, 9.0]
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = checked_indices("Subset", indices, len(dataset))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return self.dataset[int(chosen) if np.ndim(chosen) == 0 else chosen]

    def batch(self, indices: np.ndarray | slice) -> Any:
        """Return the batch of samples at `indices`; in one step if the data set below can do so."""
        chosen = self.indices[indices]
        if hasattr(self.dataset, "batch"):
            return self.dataset.batch(chosen)
        return default_collate([self.dataset[i] for i in chosen.tolist()])

    def __repr__(self) -> str:
        return f"Subset({self.dataset!r}, {len(self)} of {len(self.dataset)} samples)"


def as_tensor(value: Any) -> Tensor:
    """Wrap `value` as a Tensor; arrays are not copied."""
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"a data set holds numbers, but got an array of dtype {array.dtype} and shape {array.shape}; "
            "encode text and objects as numbers first (labels: numpy.unique(labels, return_inverse=True))"
        )
    return Tensor(array)


def common_length(who: str, arrays: Sequence[Any]) -> int:
    """Return the length that all `arrays` share, or raise ValueError in the name of `who`."""
    shapes = [np.shape(a) if not isinstance(a, Tensor) else tuple(a.shape) for a in arrays]
    for position, shape in enumerate(shapes):
        if len(shape) == 0:
            raise ValueError(
                f"{who}: argument {position} is a single number; samples need a first axis, shape (n, ...)"
            )
    lengths = [shape[0] for shape in shapes]
    if len(set(lengths)) > 1:
        listed = ", ".join(str(shape) for shape in shapes)
        raise ValueError(
            f"{who}: all arrays need the same number of samples (first axis), but the shapes are {listed}; "
            "is one of them transposed?"
        )
    if lengths[0] == 0:
        raise ValueError(f"{who}: there are no samples, the first axis has length 0 in shape {shapes[0]}")
    return lengths[0]


def rows(tensor: Tensor, indices: np.ndarray | slice) -> Tensor:
    """Return ``tensor[indices]``, outside the graph if nothing in it is to be differentiated."""
    if tensor.requires_grad or not isinstance(tensor.array, np.ndarray):
        return tensor[indices]
    if isinstance(indices, slice):
        return Tensor(tensor.array[indices])
    return Tensor(tensor.array.take(indices, axis=0))


def checked_indices(who: str, indices: Any, length: int) -> np.ndarray:
    """Return `indices` as an int64 array of positions 0 ... length - 1."""
    array = np.asarray(indices.array if isinstance(indices, Tensor) else indices)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        hint = "; turn a mask into indices with numpy.flatnonzero(mask)" if array.dtype.kind == "b" else ""
        raise TypeError(
            f"{who}: indices must be a one-dimensional sequence of integers, got shape {array.shape} and "
            f"dtype {array.dtype}{hint}"
        )
    outside = (array < -length) | (array >= length)
    if outside.any():
        raise IndexError(
            f"{who}: index {array[outside][0]} is outside a data set of {length} samples ({outside.sum()} such indices)"
        )
    return np.where(array < 0, array + length, array).astype(np.int64)
