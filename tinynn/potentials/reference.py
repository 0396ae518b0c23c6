"""Symmetry functions with their Jacobians in plain NumPy: the formulas to read, and what runs without Numba.

With R(r) = exp(-η (r - r_s)²) f_c(r) and A(c) = 2^(1-ζ) (1 + λ c)^ζ::

    G2_i = Σ_j R(r_ij)                     dG2/dr_j = R'(r_ij) r_ij / |r_ij|
    G5_i = Σ_{j<k} A(cos θ) R(r_ij) R(r_ik)
    dG5/dr_j = A' (r_ik / (|r_ij| |r_ik|) - cos θ r_ij / |r_ij|²) R R + A R' r_ij / |r_ij| R

and dG/dr_i is minus the sum over the neighbours. G4 has a third factor R(r_jk). Behler, J. Chem. Phys. 134,
074106 (2011), eqs. (6), (8), (9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.potentials.functions import G2, G4
from tinynn.potentials.neighbors import Images, neighbors

Array = NDArray[np.float64]


def symmetry_functions(
    functions: Sequence[Any],
    cutoff_function: Any,
    positions: Array,
    species: Sequence[Any],
    centers: NDArray[np.int64],
    lattice: Images,
    moving: int,
) -> tuple[Array, Array]:
    """Compute the functions of one configuration.

    Parameters
    ----------
    positions : (atoms, 3); the first ``moving`` atoms are those that the Jacobian is taken for
    species : (atoms,)

    Returns
    -------
    values (centres, features), jacobian (centres, features, moving, 3)
    """
    cutoff = max(f.cutoff for f in functions)
    values = np.zeros((len(centers), len(functions)))
    jacobian = np.zeros((len(centers), len(functions), len(positions), 3))
    for slot, i in enumerate(centers):
        index, vectors, distances = neighbors(int(i), positions, lattice, cutoff)
        kinds = [species[j] for j in index]
        for feature, f in enumerate(functions):
            if isinstance(f, G2):
                chosen = np.array([kind == f.neighbor for kind in kinds], bool)
                value, slopes = _radial(f, cutoff_function, vectors, distances, chosen)
            else:
                value, slopes = _angular(f, cutoff_function, vectors, distances, kinds)
            values[slot, feature] = value
            np.add.at(jacobian[slot, feature], index, slopes)
            jacobian[slot, feature, i] -= slopes.sum(axis=0)
    return values, jacobian[:, :, :moving]


def gaussian(f: Any, cutoff_function: Any, r: Array) -> tuple[Array, Array]:
    """R(r) = exp(-η (r - r_s)²) f_c(r), and its derivative."""
    fc, slope = cutoff_function(r, f.cutoff)
    e = np.exp(-f.eta * (r - f.shift) ** 2)
    return e * fc, e * (slope - 2.0 * f.eta * (r - f.shift) * fc)


def _radial(f: Any, cutoff_function: Any, vectors: Array, distances: Array, chosen: Array) -> tuple[float, Array]:
    """Value, and its derivative by the position of every neighbour."""
    R, dR = gaussian(f, cutoff_function, distances)
    return float((R * chosen).sum()), (dR * chosen / distances)[:, None] * vectors


def _angular(f: Any, cutoff_function: Any, vectors: Array, distances: Array, kinds: list[Any]) -> tuple[float, Array]:
    """Value, and its derivative by the position of every neighbour."""
    j, k = np.triu_indices(len(distances), 1)
    a, b = f.neighbors
    chosen = [(kinds[p], kinds[q]) in ((a, b), (b, a)) for p, q in zip(j, k)]
    j, k = j[chosen], k[chosen]
    dj, dk, rj, rk = vectors[j], vectors[k], distances[j], distances[k]
    cosine = (dj * dk).sum(axis=1) / (rj * rk)
    base = np.maximum(1.0 + f.lambda_ * cosine, 0.0)
    A = 2.0 ** (1.0 - f.zeta) * base**f.zeta
    dA = 2.0 ** (1.0 - f.zeta) * f.zeta * f.lambda_ * base ** (f.zeta - 1.0)
    Rj, dRj = gaussian(f, cutoff_function, rj)
    Rk, dRk = gaussian(f, cutoff_function, rk)
    djk, far, dfar = dj - dk, np.ones_like(rj), np.zeros_like(rj)
    if isinstance(f, G4):
        rjk = np.linalg.norm(djk, axis=1)
        far, dfar = gaussian(f, cutoff_function, rjk)
        dfar = dfar / np.where(rjk > 0.0, rjk, 1.0)

    def column(x: Array) -> Array:
        return x[:, None]

    turn_j = column(1.0 / (rj * rk)) * dk - column(cosine / rj**2) * dj
    turn_k = column(1.0 / (rj * rk)) * dj - column(cosine / rk**2) * dk
    apart = column(A * Rj * Rk * dfar) * djk
    slopes = np.zeros_like(vectors)
    np.add.at(slopes, j, column(dA * Rj * Rk * far) * turn_j + column(A * dRj * Rk * far / rj) * dj + apart)
    np.add.at(slopes, k, column(dA * Rj * Rk * far) * turn_k + column(A * Rj * dRk * far / rk) * dk - apart)
    return float((A * Rj * Rk * far).sum()), slopes
