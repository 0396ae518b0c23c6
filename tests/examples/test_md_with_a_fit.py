"""Dynamics with a fit: the coordinate of the proton, the file that is loaded, and the script itself."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("ase")
SCRIPT = Path(__file__).parents[2] / "examples" / "md_with_a_fit.py"


def test_the_coordinate_of_the_proton(example: ModuleType) -> None:
    """At the minimum it is bound to the first oxygen atom; in the data it is here and there."""
    data, minimum = example.load()
    assert example.proton_coordinate(minimum) == pytest.approx(-0.72, abs=0.01)
    q = example.proton_coordinate(data.groups[0].positions)
    assert 0.3 < np.mean(q > 0) < 0.7
    mirrored = data.groups[0].positions[:, [0, 1, 2, 4, 3, 5, 6, 7, 8]]
    np.testing.assert_allclose(example.proton_coordinate(mirrored), -q)


def test_the_saved_fit_is_used(example: ModuleType, tmp_path: Path) -> None:
    potential = example.MolecularNetwork(example.InverseDistances(9), hidden=(4,))
    potential.save(tmp_path / "malonaldehyde.safetensors")
    loaded = example.potential_of(None, Namespace(out=tmp_path))
    assert loaded.hidden == (4,)


def test_velocities_have_the_temperature(example: ModuleType) -> None:
    data, minimum = example.load()
    potential = example.MolecularNetwork(example.InverseDistances(9), hidden=(4,))
    potential.systems = data.systems
    rng = np.random.default_rng(0)
    kinetic = [example.at(minimum, potential, 500.0, rng).get_kinetic_energy() for _ in range(200)]
    assert np.mean(kinetic) / (13.5 * example.units.kB) == pytest.approx(500.0, rel=0.05)


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    assert "NVE, 0.25 fs" in run_script()
