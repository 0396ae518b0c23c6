"""Atomic networks: forces in two ways, invariances, elements, offsets and scales."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tests.potentials.models import (
    METHANE,
    O2_ON_PD,
    OXYGEN,
    OXYGEN_PLACES,
    WATER,
    A,
    functions,
    numerical_forces,
    on_the_slab,
    scaled_potential,
    shaken,
)  # fmt: skip
from tinynn import nn
from tinynn.potentials import AtomicNetwork, ExtrapolationWarning, Potential, System
from tinynn.potentials.feature_range import FeatureRange
from tinynn.potentials.potential import least_squares_offsets

CASES = {"slab": (O2_ON_PD, on_the_slab(6, seed=5)), "water": (WATER, shaken(WATER, 6, seed=5))}


def tensors(arrays):
    return {part: tinynn.tensor(array) for part, array in arrays.items()}


@pytest.fixture(params=CASES)
def case(request):
    system, x = CASES[request.param]
    return scaled_potential(system), x, system


# ------------------------------------------------------------------------------------------------------------- forces


@pytest.mark.parametrize("activation", ["SiLU", "Tanh", "Softplus"])
def test_forces_by_the_jacobian_through_the_descriptor_and_by_differences(activation):
    for system, x in CASES.values():
        potential = scaled_potential(system, activation=activation)
        energy, forces, _ = potential.predict(x, system, warn=False)
        scaled_energy, scaled_forces = potential.forward_positions(tinynn.tensor(x), system)
        scale, at_rest = potential.scale.item(), potential.counts(system) @ potential.offsets.numpy()
        np.testing.assert_allclose(scaled_forces.detach() * scale, forces, atol=1e-10)
        np.testing.assert_allclose(scaled_energy.detach() * scale + at_rest, energy, atol=1e-10)
        np.testing.assert_allclose(forces, numerical_forces(potential, x, system), atol=2e-6 * np.abs(forces).max())


def test_energies_alone_are_the_same(case):
    potential, x, system = case
    with_forces = potential.predict(x, system, warn=False)
    alone = potential.predict(x, system, forces=False, warn=False)
    assert alone.forces is None
    np.testing.assert_allclose(alone.energy, with_forces.energy, atol=1e-12)


def test_many_configurations_are_predicted_like_single_ones():
    potential = scaled_potential()
    x = on_the_slab(300, seed=7)
    together = potential.predict(x, O2_ON_PD, warn=False)
    for k in (0, 255, 256, 299):
        one = potential.predict(x[k : k + 1], O2_ON_PD, warn=False)
        np.testing.assert_allclose(one.energy, together.energy[k : k + 1], atol=1e-12)
        np.testing.assert_allclose(one.forces, together.forces[k : k + 1], atol=1e-12)
        assert one.outside[0] == together.outside[k]


def test_jacobians_are_found_by_name():
    potential = AtomicNetwork(functions("H", "O"), ["H", "O"]).eval()
    g = potential.scaled(potential.describe(shaken(WATER, 3), WATER))
    forces = potential(tensors(g.values), tensors(g.jacobian))[1].numpy()
    other_order = dict(reversed(tensors(g.jacobian).items()))
    np.testing.assert_array_equal(potential(tensors(g.values), other_order)[1].numpy(), forces)


def force_loss_by_jacobian(potential, x, system):
    g = potential.scaled(potential.describe(x, system))
    energy, forces = potential(tensors(g.values), tensors(g.jacobian))
    return (energy**2).mean() + (forces**2).mean()


def force_loss_through_the_descriptor(potential, x, system):
    energy, forces = potential.forward_positions(tinynn.tensor(x), system)
    return (energy**2).mean() + (forces**2).mean()


@pytest.mark.parametrize("loss_of", [force_loss_by_jacobian, force_loss_through_the_descriptor])
def test_gradients_of_forces_by_the_parameters(case, loss_of):
    potential, x, system = case
    potential.train()
    loss_of(potential, x[:3], system).backward()
    rng = np.random.default_rng(0)
    for parameter in potential.networks.parameters():
        value, gradient = parameter.numpy().copy(), parameter.grad.numpy()
        direction = rng.normal(size=value.shape)
        h = 1e-5
        sides = []
        for sign in (1, -1):
            parameter.assign_(value + sign * h * direction)
            sides.append(loss_of(potential, x[:3], system).item())
        parameter.assign_(value)
        slope = (sides[0] - sides[1]) / (2 * h)
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-5, abs=1e-8)


def test_gradients_of_both_ways_are_equal(case):
    potential, x, system = case
    found = []
    for loss_of in (force_loss_by_jacobian, force_loss_through_the_descriptor):
        potential.zero_grad()
        loss_of(potential, x, system).backward()
        found.append([p.grad.numpy() for p in potential.networks.parameters()])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=1e-10 * max(1.0, np.abs(one).max()))


def test_nothing_is_recorded_in_evaluation():
    potential = scaled_potential()
    potential.eval()
    g = potential.scaled(potential.describe(on_the_slab(2), O2_ON_PD))
    _, forces = potential(tensors(g.values), tensors(g.jacobian))
    assert not forces.requires_grad
    assert potential.training is False
    potential.train()
    potential.predict(on_the_slab(2), O2_ON_PD, warn=False)
    assert potential.training is True


# ------------------------------------------------------------------------------------------------------- invariances


def rotated(x, angle):
    c, s = np.cos(angle), np.sin(angle)
    return x @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T


P4MM = {
    "mirror": lambda x: x * [-1, 1, 1],
    "diagonal mirror": lambda x: x[..., [1, 0, 2]],
    "quarter turn": lambda x: rotated(x, np.pi / 2),
    "glide of the cell": lambda x: x + [A, 0, 0],
    "another glide": lambda x: x + [-2 * A, 3 * A, 0],
    "exchange": lambda x: x[:, ::-1],
    "one atom into the next cell": lambda x: x + np.array([[0, 0, 0], [2 * A, -2 * A, 0]]),
}


@pytest.mark.parametrize("operation", P4MM)
def test_symmetry_of_the_surface(operation):
    potential, x = scaled_potential(), on_the_slab(20, seed=3)
    same = potential.predict(P4MM[operation](x), O2_ON_PD, warn=False)
    energy, forces, _ = potential.predict(x, O2_ON_PD, warn=False)
    np.testing.assert_allclose(same.energy, energy, atol=1e-12)
    turned = P4MM[operation](x) - P4MM[operation](np.zeros_like(x))
    lengths = [np.sort(np.linalg.norm(f, axis=-1), axis=1) for f in (same.forces, forces)]
    np.testing.assert_allclose(*lengths, atol=1e-11)
    assert turned.shape == x.shape


def test_molecules_can_be_turned_moved_and_their_atoms_exchanged():
    potential, x = scaled_potential(WATER), shaken(WATER, 10, seed=3)
    energy, forces, _ = potential.predict(x, WATER, warn=False)
    turned = potential.predict(rotated(x, 0.7) + [1.0, -2.0, 0.5], WATER, warn=False)
    np.testing.assert_allclose(turned.energy, energy, atol=1e-12)
    np.testing.assert_allclose(turned.forces, rotated(forces, 0.7), atol=1e-11)
    exchanged = potential.predict(x[:, [0, 2, 1]], WATER, warn=False)
    np.testing.assert_allclose(exchanged.energy, energy, atol=1e-12)
    np.testing.assert_allclose(exchanged.forces, forces[:, [0, 2, 1]], atol=1e-11)
    np.testing.assert_allclose(forces.sum(axis=1), 0.0, atol=1e-11)


def test_the_order_of_elements_does_not_matter():
    potential, x = scaled_potential(WATER), shaken(WATER, 5)
    other = potential.predict(x[:, [1, 0, 2]], System("HOH"), warn=False)
    np.testing.assert_allclose(other.energy, potential.predict(x, WATER, warn=False).energy, atol=1e-12)


def test_energies_of_molecules_far_from_each_other_add_up():
    potential = scaled_potential(WATER)
    x = shaken(WATER, 4)
    pair = np.concatenate([x, x + [100.0, 0.0, 0.0]], axis=1)
    energy = potential.predict(pair, System("OHHOHH"), warn=False).energy
    np.testing.assert_allclose(energy, 2 * potential.predict(x, WATER, warn=False).energy, atol=1e-11)


# ------------------------------------------------------------------------------------------------- elements and parts


def test_one_network_per_element_and_a_descriptor_for_each():
    one = AtomicNetwork(functions("O", "H"), ["O", "H"], hidden=(5,))
    assert list(one.networks) == ["O", "H"] == list(one.elements)
    assert one.networks["O"] is not one.networks["H"]
    other = AtomicNetwork({"O": functions("H"), "H": functions("O", "H")}, ["O", "H"], hidden=(5,))
    assert [n[0].in_features for n in other.networks.values()] == [len(functions("H")), len(functions("O", "H"))]
    x = shaken(WATER, 3)
    assert other.describe(x, WATER).jacobian["H"].shape == (3, 2, len(functions("O", "H")), 3, 3)
    np.testing.assert_allclose(other.predict(x, WATER).forces, numerical_forces(other, x, WATER), atol=1e-7)


def test_elements_that_are_environment_only():
    potential = AtomicNetwork(functions("O", "H"), ["O"], environment=["H"])
    x = shaken(WATER, 2)
    assert potential.describe(x, WATER).values["O"].shape[1] == 1
    forces = potential.predict(x, WATER).forces
    assert np.abs(forces[:, 1:]).min() > 0.0
    np.testing.assert_allclose(forces, numerical_forces(potential, x, WATER), atol=1e-7)
    with pytest.raises(ValueError, match=r"has atoms of H that move; there are networks for O\."):
        AtomicNetwork(functions("O", "H"), ["O"]).predict(x, WATER)
    with pytest.raises(ValueError, match="has no atom that moves of C"):
        AtomicNetwork(functions("C"), ["C"], environment=["O"]).predict(OXYGEN_PLACES[None], OXYGEN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((functions("O"), []), "at least one element"),
        ((functions("O"), ["Qq"]), "no element 'Qq'"),
        ((functions("O"), ["O", 8]), "names an element twice"),
        (({"O": functions("O")}, ["O", "H"]), r"descriptors for \['O'\], but elements are \['H', 'O'\]"),
        ((functions("O"), ["O"], (0,)), "widths of the hidden layers"),
        ((functions("O"), ["O"], (4,), "Sigmoidd"), r"one of tinynn\.nn's"),
        ((functions("O"), ["O"], (4,), np.tanh), r"one of tinynn\.nn's"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        AtomicNetwork(*arguments)


def test_activations_by_class_or_name():
    for activation in (nn.Tanh, "Tanh"):
        assert isinstance(AtomicNetwork(functions("O"), ["O"], (4, 4), activation).networks["O"][1], nn.Tanh)
    assert AtomicNetwork(functions("O"), ["O"], ()).num_parameters() == len(functions("O")) + 1


def test_the_system_must_be_said_before_fitting_and_is_known_afterwards():
    potential = AtomicNetwork(functions("O", "H"), ["O", "H"])
    with pytest.raises(ValueError, match=r"say which system.*it was fitted to none yet"):
        potential.predict(shaken(WATER, 1))
    with pytest.raises(TypeError, match="not a str"):
        potential.predict(shaken(WATER, 1), "OHH")
    potential = scaled_potential(WATER)
    assert potential.systems == (WATER,)
    assert potential.predict(shaken(WATER, 2)).energy.shape == (2,)


# ------------------------------------------------------------------------------------------------- scales and offsets


def test_scales_are_those_of_the_data():
    system, x = CASES["water"]
    potential = scaled_potential(system, x)
    G = potential.describe(x, system).values["H"].reshape(-1, len(functions("O", "H")))
    g = potential.scaled(potential.describe(x, system)).values["H"].reshape(G.shape)
    moving = G.std(axis=0) > 1e-9
    np.testing.assert_allclose(g.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(g.std(axis=0)[moving], 1.0)
    np.testing.assert_array_equal(potential.ranges["H"].lowest, G.min(axis=0))
    np.testing.assert_array_equal(potential.ranges["H"].highest, G.max(axis=0))


def test_features_that_hardly_vary_are_not_scaled_up():
    seen = FeatureRange(4)
    x = np.random.default_rng(0).normal(size=(50, 4)) * [1.0, 1e-3, 1e-9, 0.0] + [0.0, 0.0, 0.0, 7.0]
    seen.fit(x)
    np.testing.assert_allclose(seen.scale, [x[:, 0].std(), x[:, 1].std(), 1.0, 1.0])
    assert np.isfinite(seen.transform(x)).all()
    tiny = FeatureRange(1).fit(1e-200 * x[:, :1])  # nothing to compare with
    np.testing.assert_allclose(tiny.scale, 1e-200 * x[:, :1].std())


def test_offsets_by_least_squares_on_the_compositions():
    per_element = {"H": -0.5, "C": -37.0, "O": -75.0}
    potential = AtomicNetwork(functions("H", "C", "O"), ["H", "C", "O"])
    groups = []
    for system in (WATER, METHANE, OXYGEN):
        x = shaken(system, 5)
        energy = np.full(5, sum(per_element[s] for s in system.symbols))
        groups.append((system, potential.describe(x, system).values, energy))
    potential.fit_scaling(groups)
    np.testing.assert_allclose(potential.offsets, list(per_element.values()))
    assert potential.scale.item() == 1.0  # nothing remains


def test_of_equal_compositions_the_offsets_with_the_smallest_norm():
    offsets = least_squares_offsets(np.tile([1.0, 2.0], (10, 1)), np.full(10, -15.0))
    np.testing.assert_allclose(offsets, [-3.0, -6.0])  # along (1, 2)
    potential = scaled_potential(OXYGEN)
    energy = np.random.default_rng(2).normal(-3.0, 2.0, 40)
    assert potential.offsets.item() == pytest.approx(energy.mean() / 2)
    assert potential.scale.item() == pytest.approx(energy.std())


def test_an_element_without_data_is_refused_and_nothing_is_changed():
    potential = AtomicNetwork(functions("H", "C", "O"), ["H", "C", "O"])
    before = potential.state_dict()
    x = shaken(WATER, 5)
    with pytest.raises(ValueError, match="there is a network for C, but no configuration"):
        potential.fit_scaling([(WATER, potential.describe(x, WATER).values, np.zeros(5))])
    for name, value in potential.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# ------------------------------------------------------------------------------------------------------- extrapolation


def test_outside_of_the_range_of_training():
    potential = scaled_potential()
    inside, outside = on_the_slab(40), on_the_slab(40)[:3]
    outside[1, :, 2] -= 1.5  # into the slab
    with pytest.warns(ExtrapolationWarning, match=r"1 of 3 configurations.*number 1 with \d+ of its \d+ features"):
        found = potential.predict(outside, O2_ON_PD)
    assert found.outside[1] > 3
    assert found.outside.dtype == np.int64
    assert not potential.predict(inside, O2_ON_PD).outside.any()
    G = potential.describe(outside, O2_ON_PD).values["O"]
    room = 0.1 * potential.ranges["O"].scale.numpy()
    low, high = potential.ranges["O"].lowest.numpy() - room, potential.ranges["O"].highest.numpy() + room
    np.testing.assert_array_equal(found.outside, ((low > G) | (high < G)).sum(axis=(1, 2)))
    potential.tolerance = 1e9
    assert not potential.predict(outside, O2_ON_PD).outside.any()


def test_the_base_class_says_what_is_missing():
    potential = Potential({"O": functions("O")}, (4,), "SiLU")
    with pytest.raises(NotImplementedError):
        potential.centers(OXYGEN)
    with pytest.raises(NotImplementedError):
        potential.settings()
