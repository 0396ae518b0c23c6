"""The bond of H2: one curve, learnt three ways, and what follows from it (row 9 of the syllabus).

The set has 120 bond lengths R with full-CI energies E (zero: two atoms) and slopes dE/dR. Every other point is
learnt, the rest is the test.

1. Adam on E: the wall at small R is a hundred times higher than the errors that matter, and dominates the loss.
2. Adam on R·E: the nuclear repulsion 1/R is divided out.
3. L-BFGS on y = R·E·exp(R/3), from the inputs R and exp(-R/1.5), with energies and slopes in the loss,

       L = Σ (y - y_ref)² + Σ (dy/dR - dy_ref/dR)²,   dy/dR = exp(R/3) (E + R dE/dR + R E/3)

   y has no steep ends, so that the network need not be large; L-BFGS, which learns the curvature of the loss from
   its last steps, then gets a hundred times further than Adam.

The well depth De, the bond length Re and the force constant k = d²E/dR² at the minimum follow by automatic
differentiation, the vibrational frequency from ω = √(k/μ), with μ half the mass of a proton. The vibrational levels
are the eigenvalues of -1/(2μ) d²/dR² + E(R) on a grid (Colbert & Miller, J. Chem. Phys. 96, 1982 (1992)).

    python examples/h2_curve.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _example import DATA, Report, parser, start

import tinynn
from tinynn import nn, optim
from tinynn.data import StandardScaler
from tinynn.func import grad

MU = 1836.15267343 / 2  # reduced mass of two protons, in electron masses
WAVENUMBER = 219474.6313632  # cm⁻¹ per hartree
MEASURED = 4161.166  # cm⁻¹, from the lowest level to the next (Dickenson et al., Phys. Rev. Lett. 110, 193601 (2013))


def load() -> dict[str, Any]:
    """R, E and dE/dR as columns in atomic units; every other point is for training, the rest for the test."""
    with np.load(DATA / "h2_fci.npz") as file:
        r, e, slope = file["R"], file["energy"] - 2 * file["E_atom"], file["dEdR"]
    with np.load(DATA / "h2_exact.npz") as file:
        exact = file["R"], file["energy"] - 2 * file["E_atom"]
    rows = np.arange(len(r))
    return {"r": r[:, None], "e": e[:, None], "slope": slope[:, None], "train": rows[::2], "test": rows[1::2],
            "exact": exact}  # fmt: skip


class Curve(nn.Module):
    """E(R) = network(features of R) / factor(R); features and targets are scaled inside."""

    def __init__(self, r: Any, e: Any, features: Callable, factor: Callable, width: int) -> None:
        super().__init__()
        self.features, self.factor = features, factor
        self.input = StandardScaler().fit(features(tinynn.tensor(r)))
        self.output = StandardScaler().fit(factor(r) * e)
        size = self.input.mean.size
        self.network = nn.Sequential(
            nn.Linear(size, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, r: Any) -> Any:
        """The scaled target, of mean 0 and deviation 1 over the training points."""
        return self.network(self.input(self.features(r)))

    def energy(self, r: Any) -> Any:
        return self.output.inverse_transform(self(r)) / self.factor(r)


def fit_with_adam(model: Curve, r: Any, e: Any, steps: int, compiled: bool) -> None:
    """All points at once; the rate falls along a cosine."""
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps // 100, eta_min=1e-5)

    def step(r: Any, target: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(r), target)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    r, target = tinynn.tensor(r), tinynn.tensor(model.output.transform(model.factor(r) * e))
    for number in range(steps):
        step(r, target)
        if number % 100 == 99:
            schedule.step()


def fit_with_lbfgs(model: Curve, r: Any, e: Any, slope: Any, iterations: int, compiled: bool) -> int:
    """Energies and slopes in the loss; returns how often the loss was computed."""
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=iterations, max_eval=2 * iterations, history_size=50,
        tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe",
    )  # fmt: skip
    scale = model.output.scale.item()
    target = model.output.transform(r * np.exp(r / 3) * e)
    target_slope = np.exp(r / 3) * (e + r * slope + r * e / 3) / scale

    def loss_and_gradient(r: Any, target: Any, target_slope: Any) -> Any:
        r = r.detach().requires_grad_()
        y = model(r)
        dy = tinynn.grad(y.sum(), r, create_graph=True)
        loss = nn.functional.mse_loss(y, target) + nn.functional.mse_loss(dy, target_slope)
        loss.backward()
        return loss

    run = tinynn.compile(loss_and_gradient) if compiled else loss_and_gradient
    data = [tinynn.tensor(values) for values in (r, target, target_slope)]
    calls = 0

    def closure() -> Any:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        return run(*data)

    optimizer.step(closure)
    return calls


def learn(points: dict[str, Any], seed: int, quick: bool, compiled: bool) -> dict[str, Curve]:
    """The three fits."""
    r, e = (points[name][points["train"]] for name in ("r", "e"))
    adam_steps, iterations = (2500, 400) if quick else (13_600, 2000)
    fits = {}
    for name, factor in (("Adam, E", lambda r: 1.0), ("Adam, R·E", lambda r: r)):
        tinynn.manual_seed(seed)
        fits[name] = Curve(r, e, lambda r: r, factor, width=32)
        fit_with_adam(fits[name], r, e, adam_steps, compiled)
    fits["L-BFGS"] = learn_with_lbfgs(points, seed, iterations, compiled)
    return fits


def learn_with_lbfgs(points: dict[str, Any], seed: int, iterations: int, compiled: bool) -> Curve:
    """The third fit alone."""
    r, e, slope = (points[name][points["train"]] for name in ("r", "e", "slope"))
    tinynn.manual_seed(seed)
    model = Curve(
        r, e, lambda r: tinynn.concatenate([r, tinynn.exp(-r / 1.5)], axis=1), lambda r: r * np.exp(r / 3), width=16
    )
    calls = fit_with_lbfgs(model, r, e, slope, iterations, compiled)
    print(f"L-BFGS computed the loss {calls} times")
    return model


def energy_and_slope(model: Curve, r: Any) -> tuple[Any, Any]:
    """E and dE/dR at some bond lengths (a column), as arrays."""
    r = tinynn.tensor(r, requires_grad=True)
    e = model.energy(r)
    return e.detach().numpy(), tinynn.grad(e.sum(), r).numpy()


def minimum(energy: Callable[[Any], Any], r: float = 1.4) -> tuple[float, float, float]:
    """Re, De and d²E/dR² there, by Newton's method R ← R - E'/E'' with automatic derivatives."""
    first = grad(lambda r: energy(r).sum())
    second = grad(lambda r: first(r).sum())
    at = tinynn.tensor([[r]])
    for _ in range(8):
        at = at - first(at) / second(at)
    return at.item(), -energy(at).item(), second(at).item()


def polynomial_minimum(r: Any, slope: Any, energy: Any = None) -> tuple[float, float]:
    """Re and d²E/dR² from points near the minimum, by a polynomial of degree 10 through the slopes or energies."""
    near = (r > 0.89) & (r < 2.21)
    fit = np.polynomial.Polynomial.fit
    slope = fit(r[near], energy[near], 11).deriv() if slope is None else fit(r[near], slope[near], 10)
    re = min(slope.roots(), key=lambda root: abs(root - 1.4)).real
    return float(re), float(slope.deriv()(re))


def frequency(k: float) -> float:
    """ω = √(k/μ), in cm⁻¹."""
    return float(np.sqrt(k / MU) * WAVENUMBER)


def levels(model: Curve) -> Any:
    """The vibrational levels, in hartree above the two atoms: sinc functions on a grid of 300 points."""
    r = np.linspace(0.4, 6.4, 300)
    i = np.arange(len(r))
    apart = i[:, None] - i
    with np.errstate(divide="ignore"):
        kinetic = np.where(apart == 0, np.pi**2 / 3, 2.0 * (-1.0) ** apart / apart**2) / (2 * MU * (r[1] - r[0]) ** 2)
    potential = energy_and_slope(model, r[:, None])[0][:, 0]
    return np.linalg.eigvalsh(kinetic + np.diag(potential))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    from _h2_curve_pictures import draw

    report = Report(__file__, options)
    points = load()
    fits = learn(points, options.seed, options.quick, options.compile)
    r, test = points["r"], points["test"]

    for (name, model), bar, quick in zip(fits.items(), (350, 150, 20), (2500, 1500, 50), strict=True):
        e, slope = energy_and_slope(model, r)
        error = 1e6 * np.sqrt(np.mean((e - points["e"])[test] ** 2))
        report.number(9, f"{name}: test RMSE of E", error, f"<= {bar}", "µEh", f"<= {quick}")
    error = 1e6 * np.sqrt(np.mean((slope - points["slope"])[test] ** 2))
    report.number(9, "L-BFGS: test RMSE of dE/dR", error, "<= 297", "µEh/a0", "<= 297")

    re, de, k = minimum(model.energy)
    re_reference, k_reference = polynomial_minimum(r[:, 0], points["slope"][:, 0])
    re_exact, k_exact = polynomial_minimum(points["exact"][0], None, points["exact"][1])
    print(f"Re / a0: network {re:.4f}, full CI {re_reference:.4f}, exact {re_exact:.4f}")
    print(f"De / Eh: network {de:.6f}, full CI 0.174234, exact {-points['exact'][1].min():.6f}")
    bars = {"bar": "<= 0.1", "unit": "mEh", "quick": "<= 0.1"}
    report.number(9, "well depth: |network - full CI|", 1e3 * abs(de - 0.174234), **bars)
    bars = {"bar": "<= 0.002", "unit": "a0", "quick": "<= 0.002"}
    report.number(9, "bond length: |network - full CI|", abs(re - re_reference), **bars)
    report.number(9, "bond length: |network - exact|", abs(re - re_exact), **bars)
    report.number(9, "harmonic frequency, network", frequency(k), None, "cm⁻¹")
    bars = {"bar": "<= 10", "unit": "cm⁻¹", "quick": "<= 10"}
    report.number(9, "harmonic frequency: |network - full CI|", abs(frequency(k) - frequency(k_reference)), **bars)
    report.number(9, "harmonic frequency: |network - exact|", abs(frequency(k) - frequency(k_exact)), **bars)
    states = levels(model)
    first = (states[1] - states[0]) * WAVENUMBER
    report.number(9, "first vibrational transition, network", first, None, "cm⁻¹")
    report.number(9, "first vibrational transition: |network - measured|", abs(first - MEASURED), **bars)

    report.picture(draw(plt, points, fits, states, {"re": re, "de": de, "k": k, "measured": MEASURED}))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
