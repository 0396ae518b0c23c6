"""Picking elements out and adding them back: indexing, take, scatter.

`Slice` (numbers, slices, None) and `Gather` (index arrays, masks) are the two ways of picking; `Unslice` and
`Scatter` put a cotangent back where the elements came from, adding up what was picked more than once. Each is the
gradient of the other. Index arrays are inputs of the op, not settings, so a recorded program gets new ones at each run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops.base import Op
from tinynn.ops.shape import Shape, broadcast_to, normalize_axis, reshape, with_shape

Index = Any
ARRAY = "array"  # stands in a pattern for an index array


class Slice(Op):
    """out = x[index] for numbers, slices, None and ... ; every element is picked at most once"""

    linear = True

    def __init__(self, index: tuple[Index, ...]) -> None:
        self.index = index

    def forward(self, xp, x):
        return x[self.index]

    def grad_x(self, g, *, x_shape):
        return apply(Unslice(self.index, x_shape), g)


class Unslice(Op):
    """out = zeros, with out[index] = x"""

    linear = True

    def __init__(self, index: tuple[Index, ...], shape: Shape) -> None:
        self.index = index
        self.shape = shape

    def forward(self, xp, x):
        out = xp.zeros(self.shape, x.dtype)
        out[self.index] = x
        return out

    def grad_x(self, g):
        return apply(Slice(self.index), g)


class Gather(Op):
    """out = x[index] with index arrays; an element may be picked more than once"""

    linear = True

    def __init__(self, pattern: tuple[Index, ...]) -> None:
        self.pattern = pattern

    def forward(self, xp, x, *indices):
        return x[_fill(self.pattern, indices)]

    def grad_x(self, g, *, x_shape, indices):
        return apply(Scatter(self.pattern, x_shape), g, *indices)

    def tangent(self, tangents, *, x_shape, indices):
        """Forward mode: pick from the tangent."""
        return apply(self, tangents[0], *indices)


class Scatter(Op):
    """out = zeros, with out[index] += x; places named twice add up"""

    def __init__(self, pattern: tuple[Index, ...], shape: Shape) -> None:
        self.pattern = pattern
        self.shape = shape

    def forward(self, xp, x, *indices):
        out = xp.zeros(self.shape, x.dtype)
        xp.scatter_add(out, _fill(self.pattern, indices), x)
        return out

    def grad_x(self, g, *, indices):
        return apply(Gather(self.pattern), g, *indices)

    def tangent(self, tangents, *, indices):
        """Forward mode: scatter the tangent."""
        return apply(self, tangents[0], *indices)


def _fill(pattern: tuple[Index, ...], indices: Any) -> tuple[Index, ...]:
    arrays = iter(indices)
    return tuple(next(arrays) if part is ARRAY else part for part in pattern)


def _is_basic(part: Index) -> bool:
    return (
        part is None or part is Ellipsis or (isinstance(part, (slice, int, np.integer)) and not isinstance(part, bool))
    )


def getitem(x: Any, index: Index) -> Any:
    """x[index], by NumPy's rules, basic and advanced.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, 2.0, 3.0])
    >>> x[[0, 0, 2]]
    tensor([1., 1., 3.])
    """
    parts = index if isinstance(index, tuple) else (index,)
    if all(_is_basic(part) for part in parts):
        return apply(Slice(tuple(int(p) if isinstance(p, np.integer) else p for p in parts)), x)
    pattern, arrays = [], []
    for part in parts:
        if _is_basic(part):
            pattern.append(part)
        else:
            pattern.append(ARRAY)
            arrays.append(_index_array(part))
    return apply(Gather(tuple(pattern)), x, *arrays)


def _index_array(part: Index) -> Any:
    """An index array: integers or bools."""
    array: Any = getattr(part, "array", part)
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
        if array.size == 0:
            array = array.astype(np.intp)
    if array.dtype.kind not in "iub":
        raise IndexError(
            f"indices must be integers or bools, not {array.dtype}; to round a float tensor use .to('int64')"
        )
    return part if hasattr(part, "node") else array


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The entries at ``indices`` along ``axis`` (of the flattened input if None).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.take(tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 0], axis=1)
    tensor([[2., 1.],
            [4., 3.]])
    """
    x = with_shape(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normalize_axis(axis, len(x.shape))
    return apply(Gather((slice(None),) * axis + (ARRAY,)), x, _index_array(indices))


def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """out[i][j][k] = x[i][indices[i][j][k]][k] for axis = 1: one pick per place, as NumPy's.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.take_along_axis(tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]), [[1], [0]], axis=1)
    tensor([[2.],
            [3.]])
    """
    x, indices = with_shape(x), _index_array(indices)
    axis = normalize_axis(axis, len(x.shape))
    if len(indices.shape) != len(x.shape):
        raise ValueError(
            f"take_along_axis: indices of shape {tuple(indices.shape)} must have as many axes as x of shape "
            f"{tuple(x.shape)}"
        )
    for i, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True)):
        if i != axis and n != m:
            raise ValueError(
                f"take_along_axis: x of shape {tuple(x.shape)} and indices of shape {tuple(indices.shape)} differ in "
                f"axis {i}"
            )
    return apply(Gather((ARRAY,) * len(x.shape)), x, *_grid(indices, axis))


def _grid(indices: Any, axis: int) -> list[Any]:
    """The other axes' positions, shaped so that they broadcast against ``indices``."""
    ndim = len(indices.shape)
    places: list[Any] = [
        np.arange(n).reshape([-1 if j == i else 1 for j in range(ndim)]) for i, n in enumerate(indices.shape)
    ]
    places[axis] = indices
    return places


def scatter_add(x: Any, index: Index, values: Any) -> Any:
    """A copy of ``x`` with ``values`` added at ``x[index]``; places named twice add up.

    This is how to "assign into" a tensor that is part of a graph.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.scatter_add(tinynn.zeros(3), [0, 2, 2], tinynn.tensor([1.0, 2.0, 3.0]))
    tensor([1., 0., 5.])
    """
    parts = index if isinstance(index, tuple) else (index,)
    x = with_shape(x)
    picked = np.empty(tuple(x.shape), bool)[
        tuple(np.asarray(getattr(p, "array", p)) if not _is_basic(p) else p for p in parts)
    ]
    values = with_shape(values)
    if tuple(values.shape) != picked.shape:
        values = broadcast_to(values, picked.shape)
    pattern = tuple(part if _is_basic(part) else ARRAY for part in parts)
    arrays = [_index_array(part) for part in parts if not _is_basic(part)]
    return x + apply(Scatter(pattern, tuple(x.shape)), values, *arrays)


def one_hot(labels: Any, num_classes: int, dtype: Any = None) -> Any:
    """Rows with a 1 at the label and 0 elsewhere.

    Parameters
    ----------
    labels : integers in 0 ... num_classes - 1, any shape
    num_classes : length of the new last axis

    Raises
    ------
    IndexError
        If a label is out of range.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.one_hot([0, 2], 3)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    from tinynn.dtypes import get_default_dtype
    from tinynn.modes import mode
    from tinynn.ops.comparison import equal
    from tinynn.ops.transfer import to
    from tinynn.tensor import Tensor

    if mode.recorder is not None and isinstance(labels, Tensor) and labels.dtype.kind in "iu":
        rows = equal(reshape(labels, (*labels.shape, 1)), np.arange(num_classes))
        return to(rows, dtype or get_default_dtype())
    array = np.asarray(getattr(labels, "array", labels))
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels must be integers, not {array.dtype}")
    check_labels(array, num_classes, "one_hot")
    out = np.zeros((*array.shape, num_classes), dtype or get_default_dtype())
    np.put_along_axis(out, array[..., None].astype(np.intp), 1, axis=-1)
    return Tensor(out)


def check_labels(labels: Any, num_classes: int, name: str) -> None:
    """Refuse class labels outside 0 ... num_classes - 1."""
    if labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            raise IndexError(f"{name}: labels must be in 0 ... {num_classes - 1}, but they go from {low} to {high}")
