"""One hidden layer: the formula, the theorem's two halves, and that errors are measured between the training points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "universal_approximation.py"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script("--seed", "2")


def test_the_network_is_the_formula(example: ModuleType) -> None:
    model = example.one_hidden_layer(5, np.random.default_rng(0))
    assert model.num_parameters() == 3 * 5
    w0, b, w1 = (value.numpy() for value in model.state_dict().values())
    u = np.linspace(-1, 1, 7)
    by_hand = sum(w1[0, h] / (1 + np.exp(-(w0[h, 0] * u + b[h]))) for h in range(5))
    np.testing.assert_allclose(example.evaluate(model, u[:, None])[:, 0], by_hand, rtol=1e-13)
    centres = -b / w0[:, 0]
    assert (np.abs(centres) <= 1).all()


def test_solving_for_the_last_weights_never_hurts_at_the_training_points(example: ModuleType) -> None:
    for name in example.FUNCTIONS:
        run = example.approximate(name, 8, seed=0, steps=500, compiled=True)
        assert run["solved"] <= 1.05 * run["trained"]
        assert run["curve"].shape == run["x"].shape == (997,)


def test_four_neurons_do_better_than_one(example: ModuleType) -> None:
    one, four = (example.approximate("sin x", width, 0, 2000, True)["trained"] for width in (1, 4))
    assert four < 0.5 * one
