"""The picture of element_counts.py: what linear regression on counts leaves, and its flat line for H2."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREY, RED

import tinynn

HARTREE = 27.211386  # eV


def draw(plt: Any, names: Any, counts: Any, residuals: Any, points: Any, flat: Any, network: Any) -> Any:
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    draw_residuals(axes[0], names, counts, residuals)
    draw_h2(axes[1], points, flat, network)
    return figure


def draw_residuals(ax: Any, names: Any, counts: Any, residuals: Any) -> None:
    atoms = counts.sum(axis=1)
    mae = np.abs(residuals).mean()
    ax.axhspan(-mae, mae, color=GREY, alpha=0.2, lw=0)
    ax.text(15.7, -mae - 3, f"mean absolute\nerror: {mae:.1f}", color="0.35", ha="right", va="top")
    ax.axhline(0, color=GREY, lw=0.8)
    ax.plot(atoms, residuals, "o", color=BLUE, ms=4.5, alpha=0.75)
    for row in np.argsort(-np.abs(residuals))[:7]:
        label = names[row].replace("_s1A1d", " (singlet)")
        ax.annotate(
            _with_subscripts(label), (atoms[row], residuals[row]), (6, -3), textcoords="offset points", fontsize=9
        )
    ax.set(title="E ≈ w·n + b: what is left of 73 molecules", xlabel="atoms in the molecule", xlim=(1.4, 15.8),
           ylabel="E − (w·n + b) / kcal mol$^{-1}$")  # fmt: skip


def _with_subscripts(formula: str) -> str:
    return "".join(f"$_{c}$" if c.isdigit() else c for c in formula)


def draw_h2(ax: Any, points: Any, flat: Any, network: Any) -> None:
    r, line = points["r"][:, 0], np.linspace(0.5, 10, 500)[:, None]
    with tinynn.no_grad():
        curve = HARTREE * network.energy(tinynn.tensor(line)).numpy()
    ax.axhline(0, color=GREY, lw=0.8)
    ax.plot(line, curve, color=BLUE, lw=1.6, label="network of R")
    ax.plot(r[::2], HARTREE * points["e"][::2, 0], "o", color=BLACK, mfc="none", ms=4, label="full CI")
    ax.plot(r, flat, color=RED, lw=1.6, label="linear in the counts (2 H)")
    ax.annotate("the same counts\nat every R", (6.5, flat[0]), (0, 12), textcoords="offset points", color=RED,
                ha="center")  # fmt: skip
    ax.set(title="H$_2$: what counts cannot see", xlabel="R / $a_0$", ylabel="E − 2 E(H) / eV", ylim=(-5.2, 5))
    ax.legend(loc="upper right")
