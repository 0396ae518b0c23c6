"""Random models, losses and optimizers: compiled steps are eager steps, to the last moment and step number.

``TINYNN_EXAMPLES=50`` asks for fifty times as many models.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

import tinynn as tn
from tests.compile.strategies import Training, trainings

TIMES = int(os.environ.get("TINYNN_EXAMPLES", "1"))
STEPS = 8  # two are recorded, six are compiled


def everything(model: Any, optimizer: Any) -> dict[str, Any]:
    """Parameters, buffers, moments, step numbers and settings, by name."""
    found = {name: np.array(t.array) for name, t in model.state_dict().items()}
    saved = optimizer.state_dict()
    for i, state in saved["state"].items():
        for name, value in state.items():
            found[f"state {i} {name}"] = np.array(value.array if isinstance(value, tn.Tensor) else value)
    for i, group in enumerate(saved["param_groups"]):
        found.update({f"group {i} {name}": value for name, value in group.items() if isinstance(value, float)})
    return found


def train(training: Training, machine: str | None, change: str) -> tuple[list[Any], list[dict[str, Any]]]:
    model, optimizer, step = training.make()
    run = step if machine is None else tn.compile(step, machine=machine)
    tn.manual_seed(11)
    losses, states = [], []
    for i, (x, y) in enumerate(training.batches(STEPS)):
        if i == STEPS - 2:
            if change == "rate":
                optimizer.param_groups[0]["lr"] *= 0.5
            elif change == "eval":
                model.eval()
            elif change == "load":
                model.load_state_dict({name: t * 0.5 for name, t in model.state_dict().items()})
            elif change == "freeze":
                next(iter(model.parameters())).requires_grad_(False)
        losses.append(np.array(run(x, y).array))
        states.append(everything(model, optimizer))
    return losses, states


def check(training: Training, machine: str, change: str) -> None:
    with np.errstate(all="ignore"):
        losses, states = train(training, None, change)
        assume(all((np.abs(loss) < 1e4).all() for loss in losses))  # it may go astray: then rounding decides
        found_losses, found_states = train(training, machine, change)
    # Adam divides by the root of what may be rounding error: a gradient that is zero but for rounding moves a
    # parameter by its rate. So single precision is held loosely
    rtol, atol = (1e-7, 1e-8) if training.dtype == "float64" else (2e-2, 5e-3)
    for i in range(STEPS):
        np.testing.assert_allclose(found_losses[i], losses[i], rtol, atol, err_msg=f"loss of step {i}")
        assert found_states[i].keys() == states[i].keys()
        for name, value in states[i].items():
            found = np.asarray(found_states[i][name])
            assert found.dtype == np.asarray(value).dtype, name
            np.testing.assert_allclose(found, value, rtol, atol, err_msg=f"{name} after step {i}")


CHANGES = ("nothing", "rate", "eval", "load", "freeze")


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=6 * TIMES)
@given(trainings())
def test_numpy_machine(change: str, training: Training) -> None:
    check(training, "numpy", change)


@settings(max_examples=8 * TIMES)
@given(trainings())
def test_kernels(training: Training) -> None:
    check(training, "numba", "nothing")
