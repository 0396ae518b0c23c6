"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from tinynn.optim.checks import check_number
from tinynn.optim.optimizer import FormulaOptimizer
from tinynn.optim.rule import Rule, ascending, with_l2_penalty


def descent(p: Any, g: Any, lr: Any) -> tuple[Any, ...]:
    """p <- p - lr g"""
    return (p - lr * g,)


def heavy_ball(p: Any, g: Any, b: Any, lr: Any, momentum: Any, gain: Any) -> tuple[Any, ...]:
    """b <- momentum b + gain g,   p <- p - lr b"""
    b = momentum * b + gain * g
    return p - lr * b, b


def nesterov(p: Any, g: Any, b: Any, lr: Any, momentum: Any, gain: Any) -> tuple[Any, ...]:
    """b <- momentum b + gain g,   p <- p - lr (g + momentum b)"""
    b = momentum * b + gain * g
    return p - lr * (g + momentum * b), b


@cache
def _rule(momentum: bool, look_ahead: bool, decay: bool, maximize: bool) -> Rule:
    if not momentum:
        rule = Rule("sgd", descent, (), ("lr",))
    elif look_ahead:
        rule = Rule("sgd_nesterov", nesterov, ("momentum_buffer",), ("lr", "momentum", "gain"))
    else:
        rule = Rule("sgd_momentum", heavy_ball, ("momentum_buffer",), ("lr", "momentum", "gain"))
    rule = with_l2_penalty(rule) if decay else rule
    return ascending(rule) if maximize else rule


class SGD(FormulaOptimizer):
    """Gradient descent, which with ``momentum`` rolls on in the directions that stay (the heavy ball)::

        g = dL/dp + weight_decay p
        b = momentum b + (1 - dampening) g      (b = g at the first step)
        p = p - lr b                            (p - lr (g + momentum b) with nesterov)

    Polyak, USSR Comput. Math. Math. Phys. 4 (1964) 1; Sutskever et al., ICML 2013, for Nesterov's variant.
    Textbooks also write v = momentum v - lr g, p = p + v: with v = -lr b that is the same as long as the
    learning rate stays.

    Parameters
    ----------
    params : iterable of leaf tensors, of pairs (name, tensor), or list of group dicts
    lr : learning rate, >= 0
    momentum : how much of the last direction is kept, >= 0
    dampening : how much of the new gradient is left out of the direction
    weight_decay : strength of the penalty weight_decay/2 |p|**2, >= 0
    nesterov : use the gradient as if the momentum had been followed already
    maximize : go up instead of down

    Raises
    ------
    ValueError
        If a setting is out of its range; ``nesterov`` without momentum, or with dampening; unfit parameters.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = tinynn.optim.SGD([x], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (x * x).sum().backward()
    ...     optimizer.step()
    >>> x
    tensor([ 0.46, -0.92], requires_grad=True)
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, settings)

    def check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            check_number("SGD", name, group[name], least=0.0)
        check_number("SGD", "dampening", group["dampening"])
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov=True needs momentum > 0 and dampening = 0, got "
                f"momentum={group['momentum']!r} and dampening={group['dampening']!r}"
            )

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _rule(
            group["momentum"] != 0,
            bool(group["nesterov"]),
            group["weight_decay"] != 0,
            bool(group["maximize"]),
        )

    def scalars(self, group: Mapping[str, Any], t: int) -> tuple[float, ...]:
        numbers = [float(group["lr"])]
        if group["momentum"] != 0:
            # The buffer starts at zero, and takes the first gradient whole.
            numbers += [float(group["momentum"]), 1.0 if t == 1 else 1.0 - float(group["dampening"])]
        if group["weight_decay"] != 0:
            numbers.append(float(group["weight_decay"]))
        return tuple(numbers)
