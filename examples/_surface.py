"""Checks and pictures for pes_o2_pd100.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

REGIONS = ("entrance channel", "interaction", "dissociated")
COLORS = ("#0072B2", "#E69F00", "#009E73")  # Okabe and Ito's, told apart by everybody
STYLE = {
    "figure.dpi": 130,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
}

# ----------------------------------------------------------------------------------------------------- checks


def symmetry_error(model: Any, data: Any, part: Any) -> float:
    """Largest change (eV) of the fitted energy under operations that the surface does not notice."""
    o2, a = data["o_positions"][part], float(data["lattice_1x1"])
    x, y, z = np.moveaxis(o2, -1, 0)
    images = [
        np.stack([-x, y, z], -1),  # mirror
        np.stack([y, x, z], -1),  # diagonal mirror; with the first it makes the fourfold rotation
        np.stack([-y, x, z], -1),
        o2 + [a, 0.0, 0.0],
        o2 + [0.0, -3 * a, 0.0],
        o2[:, ::-1],  # exchange
    ]
    energy = model.predict(o2)[0]
    return max(float(np.abs(model.predict(image)[0] - energy).max()) for image in images)


def gradient_error(model: Any, o2: Any, h: float = 1e-4) -> float:
    """Largest difference (eV/Å) between the forces and the central differences of the energy."""
    forces = model.predict(o2)[1]
    worst = 0.0
    for atom in range(2):
        for axis in range(3):
            step = np.zeros((2, 3))
            step[atom, axis] = h
            slope = (model.predict(o2 + step)[0] - model.predict(o2 - step)[0]) / (2 * h)
            worst = max(worst, float(np.abs(slope + forces[:, atom, axis]).max()))
    return worst


# --------------------------------------------------------------------------------------------------- pictures


def draw(model: Any, data: Any, test: Any, history: Any, out: Path) -> list[Path]:
    """Draw all pictures into the folder ``out``."""
    with plt.rc_context(STYLE):
        figures = {
            "parity": parity(model, data, test),
            "elbow": elbow(model, data),
            "learning_curve": learning_curve(history),
        }
        paths = []
        for name, figure in figures.items():
            path = out / f"pes_o2_pd100_{name}.png"
            figure.savefig(path, bbox_inches="tight")
            plt.close(figure)
            paths.append(path)
    return paths


def parity(model: Any, data: Any, test: Any) -> Any:
    """Fit against reference, energies and forces of the test set, coloured by region."""
    energy, forces = model.predict(data["o_positions"][test])
    pairs = [
        ("energy", "eV", data["energy"][test, None], energy[:, None]),
        ("force component", "eV/Å", data["o_forces"][test].reshape(-1, 6), forces.reshape(-1, 6)),
    ]
    region = data["region"][test]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
    for ax, (what, unit, reference, fit) in zip(axes, pairs):
        low, high = min(reference.min(), fit.min()), max(reference.max(), fit.max())
        margin = 0.04 * (high - low)
        ax.plot([low - margin, high + margin], [low - margin, high + margin], color="0.6", lw=1, zorder=0)
        for number in range(3):
            chosen = region == number
            error = 1e3 * np.sqrt(np.mean((fit[chosen] - reference[chosen]) ** 2))
            label = f"{REGIONS[number]}: {error:.0f} m{unit}"
            size = 12 if what == "energy" else 6
            ax.scatter(
                reference[chosen].ravel(),
                fit[chosen].ravel(),
                s=size,
                color=COLORS[number],
                alpha=0.6,
                lw=0,
                label=label,
                zorder=3 - number,
            )
        total = 1e3 * np.sqrt(np.mean((fit - reference) ** 2))
        ax.set(
            xlabel=f"{what}, GFN1-xTB ({unit})", ylabel=f"{what}, network ({unit})", aspect="equal",
            xlim=(low - margin, high + margin), ylim=(low - margin, high + margin),
            title=f"{what}: test RMSE {total:.0f} m{unit}",
        )  # fmt: skip
        ax.legend(loc="upper left", markerscale=2, handletextpad=0.2)
    return figure


def elbow(model: Any, data: Any) -> Any:
    """Energy of a molecule that lies flat above top, bridge and hollow, by bond length and height."""
    a = float(data["lattice_1x1"])
    sites = {"top": (0.0, 0.0), "bridge": (a / 2, 0.0), "hollow": (a / 2, a / 2)}
    bond, height = np.linspace(1.0, 3.2, 100), np.linspace(0.6, 4.2, 120)
    d, z = np.meshgrid(bond, height)
    # Where configurations were drawn: the entrance channel, the interaction region, the dissociated atoms.
    sampled = (d < 1.5) | ((d < 2.0) & (z < 2.6)) | (z < 1.9)
    levels = np.arange(-5.0, 3.01, 0.25)
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.8), sharey=True, layout="constrained")
    for ax, (name, site) in zip(axes, sites.items()):
        center = np.stack([np.full(z.size, site[0]), np.full(z.size, site[1]), z.ravel()], axis=1)
        half = 0.5 * d.ravel()[:, None] * [1.0, 0.0, 0.0]
        energy = model.predict(np.stack([center - half, center + half], axis=1))[0].reshape(z.shape)
        shown = np.where(sampled, np.maximum(energy, levels[0]), np.nan)
        filled = ax.contourf(bond, height, shown, levels=levels, cmap="viridis", extend="max")
        ax.contour(
            bond,
            height,
            shown,
            levels=levels[::2],
            colors="white",
            linewidths=0.5,
            alpha=0.7,
            linestyles="solid",
        )
        near_d, near_z, reference = near_site(data, site, a)
        ax.scatter(
            near_d,
            near_z,
            c=reference,
            cmap=filled.cmap,
            norm=filled.norm,
            s=30,
            edgecolors="black",
            lw=0.8,
            zorder=3,
        )
        ax.set(title=name, xlabel="bond length (Å)", xlim=bond[[0, -1]], ylim=height[[0, -1]], facecolor="0.92")
    axes[0].set_ylabel("height of the centre (Å)")
    axes[0].text(2.45, 3.2, "no data", ha="center", color="0.5")
    bar = figure.colorbar(filled, ax=axes, pad=0.01, aspect=30)
    bar.set_label("energy (eV)")
    figure.suptitle(
        "O$_2$ flat above Pd(100), bond along x. Colour and lines (every 0.5 eV): the network. "
        "Dots: reference energies close by.",
        fontsize=10,
    )
    return figure


def near_site(data: Any, site: tuple[float, float], a: float, reach: float = 0.4) -> tuple[Any, Any, Any]:
    """Bond length, height and energy of data whose atoms are near those of the flat molecule."""
    z, d = data["internal"][:, 2], data["internal"][:, 3]
    chosen = np.zeros(len(z), bool)
    for order in ([0, 1, 2], [1, 0, 2]):  # as it stands, and by the mirror x <-> y
        o2 = data["o_positions"][:, :, order]
        center, half = o2.mean(axis=1), 0.5 * (o2[:, 1] - o2[:, 0])
        offset = center - [*site, 0.0]
        offset[:, :2] -= a * np.round(offset[:, :2] / a)
        offset[:, 2] = 0.0
        for sign in (1.0, -1.0):  # which atom is on the left
            turn = sign * half - 0.5 * d[:, None] * [1.0, 0.0, 0.0]
            chosen |= np.maximum(*(np.linalg.norm(offset + s * turn, axis=1) for s in (1.0, -1.0))) < reach
    return d[chosen], z[chosen], data["energy"][chosen]


def learning_curve(history: Any) -> Any:
    """Errors on the validation set against the time of training."""
    seconds, _, energy, forces = np.array(history).T
    figure, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    ax.semilogy(seconds, energy, color=COLORS[0], lw=1.2)
    ax.semilogy(seconds, forces, color=COLORS[1], lw=1.2)
    for values, color, text in (
        (energy, COLORS[0], "energy\n{:.0f} meV"),
        (forces, "#B07500", "forces\n{:.0f} meV/Å"),
    ):
        end = (seconds[-1], values[-1])
        ax.annotate(text.format(values[-1]), end, (6, 0), va="center", textcoords="offset points", color=color)
    ax.set(xlabel="seconds of training", ylabel="validation RMSE (meV, meV/Å)", title="learning curve")
    ticks = [t for t in (20, 50, 100, 200, 500, 1000, 2000, 5000) if energy.min() / 2 < t < forces.max() * 2]
    ax.set_yticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.grid(axis="y", color="0.92")
    return figure
