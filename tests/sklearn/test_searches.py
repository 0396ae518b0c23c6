"""Searches and curves of scikit-learn, in worker processes of joblib and of Dask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynn import nn

pytest.importorskip("sklearn")

import joblib
from sklearn.datasets import load_iris
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tinynn.sklearn import Factory, NeuralClassifier, NeuralRegressor, Perceptron

X, Y = load_iris(return_X_y=True)
MODEL = NeuralClassifier((8,), "tanh", max_epochs=60, lr=1e-2, compile=True, random_state=0)


def network(n_features: int, n_outputs: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_outputs))


def threads_of_worker() -> tuple[int, int]:
    """How many threads BLAS and Numba have in this process, while a fit runs."""
    import numba
    from threadpoolctl import threadpool_info

    seen: list[tuple[int, int]] = []

    def loss(outputs: Any, targets: Any) -> Any:
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        seen.append((max(blas), numba.get_num_threads()))
        return (outputs - targets) ** 2

    NeuralRegressor((2,), loss=loss, max_epochs=1).fit(X, Y)
    return seen[0]


@pytest.fixture(scope="module", autouse=True)
def _workers_end_with_the_module() -> Any:
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def test_cross_validation_in_two_processes_is_that_in_one() -> None:
    one, two = (cross_val_score(MODEL, X, Y, cv=4, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert one.mean() > 0.93


def test_workers_have_one_thread_each() -> None:
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(threads_of_worker)() for _ in range(4)) == [(1, 1)] * 4


def test_grid_search() -> None:
    grid = {"lr": [1e-4, 1e-2], "network": [(8,), nn.Sequential(nn.Linear(4, 3))]}
    search = GridSearchCV(MODEL, grid, cv=3, n_jobs=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_params_["lr"] == 1e-2
    assert search.best_score_ > 0.93
    assert search.predict(X).shape == (150,)


def test_grid_search_in_a_pipeline_with_settings_of_a_network() -> None:
    model = NeuralClassifier(Factory(network, width=2), max_epochs=40, lr=1e-2, scale_inputs=False, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    search = GridSearchCV(pipeline, {"neuralclassifier__network__width": [1, 12]}, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_params_ == {"neuralclassifier__network__width": 12}


def test_randomized_search() -> None:
    from scipy.stats import loguniform

    search = RandomizedSearchCV(
        MODEL, {"lr": loguniform(1e-3, 1e-1), "activation": ["relu", "tanh"]}, n_iter=4, cv=3, n_jobs=2, random_state=0
    ).fit(X, Y)
    assert search.best_score_ > 0.9
    assert len(set(search.cv_results_["param_lr"])) == 4


def test_learning_curve() -> None:
    sizes, train, test = learning_curve(
        MODEL, X, Y, cv=3, n_jobs=2, shuffle=True, random_state=0, train_sizes=[10, 100]
    )
    assert sizes.tolist() == [10, 100]
    assert test[1].mean() > test[0].mean()
    assert train.shape == (2, 3)


def test_validation_curve() -> None:
    settings = {"param_name": "max_epochs", "param_range": [1, 60], "cv": 3, "n_jobs": 2}
    _, test = validation_curve(MODEL, X, Y, **settings)
    assert test[1].mean() > test[0].mean() + 0.1


def test_perceptron_in_workers() -> None:
    assert cross_val_score(Perceptron(random_state=0), X, Y == 0, cv=3, n_jobs=2).tolist() == [1.0, 1.0, 1.0]


def test_threads_fit_side_by_side() -> None:
    """Networks that are trained at the same time in one process do not disturb each other."""
    expected = cross_val_score(MODEL, X, Y, cv=4)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(MODEL, X, Y, cv=4), expected)


@pytest.mark.slow
def test_a_search_on_two_workers_of_dask() -> None:
    distributed = pytest.importorskip("distributed")
    expected = GridSearchCV(MODEL, {"lr": [1e-3, 1e-2]}, cv=3).fit(X, Y)
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
            local_directory=None,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, timeout=60) as client,
        joblib.parallel_config(backend="dask", wait_for_workers_timeout=60),
    ):
        client.wait_for_workers(2, timeout=60)
        search = GridSearchCV(MODEL, {"lr": [1e-3, 1e-2]}, cv=3).fit(X, Y)
        assert set(client.run(threads_of_worker).values()) == {(1, 1)}
        processes = client.run(lambda: __import__("os").getpid())
    assert len(set(processes.values())) == 2
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert search.best_params_ == expected.best_params_
