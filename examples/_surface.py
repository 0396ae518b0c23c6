"""Checks and pictures for pes_o2_pd100.py."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from _example import BLUE, GREEN, GREY, ORANGE

REGIONS = ("entrance channel", "interaction", "dissociated")
COLORS = (BLUE, ORANGE, GREEN)

# ----------------------------------------------------------------------------------------------------- checks


def symmetry_error(potential: Any, o2: Any, a: float) -> float:
    """Largest change (eV) of the fitted energy under operations that the surface does not notice."""
    x, y, z = np.moveaxis(o2, -1, 0)
    images = [
        np.stack([-x, y, z], -1),  # mirror
        np.stack([y, x, z], -1),  # diagonal mirror; with the first it makes the fourfold rotation
        np.stack([-y, x, z], -1),
        o2 + [a, 0.0, 0.0],
        o2 + [0.0, -3 * a, 0.0],
        o2[:, ::-1],  # exchange
    ]
    energy = potential.predict(o2, warn=False).energy
    return max(float(np.abs(potential.predict(image, warn=False).energy - energy).max()) for image in images)


def gradient_error(potential: Any, o2: Any, h: float = 1e-4) -> float:
    """Largest difference (eV/Å) between the forces and the central differences of the energy."""
    forces = potential.predict(o2, warn=False).forces
    worst = 0.0
    for atom, axis in product(range(2), range(3)):
        step = np.zeros((2, 3))
        step[atom, axis] = h
        up, down = (potential.predict(o2 + s * step, forces=False, warn=False).energy for s in (1, -1))
        worst = max(worst, float(np.abs((up - down) / (2 * h) + forces[:, atom, axis]).max()))
    return worst


# ------------------------------------------------------------------------------------- fit against reference


def parity(potential: Any, data: Any, test: Any) -> Any:
    """Fit against reference, energies and forces of the test set, coloured by region."""
    found = potential.predict(data["o_positions"][test], warn=False)
    pairs = [
        ("energy", "eV", data["energy"][test, None], found.energy[:, None]),
        ("force component", "eV/Å", data["o_forces"][test].reshape(-1, 6), found.forces.reshape(-1, 6)),
    ]
    region = data["region"][test]
    layout = {"height_ratios": (3, 1), "sharex": "col", "layout": "constrained"}
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.6), **layout)
    for (above, below), (what, unit, reference, fitted) in zip(axes.T, pairs):
        wrong = 1e3 * (fitted - reference)
        low, high = min(reference.min(), fitted.min()), max(reference.max(), fitted.max())
        ends = [low - 0.04 * (high - low), high + 0.04 * (high - low)]
        above.plot(ends, ends, color="0.6", lw=1, zorder=0)
        below.axhline(0.0, color="0.6", lw=1, zorder=0)
        for number in range(3):
            chosen = region == number
            dots = {"s": 10 if what == "energy" else 5, "lw": 0, "alpha": 0.6, "color": COLORS[number]}
            label = f"{REGIONS[number]}: {rms(wrong[chosen]):.0f} m{unit}"
            above.scatter(reference[chosen].ravel(), fitted[chosen].ravel(), zorder=3 - number, label=label, **dots)
            below.scatter(reference[chosen].ravel(), wrong[chosen].ravel(), zorder=3 - number, **dots)
        above.set(ylabel=f"{what}, network ({unit})", title=f"{what}: test RMSE {rms(wrong):.0f} m{unit}", ylim=ends)
        above.legend(loc="upper left", markerscale=2, handletextpad=0.2)
        most = np.quantile(np.abs(wrong), 0.997)
        below.set(
            xlabel=f"{what}, GFN1-xTB ({unit})", ylabel=f"error (m{unit})", xlim=ends, ylim=(-1.1 * most, 1.1 * most)
        )
    return figure


# -------------------------------------------------------------------------------------------------- elbow plots


def elbow(potential: Any, data: Any) -> Any:
    """A molecule that lies flat above top, bridge and hollow: energy by bond length and height, and its errors.

    The data are scattered points, not cuts: the dots are configurations with atoms close to those of the cut. Their
    reference energies stand on the map of the network; below, what the network says of these very configurations,
    less the reference.
    """
    a = float(data["lattice_1x1"])
    sites = {"top": (0.0, 0.0), "bridge": (a / 2, 0.0), "hollow": (a / 2, a / 2)}
    bond, height = np.linspace(1.0, 3.2, 70), np.linspace(0.6, 4.2, 90)
    d, z = np.meshgrid(bond, height)
    # Where configurations were drawn: the entrance channel, the interaction region, the dissociated atoms.
    sampled = (d < 1.5) | ((d < 2.0) & (z < 2.6)) | (z < 1.9)
    levels = np.arange(-5.0, 3.01, 0.25)
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.6), sharex=True, sharey=True, layout="constrained")
    for (above, below), (name, site) in zip(axes.T, sites.items()):
        center = np.stack([np.full(z.size, site[0]), np.full(z.size, site[1]), z.ravel()], axis=1)
        half = 0.5 * d.ravel()[:, None] * [1.0, 0.0, 0.0]
        x = np.stack([center - half, center + half], axis=1)
        energy = potential.predict(x, forces=False, warn=False).energy.reshape(z.shape)
        shown = np.where(sampled, np.maximum(energy, levels[0]), np.nan)
        filled = above.contourf(bond, height, shown, levels=levels, cmap="viridis", extend="max")
        lines = {"levels": levels[::2], "linewidths": 0.5, "linestyles": "solid"}
        above.contour(bond, height, shown, colors="white", alpha=0.7, **lines)
        below.contour(bond, height, shown, colors="0.75", **lines)
        near, near_d, near_z = near_site(data, site, a)
        reference = data["energy"][near]
        dots = {"s": 30, "edgecolors": "black", "linewidths": 0.6, "zorder": 3}
        above.scatter(near_d, near_z, c=reference, cmap=filled.cmap, norm=filled.norm, **dots)
        wrong = 1e3 * (potential.predict(data["o_positions"][near], forces=False, warn=False).energy - reference)
        errors = below.scatter(near_d, near_z, c=wrong, cmap="RdBu_r", vmin=-50, vmax=50, **dots)
        above.set(title=name, xlim=bond[[0, -1]], ylim=height[[0, -1]], facecolor="0.92")
        below.set(xlabel="bond length (Å)", title=f"RMSE {np.sqrt(np.mean(wrong**2)):.0f} meV ({len(near)} points)")
    for ax in axes[:, 0]:
        ax.set_ylabel("height of the centre (Å)")
    axes[0, 0].text(2.45, 3.2, "no data", ha="center", color="0.5")
    figure.colorbar(filled, ax=axes[0], pad=0.01, aspect=25).set_label("energy (eV)")
    figure.colorbar(errors, ax=axes[1], pad=0.01, aspect=25, extend="both").set_label("network − reference (meV)")
    figure.suptitle(
        "O$_2$ flat above Pd(100), bond along x. Colour and lines (every 0.5 eV): the network.\n"
        "Dots: reference configurations close by, nine of ten of which were trained on.", fontsize=10,
    )  # fmt: skip
    return figure


def near_site(data: Any, site: tuple[float, float], a: float, reach: float = 0.4) -> tuple[Any, Any, Any]:
    """Which configurations have atoms near those of the flat molecule; their bond lengths and heights.

    All eight images by the symmetry of the surface are tried, with the atoms in both orders.
    """
    z, d = data["internal"][:, 2], data["internal"][:, 3]
    target = 0.5 * d[:, None] * [1.0, 0.0, 0.0]
    chosen = np.zeros(len(z), bool)
    for order, flip_x, flip_y in product(([0, 1, 2], [1, 0, 2]), (1, -1), (1, -1)):
        o2 = data["o_positions"][:, :, order] * [flip_x, flip_y, 1]
        center, half = o2.mean(axis=1), 0.5 * (o2[:, 1] - o2[:, 0])
        offset = center - [*site, 0.0]
        offset[:, :2] -= a * np.round(offset[:, :2] / a)
        offset[:, 2] = 0.0
        apart = [np.linalg.norm(offset + s * (half - target), axis=1) for s in (1.0, -1.0)]
        chosen |= np.maximum(*apart) < reach
    near = np.flatnonzero(chosen)
    return near, d[near], z[near]


# ------------------------------------------------------------------------------------------------------- curves


def learning_curve(history: Any) -> Any:
    """Errors on the validation set against the time of training."""
    seconds, energy, forces = history["seconds"], 1e3 * history["energy_rmse"], 1e3 * history["force_rmse"]
    figure, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    for values, color, text in (
        (energy, BLUE, "energy\n{:.0f} meV"),
        (forces, ORANGE, "forces\n{:.0f} meV/Å"),
    ):
        ax.semilogy(seconds, values, color=color, lw=1.2)
        end = (seconds[-1], values[-1])
        ax.annotate(text.format(values[-1]), end, (6, 0), va="center", textcoords="offset points", color=color)
    ax.set(xlabel="seconds of training", ylabel="validation RMSE (meV, meV/Å)", title="learning curve")
    ticks = [t for t in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if energy.min() / 2 < t < forces.max() * 2]
    ax.set_yticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.grid(axis="y", color="0.92")
    return figure


def error_against_spread(error: Any, spread: Any) -> Any:
    """Errors of force vectors against what the members of a committee disagree about."""
    figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    ax.scatter(spread, error, s=7, lw=0, alpha=0.5, color=BLUE, label="an atom of a test configuration")
    edges = np.quantile(spread, np.linspace(0, 1, 9))
    groups = [(spread >= low) & (spread <= high) for low, high in pairwise(edges)]
    middles, means = np.array([[f(v[g]) for g in groups] for f, v in ((np.median, spread), (rms, error))])
    ax.plot(middles, means, "o-", color=ORANGE, label="root mean square of an eighth of them")
    line = np.array([spread.min(), spread.max()])
    ax.plot(line, line, color=GREY, lw=1, ls="--", label="error = spread")
    ax.set(
        xscale="log", yscale="log", xlabel="spread of the members (eV/Å)", ylabel="error of their mean force (eV/Å)",
        title="where a committee disagrees, it is wrong", ylim=(np.quantile(error, 0.005), 1.3 * error.max()),
    )  # fmt: skip
    ax.legend(loc="upper left")
    return figure


def rms(values: Any) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))
