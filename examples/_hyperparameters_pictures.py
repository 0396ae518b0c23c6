"""The picture of hyperparameters.py."""

from __future__ import annotations

import numpy as np
from _example import BLACK, BLUE, GREY, ORANGE, RED
from matplotlib.colors import LogNorm


def draw(plt, results, best, few, search, learning):
    """Above a heat map for each depth; below the curves of the best network, screening, random search, learning."""
    depths, widths, rates = (sorted({key[k] for key in results}) for k in range(3))
    losses = {key: model.best_loss_ for key, model in results.items()}
    figure = plt.figure(figsize=(12, 7.4), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    upper = grid[0, :].subgridspec(1, len(depths))
    above = [figure.add_subplot(upper[0, k]) for k in range(len(depths))]
    norm = LogNorm(min(losses.values()), max(losses.values()))
    for ax, depth in zip(above, depths, strict=True):
        shown = _heat_map(ax, losses, depth, widths, rates, norm, best)
    above[0].set_ylabel("learning rate")
    bar = figure.colorbar(shown, ax=above, pad=0.01)
    ticks = [t for t in (0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0) if norm.vmin <= t <= norm.vmax]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.ax.minorticks_off()
    bar.set_label("lowest validation loss")
    axes = [figure.add_subplot(grid[1, k]) for k in range(4)]
    _rates(axes[0], results, best, rates)
    _screening(axes[1], few, losses, best)
    _searches(axes[2], losses, search)
    _learning(axes[3], *learning)
    return figure


def _heat_map(ax, losses, depth, widths, rates, norm, best):
    table = np.array([[losses.get((depth, width, rate), np.nan) for width in widths] for rate in rates])
    shown = ax.imshow(table, norm=norm, cmap="viridis_r", aspect="auto", origin="lower")
    for i, j in np.ndindex(*table.shape):
        if np.isfinite(table[i, j]):
            dark = norm(table[i, j]) > 0.5
            chosen = (depth, widths[j], rates[i]) == best
            text = f"{table[i, j]:.2f}" + (" ★" if chosen else "")
            ax.text(j, i, text, ha="center", va="center", color="white" if dark else BLACK,
                    weight="bold" if chosen else None, fontsize=9)  # fmt: skip
    ax.set_xticks(range(len(widths)), widths)
    ax.set_yticks(range(len(rates)), [f"{rate:.0e}".replace("e-0", "e−") for rate in rates])
    ax.set(xlabel="width", title=f"{depth} hidden layers")
    return shown


def _rates(ax, results, best, rates):
    """Validation loss against epochs, for each learning rate of the best architecture."""
    shades = np.linspace(0.25, 1.0, len(rates))
    for rate, shade in zip(rates, shades, strict=True):
        if (model := results.get((*best[:2], rate))) is not None:
            curve = model.validation_loss_curve_
            ax.plot(np.arange(1, len(curve) + 1), curve, color=BLUE, alpha=shade, lw=1.5)
            label = f"{rate:.0e}".replace("e-0", "e−")
            ax.annotate(label, (len(curve), curve[-1]), (3, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set(xlabel="epoch", ylabel="validation loss", title=f"{best[0]} × {best[1]}: the rate decides")
    ax.margins(x=0.02)
    ax.set_xlim(right=ax.get_xlim()[1] * 1.16)


def _screening(ax, few, losses, best):
    x, y = (np.array([table[key] for key in losses]) for table in (few, losses))
    ax.loglog(x, y, "o", color=BLUE, ms=4, alpha=0.7)
    ax.loglog(few[best], losses[best], "*", color=RED, ms=12)
    ax.set(xlabel="validation loss after a few epochs", ylabel="lowest of all epochs", title="Would a few have told?")
    ax.minorticks_off()
    for axis, values in ((ax.xaxis, x), (ax.yaxis, y)):
        ticks = [t for t in (0.3, 0.5, 0.7, 1.0, 1.5, 2.0) if values.min() * 0.95 <= t <= values.max() * 1.05]
        axis.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])


def _searches(ax, losses, random):
    """The lowest loss so far, for the mean order of the grid and for the random search."""
    rng, values = np.random.default_rng(0), np.array(list(losses.values()))
    orders = np.minimum.accumulate([rng.permutation(values) for _ in range(500)], axis=1)
    runs = np.arange(1, len(values) + 1)
    ax.fill_between(runs, *np.quantile(orders, [0.1, 0.9], axis=0), color=BLUE, alpha=0.2, lw=0)
    ax.plot(runs, np.median(orders, axis=0), color=BLUE, label="grid, in random order")
    ax.plot(
        np.arange(1, len(random) + 1), np.minimum.accumulate(random), color=ORANGE, marker=".", label="random search"
    )
    ax.set(xlabel="runs", ylabel="lowest validation loss so far", title="Grid and random search")
    ax.legend(fontsize=8)


def _learning(ax, sizes, errors):
    mean, spread = errors.mean(axis=1), errors.std(axis=1)
    ax.errorbar(sizes, mean, spread, color=BLUE, marker="o", ms=4, capsize=3)
    slope, offset = np.polyfit(np.log(sizes), np.log(mean), 1)
    ax.plot(sizes, np.exp(offset) * np.array(sizes) ** slope, color=GREY, ls=":", label=f"slope {slope:.2f}")
    ax.set(xscale="log", yscale="log", xlabel="training curves", ylabel="1 − accuracy", title="More data would help")
    ax.minorticks_off()
    ax.set_xticks(sizes, sizes)
    ticks = [t for t in (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7) if mean.min() * 0.9 <= t <= mean.max() * 1.1]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.legend(fontsize=9)
