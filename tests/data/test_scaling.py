"""StandardScaler: statistics, differentiability, saving, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynn
from tinynn import nn
from tinynn.data import StandardScaler
from tinynn.tensor import Tensor

TABLES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 20), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


@given(x=TABLES)
def test_scaled_features_have_mean_0_and_deviation_1_or_0(x):
    y = StandardScaler().fit(x).transform(x)
    spread = np.ptp(x, axis=0)
    clear = spread > 1e-6 * np.abs(x).max(axis=0)
    np.testing.assert_allclose(y.mean(axis=0)[clear], 0.0, atol=1e-7)
    np.testing.assert_allclose(y.std(axis=0)[clear], 1.0, rtol=1e-6)
    assert np.isfinite(y).all()


@given(x=TABLES)
def test_inverse_undoes_transform(x):
    scaler = StandardScaler().fit(x)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(x)), x, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3, -7.3e-12])
def test_a_constant_feature_gets_scale_1(value):
    x = np.column_stack([np.full(1000, value), np.arange(1000.0)])
    scaler = StandardScaler().fit(x)
    assert scaler.scale.tolist()[0] == 1.0
    np.testing.assert_allclose(scaler.transform(x)[:, 0], 0.0, atol=1e-6)


def test_agrees_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.random.default_rng(0).normal(3.0, 2.0, (50, 4))
    np.testing.assert_allclose(
        StandardScaler().fit_transform(x),
        preprocessing.StandardScaler().fit_transform(x),
        rtol=1e-12,
        atol=1e-14,
    )


def test_float32_stays_float32_with_statistics_taken_in_float64():
    x = (1e4 + np.random.default_rng(0).normal(size=(100_000, 1))).astype(np.float32)
    scaler = StandardScaler().fit(x)
    assert scaler.mean.dtype == scaler.scale.dtype == scaler.transform(x).dtype == np.float32
    np.testing.assert_allclose(scaler.scale.numpy(), x.astype(np.float64).std(axis=0), rtol=1e-6)


def test_integers_count_as_float64():
    scaler = StandardScaler().fit([[0], [2]])
    assert scaler.transform(np.array([[4]])).tolist() == [[3.0]]


def test_targets_without_a_feature_axis():
    scaler = StandardScaler().fit(np.array([1.0, 3.0]))
    assert scaler.mean.shape == ()
    assert scaler.transform(np.array([5.0, 1.0, 3.0])).tolist() == [3.0, -1.0, 1.0]


def test_arrays_give_arrays_and_tensors_give_tensors():
    x = np.arange(6.0).reshape(3, 2)
    scaler = StandardScaler().fit(Tensor(x))
    assert isinstance(scaler.transform(x), np.ndarray)
    scaled = scaler.transform(Tensor(x))
    assert isinstance(scaled, Tensor)
    np.testing.assert_array_equal(scaled.numpy(), scaler.transform(x))
    np.testing.assert_array_equal(scaler(Tensor(x)).numpy(), scaled.numpy())


def test_the_gradient_passes_through():
    x = np.array([[0.0, 0.0], [2.0, 6.0]])
    scaler = StandardScaler().fit(x)
    point = tinynn.tensor([[1.0, 1.0]], requires_grad=True)
    scaler.transform(point).sum().backward()
    np.testing.assert_allclose(point.grad.numpy(), [[1.0, 1.0 / 3.0]])
    point.grad = None
    scaler.inverse_transform(point).sum().backward()
    np.testing.assert_allclose(point.grad.numpy(), [[1.0, 3.0]])


def test_the_statistics_are_buffers_not_parameters():
    scaler = StandardScaler().fit(np.arange(6.0).reshape(3, 2))
    assert list(scaler.state_dict()) == ["mean", "scale"]
    assert list(scaler.parameters()) == []


def test_saved_and_loaded_with_the_model(tmp_path):
    from tinynn import nn

    x = np.random.default_rng(0).normal(5.0, 3.0, (20, 2))
    model = nn.Sequential(StandardScaler().fit(x), nn.Linear(2, 1))
    tinynn.save(tmp_path / "model.safetensors", model.state_dict())
    again = nn.Sequential(StandardScaler(2), nn.Linear(2, 1))
    again.load_state_dict(tinynn.load(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again(Tensor(x)).numpy(), model(Tensor(x)).numpy())
    np.testing.assert_array_equal(again[0].mean.numpy(), x.mean(axis=0))


def test_statistics_follow_the_models_dtype():
    scaler = StandardScaler().fit(np.arange(4.0).reshape(2, 2)).to("float32")
    assert scaler.mean.dtype == np.float32


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((0, 2)), ValueError, "at least one sample"),
        (np.float64(3.0), ValueError, "at least one sample"),
        (
            np.array([[0.0], [np.nan]]),
            ValueError,
            r"1 values that are NaN or infinite, the first at index \(1, 0\)",
        ),
        (np.array([[np.inf]]), ValueError, "infinite"),
        (np.array([["a"]]), TypeError, "real numbers"),
        (np.array([1j]), TypeError, "complex128"),
    ],
)
def test_refused_data_leave_the_scaler_as_it_was(x, error, message):
    scaler = StandardScaler().fit(np.array([1.0, 3.0]))
    with pytest.raises(error, match=message):
        scaler.fit(x)
    assert scaler.mean.item() == 2.0


def test_not_fitted():
    for method in ("transform", "inverse_transform"):
        with pytest.raises(RuntimeError, match="fit"):
            getattr(StandardScaler(), method)(np.zeros((2, 2)))


@pytest.mark.parametrize("shape", [(5, 3), (2,), (3,), ()])
def test_other_features_than_in_the_fit(shape):
    scaler = StandardScaler().fit(np.arange(8.0).reshape(2, 4))
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        scaler.transform(np.zeros(shape))


def test_statistics_load_into_a_scaler_that_was_never_fitted():
    x = np.random.default_rng(0).normal(3.0, 2.0, (20, 4))
    fitted = nn.Sequential(StandardScaler().fit(x), nn.Linear(4, 1))
    fresh = nn.Sequential(StandardScaler(), nn.Linear(4, 1))
    fresh.load_state_dict(fitted.state_dict())
    np.testing.assert_array_equal(fresh(Tensor(x)).detach().numpy(), fitted(Tensor(x)).detach().numpy())
    other = nn.Sequential(StandardScaler(), nn.Linear(5, 1))
    with pytest.raises(ValueError, match=r"1\.weight"):
        other.load_state_dict(fitted.state_dict())
    assert other[0].mean is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_weight_counts_as_so_many_samples(dtype):
    x = np.random.default_rng(0).normal(3.0, 2.0, (7, 4)).astype(dtype)
    x[:, 3] = 5.0
    x[[0, 5], 3] = 7.0  # of no weight
    weight = np.array([0, 2, 2, 3, 1, 0, 4])
    weighted, repeated = StandardScaler().fit(x, weight), StandardScaler().fit(np.repeat(x, weight, axis=0))
    for name in ("mean", "scale"):
        a, b = getattr(weighted, name).numpy(), getattr(repeated, name).numpy()
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == "float32" else 1e-13)
    assert weighted.scale.numpy()[3] == 1.0


def test_one_deviation_for_all_features():
    x = np.random.default_rng(1).normal(size=(50, 6)) * np.arange(6)
    scaler = StandardScaler().fit(x, common=True)
    np.testing.assert_allclose(scaler.scale.numpy(), np.sqrt(x.var(axis=0).mean()), rtol=1e-13)
    np.testing.assert_allclose(scaler.mean.numpy(), x.mean(axis=0), rtol=1e-12, atol=1e-15)
    assert (StandardScaler().fit(np.ones((3, 2)), common=True).scale.numpy() == 1.0).all()


@pytest.mark.parametrize("weight", [[1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, np.nan, 1.0]])
def test_weights_that_do_not_fit_are_refused(weight):
    scaler = StandardScaler(2)
    with pytest.raises(ValueError, match="sample_weight must hold 3 numbers"):
        scaler.fit(np.arange(6.0).reshape(3, 2), weight)
    assert scaler.scale.tolist() == [1.0, 1.0]
