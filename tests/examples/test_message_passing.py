"""Message passing: invariances, forces, and the script itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynn

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
SCRIPT = Path(__file__).parents[2] / "examples" / "message_passing.py"
NUMBERS = np.array([8, 1, 1, 6, 1])


@pytest.fixture
def molecules() -> np.ndarray:
    rng = np.random.default_rng(3)
    spread = 1.3 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, 0]], float)
    return spread + 0.2 * rng.standard_normal((4, 5, 3))


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_invariance_and_forces(example: ModuleType, molecules: np.ndarray, rounds: int) -> None:
    model = example.MessagePassing(rounds)
    changes = example.invariance(model, molecules, NUMBERS, np.random.default_rng(0))
    assert changes.keys() == {"permutation", "rotation", "translation"}
    if rounds:
        assert max(changes.values()) <= 1e-12
        assert example.gradient_error(model, molecules[0], NUMBERS) <= 1e-6


def test_a_swap_of_two_elements_is_seen(example: ModuleType, molecules: np.ndarray) -> None:
    """The invariance is one under renaming atoms, not under exchanging what they are."""
    model = example.MessagePassing(2)
    x = tinynn.tensor(molecules)
    before, after = (model(x, NUMBERS[order]).detach().numpy() for order in ([0, 1, 2, 3, 4], [1, 0, 2, 3, 4]))
    assert np.abs(before - after).max() > 1e-6


def test_without_messages_the_energy_is_a_constant(example: ModuleType, molecules: np.ndarray) -> None:
    energy, forces = example.energy_and_forces(example.MessagePassing(0), tinynn.tensor(molecules), NUMBERS)
    assert np.ptp(energy.detach().numpy()) == 0.0
    assert not forces.numpy().any()


def test_compiled_and_eager_reach_the_same(example: ModuleType) -> None:
    data = example.load()
    data["positions"] = np.concatenate([data["positions"][:32], data["positions"][2700:2710]])
    data["energy"] = np.concatenate([data["energy"][:32], data["energy"][2700:2710]])
    data["forces"] = np.concatenate([data["forces"][:32], data["forces"][2700:2710]])
    before, example.TRAIN = example.TRAIN, 32
    try:
        found = [example.errors(example.fit(data, 1, 2, 0, compiled), data) for compiled in (True, False)]
    finally:
        example.TRAIN = before
    np.testing.assert_allclose(found[0]["energy"], found[1]["energy"], rtol=1e-9)
    np.testing.assert_allclose(found[0]["forces"], found[1]["forces"], rtol=1e-7, atol=1e-9)


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    printed = run_script()
    assert "change of energies and forces by a permutation" in printed
