"""The H2 curve: derived quantities by automatic differentiation, the reference, and the fit that beats the bar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynn

SCRIPT = Path(__file__).parents[2] / "examples" / "h2_curve.py"
pytest.importorskip("matplotlib")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script("--seed", "1")


def test_training_and_test_points_share_nothing_and_are_all(example: ModuleType) -> None:
    points = example.load()
    assert len(points["train"]) == len(points["test"]) == 60
    assert sorted([*points["train"], *points["test"]]) == list(range(120))


def test_minimum_and_frequency_of_a_morse_curve(example: ModuleType) -> None:
    """D (1 - exp(-a (r - re)))² - D has its minimum at re, depth D and curvature 2 D a²."""

    def morse(r: tinynn.Tensor) -> tinynn.Tensor:
        return 0.17 * (1 - tinynn.exp(-1.1 * (r - 1.45))) ** 2 - 0.17

    re, de, k = example.minimum(morse)
    assert re == pytest.approx(1.45, abs=1e-10)
    assert de == pytest.approx(0.17, abs=1e-12)
    assert k == pytest.approx(2 * 0.17 * 1.1**2, rel=1e-9)
    assert example.frequency(k) == pytest.approx(219474.6313632 * np.sqrt(k / 918.076336715), rel=1e-12)


def test_the_levels_of_a_morse_curve(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """E_v = ω (v + ½) - ω²/4D (v + ½)² - D, on the same grid."""
    d, a, re = 0.17, 1.1, 1.45
    monkeypatch.setattr(example, "energy_and_slope", lambda _, r: (d * (1 - np.exp(-a * (r - re))) ** 2 - d, None))
    omega = np.sqrt(2 * d * a**2 / example.MU)
    v = np.arange(5) + 0.5
    np.testing.assert_allclose(example.levels(None)[:5], omega * v - (omega * v) ** 2 / (4 * d) - d, atol=1e-8)


def test_the_reference_does_not_depend_on_how_it_is_read(example: ModuleType) -> None:
    points = example.load()
    r, e, slope = (points[name][:, 0] for name in ("r", "e", "slope"))
    by_slopes, by_energies = example.polynomial_minimum(r, slope), example.polynomial_minimum(r, None, e)
    assert by_slopes[0] == pytest.approx(1.4013, abs=5e-5)
    assert by_energies[0] == pytest.approx(by_slopes[0], abs=2e-5)
    assert example.frequency(by_energies[1]) == pytest.approx(example.frequency(by_slopes[1]), abs=0.5)
    assert example.polynomial_minimum(points["exact"][0], None, points["exact"][1])[0] == pytest.approx(
        1.4011, abs=5e-5
    )


def test_the_slope_of_the_target_is_the_derivative_of_the_target(example: ModuleType) -> None:
    """What L-BFGS is given for dy/dR agrees with differences of y = R E exp(R/3) along the reference."""
    points = example.load()
    r, e, slope = (points[name][:, 0] for name in ("r", "e", "slope"))
    y = r * e * np.exp(r / 3)
    dy = np.exp(r / 3) * (e + r * slope + r * e / 3)
    steps = slice(10, 60)  # where the points are close
    np.testing.assert_allclose(dy[steps], np.gradient(y, r)[steps], atol=0.02)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_short_fit_is_within_the_bar(example: ModuleType, compiled: bool) -> None:
    points = example.load()
    model = example.learn_with_lbfgs(points, seed=0, iterations=250, compiled=compiled)
    e, slope = example.energy_and_slope(model, points["r"])
    assert 1e6 * np.sqrt(np.mean((e - points["e"])[points["test"]] ** 2)) <= 20
    assert 1e6 * np.sqrt(np.mean((slope - points["slope"])[points["test"]] ** 2)) <= 297
