"""Two-dimensional convolution (cross-correlation, as in every neural-network library), forward and backward.

For x (N, C, H, W), weight (O, C / groups, KH, KW), and r = i * stride - padding + k * dilation along each axis::

    out[n, o, i, j] = bias[o] + sum_{c, k, l} weight[o, c, k, l] * x[n, c, r(i, k), r(j, l)]
    dx[n, c, r(i, k), r(j, l)] += weight[o, c, k, l] * g[n, o, i, j]
    dweight[o, c, k, l] = sum_{n, i, j} g[n, o, i, j] * x[n, c, r(i, k), r(j, l)],    dbias[o] = sum g[:, o]

How: an image is copied once, with its padding, into planes whose rows follow each other, one plane for each remainder
of row and column by the stride. Then position (i, j) of the output is element ``i * row + j`` of a vector, each weight
(c, k, l) multiplies a vector that starts at a fixed offset, and all three sums are products of ``shifted_products``,
without the k * l copies of the image that im2col makes. What the vectors hold between the rows of the output is
computed and not used (forward) or zero (backward). Kernels of 1 x 1 are matrix products and go to BLAS.
"""

from __future__ import annotations

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
_STACK = 1024  # elements: images smaller than this are laid end to end for the gradient of the weights


class Layout(NamedTuple):
    """Where an image's values are in its planes; the same numbers hold for one group of channels."""

    stride: Pair
    padding: Pair
    row: int  # length of a row of a plane
    plane: int  # distance between planes
    channel: int  # distance between channels: a plane for each pair of remainders
    n: int  # length of the vector that holds one channel of output, rounded up
    taps: NDArray[np.int64]  # (KH * KW,) offset of each kernel position within a channel


@njit(cache=True, **LOOP)
def _pack(
    x: Array, image: int, first: int, channels: int, stride: Pair, padding: Pair, row: int, plane: int, channel: int,
    planes: Array, start: int,
) -> None:  # fmt: skip
    """Copy channels first to first + channels of an image into zeroed planes, the first of them at ``start``."""
    height, width = x.shape[2], x.shape[3]
    for c in range(channels):
        for h in range(height):
            line, i = (h + padding[0]) % stride[0], (h + padding[0]) // stride[0]
            for b in range(min(stride[1], width)):  # columns b, b + stride, ... go to the same plane
                side, j = (b + padding[1]) % stride[1], (b + padding[1]) // stride[1]
                at = start + c * channel + (line * stride[1] + side) * plane + i * row + j
                to, count = np.uint64(at), (width - b + stride[1] - 1) // stride[1]
                for k in range(np.uint64(count)):
                    planes[to + k] = x[image, first + c, h, np.uint64(b) + k * np.uint64(stride[1])]


@njit(cache=True, **LOOP)
def _unpack(
    planes: Array, image: int, first: int, channels: int, stride: Pair, padding: Pair, row: int, plane: int,
    channel: int, x: Array,
) -> None:  # fmt: skip
    """Copy back what ``_pack`` copied."""
    height, width = x.shape[2], x.shape[3]
    for c in range(channels):
        for h in range(height):
            line, i = (h + padding[0]) % stride[0], (h + padding[0]) // stride[0]
            for b in range(min(stride[1], width)):
                side, j = (b + padding[1]) % stride[1], (b + padding[1]) // stride[1]
                at = np.uint64(c * channel + (line * stride[1] + side) * plane + i * row + j)
                count = (width - b + stride[1] - 1) // stride[1]
                for k in range(np.uint64(count)):
                    x[image, first + c, h, np.uint64(b) + k * np.uint64(stride[1])] = planes[at + k]


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
    first: int, last: int, x: Array, weight: Array, bias: Array, groups: int, stride: Pair, padding: Pair, row: int,
    plane: int, channel: int, n: int, offsets: Array, out: Array,
) -> None:  # fmt: skip
    """Images first to last. ``weight`` is (O, shifts), filled up with zeros; the last shifts point past the planes."""
    per_group, filters = x.shape[1] // groups, weight.shape[0] // groups
    planes = np.zeros(per_group * channel + n, x.dtype)
    sums, rows = np.empty(filters * n, x.dtype), np.arange(filters) * n
    for image in range(first, last):
        for group in range(groups):
            _pack(x, image, group * per_group, per_group, stride, padding, row, plane, channel, planes, 0)
            for o in range(filters):
                sums[o * n : (o + 1) * n] = bias[group * filters + o]
            add_shifted(sums, rows, weight[group * filters : (group + 1) * filters], planes, offsets, n)
            for o in range(filters):
                for i in range(out.shape[2]):
                    at = np.uint64(o * n + i * row)
                    for j in range(np.uint64(out.shape[3])):
                        out[image, group * filters + o, i, j] = sums[at + j]


@njit(cache=True, **LOOP)
def _backward_x(
    first: int, last: int, g: Array, weight: Array, groups: int, stride: Pair, padding: Pair, row: int, plane: int,
    channel: int, n: int, taps: Array, dx: Array,
) -> None:  # fmt: skip
    """Images first to last. ``weight`` is (KH * KW, C, filters of the group, filled up to a multiple of four)."""
    per_group, filters = dx.shape[1] // groups, g.shape[1] // groups
    lines = np.zeros(weight.shape[2] * n, g.dtype)
    offsets = np.arange(weight.shape[2]) * n
    planes = np.empty(per_group * channel + n, g.dtype)
    starts = np.arange(per_group) * channel
    for image in range(first, last):
        for group in range(groups):
            _spread(g, image, group * filters, filters, row, n, lines, 0)
            planes[:] = 0
            for k in range(taps.size):
                mine = weight[k, group * per_group : (group + 1) * per_group]
                add_shifted(planes, starts + taps[k], mine, lines, offsets, n)
            _unpack(planes, image, group * per_group, per_group, stride, padding, row, plane, channel, dx)


@njit(cache=True, **LOOP)
def _backward_weight(
    first: int, last: int, size: int, stack: int, g: Array, x: Array, groups: int, stride: Pair, padding: Pair,
    row: int, plane: int, channel: int, n: int, offsets: Array, dweight: Array,
) -> None:  # fmt: skip
    """Slots first to last of ``size`` images; dweight is (slots, O, shifts). ``stack`` images are laid end to end."""
    per_group, filters = x.shape[1] // groups, g.shape[1] // groups
    planes, lines = np.zeros(per_group * channel * stack + n, x.dtype), np.zeros(filters * plane * stack + n, x.dtype)
    rows = np.arange(filters) * (plane * stack)
    for slot in range(first, last):
        dweight[slot] = 0
        stop = min((slot + 1) * size, x.shape[0])
        for image in range(slot * size, stop, stack):
            count = min(stack, stop - image)
            for group in range(groups):
                for k in range(count):
                    _pack(
                        x, image + k, group * per_group, per_group, stride, padding, row, plane * stack,
                        channel * stack, planes, k * plane,
                    )  # fmt: skip
                    _spread(g, image + k, group * filters, filters, row, plane * stack, lines, k * plane)
                mine = dweight[slot, group * filters : (group + 1) * filters]
                add_products(mine, lines, rows, planes, offsets, (count - 1) * plane + n)
