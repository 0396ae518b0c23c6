"""An update rule: one formula for the new parameter and state, and what may be put around any of them.

A formula is written once, in operators and the library's functions::

    def heavy_ball(p, g, b, lr, momentum, gain):
        b = momentum * b + gain * g
        return p - lr * b, b

It takes the parameter ``p``, its gradient ``g``, the state, and plain numbers; it returns the new ``p`` and
the new state. It does not know how long its arguments are, nor what they are: it runs on arrays, on Tensors
whose operations are being recorded, and on symbolic scalars, from which a compiled kernel is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Formula = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Rule:
    """A formula with the names of what it takes: ``formula(p, g, *state, *scalars) -> (p, *state)``.

    Attributes
    ----------
    name : names the compiled kernel
    formula : the mathematics
    state : what is kept from step to step beside each parameter, by the names of ``optimizer.state``
    scalars : the numbers that are read at every step
    """

    name: str
    formula: Formula
    state: tuple[str, ...]
    scalars: tuple[str, ...]


def ascending(rule: Rule) -> Rule:
    """The rule that goes up instead of down: g -> -g."""

    def formula(p: Any, g: Any, *rest: Any) -> tuple[Any, ...]:
        return rule.formula(p, -g, *rest)

    return Rule(f"{rule.name}_ascending", formula, rule.state, rule.scalars)


def with_l2_penalty(rule: Rule) -> Rule:
    """The rule for the loss plus weight_decay/2 |p|**2: g -> g + weight_decay p."""

    def formula(p: Any, g: Any, *rest: Any) -> tuple[Any, ...]:
        *rest, weight_decay = rest  # type: ignore[assignment]
        return rule.formula(p, g + weight_decay * p, *rest)

    return Rule(f"{rule.name}_l2", formula, rule.state, (*rule.scalars, "weight_decay"))


def with_decoupled_decay(rule: Rule) -> Rule:
    """The rule for a parameter that has been shrunk first: p -> keep p, with keep = 1 - lr weight_decay.

    The gradient, and with it the moments, know nothing of the decay (Loshchilov & Hutter, arXiv:1711.05101).
    """

    def formula(p: Any, g: Any, *rest: Any) -> tuple[Any, ...]:
        *rest, keep = rest  # type: ignore[assignment]
        return rule.formula(keep * p, g, *rest)

    return Rule(f"{rule.name}_decoupled", formula, rule.state, (*rule.scalars, "keep"))
