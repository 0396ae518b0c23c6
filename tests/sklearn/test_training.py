"""Training, stopping, weights, targets of all kinds, continuing."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import nn

pytest.importorskip("sklearn")

from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, r2_score

from tinynn.sklearn import NeuralClassifier, NeuralRegressor

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 3))
Y = np.sin(X.sum(axis=1)) + 0.1 * RNG.standard_normal(80)
LABELS = np.array([3, 11, 7])[np.digitize(Y, [-0.4, 0.4])]


def settings(**more: Any) -> dict[str, Any]:
    return {"network": (8,), "max_epochs": 20, "random_state": 0, "activation": "tanh"} | more


# ------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("n", [70, 65, 64, 33])
@pytest.mark.parametrize("compiled", [False, True])
def test_each_epoch_uses_each_sample_once(n: int, compiled: bool) -> None:
    """With lr = 0 the loss of an epoch is that of its batches; a network that gives x makes it a mean of samples."""
    seen: list[np.ndarray] = []
    model = nn.Linear(1, 1, bias=False)
    model.weight.assign_([[1.0]])

    def loss(outputs: Any, targets: Any) -> Any:
        if not compiled:
            seen.append(outputs.detach().numpy()[:, 0])
        return (outputs - targets) ** 2

    x = np.arange(1.0, n + 1)
    fitted = NeuralRegressor(
        model, lr=0.0, optimizer="sgd", batch_size=16, max_epochs=5, scale_inputs=False, scale_targets=False,
        random_state=0, loss=loss, compile=compiled, patience=None,
    ).fit(x[:, None], 0 * x)  # fmt: skip
    assert len(fitted.loss_curve_) == 5
    np.testing.assert_allclose(np.mean(fitted.loss_curve_), np.mean(x**2), rtol=0.1)
    if not compiled:
        assert {len(batch) for batch in seen} == {16}
        for epoch in range(5):  # batches run on from one epoch into the next
            stream = np.concatenate(seen)[epoch * n : (epoch + 1) * n]
            assert len(np.unique(stream)) == len(stream)
        assert not np.array_equal(np.concatenate(seen)[:n], np.sort(np.concatenate(seen)[:n]))


def test_batch_norm_never_meets_a_batch_of_one() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    model = NeuralRegressor(net, max_epochs=3, batch_size=8).fit(X[:65], Y[:65])
    model.partial_fit(X[:65], Y[:65])
    assert np.isfinite(model.predict(X)).all()


# ------------------------------------------------------------------------------------------------ stopping


@pytest.mark.parametrize("compiled", [False, True])
def test_early_stopping_keeps_the_best_epoch(compiled: bool) -> None:
    model = NeuralRegressor(**settings(network=(64, 64), lr=2e-2, max_epochs=150, patience=30, compile=compiled))
    model.fit(X[:50], Y[:50], validation=(X[50:], Y[50:]))
    losses = model.validation_loss_curve_
    assert model.best_epoch_ == int(np.argmin(losses)) + 1 < model.n_iter_ <= 150
    assert model.n_iter_ == len(losses) == len(model.loss_curve_) == len(model.validation_scores_)
    assert model.best_loss_ == min(losses)
    now = np.mean((model.predict(X[50:]) - Y[50:]) ** 2) / model.target_scaling_.scale.numpy() ** 2
    assert now == pytest.approx(min(losses), rel=1e-9)
    score = model.validation_scores_[model.best_epoch_ - 1]
    assert score == pytest.approx(r2_score(Y[50:], model.predict(X[50:])), rel=1e-9)


def test_a_fraction_is_held_out_in_equal_shares_of_the_classes() -> None:
    seen: list[Any] = []

    class Watched(NeuralClassifier):
        def _score_of(self, targets: Any) -> Any:
            seen.append(targets)
            return super()._score_of(targets)

    x, y = load_iris(return_X_y=True)
    model = Watched((8,), max_epochs=30, early_stopping=True, validation_fraction=0.2, random_state=0).fit(x, y)
    assert np.bincount(seen[0]).tolist() == [10, 10, 10]
    assert max(model.validation_scores_) <= 1.0
    assert not hasattr(NeuralClassifier(max_epochs=1).fit(x, y), "validation_scores_")


def test_training_ends_where_the_loss_no_longer_falls() -> None:
    for compiled in (False, True):
        model = NeuralRegressor(**settings(lr=0.0, max_epochs=500, patience=5, compile=compiled)).fit(X, Y)
        assert 6 <= model.n_iter_ <= 50
    assert NeuralRegressor(**settings(lr=0.0, patience=None)).fit(X, Y).n_iter_ == 20


# ------------------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS.astype(str),
        LABELS.astype(str).astype(object),
        LABELS > 5,
        LABELS.astype(float),
        list(LABELS.astype(str)),
    ],
)
def test_labels_of_any_type(labels: Any) -> None:
    model = NeuralClassifier(**settings(lr=1e-2, max_epochs=100)).fit(X, labels)
    guess = model.predict(X)
    assert guess.dtype == np.asarray(labels).dtype
    assert accuracy_score(labels, guess) > 0.8
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.log(proba), model.predict_log_proba(X), atol=1e-12)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], guess)


def test_several_labels_at_once() -> None:
    y = np.column_stack([X[:, 0] > 0, X.sum(axis=1) > 0, X[:, 2] > 1]).astype(int)
    model = NeuralClassifier(**settings(max_epochs=200, lr=1e-2)).fit(X, y)
    guess, proba = model.predict(X), model.predict_proba(X)
    assert guess.shape == proba.shape == (80, 3)
    assert guess.dtype == y.dtype
    assert np.mean(guess == y) > 0.95
    np.testing.assert_array_equal(proba > 0.5, guess.astype(bool))
    np.testing.assert_allclose(np.log(proba / (1 - proba)), model.decision_function(X), rtol=1e-6)
    with pytest.raises(ValueError, match="made for 3 classes"):
        model.partial_fit(X, LABELS)


def test_several_outputs() -> None:
    y = np.column_stack([Y, 100 + 50 * X[:, 0]])
    model = NeuralRegressor(**settings(max_epochs=300, lr=1e-2)).fit(X, y)
    assert model.predict(X).shape == (80, 2)
    assert model.score(X, y) > 0.9
    one = NeuralRegressor(**settings()).fit(X, Y[:, None])
    assert one.predict(X).shape == (80, 1)
    np.testing.assert_array_equal(one.predict(X)[:, 0], NeuralRegressor(**settings()).fit(X, Y).predict(X))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", nn.MSELoss(reduction="none"), nn.L1Loss()])
def test_losses_of_a_regression(loss: Any) -> None:
    model = NeuralRegressor(**settings(loss=loss, max_epochs=60)).fit(X, Y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if isinstance(loss, nn.L1Loss):
        with pytest.raises(ValueError, match="must return a loss per sample"):
            model.fit(X, Y, sample_weight=np.ones(80))


def test_float32_all_the_way() -> None:
    model = NeuralRegressor(**settings(dtype="float32", compile=True)).fit(X, Y)
    assert {p.dtype for p in model.network_.parameters()} == {np.dtype("float32")}
    assert model.predict(X).dtype == np.float32
    assert NeuralClassifier(**settings(dtype="float32")).fit(X, LABELS).predict_proba(X).dtype == np.float32


def test_inputs_with_more_axes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    x = RNG.standard_normal((80, 1, 4, 4))
    model = NeuralClassifier(net, max_epochs=2, scale_inputs="common").fit(x, LABELS)
    assert model.predict(x).shape == (80,)
    assert model.input_scaling_.mean.shape == (1, 4, 4)
    assert len(np.unique(model.input_scaling_.scale.numpy())) == 1


@pytest.mark.parametrize("scale", [True, "common", False])
def test_scaling_is_undone(scale: Any) -> None:
    x, y = 1e3 + 50 * X, 1e-4 * Y + 7
    model = NeuralRegressor(**settings(scale_inputs=scale, max_epochs=200, lr=1e-2)).fit(x, y)
    inside = model.input_scaling_.transform(x)
    if scale is False:
        np.testing.assert_array_equal(inside, x)
    else:
        assert model.score(x, y) > 0.8
        np.testing.assert_allclose(inside.mean(axis=0), 0, atol=1e-12)
    if scale is True:
        np.testing.assert_allclose(inside.std(axis=0), 1)


# ------------------------------------------------------------------------------------------------ weights


def test_weights_count_samples() -> None:
    weights = RNG.integers(0, 4, size=80)
    kind = settings(batch_size=None, max_epochs=50)
    by_weight = NeuralRegressor(**kind).fit(X, Y, sample_weight=weights).predict(X)
    by_repeating = NeuralRegressor(**kind).fit(X.repeat(weights, axis=0), Y.repeat(weights)).predict(X)
    np.testing.assert_allclose(by_weight, by_repeating, rtol=1e-8)
    assert np.abs(by_weight - NeuralRegressor(**kind).fit(X, Y).predict(X)).max() > 1e-3


def test_class_weights_multiply_sample_weights() -> None:
    kind = settings(batch_size=None, max_epochs=30)
    weights = RNG.random(80)
    by_dict = NeuralClassifier(**kind, class_weight={3: 5.0}).fit(X, LABELS, sample_weight=weights)
    by_hand = NeuralClassifier(**kind).fit(X, LABELS, sample_weight=weights * np.where(LABELS == 3, 5.0, 1.0))
    np.testing.assert_allclose(by_dict.predict_proba(X), by_hand.predict_proba(X), rtol=1e-9)
    balanced = NeuralClassifier(**kind, class_weight="balanced").fit(X, LABELS)
    rare = np.argmin(np.bincount(balanced._targets(LABELS, False)))
    plain = NeuralClassifier(**kind).fit(X, LABELS)
    assert balanced.predict_proba(X)[:, rare].mean() > plain.predict_proba(X)[:, rare].mean()


@pytest.mark.parametrize("weights", [np.zeros(80), -np.ones(80), np.ones(79)])
def test_unfit_weights(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        NeuralRegressor(**settings()).fit(X, Y, sample_weight=weights)


# ---------------------------------------------------------------------------------- random numbers, threads


def test_a_random_state_fixes_everything_and_touches_nothing_else() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))
    tinynn.manual_seed(5)
    expected = tinynn.rand(4).numpy()
    tinynn.manual_seed(5)
    fits = [NeuralClassifier(net, max_epochs=5, random_state=3, batch_size=16).fit(X, LABELS) for _ in range(2)]
    np.testing.assert_array_equal(tinynn.rand(4).numpy(), expected)
    np.testing.assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    other = NeuralClassifier(net, max_epochs=5, random_state=4, batch_size=16).fit(X, LABELS)
    assert np.abs(other.predict_proba(X) - fits[0].predict_proba(X)).max() > 1e-6
    compiled = NeuralClassifier(net, max_epochs=5, random_state=3, batch_size=16, compile=True).fit(X, LABELS)
    np.testing.assert_allclose(compiled.predict_proba(X), fits[0].predict_proba(X), rtol=1e-8)
    unfixed = [NeuralRegressor(**settings(random_state=None)).fit(X, Y).predict(X) for _ in range(2)]
    assert np.abs(unfixed[0] - unfixed[1]).max() > 1e-6


@pytest.mark.parametrize("threads", [1, None])
def test_a_fit_uses_one_thread(threads: int | None) -> None:
    import numba
    from threadpoolctl import threadpool_info

    seen: list[Any] = []

    def loss(outputs: Any, targets: Any) -> Any:
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        seen.append((max(blas), numba.get_num_threads()))
        return (outputs - targets) ** 2

    before = numba.get_num_threads()
    NeuralRegressor(**settings(loss=loss, threads=threads, max_epochs=1, compile=False)).fit(X, Y)
    assert numba.get_num_threads() == before
    if threads == 1:
        assert set(seen) == {(1, 1)}
    else:
        assert {count for _, count in seen} == {before}
    assert "numba" in sys.modules


# ---------------------------------------------------------------------------------------------- continuing


def test_partial_fit_goes_on() -> None:
    model = NeuralRegressor(**settings(batch_size=None))
    for _ in range(20):
        model.partial_fit(X, Y)
    whole = NeuralRegressor(**settings(batch_size=None)).fit(X, Y)
    np.testing.assert_allclose(model.loss_curve_, whole.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=1e-8)
    assert model.n_iter_ == 20


def test_partial_fit_goes_on_after_pickling_with_the_optimizers_moments() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))
    model = NeuralClassifier(**settings(network=net, batch_size=10)).partial_fit(X, LABELS, classes=[3, 7, 11])
    again = pickle.loads(pickle.dumps(model.partial_fit(X, LABELS)))
    for one in (model, again):
        one.partial_fit(X, LABELS)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_partial_fit_wants_to_know_the_classes() -> None:
    with pytest.raises(ValueError, match="the first call needs classes"):
        NeuralClassifier(**settings()).partial_fit(X, LABELS)
    model = NeuralClassifier(**settings()).partial_fit(X[:5], LABELS[:5], classes=[3, 7, 11])
    assert model.predict_proba(X).shape == (80, 3)
    with pytest.raises(ValueError, match=r"classes are .* since the first call"):
        model.partial_fit(X, LABELS, classes=[3, 7])
    with pytest.raises(ValueError, match="none of the classes"):
        model.partial_fit(X[:2], [3, 8])
    with pytest.raises(ValueError, match="balanced"):
        NeuralClassifier(class_weight="balanced").partial_fit(X, LABELS, classes=[3, 7, 11])


def test_warm_start_goes_on_from_the_last_weights() -> None:
    model = NeuralRegressor(**settings(warm_start=True)).fit(X, Y)
    first = model.loss_curve_
    model.fit(X, Y)
    assert model.loss_curve_[0] < first[-1] * 1.2
    cold = NeuralRegressor(**settings()).fit(X, Y)
    np.testing.assert_array_equal(cold.fit(X, Y).loss_curve_, first)
    with pytest.raises(ValueError, match="3 features"):
        model.fit(X[:, :2], Y)
    with pytest.raises(ValueError, match="2 outputs per sample, and the network was made for 1"):
        model.fit(X, np.column_stack([Y, Y]))


# ------------------------------------------------------------------------------------------------ printing


def test_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    NeuralRegressor(**settings()).fit(X, Y)
    assert capsys.readouterr() == ("", "")
    NeuralRegressor(**settings(verbose=True, early_stopping=True, max_epochs=40, patience=None)).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith("epoch 40 of 40: loss 0.")
    assert "validation" in lines[0]
