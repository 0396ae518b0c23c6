"""One hidden layer is enough, if it is wide enough (row 10 of the syllabus).

A sum of H sigmoid steps,

    ŷ(x) = Σ_h w1_h σ(w0_h x + b_h)

comes as close as one likes to any continuous function on an interval when H grows (Cybenko, Math. Control Signals
Systems 2, 303 (1989)). Here: sin, |x| with its kink, and the Lennard-Jones curve with its wall.

The theorem says that such weights exist, not that training finds them. So each network is looked at twice: as Adam
leaves it, and with the weights w1, in which the output is linear, replaced by the least-squares solution for the same
steps. The second error falls to rounding where the function is smooth, while Adam stays at a thousandth: from some
width on, the error is that of the search, not of the network.

    python examples/universal_approximation.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _example import Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn import nn, optim

# Name: the function and the interval.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "sin x": (np.sin, -np.pi, np.pi),
    "|x|": (np.abs, -1.0, 1.0),
    "Lennard-Jones": (lambda r: 4 * (r**-12 - r**-6), 0.98, 2.5),
}


def one_hidden_layer(width: int, rng: np.random.Generator) -> nn.Sequential:
    """Σ w1 σ(w0 u + b) for u in [-1, 1]; at first the steps, up or down, lie anywhere in the interval."""
    model = nn.Sequential(nn.Linear(1, width), nn.Sigmoid(), nn.Linear(width, 1, bias=False))
    slope = rng.choice([-1, 1], width) * rng.uniform(3, 6, width)
    model[0].weight.assign_(slope[:, None])
    model[0].bias.assign_(-slope * rng.uniform(-1, 1, width))
    return model


def train(model: nn.Sequential, u: Any, y: Any, steps: int, compiled: bool) -> None:
    """Adam on all points at once; the rate falls along a cosine."""
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps // 100, eta_min=2e-5)

    def step(u: Any, y: Any) -> None:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(u), y).backward()
        optimizer.step()

    step = tinynn.compile(step) if compiled else step
    data = tinynn.tensor(u), tinynn.tensor(y)
    for number in range(steps):
        step(*data)
        if number % 100 == 99:
            schedule.step()


def evaluate(model: nn.Module, u: Any) -> Any:
    with tinynn.no_grad():
        return model(tinynn.tensor(u)).numpy()


def approximate(name: str, width: int, seed: int, steps: int, compiled: bool) -> dict[str, Any]:
    """Errors on a fine grid: as trained, and with w1 by least squares; and the trained curve."""
    function, low, high = FUNCTIONS[name]
    u, fine = (np.linspace(-1, 1, points)[:, None] for points in (200, 997))
    x, x_fine = (low + (high - low) * (1 + v) / 2 for v in (u, fine))
    tinynn.manual_seed(seed)
    model = one_hidden_layer(width, np.random.default_rng((seed, width)))
    train(model, u, function(x), steps, compiled)
    curve, steps_only = evaluate(model, fine), model[:2]
    w1 = np.linalg.lstsq(evaluate(steps_only, u), function(x), rcond=None)[0]
    solved = evaluate(steps_only, fine) @ w1
    errors = [np.sqrt(np.mean((values - function(x_fine)) ** 2)) for values in (curve, solved)]
    return {"trained": errors[0], "solved": errors[1], "x": x_fine[:, 0], "curve": curve[:, 0]}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    from _universal_approximation_pictures import draw

    report = Report(__file__, options)
    widths = (1, 2, 4, 16) if options.quick else (1, 2, 4, 8, 16, 32, 64)
    seeds = range(options.seed, options.seed + (3 if options.quick else 7))
    steps = 2000 if options.quick else 5000
    runs = {
        (name, width): [approximate(name, width, seed, steps, options.compile) for seed in seeds]
        for name in FUNCTIONS
        for width in tqdm(widths, name, leave=False)
    }
    median = {
        kind: {name: [np.median([run[kind] for run in runs[name, w]]) for w in widths] for name in FUNCTIONS}
        for kind in ("trained", "solved")
    }
    for name, bar in zip(FUNCTIONS, (1e-6, 0.01, 1e-4), strict=True):
        trained, solved = median["trained"][name], median["solved"][name]
        what = f"{name}: error with {widths[-1]} neurons / with 1, "
        report.number(10, what + "trained", trained[-1] / trained[0], "<= 0.1", "", "<= 0.3")
        report.number(10, what + "w1 solved", solved[-1] / solved[0], f"<= {bar:g}", "", "<= 0.3")
        falls = float(np.mean(np.diff(solved) < 0))
        report.number(10, f"{name}: share of doublings that lower the error, w1 solved", falls, ">= 0.8", "", ">= 0.6")
    report.picture(draw(plt, FUNCTIONS, runs, widths, median))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
