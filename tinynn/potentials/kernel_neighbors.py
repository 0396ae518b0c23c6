"""Neighbours in compiled loops: atoms sorted into bins, so that the search looks at the bins around an atom only.

The bins are slices of the cell, not thinner than the cutoff. Where fewer than three of them fit along an axis there is
one, and the images (`tinynn.potentials.neighbors.Images.shifts`) do the rest.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tinynn.potentials.neighbors import TOO_CLOSE

LOOP = {"error_model": "numpy", "nogil": True, "cache": True}
FEW = 64  # atoms up to which all lie in one bin


@njit(**LOOP)
def sort_into_bins(atoms, lattice, cutoff):
    """Return how many bins there are along each axis, the bin of each atom, the atoms by bins, where bins begin."""
    n = atoms.shape[0]
    counts, place = np.ones(3, np.int64), np.zeros((n, 3), np.int64)
    if n > FEW:
        for axis in range(3):
            _slice(axis, atoms, lattice, cutoff, counts, place)
    number = np.empty(n, np.int64)
    start = np.zeros(counts[0] * counts[1] * counts[2] + 1, np.int64)
    for i in range(n):
        number[i] = (place[i, 0] * counts[1] + place[i, 1]) * counts[2] + place[i, 2]
        start[number[i] + 1] += 1
    for b in range(len(start) - 1):
        start[b + 1] += start[b]
    order, filled = np.empty(n, np.int64), start.copy()
    for i in range(n):
        order[filled[number[i]]] = i
        filled[number[i]] += 1
    return counts, place, order, start


@njit(**LOOP)
def _slice(axis, atoms, lattice, cutoff, counts, place):
    """Cut the cell along one axis, or the room that the atoms take where it is open."""
    n = atoms.shape[0]
    fractions = np.empty(n)
    low, high = math.inf, -math.inf
    x, y, z = lattice.axes[0, axis], lattice.axes[1, axis], lattice.axes[2, axis]
    for i in range(n):
        f = atoms[i, 0] * x + atoms[i, 1] * y + atoms[i, 2] * z
        fractions[i] = f - math.floor(f) if lattice.periodic[axis] else f
        low, high = min(low, f), max(high, f)
    if lattice.periodic[axis]:
        low, high = 0.0, 1.0
    count = int(min(math.ceil(n ** (1.0 / 3.0)), (high - low) * lattice.heights[axis] / cutoff))
    if count >= 3:
        counts[axis] = count
        for i in range(n):
            place[i, axis] = min(int((fractions[i] - low) / (high - low) * count), count - 1)


@njit(**LOOP)
def _neighboring_bin(b, step, count, periodic):
    """The bin ``step`` further along an axis, or -1."""
    b += step
    if periodic:
        return b % count
    return b if 0 <= b < count else -1


@njit(**LOOP)
def find_near(i, atoms, bins, lattice, cutoff, near):
    """List the images within the cutoff of atom i: how many, and one that is too close, or -1."""
    counts, place, order, start = bins
    width0, width1, width2 = min(counts[0] - 1, 1), min(counts[1] - 1, 1), min(counts[2] - 1, 1)
    count, close = 0, -1
    for step0 in range(-width0, width0 + 1):
        b0 = _neighboring_bin(place[i, 0], step0, counts[0], lattice.periodic[0])
        for step1 in range(-width1, width1 + 1):
            b1 = _neighboring_bin(place[i, 1], step1, counts[1], lattice.periodic[1])
            for step2 in range(-width2, width2 + 1):
                b2 = _neighboring_bin(place[i, 2], step2, counts[2], lattice.periodic[2])
                if min(b0, b1, b2) < 0:
                    continue
                b = (b0 * counts[1] + b1) * counts[2] + b2
                for j in order[start[b] : start[b + 1]]:
                    count, found = _add_images(i, j, atoms, lattice, cutoff, near, count)
                    if found:
                        close = j
    return count, close


@njit(**LOOP)
def _add_images(i, j, atoms, lattice, cutoff, near, count):
    """Append the images of atom j within the cutoff; return how many there are now, and whether one is too close."""
    cell, inverse, shifts = lattice.cell, lattice.inverse, lattice.shifts
    index, vectors, distances = near
    d0 = atoms[j, 0] - atoms[i, 0]
    d1 = atoms[j, 1] - atoms[i, 1]
    d2 = atoms[j, 2] - atoms[i, 2]
    n0 = math.floor(d0 * inverse[0, 0] + d1 * inverse[1, 0] + d2 * inverse[2, 0] + 0.5)
    n1 = math.floor(d0 * inverse[0, 1] + d1 * inverse[1, 1] + d2 * inverse[2, 1] + 0.5)
    n2 = math.floor(d0 * inverse[0, 2] + d1 * inverse[1, 2] + d2 * inverse[2, 2] + 0.5)
    d0 -= n0 * cell[0, 0] + n1 * cell[1, 0] + n2 * cell[2, 0]
    d1 -= n0 * cell[0, 1] + n1 * cell[1, 1] + n2 * cell[2, 1]
    d2 -= n0 * cell[0, 2] + n1 * cell[1, 2] + n2 * cell[2, 2]
    close = False
    for s in range(shifts.shape[0]):
        if s == 0 and j == i:
            continue
        x, y, z = d0 + shifts[s, 0], d1 + shifts[s, 1], d2 + shifts[s, 2]
        square = x * x + y * y + z * z
        if square < cutoff * cutoff:
            close = close or square < TOO_CLOSE * TOO_CLOSE
            index[count] = j
            vectors[count, 0], vectors[count, 1], vectors[count, 2] = x, y, z
            distances[count] = math.sqrt(square)
            count += 1
    return count, close


@njit(**LOOP)
def room_for(count):
    """Make room for the indices, displacements and distances of neighbours."""
    return np.empty(count, np.int64), np.empty((count, 3)), np.empty(count)


@njit(**LOOP)
def put(atoms, positions, at):
    """Copy positions into ``atoms``, from row ``at`` on. (As a slice, it would take seconds to compile.)"""
    for i in range(len(positions)):
        for axis in range(3):
            atoms[at + i, axis] = positions[i, axis]
