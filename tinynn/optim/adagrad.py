"""Adagrad: the gradient over the root of the sum of all its squares so far."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from tinynn.ops.elementwise import sqrt
from tinynn.optim.checks import check_number
from tinynn.optim.optimizer import FormulaOptimizer
from tinynn.optim.rule import Rule, ascending, with_l2_penalty
from tinynn.tensor import Tensor


def adagrad(p: Any, g: Any, total: Any, step_size: Any, eps: Any) -> tuple[Any, ...]:
    """total <- total + g**2,   p <- p - step_size g / (sqrt(total) + eps)"""
    total = total + g * g
    return p - step_size * g / (sqrt(total) + eps), total


@cache
def _rule(decay: bool, maximize: bool) -> Rule:
    rule = Rule("adagrad", adagrad, ("sum",), ("step_size", "eps"))
    rule = with_l2_penalty(rule) if decay else rule
    return ascending(rule) if maximize else rule


class Adagrad(FormulaOptimizer):
    """Steps that shrink as gradients add up, for each parameter by its own (Duchi et al., JMLR 12 (2011) 2121)::

        g = dL/dp + weight_decay p
        s = s + g**2
        p = p - lr/(1 + (t - 1) lr_decay) g / (sqrt(s) + eps)        t = 1, 2, ...

    Parameters that seldom get a gradient (a rare word) keep a large step. Since s never falls, all steps end small.

    Parameters
    ----------
    params : iterable of leaf tensors, of pairs (name, tensor), or list of group dicts
    lr : learning rate, >= 0
    lr_decay : how fast the learning rate falls besides, >= 0
    weight_decay : strength of the penalty weight_decay/2 |p|**2, >= 0
    initial_accumulator_value : what s begins with, >= 0
    eps : keeps the denominator from zero, >= 0
    maximize : go up instead of down

    Raises
    ------
    ValueError
        If a setting is out of its range, or a parameter unfit.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = tinynn.optim.Adagrad([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([   0.9, -199.9], requires_grad=True)
    """

    state_names = ("sum",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "eps": eps, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, settings)

    def add_param_group(self, group: dict[str, Any]) -> None:
        super().add_param_group(group)
        complete = self.param_groups[-1]
        start = float(complete["initial_accumulator_value"])
        if start != 0.0:  # zeros are made at the first step, as for every optimizer
            for p in complete["params"]:
                self.state[p] = {"step": 0, "sum": Tensor(np.full_like(p.array, start))}

    add_param_group.__doc__ = FormulaOptimizer.add_param_group.__doc__

    def check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            check_number("Adagrad", name, group[name], least=0.0)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _rule(group["weight_decay"] != 0, bool(group["maximize"]))

    def scalars(self, group: Mapping[str, Any], t: int) -> tuple[Any, ...]:
        step_size = float(group["lr"]) / (1.0 + (t - 1) * float(group["lr_decay"]))
        numbers = (step_size, float(group["eps"]))
        return (*numbers, float(group["weight_decay"])) if group["weight_decay"] != 0 else numbers
