"""The picture of perceptron.py."""

from __future__ import annotations

import matplotlib
import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED

VIRIDIS = matplotlib.colormaps["viridis"]
SERIES = (BLUE, GREEN, ORANGE, RED)  # one colour per pair


def boundary(ax, w, **style):
    """The line w0 + w1 x1 + w2 x2 = 0."""
    foot = -w[0] * w[1:] / (w[1:] @ w[1:])
    ax.axline(foot, foot + np.array([-w[2], w[1]]), **style)


def draw(figure, clouds, run, xor, pairs, data):
    """Five panels: stages of learning, XOR, the curves; errors against epochs, accuracies."""
    grid = figure.add_gridspec(2, 6)
    axes = [figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])]
    axes += [figure.add_subplot(grid[1, 2 * k : 2 * k + 2]) for k in range(3)]
    _learning(axes[0], *clouds, run)
    _xor(axes[1], xor)
    _curves(axes[2], data)
    _errors(axes[3], pairs)
    _accuracies(axes[4], pairs)


def _learning(ax, p, n, run):
    stages = [run.stages[i] for i in np.unique(np.linspace(0, len(run.stages) - 1, 5).round().astype(int))]
    for (count, w), shade in zip(stages, np.linspace(0.15, 0.9, len(stages)), strict=True):
        last = count == run.updates
        colour = BLACK if last else VIRIDIS(1 - shade)
        boundary(ax, w, color=colour, lw=2.4 if last else 1.4, label=f"after {count} updates")
    ax.scatter(*p[:, 1:].T, s=22, c=BLUE, zorder=3)
    ax.scatter(*n[:, 1:].T, s=22, c=RED, marker="s", zorder=3)
    ax.text(*p[:, 1:].max(axis=0) + [-2.0, 0.1], "P", color=BLUE, weight="bold")
    ax.text(*n[:, 1:].min(axis=0) + [2.2, 0.0], "N", color=RED, weight="bold")
    both = np.vstack([p, n])[:, 1:]
    low, high = both.min(axis=0) - 0.4, both.max(axis=0) + [2.6, 0.5]
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x_1$", ylabel="$x_2$")
    ax.set_title("Learning a line: each wrong point turns it")
    ax.legend(loc="lower right", fontsize=8)


def _xor(ax, xor):
    ax.plot(np.arange(1, len(xor.errors) + 1), xor.errors, color=PURPLE, lw=0.8, marker=".", ms=4)
    ax.set(ylim=(-0.2, 4.2), yticks=range(5), xlim=(0, min(len(xor.errors), 40)), xlabel="epoch")
    ax.set(ylabel="wrong points of 4", title=f"XOR: {xor.updates} updates in {len(xor.errors)} epochs, never right")
    ax.axhline(0, color=GREY, lw=0.8, ls=":")


def _curves(ax, data):
    r, curves, label, names = data["r"], data["G"], data["label"], data["classes"].tolist()
    for shift, name in enumerate(("octahedral", "hcp", "bcc", "fcc", "sc")):
        of_type = curves[label == names.index(name)]
        ax.plot(r, of_type[2] + 1.3 * shift, lw=1.0, color=BLUE)
        ax.text(20, 0.3 + 1.3 * shift, name, ha="right", fontsize=9)
    ax.set(title="One particle of each type", xlabel="r (Å)", yticks=[], ylabel="G(r)")


def _errors(ax, pairs):
    for (name, (result, _)), colour in zip(pairs.items(), SERIES, strict=True):
        lowest = np.maximum(np.minimum.accumulate(result.errors), 0.5)
        ax.loglog(np.arange(1, len(lowest) + 1), lowest, lw=1.4, label=name, color=colour)
        ax.plot(len(lowest), lowest[-1], "o", ms=4, color=colour)
    ax.set(title="All four pairs are learnt …", xlabel="epoch", ylabel="fewest errors so far")
    ax.set_yticks([0.5, 1, 10, 100], ["0", "1", "10", "100"])
    ax.set_ylim(top=3000)
    ax.legend(fontsize=8, loc="upper right", ncols=2, columnspacing=1.0, handlelength=1.2)


def _accuracies(ax, pairs):
    accuracies = [accuracy for _, accuracy in pairs.values()]
    bars = ax.bar([name.replace("–", "–\n") for name in pairs], accuracies, color=SERIES, width=0.6)
    ax.bar_label(bars, fmt="{:.2f}")
    ax.axhline(0.5, color=GREY, ls=":")
    ax.text(3.45, 0.51, "a coin", color=GREY, fontsize=8)
    ax.set(xlim=(-0.5, 4.2), ylim=(0.4, 1.08), ylabel="accuracy on 45 new curves", title="… the last one by heart")
    ax.tick_params(axis="x", labelsize=8)
