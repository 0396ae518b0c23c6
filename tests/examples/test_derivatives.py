"""Derivatives on paper and by program: all numbers of the script, at several seeds where chance has a part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "derivatives.py"


def test_short_form(run_script: Callable[..., str]) -> None:
    assert "∂f" not in run_script()  # symbols of the picture stay there


@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_vanish_or_not_whatever_the_seed(example: ModuleType, seed: int) -> None:
    sigmoid = example.gradient_norms(lambda n: (example.nn.Linear(n, n), example.nn.Sigmoid()), seed)
    assert (sigmoid[:-1] / sigmoid[-1] <= 4.0 ** -np.arange(9, 0, -1)).all()
    relu = example.gradient_norms(example.relu_layer, seed)
    assert 0.1 <= relu[0] / relu[-1] <= 10.0
