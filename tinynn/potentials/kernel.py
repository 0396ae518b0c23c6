"""Symmetry functions with their Jacobians for many configurations, compiled by Numba.

The same mathematics as in `tinynn.potentials.reference`, in terms of the three sides r_j, r_k, r_jk of each triangle:
a summand T of an angular function changes with the displacements d_j, d_k and d_jk = d_j - d_k by

    dT = C_j d_j · δd_j + C_k d_k · δd_k + S d_jk · δd_jk,     C_j = ∂T/∂r_j / r_j,  S = ∂T/∂r_jk / r_jk

so that three numbers per triangle and function are all there is to compute, side by side for the functions of a pair
of species. Imported when it is first used.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from tinynn.potentials.kernel_neighbors import find_near, put, room_for, sort_into_bins

LOOP = {"error_model": "numpy", "nogil": True, "cache": True, "fastmath": {"contract"}}
PART = {"error_model": "numpy", "fastmath": {"contract"}, "forceinline": True}  # of a loop


class Scratch(NamedTuple):
    """Memory for the neighbours of one atom; A is the number of angular functions.

    Attributes
    ----------
    near : indices, displacements, distances of the neighbours
    inner : neighbours that angular functions see
    R, dR : (room, A), R(r_j) of each angular function, and R'(r_j) / r_j
    f, df : cutoff functions
    u, du : R and R' / r of the different Gaussians
    a, da : of the different angles: 2^(1-ζ) (1 + λ c)^ζ and its derivative by c
    terms : (4, A), of one triangle: T, C_j, C_k, S
    along : (room, A), sums of C_j over triangles: the factors of the displacements in -dG/dr_i
    aside : (room, 3, A), sums of S d_jk over triangles: what dG/dr_j has besides
    """

    near: tuple
    inner: np.ndarray
    R: np.ndarray
    dR: np.ndarray
    f: np.ndarray
    df: np.ndarray
    u: np.ndarray
    du: np.ndarray
    a: np.ndarray
    da: np.ndarray
    terms: np.ndarray
    along: np.ndarray
    aside: np.ndarray


@njit(**LOOP)
def scratch_for(room, tables):
    """Make room for so many neighbours."""
    A, K, U, V = len(tables.angular), len(tables.cutoffs), len(tables.gaussians), len(tables.angles)
    return Scratch(
        room_for(room), np.empty(room, np.int64), np.empty((room, A)), np.empty((room, A)), np.empty(K), np.empty(K),
        np.empty(U), np.empty(U), np.empty(V), np.empty(V), np.empty((4, A)), np.empty((room, A)),
        np.empty((room, 3, A)),
    )  # fmt: skip


@njit(**LOOP)
def cutoffs_at(r, cutoffs, cutoff_function, f, df):
    """Fill in the cutoff functions at r, and their derivatives."""
    kind, gamma = cutoff_function
    for k in range(len(cutoffs)):
        x = r / cutoffs[k]
        if x >= 1.0:
            f[k], df[k] = 0.0, 0.0
        elif kind == 0:
            f[k] = 0.5 * (math.cos(math.pi * x) + 1.0)
            df[k] = -0.5 * math.pi / cutoffs[k] * math.sin(math.pi * x)
        else:
            power = x ** (gamma - 1.0)
            f[k] = 1.0 + gamma * power * x * x - (gamma + 1.0) * power * x
            df[k] = gamma * (gamma + 1.0) * (power * x - power) / cutoffs[k]


@njit(**PART)
def gaussian_at(r, gaussians, u, f, df):
    """R = exp(-eta (r - shift)**2) f_c(r) and R' / r, with the parameters in row u."""
    eta, shift, k = gaussians[u, 0], gaussians[u, 1], int(gaussians[u, 2])
    e = math.exp(-eta * (r - shift) ** 2)
    return e * f[k], e * (df[k] - 2.0 * eta * (r - shift) * f[k]) / r


@njit(**PART)
def power(base, exponent):
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


@njit(**PART)
def angles_at(cosine, angles, a, da):
    """Fill in A(c) = 2**(1 - zeta) (1 + lambda c)**zeta of each angle, and its derivative."""
    for v in range(len(angles)):
        sign, zeta, norm = angles[v, 0], angles[v, 1], angles[v, 2]
        base = max(1.0 + sign * cosine, 0.0)
        below = norm * power(base, zeta - 1.0)
        a[v] = below * base
        da[v] = below * zeta * sign


@njit(**LOOP)
def prepare_inner(count, species, tables, cutoff_function, scratch):
    """List the neighbours that angular functions see, with R and R' / r of each; return how many there are."""
    index, _, distances = scratch.near
    f, df, R, dR, u, du, inner = scratch.f, scratch.df, scratch.R, scratch.dR, scratch.u, scratch.du, scratch.inner
    cutoffs, gaussians, angular = tables.cutoffs, tables.gaussians, tables.angular
    seen = 0
    for j in range(count):
        r = distances[j]
        if r >= tables.reach or species[index[j]] < 0:
            continue
        cutoffs_at(r, cutoffs, cutoff_function, f, df)
        for p in range(len(gaussians)):
            u[p], du[p] = gaussian_at(r, gaussians, p, f, df)
        for q in range(len(angular)):
            R[j, q], dR[j, q] = u[angular[q, 0]], du[angular[q, 0]]
        inner[seen] = j
        seen += 1
    return seen


@njit(**PART)
def pair_terms(j, k, begin, end, vectors, distances, R, dR, angles, angular, a, da, terms):
    """Fill in the terms of the triangle of the atom and its neighbours j and k, for the angular functions begin:end.

    Without the third factor of G4, see `add_third_side`. (Arrays one by one: taking them out of a tuple is counted by
    Numba, which would take longer than the loop.)
    """
    rj, rk = distances[j], distances[k]
    inverse = 1.0 / (rj * rk)
    dot = vectors[j, 0] * vectors[k, 0] + vectors[j, 1] * vectors[k, 1] + vectors[j, 2] * vectors[k, 2]
    cosine = dot * inverse
    angles_at(cosine, angles, a, da)
    bend_j, bend_k = inverse - cosine / (rj * rj), inverse - cosine / (rk * rk)
    for q in range(begin, end):
        v = angular[q, 1]
        turn = da[v] * R[j, q] * R[k, q]
        terms[0, q] = a[v] * R[j, q] * R[k, q]
        terms[1, q] = a[v] * dR[j, q] * R[k, q] + turn * bend_j
        terms[2, q] = a[v] * R[j, q] * dR[k, q] + turn * bend_k
        terms[3, q] = -turn * inverse


@njit(**LOOP)
def add_third_side(j, k, begin, end, tables, cutoff_function, scratch):
    """Multiply the terms of the G4 among the angular functions, begin:end, by R(r_jk)."""
    vectors, terms, angular, gaussians = scratch.near[1], scratch.terms, tables.angular, tables.gaussians
    f, df, u, du = scratch.f, scratch.df, scratch.u, scratch.du
    x, y, z = vectors[j, 0] - vectors[k, 0], vectors[j, 1] - vectors[k, 1], vectors[j, 2] - vectors[k, 2]
    rjk = max(math.sqrt(x * x + y * y + z * z), 1e-10)
    cutoffs_at(rjk, tables.cutoffs, cutoff_function, f, df)
    for p in range(len(gaussians)):
        u[p], du[p] = gaussian_at(rjk, gaussians, p, f, df)
    for q in range(begin, end):
        third, slope = u[angular[q, 0]], du[angular[q, 0]]
        terms[3, q] = terms[3, q] * third + terms[0, q] * slope
        for row in range(3):
            terms[row, q] *= third


@njit(**LOOP)
def _add_radial(i, count, species, tables, cutoff_function, scratch, values, jacobian, wanted):
    """G2 = sum over j of R(r_ij)."""
    index, vectors, distances = scratch.near
    f, df, cutoffs, radial, radial_of = scratch.f, scratch.df, tables.cutoffs, tables.radial, tables.radial_of
    features = tables.radial_features
    for j in range(count):
        kind, atom = species[index[j]], index[j]
        if kind < 0:  # a moving atom of a species that no function names
            continue
        cutoffs_at(distances[j], cutoffs, cutoff_function, f, df)
        for q in range(radial_of[kind], radial_of[kind + 1]):
            R, slope = gaussian_at(distances[j], radial, q, f, df)
            values[features[q]] += R
            if wanted and atom != i:  # its own images move with the atom
                for axis in range(3):
                    d = slope * vectors[j, axis]
                    jacobian[features[q], i, axis] -= d
                    if atom < jacobian.shape[1]:
                        jacobian[features[q], atom, axis] += d


@njit(**LOOP)
def _add_angular(i, count, moving, species, tables, cutoff_function, scratch, values, jacobian, wanted):
    """G5 = sum over j < k of A(cos) R(r_ij) R(r_ik)."""
    index, vectors, distances = scratch.near
    R, dR, a, da, terms, along, aside = (
        scratch.R, scratch.dR, scratch.a, scratch.da, scratch.terms, scratch.along, scratch.aside
    )  # fmt: skip
    angles, angular, pairs, inner = tables.angles, tables.angular, tables.pairs, scratch.inner
    total, A = np.zeros(len(angular)), len(angular)
    seen = prepare_inner(count, species, tables, cutoff_function, scratch)
    for p in range(seen):
        for q in range(A):
            along[inner[p], q] = 0.0
            aside[inner[p], 0, q] = aside[inner[p], 1, q] = aside[inner[p], 2, q] = 0.0
    for p in range(seen):
        j = inner[p]
        for o in range(p):
            k = inner[o]
            kind_j, kind_k = species[index[j]], species[index[k]]
            begin, middle, end = pairs[kind_j, kind_k, 0], pairs[kind_j, kind_k, 1], pairs[kind_j, kind_k, 2]
            if begin == end:
                continue
            pair_terms(j, k, begin, end, vectors, distances, R, dR, angles, angular, a, da, terms)
            if middle < end:
                add_third_side(j, k, middle, end, tables, cutoff_function, scratch)
            for q in range(begin, end):
                total[q] += terms[0, q]
            if not wanted:
                continue
            for q in range(begin, end):
                along[j, q] += terms[1, q]
                along[k, q] += terms[2, q]
            for axis in range(3):
                d = vectors[j, axis] - vectors[k, axis]
                if index[j] < moving:
                    for q in range(begin, end):
                        aside[j, axis, q] += terms[3, q] * d
                if index[k] < moving:
                    for q in range(begin, end):
                        aside[k, axis, q] -= terms[3, q] * d
    for q in range(A):
        values[angular[q, 2]] += total[q]
    if not wanted:
        return
    for p in range(seen):
        j = inner[p]
        for q in range(A):
            feature = angular[q, 2]
            for axis in range(3):
                d = along[j, q] * vectors[j, axis]
                jacobian[feature, i, axis] -= d
                if index[j] < moving:
                    jacobian[feature, index[j], axis] += d + aside[j, axis, q]


@njit(**LOOP)
def symmetry_functions(
    first, last, positions, frozen, species, centers, lattice, cutoff, cutoff_function, tables, values, jacobian,
    wanted, close,
):  # fmt: skip
    """Fill values (n, centres, features) and jacobian (n, centres, features, moving, 3) for first:last.

    ``close`` (n, 2) gets the numbers of two atoms that are at the same place, where there are any.
    """
    moving = positions.shape[1]
    atoms = np.empty((moving + frozen.shape[0], 3))
    put(atoms, frozen, moving)
    scratch = scratch_for(atoms.shape[0] * lattice.shifts.shape[0], tables)
    for c in range(first, last):
        put(atoms, positions[c], 0)
        bins = sort_into_bins(atoms, lattice, cutoff)
        for slot in range(centers.size):
            i = centers[slot]
            count, other = find_near(i, atoms, bins, lattice, cutoff, scratch.near)
            if other >= 0:
                close[c, 0], close[c, 1] = i, other
            G = values[c, slot]
            dG = jacobian[c, slot] if wanted else jacobian[0, 0]
            _add_radial(i, count, species, tables, cutoff_function, scratch, G, dG, wanted)
            _add_angular(i, count, moving, species, tables, cutoff_function, scratch, G, dG, wanted)


@njit(**LOOP)
def count_neighbors(atoms, i, lattice, cutoff):
    """Return how many images lie within the cutoff of atom i."""
    near = room_for(atoms.shape[0] * lattice.shifts.shape[0])
    return find_near(i, atoms, sort_into_bins(atoms, lattice, cutoff), lattice, cutoff, near)[0]
