"""Symmetry functions with their Jacobians for many configurations, compiled by Numba.

The same mathematics as in `tinynn.potentials.reference`, one loop per sum. Imported when it is first used.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

LOOP = {"error_model": "numpy", "nogil": True, "cache": True}


@njit(**LOOP)
def _near(i, atoms, cell, inverse, shifts, cutoff, index, vectors, distances):
    """List the images within the cutoff of atom i; return how many there are (stored as far as there is room)."""
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
def most_neighbors(positions, frozen, centers, cell, inverse, shifts, cutoff):
    """Return the largest number of neighbours of a centre, and the first configuration where two atoms coincide (or -1)."""
    n, moving = positions.shape[:2]
    atoms = np.empty((moving + frozen.shape[0], 3))
    atoms[moving:] = frozen
    room = atoms.shape[0] * shifts.shape[0]
    index, vectors, distances = np.empty(room, np.int64), np.empty((room, 3)), np.empty(room)
    most = 0
    for c in range(n):
        atoms[:moving] = positions[c]
        for i in centers:
            count = _near(i, atoms, cell, inverse, shifts, cutoff, index, vectors, distances)
            most = max(most, count)
            for k in range(count):
                if distances[k] < 1e-10:
                    return most, c
    return most, -1


@njit(**LOOP)
def _gaussian(r, eta, shift, cutoff, kind, gamma):
    """exp(-eta (r - shift)**2) times the cutoff function, and its derivative."""
    if r >= cutoff:
        return 0.0, 0.0
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
def _add(jacobian, feature, j, moving, factor, d):
    """Add factor * d to dG/dr_j, if atom j moves."""
    if j < moving:
        jacobian[feature, j, 0] += factor * d[0]
        jacobian[feature, j, 1] += factor * d[1]
        jacobian[feature, j, 2] += factor * d[2]


@njit(**LOOP)
def _radial(i, moving, count, index, vectors, distances, species, radial, R, dR, values, jacobian, wanted):
    """G2 = sum over j of R(r_ij)."""
    for q in range(radial.shape[0]):
        kind, u, feature = radial[q, 0], radial[q, 1], radial[q, 2]
        for j in range(count):
            if species[index[j]] == kind and R[j, u] != 0.0:
                values[feature] += R[j, u]
                if wanted:
                    slope = dR[j, u] / distances[j]
                    _add(jacobian, feature, index[j], moving, slope, vectors[j])
                    _add(jacobian, feature, i, moving, -slope, vectors[j])


@njit(**LOOP)
def _angular(
    i, moving, count, index, vectors, distances, species, gaussians, angles, angular, pairs, R, dR, kind, gamma,
    values, jacobian, wanted, A, dA, third,
):  # fmt: skip
    """G5 = sum over j < k of A(cos) R(r_ij) R(r_ik), with A(c) = 2**(1 - zeta) (1 + lambda c)**zeta; G4 = ... R(r_jk)."""
    for j in range(count):
        for k in range(j):
            a_kind, b_kind = species[index[j]], species[index[k]]
            if a_kind < 0 or b_kind < 0:  # a moving atom of a species that no function names
                continue
            begin, end = pairs[a_kind, b_kind]
            if begin == end:
                continue
            rj, rk = distances[j], distances[k]
            dj, dk = vectors[j], vectors[k]
            inverse = 1.0 / (rj * rk)
            cosine = (dj[0] * dk[0] + dj[1] * dk[1] + dj[2] * dk[2]) * inverse
            for v in range(angles.shape[0]):
                base = max(1.0 + angles[v, 0] * cosine, 0.0)
                below = _power(base, angles[v, 1] - 1.0) * 2.0 ** (1.0 - angles[v, 1])
                A[v] = below * base
                dA[v] = below * angles[v, 1] * angles[v, 0]
            for q in range(begin, end):
                u, v, feature = angular[q, 0], angular[q, 1], angular[q, 2]
                a, b = R[j, u], R[k, u]
                if a == 0.0 or b == 0.0:
                    continue
                far, dfar = 1.0, 0.0
                if angular[q, 3]:
                    third[0], third[1], third[2] = dj[0] - dk[0], dj[1] - dk[1], dj[2] - dk[2]
                    rjk = math.sqrt(third[0] ** 2 + third[1] ** 2 + third[2] ** 2)
                    far, dfar = _gaussian(rjk, gaussians[u, 0], gaussians[u, 1], gaussians[u, 2], kind, gamma)
                    if rjk > 0.0:
                        dfar /= rjk
                values[feature] += A[v] * a * b * far
                if not wanted:
                    continue
                # d cos/d r_j = r_ik / (rj rk) - cos r_ij / rj**2, and the same for k with j and k exchanged
                turn = dA[v] * a * b * far
                cross = turn * inverse
                along_j = A[v] * dR[j, u] * b * far / rj - turn * cosine / (rj * rj)
                along_k = A[v] * a * dR[k, u] * far / rk - turn * cosine / (rk * rk)
                _add(jacobian, feature, index[j], moving, along_j, dj)
                _add(jacobian, feature, index[j], moving, cross, dk)
                _add(jacobian, feature, index[k], moving, along_k, dk)
                _add(jacobian, feature, index[k], moving, cross, dj)
                _add(jacobian, feature, i, moving, -(along_j + cross), dj)
                _add(jacobian, feature, i, moving, -(along_k + cross), dk)
                if dfar != 0.0:
                    _add(jacobian, feature, index[j], moving, A[v] * a * b * dfar, third)
                    _add(jacobian, feature, index[k], moving, -A[v] * a * b * dfar, third)


@njit(**LOOP)
def symmetry_functions(
    first, last, positions, frozen, species, centers, cell, inverse, shifts, room, cutoff, kind, gamma,
    gaussians, angles, radial, angular, pairs, values, jacobian, wanted,
):  # fmt: skip
    """Fill ``values`` (n, centres, features) and ``jacobian`` (n, centres, features, moving, 3) for configurations first:last."""
    moving = positions.shape[1]
    atoms = np.empty((moving + frozen.shape[0], 3))
    atoms[moving:] = frozen
    index, vectors, distances = np.empty(room, np.int64), np.empty((room, 3)), np.empty(room)
    R, dR = np.empty((room, gaussians.shape[0])), np.empty((room, gaussians.shape[0]))
    A, dA, third = np.empty(angles.shape[0]), np.empty(angles.shape[0]), np.empty(3)
    for c in range(first, last):
        atoms[:moving] = positions[c]
        for slot in range(centers.size):
            i = centers[slot]
            count = _near(i, atoms, cell, inverse, shifts, cutoff, index, vectors, distances)
            for j in range(count):
                for u in range(gaussians.shape[0]):
                    R[j, u], dR[j, u] = _gaussian(
                        distances[j], gaussians[u, 0], gaussians[u, 1], gaussians[u, 2], kind, gamma
                    )
            target = jacobian[c if wanted else 0, slot if wanted else 0]
            _radial(
                i, moving, count, index, vectors, distances, species, radial, R, dR, values[c, slot], target, wanted
            )
            _angular(
                i, moving, count, index, vectors, distances, species, gaussians, angles, angular, pairs, R, dR, kind,
                gamma, values[c, slot], target, wanted, A, dA, third,
            )  # fmt: skip
