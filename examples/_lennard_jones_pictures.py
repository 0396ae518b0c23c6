"""The picture of lennard_jones.py: ten points and many networks, early stopping, six pairs with one network."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from lennard_jones import BEYOND, FARTHEST, NEAREST, descriptor, lennard_jones, pair_parameters


def draw(plt: Any, fits: Any, stopped: Any, noisy: Any, pairs: Any, together: Any, unknown: Any) -> Any:
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7.6), layout="constrained")
    draw_seeds(axes[0, 0], fits)
    draw_pairs(axes[0, 1], pairs, together, unknown)
    draw_losses(axes[1, 0], stopped)
    draw_stopping(axes[1, 1], stopped, noisy)
    return figure


def draw_seeds(ax: Any, fits: Any) -> None:
    r = np.linspace(0.96, BEYOND, 500)
    known = np.linspace(NEAREST, FARTHEST, 10)
    for fit in fits[:24]:
        ax.plot(r, fit.energy(descriptor("H", "C", r)), color=BLUE, lw=0.7, alpha=0.5)
    ax.plot([], [], color=BLUE, lw=0.9, label=f"{min(len(fits), 24)} networks, other first weights")
    ax.plot(r, lennard_jones(r), "--", color=BLACK, lw=1.3, label="Lennard-Jones")
    ax.plot(known, lennard_jones(known), "o", color=RED, ms=5, zorder=4, label="the ten points they learnt")
    ax.axvspan(FARTHEST, BEYOND, color=GREY, alpha=0.15, lw=0)
    ax.text(0.5 * (FARTHEST + BEYOND), 0.68, "no data here", ha="center", color=GREY)
    ax.set(title="Equal at the points, not between and beyond them", xlabel="r / σ", ylabel="V / ε",
           xlim=(0.95, BEYOND), ylim=(-1.15, 0.8))  # fmt: skip
    ax.legend(loc="lower right")


def draw_losses(ax: Any, fit: Any) -> None:
    steps = np.arange(1, len(fit.losses) + 1)
    train, validation = fit.losses.T
    ax.loglog(steps, train, color=BLUE, lw=1.2, label="training")
    ax.loglog(steps, validation, color=ORANGE, lw=1.2, label="validation")
    ax.plot(fit.best + 1, validation[fit.best], "o", ms=9, mfc="none", color=BLACK, zorder=4)
    ax.axvline(fit.best + 1, color=GREY, lw=0.8, ls=":")
    ax.annotate(f"lowest: stop here\n(step {fit.best + 1})", (fit.best + 1, validation[fit.best]), (8, 34),
                textcoords="offset points", fontsize=9)  # fmt: skip
    ax.set(title="Noisy points: training goes on after learning has ended", xlabel="step",
           ylabel="mean squared error / ε²", ylim=(2e-5, 3))  # fmt: skip
    ax.legend(loc="lower left")


def draw_stopping(ax: Any, fit: Any, noisy: Any) -> None:
    (x, y), (x_val, y_val) = noisy
    r = np.linspace(NEAREST, FARTHEST, 300)
    at = descriptor("H", "C", r)
    ax.plot(r, lennard_jones(r), "--", color=BLACK, lw=1.3, label="Lennard-Jones")
    ax.plot(r, fit.energy(at), color=GREY, lw=1.2, label="after the last step")
    ax.plot(r, fit.at_best(at), color=GREEN, lw=2.0, label="weights of the lowest validation loss")
    ax.plot(x[:, -1], y, "o", color=BLUE, ms=5, label="training points")
    ax.plot(x_val[:, -1], y_val, "s", color=ORANGE, ms=4, label="validation points")
    ax.set(title="What early stopping saves", xlabel="r / σ", ylabel="V / ε", ylim=(-1.3, 1.2))
    ax.legend(fontsize=9)


def draw_pairs(ax: Any, pairs: Any, together: Any, unknown: tuple[str, str]) -> None:
    for (pair, (r, y)), colour in zip(pairs.items(), (BLUE, SKY, PURPLE, RED, ORANGE, GREEN), strict=True):
        line = np.linspace(r[0], r[-1], 200)
        ax.plot(line, together.energy(descriptor(*pair, line)), color=colour, lw=1.3, label="–".join(pair))
        ax.plot(r, y, "o", color=colour, ms=3.5)
    name, known = ("–".join(pair) for pair in (unknown, unknown[::-1]))
    _, sigma = pair_parameters(*unknown)
    line = np.linspace(NEAREST * sigma, FARTHEST * sigma, 200)
    ax.plot(line, together.energy(descriptor(*unknown, line)), ":", color=BLACK, lw=1.4, label=f"{name}, never shown")
    ax.set_title(f"One network, six pairs; it was not told that {name} is {known}")
    ax.set(xlabel="r / Å", ylabel="V / kJ mol$^{-1}$", ylim=(-0.5, 0.32))
    ax.legend(ncols=2, fontsize=9)
