"""The symmetry functions themselves: which neighbours they see, and their parameters.

Behler, J. Chem. Phys. 134, 074106 (2011). Lengths are in the unit of the positions, ``eta`` in its
inverse square.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

Species = Hashable  # an element's symbol or number: whatever names the atoms in `SymmetryFunctions.compute`


@dataclass(frozen=True)
class G2:
    """Radial: G2_i = Σ_j exp(-η (r_ij - r_s)²) f_c(r_ij), over the neighbours j of one species. (Eq. 6.)

    Parameters
    ----------
    neighbor : species of the neighbours
    eta : η, not negative
    shift : r_s, where the Gaussian has its centre
    cutoff : r_c, positive

    Examples
    --------
    >>> G2("Pd", eta=4.0, shift=2.0, cutoff=6.0)
    G2(neighbor='Pd', eta=4.0, shift=2.0, cutoff=6.0)
    """

    neighbor: Species
    eta: float
    shift: float = 0.0
    cutoff: float = 6.0

    def __post_init__(self) -> None:
        _check_radial(self)


@dataclass(frozen=True)
class G5:
    """Angular: G5_i = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ_ijk)^ζ R(r_ij) R(r_ik). (Eq. 9.)

    R(r) = exp(-η (r - r_s)²) f_c(r) is the summand of `G2`. Each pair of neighbours counts once.

    Parameters
    ----------
    neighbors : the two species of the neighbours, in any order
    eta, shift, cutoff : as for `G2`; Behler's functions have ``shift=0``
    zeta : ζ, at least 1: the larger, the narrower in the angle
    lambda_ : λ, +1 (largest at θ = 0) or -1 (largest at θ = 180°)

    Examples
    --------
    >>> G5(("O", "Pd"), eta=0.1, zeta=2.0, lambda_=-1.0, cutoff=5.0).zeta
    2.0
    """

    neighbors: tuple[Species, Species]
    eta: float
    zeta: float = 1.0
    lambda_: float = 1.0
    cutoff: float = 6.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        _check_radial(self)
        name = type(self).__name__
        if not isinstance(self.neighbors, tuple) or len(self.neighbors) != 2:
            raise ValueError(f"{name}: neighbors is a pair of species such as ('O', 'Pd'), got {self.neighbors!r}")
        if not (math.isfinite(self.zeta) and self.zeta >= 1.0):
            raise ValueError(f"{name}: zeta must be at least 1 (below, the slope is infinite), got {self.zeta}")
        if self.lambda_ not in (-1, 1):
            raise ValueError(f"{name}: lambda_ must be 1 or -1, got {self.lambda_}")


@dataclass(frozen=True)
class G4(G5):
    """Angular: G4_i = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ_ijk)^ζ R(r_ij) R(r_ik) R(r_jk). (Eq. 8.)

    As `G5`, but the two neighbours must also be near each other.

    Examples
    --------
    >>> G4(("H", "H"), eta=0.1).lambda_
    1.0
    """


def _check_radial(function: Any) -> None:
    name = type(function).__name__
    if not (math.isfinite(function.eta) and function.eta >= 0.0):
        raise ValueError(f"{name}: eta must not be negative, got {function.eta}")
    if not math.isfinite(function.shift):
        raise ValueError(f"{name}: shift must be a finite length, got {function.shift}")
    if not (math.isfinite(function.cutoff) and function.cutoff > 0.0):
        raise ValueError(f"{name}: cutoff must be positive, got {function.cutoff}")
