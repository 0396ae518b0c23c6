"""Symmetry functions as operations on tensors: values, and products with first and second derivatives.

With cotangents g of the functions G(x) and directions w of the positions::

    Values   G(x)                         back: Pulled(g, x)
    Pulled   p = Σ g ∂G/∂x                back: by g Pushed(w, x), by x Bent(g, w, x)
    Pushed   q = Σ ∂G/∂x w                back: by w Pulled(g, x), by x Bent(g, w, x)
    Bent     Σ g ∂²G/∂x² w                no further

so forces -∂E/∂x are Pulled, and their derivatives by the parameters of a network go through Pushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinynn.autodiff import apply
from tinynn.backends import convert
from tinynn.graph import GraphError
from tinynn.ops.base import Op
from tinynn.potentials.environments import Environments, environments, product, values_and_jacobian
from tinynn.potentials.system import System
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn.potentials.symmetry_functions import SymmetryFunctions


class _OfPositions(Op):
    """What these operations share: the functions, the system, and the centers."""

    kind: ClassVar[str] = ""

    def __init__(self, functions: SymmetryFunctions, system: System, centers: tuple[int, ...] | None) -> None:
        self.functions, self.system, self.centers = functions, system, centers

    def given(self, positions: Any) -> Environments:
        """The environments, with positions in the memory of the CPU."""
        return environments(self.functions, convert.to_host(positions), self.system, centers=self.centers)

    def product(self, positions: Any, g: Any = None, w: Any = None) -> Any:
        """One of the products with derivatives, in the dtype of the positions."""
        g, w = (None if value is None else convert.to_host(value) for value in (g, w))
        return convert.like(product(self.kind, self.functions, self.given(positions), g, w), positions)

    def another(self, kind: type[_OfPositions]) -> _OfPositions:
        """Another operation of the same functions."""
        return kind(self.functions, self.system, self.centers)

    def key(self) -> tuple[Any, ...]:
        """Everything exactly, as text."""
        return type(self).__name__, repr(self.functions.settings()), repr(self.system._key()), self.centers


class SymmetryValues(_OfPositions):
    """out = G(positions), (n, centers, features)"""

    def forward(self, xp, positions):
        values, _ = values_and_jacobian(self.functions, self.given(positions), None, wanted=False)
        return convert.like(values, positions)

    def grad_positions(self, g, *, positions):
        return apply(self.another(SymmetryPulled), g, positions)

    def tangent(self, tangents, *, positions):
        """Forward mode: dG/dx · dx."""
        return apply(self.another(SymmetryPushed), tangents[0], positions)


class SymmetryPulled(_OfPositions):
    """out = sum of g * dG/dx over the functions, of the shape of the positions"""

    kind = "pulled"

    def forward(self, xp, g, positions):
        return self.product(positions, g=g)

    def grad_g(self, w, *, positions):
        return apply(self.another(SymmetryPushed), w, positions)

    def grad_positions(self, w, *, g, positions):
        return apply(self.another(SymmetryBent), g, w, positions)


class SymmetryPushed(_OfPositions):
    """out = sum of dG/dx * w over the positions, (n, centers, features)"""

    kind = "pushed"

    def forward(self, xp, w, positions):
        return self.product(positions, w=w)

    def grad_w(self, g, *, positions):
        return apply(self.another(SymmetryPulled), g, positions)

    def grad_positions(self, g, *, w, positions):
        return apply(self.another(SymmetryBent), g, w, positions)


class SymmetryBent(_OfPositions):
    """out = sum of g * d²G/dx² * w, of the shape of the positions"""

    kind = "bent"

    def forward(self, xp, g, w, positions):
        return self.product(positions, g=g, w=w)

    def grad_g(self, v):
        raise self._third()

    def grad_w(self, v):
        raise self._third()

    def grad_positions(self, v):
        raise self._third()

    def _third(self) -> GraphError:
        return GraphError(
            "third derivatives of symmetry functions are not available; a loss may contain energies, forces, and "
            "products of the Hessian with constants"
        )


def apply_functions(functions: SymmetryFunctions, positions: Any, system: System, centers: Any) -> Any:
    """Apply the functions to a tensor of positions."""
    if not isinstance(system, System):
        raise TypeError(
            f"on tensors, symmetry functions take a System, got {type(system).__name__}: "
            "System(['O', 'O'], cell=..., frozen_numbers=..., frozen_positions=...)"
        )
    if not isinstance(positions, Tensor):
        positions = Tensor(np.asarray(positions, np.float64))
    if positions.dtype.kind != "f":
        raise TypeError(f"positions must be floating-point numbers, got {positions.dtype}")
    chosen = None if centers is None else tuple(int(i) for i in np.asarray(centers).reshape(-1))
    return apply(SymmetryValues(functions, system, chosen), positions)
