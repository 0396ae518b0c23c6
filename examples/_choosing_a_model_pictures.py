"""The picture of choosing_a_model.py: two polynomials, many networks, and their losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, RED
from choosing_a_model import lennard_jones


def draw(plt: Any, points: Any, models: Any, losses: Any, data: Any, curves: Any, table: Any, chosen: int) -> Any:
    figure = plt.figure(figsize=(12, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.05, 1, 1))
    draw_polynomials(axes[0], points, models, losses)
    draw_networks(axes[1], data, curves, chosen)
    draw_losses(axes[2], table, chosen)
    return figure


def draw_polynomials(ax: Any, points: Any, models: Any, losses: Any) -> None:
    x = np.linspace(-0.1, 5.1, 400)
    for (name, model), colour in zip(models.items(), (GREEN, RED), strict=True):
        label = f"{name}: $L_t$ = {abs(losses[name][0]):.2f}, $L_v$ = {losses[name][1]:.2f}"
        ax.plot(x, model(x), color=colour, lw=1.6, label=label)
    ax.plot(points["x"], points["y"], "o", color=BLUE, ms=6, zorder=4, label="training")
    ax.plot(points["x_val"], points["y_val"], "s", color=ORANGE, ms=5, zorder=4, label="validation")
    top = max(np.abs(points["y"]).max(), np.abs(points["y_val"]).max())
    ax.set(title="Two polynomials through the same points", xlabel="x", ylabel="y", ylim=(-0.35 * top, 2.1 * top))
    ax.legend(fontsize=9, loc="upper left")


def draw_networks(ax: Any, data: Any, curves: Any, chosen: int) -> None:
    r, y, r_val, y_val = data
    line = np.linspace(r[0], r[-1], 400)
    for curve in curves:
        ax.plot(line, curve(line), color=GREY, lw=0.7, alpha=0.6)
    ax.plot([], [], color=GREY, lw=0.9, label=f"{len(curves)} networks")
    ax.plot(line, lennard_jones(line), "--", color=BLACK, lw=1.3, label="true curve")
    ax.plot(line, curves[chosen](line), color=GREEN, lw=1.8, label="lowest $L_v$")
    ax.plot(r, y, "o", color=BLUE, ms=5, zorder=4)
    ax.plot(r_val, y_val, "s", color=ORANGE, ms=4.5, zorder=4)
    ax.set(title="Networks, all with $L_t$ = 0.00", xlabel="r / σ", ylabel="V / ε", ylim=(-1.2, 0.75))
    ax.legend(fontsize=9)


def draw_losses(ax: Any, table: Any, chosen: int) -> None:
    _, validation, test = table
    ax.loglog(validation, test, "o", color=GREY, ms=5)
    ax.loglog(validation[chosen], test[chosen], "o", color=GREEN, ms=8, label="chosen by $L_v$")
    ends = np.array([min(validation.min(), test.min()) / 1.5, max(validation.max(), test.max()) * 1.5])
    ax.loglog(ends, ends, ":", color=BLACK, lw=1, label="equal")
    ax.set(title="Lower validation loss, lower test loss", xlabel="validation loss / ε²", ylabel="test loss / ε²")
    ax.legend(fontsize=9, loc="upper left")
