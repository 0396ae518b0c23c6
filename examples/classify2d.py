"""Points in a plane, told apart by a small network: decision regions and the warped hidden plane (row 37).

A network 2-32-32-k with tanh learns which of k classes a point belongs to: a disk inside of a ring, spirals with two
and three arms, points with random labels. Left in the picture: the plane, coloured by what the network would say.
Right: the same plane, with its grid and its points, as the last hidden layer has bent it (32 dimensions, of which those
two are drawn that decide). There, straight lines part the classes: all that the layers before do is to bend. New points
test the network; with random labels there is nothing to be tested, and yet they can be learnt by heart.

With ``--live`` a window opens in which to set points with the mouse, while the network trains.

    python examples/classify2d.py
    python examples/classify2d.py --live

After A. Karpathy's ConvNetJS demo "classify2d" (2014), and C. Olah, "Neural networks, manifolds, and topology" (2014).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _classify2d_pictures import Planes, save_animation, shrink
from _example import Report, parser, start

import tinynn
from tinynn import nn, optim

Points = tuple[np.ndarray, np.ndarray]  # where (n, 2), and of which class (n)


def circle(n: int, rng: np.random.Generator) -> Points:
    """A disk of radius 0.5, and a ring around it from 0.65 to 1."""
    labels = np.arange(n) % 2
    r = np.where(labels == 0, 0.5 * np.sqrt(rng.random(n)), 0.65 + 0.35 * rng.random(n))
    angle = 2 * np.pi * rng.random(n)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1), labels


def spiral(n: int, rng: np.random.Generator, arms: int = 2) -> Points:
    """Arms that wind around the centre one and a quarter times, a little blurred."""
    labels = np.arange(n) % arms
    along = rng.random(n)
    angle = 2.5 * np.pi * along + 2 * np.pi * labels / arms
    points = (0.1 + 0.9 * along)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + 0.02 * rng.standard_normal((n, 2)), labels


def three_arms(n: int, rng: np.random.Generator) -> Points:
    return spiral(n, rng, arms=3)


def random_points(n: int, rng: np.random.Generator) -> Points:
    """Points anywhere, with labels that mean nothing."""
    return rng.uniform(-1, 1, (n, 2)), rng.integers(0, 2, n)


def network(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, classes))


def training_step(model: nn.Module, compiled: bool = True, lr: float = 1e-2) -> Callable[[Any, Any], Any]:
    """The function that takes one step with Adam. Points of class -100 do not count."""
    optimizer = optim.Adam(model.parameters(), lr=lr)

    def step(points: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(points), labels)
        loss.backward()
        optimizer.step()
        return loss

    return tinynn.compile(step) if compiled else step


def accuracy(model: nn.Module, data: Points) -> float:
    """The share of points that are told right."""
    points, labels = data
    with tinynn.no_grad():
        return float(np.mean(model(tinynn.tensor(points)).numpy().argmax(axis=1) == labels))


def fit(data: Points, steps: int, seed: int, compiled: bool, on_step: Callable[[int, Any], None] | None = None) -> Any:
    """A network that has learnt the points, and the time that it took."""
    tinynn.manual_seed(seed)
    model = network(int(data[1].max()) + 1)
    step = training_step(model, compiled)
    points, labels = map(tinynn.tensor, data)
    begin = time.perf_counter()
    for number in range(steps):
        if on_step is not None:
            on_step(number, model)
        step(points, labels)
    return model, time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(__doc__, compiles=True)
    made.add_argument("--live", action="store_true", help="open a window: set points while the network trains")
    options = made.parse_args(arguments)
    options.show = options.show or options.live
    plt = start(options)
    if options.live:
        from _classify2d_window import LiveWindow

        sets = {"c": circle, "s": spiral, "t": three_arms, "r": random_points}
        window = LiveWindow(plt, network, training_step, sets, options.seed)
        window.run()
        return 0

    report = Report(__file__, options)
    rng = np.random.default_rng(options.seed)
    steps = 600 if options.quick else 1500
    cases = (
        ("circle", circle, 200, ">= 0.99"),
        ("spiral, 2 arms", spiral, 400, ">= 0.99"),
        ("spiral, 3 arms", three_arms, 600, ">= 0.99"),
        ("random labels", random_points, 40, None),
    )
    figure = plt.figure(figsize=(9.2, 5.2), layout="constrained")
    parts = figure.subfigures(2, 2).flat
    for part, (name, points_of, n, bar) in zip(parts, cases, strict=True):
        data = points_of(n, rng)
        model, seconds = fit(data, steps, options.seed, options.compile)
        title = f"{name}: {100 * accuracy(model, data):.0f} % of {n} points"
        if bar is not None:
            new = accuracy(model, points_of(2000, rng))
            title = f"{name}: {100 * new:.1f} % of new points"
            report.number(37, f"{name}: test accuracy after {steps} steps", new, bar, quick=">= 0.97")
        else:
            report.number(37, f"{name}: learnt by heart (accuracy on the points themselves)", accuracy(model, data),
                          ">= 0.95", quick=">= 0.7")  # fmt: skip
        if points_of is three_arms:
            report.number(37, f"{name}: time for {steps} steps, compilation included", seconds, unit="s")
        part.suptitle(title, fontsize=10)
        Planes(part, data).show(model)
    shrink(report.picture(figure))

    data = three_arms(400, np.random.default_rng(options.seed))
    moments = sorted({int(m) for m in np.geomspace(1, steps, 10 if options.quick else 36)})
    path = options.out / "classify2d_training.gif"
    save_animation(plt, path, data, moments, lambda on_step: fit(data, steps, options.seed, options.compile, on_step))
    report.pictures.append(path)
    report.number(37, "size of the animation", path.stat().st_size / 1e6, "<= 1", "MB", quick="<= 1")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
