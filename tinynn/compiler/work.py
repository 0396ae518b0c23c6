"""The few kinds of work that a program is sorted into: maps, reductions, products, copies, and calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn.compiler.views import Shape, View
from tinynn.kernels.symbols import Symbol
from tinynn.ops.base import Op


@dataclass(frozen=True, eq=False)
class Known:
    """An operand whose value is known now. ``number`` where all its elements are equal."""

    array: Any
    number: float | bool | None


Operand = View | Known


class _OneOutput:
    """Work that makes one register."""

    out: int

    @property
    def outputs(self) -> tuple[int, ...]:
        return (self.out,)


@dataclass(eq=False)
class Map(_OneOutput):
    """out[i] = formula(inputs[0][i], ...) for every element, after broadcasting."""

    out: int
    shape: Shape
    dtype: str  # in which it is computed
    inputs: tuple[Operand, ...]
    formula: Callable[..., Symbol]
    name: str
    made_at: str


@dataclass(eq=False)
class Reduction(_OneOutput):
    """out = scale times the sum (or the largest, the smallest) of the input over axes."""

    out: int
    kind: str  # "sum", "max" or "min"
    inputs: tuple[View]
    axes: tuple[int, ...]
    scale: float
    dtype: str
    name: str
    made_at: str


@dataclass(eq=False)
class Product(_OneOutput):
    """out = a @ b + bias, of matrices; the bias may be missing. ``place`` is the part of ``out`` that it fills."""

    out: int
    inputs: tuple[Operand, ...]
    dtype: str
    name: str
    made_at: str
    place: View


@dataclass(eq=False)
class Pieces(_OneOutput):
    """Copies of the inputs at their ``places`` in ``out``, which is ``fill`` elsewhere (None: no elsewhere)."""

    out: int
    shape: Shape
    inputs: tuple[Operand, ...]
    places: tuple[View, ...]
    fill: float | bool | None
    name: str
    made_at: str


@dataclass(eq=False)
class Call:
    """Any other operation, run by its own forward formula or its backend's kernel."""

    op: Op
    inputs: tuple[Operand, ...]
    outputs: tuple[int, ...]
    name: str
    made_at: str


Work = Map | Reduction | Product | Pieces | Call


@dataclass(eq=False)
class Tidied:
    """What `tidy` makes: the work in order, and where each register of the program that is still named now lies."""

    work: list[Work]
    operands: dict[int, Operand]
    types: dict[int, tuple[Shape, np.dtype[Any]]] = field(default_factory=dict)


def known(value: Any) -> Known:
    """An operand with a value that is known now."""
    if isinstance(value, (bool, int, float)):
        return Known(value, value)
    if isinstance(value, (np.ndarray, np.generic)) and value.size and value.dtype.kind in "fb":
        first = np.asarray(value)[(0,) * value.ndim]
        # NaN differs from itself, and stays an array; so does -0.0, which equals 0.0 and is not the same
        if (value == first).all() and not (first == 0 and np.signbit(value).any()):
            return Known(value, first.item())
    return Known(value, None)
