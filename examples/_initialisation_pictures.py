"""The picture of initialisation.py: matplotlib only."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLUE, GREEN, GREY, ORANGE, RED

COLOURS = (RED, ORANGE, BLUE, GREEN)


def draw(plt: Any, layers: dict[str, Any], rates: tuple[Any, Any], usable: float, curves: dict[float, Any]) -> Any:
    """Above, histograms by layer for four beginnings; below, their variances, learning rates, and dropout."""
    figure = plt.figure(figsize=(10.6, 6.4), dpi=95, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.05, 1))
    for ax, (name, found), colour in zip(above.subplots(1, 4, sharey=True), layers.items(), COLOURS, strict=True):
        draw_histograms(ax, name, found, colour)
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel("layer")
    first, second, third = below.subplots(1, 3)
    draw_variances(first, layers)
    draw_rates(second, *rates, usable)
    draw_dropout(third, curves)
    return figure


def draw_histograms(ax: Any, name: str, found: Any, colour: str) -> None:
    """One density per layer, the first layer at the top."""
    edges = np.linspace(-1, 1, 81)
    middle = (edges[1:] + edges[:-1]) / 2
    for number, values in enumerate(found, start=1):
        heights, _ = np.histogram(values, edges, density=True)
        heights = 0.85 * heights / heights.max()
        base = -number
        ax.fill_between(middle, base, base + heights, color=colour, alpha=0.75, lw=0, zorder=number)
        ax.plot(middle, base + heights, color="white", lw=0.6, zorder=number)
    ax.set(title=name, xlabel="tanh of the layer", xlim=(-1, 1), xticks=(-1, 0, 1), ylim=(-10.1, 0.05))
    ax.set_yticks([-1, -4, -7, -10], ["1", "4", "7", "10"])


def draw_variances(ax: Any, layers: dict[str, Any]) -> None:
    for (name, found), colour in zip(layers.items(), COLOURS, strict=True):
        ax.semilogy(range(1, 11), [values.var() for values in found], "o-", ms=3.5, color=colour, label=name)
    number = np.arange(1, 11)
    ax.semilogy(number, layers["Xavier, standard"][0].var() * 3.0 ** (1 - number), ":", color=GREY)
    ax.text(6.4, 1.3e-3, "∝ 3⁻ᴸ", color=GREY)
    ax.set(xlabel="layer", ylabel="variance", title="Variance of the activations", xticks=(1, 4, 7, 10))
    ax.legend(fontsize=8, loc="lower left")


def draw_rates(ax: Any, rates: Any, found: dict[bool, Any], usable: float) -> None:
    ax.axhline(usable, color=GREY, lw=0.8, ls=":")
    for norm, colour in ((False, ORANGE), (True, GREEN)):
        ax.semilogx(rates, found[norm], "o-", ms=4, color=colour)
    ax.set(xlabel="learning rate", ylabel="test accuracy", title="Digits: usable learning rates", ylim=(0, 1.02))
    ax.text(0.0032, 0.82, "with batch norm", color=GREEN, fontsize=9)
    ax.text(0.7, 0.4, "without", color=ORANGE)


def draw_dropout(ax: Any, curves: dict[float, Any]) -> None:
    """Training and test loss against the epoch; a fifth of the labels is wrong."""
    for p, colour in ((0.0, ORANGE), (0.5, BLUE)):
        name = f"dropout {p}" if p else "no dropout"
        epochs = np.arange(1, len(curves[p]) + 1)
        ax.plot(epochs, curves[p][:, 1, 0], color=colour, lw=1.8, label=f"{name}: test")
        ax.plot(epochs, curves[p][:, 0, 0], color=colour, lw=1.0, ls="--", label=f"{name}: training")
    ax.set(xlabel="epoch", ylabel="loss", title="Digits, a fifth of the labels wrong", ylim=(0, 1.8))
    ax.legend(fontsize=8, loc="upper right")
