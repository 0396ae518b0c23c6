"""Training: compiled or not, one system or several, what is kept, and what is refused before anything changes."""

from __future__ import annotations

import time

import numpy as np
import pytest

import tinynn
from tests.potentials.models import (
    METHANE,
    OXYGEN,
    WATER,
    functions,
    molecules,
    shaken,
    springs,
)  # fmt: skip
from tinynn import optim
from tinynn.potentials import (
    AtomicNetwork,
    Configurations,
    Described,
    EnergyForceLoss,
    History,
    System,
    fit,
)  # fmt: skip
from tinynn.potentials.described import rows_of, table_of
from tinynn.potentials.training import batch_loss, errors, schedule

FUNCTIONS = functions("H", "C", "O")
SEVERAL = Configurations.joined([molecules(WATER, 30, 1), molecules(METHANE, 20, 2), molecules(OXYGEN, 14, 3)])


def new(*elements: str, hidden=(10, 10), seed=0) -> AtomicNetwork:
    tinynn.manual_seed(seed)
    return AtomicNetwork(FUNCTIONS, elements or ("H", "O"), hidden)


def states(model) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def assert_unchanged(model, before) -> None:
    for name, value in states(model).items():
        np.testing.assert_array_equal(value, before[name])
    assert model.systems == ()


# ---------------------------------------------------------------------------------------------------------- it learns


def test_it_learns_water_and_the_weights_are_the_best():
    model, data = new(), molecules(WATER, 150, per_atom=-20.0)
    train, test = data.split([100, 50])
    history = fit(model, train, validation=test, epochs=80, lr=1e-2, batch_size=10, compile=False)
    found = model.predict(test.groups[0].positions, warn=False)
    energy_rmse = np.sqrt(np.mean((found.energy - test.energy) ** 2))
    force_rmse = np.sqrt(np.mean((found.forces - test.groups[0].forces) ** 2))
    assert energy_rmse == pytest.approx(history.best_row.energy_rmse, rel=1e-3)
    assert force_rmse == pytest.approx(history.best_row.force_rmse, rel=1e-3)
    assert energy_rmse < 0.1 * data.energy.std()
    assert force_rmse < 0.15 * data.groups[0].forces.std()
    assert history.best_row.energy_rmse**2 + history.best_row.force_rmse**2 == pytest.approx(
        min(row.energy_rmse**2 + row.force_rmse**2 for row in history)
    )
    assert all(p.dtype == np.float64 for p in model.parameters())


@pytest.mark.parametrize("data", [molecules(WATER, 40), SEVERAL], ids=["one system", "several"])
@pytest.mark.parametrize("loss", [EnergyForceLoss(), EnergyForceLoss(1.0, 0.0), EnergyForceLoss(1, 0.5, per_atom=True)])
def test_compiled_or_not_the_numbers_are_the_same(data, loss):
    found = []
    for compiled in (True, False):
        model = new("H", "C", "O") if data is SEVERAL else new()
        history = fit(model, data, epochs=6, loss=loss, batch_size=8, compile=compiled, dtype="float64", seed=3)
        found.append((history, states(model)))
    (compiled, weights), (eager, others) = found
    np.testing.assert_allclose(compiled["loss"], eager["loss"], rtol=1e-9)
    np.testing.assert_allclose(compiled["energy_rmse"], eager["energy_rmse"], rtol=1e-8)
    for name, value in weights.items():
        np.testing.assert_allclose(value, others[name], rtol=1e-7, atol=1e-10)


def test_the_same_seed_gives_the_same_training():
    runs = [fit(new(), molecules(WATER, 40), epochs=5, seed=s, compile=False)["loss"] for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_arrays_and_sets_are_the_same():
    x = shaken(WATER, 40)
    energy, forces = springs(x)
    one = fit(
        new(), x, energy, forces, system=WATER, epochs=3, compile=False, validation=(x[:5], energy[:5], forces[:5])
    )
    data = Configurations(WATER, x, energy, forces)
    other = fit(new(), data, epochs=3, compile=False, validation=data[:5])
    described = Described(new(), data)
    third = fit(new(), described, epochs=3, compile=False, validation=described[:5])
    np.testing.assert_array_equal(one["loss"], other["loss"])
    np.testing.assert_array_equal(one["loss"], third["loss"])


def test_energies_alone():
    x = shaken(WATER, 60)
    data = Configurations(WATER, x, springs(x)[0])
    history = fit(new(), data, epochs=60, lr=1e-2, batch_size=10, loss=EnergyForceLoss(force_weight=0.0), compile=False)
    assert np.isnan(history["force_rmse"]).all()
    assert history.best_row.energy_rmse < 0.5 * data.energy.std()
    assert "meV/Å" not in str(history)


def test_training_can_go_on_where_it_ended():
    model, data = new(), molecules(WATER, 60)
    first = fit(model, data, epochs=10, compile=False)
    scales = states(model)
    second = fit(model, data, epochs=10, compile=False, keep_scaling=True, lr=1e-3)
    for name, value in states(model).items():
        if not name.startswith("networks"):
            np.testing.assert_array_equal(value, scales[name])
    assert second.rows[0].energy_rmse < first.rows[0].energy_rmse
    with pytest.raises(ValueError, match="never fitted"):
        fit(new(), data, epochs=1, keep_scaling=True)


def test_systems_of_later_trainings_are_known():
    model = new()
    for data in (molecules(WATER, 20), molecules(OXYGEN, 20)):
        fit(model, data, epochs=1, keep_scaling=bool(model.systems), compile=False)
    assert model.systems == (WATER, OXYGEN)


def test_a_fraction_may_be_of_any_float_type():
    one, other = (
        fit(new(), molecules(WATER, 20), epochs=1, validation=v, compile=False) for v in (0.25, np.float32(0.25))
    )
    assert one.best_row.energy_rmse == other.best_row.energy_rmse


def test_without_validation_the_last_weights_are_kept():
    history = fit(new(), molecules(WATER, 40), epochs=5, validation=None, compile=False)
    assert history.best == len(history) - 1


def test_it_stops_when_validation_does_not_get_better():
    data = molecules(WATER, 12)
    wrong = Configurations(WATER, data.groups[0].positions, -data.energy, -data.groups[0].forces)
    history = fit(new(), data, validation=wrong, epochs=2000, lr=1e-2, patience=100, compile=False)
    assert history.stopped_early
    assert history.rows[-1].epoch < 2000
    assert history.rows[-1].epoch - history.best_row.epoch >= 100


def test_a_limit_in_seconds():
    start = time.perf_counter()
    history = fit(new(), molecules(WATER, 40), seconds=0.5, compile=False)
    assert time.perf_counter() - start < 20.0
    assert history.rows[-1].seconds >= 0.5
    assert history.rows[-1].lr < 4e-3


def test_other_optimizers():
    history = fit(new(), molecules(WATER, 40), epochs=3, lr=1e-3, optimizer=optim.AdamW, compile=False)
    assert len(history) > 0


def test_learning_rate():
    assert schedule(0.0) == pytest.approx(0.1)
    assert schedule(0.01) == pytest.approx(1.0, abs=1e-3)
    assert schedule(1.0) == schedule(2.0) == 0.0
    history = fit(new(), molecules(WATER, 80), epochs=100, lr=1e-2, compile=False)
    assert history["lr"].max() <= 1e-2
    assert history["lr"][-1] < 1e-3


def test_a_loss_that_explodes_says_so_and_leaves_finite_weights():
    model = new()
    data = molecules(WATER, 40)
    with pytest.raises(FloatingPointError, match="choose a smaller lr than 1e\\+30"), np.errstate(all="ignore"):
        fit(model, data, epochs=50, lr=1e30, optimizer=optim.SGD, compile=False)
    assert all(np.isfinite(value).all() for name, value in states(model).items() if name.startswith("networks"))
    assert all(p.dtype == np.float64 for p in model.parameters())


def test_an_interrupted_training_leaves_the_best_weights(monkeypatch):
    model, count = new(), []

    def interrupt(*_):
        count.append(1)
        if len(count) > 3:
            raise KeyboardInterrupt
        return errors(*_)

    monkeypatch.setattr("tinynn.potentials.training.errors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, molecules(WATER, 80), epochs=4000, compile=False)
    assert all(p.dtype == np.float64 for p in model.parameters())
    assert model.systems == (WATER,)


def test_a_bar_of_progress(capsys):
    pytest.importorskip("tqdm")
    fit(new(), molecules(WATER, 40), epochs=3, progress=True, compile=False)
    assert "validation" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ several systems


def test_a_padded_table_has_the_losses_of_its_systems():
    """The loss over mixed systems is the mean of the losses of each, weighted by their numbers of configurations."""
    model = new("H", "C", "O")
    described = Described(model, SEVERAL, dtype="float64")
    groups = [(g.system, f.values, g.energy) for g, f in zip(SEVERAL.groups, described.features)]
    model.fit_scaling(groups)
    loss = EnergyForceLoss(1.0, 0.7)
    whole = batch_loss(model, loss, table_of(model, described, "float64")).item()
    parts = []
    for system in SEVERAL.systems:
        rows = [k for k, one in enumerate(SEVERAL.to_atoms()) if System.from_atoms(one) == system]
        parts.append(len(rows) * batch_loss(model, loss, table_of(model, described[rows], "float64")).item())
    assert whole == pytest.approx(sum(parts) / len(SEVERAL), rel=1e-12)


def test_rows_of_a_table_keep_their_order():
    model = new("H", "C", "O")
    described = Described(model, SEVERAL, dtype="float64")
    model.fit_scaling([(g.system, f.values, g.energy) for g, f in zip(SEVERAL.groups, described.features)])
    table = table_of(model, described, "float64")
    i = np.array([40, 3, 63])
    batch = rows_of(vars(table), tinynn.tensor(i))
    model.eval()
    energy, forces = model(batch.values, batch.jacobian, batch.mask)
    for k, number in enumerate(i):
        group = SEVERAL[[number]].groups[0]
        one = model.predict(group.positions, group.system, warn=False)
        at_rest = model.counts(group.system) @ model.offsets.numpy()
        assert energy.numpy()[k] * model.scale.item() + at_rest == pytest.approx(one.energy[0], abs=1e-10)
        atoms = len(group.system)
        np.testing.assert_allclose(forces.detach().numpy()[k, :atoms] * model.scale.item(), one.forces[0], atol=1e-10)
        np.testing.assert_array_equal(forces.detach().numpy()[k, atoms:], 0.0)


def test_validation_errors_of_several_systems_are_those_of_predictions():
    model = new("H", "C", "O")
    history = fit(model, SEVERAL, epochs=5, validation=SEVERAL[:50], compile=False, dtype="float64")
    squares, energies = [], []
    for group in SEVERAL[:50].groups:
        found = model.predict(group.positions, group.system, warn=False)
        squares += list(((found.forces - group.forces) ** 2).mean(axis=(1, 2)))
        energies += list((found.energy - group.energy) ** 2)
    assert history.best_row.energy_rmse == pytest.approx(np.sqrt(np.mean(energies)), rel=1e-9)
    assert history.best_row.force_rmse == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-9)


def test_one_training_on_several_systems_learns_all():
    model = new("H", "C", "O", hidden=(20, 20))
    data = Configurations.joined([molecules(s, 60, k, per_atom=-5.0) for k, s in enumerate((WATER, METHANE, OXYGEN))])
    history = fit(model, data, epochs=120, lr=1e-2, batch_size=20)
    assert history.best_row.energy_rmse < 0.1 * np.std([springs(shaken(METHANE, 60, 1))[0]])
    for system in data.systems:
        x = shaken(system, 20, seed=9, by=0.05)
        energy, forces = springs(x)
        found = model.predict(x, system, warn=False)
        assert np.sqrt(np.mean((found.forces - forces) ** 2)) < 0.3 * forces.std()
        assert np.abs(found.energy - energy + 5.0 * len(system)).mean() < 0.2


# ----------------------------------------------------------------------------------------------------- what is refused


def other_features() -> AtomicNetwork:
    return AtomicNetwork(functions("H"), ["H", "O"])


def other_parameters() -> AtomicNetwork:
    """As many functions, but not the same."""
    renamed = {"H": "H", "C": "O", "O": "C"}
    return AtomicNetwork(functions(*renamed.values()), ["H", "O"])


GOOD = {"data": molecules(WATER, 20), "epochs": 1}
X = shaken(WATER, 20)
TOO_FEW = Configurations(WATER, X[:1], [0.0], X[:1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": None}, ValueError, "by epochs= or by seconds="),
        ({"seconds": 3.0}, ValueError, "by epochs= or by seconds="),
        ({"epochs": 0}, ValueError, "epochs must be a whole number, more than 0, got 0"),
        ({"epochs": 2.5}, ValueError, "epochs must be a whole number"),
        ({"epochs": None, "seconds": -1.0}, ValueError, "seconds must be more than 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"lr": float("nan")}, ValueError, "lr must be more than 0"),
        ({"patience": -2}, ValueError, "patience must be"),
        ({"dtype": "float16"}, ValueError, "'float32' or 'float64'"),
        ({"validation": 1.5}, ValueError, "a fraction between 0 and 1"),
        ({"validation": (X, np.zeros(20))}, ValueError, r"a tuple is \(positions, energy, forces\)"),
        ({"data": TOO_FEW}, ValueError, "empty"),
        ({"data": X, "energy": np.zeros(19), "system": WATER}, ValueError, r"energy must have shape \(20,\)"),
        ({"data": X, "energy": np.zeros(20)}, ValueError, "say which system"),
        ({"data": X, "system": WATER}, TypeError, "their energies are missing"),
        ({"energy": np.zeros(20)}, TypeError, "holds energies and forces already"),
        ({"data": X, "energy": np.full(20, np.nan), "system": WATER}, ValueError, "energy must be finite"),
        (
            {"data": np.full_like(X, np.nan), "energy": np.zeros(20), "system": WATER},
            ValueError,
            "positions must be finite",
        ),
        ({"data": X, "energy": np.zeros(20), "system": WATER}, ValueError, "data has no forces"),
        ({"data": molecules(METHANE, 20)}, ValueError, "atoms of C that move"),
        ({"data": molecules(OXYGEN, 20)}, ValueError, "a network for H, but no configuration"),
        ({"data": Described(new(), molecules(WATER, 20), jacobian=False)}, ValueError, "described without Jac"),
        ({"data": Described(other_features(), molecules(WATER, 20))}, ValueError, "described by another potential"),
        ({"data": Described(other_parameters(), molecules(WATER, 20))}, ValueError, "other functions or other param"),
        ({"data": Configurations(WATER, 0 * X, np.zeros(20), X)}, ValueError, "same place|too close|lies"),
    ],
)
def test_refused_before_anything_is_changed(change, error, message):
    model = new()
    before = states(model)
    with pytest.raises(error, match=message):
        fit(model, **{**GOOD, **change})
    assert_unchanged(model, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0), "energy_weight must not be negative"),
        ((1.0, np.nan), "force_weight"),
        ((0, 0), "nothing would be learnt"),
    ],
)
def test_losses(arguments, message):
    with pytest.raises(ValueError, match=message):
        EnergyForceLoss(*arguments)


def test_history():
    history = History()
    assert str(history) == "nothing was trained yet"
    with pytest.raises(KeyError, match="there is no column 'mae'; there are epoch"):
        history["mae"]
