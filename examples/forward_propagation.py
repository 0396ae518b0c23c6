"""Forward propagation with numbers small enough to check by hand, and the way back, line by line.

A network with three inputs, three hidden neurons and two outputs, all sigmoid, is computed by loops, by
matrices and by `tinynn.nn`. Then one backward pass is printed: every gradient with the formula that gives it,
the saved value that the formula needs, and a finite difference beside it.

    python examples/forward_propagation.py
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinynn
from tinynn import nn

X = np.array([0.5, 0.9, -0.3])  # the input
W1 = np.array([[1.0, -2.0, 2.0], [2.0, 1.0, -4.0], [1.0, -1.0, 0.0]])  # one row of weights per hidden neuron
W2 = np.array([[-3.0, 1.0, -3.0], [0.0, 1.0, 2.0]])  # one row per output neuron
TARGET = np.array([1.0, 0.0])  # what the output should have been, for the backward pass

MISSED: list[str] = []


def check(what: str, value: Any, expected: Any, tolerance: float) -> bool:
    """Print a number beside the expected one, and remember it if it differs by more than the tolerance."""
    difference = float(np.max(np.abs(np.asarray(value) - np.asarray(expected))))
    right = difference <= tolerance
    if not right:
        MISSED.append(what)
    numbers = [np.array2string(np.asarray(v), precision=4, floatmode="maxprec") for v in (value, expected)]
    verdict = "OK" if right else "MISSED"
    print(f"  {what:<34} {numbers[0]:<27} expected {numbers[1]:<22} within {tolerance:g}  {verdict}")
    return right


# ------------------------------------------------------------------------------------------- the way forward


def by_loops(x: Sequence[float], layers: Sequence[Any], bias: float = 0.0) -> list[tuple[list[float], list[float]]]:
    """Pre-activations z_j = Σ_i w_ji x_i + b and activations 1 / (1 + exp(-z_j)) of each layer."""
    results = []
    for weights in layers:
        z, a = [], []
        for row in weights:
            total = bias
            for w, value in zip(row, x, strict=True):
                total += w * value
            z.append(total)
            a.append(1.0 / (1.0 + math.exp(-total)))
        results.append((z, a))
        x = a
    return results


def by_matrices(x: Any, layers: Sequence[Any], bias: float = 0.0) -> list[tuple[Any, Any]]:
    """The same, a layer at a time: a = sigmoid(W x + b)."""
    results = []
    for weights in layers:
        z = weights @ x + bias
        x = tinynn.sigmoid(z)
        results.append((z, x))
    return results


def as_model(layers: Sequence[Any], bias: float | None = None) -> nn.Sequential:
    """The same as a `nn.Sequential` of Linear and Sigmoid, its weights assigned."""
    parts: list[nn.Module] = []
    for weights in layers:
        linear = nn.Linear(weights.shape[1], weights.shape[0], bias=bias is not None)
        linear.weight.assign_(weights)
        if bias is not None:
            linear.bias.assign_(np.full(weights.shape[0], bias))
        parts += [linear, nn.Sigmoid()]
    return nn.Sequential(*parts)


# ---------------------------------------------------------------------------------------------- the way back


def finite_difference(function: Callable[[Any], float], at: Any, step: float = 1e-5) -> Any:
    """df/dx_i ≈ (f(x + h e_i) - f(x - h e_i)) / 2h for every element of ``at``."""
    slopes = np.empty_like(at)
    for index in np.ndindex(at.shape):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        slopes[index] = (ends[0] - ends[1]) / (2 * step)
    return slopes


def backward_line_by_line(
    x: Any = X, w1: Any = W1, w2: Any = W2, target: Any = TARGET, bias: float = 0.1
) -> list[dict[str, Any]]:
    """Every gradient of L = ½ Σ (o - t)²: by its formula, by tinynn, and by finite differences.

    Returns
    -------
    One dict per quantity, in the order of the walk back: name, formula, needs (what the forward pass had to
    keep), and the three results: by_hand, automatic, numerical.
    """
    b1, b2 = np.full(len(w1), bias), np.full(len(w2), bias)
    given = {"x": x, "W1": w1, "b1": b1, "W2": w2, "b2": b2}
    t = {name: tinynn.tensor(value, requires_grad=True) for name, value in given.items()}
    t["z1"] = t["W1"] @ t["x"] + t["b1"]
    t["h"] = tinynn.sigmoid(t["z1"])
    t["z2"] = t["W2"] @ t["h"] + t["b2"]
    t["o"] = tinynn.sigmoid(t["z2"])
    loss = 0.5 * ((t["o"] - target) ** 2).sum()

    # By hand, on plain arrays: each line uses the one before it, and what the forward pass left behind.
    h, o = t["h"].detach().numpy(), t["o"].detach().numpy()
    do = o - target
    dz2 = do * o * (1 - o)
    dh = w2.T @ dz2
    dz1 = dh * h * (1 - h)
    lines = [
        ("o", "o − t", "o", do),
        ("z2", "dL/do · o (1 − o)", "o", dz2),
        ("b2", "dL/dz2", "nothing", dz2),
        ("W2", "dL/dz2 ⊗ h", "h", np.outer(dz2, h)),
        ("h", "W2ᵀ dL/dz2", "W2", dh),
        ("z1", "dL/dh · h (1 − h)", "h", dz1),
        ("b1", "dL/dz1", "nothing", dz1),
        ("W1", "dL/dz1 ⊗ x", "x", np.outer(dz1, x)),
        ("x", "W1ᵀ dL/dz1", "W1", w1.T @ dz1),
    ]

    def loss_with(name: str, value: Any) -> float:
        """L when the quantity ``name`` is set to ``value`` and everything after it follows."""
        v = {**given, name: value}
        v["z1"] = v.get("z1", v["W1"] @ v["x"] + v["b1"])
        v["h"] = v.get("h", tinynn.sigmoid(v["z1"]))
        v["z2"] = v.get("z2", v["W2"] @ v["h"] + v["b2"])
        v["o"] = v.get("o", tinynn.sigmoid(v["z2"]))
        return float(0.5 * ((v["o"] - target) ** 2).sum())

    automatic = tinynn.grad(loss, [t[name] for name, *_ in lines])
    return [
        {
            "name": name, "formula": formula, "needs": needs,
            "by_hand": by_hand, "automatic": gradient.numpy(),
            "numerical": finite_difference(lambda v, name=name: loss_with(name, v), t[name].detach().numpy()),
        }
        for (name, formula, needs, by_hand), gradient in zip(lines, automatic, strict=True)
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------- the picture


def plot_network(
    ax: Any, nodes: Sequence[Any], weights: Sequence[Any], titles: Sequence[str] = (), inside: str = "{:.2f}",
    above: Sequence[Any] | None = None, on_edges: str = "{:g}",
) -> None:  # fmt: skip
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
    import matplotlib as mpl

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
            colour = "0.8" if w == 0 else "#2b6cb0" if w > 0 else "#c53030"
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


def draw(path: Path, show: bool) -> None:
    """The network going forward, going back, and with a bias, as one picture."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(9.5, 9.4), layout="constrained")
    (z1, h), (z2, o) = by_matrices(X, [W1, W2])
    plot_network(axes[0], [X, h, o], [W1, W2], ["input x", "hidden h = σ(W₁x)", "output o = σ(W₂h)"],
                 above=[None, [f"z = {z:.1f}" for z in z1], [f"z = {z:.2f}" for z in z2]])  # fmt: skip
    axes[0].set_title("Forward: values in the circles, weights on the lines", fontsize=13, loc="left")
    g = {line["name"]: line["automatic"] for line in backward_line_by_line(bias=0.0)}
    plot_network(axes[1], [g["x"], g["h"], g["o"]], [g["W1"], g["W2"]], ["dL/dx", "dL/dh", "dL/do = o − t"],
                 above=[None, [f"dL/dz = {z:+.4f}" for z in g["z1"]], [f"dL/dz = {z:+.3f}" for z in g["z2"]]],
                 inside="{:+.3f}", on_edges="{:+.3f}")  # fmt: skip
    axes[1].set_title(
        "Backward: dL/d(value) in the circles, dL/d(weight) on the lines, for L = ½ Σ(o − t)²"
        f", t = ({TARGET[0]:g}, {TARGET[1]:g})", fontsize=13, loc="left",
    )  # fmt: skip
    figure.savefig(path, dpi=130)
    if show:
        plt.show()
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the random network that the three ways also agree on")
    parser.add_argument("--quick", action="store_true", help="one random network instead of twenty")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture (default: out)")
    parser.add_argument("--show", action="store_true", help="open the picture in a window as well")
    options = parser.parse_args(arguments)
    MISSED.clear()

    print("1. Forward, three ways: W x, then the sigmoid, layer by layer")
    for title, results in (("by loops", by_loops(X, [W1, W2])), ("by matrices", by_matrices(X, [W1, W2]))):
        (z1, h), (z2, o) = results
        check(f"{title}: hidden z", z1, [-1.9, 3.1, -0.4], 1e-12)
        check(f"{title}: hidden σ(z)", h, [0.13, 0.96, 0.40], 0.005)
        check(f"{title}: output z", z2, [-0.6374, 1.7595], 5e-5)
        check(f"{title}: output σ(z)", o, [0.3458, 0.8531], 5e-5)
    with tinynn.no_grad():
        check("by nn: output", as_model([W1, W2])(tinynn.tensor(X)).numpy(), [0.3458, 0.8531], 5e-5)

    print("\n2. With a bias of 0.1")
    [(z1, h)] = by_matrices(X, [W1], 0.1)
    check("hidden z", z1, [-1.8, 3.2, -0.3], 1e-12)
    check("hidden σ(z)", h, [0.14, 0.96, 0.43], 0.005)
    check("output, bias in hidden layer only", tinynn.sigmoid(W2 @ h), [0.3227, 0.8596], 5e-5)
    check("output, bias in both layers", by_matrices(X, [W1, W2], 0.1)[1][1], [0.3449, 0.8712], 5e-5)
    with tinynn.no_grad():
        check(
            "by nn: bias in both layers",
            as_model([W1, W2], 0.1)(tinynn.tensor(X)).numpy(),
            [0.3449, 0.8712],
            5e-5,
        )

    print("\n3. The three ways agree on random networks")
    rng, worst = np.random.default_rng(options.seed), 0.0
    for _ in range(1 if options.quick else 20):
        sizes = rng.integers(1, 9, size=4)
        layers = [rng.standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]
        x = rng.standard_normal(sizes[0])
        with tinynn.no_grad():
            outputs = [
                by_loops(x, layers, 0.1)[-1][1],
                by_matrices(x, layers, 0.1)[-1][1],
                as_model(layers, 0.1)(tinynn.tensor(x)).numpy(),
            ]
        worst = max(worst, float(np.ptp(outputs, axis=0).max()))
    check("largest difference", worst, 0.0, 1e-14)

    print("\n4. Backward, smallest case: f = (a + b) c at a = -2, b = 5, c = -4")
    a, b, c = (tinynn.tensor(value, requires_grad=True) for value in (-2.0, 5.0, -4.0))
    f = (a + b) * c
    f.backward()
    check("f", f.item(), -12.0, 0.0)
    check("∂f/∂a = c", a.grad.item(), c.item(), 0.0)
    check("∂f/∂b = c", b.grad.item(), c.item(), 0.0)
    check("∂f/∂c = a + b", c.grad.item(), 3.0, 0.0)

    print(f"\n5. Backward, newest result first: bias 0.1, L = ½ Σ (o − t)², t = {tuple(TARGET.tolist())}")
    for line in backward_line_by_line():
        print(f"\n  dL/d{line['name']} = {line['formula']}     (kept from the forward pass: {line['needs']})")
        for title in ("by_hand", "automatic", "numerical"):
            body = np.array2string(np.asarray(line[title]), precision=6, suppress_small=True, prefix=" " * 26)
            print(f"      {title.replace('_', ' '):<18}{body}")
        check("automatic - by hand", np.max(np.abs(line["automatic"] - line["by_hand"])), 0.0, 1e-15)
        check("automatic - numerical", np.max(np.abs(line["automatic"] - line["numerical"])), 0.0, 1e-9)

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "forward_propagation.png"
    if not options.show:
        import matplotlib

        matplotlib.use("Agg")
    draw(path, options.show)
    print(f"\nwrote {path}")
    print("every number as expected" if not MISSED else f"MISSED: {', '.join(MISSED)}")
    return 1 if MISSED else 0


if __name__ == "__main__":
    raise SystemExit(main())
