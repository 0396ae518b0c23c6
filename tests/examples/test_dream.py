"""Dreams: the script, and that the image is what moves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "dream.py"
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script("--seed", "1")


def test_the_image_moves_and_the_weights_stay() -> None:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import _digits
        import dream
    finally:
        sys.path.remove(str(SCRIPT.parent))
    data = _digits.load_digits()
    model = _digits.made(_digits.LeNet, 0)
    before = [p.detach().numpy().copy() for p in model.parameters()]
    prior = dream.drawings(data[0])
    images = [dream.dream(model, prior, 0.01, 30, 0, compiled) for compiled in (True, False)]
    for old, p in zip(before, model.parameters()):
        np.testing.assert_array_equal(p.detach().numpy(), old)
        assert p.requires_grad
    (compiled, path), (eager, _) = images
    np.testing.assert_allclose(compiled, eager, atol=1e-3)
    assert path[-1] > path[0]
    assert compiled.min() >= 0
    assert compiled.max() <= 1


def test_the_prior_is_a_normal_distribution() -> None:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import dream
    finally:
        sys.path.remove(str(SCRIPT.parent))
    images = np.random.default_rng(0).standard_normal((500, 1, 8, 8))
    mean, precision = dream.drawings(images)
    np.testing.assert_allclose(mean, images.reshape(500, 64).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        precision @ (np.cov(images.reshape(500, 64).T) + 1e-3 * np.eye(64)), np.eye(64), atol=1e-4
    )
