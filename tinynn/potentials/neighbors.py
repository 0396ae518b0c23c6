"""Neighbours of an atom in a periodic cell: all images within a cutoff."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
TOO_CLOSE = 1e-3  # atoms that are nearer are taken for a mistake: slopes and angles have lost their digits there


class Images(NamedTuple):
    """What is needed to list periodic images within a cutoff.

    A displacement is first wrapped to fractional coordinates in [-1/2, 1/2) along periodic axes, so that the
    result does not depend on which image of an atom was given; then ``shifts`` are added to it.

    Attributes
    ----------
    cell : (3, 3), lattice vectors as rows
    inverse : (3, 3), of the cell, with zero columns for axes that are not periodic
    shifts : (S, 3), lattice translations that can bring a wrapped displacement within the cutoff; first 0
    axes : (3, 3), the whole inverse of the cell: its columns turn positions into fractional coordinates
    heights : (3,), distances between opposite faces of the cell
    periodic : (3,) bool
    """

    cell: Array
    inverse: Array
    shifts: Array
    axes: Array
    heights: Array
    periodic: NDArray[np.bool_]

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
        If the cell has another shape, values that are not finite, lattice vectors that span no volume, or images that
        are a hundred times nearer than the cutoff.

    Examples
    --------
    >>> len(images(np.diag([4.0, 4.0, 20.0]), (True, True, False), 3.0).shifts)
    9
    >>> len(images(None, True, 3.0).shifts)
    1
    """
    if cell is None:
        vectors, periodic = np.eye(3), np.zeros(3, bool)
    else:
        vectors, periodic = _checked(cell, pbc)
    axes = np.linalg.inv(vectors).astype(np.float64)
    heights = 1.0 / np.linalg.norm(axes, axis=0)
    if (heights[periodic] < 0.01 * cutoff).any():
        raise ValueError(
            f"cell: the lattice vectors\n{vectors}\nput images {heights[periodic].min():g} apart, which is too near "
            f"for a cutoff of {cutoff:g}: an atom would have thousands of images of itself as neighbours"
        )
    reach = np.where(periodic, np.floor(cutoff / heights + 0.5), 0).astype(int)
    steps = np.array(sorted(product(*[range(-n, n + 1) for n in reach]), key=lambda n: np.abs(n).sum()), np.float64)
    return Images(vectors, axes * periodic, steps @ vectors, axes, heights, periodic)


def minimum_images(cell: ArrayLike | None, pbc: Any) -> Images:
    """Collect the lattice translations among which a wrapped displacement d has its shortest image.

    A translation s can only make it shorter, |d + s| < |d|, if s² < -2 s·d; and as d is a sum of the periodic lattice
    vectors a_i with factors up to 1/2 and something perpendicular to them, -2 s·d <= Σ |s·a_i|. In a cell with right
    angles this leaves 0 alone.

    Parameters
    ----------
    cell : (3, 3) lattice vectors as rows, or None for a molecule
    pbc : True, or one bool per axis

    Examples
    --------
    >>> len(minimum_images(np.diag([4.0, 5.0, 6.0]), True).shifts)
    1
    >>> skew = np.array([[4.0, 0.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 20.0]])
    >>> lattice = minimum_images(skew, (True, True, False))
    >>> d = lattice.wrap(np.array([3.2, 1.8, 0.0]))
    >>> float(np.linalg.norm(d)), float(np.linalg.norm(d + lattice.shifts, axis=1).min())
    (3.671..., 1.969...)
    """
    if cell is None:
        return images(None, pbc, 0.0)
    vectors, periodic = _checked(cell, pbc)
    # Open lattice vectors upright on the periodic ones, so that they have no part in the shifts.
    along = vectors[periodic]
    upright = np.linalg.svd(along)[2][len(along) :] if len(along) else np.eye(3)
    vectors[~periodic] = upright
    lattice = images(vectors, periodic, 0.5 * np.linalg.norm(along, axis=1).sum())
    s = lattice.shifts
    shorter = (s * s).sum(axis=1) * (1.0 + 1e-9) < np.abs(s @ along.T).sum(axis=1)
    shorter[0] = True
    return lattice._replace(shifts=s[shorter])


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


def _checked(cell: ArrayLike, pbc: Any) -> tuple[Array, NDArray[np.bool_]]:
    """Three independent lattice vectors, and which of them are periodic."""
    vectors = np.array(cell, np.float64)
    if vectors.shape != (3, 3):
        raise ValueError(f"cell must be three lattice vectors as rows, shape (3, 3), got shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError(f"cell must be finite, got\n{vectors}")
    flags = np.asarray(pbc)
    if flags.shape not in ((), (3,)) or flags.dtype.kind not in "bi":
        raise ValueError(f"pbc must be a bool or three, got {pbc!r}")
    periodic = np.broadcast_to(flags.astype(bool), (3,)).copy()
    for axis in np.flatnonzero(periodic & ~vectors.any(axis=1)):
        raise ValueError(f"cell: lattice vector {axis} is zero, but pbc says that it is periodic")
    # A missing vector of an open axis may point anywhere out of the plane of the others.
    for axis in np.flatnonzero(~vectors.any(axis=1)):
        others = vectors[[(axis + 1) % 3, (axis + 2) % 3]]
        vectors[axis] = np.cross(*others) if np.cross(*others).any() else np.eye(3)[axis]
    lengths = np.linalg.norm(vectors, axis=1)
    if abs(np.linalg.det(vectors / lengths[:, None])) < 1e-6:
        volume = abs(np.linalg.det(vectors))
        raise ValueError(f"cell: the lattice vectors\n{vectors}\nspan a volume of {volume:g}; they must be independent")
    return vectors, periodic
