"""Rewriting of traced expressions before they are printed: what a language lacks, or does better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from tinynn.kernels.symbols import Symbol, symbolic


def in_order(outputs: Sequence[Symbol]) -> Iterator[Symbol]:
    """Every node once, after its operands."""
    seen: set[int] = set()
    stack = [(output, False) for output in reversed(outputs)]
    while stack:
        node, operands_done = stack.pop()
        if operands_done:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))


def _rewritten(outputs: Sequence[Symbol], rule: Callable[[str, tuple[Symbol, ...]], Symbol | None]) -> list[Symbol]:
    """The same expressions, but for nodes for which the rule knows something better than None."""
    replaced: dict[int, Symbol] = {}
    for node in in_order(outputs):
        operands = tuple(replaced[id(operand)] for operand in node.operands)
        better = rule(node.function, operands)
        replaced[id(node)] = Symbol(node.function, operands, node.value, node.is_bool) if better is None else better
    return [replaced[id(output)] for output in outputs]


def substituted(outputs: Sequence[Symbol], replacements: Mapping[Symbol, Symbol]) -> list[Symbol]:
    """The same expressions with other nodes in the place of some, all at once.

    Examples
    --------
    >>> x, y = Symbol.variable("x"), Symbol.variable("y")
    >>> substituted([x - y], {x: y, y: x})[0] is y - x
    True
    """
    done = {id(node): new for node, new in replacements.items()}
    for node in in_order(outputs):
        if id(node) not in done:
            operands = tuple(done[id(operand)] for operand in node.operands)
            done[id(node)] = Symbol(node.function, operands, node.value, node.is_bool) if operands else node
    return [done[id(output)] for output in outputs]


def with_shared_gaussians(outputs: Sequence[Symbol]) -> list[Symbol]:
    """Compute erf(t) from exp(-t * t) where that is there anyway, and c + c * erf(t) without cancellation."""
    there = [node for node in in_order(outputs) if node.function == "exp"]

    def gaussian(t: Symbol) -> Symbol | None:
        factor, symbols = _factors(t)
        for node in there:
            exponent, squares = _factors(node.operands[0])
            # exp(-x * x / 2) is the Gaussian of t = x / sqrt(2), but for rounding
            if squares == sorted(symbols * 2) and math.isclose(exponent, -factor * factor, rel_tol=1e-15):
                return node
        return None

    def rule(function: str, operands: tuple[Symbol, ...]) -> Symbol | None:
        if function == "erf":
            shared = gaussian(operands[0])
            return None if shared is None else Symbol("erf_given", (operands[0], shared))
        if function == "add":
            for one, other in (operands, operands[::-1]):
                c, product = (1.0, (other,)) if other.function != "multiply" else _split_constant(other)
                if one.is_constant and one.value == c and product[0].function in ("erf", "erf_given"):
                    t = product[0].operands[0]
                    shared = product[0].operands[-1] if product[0].function == "erf_given" else symbolic.exp(-(t * t))
                    factor, of = _split_constant(t) if t.function == "multiply" else (1.0, (t,))
                    if c == 0.5 and factor == math.sqrt(0.5):
                        return Symbol("normal_cdf", (of[0], shared))
                    return c * Symbol("one_plus_erf", (t, shared))
        return None

    return _rewritten(outputs, rule)


def _split_constant(product: Symbol) -> tuple[float, tuple[Symbol, ...]]:
    """``(c, (a,))`` for c * a or a * c, else ``(1, (product,))``."""
    a, b = product.operands
    if b.is_constant:
        a, b = b, a
    return (float(a.value), (b,)) if a.is_constant and not a.is_bool else (1.0, (product,))  # type: ignore[arg-type]


def _factors(node: Symbol) -> tuple[float, list[int]]:
    """A product's constant factor, and its other factors by identity, in order."""
    if node.is_constant and not node.is_bool:
        return float(node.value), []  # type: ignore[arg-type]
    if node.function == "negative":
        constant, rest = _factors(node.operands[0])
        return -constant, rest
    if node.function in ("multiply", "divide"):
        (a, left), (b, right) = map(_factors, node.operands)
        if node.function == "multiply":
            return a * b, sorted(left + right)
        if not right and b != 0.0:
            return a / b, left
    return 1.0, [id(node)]


def without_modulus(outputs: Sequence[Symbol]) -> list[Symbol]:
    """Write floor_divide and remainder by C's fmod, as NumPy does: the sign is the divisor's."""

    def rule(function: str, operands: tuple[Symbol, ...]) -> Symbol | None:
        if function not in ("floor_divide", "remainder"):
            return None
        a, b = operands
        truncated = Symbol("fmod", (a, b))
        corrected = (truncated != 0.0) & ((b < 0.0) != (truncated < 0.0))
        if function == "remainder":
            zero = Symbol("copysign", (Symbol.constant(0.0), b))
            nonzero = symbolic.where(corrected, truncated + b, truncated)
            return symbolic.where(truncated == 0.0, zero, nonzero)
        quotient = (a - truncated) / b - symbolic.where(corrected, 1.0, 0.0)
        below = symbolic.floor(quotient)
        nearest = symbolic.where(quotient - below > 0.5, below + 1.0, below)
        zero = Symbol("copysign", (Symbol.constant(0.0), a / b))
        return symbolic.where(b == 0.0, a / b, symbolic.where(quotient == 0.0, zero, nearest))

    return _rewritten(outputs, rule)
