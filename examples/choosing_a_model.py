"""Two models with a training loss of zero: which one? (row 13 of the syllabus)

Models that go through all training points cannot be told apart by the training loss: L_t = 0.00 for each of them.
Points that took no part in the training tell them apart.

1. Polynomials. If p(x) goes through the points x_i, then so does p(x) + c·Π(x - x_i), for every c. The validation
   loss of this family is a parabola in c; two of its members have L_v = 0.80 and 4.60, as in the lecture's cartoon.
2. Networks. Other activations, widths and first weights: all learn five points of the Lennard-Jones curve by heart.
   The one with the lowest validation loss is chosen, and only then is the test loss looked at.

    python examples/choosing_a_model.py
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from _example import Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn import nn, optim

ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "GELU": nn.GELU, "SiLU": nn.SiLU, "ReLU": nn.ReLU}


def mse(a: Any, b: Any) -> float:
    return float(np.mean((a - b) ** 2))


# ----------------------------------------------------------------------------------------------- polynomials


def cartoon(seed: int) -> dict[str, Any]:
    """Six training and six validation points of a smooth curve with noise, in units that make L_v of p 0.80."""
    rng = np.random.default_rng(seed)
    x, x_val = np.arange(6.0), np.array([0.4, 1.6, 2.3, 2.8, 3.5, 4.5])
    y, y_val = (np.sin(0.9 * t) + 0.25 * t + 0.1 * rng.standard_normal(6) for t in (x, x_val))
    unit = np.sqrt(0.80 / mse(through(x, y)(x_val), y_val))
    return {"x": x, "y": unit * y, "x_val": x_val, "y_val": unit * y_val}


def through(x: Any, y: Any, c: float = 0.0) -> np.polynomial.Polynomial:
    """The polynomial of lowest degree through all points, plus c Π(x - x_i), which is zero at each of them."""
    nodal = np.polynomial.Polynomial.fromroots(x)
    lowest = np.polynomial.Polynomial(np.linalg.solve(np.vander(x, increasing=True), y))
    return lowest + c * nodal


def factor_for(points: dict[str, Any], loss: float) -> float:
    """The c > 0 for which L_v = mean (p + c q - y)² has the given value: a quadratic equation."""
    q = np.polynomial.Polynomial.fromroots(points["x"])(points["x_val"])
    off = through(points["x"], points["y"])(points["x_val"]) - points["y_val"]
    return float(np.polynomial.Polynomial([np.mean(off**2) - loss, 2 * np.mean(off * q), np.mean(q**2)]).roots().max())


# -------------------------------------------------------------------------------------------------- networks


def lennard_jones(r: Any) -> Any:
    return 4 * (r**-12 - r**-6)


def learn_by_heart(r: Any, y: Any, kind: str, width: int, gain: float, seed: int, steps: int, compiled: bool) -> Any:
    """A 1-width-width-1 network, its first weights multiplied by ``gain``, trained with Adam; returns the curve."""
    tinynn.manual_seed(seed)
    act = ACTIVATIONS[kind]
    model = nn.Sequential(nn.Linear(1, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 1))
    for layer in (model[0], model[2]):
        layer.weight.assign_(gain * layer.weight.detach())
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps // 100, eta_min=1e-5)

    def inputs(r: Any) -> Any:
        return tinynn.tensor((r[:, None] - 1.0) / 0.45)

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()

    step = tinynn.compile(step) if compiled else step
    data = inputs(r), tinynn.tensor(y[:, None])
    for number in range(steps):
        step(*data)
        if number % 100 == 99:
            schedule.step()

    def curve(r: Any) -> Any:
        with tinynn.no_grad():
            return model(inputs(r)).numpy()[:, 0]

    return curve


def ranks(values: Any) -> Any:
    return np.argsort(np.argsort(values))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    from _choosing_a_model_pictures import draw

    report, quick = Report(__file__, options), options.quick

    # 1. Two polynomials through the same points.
    points = cartoon(options.seed)
    c = factor_for(points, 4.60)
    models = {"A": through(points["x"], points["y"]), "B": through(points["x"], points["y"], c)}
    losses = {
        name: [mse(p(points[f"x{part}"]), points[f"y{part}"]) for part in ("", "_val")] for name, p in models.items()
    }
    for name, value in (("A", 0.80), ("B", 4.60)):
        report.number(13, f"polynomial {name}: training loss", round(losses[name][0], 2), "== 0", "", "== 0")
        report.number(
            13, f"polynomial {name}: validation loss", round(losses[name][1], 2), f"== {value}", "", f"== {value}"
        )
    report.number(13, "the choice: A (0) or B (1)", losses["A"][1] > losses["B"][1], "== 0", "", "== 0")

    # 2. Many networks through the same points.
    rng = np.random.default_rng(options.seed)
    r = np.array([0.98, 1.1, 1.35, 1.8, 2.5])
    r_val, r_test = 0.98 + 1.52 * (np.arange(12) + rng.random(12)) / 12, np.linspace(0.98, 2.5, 500)
    y, y_val, y_test = lennard_jones(r), lennard_jones(r_val), lennard_jones(r_test)
    kinds = [*product(ACTIVATIONS, (12, 32), (1.0,) if quick else (1.0, 2.0, 3.0))]
    names, curves, table = [], [], []
    for number, (kind, width, gain) in enumerate(tqdm(kinds, "networks", leave=False)):
        steps = 2000 if quick else 8000
        curve = learn_by_heart(r, y, kind, width, gain, options.seed + number, steps, options.compile)
        losses_of = mse(curve(r), y), mse(curve(r_val), y_val), mse(curve(r_test), y_test)
        if losses_of[0] < 0.005:  # 0.00 to two digits; a ReLU network may be too dead for that
            names.append(f"{kind}, width {width}, first weights × {gain:g}")
            curves.append(curve)
            table.append(losses_of)
    train, validation, test = np.array(table).T
    chosen = int(validation.argmin())
    print(f"chosen of {len(names)}: {names[chosen]}")
    report.number(13, f"of {len(kinds)} networks, with a training loss of 0.00", len(names), ">= 20", "", ">= 7")
    report.number(13, "largest / lowest validation loss", validation.max() / validation.min(), ">= 5", "", ">= 3")
    report.number(
        13, "test loss of the chosen one / median of all", test[chosen] / np.median(test), "<= 0.5", "", "<= 1"
    )
    by_train, by_validation = (np.corrcoef(ranks(losses), ranks(test))[0, 1] for losses in (train, validation))
    report.number(13, "rank correlation of validation and test loss", by_validation, ">= 0.5", "", ">= 0.3")
    report.number(13, "rank correlation of training and test loss", by_train)

    report.picture(draw(plt, points, models, losses, (r, y, r_val, y_val), curves, (train, validation, test), chosen))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
