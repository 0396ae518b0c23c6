"""Water: second derivatives through network and descriptor, frequencies with their units, and the script itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("ase")
SCRIPT = Path(__file__).parents[2] / "examples" / "water.py"


def test_the_hessian_is_the_slope_of_the_forces(example: ModuleType) -> None:
    data = example.load()
    potential = example.network()
    (group,) = data[:50].groups
    potential.fit_scaling([(group.system, potential.describe(group.positions, group.system).values, group.energy)])
    x, h = group.positions[0], 1e-4
    steps = h * np.eye(9).reshape(9, 3, 3)
    up, down = (potential.predict(x + s * steps, warn=False).forces.reshape(9, 9) for s in (1.0, -1.0))
    H = example.hessian(potential, x)
    np.testing.assert_allclose(H, (down - up) / (2 * h), atol=1e-6 * np.abs(H).max())
    np.testing.assert_allclose(H, H.T, atol=1e-10)


def test_frequencies_have_the_unit_that_is_said(example: ModuleType) -> None:
    """Two atoms of 1 u on a spring of 31.2 eV/Å² (500 N/m): ω² = 2 k/m, 4124 1/cm."""
    k, m = 500.0 / 16.02176634, 1.0  # eV/Å² and u
    H = np.zeros((6, 6))
    H[np.ix_([2, 5], [2, 5])] = k * np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = example.frequencies(H, np.array([m, m]))
    omega = np.sqrt(2 * 500.0 / 1.66053906892e-27)  # 1/s
    assert found[-1] == pytest.approx(omega / (2 * np.pi * 2.99792458e10), rel=1e-6)
    np.testing.assert_allclose(found[:5], 0.0, atol=1e-3)
    assert example.frequencies(-H, np.array([m, m]))[0] == pytest.approx(-found[-1])


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    assert "largest difference from finite differences of ASE" in run_script()
