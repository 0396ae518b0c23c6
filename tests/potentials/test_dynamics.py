"""What chemists do with a calculator: relaxation, vibrations, dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn.potentials import Configurations, InverseDistances, MolecularNetwork, System, fit

pytest.importorskip("ase")
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Vibrations

from tinynn.potentials import Calculator

RADIUS, ANGLE, MEAN = 0.96, np.radians(104.5), -2.0
STRETCH, BEND = 45.0, 4.0  # eV/Å², eV


def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (n,) and forces (n, 3, 3) of water that is held by two springs and a hinge."""
    h = x[:, 1:] - x[:, :1]
    r = np.linalg.norm(h, axis=-1)
    u = h / r[..., None]
    cosine = (u[:, 0] * u[:, 1]).sum(axis=-1)
    off = cosine - np.cos(ANGLE)
    energy = MEAN + 0.5 * STRETCH * ((r - RADIUS) ** 2).sum(axis=1) + 0.5 * BEND * off**2
    slope = STRETCH * (r - RADIUS)[..., None] * u
    for i, j in ((0, 1), (1, 0)):
        slope[:, i] += (BEND * off / r[:, i])[:, None] * (u[:, j] - cosine[:, None] * u[:, i])
    return energy, np.concatenate([slope.sum(axis=1, keepdims=True), -slope], axis=1)


@pytest.fixture(scope="module")
def potential() -> Any:
    """A fit to 600 geometries around the minimum."""
    rng = np.random.default_rng(0)
    x = minimum().positions + 0.12 * rng.standard_normal((600, 3, 3))
    data = Configurations(System("OHH"), x, *reference(x))
    tinynn.manual_seed(0)
    model = MolecularNetwork(InverseDistances(3), hidden=(24, 24), activation="Tanh")
    history = fit(model, data, epochs=200, lr=1e-2)
    assert history.best_row.energy_rmse < 0.01
    return model


def minimum() -> Atoms:
    return Atoms("OHH", [[0, 0, 0], [RADIUS, 0, 0], [RADIUS * np.cos(ANGLE), RADIUS * np.sin(ANGLE), 0]])


def hessian(model: Any, x: np.ndarray) -> np.ndarray:
    """d²E/dx², (9, 9), by differentiating twice through network and descriptor."""

    def energy(flat: Any) -> Any:
        features = model.descriptor(flat.reshape((1, 3, 3)))
        return model.scale * model.networks["molecule"](model.ranges["molecule"](features)).sum()

    return tinynn.func.hessian(energy)(tinynn.tensor(x.ravel())).detach().numpy()


@pytest.fixture
def water(potential: Any) -> Atoms:
    atoms = minimum()
    atoms.rattle(0.05, seed=1)
    atoms.calc = Calculator(potential, on_extrapolation="ignore")
    return atoms


def moving(atoms: Atoms, kelvin: float) -> Atoms:
    width = np.sqrt(atoms.get_masses() * units.kB * kelvin)[:, None]
    atoms.set_momenta(width * np.random.default_rng(2).standard_normal((3, 3)))
    return atoms


@pytest.mark.parametrize("optimizer", [BFGS, FIRE])
def test_relaxation_finds_the_minimum(water: Atoms, optimizer: Any) -> None:
    assert optimizer(water, logfile=None).run(fmax=1e-4, steps=300)
    assert np.abs(water.get_forces()).max() < 1e-4
    assert water.get_distance(0, 1) == pytest.approx(RADIUS, abs=0.005)
    assert water.get_angle(1, 0, 2) == pytest.approx(np.degrees(ANGLE), abs=1.0)
    assert water.get_potential_energy() == pytest.approx(MEAN, abs=0.01)


def test_vibrations_agree_with_second_derivatives(water: Atoms, potential: Any, tmp_path: Any) -> None:
    BFGS(water, logfile=None).run(fmax=1e-6, steps=300)
    vibrations = Vibrations(water, name=str(tmp_path / "water"), delta=1e-3)
    vibrations.run()
    by_differences = vibrations.get_vibrations().get_hessian_2d()
    analytic = hessian(potential, water.positions)
    np.testing.assert_allclose(analytic, analytic.T, atol=1e-9)
    np.testing.assert_allclose(by_differences, analytic, atol=1e-3 * np.abs(analytic).max())

    m = np.repeat(water.get_masses(), 3)
    energies = np.sqrt(np.maximum(np.linalg.eigvalsh(analytic / np.sqrt(np.outer(m, m))), 0.0))
    quantum = units._hbar * 1e10 / np.sqrt(units._e * units._amu) * energies  # ħω in eV
    np.testing.assert_allclose(vibrations.get_energies().real[6:], quantum[6:], rtol=1e-4)
    assert np.abs(vibrations.get_energies()[:6]).max() < 0.01 * quantum[-1]
    gas = IdealGasThermo(vibrations.get_energies()[6:].real, "nonlinear", water.get_potential_energy(), water, 2, 0)
    assert np.isfinite(gas.get_gibbs_energy(300.0, 101325.0, verbose=False))


def test_nve_keeps_the_energy(water: Atoms) -> None:
    """Drift below 0.1 meV/atom/ps at 0.25 fs, as is asked of potentials; across the switch to the compiled program."""
    moving(water, 300.0)
    total = []
    dynamics = VelocityVerlet(water, 0.25 * units.fs)
    dynamics.attach(lambda: total.append(water.get_total_energy()), interval=5)
    dynamics.run(8000)
    error = 1e3 * (np.array(total) - total[0]) / 3
    drift = np.polyfit(0.00125 * np.arange(len(error)), error, 1)[0]
    assert abs(drift) < 0.1
    assert np.ptp(error) < 2.0
    momentum = water.get_momenta().sum(axis=0)
    np.testing.assert_allclose(momentum, moving(minimum(), 300.0).get_momenta().sum(axis=0), atol=1e-9)


def test_the_way_back_in_time(water: Atoms) -> None:
    moving(water, 300.0)
    begin = water.positions.copy()
    VelocityVerlet(water, 0.25 * units.fs).run(300)
    assert np.abs(water.positions - begin).max() > 0.01
    water.set_momenta(-water.get_momenta())
    VelocityVerlet(water, 0.25 * units.fs).run(300)
    np.testing.assert_allclose(water.positions, begin, atol=1e-7)


def test_a_bath_has_its_temperature(water: Atoms) -> None:
    """With ``fixcm=False``; ASE's default overheats small molecules."""
    rng = np.random.default_rng(4)
    moving(water, 300.0)
    dynamics = Langevin(water, 0.5 * units.fs, temperature_K=300.0, friction=0.05 / units.fs, fixcm=False, rng=rng)
    kinetic = []
    dynamics.attach(lambda: kinetic.append(water.get_kinetic_energy()), interval=2)
    dynamics.run(12_000)
    assert np.mean(kinetic) / (4.5 * units.kB) == pytest.approx(300.0, abs=25.0)
