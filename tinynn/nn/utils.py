"""Gradients held within bounds, between ``backward()`` and ``optimizer.step()``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tinynn.creation import tensor
from tinynn.modes import no_grad
from tinynn.ops.elementwise import sqrt
from tinynn.ops.piecewise import abs, clip, maximum
from tinynn.optim.checks import check_number
from tinynn.tensor import Tensor


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor, so that as one long vector they have at most the norm ``max_norm``::

        g <- g min(1, max_norm / (norm + 1e-6))

    Pascanu et al., arXiv:1211.5063. Parameters without a gradient are left out. The gradients are replaced,
    not written to.

    Parameters
    ----------
    parameters : tensor, or iterable of tensors
    max_norm : >= 0
    norm_type : the p of the p-norm, > 0; ``math.inf`` for the largest element
    error_if_nonfinite : raise if the norm is infinite or NaN

    Returns
    -------
    the norm before clipping, a tensor without axes

    Raises
    ------
    ValueError
        If ``max_norm`` or ``norm_type`` is out of its range.
    ArithmeticError
        With ``error_if_nonfinite``, if the norm is not finite. No gradient has changed then.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> tinynn.nn.utils.clip_grad_norm_([x], max_norm=1.0)
    tensor(10.)
    >>> x.grad
    tensor([0.59999994, 0.79999992])
    """
    check_number("clip_grad_norm_", "max_norm", max_norm, least=0.0)
    if not norm_type > 0.0:
        raise ValueError(f"clip_grad_norm_: norm_type must be greater than 0, got {norm_type!r}")
    having = [p for p in _listed("clip_grad_norm_", parameters) if p.grad is not None]
    if not having:
        return tensor(0.0)
    gradients = [_gradient(p) for p in having]
    total: Any = None
    for g in gradients:
        if norm_type == math.inf:
            part = abs(g).max()
            total = part if total is None else maximum(total, part)
        else:
            part = (g * g if norm_type == 2.0 else abs(g) ** norm_type).sum()
            total = part if total is None else total + part
    if norm_type == 2.0:
        total = sqrt(total)
    elif norm_type != math.inf:
        total = total ** (1.0 / norm_type)
    if error_if_nonfinite and not math.isfinite(float(total)):
        raise ArithmeticError(
            f"clip_grad_norm_: the norm of the gradients is {float(total)}; tinynn.debug.detect_anomaly() "
            f"finds the operation"
        )
    factor = clip(max_norm / (total + 1e-6), maximum=1.0)
    for p, g in zip(having, gradients, strict=True):
        p.grad = (g * factor).to(g.dtype)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold every element of the gradients between -clip_value and clip_value.

    The gradients are replaced, not written to.

    Raises
    ------
    ValueError
        If ``clip_value`` is negative or not finite.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([0.1, -4.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> tinynn.nn.utils.clip_grad_value_([x], 1.0)
    >>> x.grad
    tensor([ 0.2, -1. ])
    """
    check_number("clip_grad_value_", "clip_value", clip_value, least=0.0)
    for p in _listed("clip_grad_value_", parameters):
        if p.grad is not None:
            p.grad = clip(_gradient(p), -clip_value, clip_value)


def _listed(owner: str, parameters: Any) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for i, p in enumerate(listed):
        if not isinstance(p, Tensor):
            raise TypeError(f"{owner}: parameters[{i}] is a {type(p).__name__}, not a tensor")
    return listed


def _gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad
