"""The pictures of forward_propagation.py: networks with their numbers, and as graphs."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
from _example import BLUE, GREY, RED


def plot_network(ax, nodes, weights, titles=(), inside="{:.2f}", above=None, on_edges="{:g}"):
    """Draw a network with its numbers: a column of circles per layer, a line per weight.

    Parameters
    ----------
    ax : matplotlib axes
    nodes : for each layer its values, which colour the circles and stand in them
    weights : for each pair of layers a matrix (following, preceding); blue is positive, red negative
    titles : a line above each layer
    inside, on_edges : formats of the numbers; left out if empty, or with more than 5 circles in a layer
    above : for each layer what stands above its circles (strings), or None
    """

    dx, radius = 3.0, 0.36 if max(len(v) for v in nodes) <= 4 else 1.3 / max(len(v) for v in nodes)
    places = [
        [(dx * k, 3.6 * ((len(v) - 1) / 2 - j) / max(len(v), 2.4)) for j in range(len(v))] for k, v in enumerate(nodes)
    ]
    largest = [max(float(np.abs(v).max()), 1e-12) for v in nodes]
    colours = mpl.colormaps["RdBu"]
    label = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none"}
    centred = {"ha": "center", "va": "center", "fontsize": 8}
    numbers = max(len(v) for v in nodes) <= 5
    for k, matrix in enumerate(weights):
        scale = max(float(np.abs(matrix).max()), 1e-12)
        for j, i in np.ndindex(*matrix.shape):
            w, (x0, y0), (x1, y1) = float(matrix[j, i]), places[k][i], places[k + 1][j]
            colour = "0.8" if w == 0 else BLUE if w > 0 else RED
            ax.plot(
                [x0, x1],
                [y0, y1],
                color=colour,
                lw=0.6 + 3.0 * abs(w) / scale,
                alpha=0.75,
                zorder=1,
                solid_capstyle="round",
            )
            if on_edges and numbers:  # near the source, where lines from one circle have parted and others do not cross
                s = min(0.27, max(0.2, 1.0 / (len(matrix) + 1)))
                angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
                ax.text(x0 + s * (x1 - x0), y0 + s * (y1 - y0), on_edges.format(w), rotation=angle,
                        rotation_mode="anchor", transform_rotates_text=True, color=colour if w else "0.45",
                        zorder=2, bbox=label, **centred)  # fmt: skip
    for k, values in enumerate(nodes):
        for j, ((x, y), value) in enumerate(zip(places[k], np.asarray(values, float), strict=True)):
            shade = colours(0.5 + 0.26 * value / largest[k])
            ax.add_patch(mpl.patches.Circle((x, y), radius, fc=shade, ec="0.25", lw=1.2, zorder=3))
            if inside and numbers:
                ax.text(x, y, inside.format(value), ha="center", va="center", fontsize=10, zorder=4)
            if above is not None and above[k] is not None:
                ax.text(x, y + radius + 0.13, above[k][j], color="0.3", zorder=4, bbox=label, **centred)
    top = max(column[0][1] for column in places) + radius + 0.35
    for k, title in enumerate(titles):
        ax.text(dx * k, top, title, ha="center", va="bottom", fontsize=11, color="0.2")
    ax.set(xlim=(-0.8, dx * (len(nodes) - 1) + 0.8), ylim=(0.2 - top, top + 0.3), aspect="equal")
    ax.axis("off")


def draw_graphs(plt, graphs, longest_way):
    """Connectivity matrices above, the neurons on a circle below."""
    figure, axes = plt.subplots(2, len(graphs), figsize=(4.2 * len(graphs), 8.2), layout="constrained")
    for (above, below), (name, m) in zip(axes.T, graphs.items(), strict=True):
        above.imshow(m, cmap="Blues", vmax=1.5)
        above.set(xlabel="from neuron j", ylabel="to neuron i", xticks=range(len(m)), yticks=range(len(m)))
        above.set_xticklabels(range(1, len(m) + 1), fontsize=8)
        above.set_yticklabels(range(1, len(m) + 1), fontsize=8)
        way = longest_way(m)
        end = "in circles" if math.isinf(way) else f"at most {way} in a row"
        above.set_title(f"{name}: {m.sum()} connections,\n{end}")
        angle = np.pi / 2 - 2 * np.pi * np.arange(len(m)) / len(m)
        places = np.column_stack([np.cos(angle), np.sin(angle)])
        for i, j in np.argwhere(m):
            arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 9, "shrinkB": 9, "connectionstyle": "arc3,rad=0.12"}
            below.annotate("", places[i], places[j], arrowprops=arrow)
        below.scatter(*places.T, s=300, color="white", edgecolor=BLUE, linewidth=1.5, zorder=3)
        for number, place in enumerate(places, 1):
            below.text(*place, str(number), ha="center", va="center", fontsize=9, zorder=4)
        below.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
        below.axis("off")
    return figure
