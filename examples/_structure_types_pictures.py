"""The pictures of structure_types.py."""

from __future__ import annotations

import numpy as np
from _example import BLACK, BLUE, GREY, ORANGE, RED


def draw_accuracies(plt, r, curves, reduced_curves, labels, names, of_r, reduced):
    """The curves both ways, and the accuracies of all models."""
    figure = plt.figure(figsize=(10.5, 4.2), layout="constrained")
    grid = figure.add_gridspec(1, 12)
    _curves(figure.add_subplot(grid[:3]), r, curves, labels, names, "G(r)", "r (Å)")
    _curves(figure.add_subplot(grid[3:6]), r / 2.75, reduced_curves, labels, names, "G(r/d)", "r / d")
    _accuracies(figure.add_subplot(grid[6:]), of_r, reduced)
    return figure


def draw_confusions(plt, counts, pairs, names):
    """The confusions of the CNN, and the pairs of the perceptron."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
    _confusion(axes[0], counts, names)
    _pairs(axes[1], pairs, names)
    return figure


def _curves(ax, r, curves, labels, names, title, xlabel):
    """Three particles each of three types, over each other."""
    for shift, (name, colour) in enumerate((("octahedral", RED), ("fcc", BLUE), ("bcc", ORANGE))):
        for curve in curves[labels == names.index(name)][:3]:
            ax.plot(r, curve + 1.6 * shift, color=colour, lw=0.8)
        ax.text(0.9 * r[-1], 1.6 * shift + 0.5, name, color=colour, ha="right", weight="bold")
    ax.set(xlabel=xlabel, ylabel=title, yticks=[], xlim=(r[0], 0.9 * r[-1]), title=f"{title}: three of each")


def _accuracies(ax, of_r, reduced):
    places = np.arange(len(of_r))
    for results, shift, colour, label in ((of_r, -0.19, BLUE, "G(r)"), (reduced, 0.19, ORANGE, "G(r/d)")):
        values = np.array([accuracies[:, 0] for accuracies, _ in results.values()])
        mean = values.mean(axis=1)
        error = {"ecolor": BLACK, "capsize": 2}
        ax.barh(places + shift, mean, 0.36, xerr=values.std(axis=1), color=colour, error_kw=error)
        ax.text(mean[0] - 0.045, places[0] + shift, label, color="white", va="center", ha="right", fontsize=9)
        for place, value in zip(places, mean, strict=True):
            ax.text(0.32, place + shift, f"{value:.2f}", color="white", va="center", weight="bold", fontsize=9)
    ax.set_yticks(places, list(of_r))
    ax.invert_yaxis()
    ax.set(xlim=(0.3, 1.0), xlabel="accuracy on curves from the vault, seven types")
    ax.set_title("A better coordinate beats a better network")


def _confusion(ax, counts, names):
    """Rows: what they were; columns: what the network took them for."""
    share = counts / counts.sum(axis=1, keepdims=True)
    ax.imshow(share, cmap="Blues", vmax=1.3)
    for i, j in np.ndindex(*counts.shape):
        if counts[i, j]:
            ax.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=BLACK if i == j else RED)
    _named(ax, names)
    ax.set(ylabel="true", xlabel="taken for", title="CNN, G(r): where the errors are (%)")


def _pairs(ax, table, names):
    ax.imshow(table, cmap="viridis", vmin=0.5, vmax=1.0)
    for i, j in np.ndindex(*table.shape):
        if np.isfinite(table[i, j]):
            colour = "white" if table[i, j] < 0.85 else BLACK
            ax.text(j, i, f"{100 * table[i, j]:.0f}", ha="center", va="center", color=colour)
    _named(ax, names)
    ax.set_title("Perceptron, pair by pair: accuracy (%)")
    ax.set_facecolor("0.93")
    ax.axhline(-0.5, color=GREY, lw=0.1)


def _named(ax, names):
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set_yticks(range(len(names)), names)
