"""Forward propagation with numbers small enough to check by hand, and the way back, line by line (rows 39 to 42).

A network with three inputs, three hidden neurons and two outputs, all sigmoid, is computed by loops, by matrices
(row 40: a = σ(W x + b), a layer at a time) and by `tinynn.nn`; the numbers are those of the course, rounded there to
two digits (row 39). Then one backward pass is printed: every gradient with the formula that gives it, the saved value
that the formula needs, and a finite difference beside it.

A network is a graph (row 41): M_ij = 1 if neuron j feeds neuron i. In layers, nothing flows back, so that M has no
power beyond the number of layers; in a graph like that of a nervous system it may. `plot_network` draws any small
network with its numbers (row 42).

    python examples/forward_propagation.py
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from _example import Report, parser, start
from _forward_propagation_pictures import draw_graphs, plot_network

import tinynn
from tinynn import nn

X = np.array([0.5, 0.9, -0.3])  # the input
W1 = np.array([[1.0, -2.0, 2.0], [2.0, 1.0, -4.0], [1.0, -1.0, 0.0]])  # one row of weights per hidden neuron
W2 = np.array([[-3.0, 1.0, -3.0], [0.0, 1.0, 2.0]])  # one row per output neuron
TARGET = np.array([1.0, 0.0])  # what the output should have been, for the backward pass


# ------------------------------------------------------------------------------------------- the way forward


def by_loops(x, layers, bias=0.0):
    """Pre-activations z_j = Σ_i w_ji x_i + b and activations 1 / (1 + exp(−z_j)) of each layer."""
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


def by_matrices(x, layers, bias=0.0):
    """The same, a layer at a time: a = σ(W x + b)."""
    results = []
    for weights in layers:
        z = weights @ x + bias
        x = tinynn.sigmoid(z)
        results.append((z, x))
    return results


def as_model(layers, bias=None):
    """The same as a `nn.Sequential` of Linear and Sigmoid, its weights assigned."""
    parts = []
    for weights in layers:
        linear = nn.Linear(weights.shape[1], weights.shape[0], bias=bias is not None)
        linear.weight.assign_(weights)
        if bias is not None:
            linear.bias.assign_(np.full(weights.shape[0], bias))
        parts += [linear, nn.Sigmoid()]
    return nn.Sequential(*parts)


# ---------------------------------------------------------------------------------------------- the way back


def finite_difference(function, at, step=1e-5):
    """df/dx_i ≈ (f(x + h e_i) − f(x − h e_i)) / 2h for every element of ``at``."""
    slopes = np.empty_like(at)
    for index in np.ndindex(at.shape):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        slopes[index] = (ends[0] - ends[1]) / (2 * step)
    return slopes


def backward_line_by_line(x=X, w1=W1, w2=W2, target=TARGET, bias=0.1):
    """Every gradient of L = ½ Σ (o − t)²: by its formula, by tinynn, and by finite differences.

    Returns
    -------
    One dict per quantity, in the order of the walk back: name, formula, needs (what the forward pass had to
    keep), and the three results: by_hand, automatic, numerical.
    """
    given = {"x": x, "W1": w1, "b1": np.full(len(w1), bias), "W2": w2, "b2": np.full(len(w2), bias)}

    def forward(v):
        """Everything in order; what is given already stays."""
        v.setdefault("z1", v["W1"] @ v["x"] + v["b1"])
        v.setdefault("h", tinynn.sigmoid(v["z1"]))
        v.setdefault("z2", v["W2"] @ v["h"] + v["b2"])
        v.setdefault("o", tinynn.sigmoid(v["z2"]))
        return 0.5 * ((v["o"] - target) ** 2).sum()

    t = {name: tinynn.tensor(value, requires_grad=True) for name, value in given.items()}
    loss = forward(t)

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
    automatic = tinynn.grad(loss, [t[name] for name, *_ in lines])
    return [
        {
            "name": name, "formula": formula, "needs": needs, "by_hand": by_hand, "automatic": gradient.numpy(),
            "numerical": finite_difference(lambda v, n=name: float(forward({**given, n: v})), t[name].detach().numpy()),
        }
        for (name, formula, needs, by_hand), gradient in zip(lines, automatic, strict=True)
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------- as graphs


def layered_graph(sizes):
    """M of a fully connected network: M_ij = 1 where neuron j feeds neuron i, layer by layer."""
    ends = np.cumsum([0, *sizes])
    m = np.zeros((ends[-1], ends[-1]), int)
    for a, b, c in zip(ends, ends[1:], ends[2:]):
        m[b:c, a:b] = 1
    return m


def random_graph(nodes, connections, rng):
    """M of a directed graph in which any neuron may feed any other one (the course shows 13 with 18 connections)."""
    m = np.zeros((nodes, nodes), int)
    m[
        *np.array([(i, j) for i, j in np.ndindex(m.shape) if i != j])[rng.permutation(nodes**2 - nodes)[:connections]].T
    ] = 1
    return m


def longest_way(m):
    """How many connections one can go along one after the other: the largest k with Mᵏ ≠ 0; infinite in a cycle."""
    power, k = m, 0
    while power.any():
        power, k = (power @ m > 0).astype(int), k + 1
        if k == len(m):
            return math.inf
    return k


def main(arguments=None):
    options = parser(__doc__).parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)

    def deviation(row, what, values, expected, bar):
        print(f"  {what:<62} {np.array2string(np.asarray(values), precision=4)}")
        report.number(row, what + ": off by", np.abs(np.asarray(values) - expected).max(), bar, quick=bar)

    with tinynn.no_grad():
        layers = as_model([W1, W2])(tinynn.tensor(X)).numpy()
        with_bias = as_model([W1, W2], 0.1)(tinynn.tensor(X)).numpy()
    for title, results in (("loops", by_loops(X, [W1, W2])), ("matrices", by_matrices(X, [W1, W2]))):
        (z1, h), (z2, o) = results
        row = 39 if title == "loops" else 40
        deviation(row, f"{title}: hidden z", z1, [-1.9, 3.1, -0.4], "<= 1e-12")
        deviation(row, f"{title}: hidden σ(z)", h, [0.13, 0.96, 0.40], "<= 0.005")
        deviation(row, f"{title}: output z", z2, [-0.6374, 1.7595], "<= 5e-5")
        deviation(row, f"{title}: output σ(z)", o, [0.3458, 0.8531], "<= 5e-5")
    deviation(40, "nn: output", layers, [0.3458, 0.8531], "<= 5e-5")
    [(z1, h)] = by_matrices(X, [W1], 0.1)
    deviation(39, "bias 0.1: hidden σ(z)", h, [0.14, 0.96, 0.43], "<= 0.005")
    deviation(39, "bias 0.1 in the hidden layer: output", tinynn.sigmoid(W2 @ h), [0.3227, 0.8596], "<= 5e-5")
    deviation(39, "bias 0.1 in both layers, nn: output", with_bias, [0.3449, 0.8712], "<= 5e-5")

    rng, worst = np.random.default_rng(options.seed), 0.0
    for _ in range(20):
        sizes = rng.integers(1, 9, size=4)
        random = [rng.standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]
        x = rng.standard_normal(sizes[0])
        loops, matrices = by_loops(x, random, 0.1)[-1][1], by_matrices(x, random, 0.1)[-1][1]
        modules = as_model(random, 0.1)(tinynn.tensor(x)).detach().numpy()
        worst = max(worst, float(np.ptp([loops, matrices, modules], axis=0).max()))
    report.number(40, "20 random networks: the three ways differ by", worst, "<= 1e-14", quick="<= 1e-14")

    print(f"\n  Backward, newest result first: bias 0.1, L = ½ Σ (o − t)², t = {tuple(TARGET.tolist())}")
    lines = backward_line_by_line()
    for line in lines:
        print(f"    dL/d{line['name']:<3}= {line['formula']:<19} kept: {line['needs']:<8}",
              np.array2string(line["automatic"], precision=5, suppress_small=True, prefix=" " * 43))  # fmt: skip
    for title, bar in (("by_hand", "<= 1e-15"), ("numerical", "<= 1e-9")):
        off = max(np.abs(line["automatic"] - line[title]).max() for line in lines)
        report.number(39, f"nine gradients: automatic − {title.replace('_', ' ')}", off, bar, quick=bar)

    graphs = {"3-3-2 in layers": layered_graph((3, 3, 2)), "13 neurons": random_graph(13, 18, rng)}
    report.number(41, "13 neurons: connections", graphs["13 neurons"].sum(), "== 18", quick="== 18")
    report.number(41, "3-3-2 in layers: longest way", longest_way(graphs["3-3-2 in layers"]), "== 2", quick="== 2")

    figure, axes = plt.subplots(2, 1, figsize=(8, 8.2), layout="constrained")
    (z1, h), (z2, o) = by_matrices(X, [W1, W2])
    plot_network(axes[0], [X, h, o], [W1, W2], ["input x", "hidden h = σ(W₁x)", "output o = σ(W₂h)"],
                 above=[None, [f"z = {z:.1f}" for z in z1], [f"z = {z:.2f}" for z in z2]])  # fmt: skip
    axes[0].set_title("Forward: values in the circles, weights on the lines", loc="left")
    g = {line["name"]: line["automatic"] for line in backward_line_by_line(bias=0.0)}
    plot_network(axes[1], [g["x"], g["h"], g["o"]], [g["W1"], g["W2"]], ["dL/dx", "dL/dh", "dL/do = o − t"],
                 above=[None, [f"dL/dz = {z:+.4f}" for z in g["z1"]], [f"dL/dz = {z:+.3f}" for z in g["z2"]]],
                 inside="{:+.3f}", on_edges="{:+.3f}")  # fmt: skip
    axes[1].set_title("Backward: dL/d(value) in the circles, dL/d(weight) on the lines; L = ½ Σ(o − t)², t = (1, 0)",
                      loc="left")  # fmt: skip
    report.picture(figure)
    report.picture(draw_graphs(plt, graphs, longest_way), "graph")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
