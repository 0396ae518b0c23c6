"""The perceptron learning algorithm (Rosenblatt 1958): where it ends, and where it does not (row 19).

Points of P lie on the side w·x >= 0 of a plane, points of N on the other; x0 = 1, so that w0 is the threshold. As
long as a point is wrong, w(t+1) = w(t) + y(t) x(t), with y = +1 in P and −1 in N:

* two clouds that a line separates: all points are right after at most (R |w*| / γ)² updates (Novikoff 1962);
* XOR, which no line separates: it never ends;
* pair distribution functions of metal nanoparticles: sc, fcc, bcc and hcp are told apart by a plane in 186
  dimensions, also on curves that it has not seen. For fcc and octahedral particles (the same lattice, another shape)
  there is such a plane, too, yet it says nothing of new curves: learnt by heart.

The same algorithm for your own data is `tinynn.sklearn.Perceptron`; regressions of the same points: regression.py.

    python examples/perceptron.py
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from _example import DATA, Report, parser, start

from tinynn.data import train_val_test_split

# For each pair of structure types: the most epochs to zero training errors, and what is expected of the test.
PAIRS = {
    ("sc", "fcc"): ("<= 3", ">= 0.97"),
    ("fcc", "bcc"): ("<= 30", ">= 0.97"),
    ("fcc", "hcp"): ("<= 1000", ">= 0.70"),
    ("fcc", "octahedral"): ("<= 3000", "<= 0.75"),
}


@dataclass
class Learned:
    """What the perceptron ended with: weights, and how it got there. An epoch is as many picks as there are points."""

    w: np.ndarray
    updates: int = 0
    picks: int = 0
    epochs: int = 0
    converged: bool = False
    errors: list[int] = field(default_factory=list)  # wrong points after each epoch
    stages: list[tuple[int, np.ndarray]] = field(default_factory=list)  # (number of updates so far, w)


def with_ones(x):
    """Put x0 = 1 before the features, so that w0 is the threshold."""
    return np.column_stack([np.ones(len(x)), x])


def perceptron(p, n, w, rng, max_epochs=1000, every_once=False):
    """Learn w with w·x >= 0 for all x in P and w·x < 0 for all x in N, by the perceptron learning algorithm.

    Pick x at random from P ∪ N. If x is in P and w·x < 0, add it to w; if x is in N and w·x >= 0, subtract it. Stop
    when all are right, or after ``max_epochs``. ``every_once``: all points come once before any comes again.
    """
    x = np.vstack([p, n])
    in_p = np.arange(len(x)) < len(p)
    run = Learned(w.copy(), stages=[(0, w.copy())])
    wrong = int(np.sum((x @ run.w >= 0) != in_p))
    while wrong > 0 and run.epochs < max_epochs:
        run.epochs += 1
        for k in rng.permutation(len(x)) if every_once else rng.integers(len(x), size=len(x)):
            run.picks += 1
            score = run.w @ x[k]
            if in_p[k] and score < 0:
                run.w = run.w + x[k]
            elif not in_p[k] and score >= 0:
                run.w = run.w - x[k]
            else:
                continue
            run.updates += 1
            run.stages.append((run.updates, run.w))
            wrong = int(np.sum((x @ run.w >= 0) != in_p))
            if wrong == 0:
                break
        run.errors.append(wrong)
    run.converged = wrong == 0
    return run


def two_clouds(count, rng):
    """Two long clouds on either side of a gap of width 0.4, away from the origin; x0 = 1 comes first."""
    along, across = np.array([0.8, 0.6]), np.array([-0.6, 0.8])
    clouds = []
    for side in (1, -1):
        distance = side * (0.2 + np.abs(0.7 * rng.standard_normal(count)))
        points = np.outer(1.2 * rng.standard_normal(count), along) + np.outer(distance, across)
        clouds.append(with_ones(np.array([1.5, 2.5]) + points))
    return clouds[0], clouds[1]


def widest_margin(z):
    """The unit vector u with the largest min_i u·z_i, for z = x in P and −x in N.

    The shortest w with w·z_i >= 1 is a least-distance problem, which non-negative least squares solves
    (Lawson & Hanson, Solving Least Squares Problems, ch. 23).
    """
    from scipy.optimize import nnls

    e = np.vstack([z.T, np.ones(len(z))])
    target = np.zeros(len(e))
    target[-1] = 1.0
    r = e @ nnls(e, target)[0] - target
    u = -r[:-1] / r[-1]
    return u / np.linalg.norm(u)


def novikoff_bound(p, n, w=None):
    """The most updates that the perceptron can need (Novikoff 1962): (R/γ)² from w = 0, with |w*| = 1.

    R is the longest x and γ the margin, min y w*·x. k updates from w give w_k·w* >= w·w* + kγ and
    |w_k|² <= |w|² + kR²; Cauchy's inequality between the two bounds k.
    """
    z = np.vstack([p, -n])
    u = widest_margin(z)
    gamma, r2 = float((z @ u).min()), float((z**2).sum(axis=1).max())
    if w is None:
        return r2 / gamma**2
    a, b = -float(w @ u), float(w @ w)
    half = a * gamma + r2 / 2
    return (half + np.sqrt(half**2 + gamma**2 * max(b - a * a, 0.0))) / gamma**2


def load_pair(first, second, division=0):
    """Curves of two types with x0 = 1, and whether they are of the first: training (3/4) and test part."""
    with np.load(DATA / "pdf_structures.npz") as data:
        names = data["classes"].tolist()
        label = data["label"].astype(np.int64)
        rows = np.isin(label, [names.index(first), names.index(second)])
        x, is_first = with_ones(data["G"][rows].astype(float)), label[rows] == names.index(first)
    (x, y), _, (x_test, y_test) = train_val_test_split(x, is_first, fractions=(0.75, 0.0, 0.25), seed=division)
    return x, y, x_test, y_test


def learn_pair(first, second, limit, seed=0, division=0):
    """The perceptron on two structure types, and its accuracy on the test part."""
    x, y, x_test, y_test = load_pair(first, second, division)
    rng = np.random.default_rng(seed)
    run = perceptron(x[y], x[~y], 0.1 * rng.standard_normal(x.shape[1]), rng, limit, every_once=True)
    return run, float(np.mean((x_test @ run.w >= 0) == y_test))


def main(arguments=None):
    options = parser(__doc__).parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)
    rng = np.random.default_rng(options.seed)

    p, n = two_clouds(40, rng)
    first_w = 3.0 * rng.standard_normal(3)
    run = perceptron(p, n, first_w, rng)
    zero = perceptron(p, n, np.zeros(3), rng)
    report.number(19, "two clouds: wrong points at the end", run.errors[-1], "== 0", quick="== 0")
    for name, result, bound in (
        ("random w", run, novikoff_bound(p, n, first_w)),
        ("w = 0", zero, novikoff_bound(p, n)),
    ):
        bar = f"<= {np.floor(bound):.0f}"
        report.number(19, f"two clouds, from {name}: updates, against Novikoff's bound", result.updates, bar, quick=bar)

    x = with_ones(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    xor = perceptron(x[:2], x[2:], rng.standard_normal(3), rng, 100 if options.quick else 1000)
    what = f"XOR: fewest wrong points after any of {xor.epochs} epochs"
    report.number(19, what, min(xor.errors), ">= 1", quick=">= 1")

    pairs = {}
    for (first, second), (epochs_bar, bar) in PAIRS.items():
        name, limit = f"{first}–{second}", int(epochs_bar.split()[1])
        result, accuracy = pairs[name] = learn_pair(first, second, limit, options.seed)
        epochs = result.epochs if result.converged else np.inf
        report.number(19, f"{name}: epochs to zero training errors", epochs, epochs_bar, quick=epochs_bar)
        report.number(20, f"{name}: accuracy on new curves", accuracy, bar, quick=bar)
    for first, second in () if options.quick else list(PAIRS)[:2]:
        limit = int(PAIRS[first, second][0].split()[1])
        repeats = [learn_pair(first, second, limit, options.seed, division) for division in range(20)]
        name = f"{first}–{second}, 20 divisions"
        report.number(20, f"{name}: mean accuracy on new curves", np.mean([a for _, a in repeats]), ">= 0.97")
        report.number(19, f"{name}: median epochs", np.median([r.epochs for r, _ in repeats]), f"<= {limit}")

    from _perceptron_pictures import draw

    figure = plt.figure(figsize=(9, 5.5), layout="constrained")
    with np.load(DATA / "pdf_structures.npz") as data:
        draw(figure, (p, n), run, xor, pairs, data)
    report.picture(figure)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
