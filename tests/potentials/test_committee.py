"""Committees: means, spreads, training with features that are computed once."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tests.potentials.models import METHANE, OXYGEN, WATER, functions, molecules, shaken
from tinynn.potentials import (
    AtomicNetwork,
    Committee,
    Configurations,
    ExtrapolationWarning,
    InverseDistances,
    MolecularNetwork,
    Potential,
)  # fmt: skip

FUNCTIONS = functions("H", "O")


def member(seed: int, described_by=FUNCTIONS) -> AtomicNetwork:
    tinynn.manual_seed(seed)
    made = AtomicNetwork(described_by, ["H", "O"], hidden=(6,))
    x = shaken(WATER, 40)
    return made.fit_scaling([(WATER, made.describe(x, WATER).values, np.random.default_rng(seed).normal(size=40))])


@pytest.fixture
def committee():
    return Committee([member(seed) for seed in range(3)])


def test_mean_and_spread_of_the_members(committee):
    x = shaken(WATER, 7)
    each = [p.predict(x) for p in committee]
    energies, forces = np.array([p.energy for p in each]), np.array([p.forces for p in each])
    found, spread = committee.predict(x), committee.spread(x)
    np.testing.assert_allclose(found.energy, energies.mean(axis=0))
    np.testing.assert_allclose(found.forces, forces.mean(axis=0))
    np.testing.assert_allclose(spread.energy, energies.std(axis=0, ddof=1))
    np.testing.assert_allclose(spread.forces, np.sqrt((forces.std(axis=0, ddof=1) ** 2).sum(axis=-1)))
    assert found.outside.shape == (7,)
    assert committee.systems == (WATER,)
    assert len(committee) == 3


def test_energies_alone(committee):
    x = shaken(WATER, 4)
    assert committee.predict(x, forces=False).forces is None
    alone = committee.spread(x, forces=False)
    assert alone.forces is None
    np.testing.assert_allclose(alone.energy, committee.spread(x).energy)


def test_equal_members_have_no_spread():
    same = Committee([member(1), member(1)])
    np.testing.assert_allclose(same.spread(shaken(WATER, 3)).forces, 0.0, atol=1e-12)


def test_features_are_computed_once_for_members_that_see_the_same(committee, monkeypatch):
    calls = []
    compute = type(FUNCTIONS).compute
    monkeypatch.setattr(type(FUNCTIONS), "compute", lambda *a, **k: calls.append(1) or compute(*a, **k))
    committee.predict(shaken(WATER, 3))
    assert len(calls) == 1
    different = Committee([member(0), member(1, functions("O", "H"))])
    calls.clear()
    different.predict(shaken(WATER, 3))
    assert len(calls) == 2


def test_members_of_different_kinds():
    x = shaken(WATER, 40)
    tinynn.manual_seed(0)
    other = MolecularNetwork(InverseDistances(3), hidden=(4,))
    other.fit_scaling([(WATER, other.describe(x, WATER).values, np.zeros(40))])
    mixed = Committee([member(0), other])
    np.testing.assert_allclose(
        mixed.predict(x).energy, (mixed.potentials[0].predict(x).energy + other.predict(x).energy) / 2
    )


def test_extrapolation_is_that_of_the_narrowest_member(committee):
    x = shaken(WATER, 5)
    x[3] *= 1.4
    with pytest.warns(ExtrapolationWarning, match="number 3"):
        found = committee.predict(x)
    assert found.outside[3] > 0
    assert not found.outside[[0, 1, 2, 4]].any()
    committee.predict(x, warn=False)


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [([member(0)], ValueError, "at least two"), ([member(0), "potential"], TypeError, r"potentials\[1\] is a str")],
)
def test_errors(members, error, message):
    with pytest.raises(error, match=message):
        Committee(members)


def test_one_member_is_refused_before_it_is_trained():
    with pytest.raises(ValueError, match="at least two members, got members=1"):
        Committee.trained(lambda: pytest.fail("made"), molecules(WATER, 20), members=1, epochs=1)


def test_training(tmp_path):
    data = Configurations.joined([molecules(WATER, 40, 1), molecules(OXYGEN, 10, 2)])
    committee = Committee.trained(
        lambda: AtomicNetwork(FUNCTIONS, ["H", "O"], hidden=(8,)), data, members=3, seed=5, epochs=10, compile=False
    )
    assert len(committee.histories) == 3
    weights = [p.networks["H"][0].weight.numpy() for p in committee]
    assert not np.allclose(weights[0], weights[1])
    x = shaken(WATER, 5, by=0.05)
    assert committee.spread(x, WATER).energy.min() > 0.0
    # far from the data they disagree more
    strange = shaken(WATER, 5, by=0.05) * 1.5
    assert committee.spread(strange, WATER).energy.mean() > 2 * committee.spread(x, WATER).energy.mean()

    committee.save(tmp_path / "committee.safetensors")
    back = Committee.load(tmp_path / "committee.safetensors")
    np.testing.assert_array_equal(back.predict(x, WATER).forces, committee.predict(x, WATER).forces)
    with pytest.raises(TypeError, match=r"holds a Committee, not a Potential.*Committee\.load"):
        Potential.load(tmp_path / "committee.safetensors")


def test_a_member_is_trained_alone_to_the_same_weights():
    """The first member of a committee is the potential that `fit` gives with its seed."""
    from tinynn.potentials import fit

    data = molecules(WATER, 40)
    committee = Committee.trained(
        lambda: AtomicNetwork(FUNCTIONS, ["H", "O"], hidden=(8,)), data, members=2, seed=5, epochs=4, compile=False
    )
    tinynn.manual_seed(5)
    alone = AtomicNetwork(FUNCTIONS, ["H", "O"], hidden=(8,))
    fit(alone, data, seed=5, epochs=4, compile=False)
    for name, value in alone.state_dict().items():
        np.testing.assert_array_equal(value, committee.potentials[0].state_dict()[name])


def test_data_of_other_elements_are_refused():
    with pytest.raises(ValueError, match="atoms of C that move"):
        Committee.trained(lambda: AtomicNetwork(FUNCTIONS, ["H", "O"]), molecules(METHANE, 10), epochs=1)
