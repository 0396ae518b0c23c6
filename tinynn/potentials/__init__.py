"""Potential-energy surfaces: descriptors of atomic environments, with their derivatives.

`SymmetryFunctions` turns the positions of atoms into Behler's symmetry functions `G2`, `G4`, `G5` and gives
the Jacobian by the positions as well, so that the forces of a model E(G) are one product away:
F = -dE/dG . dG/dx. `InverseDistances`, `Distances` and `Cartesian` describe a molecule as a whole,
`SurfaceCoordinates` a diatomic molecule on a square surface.

Models of that kind are `AtomicNetwork` and `MolecularNetwork`. `fit` trains them on `Configurations` of one or several
`System`; a `Committee` of them tells where it knows little.

Nothing in here imports Numba before descriptors are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn.potentials.atomic_network import AtomicNetwork
from tinynn.potentials.cartesian import Cartesian
from tinynn.potentials.committee import Committee, Spread
from tinynn.potentials.configurations import Configurations
from tinynn.potentials.cutoffs import Cosine, Polynomial
from tinynn.potentials.described import Described
from tinynn.potentials.distances import Distances, InverseDistances
from tinynn.potentials.functions import G2, G4, G5
from tinynn.potentials.history import History
from tinynn.potentials.loss import EnergyForceLoss
from tinynn.potentials.molecular_network import MolecularNetwork
from tinynn.potentials.potential import Potential
from tinynn.potentials.prediction import ExtrapolationWarning, Prediction
from tinynn.potentials.surface_coordinates import SurfaceCoordinates
from tinynn.potentials.symmetry_functions import SymmetryFunctions
from tinynn.potentials.system import System
from tinynn.potentials.training import fit

__all__ = [
    "SymmetryFunctions",
    "G2",
    "G4",
    "G5",
    "Cosine",
    "Polynomial",
    "Cartesian",
    "Distances",
    "InverseDistances",
    "SurfaceCoordinates",
    "System",
    "Calculator",
    "ExtrapolationError",
    "AtomicNetwork",
    "MolecularNetwork",
    "Potential",
    "Prediction",
    "ExtrapolationWarning",
    "Configurations",
    "Described",
    "EnergyForceLoss",
    "fit",
    "History",
    "Committee",
    "Spread",
]

if TYPE_CHECKING:
    from tinynn.potentials.calculator import Calculator, ExtrapolationError


def __getattr__(name: str) -> Any:
    """Import the calculator, and ASE with it, when it is asked for."""
    if name in ("Calculator", "ExtrapolationError"):
        from tinynn.potentials import calculator

        return getattr(calculator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
