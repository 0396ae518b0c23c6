"""Neighbours of an atom in a periodic cell: all images within a cutoff."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Images(NamedTuple):
    """What is needed to list periodic images within a cutoff.

    A displacement is first wrapped to fractional coordinates in [-1/2, 1/2) along periodic axes, so that the
    result does not depend on which image of an atom was given; then ``shifts`` are added to it.

    Attributes
    ----------
    cell : (3, 3), lattice vectors as rows
    inverse : (3, 3), of the cell, with zero columns for axes that are not periodic
    shifts : (S, 3), lattice translations that can bring a wrapped displacement within the cutoff; first 0
    """

    cell: Array
    inverse: Array
    shifts: Array

    def wrap(self, displacements: Array) -> Array:
        """Return the displacements, moved by lattice vectors next to the origin."""
        return displacements - np.floor(displacements @ self.inverse + 0.5) @ self.cell


def images(cell: ArrayLike | None, pbc: Any, cutoff: float) -> Images:
    """Collect the lattice translations that matter for a cutoff.

    The planes n and n + 1 of a lattice direction lie a height h = volume / area apart, so |n + f| h <= cutoff
    with |f| <= 1/2 bounds n.

    Parameters
    ----------
    cell : (3, 3) lattice vectors as rows, or None for a molecule
    pbc : True, or one bool per axis

    Raises
    ------
    ValueError
        If the cell has another shape, or periodic lattice vectors that span no volume.

    Examples
    --------
    >>> len(images(np.diag([4.0, 4.0, 20.0]), (True, True, False), 3.0).shifts)
    9
    >>> len(images(None, True, 3.0).shifts)
    1
    """
    if cell is None:
        return Images(np.eye(3), np.zeros((3, 3)), np.zeros((1, 3)))
    vectors = np.array(cell, np.float64)
    if vectors.shape != (3, 3):
        raise ValueError(f"cell must be three lattice vectors as rows, shape (3, 3), got shape {vectors.shape}")
    periodic = np.broadcast_to(np.asarray(pbc, bool), (3,))
    # A missing vector of an open axis may point anywhere out of the plane of the others.
    for axis in np.flatnonzero(~periodic & ~vectors.any(axis=1)):
        others = vectors[[(axis + 1) % 3, (axis + 2) % 3]]
        vectors[axis] = np.cross(*others) if np.cross(*others).any() else np.eye(3)[axis]
    volume = abs(np.linalg.det(vectors))
    if not np.isfinite(volume) or volume < 1e-8:
        raise ValueError(f"cell: the lattice vectors\n{vectors}\nspan a volume of {volume:g}; they must be independent")
    inverse = np.linalg.inv(vectors)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    reach = np.where(periodic, np.floor(cutoff / heights + 0.5), 0).astype(int)
    steps = np.array(sorted(product(*[range(-n, n + 1) for n in reach]), key=lambda n: np.abs(n).sum()), np.float64)
    return Images(vectors, inverse * periodic, steps @ vectors)


def neighbors(i: int, positions: Array, lattice: Images, cutoff: float) -> tuple[NDArray[np.int64], Array, Array]:
    """List all images of all atoms within ``cutoff`` of atom ``i``: indices, r_j - r_i, distances.

    Examples
    --------
    >>> positions = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    >>> indices, displacements, distances = neighbors(0, positions, images(None, False, 3.0), 3.0)
    >>> indices, distances
    (array([1]), array([1.]))
    """
    wrapped = lattice.wrap(positions - positions[i])
    every = wrapped[None] + lattice.shifts[:, None]
    distance = np.linalg.norm(every, axis=-1)
    near = distance < cutoff
    near[0, i] = False  # the atom itself; its own images are neighbours
    shift, index = np.nonzero(near)
    return index, every[shift, index], distance[shift, index]
