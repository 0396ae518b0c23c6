"""The picture of bias_variance.py: learning curve, error against width and against decay, and the fits behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREY, ORANGE, RED
from bias_variance import GRID, column, lennard_jones

LINES = (("error", BLACK, "o-"), ("bias", ORANGE, "s--"), ("spread", BLUE, "^--"))


def draw(plt: Any, by_points: Any, by_width: Any, by_decay: Any) -> Any:
    figure = plt.figure(figsize=(11, 7.2), layout="constrained")
    axes = figure.subplots(2, 3)
    draw_points(axes[0, 0], by_points)
    draw_widths(axes[0, 1], by_width)
    draw_decays(axes[0, 2], by_decay)
    error = column(by_decay, "error")
    best = [*by_decay][int(error.argmin())]
    narrow, wide = by_width[1], by_width[64]
    draw_fits(axes[1, 0], narrow, "Width 1: all wrong in the same way")
    draw_fits(axes[1, 1], wide, "Width 64: each follows its noise")
    draw_fits(axes[1, 2], by_decay[best], f"Width 64 with weight decay {best:g}")
    axes[1, 0].legend(loc="lower right")
    return figure


def draw_points(ax: Any, results: Any) -> None:
    numbers, noise = np.array([*results]), 0.1
    error = column(results, "error")
    ax.loglog(numbers, np.sqrt(error**2 + noise**2), "s-", color=ORANGE, ms=5, label="validation")
    ax.loglog(numbers, column(results, "training"), "o-", color=BLUE, ms=5, label="training")
    ax.axhline(noise, color=GREY, lw=0.9)
    ax.text(numbers[-1], noise * 1.04, "noise", color=GREY, ha="right", va="bottom")
    ax.loglog(numbers, error, "^--", color=BLACK, ms=5, label="against the true curve")
    slope, start = np.polyfit(np.log(numbers), np.log(error), 1)
    ax.loglog(numbers, np.exp(start) * numbers**slope, ":", color=BLACK, lw=1, label=f"slope −{abs(slope):.2f}")
    ax.set(title="More points", xlabel="training points", ylabel="root mean square error / ε")
    ticks = [0.02, 0.05, 0.1, 0.2, 0.4]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks(numbers[::2], [f"{number}" for number in numbers[::2]])
    ax.minorticks_off()
    ax.legend(fontsize=9)


def draw_widths(ax: Any, results: Any) -> None:
    for name, colour, style in LINES:
        ax.semilogx([*results], column(results, name), style, color=colour, ms=5, label=name, base=2)
    ax.semilogx([*results], column(results, "training"), ":", color=GREY, label="training error", base=2)
    ax.set(title="Wider networks", xlabel="neurons per hidden layer", ylabel="root mean square / ε", ylim=(0, 0.36))
    ax.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    ax.legend(fontsize=9)


def draw_decays(ax: Any, results: Any) -> None:
    decays = np.array([*results])
    least = decays[1] / 10  # stands for zero
    for name, colour, style in LINES:
        values = column(results, name)
        ax.semilogx(decays[1:], values[1:], style, color=colour, ms=5, label=name)
        ax.semilogx(least, values[0], style[0], color=colour, ms=5)
    marks = [least, *(10.0**k for k in range(-5, -1) if decays[1] <= 10.0**k * 1.01 and 10.0**k <= decays[-1] * 1.01)]
    ax.set_xticks(marks, ["0", *(f"$10^{{{round(np.log10(mark))}}}$" for mark in marks[1:])])
    ax.minorticks_off()
    ax.set(title="Width 64: more weight decay", xlabel="weight decay λ", ylabel="root mean square / ε", ylim=(0, 0.36))
    ax.legend(fontsize=9)


def draw_fits(ax: Any, result: Any, title: str) -> None:
    for curve in result["curves"][:20]:
        ax.plot(GRID, curve, color=BLUE, lw=0.6, alpha=0.45)
    ax.plot([], [], color=BLUE, lw=0.9, label="fits, other noise")
    ax.plot(GRID, result["curves"].mean(axis=0), color=RED, lw=2, label="their mean")
    ax.plot(GRID, lennard_jones(GRID), "--", color=BLACK, lw=1.4, label="true curve")
    ax.set(title=title, xlabel="r / σ", ylabel="V / ε", ylim=(-1.5, 1.0))
