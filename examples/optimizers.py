"""Optimizers racing downhill: Beale's function, Rosenbrock's valley, a long valley and a saddle (rows 5, 26, 27, 28).

* Gradient descent, θ ← θ − η ∇C, and momentum, v ← γ v − η ∇C, θ ← θ + v, are followed beside their formulas, to the
  last bit (row 5). Momentum as w(j+1) = w(j) − λ ∂L + α Δw(j−1) is the same trajectory (row 26).
* Adam as some scripts print it, without bias correction and with ε = 10⁻⁷ outside of the root, is an option, and equal
  to that program to the last bit; the default is Kingma and Ba's, arXiv:1412.6980 (row 27).
* Nine points in mini-batches of three: three updates are an epoch (row 5).
* How many steps each needs until f < 10⁻⁶, against PyTorch's numbers with the same settings (row 28). Momentum wins
  where one direction is steep and the other flat; methods that divide by the size of the gradient (AdaGrad, RMSProp,
  Adam) do not care about scales, and leave a saddle at once. After the animations of Alec Radford (2014).

A step is one compiled program of a few microseconds.

    python examples/optimizers.py
"""

from __future__ import annotations

import numpy as np
from _example import Report, parser, start
from _optimizers_pictures import animate, draw

import tinynn
from tinynn import optim
from tinynn.data import DataLoader, TensorDataset
from tinynn.nn.functional import mse_loss


def beale(p):
    x, y = p[0], p[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def long_valley(p):
    return 0.5 * (0.01 * p[0] ** 2 + 10 * p[1] ** 2)


def saddle(p):
    return p[0] ** 2 - p[1] ** 2


STARTS = {beale: (1.0, 1.5), rosenbrock: (-1.2, 1.0), long_valley: (9.0, 1.0), saddle: (1.0, 1e-3)}
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=1e-3),
    "momentum": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True),
    "AdaGrad": lambda p: optim.Adagrad(p, lr=0.1),
    "RMSProp": lambda p: optim.RMSprop(p, lr=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
}
LIMIT = 20_000  # steps; who needs more never arrives
PYTORCH = {  # steps to f < 1e-6
    beale: (16_485, 1_598, 1_602, 15_119, 910, 3_468),
    rosenbrock: (15_068, 1_386, 1_426, None, None, 4_215),
    long_valley: (None, None, None, 12_472, 1_185, 2_408),
}


def descend(f, begin, make, steps, until=-np.inf, compiled=True):
    """Where the optimizer goes: all points up to the first with f < until, and whether there was one."""
    p = tinynn.tensor(begin, requires_grad=True)
    optimizer = make([p])

    def step():
        optimizer.zero_grad()
        loss = f(p)
        loss.backward()
        optimizer.step()
        return loss  # before the step

    step = tinynn.compile(step) if compiled else step
    path = [p.numpy().copy()]
    for _ in range(steps):
        if step() < until:
            return np.array(path), True  # the last point
        path.append(p.numpy().copy())
    return np.array(path), False


def gradient_of(f, p):
    p = tinynn.tensor(p, requires_grad=True)
    return tinynn.grad(f(p), p).numpy()


def formulas(report, steps=300):
    """Rows 5, 26, 27: the optimizers beside the lines that the courses print, in NumPy, point by point."""
    w, eta, gamma = np.array(STARTS[beale]), 1 / 1024, 0.9  # η a power of two: it rounds nothing, wherever it stands
    plain, momentum, delta, printed = [w.copy()], [w.copy()], [w.copy()], [w.copy()]
    v = change = m = s = np.zeros(2)
    for _ in range(steps):
        plain.append(plain[-1] - 0.001 * gradient_of(beale, plain[-1]))

        v = gamma * v - eta * gradient_of(beale, momentum[-1])
        momentum.append(momentum[-1] + v)

        change = -eta * gradient_of(beale, delta[-1]) + gamma * change
        delta.append(delta[-1] + change)

        g = gradient_of(beale, printed[-1])
        m = 0.9 * m + (1 - 0.9) * g
        s = 0.999 * s + (1 - 0.999) * g**2
        printed.append(printed[-1] - 0.01 * m / (np.sqrt(s) + 1e-7))

    def difference(path, make):
        found, _ = descend(beale, w, make, steps, compiled=False)
        return np.abs(found - path).max()

    def compare(row, what, value):
        report.number(row, what, value, "== 0", quick="== 0")

    compare(5, "gradient descent - θ ← θ − η ∇C", difference(plain, lambda p: optim.SGD(p, lr=0.001)))
    make = lambda p: optim.SGD(p, lr=eta, momentum=gamma)  # noqa: E731
    compare(5, "momentum - v ← γ v − η ∇C, θ ← θ + v", difference(momentum, make))
    compare(26, "the form with α Δw - the form with γ v", np.abs(np.subtract(delta, momentum)).max())
    make = lambda p: optim.Adam(p, lr=0.01, eps=1e-7, bias_correction=False)  # noqa: E731
    compare(27, "Adam(bias_correction=False, eps=1e-7) - as printed", difference(printed, make))


def mini_batches(report):
    """Row 5: nine points in three batches of three, once through, beside the formula."""
    x = np.arange(9.0)[:, None]
    y = 2 * x + 1
    w = tinynn.tensor([[0.5]], requires_grad=True)
    optimizer, by_formula, updates = optim.SGD([w], lr=0.01), 0.5, 0
    for inputs, targets in DataLoader(TensorDataset(tinynn.tensor(x), tinynn.tensor(y)), batch_size=3, shuffle=True):
        optimizer.zero_grad()
        mse_loss(inputs @ w, targets).backward()
        optimizer.step()
        a, b = inputs.numpy()[:, 0], targets.numpy()[:, 0]
        by_formula -= 0.01 * (2 / 3) * np.sum((a * by_formula - b) * a)
        updates += 1
    report.number(5, "updates in an epoch: 9 points, batches of 3", updates, "== 3", quick="== 3")
    report.number(5, "mini-batches: w - formula", abs(w.item() - by_formula), "<= 1e-14", quick="<= 1e-14")


def long_valleys(report, compiled):
    """Row 5: momentum is faster in a long valley, with the same learning rate."""
    counts = {}
    for gamma in (0.0, 0.9):
        make = lambda p, gamma=gamma: optim.SGD(p, lr=0.1, momentum=gamma)  # noqa: E731
        path, arrived = descend(long_valley, STARTS[long_valley], make, LIMIT, 1e-6, compiled)
        counts[gamma] = len(path) - 1 if arrived else np.inf
    report.number(
        5, "long valley, η = 0.1: steps without momentum / with", counts[0.0] / counts[0.9], ">= 5", quick=">= 5"
    )


def race(report, compiled, quick):
    """Row 28: every optimizer on every function; and how long each stays on the saddle."""
    paths, counts = {}, {}
    for f, expected in PYTORCH.items():
        for (name, make), steps in zip(OPTIMIZERS.items(), expected, strict=True):
            limit = 2_000 if quick else LIMIT
            path, arrived = descend(f, STARTS[f], make, limit, 1e-6, compiled)
            paths[f, name], counts[f, name] = path, len(path) - 1 if arrived else None
            what = f"{f.__name__.replace('_', ' ')}, {name}: "
            if steps is None or steps > limit:
                report.number(28, what + f"arrives within {limit} steps", arrived, "== 0", quick="== 0")
            else:
                report.number(28, what + "steps to f < 1e-6", len(path) - 1, f"== {steps}", quick=f"== {steps}")
    for name, make in OPTIMIZERS.items():
        path, left = descend(saddle, STARTS[saddle], make, LIMIT, -1.0, compiled)
        paths[saddle, name], counts[saddle, name] = path, len(path) - 1 if left else None
        report.number(28, f"saddle, {name}: steps to f < −1", counts[saddle, name])
    adaptive = max(counts[saddle, name] for name in ("AdaGrad", "RMSProp", "Adam"))
    others = min(counts[saddle, name] for name in ("SGD", "momentum", "Nesterov"))
    report.number(28, "saddle: slowest adaptive / fastest other", adaptive / others, "<= 0.5", quick="<= 0.5")
    return paths, counts


def main(arguments=None):
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report = start(options), Report(__file__, options)
    tinynn.manual_seed(options.seed)
    formulas(report)
    mini_batches(report)
    long_valleys(report, options.compile)
    paths, counts = race(report, options.compile, options.quick)
    functions = {"Beale": beale, "Rosenbrock": rosenbrock, "Long valley": long_valley, "Saddle": saddle}
    report.picture(draw(plt, functions, list(OPTIMIZERS), paths, counts))
    target, frames = options.out / "optimizers.gif", 8 if options.quick else 60
    report.pictures.append(animate(plt, functions, list(OPTIMIZERS), paths, target, frames))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
