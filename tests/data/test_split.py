"""Divisions: complete, disjoint, reproducible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinynn
from tinynn.data import KFold, TensorDataset, random_split, train_val_test_split
from tinynn.random import Generator
from tinynn.tensor import Tensor


@given(n=st.integers(10, 300), seed=st.integers(0, 2**64 - 1), a=st.floats(0.2, 0.7))
def test_parts_are_disjoint_and_complete(n, seed, a):
    parts = train_val_test_split(np.arange(n), fractions=(a, 0.8 - a, 0.2), seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part, fraction in zip(parts, (a, 0.8 - a, 0.2)):
        assert abs(len(part) - fraction * n) <= 1.0 + 1e-6


def test_rows_that_belong_together_stay_together():
    x = np.arange(40.0).reshape(20, 2)
    for part_x, part_y in train_val_test_split(x, Tensor(x[:, 0]), seed=3):
        assert isinstance(part_x, np.ndarray)
        assert isinstance(part_y, Tensor)
        np.testing.assert_array_equal(part_x[:, 0], part_y.numpy())


def test_the_same_seed_gives_the_same_division():
    one, two, other = (train_val_test_split(np.arange(50), seed=s)[0].tolist() for s in (1, 1, 2))
    assert one == two != other


def test_without_a_seed_the_division_follows_manual_seed():
    def draw():
        tinynn.manual_seed(5)
        return [train_val_test_split(np.arange(30))[0].tolist() for _ in range(2)]

    first, second = draw()
    assert [first, second] == draw()
    assert first != second


def test_numpys_global_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    train_val_test_split(np.arange(10))
    random_split(TensorDataset(np.zeros(4)), [2, 2])
    assert np.random.random() == expected  # noqa: NPY002


def test_60_20_20_of_10_is_6_2_2_and_products_are_not_rounded_down():
    assert [len(p) for p in train_val_test_split(np.arange(10))] == [6, 2, 2]
    assert [len(p) for p in train_val_test_split(np.arange(100), fractions=(0.29, 0.57, 0.14))] == [
        29,
        57,
        14,
    ]


def test_a_part_may_be_left_out_on_purpose():
    train, val, test = train_val_test_split(np.arange(11), fractions=(0.8, 0.2, 0.0), seed=0)
    assert (len(train), len(val), len(test)) == (9, 2, 0)


@pytest.mark.parametrize(
    ("arrays", "fractions", "message"),
    [
        ((), (0.6, 0.2, 0.2), "at least one"),
        ((np.zeros(5), np.zeros(6)), (0.6, 0.2, 0.2), "same number of samples"),
        ((np.zeros(5),), (0.6, 0.2, 0.3), "add up to 1.1"),
        ((np.zeros(5),), (1.2, -0.4, 0.2), "negative"),
        ((np.zeros(5),), (float("nan"), 0.4, 0.2), "NaN"),
        ((np.zeros(5),), (0.5, 0.5), "random_split"),
        ((np.zeros(2),), (0.6, 0.2, 0.2), "leave a part empty"),
        ((np.zeros((0, 3)),), (0.6, 0.2, 0.2), "no samples"),
    ],
)
def test_refused_divisions(arrays, fractions, message):
    with pytest.raises(ValueError, match=message):
        train_val_test_split(*arrays, fractions=fractions)


@given(lengths=st.lists(st.integers(0, 20), min_size=1, max_size=5), seed=st.integers(0, 100))
def test_random_split_by_lengths(lengths, seed):
    n = sum(lengths)
    assume(n > 0)
    parts = random_split(TensorDataset(np.arange(n)), lengths, seed=seed)
    assert [len(p) for p in parts] == lengths
    assert sorted(i for part in parts for i in part.indices.tolist()) == list(range(n))


def test_random_split_by_fractions_gives_the_remainder_to_the_first_parts():
    parts = random_split(TensorDataset(np.arange(10)), [1 / 3, 1 / 3, 1 / 3], seed=0)
    assert [len(p) for p in parts] == [4, 3, 3]


def test_random_split_draws_from_a_generator():
    data = TensorDataset(np.arange(20))
    one, two = (random_split(data, [15, 5], Generator(7))[1].indices.tolist() for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 3], "add up to 6, but there are 7"),
        ([], "empty"),
        ([-1, 8], "negative"),
        ([0.5, 0.4], "not to 1"),
    ],
)
def test_refused_lengths(lengths, message):
    with pytest.raises(ValueError, match=message):
        random_split(TensorDataset(np.zeros(7)), lengths)


@given(n=st.integers(2, 60), k=st.integers(2, 10), shuffle=st.booleans(), seed=st.integers(0, 1000))
def test_every_sample_is_held_out_once(n, k, shuffle, seed):
    assume(n >= k)
    folds = list(KFold(k, shuffle=shuffle, seed=seed).split(np.zeros(n)))
    assert len(folds) == k
    assert sorted(i for _, val in folds for i in val.tolist()) == list(range(n))
    for train, val in folds:
        assert sorted([*train.tolist(), *val.tolist()]) == list(range(n))
        assert len(val) in (n // k, n // k + 1)


def test_folds_are_those_of_scikit_learn():
    model_selection = pytest.importorskip("sklearn.model_selection")
    ours = [(a.tolist(), b.tolist()) for a, b in KFold(4).split(np.zeros(11))]
    theirs = [(a.tolist(), b.tolist()) for a, b in model_selection.KFold(4).split(np.zeros(11))]
    assert ours == theirs


def test_folds_repeat_even_without_a_seed():
    folds = KFold(3, shuffle=True)
    assert [v.tolist() for _, v in folds.split(range(10))] == [v.tolist() for _, v in folds.split(range(10))]


@pytest.mark.parametrize("k", [1, 0, 2.5, True])
def test_refused_numbers_of_folds(k):
    with pytest.raises(ValueError, match="n_splits"):
        KFold(k)


def test_more_folds_than_samples_is_refused():
    with pytest.raises(ValueError, match="3 samples"):
        list(KFold(4).split(np.zeros(3)))


def test_a_seed_is_an_integer():
    with pytest.raises(TypeError, match="seed"):
        train_val_test_split(np.zeros(10), seed=0.5)
    with pytest.raises(ValueError, match="seed"):
        train_val_test_split(np.zeros(10), seed=-1)
