"""The Numba backend: which ops have a compiled kernel, and what each kernel is given.

Elementwise kernels are printed from the op's own formulas (`tinynn.kernels.elementwise`); the loops of norms,
convolution, pooling, cross-entropy, dropout and scatter are in `tinynn.kernels`. Numba is imported, and a kernel
compiled (or loaded from the disk cache), when the first large array arrives. Not while `tinynn.compile` records,
though: that run is followed by one more, and then by the program's own kernels.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynn.backends.formulas import FUNCTIONS, formula_of
from tinynn.kernels.memory import aligned_empty
from tinynn.modes import mode
from tinynn.ops import convolution, indexing, neural
from tinynn.ops.base import Op

name = "numba"
_WORTH_LOADING = 1 << 20  # elements for which Numba is loaded even if it is for two steps
_FLOATS = {np.dtype(np.float64), np.dtype(np.float32)}


def _needs_numba(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel declines without Numba (after one notice), and where Numba would be loaded for a recording only."""

    @functools.wraps(kernel)
    def wrapper(*args: Any) -> Any:
        if mode.recorder is not None and "numba" not in sys.modules and args[1].size < _WORTH_LOADING:
            return None
        try:
            return kernel(*args)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] not in ("numba", "llvmlite"):
                raise
            from tinynn.backends.select import numba_missing

            numba_missing()
            return None

    return wrapper


def _plain(*arrays: Any) -> bool:
    """Whether all arrays are contiguous, of one floating-point dtype (None counts as fitting)."""
    dtype = arrays[0].dtype
    if dtype not in _FLOATS:
        return False
    for a in arrays:
        if a is not None and (a.__class__ is not np.ndarray or a.dtype != dtype or not a.flags.c_contiguous):
            return False
    return True


# ---------------------------------------------------------------------------------------------------- elementwise


@functools.cache
def _printed(key: tuple[Any, ...], dtype: np.dtype[Any], gradient: int | None) -> Any:
    """The kernel of an op's forward formula, or of the gradient by one input."""
    from tinynn.kernels.elementwise import compile_elementwise

    label, function, inputs, output, comment = formula_of(key, gradient)
    return compile_elementwise(label, function, inputs, dtype=dtype, comment=comment, outputs=[output])


@_needs_numba
def elementwise_forward(op: Op, x: Any) -> Any:
    """Forward kernel of a function of one array."""
    if not _plain(x):
        return None
    out = aligned_empty(x.shape, x.dtype)
    _printed(op.key(), x.dtype, None)(out, x)
    return out


@_needs_numba
def elementwise_gradient(op: Op, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of a function of one array."""
    rule = op.rules[0]
    assert rule is not None
    values = [saved[label] for label in rule[1]]
    if not _plain(g, *values) or any(v.shape != g.shape for v in values):
        return None
    out = aligned_empty(g.shape, g.dtype)
    _printed(op.key(), g.dtype, 0)(out, g, *values)
    return (out,)


# ---------------------------------------------------------------------------------------------------------- norms


@_needs_numba
def layer_norm(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Forward kernel of `LayerNorm`."""
    if not _plain(x, weight, bias):
        return None
    from tinynn.kernels.normalization import layer_norm_forward

    out, mean, rstd = layer_norm_forward(x, weight, bias, op.eps)
    return out, mean.reshape(-1, 1), rstd.reshape(-1, 1)


@_needs_numba
def batch_norm(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Forward kernel of `BatchNorm`."""
    if not _plain(x, weight, bias):
        return None
    from tinynn.kernels.normalization import batch_norm_forward

    out, *statistics = batch_norm_forward(x, weight, bias, op.eps)
    return (out, *[s.reshape(1, -1, 1) for s in statistics])


@_needs_numba
def norm_gradient(op: Any, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of `LayerNorm` and `BatchNorm`: all three in one pass."""
    if not {"x", "mean", "rstd", "weight"} <= saved.keys():
        return None
    x, weight = saved["x"], saved["weight"]
    if not _plain(x, weight) or g.dtype != x.dtype:
        return None
    from tinynn.kernels.normalization import batch_norm_backward, layer_norm_backward

    kernel = layer_norm_backward if isinstance(op, neural.LayerNorm) else batch_norm_backward
    return kernel(np.ascontiguousarray(g), x, saved["mean"].reshape(-1), saved["rstd"].reshape(-1), weight)


# ------------------------------------------------------------------------------- dropout, cross-entropy, scatter


@_needs_numba
def dropout(op: Any, x: Any, position: Any) -> Any:
    """Forward (and, through the op's own formula, gradient) kernel of `Dropout`."""
    if not _plain(x):
        return None
    from tinynn.kernels.dropout import dropout as kernel

    return kernel(x, op.p, int(position[0]), int(position[1]))


@_needs_numba
def cross_entropy(op: Any, logits: Any, labels: Any) -> Any:
    """Forward kernel of `SoftmaxCrossEntropy`."""
    if not _plain(logits):
        return None
    from tinynn.kernels.cross_entropy import softmax_cross_entropy_forward

    losses, logsumexp = softmax_cross_entropy_forward(logits, labels)
    return losses, logsumexp.reshape(-1, 1)


@_needs_numba
def cross_entropy_gradient(op: Any, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of `SoftmaxCrossEntropy`."""
    logits = saved["logits"]
    if not _plain(logits) or g.dtype != logits.dtype:
        return None
    from tinynn.kernels.cross_entropy import softmax_cross_entropy_backward

    losses = np.ascontiguousarray(g)
    return (softmax_cross_entropy_backward(losses, logits, saved["labels"], saved["logsumexp"].reshape(-1)),)


@_needs_numba
def scatter(op: Any, values: Any, *indices: Any) -> Any:
    """Forward kernel of `Scatter` for one index array along the first axis: the gradient of an embedding."""
    if len(op.pattern) != 1 or len(indices) != 1 or indices[0].dtype.kind not in "iu" or not _plain(values):
        return None
    from tinynn.kernels.scatter import scatter_add_rows

    index = indices[0].reshape(-1)
    index = np.where(index < 0, index + op.shape[0], index)
    out = np.zeros(op.shape, values.dtype)
    width = int(np.prod(op.shape[1:]))
    scatter_add_rows(out.reshape(op.shape[0], width), index, values.reshape(index.size, width))
    return out


# ---------------------------------------------------------------------------------------- convolution and pooling


@_needs_numba
def conv2d(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Forward kernel of `Conv2d`."""
    if not _plain(x, weight, bias):
        return None
    from tinynn.kernels.convolution import conv2d_forward

    return conv2d_forward(x, weight, bias, op.stride, op.padding, op.dilation, op.groups)


@_needs_numba
def conv2d_gradient(op: Any, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of `Conv2d`."""
    needs = [parent is not None for parent in parents]
    x, weight = saved.get("x"), saved.get("weight")
    if (needs[0] and not needs[1]) or x is None:
        return None  # the kernel reads shapes from both arrays; the formulas keep only one of them here
    if weight is None:
        weight = np.zeros(saved["weight_shape"], x.dtype)  # dL/dx is not asked for: only the shape is read
    if not _plain(x, weight) or g.dtype != x.dtype:
        return None
    from tinynn.kernels.convolution import conv2d_backward

    return conv2d_backward(np.ascontiguousarray(g), x, weight, op.stride, op.padding, op.dilation, op.groups, *needs)


@_needs_numba
def max_pool2d(op: Any, x: Any) -> Any:
    """Forward kernel of `MaxPool2d`."""
    if not _plain(x):
        return None
    from tinynn.kernels.pooling import max_pool2d_forward

    return max_pool2d_forward(x, op.kernel, op.stride, op.padding)


@_needs_numba
def max_pool2d_gradient(op: Any, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of `MaxPool2d`."""
    if not _plain(g):
        return None
    from tinynn.kernels.pooling import max_pool2d_backward

    return (max_pool2d_backward(g, saved["index"], saved["x_shape"]),)


@_needs_numba
def avg_pool2d(op: Any, x: Any) -> Any:
    """Forward kernel of `AvgPool2d`."""
    if not _plain(x):
        return None
    from tinynn.kernels.pooling import avg_pool2d_forward

    return avg_pool2d_forward(x, op.kernel, op.stride, op.padding)


@_needs_numba
def avg_pool2d_gradient(op: Any, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of `AvgPool2d`."""
    if not _plain(g):
        return None
    from tinynn.kernels.pooling import avg_pool2d_backward

    return (avg_pool2d_backward(g, saved["x_shape"], op.kernel, op.stride, op.padding),)


FORWARD: dict[type, Callable[..., Any]] = {
    **dict.fromkeys(FUNCTIONS, elementwise_forward),
    neural.LayerNorm: layer_norm,
    neural.BatchNorm: batch_norm,
    neural.Dropout: dropout,
    neural.SoftmaxCrossEntropy: cross_entropy,
    indexing.Scatter: scatter,
    convolution.Conv2d: conv2d,
    convolution.MaxPool2d: max_pool2d,
    convolution.AvgPool2d: avg_pool2d,
}
GRADIENT: dict[type, Callable[..., Any]] = {
    **dict.fromkeys(FUNCTIONS, elementwise_gradient),
    neural.LayerNorm: norm_gradient,
    neural.BatchNorm: norm_gradient,
    neural.SoftmaxCrossEntropy: cross_entropy_gradient,
    convolution.Conv2d: conv2d_gradient,
    convolution.MaxPool2d: max_pool2d_gradient,
    convolution.AvgPool2d: avg_pool2d_gradient,
}
