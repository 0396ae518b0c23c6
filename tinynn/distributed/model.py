"""All ranks with the same model: at the start, and still later."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn import modes
from tinynn.backends.dispatch import namespace_of
from tinynn.distributed import group
from tinynn.tensor import Tensor


def broadcast_parameters(model: Any, src: int = 0) -> None:
    """Give all ranks the parameters and buffers of rank `src`. Called by all of them, before the training.

    Parameters
    ----------
    model : Module
    src : int
        Whose numbers they get. If a checkpoint was loaded, by all ranks or by this one alone.

    Raises
    ------
    ValueError
        If the models of two ranks differ in a name, a shape or a dtype: it is named. Nothing has changed then.

    Notes
    -----
    The random numbers of the ranks are left alone. With the same seed, dropout would draw the same masks everywhere:
    after this call, ``tinynn.manual_seed(seed + distributed.get_rank())``.
    """
    modes.refuse("broadcast_parameters()", "do that once, before")
    named = list(_named_tensors(model))
    _check_structure(named, type(model).__name__)
    for tensors in _by_kind(tensor for _, tensor in named):
        flat = flattened([tensor.array for tensor in tensors])
        flat = group.current().broadcast(flat, src)
        for tensor, part in zip(tensors, parts_of(flat, tensors), strict=True):
            tensor.assign_(Tensor(part))


def average_buffers(model: Any) -> None:
    """Replace floating-point buffers by their mean over the ranks, others by the largest.

    Batch norm's running mean and variance follow the batches that a rank has seen. Call this before evaluating or
    saving, so that all ranks have the same.
    """
    modes.refuse("average_buffers()", "do that outside of the function")
    for tensors in _by_kind(tensor for _, tensor in model.named_buffers()):
        flat = flattened([tensor.array for tensor in tensors])
        flat = group.current().all_reduce(flat, "mean" if flat.dtype.kind == "f" else "max")
        for tensor, part in zip(tensors, parts_of(flat, tensors), strict=True):
            tensor.assign_(Tensor(part))


def check_same_parameters(model: Any) -> None:
    """See that the parameters of all ranks are the same to the last bit; buffers may differ.

    Raises
    ------
    RuntimeError
        If not, on all ranks. The first parameter that differs is named.
    """
    modes.refuse("check_same_parameters()", "do that outside of the function")
    sums = [
        (name, zlib.crc32(np.ascontiguousarray(p.detach().numpy()).tobytes())) for name, p in model.named_parameters()
    ]
    everybody = group.all_gather_object(sums)
    for rank, others in enumerate(everybody):
        for mine, other in zip(everybody[0], others, strict=False):
            if mine != other:
                raise RuntimeError(
                    f"the ranks have drifted apart: {mine[0]} of rank 0 differs from {other[0]} of rank {rank}. Was "
                    "broadcast_parameters() called, and does every rank step by averaged gradients?"
                )


def _named_tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _check_structure(named: list[tuple[str, Tensor]], owner: str) -> None:
    described = [(name, tensor.shape, tensor.dtype.name) for name, tensor in named]
    everybody = group.all_gather_object(described)
    for rank, others in enumerate(everybody):
        if others == everybody[0]:
            continue
        here, there = next(
            ((a, b) for a, b in zip(everybody[0], others, strict=False) if a != b),
            (f"{len(everybody[0])} tensors", f"{len(others)} tensors"),
        )
        raise ValueError(
            f"broadcast_parameters: rank {rank} has another {owner} than rank 0: {_words(there)}, not {_words(here)}"
        )


def _words(described: Any) -> str:
    return described if isinstance(described, str) else f"{described[0]} of shape {described[1]} ({described[2]})"


def _by_kind(tensors: Any) -> list[list[Tensor]]:
    """Tensors that fit into one flat array: of one dtype, on one device. In an order that all ranks share."""
    kinds: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype.name, tensor.device.split(":")[0]), []).append(tensor)
    return list(kinds.values())


def flattened(arrays: list[Any]) -> Any:
    """All elements one after the other, in a new array on the same device."""
    if isinstance(arrays[0], np.ndarray | np.generic):
        return np.concatenate(arrays, axis=None)
    xp = namespace_of(arrays)
    return xp.concatenate([xp.ravel(array) for array in arrays])


def parts_of(flat: Any, tensors: list[Tensor]) -> list[Any]:
    """The parts of a flat array in the shapes of the tensors."""
    ends = np.cumsum([tensor.size for tensor in tensors]).tolist()
    return [flat[end - t.size : end].reshape(t.shape) for end, t in zip(ends, tensors, strict=True)]
