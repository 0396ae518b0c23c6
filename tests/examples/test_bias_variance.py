"""Bias and variance: the decomposition, the averages, and that fits depend on nothing but their seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "bias_variance.py"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script()


def test_error_is_bias_and_variance(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fits that are the true curve plus a constant of each training set, both parts are known."""
    shifts = iter([0.1, 0.3, 0.5])
    monkeypatch.setattr(example, "train", lambda *_, **__: (example.lennard_jones(example.GRID) + next(shifts), 0.2))
    found = example.many_fits(3, lambda rng: rng.uniform(1, 2, 5), 0.1, seed=0)
    assert found["bias"] == pytest.approx(0.3)
    assert found["spread"] == pytest.approx(np.std([0.1, 0.3, 0.5]))
    assert found["error"] ** 2 == pytest.approx(found["bias"] ** 2 + found["spread"] ** 2)
    assert found["training"] == pytest.approx(0.2)


def test_training_sets_differ_and_come_back(example: ModuleType) -> None:
    seen = []

    def points(rng: np.random.Generator) -> np.ndarray:
        seen.append(rng.uniform(0.98, 2.5, 6))
        return seen[-1]

    first, again = (example.many_fits(2, points, 0.1, seed=4, width=3, steps=100) for _ in range(2))
    np.testing.assert_array_equal(first["curves"], again["curves"])
    assert not np.array_equal(seen[0], seen[1])


def test_weight_decay_keeps_a_wide_network_smooth(example: ModuleType) -> None:
    r = np.linspace(0.98, 2.5, 20)
    y = example.lennard_jones(r) + 0.2 * np.random.default_rng(0).standard_normal(20)
    (plain, error), (smooth, kept) = (example.train(r, y, 64, 0, decay, steps=2000) for decay in (0.0, 1e-3))
    assert error < kept
    true = example.lennard_jones(example.GRID)
    assert np.sqrt(np.mean((smooth - true) ** 2)) < np.sqrt(np.mean((plain - true) ** 2))
