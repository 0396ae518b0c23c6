"""A list of symmetry functions as number tables, for the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynn.potentials.functions import G2, G4, Species

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Tables(NamedTuple):
    """Functions sorted so that what several of them share is computed once.

    Attributes
    ----------
    cutoffs : (K,), the different cutoffs
    radial : (R, 3), per radial function, by species of the neighbour: η, r_s, number of the cutoff
    radial_features : (R,), which features these are
    radial_of : (T + 1,), where the radial functions of a species begin, and those of the next one
    gaussians : (U, 3), the different (η, r_s, number of the cutoff) among the angular functions
    angles : (V, 3), the different (λ, ζ), and 2^(1-ζ)
    angular : (A, 3), per angular function, by species pair: gaussian, angle, feature
    pairs : (T, T, 3), where in ``angular`` the functions of a species pair begin, where those that are G4, and the end
    reach : the largest cutoff of an angular function
    """

    cutoffs: Floats
    radial: Floats
    radial_features: Whole
    radial_of: Whole
    gaussians: Floats
    angles: Floats
    angular: Whole
    pairs: Whole
    reach: float


def tables_of(functions: Sequence[Any], species: Sequence[Species]) -> Tables:
    """Put the functions into tables; ``species`` says which number an atom of each species has."""
    number = {name: i for i, name in enumerate(species)}
    cutoffs: dict[float, int] = {}
    gaussians: dict[tuple[float, float, int], int] = {}
    angles: dict[tuple[float, float], int] = {}
    radial, angular = [], []
    for feature, f in enumerate(functions):
        gaussian = f.eta, f.shift, cutoffs.setdefault(f.cutoff, len(cutoffs))
        if isinstance(f, G2):
            radial.append((number[f.neighbor], feature, gaussian))
        else:
            u = gaussians.setdefault(gaussian, len(gaussians))
            v = angles.setdefault((f.lambda_, f.zeta), len(angles))
            a, b = sorted(number[s] for s in f.neighbors)
            angular.append((a, b, isinstance(f, G4), u, v, feature))
    radial.sort()
    angular.sort()
    kinds = [row[:3] for row in angular]
    pairs = np.zeros((len(species), len(species), 3), np.int64)
    for a in range(len(species)):
        for b in range(a, len(species)):
            begin = sum(kind < (a, b) for kind in kinds)
            middle, end = (begin + kinds.count((a, b, False)), begin + sum(kind[:2] == (a, b) for kind in kinds))
            pairs[a, b] = pairs[b, a] = begin, middle, end
    return Tables(
        np.array(list(cutoffs), np.float64),
        np.array([row[2] for row in radial], np.float64).reshape(-1, 3),
        np.array([row[1] for row in radial], np.int64),
        np.array([sum(row[0] < s for row in radial) for s in range(len(species) + 1)], np.int64),
        np.array(list(gaussians), np.float64).reshape(-1, 3),
        np.array([(sign, zeta, 2.0 ** (1.0 - zeta)) for sign, zeta in angles], np.float64).reshape(-1, 3),
        np.array([row[3:] for row in angular], np.int64).reshape(-1, 3),
        pairs,
        max((f.cutoff for f in functions if not isinstance(f, G2)), default=0.0),
    )
