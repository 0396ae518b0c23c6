"""What an estimator builds from its settings, and what it refuses."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import nn, optim

pytest.importorskip("sklearn")

from sklearn.base import clone

from tinynn.sklearn import Factory, NeuralClassifier, NeuralRegressor

X = np.random.default_rng(0).standard_normal((50, 3))
Y = np.sin(X.sum(axis=1))
KIND = np.array(["low", "high"])[(Y > 0).astype(int)]


def two_layers(n_features: int, n_outputs: int, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_outputs))


def quick(kind: Any = NeuralRegressor, *args: Any, **settings: Any) -> Any:
    return kind(*args, **({"max_epochs": 3, "random_state": 0} | settings))


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (5, [(5, 3), (1, 5)]),
        ((5, 4), [(5, 3), (4, 5), (1, 4)]),
        ((), [(1, 3)]),
        (two_layers, [(8, 3), (1, 8)]),
        (Factory(two_layers, width=6), [(6, 3), (1, 6)]),
        (two_layers(3, 1, 7), [(7, 3), (1, 7)]),
    ],
)
def test_any_network(network: Any, shapes: list[tuple[int, int]]) -> None:
    model = quick(network=network).fit(X, Y)
    assert [p.shape for p in model.network_.parameters() if p.ndim == 2] == shapes
    assert not model.network_.training
    assert clone(model).fit(X, Y).predict(X) == pytest.approx(model.predict(X), rel=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "GELU", "leaky_relu", "logistic", nn.SiLU, nn.LeakyReLU(0.2)])
def test_any_activation(activation: Any) -> None:
    layer = quick(activation=activation).fit(X, Y).network_[1]
    assert isinstance(layer, nn.Module)
    assert repr(layer) in (repr(layer), str(activation))
    if isinstance(activation, nn.LeakyReLU):
        assert layer.negative_slope == 0.2
        assert layer is not activation


def test_a_module_is_copied_and_its_weights_are_where_training_starts() -> None:
    module = two_layers(3, 1)
    before = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    model = quick(network=module, lr=0.0).fit(X, Y)
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
        np.testing.assert_array_equal(model.network_.state_dict()[name].numpy(), before[name])
    assert model.network_ is not module
    trained = quick(network=module).fit(X, Y)
    assert any((value.numpy() != before[name]).any() for name, value in trained.network_.state_dict().items())
    assert all((value.numpy() == before[name]).all() for name, value in module.state_dict().items())


def test_settings_of_a_factory_are_searchable_and_cloned() -> None:
    model = NeuralClassifier(Factory(two_layers, width=5))
    assert model.get_params()["network__width"] == 5
    copied = clone(model).set_params(network__width=9)
    assert (model.network.settings, copied.network.settings) == ({"width": 5}, {"width": 9})
    with pytest.raises(ValueError, match="has no setting 'depth'; the function takes n_features, n_outputs, width"):
        copied.set_params(network__depth=3)
    assert quick(NeuralClassifier, copied.network).fit(X, KIND).network_[0].weight.shape == (9, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": (4, 0)}, "sizes of hidden layers are positive integers"),
        ({"network": "large"}, "sizes of hidden layers are positive integers"),
        ({"network": lambda n, m: 3}, "must return a Module, and returned int"),
        ({"network": nn.Linear(3, 4)}, r"it gives an output of shape \(1, 4\), and the targets need \(1, 1\)"),
        ({"network": nn.Linear(5, 1)}, "5"),
        ({"network": nn.ReLU()}, "no parameters that require a gradient|output of shape"),
        ({"activation": "relish"}, "'relish' is none of .*elu, .*gelu"),
        ({"optimizer": "adagrad2"}, "is none of adam, adamw, sgd, rmsprop, lbfgs"),
        ({"optimizer": lambda p, **_: 1}, "must return an optimizer, and returned int"),
        ({"schedule": "linear"}, "is none of None, 'constant', 'cosine'"),
        ({"loss": "hinge"}, "'hinge' is none of mse, mae, huber"),
        ({"dtype": "float16"}, "float32 or float64"),
        ({"max_epochs": 0}, "max_epochs: a positive integer, not 0"),
        ({"batch_size": 2.5}, "batch_size: a positive integer, not 2.5"),
        ({"patience": 0}, "patience: a positive integer"),
        ({"threads": -1}, "threads: a positive integer"),
        ({"scale_inputs": "yes"}, "scale_inputs: True, False or 'common'"),
        ({"compile": "yes"}, "compile: True, False or 'auto'"),
        ({"validation_fraction": 1.0}, "validation_fraction: between 0 and 1"),
        ({"early_stopping": True, "validation_fraction": 0.99}, "both must be at least 1"),
        ({"optimizer": "sgd", "lr": 1e12, "max_epochs": 50}, "the loss became (nan|inf) in epoch .* lr is too large"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        quick(**settings).fit(X, Y)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "lbfgs", optim.AdamW])
@pytest.mark.parametrize("compiled", [False, True])
def test_every_optimizer_learns(optimizer: Any, compiled: bool) -> None:
    settings = {"max_epochs": 60, "compile": compiled, "weight_decay": 1e-4, "activation": "tanh", "patience": None}
    model = quick(network=(16,), optimizer=optimizer, **settings).fit(X, Y)
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    assert len(model.loss_curve_) == model.n_iter_ == 60


def test_lbfgs_decays_weights_by_the_loss() -> None:
    sizes = [
        sum(
            (p.numpy() ** 2).sum()
            for p in quick(optimizer="lbfgs", weight_decay=decay).fit(X, Y).network_.state_dict().values()
        )
        for decay in (0.0, 1e-1)
    ]
    assert sizes[1] < 0.5 * sizes[0]


def test_training_is_the_loop_one_would_write() -> None:
    module = two_layers(3, 1)
    model = NeuralRegressor(
        module, optimizer=functools.partial(optim.SGD, momentum=0.5), lr=0.1, batch_size=None, max_epochs=7,
        scale_inputs=False, scale_targets=False,
    ).fit(X, Y)  # fmt: skip
    optimizer = optim.SGD(module.parameters(), lr=0.1, momentum=0.5)
    losses = []
    for _ in range(7):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(module(tinynn.tensor(X)), tinynn.tensor(Y[:, None]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)
    with tinynn.no_grad():
        np.testing.assert_allclose(model.predict(X), module(tinynn.tensor(X)).numpy()[:, 0], rtol=1e-12)


@pytest.mark.parametrize("batch_size", [None, 7, 16])
def test_compiled_or_not_it_is_the_same_training(batch_size: Any) -> None:
    eager, compiled = (
        quick(NeuralClassifier, (6,), max_epochs=10, batch_size=batch_size, compile=kind).fit(X, KIND)
        for kind in (False, True)
    )
    np.testing.assert_allclose(compiled.loss_curve_, eager.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(compiled.predict_proba(X), eager.predict_proba(X), rtol=1e-8)


def test_a_schedule_steps_once_per_epoch() -> None:
    rates: list[float] = []

    class Watched(optim.lr_scheduler.CosineAnnealingLR):
        def step(self, *args: Any) -> None:
            super().step(*args)
            rates.append(self.optimizer.param_groups[0]["lr"])

    quick(schedule=lambda o, epochs: Watched(o, T_max=epochs), lr=1.0e-2, max_epochs=4, batch_size=10).fit(X, Y)
    np.testing.assert_allclose(rates[-4:], 0.5e-2 * (1 + np.cos(np.pi * np.arange(1, 5) / 4)), atol=1e-12)
    a, b = (quick(schedule=kind, max_epochs=9).fit(X, Y).predict(X) for kind in ("cosine", "constant"))
    assert np.abs(a - b).max() > 1e-4


def test_fitted_estimators_pickle_with_modules() -> None:
    model = quick(NeuralClassifier, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), compile=True)
    model.fit(X, KIND)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.get_params()["max_epochs"] == 3
    assert "Linear(in_features=3" in repr(again)
