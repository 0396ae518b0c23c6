"""The search: what is trained, what TensorBoard finds, what is opened last."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("tensorboardX")

SCRIPT = Path(__file__).parents[2] / "examples" / "hyperparameters.py"


def test_short_form(run_script: Callable[..., str], tmp_path: Path) -> None:
    run_script()
    record = json.loads((tmp_path / "pictures" / "hyperparameters.json").read_text(encoding="utf-8"))
    assert record["numbers"][-1]["what"].startswith("the vault, opened once")
    assert len(list((tmp_path / "pictures" / "runs" / "hyperparameters").iterdir())) == 7


def test_the_grid_is_that_of_the_course(example: ModuleType) -> None:
    assert len(list(itertools.product(example.DEPTHS, example.WIDTHS, example.LEARNING_RATES))) == 45
    options = example.parser("", compiles=True).parse_args([])
    assert example.network(3, 32, 1e-4, 5, options).network == (32, 32, 32)


def test_tensorboard_reads_a_run(example: ModuleType, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    options = example.parser("", compiles=True).parse_args(["--no-compile"])
    options.logdir = tmp_path
    train, val, _ = example.load_data()
    results = example.grid_search(train, val, [(2, 32, 1e-3)], 3, options)
    reader = events.EventAccumulator(str(example.run_folder(tmp_path, 2, 32, 1e-3))).Reload()
    model = results[2, 32, 1e-3]
    for tag, values in (("Loss/train", model.loss_curve_), ("Loss/val", model.validation_loss_curve_)):
        found = reader.Scalars(tag)
        assert [event.step for event in found] == [1, 2, 3]
        np.testing.assert_allclose([event.value for event in found], values, rtol=1e-6)
    assert min(model.validation_loss_curve_) == model.best_loss_


def test_random_search_draws_other_sizes_and_rates(example: ModuleType) -> None:
    options = example.parser("", compiles=True).parse_args(["--no-compile"])
    train, val, _ = example.load_data()
    found = example.random_search(train, val, 1, 3, options)
    assert found.shape == (3,)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, example.random_search(train, val, 1, 3, options))
