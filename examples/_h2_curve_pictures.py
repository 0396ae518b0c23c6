"""The picture of h2_curve.py: the curve, the errors of three fits, the levels, and the distance to the exact curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, RED

import tinynn


def draw(plt: Any, points: dict[str, Any], fits: dict[str, Any], levels: Any, found: dict[str, float]) -> Any:
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7.6), layout="constrained")

    def energy(model: Any, r: Any) -> Any:
        with tinynn.no_grad():
            return model.energy(tinynn.tensor(r)).numpy()

    draw_curve(axes[0, 0], points, lambda r: energy(fits["L-BFGS"], r))
    draw_errors(axes[0, 1], points, {name: energy(model, points["r"]) for name, model in fits.items()})
    draw_levels(axes[1, 0], levels, lambda r: energy(fits["L-BFGS"], r), found)
    draw_exact(axes[1, 1], points, lambda r: energy(fits["L-BFGS"], r))
    return figure


def draw_curve(ax: Any, points: dict[str, Any], energy: Any) -> None:
    r = np.linspace(0.4, 10, 500)[:, None]
    ax.plot(r, energy(r), color=BLACK, lw=1.2, label="network (L-BFGS)", zorder=1)
    for part, style in (("train", {"color": BLUE, "mfc": "none", "ms": 6}), ("test", {"color": ORANGE, "ms": 3})):
        rows = points[part]
        ax.plot(points["r"][rows], points["e"][rows], "o", **style, label=f"full CI, {part} points")
    ax.set(title="The curve", xlabel="R / $a_0$", ylabel="E / $E_\\mathrm{h}$", ylim=(-0.2, 0.4), xlim=(0.3, 10.1))
    ax.legend()


def draw_errors(ax: Any, points: dict[str, Any], energies: dict[str, Any]) -> None:
    test = points["test"]
    for (name, e), colour in zip(energies.items(), (GREY, ORANGE, BLUE), strict=True):
        error = 1e6 * np.abs(e - points["e"])[test]
        rms = np.sqrt(np.mean(error**2))
        ax.semilogy(points["r"][test], error, ".-", color=colour, lw=0.8, ms=5, label=f"{name}: {rms:.0f} µ$E_h$")
    ax.set(title="Errors at the test points", xlabel="R / $a_0$", ylabel="|error of E| / µ$E_\\mathrm{h}$",
           ylim=(1e-2, 1e5))  # fmt: skip
    ax.legend(title="root mean square", ncols=1, loc="upper right")


def draw_levels(ax: Any, levels: Any, energy: Any, found: dict[str, float]) -> None:
    """The well in cm⁻¹ above its bottom, the levels in it, and the parabola of the harmonic frequency."""
    unit = 219474.6313632 / 1000
    r = np.linspace(0.72, 6.0, 500)[:, None]
    above = (energy(r)[:, 0] + found["de"]) * unit
    ax.plot(r, above, color=BLACK, lw=1.4)
    parabola = 0.5 * found["k"] * (r[:, 0] - found["re"]) ** 2 * unit
    ax.plot(r[parabola < 22], parabola[parabola < 22], "--", color=RED, lw=1.2)
    ax.text(2.1, 22.3, "harmonic", color=RED, ha="right", va="center", fontsize=8.5)
    for v, level in enumerate(levels[levels < 0]):
        height = (level + found["de"]) * unit
        inside = r[above < height, 0]
        ax.hlines(height, inside.min(), inside.max(), color=BLUE, lw=1.0)
        if v < 10:
            ax.text(inside.max() + 0.07, height, f"v = {v}", va="center", color=BLUE, fontsize=8)
    step = (levels[1] - levels[0]) * unit * 1000
    ax.text(0.97, 0.06, f"0 → 1: {step:.1f} cm$^{{-1}}$\nmeasured: {found['measured']:.1f} cm$^{{-1}}$",
            transform=ax.transAxes, ha="right", va="bottom", fontsize=9)  # fmt: skip
    ax.set(title="Vibrational levels in the fitted well", xlabel="R / $a_0$", ylabel="energy / 1000 cm$^{-1}$",
           ylim=(-0.5, 42), xlim=(0, 6))  # fmt: skip


def draw_exact(ax: Any, points: dict[str, Any], energy: Any) -> None:
    """What separates full CI in a finite basis, and the network that learnt it, from the exact curve."""
    r, exact = points["exact"]
    fit = np.polynomial.Polynomial.fit
    # Full CI at the exact curve's bond lengths: a smooth function of R, through the ten points that are nearest.
    at = []
    for place in r:
        near = np.argsort(np.abs(points["r"][:, 0] - place))[:10]
        at.append(fit(points["r"][near, 0], points["e"][near, 0], 9)(place))
    ax.plot(r, 1e3 * (np.array(at) - exact), "o", ms=5, mfc="none", color=GREEN, label="full CI, cc-pV5Z")
    ax.plot(r, 1e3 * (energy(r[:, None])[:, 0] - exact), ".", ms=5, color=BLUE, label="network")
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set(title="Above the exact curve: the basis set, not the network", xlabel="R / $a_0$",
           ylabel="(E − exact) / m$E_\\mathrm{h}$", ylim=(-0.05, 0.75))  # fmt: skip
    ax.legend()
