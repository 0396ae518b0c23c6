"""The picture of clustering.py."""

from __future__ import annotations

import numpy as np
from _example import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY

COLOURS = {
    "sc": PURPLE, "fcc": BLUE, "bcc": ORANGE, "hcp": GREEN, "icosahedral": RED, "decahedral": BLACK, "octahedral": SKY,
}  # fmt: skip


def draw(plt, planes, index, labels, names):
    """Left G(r), right G(r/d); above the principal components, below the latent plane of the autoencoder."""
    figure, axes = plt.subplots(2, 2, figsize=(8.8, 6.8), layout="constrained")
    for column, (kind, coordinates) in zip(axes.T, planes.items(), strict=True):
        for ax, (where, points) in zip(column, coordinates.items(), strict=True):
            for number, name in enumerate(names):
                chosen = points[labels == number]
                ax.scatter(*chosen.T, s=14, color=COLOURS[name], alpha=0.75, lw=0, label=name)
            ax.set_title(f"{kind}, {where}: adjusted Rand index {index[kind, where]:.2f}")
            ax.set(xticks=[], yticks=[])
            _limits(ax, points)
    axes[0, 0].set(xlabel="first component", ylabel="second component")
    axes[1, 0].set(xlabel="first latent coordinate", ylabel="second latent coordinate")
    handles, texts = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=7, markerscale=2, handletextpad=0.1)
    return figure


def _limits(ax, points):
    """Without the last half per cent, which would press all others together."""
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.08 * (high - low)
    ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
