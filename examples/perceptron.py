"""The perceptron, and the two other lines through the same points: logistic and linear regression.

The perceptron learning algorithm (Rosenblatt 1958) on points that a line separates, on XOR, which no line
does, and on curves that tell the structure of metal nanoparticles. Then logistic regression with its gradient
derived by hand and found by tinynn, and linear regression by its closed form and by gradient descent.

    python examples/perceptron.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tinynn
from tinynn import nn, optim
from tinynn.data import train_val_test_split

DATA = Path(__file__).parent / "data" / "pdf_structures.npz"
# For each pair of structure types: the most epochs to zero training errors, and the expected test accuracy.
PAIRS = {
    ("sc", "fcc"): (3, 0.97, 1.00, ">= 0.97"),
    ("fcc", "bcc"): (30, 0.97, 1.00, ">= 0.97"),
    ("fcc", "hcp"): (1000, 0.70, 1.00, ">= 0.70"),
    ("fcc", "octahedral"): (3000, 0.00, 0.75, "<= 0.75: learnt by heart"),  # the same lattice, another shape
}
MISSED: list[str] = []


def check(what: str, value: str, bar: str, right: bool) -> None:
    """Print a number beside its bar."""
    if not right:
        MISSED.append(what)
    print(f"  {what:<50} {value:>22}   {bar:<34} {'OK' if right else 'MISSED'}")


# -------------------------------------------------------------------------------------------- the perceptron


@dataclass
class Learned:
    """What the perceptron ended with: weights, and how it got there."""

    w: Any
    updates: int = 0
    picks: int = 0
    converged: bool = False
    errors: list[int] = field(
        default_factory=list
    )  # wrong points after each epoch, an epoch being as many picks as points
    stages: list[tuple[int, Any]] = field(default_factory=list)  # (number of updates so far, w)
    epochs: int = 0


def with_ones(x: Any) -> Any:
    """Put x0 = 1 before the features, so that w0 is the threshold."""
    return np.column_stack([np.ones(len(x)), x])


def perceptron(
    p: Any, n: Any, w: Any, rng: np.random.Generator, max_epochs: int = 1000, every_once: bool = False
) -> Learned:
    """Learn w with w·x >= 0 for all x in P and w·x < 0 for all x in N, by the perceptron learning algorithm.

    Pick x at random from P ∪ N. If x is in P and w·x < 0, add it to w; if x is in N and w·x >= 0, subtract
    it. Stop when all are right.

    Parameters
    ----------
    p, n : the points with x0 = 1, of shapes (points, 1 + features)
    w : where to start, shape (1 + features,)
    max_epochs : give up after this many times len(p) + len(n) picks
    every_once : pick all points once, in random order, before any comes again
    """
    x = np.vstack([p, n])
    in_p = np.arange(len(x)) < len(p)
    run = Learned(w.copy(), stages=[(0, w.copy())])
    wrong = int(np.sum((x @ run.w >= 0) != in_p))
    for _ in range(max_epochs):
        if wrong == 0:
            break
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


def two_clouds(count: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Two long clouds on either side of a gap of width 0.4, away from the origin; x0 = 1 comes first."""
    along, across = np.array([0.8, 0.6]), np.array([-0.6, 0.8])
    clouds = []
    for side in (1, -1):
        distance = side * (0.2 + np.abs(0.7 * rng.standard_normal(count)))
        clouds.append(
            with_ones(
                np.array([1.5, 2.5]) + np.outer(1.2 * rng.standard_normal(count), along) + np.outer(distance, across)
            )
        )
    return clouds[0], clouds[1]


def widest_margin(z: Any) -> Any:
    """The unit vector u with the largest min_i u·z_i, for z = x in P and -x in N.

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


def novikoff_bound(p: Any, n: Any, w: Any | None = None) -> float:
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


def load_pair(first: str, second: str, division: int = 0) -> tuple[Any, Any, Any, Any]:
    """Curves of two types with x0 = 1, and whether they are of the first: training (3/4) and test part."""
    with np.load(DATA) as data:
        names = data["classes"].tolist()
        label = data["label"].astype(np.int64)
        rows = np.isin(label, [names.index(first), names.index(second)])
        x, is_first = with_ones(data["G"][rows].astype(float)), label[rows] == names.index(first)
    (x, y), _, (x_test, y_test) = train_val_test_split(x, is_first, fractions=(0.75, 0.0, 0.25), seed=division)
    return x, y, x_test, y_test


def learn_pair(first: str, second: str, limit: int, seed: int = 0, division: int = 0) -> tuple[Learned, float]:
    """The perceptron on two structure types, and its accuracy on the test part."""
    x, y, x_test, y_test = load_pair(first, second, division)
    rng = np.random.default_rng(seed)
    run = perceptron(x[y], x[~y], 0.1 * rng.standard_normal(x.shape[1]), rng, limit, every_once=True)
    return run, float(np.mean((x_test @ run.w >= 0) == y_test))


# ---------------------------------------------------------------------------- logistic and linear regression


def logistic_regression(
    x: Any, y: Any, lr: float = 0.5, steps: int = 2000, compiled: bool = False
) -> tuple[Any, Any, float]:
    """Minimise the cross-entropy of σ(Xw) by gradient descent, by hand and by tinynn.

    By hand the gradient is Xᵀ(σ - y)/N; tinynn is given the loss alone. Returns both w, and the largest
    difference between the gradients (and the weights) of the two descents at any step.
    """
    w, loss_fn = np.zeros(x.shape[1]), nn.BCEWithLogitsLoss()
    v, inputs, labels = (
        tinynn.zeros(x.shape[1], requires_grad=True),
        tinynn.tensor(x),
        tinynn.tensor(y, dtype=float),
    )

    def slope(inputs: Any, labels: Any) -> Any:
        return tinynn.grad(loss_fn(inputs @ v, labels), v)

    if compiled:
        slope = tinynn.compile(slope)
    worst = 0.0
    for _ in range(steps):
        by_hand = x.T @ (1.0 / (1.0 + np.exp(-(x @ w))) - y) / len(x)
        automatic = slope(inputs, labels).numpy()
        worst = max(worst, float(np.abs(by_hand - automatic).max()), float(np.abs(w - v.detach().numpy()).max()))
        w = w - lr * by_hand
        v.assign_(v.detach() - lr * automatic)
    return w, v.detach().numpy(), worst


def linear_regression(x: Any, y: Any) -> Any:
    """w = (XᵀX)⁻¹ Xᵀy: where the gradient of |Xw - y|² vanishes (the normal equations)."""
    return np.linalg.solve(x.T @ x, x.T @ y)


def linear_regression_by_descent(x: Any, y: Any, steps: int = 5000, compiled: bool = False) -> Any:
    """The same minimum, walked down to with tinynn; x has no column of ones: that is the layer's bias."""
    model, loss_fn = nn.Linear(x.shape[1], 1), nn.MSELoss()
    curvature = 2.0 * np.linalg.eigvalsh(with_ones(x).T @ with_ones(x) / len(x))
    optimizer = optim.SGD(model.parameters(), lr=2.0 / (curvature[0] + curvature[-1]))  # the fastest step that is safe
    inputs, targets = tinynn.tensor(x), tinynn.tensor(y[:, None])

    def step(inputs: Any, targets: Any) -> None:
        optimizer.zero_grad()
        loss_fn(model(inputs), targets).backward()
        optimizer.step()

    if compiled:
        step = tinynn.compile(step)
    start = time.perf_counter()
    for _ in range(steps):
        step(inputs, targets)
    speed = steps / (time.perf_counter() - start)
    print(f"  {steps} {'compiled' if compiled else 'eager'} steps of gradient descent, {speed:.0f} per second")
    return np.concatenate([model.bias.detach().numpy(), model.weight.detach().numpy()[0]])


def main(arguments: Sequence[str] | None = None) -> int:
    import matplotlib
    import matplotlib.pyplot as plt
    from _pictures import draw_perceptron

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the points, the first weights and the picks")
    parser.add_argument(
        "--quick", action="store_true", help="fewer epochs on XOR, one division of the real data, not twenty"
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=False,
        help="run parts 4 and 5 as compiled programs; off, for they take less time than compiling",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture (default: out)")
    parser.add_argument("--show", action="store_true", help="open the picture in a window as well")
    options = parser.parse_args(arguments)
    MISSED.clear()
    tinynn.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)

    print("1. Points that a line separates: two clouds of 40")
    p, n = two_clouds(40, rng)
    start = 3.0 * rng.standard_normal(3)
    run = perceptron(p, n, start, rng)
    bound = novikoff_bound(p, n, start)
    check("all points right, from random w", f"after {run.picks} picks", "converges", run.converged)
    check("updates", f"{run.updates}", f"<= Novikoff's bound, {bound:.0f}", run.updates <= bound)
    zero = perceptron(p, n, np.zeros(3), rng)
    bound = novikoff_bound(p, n)
    check(
        "updates from w = 0",
        f"{zero.updates}",
        f"<= (R |w*| / γ)² = {bound:.0f}",
        zero.converged and zero.updates <= bound,
    )

    print("\n2. XOR, which no line separates")
    x = with_ones(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    xor = perceptron(x[:2], x[2:], rng.standard_normal(3), rng, 100 if options.quick else 1000)
    check(
        f"fewest wrong points in {len(xor.errors)} epochs",
        f"{min(xor.errors)}",
        ">= 1: never converges",
        min(xor.errors) >= 1,
    )

    print("\n3. Real data: a nanoparticle's structure from its distances; 135 to learn, 45 to test")
    pairs = {}
    for (first, second), (limit, low, high, bar) in PAIRS.items():
        name = f"{first}–{second}"
        result, accuracy = pairs[name] = learn_pair(first, second, limit, options.seed)
        check(f"{name}: epochs to zero training errors", f"{result.epochs}", f"<= {limit}", result.converged)
        check(f"{name}: test accuracy", f"{accuracy:.3f}", bar, low <= accuracy <= high)
    for first, second in () if options.quick else list(PAIRS)[:2]:
        name = f"{first}–{second}, 20 divisions"
        limit, *_ = PAIRS[first, second]
        repeats = [learn_pair(first, second, limit, options.seed, k) for k in range(20)]
        mean, epochs = np.mean([a for _, a in repeats]), np.median([r.epochs for r, _ in repeats])
        check(f"{name}: mean test accuracy", f"{mean:.3f}", ">= 0.97", mean >= 0.97)
        check(f"{name}: median epochs", f"{epochs:.0f}", f"<= {limit}", epochs <= limit)

    print("\n4. Logistic regression on the points of part 1")
    x, y = np.vstack([p, n]), np.arange(len(p) + len(n)) < len(p)
    by_hand, _, worst = logistic_regression(x, y, steps=200 if options.quick else 2000, compiled=options.compile)
    check("gradient by hand - by tinynn, largest of all steps", f"{worst:.1e}", "<= 1e-12", worst <= 1e-12)
    accuracy = float(np.mean((x @ by_hand > 0) == y))
    check("accuracy", f"{accuracy:.3f}", ">= 0.95", accuracy >= 0.95)

    print("\n5. Linear regression on the same points, targets +1 and -1")
    targets = np.where(y, 1.0, -1.0)
    closed = linear_regression(x, targets)
    off = np.abs(closed - np.linalg.lstsq(x, targets, rcond=None)[0]).max()
    check("normal equations - numpy.linalg.lstsq", f"{off:.1e}", "<= 1e-10", off <= 1e-10)
    off = np.abs(closed - linear_regression_by_descent(x[:, 1:], targets, compiled=options.compile)).max()
    check("normal equations - gradient descent", f"{off:.1e}", "<= 1e-10", off <= 1e-10)

    if not options.show:
        matplotlib.use("Agg")
    figure = plt.figure(figsize=(14, 8.4), layout="constrained")
    lines = {"perceptron": run.w, "logistic regression": by_hand, "linear regression": closed}
    with np.load(DATA) as data:
        draw_perceptron(figure, (p, n), run, lines, xor, pairs, data)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "perceptron.png"
    figure.savefig(path, dpi=120)
    print(f"\nwrote {path}")
    if options.show:
        plt.show()
    plt.close(figure)
    print("every number as expected" if not MISSED else f"MISSED: {', '.join(MISSED)}")
    return 1 if MISSED else 0


if __name__ == "__main__":
    raise SystemExit(main())
