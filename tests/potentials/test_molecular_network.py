"""One network on a descriptor of the whole system."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tests.potentials.models import METHANE, WATER, molecules, numerical_forces, shaken
from tinynn.potentials import InverseDistances, MolecularNetwork, Potential, fit


@pytest.fixture
def potential():
    tinynn.manual_seed(0)
    made = MolecularNetwork(InverseDistances(3), hidden=(8, 8))
    x = shaken(WATER, 50)
    return made.fit_scaling([(WATER, made.describe(x, WATER).values, np.random.default_rng(0).normal(-9.0, 2.0, 50))])


def test_forces(potential):
    x = shaken(WATER, 6, seed=4)
    energy, forces, _ = potential.predict(x, warn=False)
    scaled_energy, scaled_forces = potential.forward_positions(tinynn.tensor(x))
    scale = potential.scale.item()
    np.testing.assert_allclose(scaled_energy.detach() * scale + potential.offsets.item(), energy, atol=1e-12)
    np.testing.assert_allclose(scaled_forces.detach() * scale, forces, atol=1e-10)
    np.testing.assert_allclose(forces, numerical_forces(potential, x, WATER), atol=1e-6)
    np.testing.assert_allclose(forces.sum(axis=1), 0.0, atol=1e-11)


def test_second_derivatives_of_the_energy_by_the_positions(potential):
    """The Hessian of a global descriptor is differentiable; equal to differences of forces."""
    x = tinynn.tensor(shaken(WATER, 1, seed=4), requires_grad=True)
    potential.train()
    _, forces = potential.forward_positions(x)
    (row,) = tinynn.grad([forces[0, 1, 2]], [x])
    h, scale = 1e-5, potential.scale.item()
    step = np.zeros((1, 3, 3))
    step[0, 0, 1] = h
    up, down = (potential.predict(x.detach().numpy() + s * step, warn=False).forces[0, 1, 2] for s in (1, -1))
    assert row.numpy()[0, 0, 1] * scale == pytest.approx((up - down) / (2 * h), abs=1e-6)


def test_the_offset_is_the_mean(potential):
    assert potential.offsets.item() == pytest.approx(np.random.default_rng(0).normal(-9.0, 2.0, 50).mean())


def test_it_knows_its_system(potential, tmp_path):
    with pytest.raises(ValueError, match=r"fitted to System\(OH2\); it cannot describe System\(CH4\)"):
        potential.predict(shaken(METHANE, 1), METHANE)
    with pytest.raises(ValueError, match="made for 3 atoms"):
        MolecularNetwork(InverseDistances(3)).predict(shaken(METHANE, 1), METHANE)
    potential.save(tmp_path / "p.safetensors")
    back = Potential.load(tmp_path / "p.safetensors")
    assert isinstance(back, MolecularNetwork)
    assert back.descriptor == potential.descriptor
    x = shaken(WATER, 3, seed=1)
    np.testing.assert_array_equal(back.predict(x, warn=False).forces, potential.predict(x, warn=False).forces)


def test_it_learns():
    tinynn.manual_seed(0)
    model = MolecularNetwork(InverseDistances(3), hidden=(16, 16))
    data = molecules(WATER, 120)
    history = fit(model, data, epochs=100, lr=1e-2, compile=False, validation=0.2)
    assert history.best_row.energy_rmse < 0.1 * data.energy.std()
    assert history.best_row.force_rmse < 0.1 * data.groups[0].forces.std()


def test_two_molecules_are_refused_before_anything_is_changed():
    from tinynn.potentials import Configurations, System

    model = MolecularNetwork(InverseDistances(3))
    other = System("NHH")
    x = shaken(WATER, 10)
    both = Configurations.joined([molecules(WATER, 10), Configurations(other, x, np.zeros(10), x)])
    with pytest.raises(ValueError, match=r"fitted to one molecule, not to System\(OH2\) and System\(NH2\)"):
        fit(model, both, epochs=1)
    assert model.systems == ()
