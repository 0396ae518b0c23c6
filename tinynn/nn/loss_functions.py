"""The losses as functions of a prediction (``input``) and a target.

Prediction and target of a regression must have equal shapes. Broadcasting (N,) against (N, 1) would quietly
make an (N, N) table of differences, whose mean trains to nonsense; so it is an error here, while arithmetic
goes on to broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.functional import log_softmax
from tinynn.nn.class_labels import class_rows, labels_of
from tinynn.ops.activations import softplus
from tinynn.ops.comparison import less
from tinynn.ops.elementwise import exp, log, log1p, square
from tinynn.ops.indexing import take
from tinynn.ops.neural import SoftmaxCrossEntropy
from tinynn.ops.piecewise import abs, clip, where
from tinynn.ops.reduce import Mean, Sum, sum
from tinynn.ops.shape import broadcast_to, moveaxis, reshape

REDUCTIONS = ("mean", "sum", "none")
_MEAN, _SUM, _SOFTMAX_CROSS_ENTROPY = Mean(None, False), Sum(None, False), SoftmaxCrossEntropy()


# ----------------------------------------------------------------------------------------------- the two ends


def check_reduction(name: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> str:
    """Refuse a reduction that is not known."""
    if reduction not in known:
        raise ValueError(f"{name}: reduction must be one of {', '.join(map(repr, known))}, not {reduction!r}")
    return reduction


def _matched(name: str, input: Any, target: Any) -> Any:
    """The target, once shapes and dtypes fit; integers become floats, numbers and lists arrays."""
    if not hasattr(target, "dtype"):
        target = np.asarray(target, input.dtype)
    if input.shape != target.shape:
        raise ValueError(_shapes_differ(name, tuple(input.shape), tuple(target.shape)))
    if input.dtype != target.dtype:
        if target.dtype.kind == "f":
            raise TypeError(
                f"{name}: the input is {input.dtype} and the target is {target.dtype}. Convert the target, "
                f"target.to({str(input.dtype)!r}), or the model, model.to({str(target.dtype)!r})."
            )
        target = target.astype(input.dtype)
    return target


def _shapes_differ(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> str:
    message = f"{name}: the input has shape {a} and the target {b}; they must be equal. "
    if len(a) == 2 and a == (*b, 1):
        return message + "Use target.reshape(-1, 1), or output.squeeze(1)."
    if len(b) == 2 and b == (*a, 1):
        return message + "Use target.squeeze(1), or output.reshape(-1, 1)."
    if np.prod(a) == np.prod(b):
        return message + f"If the elements are in the same order, use target.reshape{a}."
    return message + "Nothing is broadcast in a loss; select or repeat what you mean to compare."


def _reduced(name: str, losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        if not losses.size:
            raise ValueError(f"{name}: the mean of no losses (shape {tuple(losses.shape)}); is the batch empty?")
        return apply(_MEAN, losses)
    if reduction == "sum":
        return apply(_SUM, losses)
    check_reduction(name, reduction)
    return losses


def _weighted(name: str, what: str, losses: Any, weight: Any) -> Any:
    """losses * weight, which must broadcast to their shape."""
    weight = _like(weight, losses)
    try:
        return losses * broadcast_to(weight, tuple(losses.shape))
    except ValueError:
        raise ValueError(
            f"{name}: {what} of shape {tuple(weight.shape)} does not broadcast to the losses of shape "
            f"{tuple(losses.shape)}"
        ) from None


def _like(weight: Any, losses: Any) -> Any:
    """Weights in the dtype of the losses."""
    if not hasattr(weight, "dtype"):
        return np.asarray(weight, losses.dtype)
    return weight if weight.dtype == losses.dtype else weight.astype(losses.dtype)


# ------------------------------------------------------------------------------------------------- regression


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)**2, element by element, then their mean or sum.

    Parameters
    ----------
    input, target : of equal shapes
    reduction : "mean", "sum" or "none"

    Raises
    ------
    ValueError
        If the shapes differ, or a mean is asked of no elements.
    TypeError
        If one is float32 and the other float64.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.mse_loss(tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 4.0]))
    tensor(2.)
    """
    d = input - _matched("mse_loss", input, target)
    return _reduced("mse_loss", square(d), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|; parameters and errors as in `mse_loss`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.l1_loss(tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 4.0]))
    tensor(1.)
    """
    return _reduced("l1_loss", abs(input - _matched("l1_loss", input, target)), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d**2/2 where |d| <= delta, else delta (|d| - delta/2), with d = input - target   (Huber, 1964).

    Computed as c (d - c/2) with c = d held between -delta and delta, which is both branches in one, and
    cannot overflow.

    Raises
    ------
    ValueError
        If ``delta`` is not positive, and as in `mse_loss`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.functional.huber_loss(tinynn.tensor([0.5, 4.0]), tinynn.zeros(2), reduction="none")
    tensor([0.125, 3.5  ])
    """
    if not delta > 0.0:
        raise ValueError(f"huber_loss: delta must be positive, not {delta}")
    d = input - _matched("huber_loss", input, target)
    c = clip(d, -delta, delta)
    return _reduced("huber_loss", c * (d - 0.5 * c), reduction)


# ---------------------------------------------------------------------------------------------- probabilities


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p (``input``) and targets t.

    The logarithms are held at -100, as in PyTorch, so that p = 0 or 1 gives no infinity; where they are held,
    their derivative is 0. `binary_cross_entropy_with_logits` has neither limit.

    Parameters
    ----------
    input : probabilities, in [0, 1]
    target : of the same shape, usually 0 or 1
    weight : factor of each loss, broadcast to their shape
    reduction : "mean", "sum" or "none"

    Raises
    ------
    ValueError
        If an input is not in [0, 1], and as in `mse_loss`.

    Examples
    --------
    >>> import tinynn
    >>> p, t = tinynn.tensor([0.5, 0.0]), tinynn.tensor([1.0, 1.0])
    >>> tinynn.nn.functional.binary_cross_entropy(p, t, reduction="none")
    tensor([  0.69314718, 100.        ])
    """
    target = _matched("binary_cross_entropy", input, target)
    p = getattr(input, "array", input)
    if p.size and (p.min() < 0.0 or p.max() > 1.0):
        raise ValueError(
            f"binary_cross_entropy: inputs must be probabilities, in [0, 1], but they go from {p.min()} to "
            f"{p.max()}; "
            "for raw outputs use binary_cross_entropy_with_logits (BCEWithLogitsLoss)"
        )
    one, other = less(_EXP_100, input), less(input, 1.0)  # where the logarithms are not held
    log_p = where(one, log(where(one, input, 1.0)), -100.0)
    log_q = where(other, log1p(-where(other, input, 0.0)), -100.0)
    losses = -(target * log_p + (1.0 - target) * log_q)
    losses = losses if weight is None else _weighted("binary_cross_entropy", "weight", losses, weight)
    return _reduced("binary_cross_entropy", losses, reduction)


_EXP_100 = float(np.exp(-100.0))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """-(w t log s(x) + (1 - t) log(1 - s(x))) for logits x (``input``), with s = sigmoid, w = ``pos_weight``.

    Computed as w t softplus(-x) + (1 - t) softplus(x), which is exact for logits of any size.

    Parameters
    ----------
    input, target : of equal shapes
    weight : factor of each loss
    reduction : "mean", "sum" or "none"
    pos_weight : factor of the positive class, one number per label; broadcast

    Examples
    --------
    >>> import tinynn
    >>> F = tinynn.nn.functional
    >>> x, t = tinynn.tensor([0.0, -1e4]), tinynn.tensor([1.0, 1.0])
    >>> F.binary_cross_entropy_with_logits(x, t, reduction="none")
    tensor([6.93147181e-01, 1.00000000e+04])
    """
    name = "binary_cross_entropy_with_logits"
    target = _matched(name, input, target)
    positive = target * softplus(-input)
    positive = positive if pos_weight is None else _weighted(name, "pos_weight", positive, pos_weight)
    losses = positive + (1.0 - target) * softplus(input)
    losses = losses if weight is None else _weighted(name, "weight", losses, weight)
    return _reduced(name, losses, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t (log t - x) for log-probabilities x (``input``) and probabilities t (``target``).

    0 log 0 counts as 0.

    Parameters
    ----------
    input : log-probabilities, (N, ...)
    target : probabilities, or their logarithms with ``log_target``, of the same shape
    reduction : "mean" (over elements), "batchmean" (the sum divided by N: the divergence itself), "sum",
        "none"

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.log(tinynn.tensor([[0.5, 0.5]]))
    >>> tinynn.nn.functional.kl_div(x, tinynn.tensor([[1.0, 0.0]]), reduction="batchmean")
    tensor(0.69314718)
    """
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    target = _matched("kl_div", input, target)
    if log_target:
        losses = exp(target) * (target - input)
    else:
        positive = less(0.0, target)
        losses = target * (log(where(positive, target, 1.0)) - input)
    if reduction != "batchmean":
        return _reduced("kl_div", losses, reduction)
    if not losses.size:
        raise ValueError(f"kl_div: the mean of no losses (shape {tuple(losses.shape)}); is the batch empty?")
    return sum(losses) / (losses.shape[0] if losses.shape else 1)


# ---------------------------------------------------------------------------------------------------- classes


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(x)[label] for logits x (``input``).

    With probabilities t as target, -sum_c t_c log softmax(x)_c.

    Parameters
    ----------
    input : (N, C), (C,), or (N, C, d1, ...)
    target : class labels, integers of shape (N,), (), or (N, d1, ...); or probabilities of the shape of
        ``input``
    weight : (C,), a factor for each class
    ignore_index : rows with this label do not count
    reduction : "mean", "sum" or "none". The mean of labels is weighted: sum of losses / sum of their weights
    label_smoothing : e in [0, 1]: the target becomes (1 - e) target + e/C (Szegedy et al., arXiv:1512.00567)

    Raises
    ------
    ValueError
        If shapes do not fit, or there is nothing to take the mean of.
    TypeError
        If labels are no integers.
    IndexError
        If a label is not in 0 ... C - 1.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([[0.0, 0.0], [1e4, -1e4]])
    >>> tinynn.nn.functional.cross_entropy(x, tinynn.tensor([1, 0]), reduction="none")
    tensor([0.69314718, 0.        ])
    """
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], not {label_smoothing}")
    if not hasattr(target, "dtype"):
        target = np.asarray(target)
    logits, places = class_rows("cross_entropy", input)
    weight = _class_weight("cross_entropy", weight, logits)
    if target.dtype.kind == "f" and target.shape == input.shape:
        if ignore_index >= 0:
            raise ValueError("cross_entropy: ignore_index has no meaning where the target is probabilities")
        losses = _soft_cross_entropy(logits, _matched("cross_entropy", input, target), weight, label_smoothing)
        return _reduced("cross_entropy", reshape(losses, places), reduction)
    labels, keep = labels_of("cross_entropy", target, input, places, ignore_index)
    labels = labels if keep is None else where(keep, labels, 0)
    losses = apply(_SOFTMAX_CROSS_ENTROPY, logits, labels)
    factors = None if weight is None else take(weight, labels)
    losses = losses if factors is None else losses * factors
    if label_smoothing:
        classes = logits.shape[1]
        log_p = log_softmax(logits) if weight is None else log_softmax(logits) * weight
        losses = losses * (1.0 - label_smoothing) - sum(log_p, axis=1) * (label_smoothing / classes)
    return _reduced_classes("cross_entropy", losses, factors, keep, places, reduction)


def _soft_cross_entropy(logits: Any, target: Any, weight: Any, smoothing: float) -> Any:
    classes = logits.shape[1]
    if len(target.shape) > 2:
        target = moveaxis(target, 1, -1)
    target = reshape(target, tuple(logits.shape))
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / classes
    if weight is not None:
        target = target * weight
    return -sum(target * log_softmax(logits), axis=1)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-x[label] for log-probabilities x (``input``), such as `log_softmax` gives.

    Parameters and errors as in `cross_entropy`.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.log(tinynn.tensor([[0.5, 0.5], [0.25, 0.75]]))
    >>> tinynn.nn.functional.nll_loss(x, tinynn.tensor([0, 0]), reduction="none")
    tensor([0.69314718, 1.38629436])
    """
    check_reduction("nll_loss", reduction)
    if not hasattr(target, "dtype"):
        target = np.asarray(target)
    rows, places = class_rows("nll_loss", input)
    weight = _class_weight("nll_loss", weight, rows)
    labels, keep = labels_of("nll_loss", target, input, places, ignore_index)
    labels = labels if keep is None else where(keep, labels, 0)
    losses = -rows[np.arange(rows.shape[0]), labels]
    factors = None if weight is None else take(weight, labels)
    losses = losses if factors is None else losses * factors
    return _reduced_classes("nll_loss", losses, factors, keep, places, reduction)


def _class_weight(name: str, weight: Any, rows: Any) -> Any:
    if weight is None:
        return None
    weight = _like(weight, rows)
    if tuple(weight.shape) != rows.shape[1:]:
        raise ValueError(
            f"{name}: weight has shape {tuple(weight.shape)}, but there are {rows.shape[1]} classes: one "
            "number for each"
        )
    return weight


def _reduced_classes(name: str, losses: Any, factors: Any, keep: Any, places: tuple[int, ...], reduction: str) -> Any:
    """Leave ignored rows out; the mean is over the weights of those that count."""
    if keep is not None:
        losses = where(keep, losses, 0.0)
        factors = keep.astype(losses.dtype) if factors is None else where(keep, factors, 0.0)
    if reduction == "mean" and factors is not None and losses.size:
        return sum(losses) / sum(factors)
    return _reduced(name, losses if reduction != "none" else reshape(losses, places), reduction)
