"""Oxygen on Pd(100): many trajectories at once are what ASE computes one by one; fates; the script itself."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynn

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("ase")
pytest.importorskip("numba")
SCRIPT = Path(__file__).parents[2] / "examples" / "o2_pd100_dynamics.py"


@pytest.fixture(scope="module")
def potential(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    options = Namespace(out=tmp_path_factory.mktemp("out"), quick=True, seed=0, compile=True)
    return example.potential_of(options)


def test_molecules_arrive_as_is_said(example: ModuleType, potential: Any) -> None:
    energy = np.linspace(0.1, 1.0, 40)
    x, v = example.arriving(potential, energy, 0.3, np.random.default_rng(0))
    np.testing.assert_allclose(x.mean(axis=1)[:, 2], example.START)
    bond = x[:, 1] - x[:, 0]
    np.testing.assert_allclose(np.linalg.norm(bond, axis=1), np.linalg.norm(bond[0]))
    np.testing.assert_allclose(v.mean(axis=1)[:, :2], 0.0, atol=1e-15)
    np.testing.assert_allclose(example.MASS * v.mean(axis=1)[:, 2] ** 2, energy)
    spin = v[:, 1] - v[:, 0]
    np.testing.assert_allclose((spin * bond).sum(axis=1), 0.0, atol=1e-15)  # turning, not vibrating
    np.testing.assert_allclose(example.MASS * (spin**2).sum(axis=1) / 4, 0.3)


def test_it_is_what_ase_computes(example: ModuleType, potential: Any) -> None:
    x, v = example.arriving(potential, np.full(3, 0.3), 0.1, np.random.default_rng(1))
    for molecule in range(3):
        assert example.difference_from_ase(potential, x[molecule], v[molecule], 100, 1.0) < 1e-9


def test_energy_is_conserved_better_with_smaller_steps(example: ModuleType, potential: Any) -> None:
    x, v = example.arriving(potential, np.full(4, 0.3), 0.0, np.random.default_rng(2))
    worst = []
    for dt in (1.0, 0.5):
        total = example.fly(potential, x, v, 100.0, dt, stop=False).total
        worst.append(np.abs(total - total[0]).max())
    assert worst[1] == pytest.approx(worst[0] / 4, rel=0.2)  # second order


class Slope:
    """A surface that pushes upwards with a constant force and pulls the atoms apart or not: fates are known."""

    def __init__(self, apart: float) -> None:
        self.apart = apart

    def predict(self, x: Any, warn: bool = True) -> Any:
        forces = np.zeros_like(x)
        forces[..., 2] = 2.0
        forces[:, 0, 0], forces[:, 1, 0] = -self.apart, self.apart
        energy = -2.0 * x[..., 2].sum(axis=1) - self.apart * (x[:, 1, 0] - x[:, 0, 0])
        return energy, forces, np.zeros(len(x), int)


def test_fates(example: ModuleType) -> None:
    x = np.array([[[-0.6, 0.0, example.START], [0.6, 0.0, example.START]]]).repeat(2, axis=0)
    v = np.zeros((2, 2, 3))
    v[:, :, 2] = -0.2
    back = example.fly(Slope(0.0), x, v, 100.0, 1.0)
    assert (back.fate == example.REFLECTED).all()
    assert np.isnan(back.positions[-1]).all()
    assert np.ptp(back.total[np.isfinite(back.total)]) < 1e-10
    assert (example.fly(Slope(0.0), x, v, 10.0, 1.0).fate == example.AT_SURFACE).all()
    assert (example.fly(Slope(20.0), x, v, 100.0, 1.0).fate == example.DISSOCIATED).all()


def test_the_saved_fit_is_used(example: ModuleType, tmp_path: Path) -> None:
    tinynn.manual_seed(0)
    example.new_potential([4]).save(tmp_path / "o2_pd100.safetensors")
    assert example.potential_of(Namespace(out=tmp_path)).hidden == (4,)


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    assert "trajectory by ASE's VelocityVerlet: difference" in run_script()
