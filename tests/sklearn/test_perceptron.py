"""The perceptron: its rule, its bound, its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import make_blobs

from tinynn.sklearn import Perceptron
from tinynn.sklearn.perceptron import epoch

DATA = Path(__file__).parents[2] / "examples" / "data" / "pdf_structures.npz"


def clouds(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    side = rng.integers(2, size=n)
    return np.column_stack([rng.standard_normal(n), (side - 0.5) * (0.6 + rng.random(n))]) + [2.0, 3.0], side


def test_a_wrong_point_is_added_or_subtracted() -> None:
    """w·x = 0 is the side of P: from w = 0 only N can move it."""
    x, in_p = np.array([[1.0, 1.0], [1.0, -3.0]]), np.array([True, False])
    np.testing.assert_array_equal(epoch(np.zeros(2), x, in_p)[0], [-1.0, 3.0])
    np.testing.assert_array_equal(epoch(np.array([-2.0, 1.0]), x, in_p)[0], [-1.0, 2.0])


@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_is_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, in_p, w = rng.standard_normal((300, 4)), rng.random(300) < 0.5, rng.standard_normal(4)
    expected, updates = w, 0
    for point, side in zip(x, in_p, strict=True):
        if side and expected @ point < 0:
            expected, updates = expected + point, updates + 1
        elif not side and expected @ point >= 0:
            expected, updates = expected - point, updates + 1
    got, count = epoch(w, x, in_p)
    np.testing.assert_array_equal(got, expected)
    assert count == updates > 50


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", ["passes", "random"])
def test_separable_points_are_learnt_within_novikoffs_bound(seed: int, order: str) -> None:
    x, y = clouds(seed)
    model = Perceptron(order=order, random_state=seed, max_epochs=20_000).fit(x, y)
    assert model.converged_
    assert model.errors_[0][-1] == 0
    assert model.score(x, y) == 1.0
    # the margin of any separating line bounds the best one from below
    with_ones = np.column_stack([np.ones(len(x)), x])
    w = np.array([-3.0, 0.0, 1.0])
    gamma = (np.where(y, 1, -1) * (with_ones @ w)).min() / np.linalg.norm(w)
    assert model.n_updates_[0] <= (np.linalg.norm(with_ones, axis=1).max() / gamma) ** 2


def test_xor_never_ends_and_the_best_weights_are_kept() -> None:
    x, y = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), [1, 1, 0, 0]
    model = Perceptron(max_epochs=50, random_state=0).fit(x, y)
    assert not model.converged_
    assert len(model.errors_[0]) == 51
    assert min(model.errors_[0]) >= 1
    assert model.score(x, y) == 1 - min(model.errors_[0]) / 4
    last = Perceptron(max_epochs=50, random_state=0, pocket=False).fit(x, y)
    assert last.score(x, y) == 1 - last.errors_[0][-1] / 4


def test_more_classes_one_against_the_others() -> None:
    x, y = make_blobs(150, centers=[[0, 5], [5, -3], [-5, -3]], random_state=0)
    labels = np.array(["a", "b", "c"])[y]
    model = Perceptron(random_state=0).fit(x, labels)
    assert model.coef_.shape == (3, 2)
    assert model.decision_function(x).shape == (150, 3)
    assert model.score(x, labels) == 1.0


def test_without_x0() -> None:
    x, y = clouds(0)
    model = Perceptron(fit_intercept=False, random_state=0, max_epochs=20).fit(x - x.mean(axis=0), y)
    assert model.intercept_.tolist() == [0.0]


@pytest.mark.parametrize(
    ("settings", "message"), [({"order": "sorted"}, "'passes' or 'random'"), ({"max_epochs": 0}, "max_epochs")]
)
def test_what_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Perceptron(**settings).fit(*clouds(0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one class"):
        Perceptron().fit([[0.0], [1.0]], [1, 1])


def test_structure_types_of_nanoparticles() -> None:
    with np.load(DATA) as data:
        names, label, curves = data["classes"].tolist(), data["label"].astype(int), data["G"].astype(float)
    rows = np.flatnonzero(np.isin(label, [names.index("fcc"), names.index("bcc")]))
    rows = np.random.default_rng(0).permutation(rows)
    model = Perceptron(random_state=0, max_epochs=30).fit(curves[rows[:135]], label[rows[:135]])
    assert model.converged_
    assert model.score(curves[rows[135:]], label[rows[135:]]) >= 0.97
