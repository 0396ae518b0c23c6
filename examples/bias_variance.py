"""Learning curves, bias and variance, and what weight decay does about them (row 3 of the syllabus).

A network of the distance is fitted to noisy points of the Lennard-Jones curve V(r), again and again with other
noise. At each r the fits V̂ have a mean and a spread, and the squared error to the true curve divides into two:

    <(V̂ - V)²>  =  (<V̂> - V)²  +  <(V̂ - <V̂>)²>
       error²         bias²          variance

1. More points: error and spread fall; training and validation error meet at the noise.
2. Wider networks: bias falls and variance grows. A network of one neuron per layer is too stiff, wide ones follow the
   noise, and the lowest error is in between.
3. Weight decay, L = MSE + λ/2 Σw²: it takes variance from a wide network, at the price of some bias.

    python examples/bias_variance.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _example import Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn import nn, optim

NEAREST, FARTHEST = 0.98, 2.5  # in σ
GRID = np.linspace(NEAREST, FARTHEST, 200)  # where curves are compared


def lennard_jones(r: Any) -> Any:
    """V(r) = 4 (r⁻¹² - r⁻⁶): energies in ε, distances in σ."""
    return 4 * (r**-12 - r**-6)


def train(
    r: Any, y: Any, width: int, seed: int, decay: float = 0.0, steps: int = 5000, compiled: bool = True
) -> tuple[Any, float]:
    """Fit a 1-width-width-1 tanh network with Adam; the curve on the grid, and the training error."""
    tinynn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    optimizer = optim.Adam(model.parameters(), lr=1e-2, weight_decay=decay)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps // 100, eta_min=1e-5)

    def inputs(r: Any) -> Any:
        return tinynn.tensor((r[:, None] - 1.0) / 0.45)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    x, target = inputs(r), tinynn.tensor(y[:, None])
    for number in range(steps):
        loss = step(x, target)
        if number % 100 == 99:
            schedule.step()
    with tinynn.no_grad():
        return model(inputs(GRID)).numpy()[:, 0], loss.item() ** 0.5


def many_fits(sets: int, points: Callable[[Any], Any], noise: float, seed: int, **options: Any) -> dict[str, Any]:
    """Fit ``sets`` training sets; root mean squares over all of them and over the grid, in ε.

    ``points(rng)`` are the distances of a set, to whose energies noise is added.
    """
    curves, training = [], []
    for number in range(sets):
        rng = np.random.default_rng((seed, number))
        r = points(rng)
        curve, error = train(r, lennard_jones(r) + noise * rng.standard_normal(len(r)), seed=number, **options)
        curves.append(curve)
        training.append(error)
    mean, true = np.mean(curves, axis=0), lennard_jones(GRID)
    return {
        "curves": np.array(curves),
        "error": np.sqrt(np.mean((curves - true) ** 2)),
        "bias": np.sqrt(np.mean((mean - true) ** 2)),
        "spread": np.sqrt(np.mean((curves - mean) ** 2)),
        "training": np.sqrt(np.mean(np.square(training))),
    }


def column(results: dict[Any, dict[str, Any]], name: str) -> Any:
    return np.array([result[name] for result in results.values()])


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    from _bias_variance_pictures import draw

    report, quick = Report(__file__, options), options.quick
    common = {"seed": options.seed, "steps": 1200 if quick else 5000, "compiled": options.compile}

    # 1. Random points with noise of 0.1 ε: how many?
    noise, sets = 0.1, 4 if quick else 16
    numbers = (8, 32, 128) if quick else (8, 16, 32, 64, 128, 256, 512)
    by_points = {
        n: many_fits(sets, lambda rng, n=n: rng.uniform(NEAREST, FARTHEST, n), noise, width=16, **common)
        for n in tqdm(numbers, "points", leave=False)
    }
    error, spread = column(by_points, "error"), column(by_points, "spread")
    slope = np.polyfit(np.log(numbers), np.log(error), 1)[0]
    report.number(3, "learning curve: slope of log(error) against log(points)", slope, "<= -0.5", "", "<= -0.5")
    what = f"from {numbers[0]} to {numbers[-1]} points: "
    report.number(3, what + "spread over training sets, last / first", spread[-1] / spread[0], "<= 0.15", "", "<= 0.5")
    gap = np.sqrt(error**2 + noise**2) - column(by_points, "training")  # validation has noise too
    report.number(3, what + "validation - training error, last / first", gap[-1] / gap[0], "<= 0.05", "", "<= 0.3")

    # 2. Twenty equal distances with noise of 0.2 ε: how wide?
    noise, sets = 0.2, 6 if quick else 30
    widths = (1, 2, 64) if quick else (1, 2, 3, 4, 6, 8, 16, 32, 64)
    twenty = {"points": lambda rng: np.linspace(NEAREST, FARTHEST, 20), "noise": noise, **common}
    by_width = {w: many_fits(sets, width=w, **twenty) for w in tqdm(widths, "widths", leave=False)}
    error, bias, spread = (column(by_width, name) for name in ("error", "bias", "spread"))
    lowest = int(error.argmin())
    report.number(
        3, "error² - bias² - variance", np.abs(error**2 - bias**2 - spread**2).max(), "<= 1e-12", "ε²", "<= 1e-12"
    )
    report.number(3, "width with the lowest error", widths[lowest], "< 64")
    report.number(3, "error of width 1, in units of the lowest", error[0] / error[lowest], ">= 1.2", "", ">= 1.05")
    report.number(3, "error of width 64, in units of the lowest", error[-1] / error[lowest], ">= 1.2")
    report.number(3, "bias: width 64 / width 1", bias[-1] / bias[0], "<= 0.5", "", "<= 0.8")
    report.number(3, "spread: width 64 / width 2", spread[-1] / spread[1], ">= 1.2", "", ">= 1.0")

    # 3. Width 64: how much weight decay?
    decays = (1e-3,) if quick else (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    by_decay = {0.0: by_width[64]}
    by_decay |= {d: many_fits(sets, width=64, decay=d, **twenty) for d in tqdm(decays, "decay", leave=False)}
    error, bias, spread = (column(by_decay, name) for name in ("error", "bias", "spread"))
    best = int(error.argmin())
    report.number(3, "width 64: the best weight decay", [*by_decay][best], "> 0", "", "> 0")
    report.number(3, "width 64: error with that decay / without", error[best] / error[0], "<= 0.8", "", "<= 0.95")
    report.number(3, "width 64: spread with that decay / without", spread[best] / spread[0], "<= 0.8", "", "<= 0.95")

    report.picture(draw(plt, by_points, by_width, by_decay))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
