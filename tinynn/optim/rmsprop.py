"""RMSprop: the gradient over the root of the mean of its square."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from tinynn.ops.elementwise import sqrt
from tinynn.optim.checks import check_number
from tinynn.optim.optimizer import FormulaOptimizer
from tinynn.optim.rule import Rule, ascending, with_l2_penalty


def rmsprop(p: Any, g: Any, v: Any, alpha: Any, gain: Any, eps: Any, lr: Any) -> tuple[Any, ...]:
    """v <- alpha v + gain g**2,   p <- p - lr g / (sqrt(v) + eps)"""
    v = alpha * v + gain * (g * g)
    return p - lr * g / (sqrt(v) + eps), v


def rmsprop_momentum(
    p: Any, g: Any, v: Any, b: Any, alpha: Any, gain: Any, eps: Any, lr: Any, momentum: Any
) -> tuple[Any, ...]:
    """v <- alpha v + gain g**2,   b <- momentum b + g / (sqrt(v) + eps),   p <- p - lr b"""
    v = alpha * v + gain * (g * g)
    b = momentum * b + g / (sqrt(v) + eps)
    return p - lr * b, v, b


def centred(p: Any, g: Any, v: Any, m: Any, alpha: Any, gain: Any, eps: Any, lr: Any) -> tuple[Any, ...]:
    """As `rmsprop`, with m <- alpha m + gain g, and the variance v - m**2 in place of v"""
    v = alpha * v + gain * (g * g)
    m = alpha * m + gain * g
    return p - lr * g / (sqrt(v - m * m) + eps), v, m


def centred_momentum(
    p: Any, g: Any, v: Any, m: Any, b: Any, alpha: Any, gain: Any, eps: Any, lr: Any, momentum: Any
) -> tuple[Any, ...]:
    """As `rmsprop_momentum`, with m <- alpha m + gain g, and the variance v - m**2 in place of v"""
    v = alpha * v + gain * (g * g)
    m = alpha * m + gain * g
    b = momentum * b + g / (sqrt(v - m * m) + eps)
    return p - lr * b, v, m, b


_SCALARS = ("alpha", "gain", "eps", "lr")
_FORMULAS = {  # by whether it is centred, and whether it has momentum
    (False, False): Rule("rmsprop", rmsprop, ("square_avg",), _SCALARS),
    (False, True): Rule(
        "rmsprop_momentum", rmsprop_momentum, ("square_avg", "momentum_buffer"), (*_SCALARS, "momentum")
    ),
    (True, False): Rule("rmsprop_centred", centred, ("square_avg", "grad_avg"), _SCALARS),
    (True, True): Rule(
        "rmsprop_centred_momentum",
        centred_momentum,
        ("square_avg", "grad_avg", "momentum_buffer"),
        (*_SCALARS, "momentum"),
    ),
}


@cache
def _rule(is_centred: bool, momentum: bool, decay: bool, maximize: bool) -> Rule:
    rule = _FORMULAS[is_centred, momentum]
    rule = with_l2_penalty(rule) if decay else rule
    return ascending(rule) if maximize else rule


class RMSprop(FormulaOptimizer):
    """The gradient in units of its own recent size (Tieleman & Hinton, Coursera lecture 6.5, 2012)::

        g = dL/dp + weight_decay p
        v = alpha v + (1 - alpha) g**2
        d = g / (sqrt(v) + eps)
        b = momentum b + d,   p = p - lr b          (without momentum: p = p - lr d)

    With ``centered``, the variance v - m**2 stands in place of v, where m = alpha m + (1 - alpha) g (Graves,
    arXiv:1308.0850).

    Parameters
    ----------
    params : iterable of leaf tensors, of pairs (name, tensor), or list of group dicts
    lr : learning rate, >= 0
    alpha : how much of the mean square is kept in a step, in [0, 1]
    eps : keeps the denominator from zero, >= 0
    weight_decay : strength of the penalty weight_decay/2 |p|**2, >= 0
    momentum : how much of the last direction is kept, >= 0
    centered : divide by an estimate of the standard deviation instead of the root of the mean square
    maximize : go up instead of down

    Raises
    ------
    ValueError
        If a setting is out of its range, or a parameter unfit.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = tinynn.optim.RMSprop([x], lr=0.01)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([   0.9, -199.9], requires_grad=True)
    """

    state_names = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, settings)

    def check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay", "momentum"):
            check_number("RMSprop", name, group[name], least=0.0)
        check_number("RMSprop", "alpha", group["alpha"], least=0.0, most=1.0)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _rule(
            bool(group["centered"]),
            group["momentum"] != 0,
            group["weight_decay"] != 0,
            bool(group["maximize"]),
        )

    def scalars(self, group: Mapping[str, Any], t: int) -> tuple[float, ...]:
        alpha = float(group["alpha"])
        numbers = [alpha, 1.0 - alpha, float(group["eps"]), float(group["lr"])]
        numbers += [float(group[name]) for name in ("momentum", "weight_decay") if group[name] != 0]
        return tuple(numbers)
