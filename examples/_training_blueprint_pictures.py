"""The picture of training_blueprint.py."""

from __future__ import annotations

import numpy as np
from _example import BLACK, BLUE, GREY, ORANGE, RED
from matplotlib.ticker import MaxNLocator, NullFormatter


def draw(plt, series, plain, times_r, types):
    """Five panels: losses of the three data sets; the H2 curve, the confusions of structure types."""
    figure = plt.figure(figsize=(10.5, 7), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    above = [figure.add_subplot(grid[0, 2 * k : 2 * k + 2]) for k in range(3)]
    _loss(above[0], series["lennard_jones"], "Lennard-Jones: 1000 batches each", "squared error (ε²)", marker="o")
    _loss(above[1], series["h2_times_r"], "H2, learning R·E", "squared error (scaled)")
    _loss(above[2], series["structure_types"], "Structure types", "cross-entropy")
    _h2(figure.add_subplot(grid[1, :3]), plain, times_r)
    _confusion(figure.add_subplot(grid[1, 3:]), types)
    return figure


def _loss(ax, series, title, ylabel, marker=""):
    """Training and validation loss against updates; a circle where the model that was kept stood."""
    for tag, colour, name in (("Loss/train", BLUE, "training"), ("Loss/val", ORANGE, "validation")):
        if tag in series:
            steps, values = np.array(series[tag]).T
            ax.semilogy(steps, values, color=colour, lw=1.0, label=name, marker=marker, ms=4)
    if "Loss/val" in series:
        best = values.argmin()
        ax.plot(steps[best], values[best], "o", ms=8, mfc="none", mec=BLACK, label="kept", zorder=4)
        ax.legend(fontsize=9)
    ax.set(title=title, xlabel="updates", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    if high / low < 100:
        ticks = [t for t in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if low <= t <= high]
        ax.set_yticks(ticks, [f"{t:g}" for t in ticks])


def _h2(ax, plain, times_r):
    """The curve with the points learnt from, and in it the errors of both fits."""
    r, e, parts, line = plain["r"], plain["e"], plain["parts"], np.linspace(0.4, 10, 400)[:, None]
    ax.plot(line, times_r["energy"](line), color=BLACK, lw=1.2, label="fit of R·E")
    ax.plot(r[parts["train"]], e[parts["train"]], "o", ms=3.5, color=BLUE, label="training points")
    ax.plot(r[parts["test"]], e[parts["test"]], "s", ms=3, color=RED, label="test points")
    ax.set(title="H2", xlabel="R (bohr)", ylabel="E (hartree)", ylim=(-0.2, 0.35))
    ax.legend(fontsize=9, loc="lower right")
    inset = ax.inset_axes((0.40, 0.55, 0.58, 0.42))
    for fit, name, colour in ((plain, "E", GREY), (times_r, "R·E", BLACK)):
        inset.plot(r, 1e6 * (fit["energy"](r) - e), color=colour, lw=1.0, label=f"{name}: {fit['error']:.0f}")
    inset.set(ylim=(-900, 1700), ylabel="error (µEh)")
    inset.tick_params(labelsize=8)
    inset.legend(fontsize=8, title="test RMSE (µEh), learning", title_fontsize=8, loc="upper right", ncols=2)


def _confusion(ax, types):
    """How many test particles of each type (rows) were taken for which (columns)."""
    counts = types["confusion"]
    ax.imshow(counts, cmap="Blues", vmax=counts.max() * 1.3)
    for i, j in np.ndindex(*counts.shape):
        if counts[i, j]:
            ax.text(j, i, counts[i, j], ha="center", va="center", color=BLACK if i == j else RED)
    title = f"Test accuracy {types['accuracy']:.2f}, {types['merged']:.2f} with fcc = octahedral"
    ax.set(ylabel="true", xlabel="taken for", title=title)
    ax.set_xticks(range(len(counts)), types["names"], rotation=30, ha="right")
    ax.set_yticks(range(len(counts)), types["names"])
