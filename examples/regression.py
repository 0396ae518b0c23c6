"""Two regressions without a hidden layer: linear, in closed form and downhill, and logistic (rows 21, 22).

* Linear regression (row 21): w = (XᵀX)⁻¹ XᵀY is where the gradient of |Xw − Y|² vanishes. It is NumPy's least-squares
  solution, and the limit of gradient descent. On data: the nearest-neighbour distance of metal nanoparticles from ten
  points of their pair distribution function, those around its first peak.
* Logistic regression (row 22): the probability of P is σ(w·x). The cross-entropy has the gradient Xᵀ(σ − y)/N, by hand
  and by tinynn; descent x_{t+1} = x_t − γ ∇f ends at scikit-learn's solution without a penalty: for two irises by
  their petals, and for two pairs of structure types by the heights of six shells, G at √(4/3), √2, √(8/3), √3, √(11/3)
  and 2 times the position of the first peak.
* If a line separates the data there is no solution: doubling w always helps, and |w| grows for ever, like the
  logarithm of the number of steps. The accuracy does not notice; the probabilities become 0 and 1.

    python examples/regression.py
"""

from __future__ import annotations

import numpy as np
from _example import DATA, Report, parser, start
from perceptron import perceptron, two_clouds, with_ones

import tinynn
from tinynn import nn, optim

SHELLS = np.sqrt([4 / 3, 2, 8 / 3, 3, 11 / 3, 4])  # of the fcc, bcc and hcp lattices, in nearest-neighbour distances


def linear_regression(x, y):
    """w = (XᵀX)⁻¹ Xᵀy: where the gradient of |Xw − y|² vanishes (the normal equations)."""
    return np.linalg.solve(x.T @ x, x.T @ y)


def linear_regression_by_descent(x, y, steps=5000, compiled=True):
    """The same minimum, walked down to with tinynn; x has no column of ones: that is the layer's bias.

    Returns w after each step, (steps, 1 + features).
    """
    model, loss_fn = nn.Linear(x.shape[1], 1), nn.MSELoss()
    curvature = 2.0 * np.linalg.eigvalsh(with_ones(x).T @ with_ones(x) / len(x))
    optimizer = optim.SGD(model.parameters(), lr=2.0 / (curvature[0] + curvature[-1]))  # the fastest that is safe
    inputs, targets = tinynn.tensor(x), tinynn.tensor(y[:, None])

    def step(inputs, targets):
        optimizer.zero_grad()
        loss_fn(model(inputs), targets).backward()
        optimizer.step()
        return tinynn.concatenate([model.bias, model.weight[0]])

    if compiled:
        step = tinynn.compile(step)
    return np.array([step(inputs, targets).detach().numpy() for _ in range(steps)])


def logistic_regression(x, y, steps=20_000, compiled=True):
    """Minimise the cross-entropy of σ(Xw) by gradient descent, by hand and by tinynn.

    By hand the gradient is Xᵀ(σ − y)/N; tinynn is given the loss alone. The step is γ = 1/L, with L = λ_max(XᵀX)/4N
    the largest curvature there is.

    Returns
    -------
    w of the two descents after each step, (steps + 1, features), and the largest difference between their gradients
    """
    rate, loss_fn = 4.0 * len(x) / np.linalg.eigvalsh(x.T @ x)[-1], nn.BCEWithLogitsLoss()
    w, v = np.zeros(x.shape[1]), tinynn.zeros(x.shape[1], requires_grad=True)
    optimizer = optim.SGD([v], lr=rate)
    inputs, labels = tinynn.tensor(x), tinynn.tensor(y, dtype=float)

    def step(inputs, labels):
        optimizer.zero_grad()
        gradient = tinynn.grad(loss_fn(inputs @ v, labels), v)
        v.grad = gradient
        optimizer.step()
        return gradient, v

    if compiled:
        step = tinynn.compile(step)
    by_hand, automatic, worst = [w], [w], 0.0
    for _ in range(steps):
        gradient = x.T @ (1.0 / (1.0 + np.exp(-(x @ w))) - y) / len(x)
        w = w - rate * gradient
        of_loss, after = step(inputs, labels)
        worst = max(worst, float(np.abs(gradient - of_loss.numpy()).max()))
        by_hand.append(w)
        automatic.append(after.detach().numpy().copy())
    return np.array(by_hand), np.array(automatic), worst


def irises(first=1, second=2):
    """Petal lengths and widths of two kinds (0 setosa, 1 versicolor, 2 virginica), standardised; is it the second?"""
    from sklearn.datasets import load_iris

    features, kind = load_iris(return_X_y=True)
    rows = np.isin(kind, (first, second))
    return standardised(features[rows, 2:]), kind[rows] == second


def structure_pair(first, second):
    """Heights of six shells of particles of two types, standardised, and whether they are of the first."""
    with np.load(DATA / "pdf_structures.npz") as data:
        r, curves, names = data["r"], data["G"].astype(float), data["classes"].tolist()
        label = data["label"]
    rows = np.isin(label, (names.index(first), names.index(second)))
    peaks = r[curves[:, r < 3.6].argmax(axis=1)]
    heights = [np.interp(SHELLS * peak, r, curve) for curve, peak in zip(curves[rows], peaks[rows], strict=True)]
    return standardised(np.array(heights)), label[rows] == names.index(first)


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def nearest_neighbours():
    """G(r) of 630 particles at ten distances around the first peak, and their nearest-neighbour distances in Å."""
    with np.load(DATA / "pdf_structures.npz") as data:
        around = (data["r"] > 2.25) & (data["r"] < 3.25)
        return data["G"][:, around].astype(float), data["nearest_neighbour"].astype(float)


def main(arguments=None):
    from sklearn.linear_model import LogisticRegression

    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)
    tinynn.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    steps = 2_000 if options.quick else 20_000

    x, distance = nearest_neighbours()
    x, test = with_ones(x), rng.permutation(630) < 126
    w = linear_regression(x[~test], distance[~test])
    off = np.abs(w - np.linalg.lstsq(x[~test], distance[~test], rcond=None)[0]).max()
    error = np.sqrt(np.mean((x[test] @ w - distance[test]) ** 2))
    report.number(21, "nearest neighbours: normal equations − lstsq", off, "<= 1e-10", "Å", "<= 1e-10")
    report.number(21, "nearest neighbours: test RMSE", 1e3 * error, "<= 60", "mÅ", "<= 60")
    report.number(21, "nearest neighbours: spread of the data", 1e3 * distance.std(), None, "mÅ")

    p, n = two_clouds(40, rng)
    clouds, in_p = np.vstack([p, n]), np.arange(80) < 40
    closed = linear_regression(clouds, 2.0 * in_p - 1)
    path = linear_regression_by_descent(clouds[:, 1:], 2.0 * in_p - 1, compiled=options.compile)
    off = np.abs(closed - np.linalg.lstsq(clouds, 2.0 * in_p - 1, rcond=None)[0]).max()
    report.number(21, "two clouds: normal equations − lstsq", off, "<= 1e-10", quick="<= 1e-10")
    report.number(21, "two clouds: normal equations − gradient descent", abs(closed - path[-1]).max(), "<= 1e-10", "",
                  "<= 1e-10")  # fmt: skip

    pairs = {"versicolor–virginica": irises()}
    pairs |= {"–".join(two): structure_pair(*two) for two in (("icosahedral", "decahedral"), ("fcc", "octahedral"))}
    fits = {}
    for name, (features, y) in pairs.items():
        by_hand, automatic, worst = fits[name] = logistic_regression(with_ones(features), y, steps, options.compile)
        model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(features, y)  # C = ∞: no penalty
        reference = np.array([*model.intercept_, *model.coef_[0]])
        report.number(22, f"{name}: gradient by hand − by tinynn", worst, "<= 1e-12", quick="<= 1e-12")
        report.number(22, f"{name}: w − scikit-learn's", abs(automatic[-1] - reference).max(), "<= 1e-4", quick="<= 5")
        report.number(22, f"{name}: accuracy", np.mean((with_ones(features) @ by_hand[-1] > 0) == y))
    separable = logistic_regression(with_ones(irises(0, 1)[0]), irises(0, 1)[1], steps, options.compile)[1]
    growth = np.linalg.norm(separable[-1]) - np.linalg.norm(separable[steps // 10])
    report.number(22, "setosa–versicolor, separable: growth of |w| in the last 90 %", growth, ">= 1", quick=">= 1")

    from _regression_pictures import draw

    lines = {"linear regression": closed, "perceptron": perceptron(p, n, np.zeros(3), rng).w}
    lines["logistic regression"] = logistic_regression(clouds, in_p, 2000, options.compile)[1][-1]
    figure = plt.figure(figsize=(9.4, 6.4), layout="constrained")
    named = {"versicolor–virginica": fits["versicolor–virginica"][1], "setosa–versicolor": separable}
    draw(figure, (x[test] @ w, distance[test]), (p, n, lines), np.abs(path - closed).max(axis=1), irises(), named)
    report.picture(figure)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
