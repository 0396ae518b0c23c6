"""Class labels of the classification losses: their shapes, their range, and which of them count."""

from __future__ import annotations

import math
from typing import Any

from tinynn import autodiff
from tinynn.ops.arithmetic import not_equal
from tinynn.ops.shape import moveaxis, reshape


def class_rows(name: str, x: Any) -> tuple[Any, tuple[int, ...]]:
    """Scores (N, C), (C,) or (N, C, d1, ...) as rows (places, C), and the shape of the places: (N,), () or (N, d1, ...)."""
    shape = tuple(x.shape)
    if not shape:
        raise ValueError(f"{name}: the input must be (N, C), (C,) or (N, C, d1, ...) for C classes, but is a single number")
    classes = shape[min(1, len(shape) - 1)]
    if not classes:
        raise ValueError(f"{name}: an input of shape {shape} has no classes")
    if len(shape) == 2:
        return x, shape[:1]
    if len(shape) == 1:
        return reshape(x, (1, classes)), ()
    places = (shape[0], *shape[2:])
    return reshape(moveaxis(x, 1, -1), (math.prod(places), classes)), places


def labels_of(name: str, target: Any, x: Any, places: tuple[int, ...], ignore_index: int) -> Any:
    """The labels in one row, once they are known to be integers, one for each place, and in range."""
    shape, classes = tuple(x.shape), x.shape[min(1, len(x.shape) - 1)]
    if target.dtype.kind not in "iu" and target.size:
        raise TypeError(
            f"{name}: labels must be integers, but the target is {target.dtype} of shape {tuple(target.shape)}; use "
            f"target.to('int64')" + ("" if name == "nll_loss" else f", or give probabilities, of shape {shape}")
        )
    if tuple(target.shape) != places:
        hint = " Use target.squeeze(1)." if tuple(target.shape) == (*places, 1) else ""
        hint = hint or (" For one-hot rows use target.argmax(1)." if tuple(target.shape) == shape else "")
        raise ValueError(
            f"{name}: an input of shape {shape} needs one label for each of {places}, but the target has shape "
            f"{tuple(target.shape)}.{hint}"
        )
    if target.dtype.kind not in "iu":
        target = target.astype("int64")
    _check_range(name, getattr(target, "array", target), classes, ignore_index)
    return target if len(places) == 1 else reshape(target, (-1,) if places else (1,))


def _check_range(name: str, labels: Any, classes: int, ignore_index: int) -> None:
    if not labels.size or (int(labels.min()) >= 0 and int(labels.max()) < classes):
        return
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
    if wrong.size:
        raise IndexError(
            f"{name}: labels of {classes} classes must be in 0 ... {classes - 1} (or ignore_index = {ignore_index}), but "
            f"{wrong.size} are not, such as {int(wrong.ravel()[0])}"
        )


def kept(labels: Any, ignore_index: int) -> Any:
    """Which labels are not ``ignore_index``; None if that is all of them.

    While operations are observed (a program is being recorded), the answer is always spelled out: another batch may
    have labels to ignore where this one has none.

    Raises
    ------
    ValueError
        If there are labels, and all of them are to be ignored.
    """
    keep = not_equal(labels, ignore_index)
    raw = getattr(keep, "array", keep)
    if raw.size and not raw.any():
        raise ValueError(f"every label is ignore_index = {ignore_index}: there is nothing to compute a loss from")
    return keep if autodiff.mode.observer is not None or not raw.all() else None
