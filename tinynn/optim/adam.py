"""Adam and AdamW: steps of the size of the learning rate, whatever the scale of the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from tinynn.ops.elementwise import sqrt
from tinynn.ops.piecewise import maximum
from tinynn.optim.checks import check_betas, check_number
from tinynn.optim.optimizer import FormulaOptimizer
from tinynn.optim.rule import Rule, ascending, with_decoupled_decay, with_l2_penalty


def adam(
    p: Any, g: Any, m: Any, v: Any,
    step_size: Any, beta1: Any, gain1: Any, beta2: Any, gain2: Any, eps: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """m <- beta1 m + gain1 g,   v <- beta2 v + gain2 g**2,   p <- p - step_size m / (sqrt(v) + eps)

    gain = 1 - beta, which is computed outside so that it is exact in float32 as well.
    """
    m = beta1 * m + gain1 * g
    v = beta2 * v + gain2 * (g * g)
    return p - step_size * m / (sqrt(v) + eps), m, v


def amsgrad(
    p: Any, g: Any, m: Any, v: Any, v_max: Any,
    step_size: Any, beta1: Any, gain1: Any, beta2: Any, gain2: Any, eps: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """As `adam`, but v_max <- max(v_max, v) stands in the denominator."""
    m = beta1 * m + gain1 * g
    v = beta2 * v + gain2 * (g * g)
    v_max = maximum(v_max, v)
    return p - step_size * m / (sqrt(v_max) + eps), m, v, v_max


@cache
def _rule(with_maximum: bool, decay: str, maximize: bool) -> Rule:
    scalars = ("step_size", "beta1", "gain1", "beta2", "gain2", "eps")
    if with_maximum:
        rule = Rule("amsgrad", amsgrad, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), scalars)
    else:
        rule = Rule("adam", adam, ("exp_avg", "exp_avg_sq"), scalars)
    if decay == "l2":
        rule = with_l2_penalty(rule)
    elif decay == "decoupled":
        rule = with_decoupled_decay(rule)
    return ascending(rule) if maximize else rule


class Adam(FormulaOptimizer):
    """Adam: the mean of the gradient over the root of the mean of its square (Kingma & Ba, arXiv:1412.6980)::

        g = dL/dp + weight_decay p
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g**2
        p = p - lr m' / (sqrt(v') + eps)        with m' = m / (1 - beta1**t) and v' = v / (1 - beta2**t)

    m and v start at zero; the corrections make up for that in the first steps t = 1, 2, ...

    Parameters
    ----------
    params : iterable of leaf tensors, of pairs (name, tensor), or list of group dicts
    lr : learning rate, >= 0
    betas : how much of m and v is kept in a step, each in [0, 1)
    eps : keeps the denominator from zero, >= 0
    weight_decay : strength of the penalty weight_decay/2 |p|**2, >= 0; see `AdamW` for the other kind
    amsgrad : put the largest v so far in the denominator (Reddi et al., arXiv:1904.09237)
    maximize : go up instead of down
    bias_correction : False leaves out the corrections, m' = m and v' = v, as short programs do: such code is
        reproduced by ``Adam(params, eps=1e-7, bias_correction=False)``

    Raises
    ------
    ValueError
        If a setting is out of its range, or a parameter unfit.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = tinynn.optim.Adam([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([   0.9, -199.9], requires_grad=True)
    """

    state_names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _decay = "l2"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        bias_correction: bool = True,
    ) -> None:
        settings = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "bias_correction": bias_correction,
        }  # fmt: skip
        super().__init__(params, settings)

    def check(self, group: Mapping[str, Any]) -> None:
        owner = type(self).__name__
        for name in ("lr", "eps", "weight_decay"):
            check_number(owner, name, group[name], least=0.0)
        check_betas(owner, group["betas"])

    def rule(self, group: Mapping[str, Any]) -> Rule:
        decay = self._decay if group["weight_decay"] != 0 else ""
        return _rule(bool(group["amsgrad"]), decay, bool(group["maximize"]))

    def scalars(self, group: Mapping[str, Any], t: int) -> tuple[float, ...]:
        lr, decay, (beta1, beta2) = float(group["lr"]), float(group["weight_decay"]), group["betas"]
        beta1, beta2 = float(beta1), float(beta2)
        step_size, eps = lr, float(group["eps"])
        if group["bias_correction"]:
            # m'/(sqrt(v') + eps), with both corrections moved into two numbers (Kingma & Ba, section 2)
            rest = 1.0 - beta2**t
            root = math.sqrt(rest) if isinstance(t, int) else np.sqrt(rest)
            step_size, eps = lr * root / (1.0 - beta1**t), eps * root
        numbers = (step_size, beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps)
        if decay == 0.0:
            return numbers
        return (*numbers, decay if self._decay == "l2" else 1.0 - lr * decay)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101)::

        p = p - lr weight_decay p, and then as `Adam` without weight decay

    All weights shrink by the same factor; with `Adam`'s penalty those with large gradients hardly shrink.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize, bias_correction : as in `Adam`
    weight_decay : the part lr weight_decay of each parameter is taken off in a step, >= 0

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, -200.0], requires_grad=True)
    >>> optimizer = tinynn.optim.AdamW([x], lr=0.1, weight_decay=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([   0.85, -189.9 ], requires_grad=True)
    """

    _decay = "decoupled"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, bias_correction=bias_correction
        )
