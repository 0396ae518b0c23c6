"""Good practice: memorising, fake and shuffled targets, invariances of descriptors, screening."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinynn import nn

SCRIPT = Path(__file__).parents[2] / "examples" / "overfit_a_batch.py"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    printed = run_script("--seed", "1")
    assert printed.count("NOT memorised") == 6


def test_each_mistake_gets_its_own_hint(example: ModuleType) -> None:
    checks = example.memorise(5)
    assert checks.pop("right")
    words = ("samples 0 and 1", "scale them", "exploded", "still falling", "gradient of zeros", "dropout is on")
    for (name, result), word in zip(checks.items(), words, strict=True):
        assert not result, name
        assert word in " ".join(result.hints), name


def test_descriptors(example: ModuleType) -> None:
    positions, energy, numbers = example.load(5)
    assert positions.shape == (5, 9, 3)
    assert energy.shape == (5, 1)
    assert numbers.tolist() == [6, 6, 6, 8, 8, 1, 1, 1, 1]
    assert example.inverse_distances(positions).shape == (5, 36)
    assert example.inverse_distances(positions)[0, 0] == pytest.approx(
        1 / np.linalg.norm(positions[0, 0] - positions[0, 1])
    )
    assert example.changes(example.inverse_distances, 0)["rotated"] < 1e-12
    assert example.changes(example.cartesian, 0)["moved"] > 0.01


def test_an_epoch_is_the_same_length_compiled_or_not(example: ModuleType) -> None:
    positions, energy, _ = example.load(120)
    x = example.inverse_distances(positions)
    errors = []
    for compiled in (True, False):
        training = example.Training((x[:100], energy[:100]), (x[100:], energy[100:]), 8, 1e-2, nn.Tanh, compiled)
        errors.append([training.train(1), training.train(5)])
        assert training.epochs == 6
    assert np.array(errors)[:, 1].max() < 2 * energy.std()
