"""Symmetry functions with their Jacobians for many configurations, compiled by Numba.

The same mathematics as in `tinynn.potentials.reference`, one loop per sum. Imported when it is first used.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

LOOP = {"error_model": "numpy", "nogil": True, "cache": True}


@njit(**LOOP)
def _near(i, atoms, lattice, cutoff, near):
    """List the images within the cutoff of atom i, as far as there is room; return how many there are."""
    cell, inverse, shifts = lattice.cell, lattice.inverse, lattice.shifts
    index, vectors, distances = near
    count = 0
    for j in range(atoms.shape[0]):
        d0 = atoms[j, 0] - atoms[i, 0]
        d1 = atoms[j, 1] - atoms[i, 1]
        d2 = atoms[j, 2] - atoms[i, 2]
        n0 = math.floor(d0 * inverse[0, 0] + d1 * inverse[1, 0] + d2 * inverse[2, 0] + 0.5)
        n1 = math.floor(d0 * inverse[0, 1] + d1 * inverse[1, 1] + d2 * inverse[2, 1] + 0.5)
        n2 = math.floor(d0 * inverse[0, 2] + d1 * inverse[1, 2] + d2 * inverse[2, 2] + 0.5)
        d0 -= n0 * cell[0, 0] + n1 * cell[1, 0] + n2 * cell[2, 0]
        d1 -= n0 * cell[0, 1] + n1 * cell[1, 1] + n2 * cell[2, 1]
        d2 -= n0 * cell[0, 2] + n1 * cell[1, 2] + n2 * cell[2, 2]
        for s in range(shifts.shape[0]):
            if s == 0 and j == i:
                continue
            x, y, z = d0 + shifts[s, 0], d1 + shifts[s, 1], d2 + shifts[s, 2]
            square = x * x + y * y + z * z
            if square < cutoff * cutoff:
                if count < index.size:
                    index[count] = j
                    vectors[count, 0], vectors[count, 1], vectors[count, 2] = x, y, z
                    distances[count] = math.sqrt(square)
                count += 1
    return count


@njit(**LOOP)
def _room_for(count):
    """Make room for the indices, displacements and distances of neighbours."""
    return np.empty(count, np.int64), np.empty((count, 3)), np.empty(count)


@njit(**LOOP)
def most_neighbors(positions, frozen, centers, lattice, cutoff):
    """Return the largest number of neighbours, and the first configuration where atoms coincide, or -1."""
    n, moving = positions.shape[:2]
    atoms = np.empty((moving + frozen.shape[0], 3))
    atoms[moving:] = frozen
    near = _room_for(atoms.shape[0] * lattice.shifts.shape[0])
    most = 0
    for c in range(n):
        atoms[:moving] = positions[c]
        for i in centers:
            count = _near(i, atoms, lattice, cutoff, near)
            most = max(most, count)
            for k in range(count):
                if near[2][k] < 1e-10:
                    return most, c
    return most, -1


@njit(**LOOP)
def _gaussian(r, parameters, cutoff_function):
    """exp(-eta (r - shift)**2) times the cutoff function, and its derivative."""
    eta, shift, cutoff = parameters[0], parameters[1], parameters[2]
    if r >= cutoff:
        return 0.0, 0.0
    kind, gamma = cutoff_function
    x = r / cutoff
    if kind == 0:
        f = 0.5 * (math.cos(math.pi * x) + 1.0)
        df = -0.5 * math.pi / cutoff * math.sin(math.pi * x)
    else:
        power = x ** (gamma - 1.0)
        f = 1.0 + gamma * power * x * x - (gamma + 1.0) * power * x
        df = gamma * (gamma + 1.0) * (power * x - power) / cutoff
    e = math.exp(-eta * (r - shift) ** 2)
    return e * f, e * (df - 2.0 * eta * (r - shift) * f)


@njit(**LOOP)
def _power(base, exponent):
    """base**exponent; whole exponents by repeated squaring, which is several times faster."""
    n = int(exponent)
    if n != exponent or n > 64:
        return base**exponent
    result = 1.0
    while n:
        if n & 1:
            result *= base
        base *= base
        n >>= 1
    return result


@njit(**LOOP)
def _add(jacobian, feature, j, factor, d):
    """Add factor * d to dG/dr_j, if atom j moves."""
    if j < jacobian.shape[1]:
        jacobian[feature, j, 0] += factor * d[0]
        jacobian[feature, j, 1] += factor * d[1]
        jacobian[feature, j, 2] += factor * d[2]


@njit(**LOOP)
def _add_radial(i, count, near, species, tables, R, dR, values, jacobian, wanted):
    """G2 = sum over j of R(r_ij)."""
    index, vectors, distances = near
    for kind, u, feature in tables.radial:
        for j in range(count):
            if species[index[j]] == kind and R[j, u] != 0.0:
                values[feature] += R[j, u]
                if wanted:
                    slope = dR[j, u] / distances[j]
                    _add(jacobian, feature, index[j], slope, vectors[j])
                    _add(jacobian, feature, i, -slope, vectors[j])


@njit(**LOOP)
def _add_angular(i, count, near, species, tables, cutoff_function, R, dR, A, dA, values, jacobian, wanted):
    """G5 = sum over j < k of A(cos) R(r_ij) R(r_ik), with A(c) = 2**(1 - zeta) (1 + lambda c)**zeta."""
    index, vectors, distances = near
    djk = np.empty(3)
    for j in range(count):
        for k in range(j):
            kind_j, kind_k = species[index[j]], species[index[k]]
            if kind_j < 0 or kind_k < 0:  # a moving atom of a species that no function names
                continue
            begin, end = tables.pairs[kind_j, kind_k, 0], tables.pairs[kind_j, kind_k, 1]
            if begin == end:
                continue
            rj, rk = distances[j], distances[k]
            dj, dk = vectors[j], vectors[k]
            inverse = 1.0 / (rj * rk)
            cosine = (dj[0] * dk[0] + dj[1] * dk[1] + dj[2] * dk[2]) * inverse
            for v in range(A.size):
                sign, zeta = tables.angles[v, 0], tables.angles[v, 1]
                base = max(1.0 + sign * cosine, 0.0)
                below = _power(base, zeta - 1.0) * 2.0 ** (1.0 - zeta)
                A[v] = below * base
                dA[v] = below * zeta * sign
            for q in range(begin, end):
                u, v, feature, is_g4 = tables.angular[q]
                a, b = R[j, u], R[k, u]
                if a == 0.0 or b == 0.0:
                    continue
                third, slope = 1.0, 0.0  # of G4: R(r_jk), and its derivative over r_jk
                if is_g4:
                    for axis in range(3):
                        djk[axis] = dj[axis] - dk[axis]
                    rjk = math.sqrt(djk[0] ** 2 + djk[1] ** 2 + djk[2] ** 2)
                    third, slope = _gaussian(rjk, tables.gaussians[u], cutoff_function)
                    slope /= max(rjk, 1e-10)
                values[feature] += A[v] * a * b * third
                if not wanted:
                    continue
                # d cos/d r_j = r_ik / (rj rk) - cos r_ij / rj**2, and the same with j and k exchanged
                turn = dA[v] * a * b * third
                cross = turn * inverse
                along_j = A[v] * dR[j, u] * b * third / rj - turn * cosine / (rj * rj)
                along_k = A[v] * a * dR[k, u] * third / rk - turn * cosine / (rk * rk)
                _add(jacobian, feature, index[j], along_j, dj)
                _add(jacobian, feature, index[j], cross, dk)
                _add(jacobian, feature, index[k], along_k, dk)
                _add(jacobian, feature, index[k], cross, dj)
                _add(jacobian, feature, i, -(along_j + cross), dj)
                _add(jacobian, feature, i, -(along_k + cross), dk)
                if is_g4:
                    _add(jacobian, feature, index[j], A[v] * a * b * slope, djk)
                    _add(jacobian, feature, index[k], -A[v] * a * b * slope, djk)


@njit(**LOOP)
def symmetry_functions(
    first, last, positions, frozen, species, centers, lattice, room, cutoff, cutoff_function, tables, values,
    jacobian, wanted,
):  # fmt: skip
    """Fill values (n, centres, features) and jacobian (n, centres, features, moving, 3) for first:last."""
    moving = positions.shape[1]
    atoms = np.empty((moving + frozen.shape[0], 3))
    atoms[moving:] = frozen
    near = _room_for(room)
    gaussians = tables.gaussians
    R, dR = np.empty((room, len(gaussians))), np.empty((room, len(gaussians)))
    A, dA = np.empty(len(tables.angles)), np.empty(len(tables.angles))
    for c in range(first, last):
        atoms[:moving] = positions[c]
        for slot in range(centers.size):
            i = centers[slot]
            count = _near(i, atoms, lattice, cutoff, near)
            for j in range(count):
                for u in range(len(gaussians)):
                    R[j, u], dR[j, u] = _gaussian(near[2][j], gaussians[u], cutoff_function)
            G = values[c, slot]
            dG = jacobian[c, slot] if wanted else jacobian[0, 0]
            _add_radial(i, count, near, species, tables, R, dR, G, dG, wanted)
            _add_angular(i, count, near, species, tables, cutoff_function, R, dR, A, dA, G, dG, wanted)
