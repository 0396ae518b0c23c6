"""The formulas of elementwise ops as functions of symbolic scalars: what kernels are printed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinynn.backends import dispatch
from tinynn.ops import activations, elementwise, piecewise_activations
from tinynn.ops.base import Elementwise

# Functions of one array that are worth a kernel: several passes of NumPy, or a slow function.
FUNCTIONS: tuple[type[Elementwise], ...] = (
    elementwise.Exp,
    elementwise.Expm1,
    elementwise.Log,
    elementwise.Log1p,
    elementwise.Tanh,
    elementwise.Sigmoid,
    elementwise.Erf,
    elementwise.NormalCDF,
    activations.ReLU,
    activations.LeakyReLU,
    activations.ELU,
    activations.GELU,
    activations.GELUTanh,
    activations.SiLU,
    activations.Softplus,
    activations.CELU,
    activations.LogSigmoid,
    activations.Softsign,
    activations.Tanhshrink,
    piecewise_activations.Hardtanh,
    piecewise_activations.Threshold,
    piecewise_activations.Softshrink,
    piecewise_activations.Hardshrink,
)


class Formula(NamedTuple):
    """A name for the kernel, the function of symbols, the names of its arguments and result, and an explanation."""

    label: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    output: str
    comment: str


def formula_of(key: tuple[Any, ...], gradient: int | None) -> Formula:
    """The forward formula of the op with this `Op.key`, or that of the gradient by input number ``gradient``."""
    from tinynn.kernels.symbols import Symbol, symbolic

    dispatch.NAMESPACES[Symbol] = symbolic  # ops applied to symbols compute symbols
    dispatch.PLAIN_TYPES.add(Symbol)
    kind, settings = key
    op = object.__new__(kind)
    op.__dict__.update(settings)
    name, comment = kind.__name__.lower(), kind.__doc__ or ""
    if gradient is None:
        return Formula(f"{name}_forward", lambda *xs: op.forward(symbolic, *xs), op.inputs, "out", comment)
    rule, names = op.rules[gradient]

    def gradient_formula(g: Any, *values: Any) -> Any:
        return rule(op, g, **dict(zip(names, values, strict=True)))

    x = op.inputs[gradient]
    return Formula(f"{name}_grad_{x}", gradient_formula, ("g", *names), f"d{x}", comment)
