"""A list of symmetry functions as number tables, for the compiled kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynn.potentials.functions import G2, G4, Species


class Tables(NamedTuple):
    """Functions sorted so that what several of them share is computed once.

    Attributes
    ----------
    gaussians : (U, 3), the different (η, r_s, r_c) among all functions
    angles : (V, 2), the different (λ, ζ) among the angular functions
    radial : (R, 3) int, per radial function: species of the neighbour, gaussian, feature
    angular : (A, 4) int, per angular function, by species pair: gaussian, angle, feature, whether it is G4
    pairs : (T, T, 2) int, where in ``angular`` the functions of a species pair begin and end
    """

    gaussians: NDArray[np.float64]
    angles: NDArray[np.float64]
    radial: NDArray[np.int64]
    angular: NDArray[np.int64]
    pairs: NDArray[np.int64]


def tables_of(functions: Sequence[Any], species: Sequence[Species]) -> Tables:
    """Put the functions into tables; ``species`` says which number an atom of each species has."""
    number = {name: i for i, name in enumerate(species)}
    gaussians: dict[tuple[float, float, float], int] = {}
    angles: dict[tuple[float, float], int] = {}
    radial, angular = [], []
    for feature, f in enumerate(functions):
        u = gaussians.setdefault((f.eta, f.shift, f.cutoff), len(gaussians))
        if isinstance(f, G2):
            radial.append((number[f.neighbor], u, feature))
        else:
            v = angles.setdefault((f.lambda_, f.zeta), len(angles))
            a, b = sorted(number[s] for s in f.neighbors)
            angular.append((a, b, u, v, feature, int(isinstance(f, G4))))
    angular.sort()
    pairs = np.zeros((len(species), len(species), 2), np.int64)
    for a in range(len(species)):
        for b in range(a, len(species)):
            mine = [k for k, row in enumerate(angular) if row[:2] == (a, b)]
            pairs[a, b] = pairs[b, a] = (mine[0], mine[-1] + 1) if mine else (0, 0)
    return Tables(
        np.array(list(gaussians), np.float64).reshape(-1, 3),
        np.array(list(angles), np.float64).reshape(-1, 2),
        np.array(radial, np.int64).reshape(-1, 3),
        np.array([row[2:] for row in angular], np.int64).reshape(-1, 4),
        pairs,
    )
