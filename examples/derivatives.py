"""Derivatives by hand and by program: the chain rule forwards and backwards, and what becomes of it in a deep network.

Every derivative that the courses work out on paper is done twice here, by its formula and by `backward()`.

* f = (a + b) c: ∂f/∂a = c (row 29). A linear model with a linear activation, ŷ = A z, z = w₁x + b:
  ∂J/∂w₁ = −2A x [y − A(w₁x + b)] (row 30). The mean squared error of two features:
  ∂J/∂w₀ = (2/N) Σ [y − (w₀x₀ + w₁x₁)](−x₀) (row 25).
* The loss against one weight of a network, and its tangent from backpropagation; finite differences; how many updates
  an epoch has (row 11).
* y = f(g(h(x))): forward accumulation (jvp) follows one direction of x, reverse accumulation (vjp) gives the
  derivative in all directions for the cost of a few forward passes (row 23; Baur and Strassen, 1983).
* Vanishing gradients: σ′ is at most 1/4, so ten sigmoid layers multiply the gradient by less than 4⁻⁹; not so ReLU with
  Xavier's initialisation and batch norm (row 31; Glorot and Bengio, 2010).
* Two weight vectors that fit equally well, (1, 0, 0, 0) and (¼, ¼, ¼, ¼): the L2 penalty prefers the second, L1 does
  not care (row 35).

    python examples/derivatives.py
"""

from __future__ import annotations

import math
import time

import numpy as np
from _derivatives_pictures import draw
from _example import Report, parser, start

import tinynn
from tinynn import nn, optim
from tinynn.data import DataLoader, TensorDataset


def derivatives_on_paper(report):
    """Rows 29, 30, 25: exact where the numbers are, else to rounding."""
    a, b, c = (tinynn.tensor(value, requires_grad=True) for value in (2.0, 1.0, -3.0))
    ((a + b) * c).backward()
    wrong = abs(a.grad.item() - c.item()) + abs(b.grad.item() - c.item()) + abs(c.grad.item() - (a + b).item())
    report.number(29, "f = (a + b) c: gradient - formula", wrong, "== 0", quick="== 0")

    slope, x, y = 2.0, 1.5, 4.0  # of the activation, A; input; target
    w, bias = (tinynn.tensor(value, requires_grad=True) for value in (0.75, -0.5))
    ((y - slope * (w * x + bias)) ** 2).backward()
    formula = -2 * slope * x * (y - slope * (w.item() * x + bias.item()))
    report.number(30, "linear activation: ∂J/∂w₁ - formula", abs(w.grad.item() - formula), "== 0", quick="== 0")

    rng = np.random.default_rng(report.options.seed)
    x, y, w = rng.standard_normal((50, 2)), rng.standard_normal(50), rng.standard_normal(2)
    weights = tinynn.tensor(w, requires_grad=True)
    nn.functional.mse_loss(tinynn.tensor(x) @ weights, tinynn.tensor(y)).backward()
    formula = [2 / len(x) * ((y - x @ w) * -x[:, k]).sum() for k in (0, 1)]
    wrong = np.abs(weights.grad.numpy() - formula).max()
    report.number(25, "two features: ∂J/∂w - formula", wrong, "<= 1e-12", quick="<= 1e-12")


def loss_against_one_weight(report):
    """Row 11: the loss along one weight, everything else held; the derivative at some of its values."""
    x = tinynn.linspace(-2.0, 2.0, 50).reshape(-1, 1)
    y = tinynn.sin(2 * x)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    weight, before = model[2].weight, model[2].weight.numpy().copy()

    def loss_at(value):
        weight.assign_(np.concatenate([[[value]], before[:, 1:]], axis=1))
        return nn.functional.mse_loss(model(x), y)

    values = np.linspace(-3, 3, 61)
    losses = [loss_at(value).item() for value in values]
    tangents, h = [], 1e-5
    for value in (-2.0, float(before[0, 0]), 1.5):
        loss = loss_at(value)
        slope = tinynn.grad(loss, weight)[0, 0].item()
        difference = (loss_at(value + h).item() - loss_at(value - h).item()) / (2 * h)
        tangents.append((value, loss.item(), slope, abs(difference - slope)))
    weight.assign_(before)
    wrong = max(error for *_, error in tangents)
    report.number(11, "backpropagation - finite difference", wrong, "<= 1e-7", quick="<= 1e-7")

    optimizer, updates, epochs, batch = optim.SGD(model.parameters(), lr=0.05), 0, 3, 8
    for _ in range(epochs):
        for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True, seed=0):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(inputs), targets).backward()
            optimizer.step()
            updates += 1
    expected = math.ceil(len(x) / batch) * epochs
    report.number(11, "updates - ⌈N/n⌉ · epochs, N = 50, n = 8", updates - expected, "== 0", quick="== 0")
    return {"values": values, "losses": losses, "tangents": tangents}


def fastest(function, repeats):
    """The shortest of some times that a call kept the processor busy, in seconds."""
    function()
    durations = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        durations.append(time.process_time() - begin)
    return min(durations)


def forward_and_reverse(report):
    """Row 23: both ways through y = f(g(h(x))) agree; reverse costs a few forward passes, however long x is."""
    rng = np.random.default_rng(report.options.seed)
    inner, outer = tinynn.tensor(rng.standard_normal((30, 20))), tinynn.tensor(rng.standard_normal((10, 30)))

    def composed(x):  # h: a product, g: tanh, f: a product and an exponential
        return tinynn.exp(0.1 * (outer @ tinynn.tanh(inner @ x)))

    x, t, v = (tinynn.tensor(rng.standard_normal(n)) for n in (20, 20, 10))
    _, forwards = tinynn.func.jvp(composed, (x,), (t,))
    _, pullback = tinynn.func.vjp(composed, x)
    left, right = (v @ forwards).item(), (pullback(v)[0] @ t).item()
    report.number(23, "v · (J t) - (v J) · t, relative", abs(left - right) / abs(left), "<= 1e-12", quick="<= 1e-12")

    data, repeats = tinynn.tensor(rng.standard_normal((512, 64))), 5 if report.options.quick else 15
    costs = []
    for width in (2, 8, 32, 128, 512):
        w = tinynn.tensor(rng.standard_normal((64, width)) / 8)
        u = tinynn.tensor(rng.standard_normal((width, 64)) / math.sqrt(width))

        def f(w, u=u):  # one number, of 64 · width weights
            return tinynn.tanh(tinynn.tanh(data @ w) @ u).square().mean()

        direction = tinynn.ones_like(w)
        forward = fastest(lambda f=f, w=w: f(w), repeats)
        reverse = fastest(lambda f=f, w=w: tinynn.func.value_and_grad(f)(w), repeats)
        one_way = fastest(lambda f=f, w=w, direction=direction: tinynn.func.jvp(f, (w,), (direction,)), repeats)
        costs.append((w.size, forward, reverse, one_way * w.size))  # forwards, a walk for every weight
    ratio = costs[-1][2] / costs[-1][1]
    report.number(23, f"time of value and all {costs[-1][0]} derivatives / value", ratio, "<= 4", quick="<= 6")
    return np.array(costs)


def gradient_norms(make, seed, layers=10, width=64):
    """The norm of the gradient by the weights of each layer, before any training."""
    tinynn.manual_seed(seed)
    model = nn.Sequential(*[part for _ in range(layers) for part in make(width)], nn.Linear(width, 1))
    x, y = tinynn.randn(256, width), tinynn.randn(256, 1)
    nn.functional.mse_loss(model(x), y).backward()
    linear = [module for module in model if isinstance(module, nn.Linear)]
    return np.array([tinynn.norm(layer.weight.grad).item() for layer in linear[:layers]])


def relu_layer(width):
    layer = nn.Linear(width, width, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer, nn.BatchNorm1d(width), nn.ReLU()


def vanishing_gradients(report):
    """Row 31: the gradient falls from layer to layer by more than σ′ ≤ 1/4, or does not."""
    seed = report.options.seed
    norms = {
        "sigmoid": gradient_norms(lambda n: (nn.Linear(n, n), nn.Sigmoid()), seed),
        "ReLU, Xavier, batch norm": gradient_norms(relu_layer, seed),
    }
    x = tinynn.tensor([0.0, -1e4, 1e4], requires_grad=True)
    slopes = tinynn.grad(tinynn.sigmoid(x).sum(), x).tolist()
    report.number(31, "σ′(0)", slopes[0], "== 0.25", quick="== 0.25")
    report.number(31, "σ′(±10⁴)", max(slopes[1:]), "== 0", quick="== 0")
    depth = np.arange(9, 0, -1)  # layers between the k-th and the last
    falls = norms["sigmoid"][:-1] / norms["sigmoid"][-1]
    report.number(
        31, "sigmoid: |gradient|, layer k / layer 10, times 4ᴸ", max(falls * 4.0**depth), "<= 1", quick="<= 1"
    )
    ratio = norms["ReLU, Xavier, batch norm"][0] / norms["ReLU, Xavier, batch norm"][-1]
    report.number(31, "ReLU, Xavier, batch norm: |gradient|, layer 1 / layer 10", ratio, ">= 0.1", quick=">= 0.1")
    return norms


def penalties(report):
    """Row 35: of all w with w · (1, 1, 1, 1) = 1, gradient descent with an L2 penalty finds the even one."""
    one, even = np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 0.25)
    report.number(35, "L2 of (1, 0, 0, 0)", (one**2).sum(), "== 1", quick="== 1")
    report.number(35, "L2 of (¼, ¼, ¼, ¼)", (even**2).sum(), "== 0.25", quick="== 0.25")
    report.number(35, "L1 of the two: difference", np.abs(one).sum() - np.abs(even).sum(), "== 0", quick="== 0")
    found = {}
    for name, penalty in (("L1", tinynn.abs), ("L2", tinynn.square)):
        w = tinynn.tensor([0.85, 0.05, 0.05, 0.05], requires_grad=True)
        optimizer = optim.SGD([w], lr=0.2)
        for _ in range(4000):
            optimizer.zero_grad()
            ((w.sum() - 1) ** 2 + 0.01 * penalty(w).sum()).backward()
            optimizer.step()
        found[name] = w.numpy().copy()
    spread = np.ptp(found["L2"])
    report.number(35, "spread of w after descent with L2", spread, "<= 1e-6", quick="<= 1e-6")
    report.number(
        35, "spread of w after descent with L1: as at first, 0.8", np.ptp(found["L1"]), ">= 0.79", quick=">= 0.79"
    )
    return found


def main(arguments=None):
    options = parser(__doc__).parse_args(arguments)
    plt, report = start(options), Report(__file__, options)
    tinynn.manual_seed(options.seed)
    derivatives_on_paper(report)
    curve = loss_against_one_weight(report)
    costs = forward_and_reverse(report)
    norms = vanishing_gradients(report)
    weights = penalties(report)
    report.picture(draw(plt, curve, costs, norms, weights))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
