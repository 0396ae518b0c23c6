"""Two-dimensional convolution (cross-correlation, as in every neural-network library), forward and backward.

For x (N, C, H, W), weight (O, C / groups, KH, KW), and r = i * stride - padding + k * dilation along each
axis::

    out[n, o, i, j] = bias[o] + sum_{c, k, l} weight[o, c, k, l] * x[n, c, r(i, k), r(j, l)]
    dx[n, c, r(i, k), r(j, l)] += weight[o, c, k, l] * g[n, o, i, j]
    dweight[o, c, k, l] = sum_{n, i, j} g[n, o, i, j] * x[n, c, r(i, k), r(j, l)],    dbias[o] = sum g[:, o]

How: an image is copied once, with its padding, into planes whose rows follow each other. Then position (i, j)
of the output is element ``i * row + j`` of a vector, each weight (c, k, l) multiplies a vector that starts at
a fixed offset, and all three sums are products of ``shifted_products``, without the KH * KW copies of the
image that im2col makes. There is a plane for every remainder of the row number by the stride, and along a row
one of two layouts:

* *shared*: a plane for every remainder of the column by the stride; kernel columns differ by an offset. What
  the vectors hold between the rows of the output is computed and not used, or zero (backward).
* *exact*: a plane for every kernel column, as wide as the output. KW copies, but no element between the rows:
  better when rows are short and filters are many.

Kernels of 1 x 1 are matrix products and go to BLAS. An infinity in x can make NaN of more of dweight than its
own share.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .memory import aligned_empty
from .shifted_products import LOOP, add_products, add_shifted, round_up
from .threads import share

__all__ = ["conv2d_backward", "conv2d_forward"]

Array = NDArray[Any]
Pair = tuple[int, int]

_LINE = 16  # elements: planes and rows start at multiples of it
_STACK = 2048  # elements: so many images are worked on together for the gradient of the weights


class Layout(NamedTuple):
    """Where an image's values are in its planes; the same numbers hold for one group of channels."""

    stride: Pair
    padding: Pair
    sides: NDArray[np.int64]  # for each plane along the columns: the padded column that it begins with
    row: int  # length of a row of a plane
    plane: int  # distance between planes
    channel: int  # distance between channels, each stride[0] * len(sides) planes
    n: int  # length of the vector that holds one channel of output, rounded up
    taps: NDArray[np.int64]  # (KH * KW,) offset of each kernel position within a channel


@njit(cache=True, **LOOP, forceinline=True)
def _columns(side: int, stride: Pair, padding: Pair, row: int, width: int) -> tuple[int, int]:
    """Return the elements first:last of a plane's row that hold columns of x, and not padding."""
    first = max(0, -((side - padding[1]) // stride[1]))
    last = min(row, (width - 1 + padding[1] - side) // stride[1] + 1)
    return first, max(first, last)


@njit(cache=True, **LOOP)
def _pack(
    x: Array, image: int, first: int, channels: int, stride: Pair, padding: Pair, sides: Array, row: int,
    plane: int, channel: int, planes: Array, start: int,
) -> None:  # fmt: skip
    """Copy ``channels`` channels of an image, from ``first`` on, into zeroed planes from ``start`` on."""
    height, width = x.shape[2], x.shape[3]
    step = np.uint64(stride[1])
    for q in range(sides.size):
        lo, hi = _columns(sides[q], stride, padding, row, width)
        column, count = np.uint64(sides[q] + lo * stride[1] - padding[1]), np.uint64(hi - lo)
        for c in range(channels):
            for h in range(height):
                line, i = (h + padding[0]) % stride[0], (h + padding[0]) // stride[0]
                at = np.uint64(start + c * channel + (line * sides.size + q) * plane + i * row + lo)
                if stride[1] == 1:
                    for k in range(count):
                        planes[at + k] = x[image, first + c, h, column + k]
                else:
                    for k in range(count):
                        planes[at + k] = x[image, first + c, h, column + k * step]


@njit(cache=True, **LOOP)
def _unpack(
    planes: Array, image: int, first: int, channels: int, stride: Pair, padding: Pair, sides: Array, row: int,
    plane: int, channel: int, x: Array,
) -> None:  # fmt: skip
    """Add up what came from each value of x: the transpose of ``_pack``."""
    height, width = x.shape[2], x.shape[3]
    step = np.uint64(stride[1])
    for c in range(channels):
        x[image, first + c] = 0
    for q in range(sides.size):
        lo, hi = _columns(sides[q], stride, padding, row, width)
        column, count = np.uint64(sides[q] + lo * stride[1] - padding[1]), np.uint64(hi - lo)
        for c in range(channels):
            for h in range(height):
                line, i = (h + padding[0]) % stride[0], (h + padding[0]) // stride[0]
                at = np.uint64(c * channel + (line * sides.size + q) * plane + i * row + lo)
                if stride[1] == 1:
                    for k in range(count):
                        x[image, first + c, h, column + k] += planes[at + k]
                else:
                    for k in range(count):
                        x[image, first + c, h, column + k * step] += planes[at + k]


@njit(cache=True, **LOOP)
def _spread(g: Array, image: int, first: int, channels: int, row: int, distance: int, lines: Array, start: int) -> None:
    """Copy channels of g (N, O, OH, OW) into zeroed vectors in which rows begin ``row`` elements apart."""
    for o in range(channels):
        for i in range(g.shape[2]):
            at = np.uint64(start + o * distance + i * row)
            for j in range(np.uint64(g.shape[3])):
                lines[at + j] = g[image, first + o, i, j]


@njit(cache=True, **LOOP)
def _forward(
    first: int, last: int, x: Array, weight: Array, bias: Array, groups: int, stride: Pair, padding: Pair,
    sides: Array, row: int, plane: int, channel: int, n: int, offsets: Array, out: Array,
) -> None:  # fmt: skip
    """Images first to last. ``weight`` is (O, shifts)."""
    per_group, filters = x.shape[1] // groups, weight.shape[0] // groups
    planes = np.zeros(per_group * channel + n, x.dtype)
    sums, rows = np.empty(filters * n, x.dtype), np.arange(filters) * n
    for image in range(first, last):
        for group in range(groups):
            _pack(x, image, group * per_group, per_group, stride, padding, sides, row, plane, channel, planes, 0)
            for o in range(filters):
                at, value = np.uint64(o * n), bias[group * filters + o]
                for i in range(np.uint64(n)):
                    sums[at + i] = value
            add_shifted(sums, rows, weight[group * filters : (group + 1) * filters], planes, offsets, n)
            for o in range(filters):
                for i in range(out.shape[2]):
                    at = np.uint64(o * n + i * row)
                    for j in range(np.uint64(out.shape[3])):
                        out[image, group * filters + o, i, j] = sums[at + j]


@njit(cache=True, **LOOP)
def _backward_x(
    first: int, last: int, g: Array, weight: Array, groups: int, stride: Pair, padding: Pair, sides: Array,
    row: int, plane: int, channel: int, n: int, taps: Array, dx: Array,
) -> None:  # fmt: skip
    """Images first to last. ``weight`` is (KH * KW, C, filters of a group)."""
    per_group, filters = dx.shape[1] // groups, g.shape[1] // groups
    lines = np.zeros(weight.shape[2] * n, g.dtype)
    offsets = np.arange(weight.shape[2]) * n
    planes = np.empty(per_group * channel + n, g.dtype)
    starts = np.arange(per_group) * channel
    for image in range(first, last):
        for group in range(groups):
            _spread(g, image, group * filters, filters, row, n, lines, 0)
            planes.fill(0)
            for k in range(taps.size):
                mine = weight[k, group * per_group : (group + 1) * per_group]
                add_shifted(planes, starts + taps[k], mine, lines, offsets, n)
            _unpack(planes, image, group * per_group, per_group, stride, padding, sides, row, plane, channel, dx)


@njit(cache=True, **LOOP)
def _backward_weight(
    first: int, last: int, size: int, stack: int, g: Array, x: Array, groups: int, stride: Pair, padding:
    Pair, sides: Array, row: int, plane: int, channel: int, n: int, offsets: Array, dweight: Array,
) -> None:  # fmt: skip
    """Slots of ``size`` images; dweight is (slots, O, shifts). ``stack`` images are worked on together."""
    per_group, filters = x.shape[1] // groups, g.shape[1] // groups
    planes, lines = (
        np.zeros(per_group * channel * stack + n, x.dtype),
        np.zeros(filters * plane * stack + n, x.dtype),
    )
    rows = np.arange(filters) * (plane * stack)
    for slot in range(first, last):
        dweight[slot] = 0
        stop = min((slot + 1) * size, x.shape[0])
        for image in range(slot * size, stop, stack):
            count = min(stack, stop - image)
            for group in range(groups):
                for k in range(count):
                    _pack(
                        x, image + k, group * per_group, per_group, stride, padding, sides, row, plane *
                        stack, channel * stack, planes, k * plane,
                    )  # fmt: skip
                    _spread(g, image + k, group * filters, filters, row, plane * stack, lines, k * plane)
                mine = dweight[slot, group * filters : (group + 1) * filters]
                add_products(mine, lines, rows, planes, offsets, n, count, plane)


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Array:
    """Return out (N, O, OH, OW) for x (N, C, H, W), weight (O, C / groups, KH, KW) and bias (O,) or None.

    ``OH = (H + 2 * padding - dilation * (KH - 1) - 1) // stride + 1``, and OW likewise. One integer for
    stride, padding or dilation holds for rows and columns.

    Examples
    --------
    >>> x, weight = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> conv2d_forward(x, weight, np.array([100.0])).tolist()
    [[[[108.0, 112.0], [120.0, 124.0]]]]
    """
    x, weight, stride, padding, dilation, size = _checked(x, weight, stride, padding, dilation, groups)
    filters, per_group, *kernel = weight.shape
    if bias is None:
        bias = np.zeros(filters, x.dtype)
    if bias.shape != (filters,) or bias.dtype != x.dtype:
        raise ValueError(
            f"conv2d: bias is {bias.dtype} of shape {bias.shape}, but {filters} filters on {x.dtype} "
            f"need {x.dtype} of shape ({filters},)"
        )
    out = aligned_empty((len(x), filters, *size), x.dtype)
    if _is_matrix_product(kernel, stride, padding, groups):
        pixels = out.reshape(len(x), filters, size[0] * size[1])
        np.matmul(
            weight.reshape(filters, per_group),
            x.reshape(pixels.shape[0], per_group, pixels.shape[2]),
            out=pixels,
        )
        pixels += bias[:, None]
        return out
    layout = _layout(x.shape[1:], weight.shape, groups, size, stride, padding, dilation)
    offsets = _offsets(layout, per_group)
    matrix = weight.reshape(filters, len(offsets))
    lines = _lines(out, layout)
    work = _nanoseconds(out.size * len(offsets), x.dtype)
    share(_forward, len(x), work, x, matrix, np.ascontiguousarray(bias), groups, *layout[:-1], offsets, lines)
    return out


def conv2d_backward(
    g: Array,
    x: Array,
    weight: Array,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    need_x: bool = True,
    need_weight: bool = True,
    need_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dweight and dbias, or None for what is not needed, from the gradient g (N, O, OH, OW) for
    out.

    Examples
    --------
    >>> x, weight = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> dx, dweight, dbias = conv2d_backward(np.ones((1, 1, 2, 2)), x, weight)
    >>> dx.tolist(), dweight.tolist(), dbias.tolist()
    ([[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]], [[[[8.0, 12.0], [20.0, 24.0]]]], [4.0])
    """
    x, weight, stride, padding, dilation, size = _checked(x, weight, stride, padding, dilation, groups)
    filters, per_group, *kernel = weight.shape
    if g.shape != (len(x), filters, *size):
        raise ValueError(f"conv2d backward: g has shape {g.shape}, but the output is {(len(x), filters, *size)}")
    g = np.ascontiguousarray(g, x.dtype)
    dx = dweight = dbias = None
    pixels = size[0] * size[1]
    if need_bias:
        dbias = g.reshape(len(x), filters, pixels).sum(axis=2).sum(axis=0)
    if _is_matrix_product(kernel, stride, padding, groups):
        gs, xs = g.reshape(len(x), filters, pixels), x.reshape(len(x), per_group, pixels)
        if need_x:
            dx = aligned_empty(x.shape, x.dtype)
            np.matmul(weight.reshape(filters, per_group).T, gs, out=dx.reshape(xs.shape))
        if need_weight:
            dweight = np.matmul(gs, xs.swapaxes(1, 2)).sum(axis=0).reshape(weight.shape)
        return dx, dweight, dbias
    layout = _layout(x.shape[1:], weight.shape, groups, size, stride, padding, dilation)
    lines, work = _lines(g, layout), _nanoseconds(g.size * per_group * len(layout.taps), x.dtype)
    if need_x:
        dx = aligned_empty(x.shape, x.dtype)
        by_tap = weight.reshape(groups, filters // groups, per_group, -1).transpose(3, 0, 2, 1)
        matrices = np.ascontiguousarray(by_tap.reshape(len(layout.taps), groups * per_group, -1))
        share(_backward_x, len(x), work, lines, matrices, groups, *layout, dx)
    if need_weight:
        stack = max(1, min(_STACK // layout.plane, len(x)))
        stacked = _layout(x.shape[1:], weight.shape, groups, size, stride, padding, dilation, stack)
        offsets = _offsets(stacked._replace(channel=layout.channel * stack), per_group)
        shifts = len(offsets)
        offsets = np.concatenate([offsets, np.zeros(-shifts % 4, np.int64)])
        images = round_up(max(1, -(-len(x) // 8)), stack)  # images in a slot; at most eight slots
        slots = np.empty((-(-len(x) // images), filters, len(offsets)), x.dtype)
        share(_backward_weight, len(slots), work, images, stack, lines, x, groups, *layout[:-1], offsets, slots)
        dweight = slots.sum(axis=0)[:, :shifts].reshape(weight.shape)
    return dx, dweight, dbias


@functools.lru_cache(maxsize=256)
def _layout(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], groups: int, size: Pair, stride: Pair, padding:
    Pair, dilation: Pair, stack: int = 1,
) -> Layout:  # fmt: skip
    """Lay out the planes of an image (C, H, W). With ``stack``, ``taps`` is for planes that hold that many
    images.

    The answer is remembered, since a network asks for the same few shapes again and again; its arrays are not
    changed.
    """
    filters, _, *kernel = weight_shape
    rows, row = (-(-(x_shape[1 + a] + 2 * padding[a]) // stride[a]) for a in (0, 1))
    down, right = np.arange(kernel[0])[:, None] * dilation[0], np.arange(kernel[1]) * dilation[1]
    # Multiplications saved per element copied; the copy of an element costs about as much as eight of them.
    if (row - size[1]) * (filters // groups) * kernel[0] > 8 * size[1]:
        row, sides, side, shift = size[1], right, np.arange(kernel[1]), np.zeros(kernel[1], np.int64)
    else:
        sides, side, shift = np.arange(stride[1]), right % stride[1], right // stride[1]
    plane = round_up(rows * row, _LINE) + _LINE
    n = round_up((size[0] - 1) * row + size[1], _LINE)
    taps = ((down % stride[0]) * len(sides) + side) * (plane * stack) + (down // stride[0]) * row + shift
    channel = stride[0] * len(sides) * plane
    return Layout(stride, padding, sides.astype(np.int64), row, plane, channel, n, taps.reshape(-1).astype(np.int64))


def _offsets(layout: Layout, channels: int) -> NDArray[np.int64]:
    """Return the shifts of all kernel positions in all channels of a group."""
    return np.add.outer(np.arange(channels) * layout.channel, layout.taps).reshape(-1)


def _lines(out: Array, layout: Layout) -> Array:
    """Return out or its gradient, as one line per channel if it is laid out like the planes."""
    n, filters, rows, columns = out.shape
    return out.reshape(n, filters, 1, rows * columns) if layout.row == columns else out


def _is_matrix_product(kernel: Any, stride: Pair, padding: Pair, groups: int) -> bool:
    return tuple(kernel) == (1, 1) and stride == (1, 1) and padding == (0, 0) and groups == 1


def _nanoseconds(products: int, dtype: np.dtype[Any]) -> float:
    """Estimate the time for that many multiplications and additions on one thread."""
    return products * dtype.itemsize / 120.0


def _pair(value: int | Pair, name: str, least: int) -> Pair:
    pair = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"conv2d: {name} is {value!r}: give one integer, or two, of at least {least}")
    return int(pair[0]), int(pair[1])


def _checked(
    x: Array, weight: Array, stride: int | Pair, padding: int | Pair, dilation: int | Pair, groups: int
) -> tuple[Array, Array, Pair, Pair, Pair, Pair]:
    """Return contiguous x and weight, the pairs, and (OH, OW), or say what does not fit."""
    stride, padding = _pair(stride, "stride", 1), _pair(padding, "padding", 0)
    dilation = _pair(dilation, "dilation", 1)
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)) or weight.dtype != x.dtype:
        raise TypeError(f"conv2d: x is {x.dtype} and weight is {weight.dtype}: both must be float32, or both float64")
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"conv2d: x {x.shape} must be (N, C, H, W) and weight {weight.shape} (O, C / groups, KH, KW); "
            f"a single image goes in as x[None]"
        )
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"conv2d: x {x.shape} has {x.shape[1]} channels, but weight {weight.shape} in {groups} "
            f"groups takes {weight.shape[1] * max(groups, 0)}; the {weight.shape[0]} filters must divide "
            f"into the groups, too"
        )
    span = tuple(dilation[a] * (weight.shape[2 + a] - 1) + 1 for a in (0, 1))
    size = tuple((x.shape[2 + a] + 2 * padding[a] - span[a]) // stride[a] + 1 for a in (0, 1))
    if min(size) < 1 or min(weight.shape) < 1:
        raise ValueError(
            f"conv2d: a kernel of {weight.shape[2:]} with dilation {dilation} spans {span}, which does not "
            f"fit into x {x.shape} with padding {padding}"
        )
    return x, weight, stride, padding, dilation, (size[0], size[1])
