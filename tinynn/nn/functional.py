"""Layers, activations and losses as functions, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn import functional as composites
from tinynn import random
from tinynn.kernels.philox import blocks_consumed
from tinynn.modes import mode
from tinynn.nn.line_functions import adaptive_avg_pool1d, avg_pool1d, conv1d, max_pool1d
from tinynn.nn.loss_functions import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
)
from tinynn.nn.plane_functions import avg_pool2d, conv2d, max_pool2d
from tinynn.ops import activations, elementwise, neural, piecewise, piecewise_activations
from tinynn.ops.activations import (
    celu,
    elu,
    gelu,
    leaky_relu,
    logsigmoid,
    relu,
    selu,
    silu,
    softsign,
    tanhshrink,
)
from tinynn.ops.comparison import equal
from tinynn.ops.elementwise import sigmoid, tanh
from tinynn.ops.indexing import one_hot, take
from tinynn.ops.linalg import linear
from tinynn.ops.piecewise_activations import hardshrink, hardtanh, relu6, softshrink, threshold
from tinynn.ops.shape import expand_dims, normalize_axis, reshape
from tinynn.ops.transfer import refuse_mixed
from tinynn.random import Generator
from tinynn.tensor import Tensor

# ------------------------------------------------------------------------------------------------ activations


def softplus(x: Any, beta: float = 1.0) -> Any:
    """log(1 + exp(beta x))/beta.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.softplus(tinynn.tensor([0.0]), beta=2.0)
    tensor([0.34657359])
    """
    return activations.softplus(x) if beta == 1.0 else activations.softplus(x * beta) / beta


def prelu(x: Any, weight: Any) -> Any:
    """x where x > 0, else weight x, with one weight for all or one per channel (He et al., arXiv:1502.01852).

    Parameters
    ----------
    x : (N, C, ...)
    weight : (1,), or (C,)

    Raises
    ------
    ValueError
        If there are other than one or C weights.
    TypeError
        If the dtypes of ``x`` and ``weight`` differ.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.prelu(tinynn.tensor([[-2.0, -2.0]]), tinynn.tensor([0.25, 0.5]))
    tensor([[-0.5, -1. ]])
    """
    check_dtype("prelu", x, weight)
    shape, count = tuple(x.shape), math.prod(weight.shape)
    if count == 1:
        return piecewise_activations.prelu(x, reshape(weight, ()))
    if len(weight.shape) != 1 or len(shape) < 2 or count != shape[1]:
        raise ValueError(
            f"prelu: weight must hold one number, or one for each channel of x, (N, C, ...); it has shape "
            f"{tuple(weight.shape)}, and x {shape}"
        )
    return piecewise_activations.prelu(x, reshape(weight, (-1, *[1] * (len(shape) - 2))))


def rrelu(
    x: Any,
    lower: float = 1.0 / 8.0,
    upper: float = 1.0 / 3.0,
    training: bool = False,
    generator: Generator | None = None,
) -> Any:
    """x where x > 0, else slope x; in training each element draws its slope from U[lower, upper), else it is the mean.

    Source: Xu et al., arXiv:1505.00853.

    Raises
    ------
    ValueError
        If ``lower`` is above ``upper``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.rrelu(tinynn.tensor([-2.0, 3.0]), 0.25, 0.75)
    tensor([-1.,  3.])
    """
    if not lower <= upper:
        raise ValueError(f"rrelu: lower must not be above upper, but they are {lower!r} and {upper!r}")
    if not training:
        return leaky_relu(x, 0.5 * (lower + upper))
    slopes = random.rand(*x.shape, generator=generator, dtype=x.dtype) * (upper - lower) + lower
    return piecewise_activations.prelu(x, slopes)


def softmin(x: Any, dim: int = -1, axis: int | None = None) -> Any:
    """exp(-x)/sum(exp(-x)) along an axis, without overflow. ``axis`` is another name of ``dim``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.softmin(tinynn.tensor([0.0, 1000.0]))
    tensor([1., 0.])
    """
    return softmax(-x, dim, axis)


def softmax(x: Any, dim: int = -1, axis: int | None = None) -> Any:
    """exp(x)/sum(exp(x)) along an axis, without overflow. ``axis`` is another name of ``dim``.

    Raises
    ------
    IndexError
        If there is no such axis.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.softmax(tinynn.tensor([0.0, 1000.0]))
    tensor([0., 1.])
    """
    return composites.softmax(x, normalize_axis(dim if axis is None else axis, len(x.shape)))


def log_softmax(x: Any, dim: int = -1, axis: int | None = None) -> Any:
    """x - log(sum(exp(x))) along an axis, without overflow. ``axis`` is another name of ``dim``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.log_softmax(tinynn.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """
    return composites.log_softmax(x, normalize_axis(dim if axis is None else axis, len(x.shape)))


# ---------------------------------------------------------------------------------------------- normalisation


def check_dtype(name: str, x: Any, weight: Any) -> None:
    """Refuse an input whose dtype is not that of the layer's parameters."""
    if weight is not None:
        refuse_mixed(name, x, weight)


def layer_norm(
    x: Any, normalized_shape: int | tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean)/sqrt(var + eps) * weight + bias over the last axes, which have ``normalized_shape``.

    Source: Ba, Kiros & Hinton, arXiv:1607.06450.

    Raises
    ------
    ValueError
        If the last axes of ``x`` have another shape.
    TypeError
        If the dtypes of ``x`` and ``weight`` differ.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.layer_norm(tinynn.tensor([[1.0, 3.0]]), 2, eps=0.0)
    tensor([[-1.,  1.]])
    """
    check_dtype("layer_norm", x, bias if weight is None else weight)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return neural.layer_norm(x, shape, weight, bias, eps)


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x - mean)/sqrt(var + eps) * weight + bias in each channel.

    In training, mean and (biased) variance are those of the batch, and the running ones, where given, move
    on: running = (1 - momentum) running + momentum batch, for the variance with the unbiased estimate. In
    evaluation they are the running ones.

    Source: Ioffe & Szegedy, arXiv:1502.03167, algorithm 1.

    Parameters
    ----------
    x : (N, C, ...)
    running_mean, running_var, weight, bias : (C,) or None

    Raises
    ------
    ValueError
        If shapes do not fit, or a channel has less than two values in training; nothing has changed then.
    TypeError
        If dtypes differ.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([[1.0], [3.0]])
    >>> tinynn.nn.functional.batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1.],
            [ 1.]])
    """
    shape = tuple(x.shape)
    if len(shape) < 2:
        raise ValueError(f"batch_norm: the input must be (N, C, ...), but has shape {shape}")
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value is not None and tuple(value.shape) != shape[1:2]:
            raise ValueError(
                f"batch_norm: an input of shape {shape} has {shape[1]} channels, but {name} has shape "
                f"{tuple(value.shape)}"
            )
        check_dtype("batch_norm", x, value)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: evaluation needs running_mean and running_var; give them, or training=True")
        scale = 1.0 / elementwise.sqrt(running_var + eps)
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        across = (-1, *[1] * (len(shape) - 2))
        return x * reshape(scale, across) + reshape(shift, across)
    n = x.size // shape[1] if shape[1] else 0
    if n < 2:
        raise ValueError(
            f"batch_norm: an input of shape {shape} has {n} value{'s' if n != 1 else ''} per channel, and "
            "training needs two or "
            "more for a variance. Use a larger batch, DataLoader(..., drop_last=True), or model.eval()."
        )
    out, mean, variance = neural.batch_norm(x, weight, bias, eps)
    if running_mean is not None:
        running_mean.assign_(running_mean * (1.0 - momentum) + mean * momentum)
    if running_var is not None:
        running_var.assign_(running_var * (1.0 - momentum) + variance * (momentum * (n / (n - 1))))
    return out


# ----------------------------------------------------------------------------------------- dropout, embedding


def dropout(x: Any, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Any:
    """x/(1 - p) where the element is kept, else 0; each is dropped with probability p. In evaluation: x.

    Source: Srivastava et al., JMLR 15 (2014). The mask follows from the generator's seed and counter, and is
    not stored.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1].

    Examples
    --------
    >>> import tinynn
    >>> _ = tinynn.manual_seed(0)
    >>> a = tinynn.nn.functional.dropout(tinynn.ones(8))
    >>> _ = tinynn.manual_seed(0)
    >>> bool((a == tinynn.nn.functional.dropout(tinynn.ones(8))).all())
    True
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be a probability, 0 <= p <= 1, not {p}")
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return piecewise.where(True, 0.0, x)
    source = random.default_generator if generator is None else generator
    return neural.dropout_at(x, p, source.position(blocks_consumed("bits", math.prod(x.shape))))


def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Row ``i`` of ``weight`` for each index ``i``.

    Parameters
    ----------
    indices : integers in 0 ... rows - 1, of any shape
    weight : (rows, features)
    padding_idx : a row that gets no gradient

    Returns
    -------
    (*indices.shape, features)

    Raises
    ------
    TypeError
        If the indices are no integers.
    IndexError
        If an index is out of range.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.embedding([1, 0], tinynn.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    indices = indices if hasattr(indices, "dtype") else np.asarray(indices, None if np.size(indices) else np.intp)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices must be integers, not {indices.dtype}; use .to('int64')")
    raw = getattr(indices, "array", indices)
    if mode.recorder is None and raw.size and (int(raw.min()) < 0 or int(raw.max()) >= weight.shape[0]):
        raise IndexError(
            f"embedding: indices must be in 0 ... {weight.shape[0] - 1}, but they go from {int(raw.min())} "
            f"to {int(raw.max())}"
        )
    out = take(weight, indices, 0)
    if padding_idx is None:
        return out
    return piecewise.where(expand_dims(equal(indices, padding_idx), -1), piecewise.stop_gradient(out), out)


__all__ = [
    "adaptive_avg_pool1d", "avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "celu", "conv1d", "conv2d", "cross_entropy", "dropout", "elu",
    "embedding", "gelu", "hardshrink", "hardtanh", "huber_loss", "kl_div", "l1_loss", "layer_norm",
    "leaky_relu", "linear", "log_softmax", "logsigmoid", "max_pool1d", "max_pool2d", "mse_loss", "nll_loss",
    "one_hot", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip
