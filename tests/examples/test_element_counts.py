"""Linear regression on element counts: every number of the syllabus to the digit, and leave-one-out by the formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "element_counts.py"
pytest.importorskip("matplotlib")


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script()


@pytest.mark.parametrize(("elements", "count", "mae"), [("H C N O F", 73, 21.2), ("", 118, 23.2)])
def test_mean_absolute_errors(example: ModuleType, elements: str, count: int, mae: float) -> None:
    names, symbols, counts, energy = example.load(elements)
    assert len(names) == count
    assert counts.shape == (count, len(symbols))
    x = example.design(counts)
    w = example.least_squares(x, energy)
    np.testing.assert_allclose(w, np.linalg.lstsq(x, energy, rcond=None)[0], atol=1e-8)
    assert round(example.KCAL * np.abs(energy - x @ w).mean(), 1) == mae


def test_leave_one_out_is_what_73_fits_without_one_give(example: ModuleType) -> None:
    _, _, counts, energy = example.load("H C N O F")
    x = example.design(counts)
    one_by_one = [
        energy[i] - x[i] @ example.least_squares(np.delete(x, i, axis=0), np.delete(energy, i)) for i in range(73)
    ]
    np.testing.assert_allclose(example.leave_one_out(x, energy), one_by_one, atol=1e-8)
    assert round(example.KCAL * np.abs(one_by_one).mean(), 1) == 23.4


def test_descent_arrives_at_the_normal_equations(example: ModuleType) -> None:
    _, _, counts, energy = example.load("H C N O F")
    x = example.design(counts)
    np.testing.assert_allclose(example.by_descent(x, energy), example.least_squares(x, energy), atol=1e-6)


def test_isomers_have_equal_counts(example: ModuleType) -> None:
    names, _, counts, energy = example.load("H C N O F")
    groups = example.isomers(names, counts, energy)
    assert ["CH3CH2OH", "CH3OCH3"] in [members for members, _ in groups]
    for members, above in groups:
        assert len({counts[names.index(name)].tobytes() for name in members}) == 1
        assert above.min() == 0
