"""How a deep network begins: all numbers of the script, and the variances by theory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "initialisation.py"


def test_short_form(run_script: Callable[..., str]) -> None:
    run_script()


@pytest.mark.parametrize("seed", [0, 1])
def test_variances_from_layer_to_layer(example: ModuleType, seed: int) -> None:
    example.tinynn.manual_seed(seed)
    init, nn = example.nn.init, example.nn
    standard = [x.var() for x in example.activations(example.deep_network(init.standard_uniform_, nn.Tanh), nn.Tanh)]
    assert 2.5 < (standard[3] / standard[8]) ** (1 / 5) < 3.5
    normalised = [x.var() for x in example.activations(example.deep_network(init.xavier_uniform_, nn.Tanh), nn.Tanh)]
    assert normalised[-1] / normalised[0] > 0.1
    norm = example.activations(example.deep_network(init.standard_uniform_, nn.Tanh, norm=True), nn.Tanh)
    np.testing.assert_allclose([x.var() for x in norm], norm[0].var(), rtol=0.02)


def test_the_steps_can_be_walked_through(example: ModuleType) -> None:
    example.tinynn.manual_seed(0)
    training, _ = example.digits()
    model = example.nn.Sequential(example.nn.Linear(64, 10))
    data = training[0][:64], training[1][:64]
    before, _ = example.loss_and_accuracy(model, data)
    example.train(model, example.optim.SGD(model.parameters(), lr=0.1), data, 3, compiled=False)
    assert example.loss_and_accuracy(model, data)[0] < before
