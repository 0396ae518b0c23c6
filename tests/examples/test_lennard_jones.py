"""Lennard-Jones with 311 parameters: the descriptor, the network, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "lennard_jones.py"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script("--seed", "3")


def test_311_parameters_and_no_other_network_of_equal_widths(example: ModuleType) -> None:
    assert example.network().num_parameters() == 311
    same = [
        (inputs, width)
        for inputs in range(1, 13)
        for width in range(1, 60)
        if (inputs + 1) * width + 2 * (width + 1) * width + width + 1 == 311
    ]
    assert same == [(7, 10)]


def test_descriptor(example: ModuleType) -> None:
    np.testing.assert_array_equal(example.descriptor("H", "O", np.array([1.5])), [[1, 0, 0, 0, 0, 1, 1.5]])
    np.testing.assert_array_equal(example.descriptor("C", "C", np.array([2.0])), [[0, 1, 0, 0, 1, 0, 2.0]])


def test_the_curve_and_the_pairs(example: ModuleType) -> None:
    r = 2 ** (1 / 6)
    assert example.lennard_jones(r) == pytest.approx(-1.0)
    assert example.lennard_jones(1.0) == 0.0
    epsilon, sigma = example.pair_parameters("H", "C")
    assert example.pair_parameters("C", "H") == (epsilon, sigma)
    assert sigma * r == pytest.approx(np.sqrt(2.886 * 3.851))
    assert epsilon == pytest.approx(4.184 * np.sqrt(0.044 * 0.105))
    assert example.lennard_jones(sigma * r, epsilon, sigma) == pytest.approx(-epsilon)


def test_the_best_weights_are_those_of_the_lowest_validation_loss(example: ModuleType) -> None:
    data, held_out = example.noisy_points(0)
    fit = example.train(*data, held_out, steps=600)
    assert fit.losses.shape == (600, 2)
    assert fit.best == fit.losses[:, 1].argmin() < 599
    for weights, step in ((fit.at_best, fit.best), (fit.energy, -1)):
        loss = np.mean((weights(held_out[0]) - held_out[1]) ** 2)
        assert loss == pytest.approx(fit.losses[step, 1], rel=1e-9)


def test_eager_and_compiled_agree(example: ModuleType) -> None:
    data, held_out = example.noisy_points(1)
    eager, compiled = (example.train(*data, held_out, steps=100, compiled=kind) for kind in (False, True))
    np.testing.assert_allclose(compiled.losses, eager.losses, rtol=1e-7)
