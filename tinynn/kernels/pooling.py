"""Maximum and average pooling of planes (N, C, H, W), forward and backward.

Output (i, j) looks at the window of rows i * stride - padding + (0 .. kernel - 1), and columns likewise;
there are ``(H + 2 * padding - kernel) // stride + 1`` rows of output. Maximum pooling ignores the padding,
and returns for each output the flat position in the H * W plane of the first maximum, which is all that
backward needs. Average pooling counts the padding as zeros (PyTorch's default, ``count_include_pad=True``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .memory import aligned_empty
from .threads import share

__all__ = ["avg_pool2d_backward", "avg_pool2d_forward", "max_pool2d_backward", "max_pool2d_forward"]

Array = NDArray[Any]
Pair = tuple[int, int]

LOOP = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "nogil": True}


@njit(cache=True, **LOOP, forceinline=True)
def _merge_columns(tops: Array, spots: Array, tap: np.uint64, step: np.uint64, best: Array, where: Array) -> None:
    """Let ``tops[tap + step * j]`` replace ``best[j]``: the larger, then the earlier; the last NaN."""
    for j in range(np.uint64(best.size)):
        value, spot = tops[tap + step * j], spots[tap + step * j]
        larger = (value > best[j]) | ((value == best[j]) & (spot < where[j]))
        nan = (value != value) & ((best[j] == best[j]) | (spot > where[j]))
        best[j] = value if larger | nan else best[j]
        where[j] = spot if larger | nan else where[j]


@njit(cache=True, **LOOP)
def _max_windows(
    first: int, last: int, x: Array, kernel: Pair, stride: Pair, padding: Pair, out: Array, index: Array
) -> None:
    """Planes of x (P, H, W), any window: maxima down the columns, then along the row that they form."""
    height, width, outputs = x.shape[1], x.shape[2], out.shape[2]
    tops = np.full(width + 2 * padding[1], -np.inf, x.dtype)  # a padded row
    spots = np.full(tops.size, height * width, index.dtype)
    best, where = np.empty(outputs, x.dtype), np.empty(outputs, index.dtype)
    left, step = np.uint64(padding[1]), np.uint64(stride[1])
    for plane in range(first, last):
        for i in range(out.shape[1]):
            top = max(i * stride[0] - padding[0], 0)
            bottom = min(i * stride[0] - padding[0] + kernel[0], height)
            for c in range(np.uint64(width)):
                tops[left + c] = x[plane, top, c]
                spots[left + c] = index.dtype.type(top * width) + index.dtype.type(c)
            for row in range(top + 1, bottom):
                base = index.dtype.type(row * width)
                for c in range(np.uint64(width)):
                    value = x[plane, row, c]
                    take = (value > tops[left + c]) | (value != value)
                    tops[left + c] = value if take else tops[left + c]
                    spots[left + c] = base + index.dtype.type(c) if take else spots[left + c]
            for j in range(np.uint64(outputs)):
                best[j], where[j] = tops[step * j], spots[step * j]
            for tap in range(np.uint64(1), np.uint64(kernel[1])):
                if stride[1] == 1:  # a constant step is what lets the loop become vector code
                    _merge_columns(tops, spots, tap, np.uint64(1), best, where)
                elif stride[1] == 2:
                    _merge_columns(tops, spots, tap, np.uint64(2), best, where)
                else:
                    _merge_columns(tops, spots, tap, step, best, where)
            for j in range(outputs):
                out[plane, i, j] = best[j]
                index[plane, i, j] = where[j]


@njit(cache=True, **LOOP)
def _max_quads(first: int, last: int, x: Array, out: Array, index: Array) -> None:
    """Windows of 2 x 2, stride 2, no padding: ``_max_windows`` without its inner loops and branches."""
    width = x.shape[2]
    for plane in range(first, last):
        for i in range(out.shape[1]):
            upper, lower = x[plane, 2 * i], x[plane, 2 * i + 1]
            for j in range(out.shape[2]):
                a, b, c, d = upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]
                at = 2 * i * width + 2 * j
                at_b, at_c, at_d = at + 1, at + width, at + width + 1
                take_b = (b > a) | (b != b)
                a, at = (b if take_b else a), (at_b if take_b else at)
                take_c = (c > a) | (c != c)
                a, at = (c if take_c else a), (at_c if take_c else at)
                take_d = (d > a) | (d != d)
                out[plane, i, j] = d if take_d else a
                index[plane, i, j] = at_d if take_d else at


@njit(cache=True, **LOOP)
def _max_back(first: int, last: int, g: Array, index: Array, dx: Array) -> None:
    """dx[plane, index] += g, in order; planes first to last of arrays (P, positions)."""
    for plane in range(first, last):
        dx[plane] = 0
        for k in range(g.shape[1]):
            dx[plane, np.uint64(index[plane, k])] += g[plane, k]


@njit(cache=True, **LOOP, forceinline=True)
def _add_columns(line: Array, tap: np.uint64, step: np.uint64, total: Array) -> None:
    for j in range(np.uint64(total.size)):
        total[j] += line[tap + step * j]


@njit(cache=True, **LOOP)
def _mean_windows(
    first: int, last: int, x: Array, kernel: Pair, stride: Pair, padding: Pair, scale: Any, out: Array
) -> None:
    """out = scale * sum over the window: sums down the columns, then along the row that they form."""
    height, width, outputs = x.shape[1], x.shape[2], out.shape[2]
    line, total = np.zeros(width + 2 * padding[1], x.dtype), np.empty(outputs, x.dtype)
    left, step = np.uint64(padding[1]), np.uint64(stride[1])
    for plane in range(first, last):
        for i in range(out.shape[1]):
            top = i * stride[0] - padding[0]
            line[:] = 0
            for row in range(max(top, 0), min(top + kernel[0], height)):
                for c in range(np.uint64(width)):
                    line[left + c] += x[plane, row, c]
            total[:] = 0
            for tap in range(np.uint64(kernel[1])):
                if stride[1] == 1:
                    _add_columns(line, tap, np.uint64(1), total)
                elif stride[1] == 2:
                    _add_columns(line, tap, np.uint64(2), total)
                else:
                    _add_columns(line, tap, step, total)
            for j in range(outputs):
                out[plane, i, j] = total[j] * scale


@njit(cache=True, **LOOP)
def _mean_back(
    first: int, last: int, g: Array, kernel: Pair, stride: Pair, padding: Pair, scale: Any, dx: Array
) -> None:
    """dx += scale * g at every position of the window: along a row, then down the columns."""
    height, width = dx.shape[1:]
    line = np.empty(width + 2 * padding[1], dx.dtype)
    left, step = np.uint64(padding[1]), np.uint64(stride[1])
    for plane in range(first, last):
        dx[plane] = 0
        for i in range(g.shape[1]):
            line[:] = 0
            for tap in range(np.uint64(kernel[1])):
                for j in range(np.uint64(g.shape[2])):
                    line[tap + step * j] += g[plane, i, j] * scale
            top = i * stride[0] - padding[0]
            for row in range(max(top, 0), min(top + kernel[0], height)):
                for c in range(np.uint64(width)):
                    dx[plane, row, c] += line[left + c]


def max_pool2d_forward(
    x: Array, kernel: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> tuple[Array, Array]:
    """Return the window maxima (N, C, OH, OW) and their flat positions in the H * W plane (int32, or int64 if
    needed).

    Ties go to the first position in reading order. A NaN in the window is its maximum, and its position is
    that of the last NaN, as in PyTorch.

    Examples
    --------
    >>> out, index = max_pool2d_forward(np.array([[[[1.0, 5.0], [5.0, 2.0]]]]), kernel=2)
    >>> out.tolist(), index.tolist()
    ([[[[5.0]]]], [[[[1]]]])
    """
    x, kernel, stride, padding, shape = _checked("max_pool2d", x, kernel, stride, padding)
    out = aligned_empty(shape, x.dtype)
    index = aligned_empty(shape, np.int32 if x.shape[2] * x.shape[3] < 2**31 else np.int64)
    planes, out_planes, index_planes = _planes(x), _planes(out), _planes(index)
    if (kernel, stride, padding) == ((2, 2), (2, 2), (0, 0)):
        share(_max_quads, len(planes), 0.3 * x.size, planes, out_planes, index_planes)
    else:
        work = 0.5 * out.size * kernel[0] * kernel[1]
        share(_max_windows, len(planes), work, planes, kernel, stride, padding, out_planes, index_planes)
    return out, index


def max_pool2d_backward(g: Array, index: Array, x_shape: tuple[int, ...]) -> Array:
    """Return dx of shape ``x_shape``: each g goes to the position in its plane that the maximum came from.

    Examples
    --------
    >>> max_pool2d_backward(np.array([[[[3.0]]]]), np.array([[[[1]]]]), (1, 1, 2, 2)).tolist()
    [[[[0.0, 3.0], [0.0, 0.0]]]]
    """
    if g.shape != index.shape or g.shape[:2] != tuple(x_shape[:2]) or len(x_shape) != 4:
        raise ValueError(
            f"max_pool2d backward: g {g.shape} and index {index.shape} must have one shape, and share N "
            f"and C with x {tuple(x_shape)}"
        )
    dx = aligned_empty(tuple(x_shape), g.dtype)
    planes, positions, spots = g.shape[0] * g.shape[1], g.shape[2] * g.shape[3], x_shape[2] * x_shape[3]
    g, index = np.ascontiguousarray(g), np.ascontiguousarray(index)
    flat = g.reshape(planes, positions), index.reshape(planes, positions), dx.reshape(planes, spots)
    share(_max_back, planes, 0.4 * dx.size, *flat)
    return dx


def avg_pool2d_forward(
    x: Array, kernel: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Array:
    """Return the window means (N, C, OH, OW); padding counts as zeros.

    Examples
    --------
    >>> avg_pool2d_forward(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]), kernel=2).tolist()
    [[[[3.0]]]]
    """
    x, kernel, stride, padding, shape = _checked("avg_pool2d", x, kernel, stride, padding)
    out = aligned_empty(shape, x.dtype)
    area = kernel[0] * kernel[1]
    scale = x.dtype.type(1.0 / area)
    share(
        _mean_windows,
        len(_planes(x)),
        0.3 * out.size * area,
        _planes(x),
        kernel,
        stride,
        padding,
        scale,
        _planes(out),
    )
    return out


def avg_pool2d_backward(
    g: Array,
    x_shape: tuple[int, ...],
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
) -> Array:
    """Return dx of shape ``x_shape``: each g is shared equally by the positions of its window.

    Examples
    --------
    >>> avg_pool2d_backward(np.array([[[[4.0]]]]), (1, 1, 2, 2), kernel=2).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """
    dx = aligned_empty(tuple(x_shape), g.dtype)
    _, kernel, stride, padding, shape = _checked("avg_pool2d", dx, kernel, stride, padding)
    if g.shape != shape:
        raise ValueError(f"avg_pool2d backward: g has shape {g.shape}, but for x {dx.shape} the output is {shape}")
    g, area = np.ascontiguousarray(g), kernel[0] * kernel[1]
    scale = g.dtype.type(1.0 / area)
    share(
        _mean_back,
        len(_planes(dx)),
        0.5 * g.size * area,
        _planes(g),
        kernel,
        stride,
        padding,
        scale,
        _planes(dx),
    )
    return dx


def _planes(x: Array) -> Array:
    """Return (N, C, H, W) as (N * C, H, W)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _pair(value: int | Pair, name: str) -> Pair:
    pair = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name} is {value!r}: give one integer, or two (for rows and for columns)")
    return int(pair[0]), int(pair[1])


def _checked(
    name: str, x: Array, kernel: int | Pair, stride: int | Pair | None, padding: int | Pair
) -> tuple[Array, Pair, Pair, Pair, tuple[int, ...]]:
    """Return contiguous x, the three pairs and the shape of the output, or say what does not fit."""
    kernel = _pair(kernel, "kernel")
    stride = kernel if stride is None else _pair(stride, "stride")
    padding = _pair(padding, "padding")
    x = np.ascontiguousarray(x)
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{name} of {x.dtype}: x must be float32 or float64; cast it first")
    if x.ndim != 4:
        raise ValueError(f"{name}: x has shape {x.shape}, but (N, C, H, W) is needed; reshape it first")
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: kernel {kernel} and stride {stride} must be positive, padding {padding} not negative"
        )
    if padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        raise ValueError(f"{name}: padding {padding} is more than half of the kernel {kernel}: windows would be empty")
    size = tuple((x.shape[2 + a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1))
    if min(size) < 1:
        raise ValueError(f"{name}: a window of {kernel} does not fit into x {x.shape} with padding {padding}")
    return x, kernel, stride, padding, (*x.shape[:2], *size)
