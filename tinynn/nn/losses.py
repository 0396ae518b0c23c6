"""Loss functions as modules; the formulas are in `tinynn.nn.loss_functions`."""

from __future__ import annotations

from typing import Any

from tinynn.creation import tensor
from tinynn.nn import loss_functions as L
from tinynn.nn.module import Module
from tinynn.tensor import Tensor


class _Loss(Module):
    """A loss with a reduction."""

    known: tuple[str, ...] = L.REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = L.check_reduction(type(self).__name__, reduction, self.known)

    def _add_buffer(self, name: str, value: Any) -> None:
        """Keep weights as a buffer, as PyTorch does: they are moved and saved with the module."""
        self.register_buffer(name, value if value is None or isinstance(value, Tensor) else tensor(value))

    def extra_repr(self) -> str:
        """The settings."""
        return f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """Mean squared error: (input - target)**2, then the mean (or sum) over all elements.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"

    Shapes: input and target (...), equal; a number, or (...) with "none".

    Raises
    ------
    ValueError
        If the shapes differ, such as (N,) and (N, 1), or there are no elements.
    TypeError
        If one is float32 and the other float64.

    Examples
    --------
    >>> import tinynn
    >>> loss_fn = tinynn.nn.MSELoss()
    >>> loss_fn(tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Mean absolute error: |input - target|. Parameters, shapes and errors as in `MSELoss`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.L1Loss()(tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 4.0]))
    tensor(1.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.l1_loss(input, target, self.reduction)


class HuberLoss(_Loss):
    """d**2/2 where |d| <= delta, else delta (|d| - delta/2), with d = input - target   (Huber, 1964).

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
    delta : where the parabola goes over into straight lines; positive

    Shapes and errors as in `MSELoss`; ValueError if ``delta`` is not positive.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.HuberLoss(reduction="none")(tinynn.tensor([0.5, 4.0]), tinynn.zeros(2))
    tensor([0.125, 3.5  ])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0.0:
            raise ValueError(f"HuberLoss: delta must be positive, not {delta}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.huber_loss(input, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{super().extra_repr()}, delta={self.delta}"


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[label] for logits x; with probabilities t as target, -sum_c t_c log softmax(x)_c.

    The network's last layer gives logits: no softmax before this loss.

    Parameters
    ----------
    weight : (C,), a factor for each class; a buffer
    ignore_index : rows with this label do not count
    reduction : "mean" (weighted by the labels' weights), "sum" or "none"
    label_smoothing : e in [0, 1]: the target becomes (1 - e) target + e/C (Szegedy et al., arXiv:1512.00567)

    Shapes: input (N, C), (C,) or (N, C, d1, ...); target (N,), () or (N, d1, ...) of integers, or
    probabilities of the input's shape.

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
    >>> tinynn.nn.CrossEntropyLoss()(tinynn.tensor([[0.0, 0.0], [5.0, 5.0]]), tinynn.tensor([1, 0]))
    tensor(0.69314718)
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be in [0, 1], not {label_smoothing}")
        self._add_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_Loss):
    """-x[label] for log-probabilities x, such as `LogSoftmax` gives.

    Parameters, shapes and errors as in `CrossEntropyLoss`.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.log(tinynn.tensor([[0.5, 0.5], [0.25, 0.75]]))
    >>> tinynn.nn.NLLLoss(reduction="sum")(x, tinynn.tensor([0, 0]))
    tensor(2.07944154)
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._add_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(_Loss):
    """-(t log p + (1 - t) log(1 - p)) for probabilities p and targets t; the logarithms are held at -100.

    `BCEWithLogitsLoss` on the values before the sigmoid is more accurate and has no such limit.

    Parameters
    ----------
    weight : factor of each loss, broadcast; a buffer
    reduction : "mean", "sum" or "none"

    Shapes: input and target (...), equal. Errors as in `MSELoss`, and ValueError for inputs outside [0, 1].

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.BCELoss()(tinynn.tensor([0.5, 0.5]), tinynn.tensor([1.0, 0.0]))
    tensor(0.69314718)
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._add_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """w t softplus(-x) + (1 - t) softplus(x) for logits x: `BCELoss` of sigmoid(x), exact at any size.

    Parameters
    ----------
    weight : factor of each loss, broadcast; a buffer
    reduction : "mean", "sum" or "none"
    pos_weight : w, factor of the positive class, one number per label, broadcast; a buffer

    Shapes and errors as in `MSELoss`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.BCEWithLogitsLoss()(tinynn.tensor([0.0, 1e4]), tinynn.tensor([1.0, 1.0]))
    tensor(0.34657359)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._add_buffer("weight", weight)
        self._add_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(_Loss):
    """t (log t - x) for log-probabilities x and probabilities t.

    Parameters
    ----------
    reduction : "mean" over elements, "batchmean" (the sum over N: the divergence itself), "sum" or "none"
    log_target : the target holds log-probabilities too

    Shapes: input and target (N, ...), equal. Errors as in `MSELoss`.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.log(tinynn.tensor([[0.5, 0.5]]))
    >>> tinynn.nn.KLDivLoss(reduction="batchmean")(x, tinynn.tensor([[1.0, 0.0]]))
    tensor(0.69314718)
    """

    known = (*L.REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return L.kl_div(input, target, self.reduction, self.log_target)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{super().extra_repr()}, log_target={self.log_target}"
