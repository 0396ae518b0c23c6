"""The picture of universal_approximation.py: three functions, networks of growing width, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, RED


def draw(plt: Any, functions: Any, runs: Any, widths: Any, median: Any) -> Any:
    figure = plt.figure(figsize=(11, 6.6), layout="constrained")
    axes = figure.subplots(2, 3)
    for column, (name, (function, low, high)) in enumerate(functions.items()):
        draw_fits(axes[0, column], name, function, (low, high), runs)
        draw_errors(axes[1, column], widths, median["trained"][name], median["solved"][name])
    for ax in axes[0]:
        ax.legend(fontsize=9)
    axes[1, 0].legend(fontsize=9, loc="lower left")
    axes[0, 0].set_ylabel("y")
    axes[1, 0].set_ylabel("root mean square error")
    return figure


def draw_fits(ax: Any, name: str, function: Any, interval: Any, runs: Any) -> None:
    """The best of the seeds for three widths, above the function."""
    x = np.linspace(*interval, 500)
    ax.plot(x, function(x), color=GREY, lw=4, alpha=0.5, label=name)
    for width, colour in ((1, RED), (2, ORANGE), (4, BLUE)):
        run = min(runs[name, width], key=lambda run: run["trained"])
        ax.plot(run["x"], run["curve"], color=colour, lw=1.3, label=f"{width} neuron" + "s" * (width > 1))
    ax.set(title=name, xlabel="r / σ" if "Jones" in name else "x")


def draw_errors(ax: Any, widths: Any, trained: Any, solved: Any) -> None:
    ax.loglog(widths, trained, "o-", color=BLACK, ms=5, label="trained (Adam)", base=10)
    ax.loglog(widths, solved, "s--", color=GREEN, ms=5, label="the same steps, $w_1$ solved", base=10)
    ax.set(xlabel="neurons in the hidden layer", ylim=(1e-12, 2))
    ax.set_xticks(widths, [f"{width}" for width in widths])
    ax.minorticks_off()
