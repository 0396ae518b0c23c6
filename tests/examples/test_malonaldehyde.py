"""Features of a molecule: what they are, how the sets are divided, and the script itself."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
SCRIPT = Path(__file__).parents[2] / "examples" / "malonaldehyde.py"


def test_the_division_is_one_into_blocks(example: ModuleType) -> None:
    data = example.load()
    assert [len(data[part]) for part in (example.TRAIN, example.VALIDATION, example.TEST)] == [2500, 200, 300]
    assert example.TRAIN.stop == example.VALIDATION.start
    assert example.VALIDATION.stop == example.TEST.start


def test_each_set_of_features_has_the_symmetry_that_is_said(example: ModuleType) -> None:
    data = example.load()[::300]
    (group,) = data.groups
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    order = [0, 1, 2, 4, 3, 5, 7, 6, 8]  # equal elements exchanged
    for name, (make, _) in example.FEATURES.items():
        potential = make()
        energies = [
            potential.predict(x, group.system, forces=False, warn=False).energy
            for x in (group.positions, group.positions @ turn + 1.0, group.positions[:, order])
        ]
        turned, exchanged = (np.abs(other - energies[0]).max() > 1e-6 for other in energies[1:])
        assert turned == (name == "Cartesian coordinates")
        assert exchanged == (name != "symmetry functions")


def test_distances_learn_what_coordinates_do_not(example: ModuleType) -> None:
    options = Namespace(seed=0, compile=True)
    data = example.load()
    curves = {
        name: example.learning_curve(name, data, example.BOTH, (400,), 1500, options)
        for name in ("Cartesian coordinates", "inverse distances")
    }
    assert curves["inverse distances"][0] < 25.0  # meV
    assert curves["Cartesian coordinates"][0] > 3 * curves["inverse distances"][0]


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str], tmp_path: Path) -> None:
    printed = run_script()
    assert "symmetry functions, 200 energies" in printed
    assert (tmp_path / "pictures" / "malonaldehyde_fit.png").exists()
    assert (tmp_path / "pictures" / "malonaldehyde.safetensors").exists()
