"""Random models, losses and optimizers: compiled steps are eager steps, to the last moment and step number.

``TINYNN_EXAMPLES=50`` asks for fifty times as many models.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinynn as tn
from tests.compiler.strategies import Training, trainings

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


def train(
    training: Training, machine: str | None, change: str, digits: float = 0.0, recompute: bool = False
) -> list[dict[str, Any]]:
    """The loss and everything else after each step."""
    model, optimizer, step = training.make()
    run = step if machine is None else tn.compile(step, machine=machine, recompute=recompute)
    tn.manual_seed(11)
    rng = np.random.default_rng(2)
    if digits:
        for p in model.parameters():
            p.assign_(p.array * (1.0 + digits * rng.choice([-1.0, 1.0], p.shape)).astype(p.dtype))
    states = []
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
        loss = np.array(run(x, y).array)
        states.append({"loss": loss, **everything(model, optimizer)})
    return states


def check(training: Training, machine: str, change: str, recompute: bool) -> None:
    """Compare everything after every step.

    What rounding decides (a bias before a batch norm has no gradient but rounding errors, which Adam takes for whole
    steps) is found by a second ordinary training from parameters that are changed in their last digits.
    """
    with np.errstate(all="ignore"):
        eager = train(training, None, change)
        assume(all((np.abs(found["loss"]) < 1e4).all() for found in eager))  # it may go astray
        digits = 1e-15 if training.dtype == "float64" else 3e-7
        nudged = train(training, None, change, digits)
        compiled = train(training, machine, change, recompute=recompute)
    rtol, atol = (1e-9, 1e-10) if training.dtype == "float64" else (2e-4, 2e-5)
    for i in range(STEPS):
        assert compiled[i].keys() == eager[i].keys()
        for name, value in eager[i].items():
            found = np.asarray(compiled[i][name])
            assert found.dtype == np.asarray(value).dtype, name
            unsure = 30 * float(np.max(np.abs(np.subtract(value, nudged[i][name], dtype=float)), initial=0.0))
            np.testing.assert_allclose(found, value, rtol, atol + unsure, err_msg=f"{name} after step {i}")


CHANGES = ("nothing", "rate", "eval", "load", "freeze")


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=6 * TIMES)
@given(trainings(), st.booleans())
def test_numpy_machine(change: str, training: Training, recompute: bool) -> None:
    check(training, "numpy", change, recompute)


@settings(max_examples=8 * TIMES)
@given(trainings(), st.booleans())
def test_kernels(training: Training, recompute: bool) -> None:
    check(training, "numba", "nothing", recompute)
