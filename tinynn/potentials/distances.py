"""`Distances` and `InverseDistances`: all pairs of atoms of a molecule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.ops.elementwise import sqrt
from tinynn.ops.indexing import take
from tinynn.ops.linalg import matmul
from tinynn.ops.piecewise import floor, stop_gradient
from tinynn.ops.reduce import min as smallest
from tinynn.ops.reduce import sum as total
from tinynn.ops.shape import expand_dims
from tinynn.potentials.global_descriptor import GlobalDescriptor, beside, check_count
from tinynn.potentials.neighbors import TOO_CLOSE, Images, minimum_images
from tinynn.potentials.system import System

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Distances(GlobalDescriptor):
    """The distances r_12, r_13, ..., r_23, ... of all pairs of atoms.

    They do not change when the molecule is translated, rotated or reflected, and determine it up to that. They do
    change when equal atoms are exchanged.

    In a cell it is the distance to the nearest image, exactly so in skew cells too. Where two images are equally near
    the distance has a kink; so cells should be larger than the molecule by twice.

    Parameters
    ----------
    atoms : number of atoms

    Notes
    -----
    dr_ij/dr_j = (r_j - r_i) / r_ij = -dr_ij/dr_i. Frozen atoms are refused: distances to a slab would have
    kinks everywhere; see `SymmetryFunctions`.

    Examples
    --------
    >>> import numpy as np
    >>> triangle = np.array([[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0]]])
    >>> values, jacobian = Distances(3).compute(triangle)
    >>> values
    array([[[3., 4., 5.]]])
    >>> jacobian[0, 0, 2, 1, :2]
    array([ 0.6, -0.8])
    >>> from tinynn.potentials import System
    >>> Distances(3).values(triangle, System("HHH", cell=np.diag([5.0, 5.0, 5.0]), pbc=True)).round(3)
    array([[[2.   , 1.   , 2.236]]])
    """

    atoms: int

    def __post_init__(self) -> None:
        check_count(type(self).__name__, self.atoms, 2)

    def __len__(self) -> int:
        return self.atoms * (self.atoms - 1) // 2

    @property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the second atom of each feature."""
        i, j = np.triu_indices(self.atoms, 1)
        return i.astype(np.int64), j.astype(np.int64)

    def features(self, x: Any, system: System | None = None) -> Any:
        """The distances (n, pairs), by the library's operations."""
        i, j = (beside(atoms, x, np.int64) for atoms in self.pairs)
        d = take(x, j, axis=1) - take(x, i, axis=1)
        lattice = _lattice(system)
        if lattice is None:
            return sqrt(total(d * d, axis=2))
        inverse, cell, shifts = (beside(array, x) for array in (lattice.inverse, lattice.cell, lattice.shifts))
        d = d - stop_gradient(matmul(floor(matmul(d, inverse) + 0.5), cell))
        if len(shifts) == 1:
            return sqrt(total(d * d, axis=2))
        images = expand_dims(d, 2) + shifts
        return sqrt(smallest(total(images * images, axis=3), axis=2))

    def vectors(self, x: Array, system: System | None) -> Array:
        """The displacements r_j - r_i to the nearest image, (n, pairs, 3)."""
        i, j = self.pairs
        d = x[:, j] - x[:, i]
        lattice = _lattice(system)
        if lattice is None:
            return d
        d = lattice.wrap(d)
        nearest, shortest = d, (d * d).sum(axis=-1)
        for shift in lattice.shifts[1:]:
            moved = d + shift
            length = (moved * moved).sum(axis=-1)
            nearest = np.where((length < shortest)[..., None], moved, nearest)
            shortest = np.minimum(length, shortest)
        return nearest

    def values_and_jacobian(self, x: Array, system: System | None = None) -> tuple[Array, Array]:
        """The distances, and unit vectors."""
        d = self.vectors(x, system)
        r = np.sqrt((d * d).sum(axis=-1))
        return r, self._placed(d / r[..., None])

    def check(self, x: Array, system: System | None) -> None:
        """Refuse frozen atoms, and atoms at the same place."""
        if system is not None and system.frozen_numbers:
            raise ValueError(
                f"{type(self).__name__} describes atoms that move; {system!r} has frozen atoms. SymmetryFunctions and, "
                "for a molecule on a surface, SurfaceCoordinates see them"
            )
        d = self.vectors(x, system)
        close = (d * d).sum(axis=-1) < TOO_CLOSE**2
        if close.any():
            c, pair = map(int, np.argwhere(close)[0])
            i, j = (int(atoms[pair]) for atoms in self.pairs)
            raise ValueError(
                f"positions: in configuration {c}, atom {i} lies at the place of atom {j} (nearer than {TOO_CLOSE:g})"
            )

    def _placed(self, slopes: Array) -> Array:
        """Slopes by r_j (n, pairs, 3) put where the Jacobian has them."""
        i, j = self.pairs
        jacobian = np.zeros((*slopes.shape[:2], self.atoms, 3))
        pair = np.arange(len(self))
        jacobian[:, pair, j] = slopes
        jacobian[:, pair, i] = -slopes
        return jacobian


@dataclass(frozen=True)
class InverseDistances(Distances):
    """The inverse distances 1/r_12, 1/r_13, ... of all pairs of atoms.

    As `Distances`, with most weight on atoms that are near each other, where energies change most.

    Parameters
    ----------
    atoms : number of atoms

    Notes
    -----
    d(1/r_ij)/dr_j = -(r_j - r_i) / r_ij³. S. Chmiela et al., Sci. Adv. 3, e1603015 (2017), describe molecules by
    these.

    Examples
    --------
    >>> import numpy as np
    >>> triangle = np.array([[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0]]])
    >>> InverseDistances(3).values(triangle)
    array([[[0.33333333, 0.25      , 0.2       ]]])
    """

    def features(self, x: Any, system: System | None = None) -> Any:
        """The inverse distances (n, pairs), by the library's operations."""
        return 1.0 / super().features(x, system)

    def values_and_jacobian(self, x: Array, system: System | None = None) -> tuple[Array, Array]:
        """The inverse distances, and -d / r³."""
        d = self.vectors(x, system)
        r = np.sqrt((d * d).sum(axis=-1))
        return 1.0 / r, self._placed(-d / r[..., None] ** 3)


def _lattice(system: System | None) -> Images | None:
    """The cell, if something is periodic."""
    if system is None or system.cell is None or not any(system.pbc):
        return None
    return minimum_images(system.cell, system.pbc)
