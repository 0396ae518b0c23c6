"""From a list of samples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinynn.ops.joining import stack
from tinynn.tensor import Tensor


def default_collate(samples: Sequence[Any]) -> Any:
    """Make a batch of samples: stack what can be stacked, and keep the structure.

    Parameters
    ----------
    samples : non-empty sequence
        Tensors, arrays or numbers become one Tensor with a new first axis; strings a list; tuples and lists a
        list with one batch per position; named tuples and dicts a named tuple and a dict of batches.

    Raises
    ------
    ValueError
        Samples whose shapes, lengths or keys differ.
    TypeError
        Samples of a type that has no obvious batch.

    Examples
    --------
    >>> x, y = default_collate([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    >>> x[0].tolist(), y.tolist()
    ([1.0, 3.0], [0, 1])
    >>> default_collate([{"r": 0.7, "name": "H2"}, {"r": 1.2, "name": "O2"}])["name"]
    ['H2', 'O2']
    """
    first = samples[0]
    if isinstance(first, Tensor):
        return _stack_tensors(samples)
    if isinstance(first, np.ndarray | np.generic | bool | int | float):
        _same_shapes([np.shape(s) for s in samples])
        return Tensor(np.stack([np.asarray(s) for s in samples]))
    if isinstance(first, str | bytes):
        return list(samples)
    if isinstance(first, Mapping):
        if any(set(s) != set(first) for s in samples):
            raise ValueError(f"default_collate: samples have different keys, {[list(s) for s in samples[:3]]} ...")
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, tuple | list):
        if any(len(s) != len(first) for s in samples):
            lengths = sorted({len(s) for s in samples})
            raise ValueError(
                f"default_collate: samples have different numbers of entries, {lengths}; pass a collate_fn"
            )
        batches = [default_collate(entries) for entries in zip(*samples)]
        return type(first)(*batches) if hasattr(first, "_fields") else batches
    raise TypeError(
        f"default_collate: cannot make a batch of samples of type {type(first).__name__}; return arrays, "
        "numbers, tuples or dicts from __getitem__, or pass a collate_fn that makes a batch of a list of "
        "samples"
    )


def _stack_tensors(samples: Sequence[Tensor]) -> Tensor:
    _same_shapes([tuple(s.shape) for s in samples])
    if any(s.requires_grad or not isinstance(s.array, np.ndarray | np.generic) for s in samples):
        return stack(list(samples))
    return Tensor(np.stack([s.array for s in samples]))


def _same_shapes(shapes: list[tuple[int, ...]]) -> None:
    for position, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"default_collate: sample {position} of the batch has shape {shape}, the first has "
                f"{shapes[0]}; samples of one batch need equal shapes: pad them in __getitem__, or pass a "
                "collate_fn"
            )
