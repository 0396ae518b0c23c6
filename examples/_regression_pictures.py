"""The picture of regression.py."""

from __future__ import annotations

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from _perceptron_pictures import boundary


def draw(figure, distances, clouds, off, irises, paths):
    """Five panels: distances, lines, descent; probabilities of two irises, growth of w."""
    grid = figure.add_gridspec(2, 6)
    axes = [figure.add_subplot(grid[0, 2 * k : 2 * k + 2]) for k in range(3)]
    axes += [figure.add_subplot(grid[1, :3]), figure.add_subplot(grid[1, 3:])]
    _distances(axes[0], *distances)
    _descent(axes[1], off)
    _lines(axes[2], *clouds)
    _probabilities(figure, axes[3], *irises, paths["versicolor–virginica"][-1])
    _growth(axes[4], paths)


def _distances(ax, fitted, true):
    ends = [true.min() - 0.03, true.max() + 0.03]
    ax.plot(ends, ends, color=GREY, lw=1)
    ax.scatter(true, fitted, s=10, color=BLUE)
    ax.set(xlabel="nearest neighbours (Å)", ylabel="from G(r), linear (Å)", xlim=ends, ylim=ends)
    ax.set_title("Linear: new particles")


def _descent(ax, off):
    ax.semilogy(np.arange(1, len(off) + 1), np.maximum(off, 1e-16), color=BLUE)
    ax.axhline(1e-10, color=GREY, ls=":")
    ax.set(xlabel="step", ylabel="largest |w − (XᵀX)⁻¹Xᵀy|", xlim=(0, 1.3 * np.argmax(off < 1e-13) + 50))
    ax.set_title("Descent to the closed form")


def _lines(ax, p, n, lines):
    for (name, w), colour in zip(lines.items(), (GREEN, ORANGE, BLACK), strict=True):
        boundary(ax, w, color=colour, lw=1.8, label=name)
    ax.scatter(*p[:, 1:].T, s=14, c=BLUE, zorder=3)
    ax.scatter(*n[:, 1:].T, s=14, c=RED, marker="s", zorder=3)
    both = np.vstack([p, n])[:, 1:]
    low, high = both.min(axis=0) - [0.4, 1.9], both.max(axis=0) + 0.4
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x_1$", ylabel="$x_2$", title="Three lines")
    ax.legend(loc="lower right", fontsize=8)


def _probabilities(figure, ax, features, is_second, w):
    low, high = features.min(axis=0) - 0.3, features.max(axis=0) + 0.3
    x1, x2 = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    probability = 1 / (1 + np.exp(-(w[0] + w[1] * x1 + w[2] * x2)))
    filled = ax.contourf(x1, x2, probability, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
    ax.contour(x1, x2, probability, levels=[0.5], colors=BLACK, linewidths=1.5)
    for chosen, colour, marker in ((is_second, BLUE, "o"), (~is_second, RED, "s")):
        ax.scatter(*features[chosen].T, s=18, color=colour, marker=marker, edgecolor="white", lw=0.4)
    ax.set(xlabel="petal length (standardised)", ylabel="petal width (standardised)")
    ax.set_title("Logistic: they overlap, and so do the probabilities")
    ax.text(0.3, 1.95, "virginica", ha="right", color="white", weight="bold", va="center")
    ax.text(-0.3, -1.6, "versicolor", color="white", weight="bold", va="center")
    figure.colorbar(filled, ax=ax, label="probability of virginica", ticks=[0, 0.5, 1])


def _growth(ax, paths):
    places = {"versicolor–virginica": (0.97, 0.44, "ends"), "setosa–versicolor": (0.62, 0.85, "separable, never ends")}
    for (name, path), colour in zip(paths.items(), (BLUE, PURPLE), strict=True):
        length = np.linalg.norm(path[1:], axis=1)
        ax.semilogx(np.arange(1, len(path)), length, color=colour)
        x, y, end = places[name]
        ax.text(x, y, f"{name}:\n{end}", color=colour, transform=ax.transAxes, ha="right", va="center")
    ax.set(xlabel="step of gradient descent", ylabel="|w|", title="Without overlap there is no solution", ylim=(0, 12))
