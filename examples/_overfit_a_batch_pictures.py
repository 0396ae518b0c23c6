"""The picture of overfit_a_batch.py: memorising, fake and shuffled targets, descriptors, screening."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY


def draw(plt: Any, checks: Any, errors: Any, changed: Any, screened: Any, best: Any, epochs: Any) -> Any:
    figure = plt.figure(figsize=(10.5, 7.4), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_memorising(axes[0, 0], checks)
    draw_targets(axes[0, 1], errors)
    draw_changes(axes[1, 0], changed)
    draw_screening(axes[1, 1], screened, best, epochs)
    return figure


def draw_memorising(ax: Any, checks: Any) -> None:
    colours = (GREEN, RED, ORANGE, PURPLE, SKY, BLACK, BLUE)
    for (name, result), colour in zip(checks.items(), colours, strict=True):
        losses = np.array(result.losses) / result.losses[0]
        ax.loglog(np.arange(1, len(losses) + 1), losses, color=colour, lw=2.4 if result else 1.2, label=name)
    ax.axhline(1e-3, color=GREY, lw=0.9, ls=":")
    ax.text(1.1, 1.15e-3, "memorised", color=GREY, va="bottom")
    ax.set(title="Eight molecules by heart, and six mistakes", xlabel="update", ylabel="loss / first loss",
           ylim=(3e-4, 1e4))  # fmt: skip
    ax.legend(fontsize=8.5, ncols=2, loc="upper left", frameon=True, edgecolor="none")


def draw_targets(ax: Any, errors: Any) -> None:
    place = np.arange(len(errors))
    for shift, part, colour in ((-0.19, 0, BLUE), (0.19, 1, ORANGE)):
        bars = ax.bar(place + shift, [pair[part] for pair in errors.values()], 0.36, color=colour,
                      label=("training", "validation")[part])  # fmt: skip
        ax.bar_label(bars, fmt="{:.2f}", fontsize=9)
    ax.axhline(1, color=GREY, lw=0.9, ls=":")
    ax.text(-0.45, 1.02, "always the mean", color=GREY, va="bottom")
    ax.set_xticks(place, [f"{kind} targets" for kind in errors])
    ax.set(title="Fake targets are learnt, shuffled ones only by heart", ylabel="error / spread of the targets",
           ylim=(0, 1.8))  # fmt: skip
    ax.legend(loc="upper left")


def draw_changes(ax: Any, changed: Any) -> None:
    place = np.arange(len(changed))
    ways = list(next(iter(changed.values())))
    for number, (way, colour) in enumerate(zip(ways, (BLUE, GREEN, ORANGE), strict=True)):
        values = [max(change[way], 1e-17) for change in changed.values()]
        ax.bar(place + 0.26 * (number - 1), values, 0.24, bottom=0, color=colour, label=way)
    ax.set_yscale("log")
    ax.set_yticks([1e-15, 1e-10, 1e-5, 1])
    ax.axhspan(1e-18, 1e-14, color=GREY, alpha=0.2, lw=0, zorder=0)
    ax.text(2.42, 3e-14, "rounding", color="0.35", ha="right", va="bottom")
    ax.set_xticks(place, list(changed))
    ax.set(title="Inputs that change although the energy does not", ylabel="largest change / largest input",
           ylim=(1e-18, 1e7))  # fmt: skip
    ax.legend(ncols=3, loc="upper right", title="molecules were")


def draw_screening(ax: Any, screened: Any, best: Any, epochs: Any) -> None:
    few, many = screened.T
    ax.loglog(few, many, "o", color=GREY, ms=5, label="given up")
    ax.loglog(few[best], many[best], "o", color=GREEN, ms=6, label="trained on: the best quarter")
    winner = many.argmin()
    ax.loglog(few[winner], many[winner], "o", color=RED, ms=11, mfc="none", mew=1.5, label="the best of all in the end")
    ax.set_title("Screening: few epochs tell the good from the bad")
    ax.set(xlabel=f"validation error after {epochs[0]} epochs / meV", ylabel=f"after {epochs[1]} epochs / meV")
    ticks = [40, 50, 70, 100, 150, 200]
    ax.set_xticks(ticks, [f"{tick}" for tick in ticks])
    ax.set_yticks(ticks, [f"{tick}" for tick in ticks])
    ax.minorticks_off()
    ax.set(xlim=(few.min() / 1.1, few.max() * 1.1), ylim=(many.min() / 1.1, many.max() * 1.35))
    ax.legend(fontsize=9, loc="upper left")
