"""Operations that put arrays together or cut them up: concatenate, stack, split, pad, flip, roll, tile, repeat.

As in `tinynn.ops.shape`, all of them are linear, and each gradient is the opposite movement.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.backends.dispatch import namespace_of
from tinynn.ops.base import Op
from tinynn.ops.shape import (
    INTEGERS,
    Reshape,
    Shape,
    broadcast_to,
    expand_dims,
    normalize_axes,
    normalize_axis,
    ravel,
    reshape,
    with_shape,
)


class Concatenate(Op):
    """out = the inputs one after another along an axis; each gets its slice of the cotangent back"""

    linear = True

    def __init__(self, axis: int, lengths: tuple[int, ...]) -> None:
        self.axis = axis
        self.lengths = lengths

    def forward(self, xp, *xs):
        return xp.concatenate(xs, axis=self.axis)

    def grad_xs(self, g, i):
        start = int(np.sum(self.lengths[:i]))
        return g[(slice(None),) * self.axis + (slice(start, start + self.lengths[i]),)]

    def tangent(self, tangents):
        """Forward mode: join the tangents, with zeros for the inputs that do not move."""
        model = next(t for t in tangents if t is not None)
        array = getattr(model, "array", model)
        xp, before, after = namespace_of((array,)), model.shape[: self.axis], model.shape[self.axis + 1 :]
        still = [xp.zeros((*before, n, *after), array.dtype) for n in self.lengths]
        return apply(self, *[zero if t is None else t for t, zero in zip(tangents, still, strict=True)])


class Pad(Op):
    """out = x with a border of a constant value around it; its gradient is the inside of the cotangent"""

    linear = True

    def __init__(self, widths: tuple[tuple[int, int], ...], value: float) -> None:
        self.widths = widths
        self.value = value

    def forward(self, xp, x):
        shape = tuple(before + n + after for n, (before, after) in zip(x.shape, self.widths, strict=True))
        out = xp.full(shape, self.value, dtype=x.dtype)
        out[self._inside(x.shape)] = x
        return out

    def grad_x(self, g, *, x_shape):
        return g[self._inside(x_shape)]

    def tangent(self, tangents):
        """Forward mode: the border does not move."""
        return apply(Pad(self.widths, 0.0), tangents[0])

    def _inside(self, shape: Shape) -> tuple[slice, ...]:
        return tuple(slice(before, before + n) for n, (before, _) in zip(shape, self.widths, strict=True))


class Flip(Op):
    """out = the elements in reverse order along axes"""

    linear = True

    def __init__(self, axis: tuple[int, ...]) -> None:
        self.axis = axis

    def forward(self, xp, x):
        return xp.flip(x, self.axis)

    def grad_x(self, g):
        return apply(self, g)


def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """The inputs one after another along ``axis`` (flattened first if None).

    Raises
    ------
    ValueError
        If there is no input, or the shapes differ beside ``axis``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.concatenate([tinynn.tensor([1.0]), tinynn.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    xs = list(xs)
    if not xs:
        raise ValueError("concatenate: there is nothing to join, the list is empty")
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    shapes = [np.shape(x) for x in xs]
    if not shapes[0]:
        raise ValueError("concatenate: 0-dimensional inputs cannot be joined; stack makes a new axis")
    axis = normalize_axis(axis, len(shapes[0]))
    for i, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]) or shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :]:
            raise ValueError(
                f"concatenate: input {i} of shape {shape} does not fit to input 0 of shape {shapes[0]}: "
                f"all lengths but that of axis {axis} must agree"
            )
    return apply(Concatenate(axis, tuple(shape[axis] for shape in shapes)), *xs)


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """The inputs side by side along a new axis. All have one shape.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.stack([tinynn.tensor([1.0, 2.0]), tinynn.tensor([3.0, 4.0])])
    tensor([[1., 2.],
            [3., 4.]])
    """
    xs = [with_shape(x) for x in xs]
    if not xs:
        raise ValueError("stack: there is nothing to stack, the list is empty")
    for i, x in enumerate(xs):
        if tuple(x.shape) != tuple(xs[0].shape):
            raise ValueError(
                f"stack: input {i} has shape {tuple(x.shape)}, input 0 has {tuple(xs[0].shape)}; they must agree"
            )
    return concatenate([expand_dims(x, axis) for x in xs], normalize_axis(axis, len(xs[0].shape) + 1))


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Cut along ``axis``: into ``sections`` equal parts, or before each of the places in a list.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.split(tinynn.tensor([1.0, 2.0, 3.0]), [1])
    [tensor([1.]), tensor([2., 3.])]
    """
    x = with_shape(x)
    axis = normalize_axis(axis, len(x.shape))
    n = x.shape[axis]
    if isinstance(sections, INTEGERS):
        if sections < 1 or n % sections:
            raise ValueError(f"split: an axis of length {n} cannot be cut into {sections} equal parts")
        places = list(range(n // sections, n, n // sections)) if n else [0] * (sections - 1)
    else:
        places = [int(i) for i in sections]
    bounds = [0, *places, n]
    whole = (slice(None),) * axis
    return [x[(*whole, slice(i, j))] for i, j in pairwise(bounds)]


def pad(x: Any, pad_width: Any, value: float = 0.0) -> Any:
    """A border of ``value`` around the elements.

    Parameters
    ----------
    x : tensor
    pad_width : int, a pair (before, after), or one pair per axis

    Examples
    --------
    >>> import tinynn
    >>> tinynn.pad(tinynn.tensor([1.0, 2.0]), (1, 2))
    tensor([0., 1., 2., 0., 0.])
    """
    x = with_shape(x)
    try:
        widths = tuple((int(b), int(a)) for b, a in np.broadcast_to(pad_width, (len(x.shape), 2)))
    except ValueError:
        raise ValueError(
            f"pad: pad_width {pad_width} must be a number, a pair, or one pair for each axis of shape {tuple(x.shape)}"
        ) from None
    if any(b < 0 or a < 0 for b, a in widths):
        raise ValueError(f"pad: pad_width {pad_width} has a negative width; cut with slices instead")
    return apply(Pad(widths, value), x)


def flip(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """The elements in reverse order along ``axis`` (all axes if None).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.flip(tinynn.tensor([1.0, 2.0, 3.0]))
    tensor([3., 2., 1.])
    """
    x = with_shape(x)
    return apply(Flip(normalize_axes(axis, len(x.shape))), x)


def roll(x: Any, shift: int, axis: int | None = None) -> Any:
    """The elements moved on by ``shift``; those that leave at the end come in at the front.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.roll(tinynn.tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    x = with_shape(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), tuple(x.shape))
    axis = normalize_axis(axis, len(x.shape))
    n = x.shape[axis]
    if n == 0 or shift % n == 0:
        return apply(Reshape(tuple(x.shape)), x)
    whole = (slice(None),) * axis
    return concatenate([x[(*whole, slice(n - shift % n, n))], x[(*whole, slice(0, n - shift % n))]], axis)


def tile(x: Any, reps: int | Sequence[int]) -> Any:
    """The whole input repeated ``reps`` times along each axis.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.tile(tinynn.tensor([1.0, 2.0]), 2)
    tensor([1., 2., 1., 2.])
    """
    x = with_shape(x)
    counts = (reps,) if isinstance(reps, INTEGERS) else tuple(reps)
    shape = (1,) * (len(counts) - len(x.shape)) + tuple(x.shape)
    counts = (1,) * (len(shape) - len(counts)) + counts
    x = reshape(x, tuple(k for n in shape for k in (1, n)))
    x = broadcast_to(x, tuple(k for r, n in zip(counts, shape, strict=True) for k in (r, n)))
    return reshape(x, tuple(r * n for r, n in zip(counts, shape, strict=True)))


def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each element ``repeats`` times in a row along ``axis`` (of the flattened input if None).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.repeat(tinynn.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    """
    x = with_shape(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis(axis, len(x.shape))
    shape = tuple(x.shape)
    x = broadcast_to(expand_dims(x, axis + 1), (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return reshape(x, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))
