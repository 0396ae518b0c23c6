"""Products with derivatives of symmetry functions G, without the Jacobian in memory, compiled by Numba.

For cotangents g of the functions and directions w of the atoms::

    pulled_x = Σ_G g_G ∂G/∂x          forces, from the derivatives of the energy by the functions
    pushed_G = Σ_x ∂G/∂x w_x          how the functions change along a direction
    bent_x   = Σ_G Σ_y g_G ∂²G/∂x∂y w_y   how the forces change along a direction

Each summand depends on the sides r_a of a triangle only. With the unit vectors e_a along the sides, u_a the difference
of w at their ends and σ_a = e_a·u_a, the sides change the slopes t_a = ∂T/∂r_a along side a by

    (Σ_b T_ab σ_b) e_a + t_a / r_a (u_a - σ_a e_a),        T_ab = ∂²T/∂r_a∂r_b.

Imported when it is first used.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tinynn.potentials.kernel import (
    LOOP,
    PART,
    add_third_side,
    angles_at,
    cutoffs_at,
    gaussian_at,
    pair_terms,
    power,
    prepare_inner,
    scratch_for,
)
from tinynn.potentials.kernel_neighbors import find_near, put, sort_into_bins


@njit(**PART)
def _add(out, j, factor, vectors, k):
    """Add factor * vectors[k] to what belongs to atom j, if it moves."""
    if j < out.shape[0]:
        out[j, 0] += factor * vectors[k, 0]
        out[j, 1] += factor * vectors[k, 1]
        out[j, 2] += factor * vectors[k, 2]


@njit(**PART)
def _difference(w, j, i, u, row):
    """u[row] = w_j - w_i, where atoms that stand still have w = 0."""
    for axis in range(3):
        u[row, axis] = (w[j, axis] if j < w.shape[0] else 0.0) - (w[i, axis] if i < w.shape[0] else 0.0)


@njit(**PART)
def _dot(a, i, b, j):
    return a[i, 0] * b[j, 0] + a[i, 1] * b[j, 1] + a[i, 2] * b[j, 2]


@njit(**LOOP)
def first_order(
    first, last, positions, frozen, species, centers, lattice, cutoff, cutoff_function, tables, g, w, pulled, pushed,
    close,
):  # fmt: skip
    """Add to pulled (n, moving, 3) from g (n, centres, features), or to pushed (as g) from w (as pulled).

    The one that is not asked for is empty, as is what it would be made from.
    """
    moving, pulls = positions.shape[1], pulled.size > 0
    atoms = np.empty((moving + frozen.shape[0], 3))
    put(atoms, frozen, moving)
    scratch = scratch_for(atoms.shape[0] * lattice.shifts.shape[0], tables)
    index, vectors, distances = scratch.near
    R, dR, A, dA, terms, inner = scratch.R, scratch.dR, scratch.a, scratch.da, scratch.terms, scratch.inner
    angles, angular, pairs = tables.angles, tables.angular, tables.pairs
    f, df, cutoffs, radial, radial_of = scratch.f, scratch.df, tables.cutoffs, tables.radial, tables.radial_of
    features = tables.radial_features
    sides, u = np.zeros((1, 3)), np.zeros((2, 3))
    for c in range(first, last):
        put(atoms, positions[c], 0)
        bins = sort_into_bins(atoms, lattice, cutoff)
        my_w, my_pulled = (g[0], pulled[c]) if pulls else (w[c], w[c])
        for slot in range(centers.size):
            i = centers[slot]
            my_g, my_pushed = (g[c, slot], g[c, slot]) if pulls else (pushed[c, slot], pushed[c, slot])
            count, other = find_near(i, atoms, bins, lattice, cutoff, scratch.near)
            if other >= 0:
                close[c, 0], close[c, 1] = i, other
            for j in range(count):
                kind = species[index[j]]
                if kind < 0:
                    continue
                cutoffs_at(distances[j], cutoffs, cutoff_function, f, df)
                along = 0.0
                if not pulls:
                    _difference(my_w, index[j], i, u, 0)
                    along = _dot(vectors, j, u, 0)
                total = 0.0
                for q in range(radial_of[kind], radial_of[kind + 1]):
                    slope = gaussian_at(distances[j], radial, q, f, df)[1]
                    if pulls:
                        total += my_g[features[q]] * slope
                    else:
                        my_pushed[features[q]] += slope * along
                if pulls:
                    _add(my_pulled, index[j], total, vectors, j)
                    _add(my_pulled, i, -total, vectors, j)
            seen = prepare_inner(count, species, tables, cutoff_function, scratch)
            for p in range(seen):
                for o in range(p):
                    j, k = inner[p], inner[o]
                    kind, other = species[index[j]], species[index[k]]
                    begin, middle, end = pairs[kind, other, 0], pairs[kind, other, 1], pairs[kind, other, 2]
                    if begin == end:
                        continue
                    pair_terms(j, k, begin, end, vectors, distances, R, dR, angles, angular, A, dA, terms)
                    if middle < end:
                        add_third_side(j, k, middle, end, tables, cutoff_function, scratch)
                    for axis in range(3):
                        sides[0, axis] = vectors[j, axis] - vectors[k, axis]
                    if pulls:
                        total_j, total_k, total = 0.0, 0.0, 0.0
                        for q in range(begin, end):
                            weight = my_g[angular[q, 2]]
                            total_j += weight * terms[1, q]
                            total_k += weight * terms[2, q]
                            total += weight * terms[3, q]
                        _add(my_pulled, index[j], total_j, vectors, j)
                        _add(my_pulled, index[k], total_k, vectors, k)
                        _add(my_pulled, i, -total_j, vectors, j)
                        _add(my_pulled, i, -total_k, vectors, k)
                        _add(my_pulled, index[j], total, sides, 0)
                        _add(my_pulled, index[k], -total, sides, 0)
                    else:
                        _difference(my_w, index[j], i, u, 0)
                        _difference(my_w, index[k], i, u, 1)
                        at_j, at_k = _dot(vectors, j, u, 0), _dot(vectors, k, u, 1)
                        between = _dot(sides, 0, u, 0) - _dot(sides, 0, u, 1)
                        for q in range(begin, end):
                            change = terms[1, q] * at_j + terms[2, q] * at_k + terms[3, q] * between
                            my_pushed[angular[q, 2]] += change


@njit(**LOOP)
def _cutoffs_twice_at(r, cutoffs, cutoff_function, f, df, ddf):
    """As `cutoffs_at`, with the second derivatives."""
    cutoffs_at(r, cutoffs, cutoff_function, f, df)
    kind, gamma = cutoff_function
    for k in range(len(cutoffs)):
        x = r / cutoffs[k]
        if x >= 1.0:
            ddf[k] = 0.0
        elif kind == 0:
            ddf[k] = -0.5 * (math.pi / cutoffs[k]) ** 2 * math.cos(math.pi * x)
        else:
            ddf[k] = gamma * (gamma + 1.0) * x ** (gamma - 2.0) * (gamma * x - (gamma - 1.0)) / cutoffs[k] ** 2


@njit(**PART)
def _gaussian_twice_at(r, gaussians, u, f, df, ddf):
    """R, R' and R'', with the parameters in row u."""
    eta, s, k = gaussians[u, 0], r - gaussians[u, 1], int(gaussians[u, 2])
    e, slope = math.exp(-eta * s * s), -2.0 * eta * s
    return e * f[k], e * (df[k] + slope * f[k]), e * (ddf[k] + 2.0 * slope * df[k] + (slope * slope - 2.0 * eta) * f[k])


@njit(**PART)
def _turn(H, t, e, u, y):
    """y = what a change of the three sides does to the slopes along each of them.

    Sides are j, k and jk; H (3, 3) second and t (3,) first derivatives by the sides; e (3, 4) unit vectors and
    lengths; u (2, 3) the directions w of j and k against the atom; y (3, 3), a row per side.
    """
    for axis in range(3):
        y[0, axis], y[1, axis], y[2, axis] = u[0, axis], u[1, axis], u[0, axis] - u[1, axis]
    at_j, at_k, between = _dot(e, 0, y, 0), _dot(e, 1, y, 1), _dot(e, 2, y, 2)
    for side in range(3):
        stretch = H[side, 0] * at_j + H[side, 1] * at_k + H[side, 2] * between
        own = _dot(e, side, y, side)
        sway = t[side] / e[side, 3]
        for axis in range(3):
            y[side, axis] = stretch * e[side, axis] + sway * (y[side, axis] - own * e[side, axis])


@njit(**LOOP)
def second_order(
    first, last, positions, frozen, species, centers, lattice, cutoff, cutoff_function, tables, g, w, bent, close
):
    """Add to bent (n, moving, 3) from g (n, centres, features) and w (n, moving, 3)."""
    moving = positions.shape[1]
    atoms = np.empty((moving + frozen.shape[0], 3))
    put(atoms, frozen, moving)
    room = atoms.shape[0] * lattice.shifts.shape[0]
    scratch = scratch_for(room, tables)
    index, vectors, distances = scratch.near
    f, df, cutoffs, radial, radial_of = scratch.f, scratch.df, tables.cutoffs, tables.radial, tables.radial_of
    features, gaussians, pairs, inner = tables.radial_features, tables.gaussians, tables.pairs, scratch.inner
    ddf, R, X = np.zeros(len(cutoffs)), np.zeros((room, len(gaussians), 3)), np.zeros((len(gaussians), 3))
    H, t, e, u, y = np.zeros((3, 3)), np.zeros(3), np.zeros((3, 4)), np.zeros((2, 3)), np.zeros((3, 3))
    for c in range(first, last):
        put(atoms, positions[c], 0)
        bins = sort_into_bins(atoms, lattice, cutoff)
        my_w, my_bent = w[c], bent[c]
        for slot in range(centers.size):
            i, my_g = centers[slot], g[c, slot]
            count, other = find_near(i, atoms, bins, lattice, cutoff, scratch.near)
            if other >= 0:
                close[c, 0], close[c, 1] = i, other
            seen = 0
            for j in range(count):
                kind, r = species[index[j]], distances[j]
                if kind < 0:
                    continue
                _cutoffs_twice_at(r, cutoffs, cutoff_function, f, df, ddf)
                by_r, twice = 0.0, 0.0
                for q in range(radial_of[kind], radial_of[kind + 1]):
                    _, slope, bend = _gaussian_twice_at(r, radial, q, f, df, ddf)
                    by_r += my_g[features[q]] * slope
                    twice += my_g[features[q]] * bend
                _difference(my_w, index[j], i, u, 0)
                stretch = (twice - by_r / r) * _dot(vectors, j, u, 0) / (r * r)
                for atom, sign in ((index[j], 1.0), (i, -1.0)):
                    _add(my_bent, atom, sign * stretch, vectors, j)
                    _add(my_bent, atom, sign * by_r / r, u, 0)
                if r < tables.reach:
                    for p in range(len(gaussians)):
                        R[j, p, 0], R[j, p, 1], R[j, p, 2] = _gaussian_twice_at(r, gaussians, p, f, df, ddf)
                    inner[seen] = j
                    seen += 1
            for o in range(seen):
                for p in range(o):
                    j, k = inner[o], inner[p]
                    kind, other = species[index[j]], species[index[k]]
                    begin, middle, end = pairs[kind, other, 0], pairs[kind, other, 1], pairs[kind, other, 2]
                    if begin == end:
                        continue
                    _unit_vectors(j, k, vectors, distances, e)
                    if middle < end:
                        _cutoffs_twice_at(e[2, 3], cutoffs, cutoff_function, f, df, ddf)
                        for v in range(len(gaussians)):
                            X[v, 0], X[v, 1], X[v, 2] = _gaussian_twice_at(e[2, 3], gaussians, v, f, df, ddf)
                    _sum_over_functions(begin, middle, end, tables, my_g, e, R[j], R[k], X, scratch, H, t)
                    _difference(my_w, index[j], i, u, 0)
                    _difference(my_w, index[k], i, u, 1)
                    _turn(H, t, e, u, y)
                    for atom, side, sign in (
                        (index[j], 0, 1.0), (i, 0, -1.0), (index[k], 1, 1.0), (i, 1, -1.0),
                        (index[j], 2, 1.0), (index[k], 2, -1.0),
                    ):  # fmt: skip
                        _add(my_bent, atom, sign, y, side)


@njit(**PART)
def _unit_vectors(j, k, vectors, distances, e):
    """Fill in the directions of the three sides, and behind them their lengths."""
    square = 0.0
    for axis in range(3):
        e[0, axis] = vectors[j, axis] / distances[j]
        e[1, axis] = vectors[k, axis] / distances[k]
        e[2, axis] = vectors[j, axis] - vectors[k, axis]
        square += e[2, axis] ** 2
    e[0, 3], e[1, 3], e[2, 3] = distances[j], distances[k], max(math.sqrt(square), 1e-10)
    for axis in range(3):
        e[2, axis] /= e[2, 3]


@njit(**LOOP)
def _sum_over_functions(begin, middle, end, tables, g, e, Rj, Rk, X, scratch, H, t):
    """t_a = sum of g ∂T/∂r_a and H_ab = sum of g ∂²T/∂r_a∂r_b, for T = A(cos) R(r_j) R(r_k) X(r_jk)."""
    rj, rk, s = e[0, 3], e[1, 3], e[2, 3]
    inverse = 1.0 / (rj * rk)
    cosine = _dot(e, 0, e, 1)
    angles_at(cosine, tables.angles, scratch.a, scratch.da)
    # derivatives of the cosine, (r_j² + r_k² - r_jk²) / (2 r_j r_k), by the sides
    cj, ck, cs = 1.0 / rk - cosine / rj, 1.0 / rj - cosine / rk, -s * inverse
    cjj, ckk, css = (cosine / rj - cj) / rj, (cosine / rk - ck) / rk, -inverse
    cjk, cjs, cks = -1.0 / (rk * rk) - ck / rj, -cs / rj, -cs / rk
    H[:] = 0.0
    t[:] = 0.0
    for q in range(begin, end):
        p, angle = tables.angular[q, 0], tables.angular[q, 1]
        weight = g[tables.angular[q, 2]]
        A, dA = weight * scratch.a[angle], weight * scratch.da[angle]
        sign, zeta, norm = tables.angles[angle, 0], tables.angles[angle, 1], tables.angles[angle, 2]
        base = max(1.0 + sign * cosine, 0.0)
        ddA = 0.0
        if zeta != 1.0 and base > 0.0:  # else the cosine is at its extreme, where its own slope is 0 to the same order
            ddA = weight * norm * zeta * (zeta - 1.0) * power(base, zeta - 2.0)
        a, da, dda = Rj[p, 0], Rj[p, 1], Rj[p, 2]
        b, db, ddb = Rk[p, 0], Rk[p, 1], Rk[p, 2]
        x, dx, ddx = 1.0, 0.0, 0.0
        if q >= middle:
            x, dx, ddx = X[p, 0], X[p, 1], X[p, 2]
        whole, by_j, by_k, by_s = a * b * x, da * b * x, a * db * x, a * b * dx
        t[0] += dA * cj * whole + A * by_j
        t[1] += dA * ck * whole + A * by_k
        t[2] += dA * cs * whole + A * by_s
        H[0, 0] += (ddA * cj * cj + dA * cjj) * whole + 2.0 * dA * cj * by_j + A * dda * b * x
        H[1, 1] += (ddA * ck * ck + dA * ckk) * whole + 2.0 * dA * ck * by_k + A * a * ddb * x
        H[2, 2] += (ddA * cs * cs + dA * css) * whole + 2.0 * dA * cs * by_s + A * a * b * ddx
        H[0, 1] += (ddA * cj * ck + dA * cjk) * whole + dA * (cj * by_k + ck * by_j) + A * da * db * x
        H[0, 2] += (ddA * cj * cs + dA * cjs) * whole + dA * (cj * by_s + cs * by_j) + A * da * b * dx
        H[1, 2] += (ddA * ck * cs + dA * cks) * whole + dA * (ck * by_s + cs * by_k) + A * a * db * dx
    H[1, 0], H[2, 0], H[2, 1] = H[0, 1], H[0, 2], H[1, 2]
