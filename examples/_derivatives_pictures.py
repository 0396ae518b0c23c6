"""The picture of derivatives.py: matplotlib only."""

from __future__ import annotations

from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, RED


def draw(plt: Any, curve: dict[str, Any], costs: Any, norms: dict[str, Any], weights: dict[str, Any]) -> Any:
    """Six panels: a graph, a tangent, two ways through the chain rule; σ′, vanishing gradients, two penalties."""
    figure, axes = plt.subplots(2, 3, figsize=(10.7, 6.0), layout="constrained")
    draw_graph(axes[0, 0])
    draw_tangents(axes[0, 1], curve)
    draw_costs(axes[0, 2], costs)
    draw_sigmoid(axes[1, 0])
    draw_norms(axes[1, 1], norms)
    draw_penalties(axes[1, 2], weights)
    return figure


def draw_graph(ax: Any) -> None:
    """f = (a + b) c with its values, and the derivatives that flow back."""
    places = {"a": (0.12, 0.88), "b": (0.12, 0.52), "c": (0.12, 0.14), "+": (0.56, 0.78), "×": (0.88, 0.42)}
    values = {"a": "a = 2", "b": "b = 1", "c": "c = −3", "+": "+", "×": "×"}
    slopes = {"a": "∂f/∂a = c = −3", "b": "∂f/∂b = c = −3", "c": "∂f/∂c = a + b = 3"}
    for start, end in (("a", "+"), ("b", "+"), ("+", "×"), ("c", "×")):
        ax.annotate("", places[end], places[start], arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkB": 12,
                    "shrinkA": 22 if start in "abc" else 12, "lw": 1.3})  # fmt: skip
    for name, (x, y) in places.items():
        shape = "circle,pad=0.25" if name in "+×" else "round,pad=0.35"
        ax.text(x, y, values[name], ha="center", va="center", fontsize=12, color=BLUE if name in "abc" else BLACK,
                bbox={"boxstyle": shape, "fc": "white", "ec": BLACK})  # fmt: skip
        if name in slopes:
            ax.text(x - 0.1, y - 0.15, slopes[name], color=RED)
    for (x, y), value, slope in ((places["+"], "a + b = 3", "−3"), (places["×"], "f = −9", "1")):
        ax.text(x + 0.02, y + 0.11, value, color=BLUE, ha="center")
        ax.text(x + 0.01, y - 0.18, slope, color=RED, ha="center")
    ax.text(0.8, 0.94, "values", color=BLUE)
    ax.text(0.8, 0.85, "derivatives", color=RED)
    ax.set(xlim=(0, 1.08), ylim=(-0.06, 1.0), title="f = (a + b) c, forwards and backwards")
    ax.axis("off")


def draw_tangents(ax: Any, curve: dict[str, Any]) -> None:
    ax.plot(curve["values"], curve["losses"], color=BLACK, lw=1.8)
    for value, loss, slope, _ in curve["tangents"]:
        along = np.array([-0.7, 0.7])
        ax.plot(value + along, loss + slope * along, color=RED, lw=1.6)
        ax.plot(value, loss, "o", color=RED, ms=5)
    ax.plot([], [], color=RED, label="tangent from backpropagation")
    ax.set(xlabel="one weight w", ylabel="loss", title="The loss along one weight", ylim=(0, None))
    ax.legend(loc="upper center", fontsize=9)


def draw_costs(ax: Any, costs: Any) -> None:
    """Time against the number of weights."""
    n, forward, reverse, forwards = costs.T
    ax.loglog(n, 1e3 * forwards, "s--", color=ORANGE, ms=4, label="all derivatives, forward mode: a walk each")
    ax.loglog(n, 1e3 * reverse, "o-", color=BLUE, ms=4, label="all derivatives, reverse mode: one walk")
    ax.loglog(n, 1e3 * forward, "o-", color=GREY, ms=4, label="the value alone")
    ax.set(xlabel="number of weights", ylabel="time / ms", title="Reverse mode costs a few values",
           ylim=(None, 1e3 * forwards.max() * 60))  # fmt: skip
    ax.legend(loc="upper left", fontsize=9)


def draw_sigmoid(ax: Any) -> None:
    x = np.linspace(-8, 8, 201)
    y = 1 / (1 + np.exp(-x))
    ax.plot(x, y, color=BLUE, lw=1.8, label="σ(x)")
    ax.plot(x, y * (1 - y), color=RED, lw=1.8, label="σ′(x)")
    ax.axhline(0.25, color=GREY, lw=0.8, ls=":")
    ax.text(-7.8, 0.27, "1/4", color=GREY)
    ax.set(xlabel="x", title="The sigmoid's slope is at most 1/4")
    ax.legend(loc="center right")


def draw_norms(ax: Any, norms: dict[str, Any]) -> None:
    """Gradient norms per layer."""
    layers = np.arange(1, 11)
    for (name, values), colour in zip(norms.items(), (RED, GREEN), strict=True):
        ax.semilogy(layers, values, "o-", color=colour, ms=4, label=name)
    bound = norms["sigmoid"][-1] * 4.0 ** (layers - 10)
    ax.semilogy(layers, bound, color=GREY, ls="--", label="4⁻ᴸ, L layers below the tenth")
    ax.set(xlabel="layer", ylabel="norm of its gradient", title="Ten layers: the gradient vanishes, or not",
           xticks=layers, ylim=(None, 1e5))  # fmt: skip
    ax.legend(loc="upper left", fontsize=9)


def draw_penalties(ax: Any, weights: dict[str, Any]) -> None:
    places = np.arange(4)
    for shift, (name, w), colour in ((-0.2, ("L1", weights["L1"]), ORANGE), (0.2, ("L2", weights["L2"]), BLUE)):
        ax.bar(places + shift, w, 0.36, color=colour, label=f"{name}: " + ("as it began" if name == "L1" else "even"))
    ax.set_xticks(places, ["w₁", "w₂", "w₃", "w₄"])
    ax.set(ylabel="weight after descent", title="w · (1, 1, 1, 1) = 1, with a penalty", ylim=(0, 1))
    ax.legend()
