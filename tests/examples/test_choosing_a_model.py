"""Choosing by validation loss: polynomials through the same points, and networks that learnt them by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "choosing_a_model.py"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script("--seed", "4")


@pytest.mark.parametrize("seed", range(5))
def test_every_member_of_the_family_goes_through_the_points(example: ModuleType, seed: int) -> None:
    points = example.cartoon(seed)
    for c in (0.0, 0.3, -2.0):
        np.testing.assert_allclose(example.through(points["x"], points["y"], c)(points["x"]), points["y"], atol=1e-8)
    lowest = example.through(points["x"], points["y"])
    assert lowest.degree() == 5
    assert example.mse(lowest(points["x_val"]), points["y_val"]) == pytest.approx(0.80)
    for loss in (1.5, 4.6, 20.0):
        other = example.through(points["x"], points["y"], example.factor_for(points, loss))
        assert example.mse(other(points["x_val"]), points["y_val"]) == pytest.approx(loss)


def test_five_points_are_learnt_by_heart(example: ModuleType) -> None:
    r = np.array([0.98, 1.1, 1.35, 1.8, 2.5])
    curve = example.learn_by_heart(r, example.lennard_jones(r), "tanh", 12, 1.0, seed=0, steps=2000, compiled=True)
    assert example.mse(curve(r), example.lennard_jones(r)) < 1e-6


def test_ranks(example: ModuleType) -> None:
    np.testing.assert_array_equal(example.ranks([0.3, 0.1, 0.2]), [2, 0, 1])
