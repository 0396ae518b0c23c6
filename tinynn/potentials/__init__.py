"""Potential-energy surfaces: descriptors of atomic environments, with their derivatives.

`SymmetryFunctions` turns the positions of atoms into Behler's symmetry functions `G2`, `G4`, `G5` and gives
the Jacobian by the positions as well, so that the forces of a model E(G) are one product away:
F = -dE/dG . dG/dx.

Nothing in here imports Numba before descriptors are computed.
"""

from __future__ import annotations

from tinynn.potentials.cutoffs import Cosine, Polynomial
from tinynn.potentials.functions import G2, G4, G5
from tinynn.potentials.symmetry_functions import SymmetryFunctions

__all__ = ["SymmetryFunctions", "G2", "G4", "G5", "Cosine", "Polynomial"]
