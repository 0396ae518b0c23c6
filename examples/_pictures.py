"""The pictures of perceptron.py and training_blueprint.py: matplotlib only, nothing about networks."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

VIRIDIS = matplotlib.colormaps["viridis"]
BLUE, RED, ORANGE, GREY = "#2b6cb0", "#c53030", "#dd6b20", "#718096"

# --------------------------------------------------------------------------------------------- perceptron.py


def boundary(ax: Any, w: Any, **style: Any) -> None:
    """The line w0 + w1 x1 + w2 x2 = 0."""
    foot = -w[0] * w[1:] / (w[1:] @ w[1:])
    ax.axline(foot, foot + np.array([-w[2], w[1]]), **style)


def scatter(ax: Any, p: Any, n: Any, title: str) -> None:
    ax.scatter(*p[:, 1:].T, s=22, c=BLUE, label="P", zorder=3)
    ax.scatter(*n[:, 1:].T, s=22, c=RED, marker="s", label="N", zorder=3)
    both = np.vstack([p, n])[:, 1:]
    low, high = both.min(axis=0) - 0.6, both.max(axis=0) + np.array([1.4, 0.6])
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title, xlabel="$x_1$", ylabel="$x_2$")
    ax.legend(loc="lower right", fontsize=8)


def draw_perceptron(
    figure: Any, clouds: Any, run: Any, lines: dict[str, Any], xor: Any, pairs: dict[str, Any], data: Any
) -> None:
    """Six panels: stages of learning, three lines, XOR; two curves, errors against epochs, accuracies."""
    axes = figure.subplots(2, 3)
    (p, n), ax = clouds, axes[0, 0]
    stages = [run.stages[i] for i in np.unique(np.linspace(0, len(run.stages) - 1, 6).round().astype(int))]
    for (count, w), shade in zip(stages, np.linspace(0.15, 0.9, len(stages)), strict=True):
        last = count == run.updates
        boundary(
            ax,
            w,
            color="k" if last else VIRIDIS(1 - shade),
            lw=2.4 if last else 1.4,
            label=f"{count} updates",
        )
    scatter(ax, p, n, "The perceptron's boundary as it learns")

    for (name, w), style in zip(lines.items(), ("-", "--", ":"), strict=True):
        boundary(axes[0, 1], w, color="k", ls=style, lw=1.8, label=name)
    scatter(axes[0, 1], p, n, "Three ways to a line")

    axes[0, 2].plot(np.arange(1, len(xor.errors) + 1), xor.errors, color="#805ad5", lw=0.8, marker=".", ms=4)
    axes[0, 2].set(ylim=(-0.2, 4.2), yticks=range(5), xlabel="epoch", ylabel="wrong points of 4",
                   xlim=(0, min(len(xor.errors), 100)),
                   title=f"XOR: {xor.updates} updates in {len(xor.errors)} epochs, never 0")  # fmt: skip

    r, curves, label, names = data["r"], data["G"], data["label"], data["classes"].tolist()
    for shift, name in enumerate(("octahedral", "hcp", "bcc", "fcc", "sc")):
        of_type = curves[label == names.index(name)]
        axes[1, 0].plot(r, of_type[2] + 1.3 * shift, lw=1.0)
        axes[1, 0].text(20, 0.25 + 1.3 * shift, name, ha="right", fontsize=9)
    axes[1, 0].set(title="Pair distribution functions: one particle each", xlabel="r / Å", yticks=[], ylabel="G(r)")

    for name, (result, _) in pairs.items():
        errors = np.maximum(result.errors, 0.5)
        axes[1, 1].loglog(np.arange(1, len(errors) + 1), errors, lw=1.2, label=name)
    axes[1, 1].set(title="Training errors: all four pairs reach zero", xlabel="epoch", ylabel="wrong curves",
                   yticks=[0.5, 1, 10, 100], yticklabels=["0", "1", "10", "100"])  # fmt: skip
    axes[1, 1].legend(fontsize=9)

    accuracies = [accuracy for _, accuracy in pairs.values()]
    bars = axes[1, 2].bar(list(pairs), accuracies, color=[BLUE if a > 0.75 else RED for a in accuracies], width=0.6)
    axes[1, 2].bar_label(bars, fmt="{:.2f}")
    axes[1, 2].axhline(0.5, color="0.5", ls=":")
    axes[1, 2].text(3.5, 0.505, "guessing", color="0.4", fontsize=8)
    axes[1, 2].set(
        xlim=(-0.5, 4.1), ylim=(0.4, 1.08), title="Accuracy on curves it has not seen", ylabel="test accuracy"
    )
    axes[1, 2].tick_params(axis="x", labelsize=8)


# ------------------------------------------------------------------------------------- training_blueprint.py


def draw_loss(ax: Any, writer: Any, title: str) -> None:
    """Training and validation loss against steps; a circle where the model that was kept stood."""
    for tag, colour in (("Loss/train", BLUE), ("Loss/val", ORANGE)):
        steps, values = np.array(writer.series[tag]).T
        ax.semilogy(steps, values, color=colour, lw=1.0, label=tag, alpha=0.9)
    best = values.argmin()
    ax.plot(
        steps[best],
        values[best],
        "o",
        ms=9,
        mfc="none",
        mec="k",
        label=f"kept: step {steps[best]:.0f}",
        zorder=4,
    )
    ax.set(title=title, xlabel="updates", ylabel="loss")
    ax.legend(fontsize=9)


def draw_h2(ax: Any, plain: dict[str, Any], times_r: dict[str, Any]) -> None:
    """The curve with the points learnt from, and below it the errors of both fits."""
    r, e, parts, line = plain["r"], plain["e"], plain["parts"], np.linspace(0.4, 10, 400)[:, None]
    ax.plot(line, times_r["energy"](line), color="k", lw=1.2, label="fit of R·E")
    ax.plot(r[parts["train"]], e[parts["train"]], "o", ms=3.5, color=BLUE, label="training points")
    ax.plot(r[parts["test"]], e[parts["test"]], "s", ms=3, color=RED, label="test points")
    ax.set(title="H2: energy against bond length", xlabel="R / bohr", ylabel="E / hartree", ylim=(-0.2, 0.35))
    ax.legend(fontsize=9, loc="lower right")
    inset = ax.inset_axes((0.42, 0.58, 0.56, 0.39))
    for fit, name, colour in ((plain, "E", GREY), (times_r, "R·E", "k")):
        inset.plot(r, 1e6 * (fit["energy"](r) - e), color=colour, lw=1.0, label=f"fit of {name}: {fit['error']:.0f}")
    inset.set(ylim=(-900, 1700), ylabel="error / µEh")
    inset.tick_params(labelsize=8)
    inset.legend(fontsize=8, title="test RMSE / µEh", title_fontsize=8, loc="upper right", ncols=2)


def draw_confusion(ax: Any, types: dict[str, Any]) -> None:
    """How many test particles of each type (rows) were taken for which (columns)."""
    counts = types["confusion"]
    ax.imshow(counts, cmap="Blues", vmax=counts.max() * 1.3)
    for i, j in np.ndindex(*counts.shape):
        if counts[i, j]:
            ax.text(j, i, counts[i, j], ha="center", va="center", color="k" if i == j else RED)
    title = f"Test accuracy {types['accuracy']:.2f}, and {types['merged']:.2f} with fcc = octahedral"
    ax.set(ylabel="true", xlabel="taken for", title=title)
    ax.set_xticks(range(len(counts)), types["names"], rotation=30, ha="right")
    ax.set_yticks(range(len(counts)), types["names"])
