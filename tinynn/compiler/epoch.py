"""All minibatches of an epoch through a compiled function."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np

from tinynn.backends.dispatch import namespace_of
from tinynn.compiler.arguments import sequence_like
from tinynn.compiler.program import mapped
from tinynn.data.dataset import as_tensor, common_length, rows
from tinynn.data.sampler import permutation, positive_integer, resolve_seed
from tinynn.tensor import Tensor


def run(
    step: Any, arrays: tuple[Any, ...], batch_size: int, shuffle: bool, seed: int | None, drop_last: bool, number: int
) -> Any:
    """See `CompiledFunction.epoch`."""
    if not arrays:
        raise ValueError("epoch needs at least one array, as in step.epoch(x, y, batch_size=32)")
    tensors = [_whole(i, array) for i, array in enumerate(arrays)]
    common_length("epoch", tensors)
    size = positive_integer("epoch: batch_size", batch_size)
    n = tensors[0].shape[0]
    stop = n - n % size if drop_last else n
    if stop == 0:
        raise ValueError(f"epoch: drop_last=True with batch_size={size} leaves no batch of {n} rows")
    order = permutation(n, resolve_seed(seed), number) if shuffle else None
    chunks: list[tuple[Any, int]] = []  # results with a first axis for so many batches
    start = 0
    while start < stop:
        part = slice(start, min(start + size, n))
        batch = [rows(t, part if order is None else order[part]) for t in tensors]
        whole = (stop - start) // size
        if whole > 1:
            numbers = np.arange(start, start + whole * size) if order is None else order[start : start + whole * size]
            done = step._whole_epoch(batch, tensors, numbers, whole)
            if done is not None:
                chunks.append((done, whole))
                start += whole * size
                continue
        chunks.append((mapped(step(*batch), lambda t: Tensor(namespace_of([t.array]).stack([t.array])), Tensor), 1))
        start += size
    return joined(chunks)


def _whole(place: int, value: Any) -> Tensor:
    """An argument of ``epoch`` as a tensor; a message for what is no array."""
    example = "step.epoch(x, y, batch_size=32, shuffle=True)"
    what = f"epoch: argument {place} is a {type(value).__name__}; "
    if isinstance(value, Mapping):
        raise TypeError(
            f"{what}it takes arrays, whose batches are the function's arguments by position: {example}. For a function "
            "of a dict, compile one of its entries that makes the dict inside"
        )
    if not isinstance(value, (Tensor, list, tuple, Number)) and not hasattr(value, "__array__"):
        raise TypeError(
            f"{what}it takes whole arrays and makes the batches itself, in the order of a DataLoader with the same "
            f"seed: {example}. Of a TensorDataset: step.epoch(*dataset.tensors, batch_size=32). To call the function "
            "on the batches of a loader, write the loop"
        )
    return as_tensor(value)


def joined(chunks: list[tuple[Any, int]]) -> Any:
    """Results of equal structure, each with a first axis for so many batches, as one.

    Tensors of different shapes (the last batch's, one value per row) become a list.

    Examples
    --------
    >>> import tinynn
    >>> joined([({"loss": tinynn.tensor([1.0, 2.0])}, 2), ({"loss": tinynn.tensor([3.0])}, 1)])
    {'loss': tensor([1., 2., 3.])}
    """
    if len(chunks) == 1:
        return chunks[0][0]
    first = chunks[0][0]
    if isinstance(first, Tensor):
        arrays = [chunk.array for chunk, _ in chunks]
        if len({a.shape[1:] for a in arrays}) > 1:
            return [Tensor(row) for a in arrays for row in a]
        return Tensor(namespace_of(arrays).concatenate(arrays))
    if isinstance(first, dict):
        return {name: joined([(chunk[name], count) for chunk, count in chunks]) for name in first}
    if isinstance(first, (tuple, list)):
        return sequence_like(first, [joined([(chunk[i], count) for chunk, count in chunks]) for i in range(len(first))])
    values = [chunk for chunk, count in chunks for _ in range(count)]
    return values if any(value != first for value in values) else first
