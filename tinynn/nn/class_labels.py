"""Class labels of the classification losses: their shapes, their range, and which of them count."""

from __future__ import annotations

import math
from typing import Any

from tinynn import modes
from tinynn.ops.comparison import not_equal
from tinynn.ops.shape import moveaxis, reshape


def class_rows(name: str, x: Any) -> tuple[Any, tuple[int, ...]]:
    """Scores (N, C), (C,) or (N, C, d1, ...) as rows (places, C), and the shape of the places.

    That shape is (N,), () or (N, d1, ...).
    """
    shape = tuple(x.shape)
    if not shape:
        raise ValueError(
            f"{name}: the input must be (N, C), (C,) or (N, C, d1, ...) for C classes, but is a single number"
        )
    classes = shape[min(1, len(shape) - 1)]
    if not classes:
        raise ValueError(f"{name}: an input of shape {shape} has no classes")
    if len(shape) == 2:
        return x, shape[:1]
    if len(shape) == 1:
        return reshape(x, (1, classes)), ()
    places = (shape[0], *shape[2:])
    return reshape(moveaxis(x, 1, -1), (math.prod(places), classes)), places


def labels_of(name: str, target: Any, x: Any, places: tuple[int, ...], ignore_index: int) -> tuple[Any, Any]:
    """The labels in one row, and which of them are not ``ignore_index`` (None if that is all of them).

    While operations are observed (a program is being recorded), the latter is always spelled out: another
    batch may have labels to ignore where this one has none.

    Raises
    ------
    TypeError, ValueError, IndexError
        If the labels are not integers, not one for each place, not in range, or all to be ignored.
    """
    shape, classes = tuple(x.shape), x.shape[min(1, len(x.shape) - 1)]
    if target.dtype.kind not in "iu" and target.size:
        also = "" if name == "nll_loss" else f", or give probabilities, of shape {shape}"
        raise TypeError(
            f"{name}: labels must be integers, but the target is {target.dtype} of shape "
            f"{tuple(target.shape)}; "
            f"use target.to('int64'){also}"
        )
    if tuple(target.shape) != places:
        hint = " Use target.squeeze(1)." if tuple(target.shape) == (*places, 1) else ""
        hint = hint or (" For one-hot rows use target.argmax(1)." if tuple(target.shape) == shape else "")
        raise ValueError(
            f"{name}: an input of shape {shape} needs one label for each of {places}, but the target has "
            f"shape {tuple(target.shape)}.{hint}"
        )
    if target.dtype.kind not in "iu":
        target = target.astype("int64")
    if len(places) != 1:
        target = reshape(target, (-1,) if places else (1,))
    labels = getattr(target, "array", target)
    ordinary = _in_range(labels, classes) and not 0 <= ignore_index < classes
    if ordinary and modes.mode.recorder is None:
        return target, None
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
    if wrong.size:
        raise IndexError(
            f"{name}: labels of {classes} classes must be in 0 ... {classes - 1} (or ignore_index = "
            f"{ignore_index}), "
            f"but {wrong.size} are not, such as {int(wrong[0])}"
        )
    keep = not_equal(target, ignore_index)
    if labels.size and not getattr(keep, "array", keep).any():
        raise ValueError(f"{name}: every label is ignore_index = {ignore_index}; there is nothing to take a loss of")
    return target, keep


def _in_range(labels: Any, classes: int) -> bool:
    """Whether all labels are in 0 ... classes - 1. As unsigned, negative ones are too large as well."""
    return not labels.size or int(labels.view(f"u{labels.itemsize}").max()) < classes
