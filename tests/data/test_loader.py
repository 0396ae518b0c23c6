"""DataLoader and samplers: every sample once, in a reproducible order, as arrays."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn
from tinynn.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)
from tinynn.tensor import Tensor


def values(loader):
    return [batch.tolist() for batch in loader]


@given(n=st.integers(1, 50), size=st.integers(1, 60), shuffle=st.booleans(), seed=st.integers(0, 2**63))
def test_an_epoch_holds_every_sample_once(n, size, shuffle, seed):
    loader = DataLoader(np.arange(n), batch_size=size, shuffle=shuffle, seed=seed)
    for _ in range(2):
        batches = values(loader)
        assert len(batches) == len(loader) == -(-n // size)
        assert all(len(b) == size for b in batches[:-1])
        assert sorted(i for b in batches for i in b) == list(range(n))


@given(n=st.integers(1, 50), size=st.integers(1, 50), shuffle=st.booleans())
def test_drop_last_leaves_whole_batches_only(n, size, shuffle):
    if size > n:
        with pytest.raises(ValueError, match="no batch"):
            DataLoader(np.arange(n), size, shuffle, drop_last=True)
        return
    batches = values(DataLoader(np.arange(n), size, shuffle, drop_last=True, seed=0))
    assert [len(b) for b in batches] == [size] * (n // size)


def test_batches_are_lists_of_tensors_with_rows_kept_together():
    x = np.arange(20.0).reshape(10, 2)
    for batch in DataLoader(TensorDataset(x, x[:, 0]), batch_size=3, shuffle=True, seed=1):
        assert isinstance(batch, list)
        features, target = batch
        assert isinstance(features, Tensor)
        np.testing.assert_array_equal(features.numpy()[:, 0], target.numpy())


def test_array_data_sets_are_not_fetched_item_by_item(monkeypatch):
    data = TensorDataset(np.arange(10.0))
    monkeypatch.setattr(TensorDataset, "__getitem__", lambda self, index: pytest.fail("fetched an item"))
    (train, _) = random_split(data, [8, 2], seed=0)
    assert sum(len(x) for (x,) in DataLoader(train, batch_size=3, shuffle=True)) == 8
    assert sum(len(x) for (x,) in DataLoader(data, batch_size=3)) == 10


def test_a_batch_in_order_is_a_view():
    x = np.arange(8.0)
    (batch,) = next(iter(DataLoader(TensorDataset(x), batch_size=4)))
    assert np.shares_memory(batch.array, x)


def test_epochs_differ_and_repeat_with_the_seed():
    one, two = (DataLoader(np.arange(30), 7, shuffle=True, seed=4) for _ in range(2))
    epochs = [values(one) for _ in range(3)]
    assert epochs == [values(two) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_an_epoch_of_one_seed_is_no_epoch_of_the_next():
    one, two = (DataLoader(np.arange(30), 30, shuffle=True, seed=s) for s in (0, 1))
    values(one)
    assert values(one) != values(two)


def test_a_run_can_be_continued_at_an_epoch():
    loader = DataLoader(np.arange(30), 7, shuffle=True, seed=4)
    epochs = [values(loader) for _ in range(3)]
    again = DataLoader(np.arange(30), 7, shuffle=True, seed=4)
    again.epoch = 2
    assert values(again) == epochs[2]
    assert again.epoch == 3


def test_two_iterations_at_once_do_not_disturb_each_other():
    loader = DataLoader(np.arange(12), 4, shuffle=True, seed=0)
    pairs = list(zip(loader, loader))
    assert sorted(i for a, _ in pairs for i in a.tolist()) == list(range(12))
    assert sorted(i for _, b in pairs for i in b.tolist()) == list(range(12))


def test_without_a_seed_the_order_follows_manual_seed():
    def draw():
        tinynn.manual_seed(11)
        return values(DataLoader(np.arange(20), 20, shuffle=True)), values(DataLoader(np.arange(20), 20, shuffle=True))

    first, second = draw()
    assert (first, second) == draw()
    assert first != second


def test_the_data_set_may_grow_no_copies_are_taken():
    x = np.zeros(6)
    loader = DataLoader(TensorDataset(x), batch_size=6, shuffle=True)
    x[:] = 1.0
    assert next(iter(loader))[0].tolist() == [1.0] * 6


class Molecules(Dataset):
    """Items of several kinds, without a way to fetch a batch."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return {
            "positions": np.full((2, 3), index),
            "energy": float(index),
            "name": f"m{index}",
            "charge": index,
        }


def test_items_are_collated_into_dicts():
    batch = next(iter(DataLoader(Molecules(), batch_size=2)))
    assert batch["positions"].shape == (2, 2, 3)
    assert batch["energy"].dtype == np.float64
    assert batch["charge"].tolist() == [0, 1]
    assert batch["name"] == ["m0", "m1"]


def test_a_python_list_is_a_data_set():
    pairs = [([1.0, 2.0], 0), ([3.0, 4.0], 1), ([5.0, 6.0], 0)]
    x, y = next(iter(DataLoader([(np.array(a), b) for a, b in pairs], batch_size=3)))
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert y.tolist() == [0, 1, 0]


def test_collate_fn_gets_the_samples():
    loader = DataLoader(TensorDataset(np.arange(5.0)), batch_size=2, collate_fn=lambda samples: len(samples))
    assert list(loader) == [2, 2, 1]


def test_a_sampler_sets_the_order():
    assert values(DataLoader(np.arange(5), batch_size=2, sampler=[4, 2, 0])) == [[4, 2], [0]]
    assert values(DataLoader(np.arange(5), batch_size=2, sampler=(i for i in (3, 1)))) == [[3, 1]]
    assert values(DataLoader(np.arange(5), 2, sampler=[4, 2, 0], drop_last=True)) == [[4, 2]]


def test_a_sampler_out_of_range_raises():
    with pytest.raises(IndexError):
        values(DataLoader(np.arange(5), sampler=[7]))


def test_random_sampler_with_replacement_and_number():
    draws = list(RandomSampler(range(10), replacement=True, num_samples=1000, seed=0))
    assert len(draws) == 1000
    assert set(draws) == set(range(10))
    assert len(set(RandomSampler(range(10), num_samples=4, seed=0))) == 4
    with pytest.raises(ValueError, match="replacement=True"):
        RandomSampler(range(10), num_samples=11)


def test_orders_are_uniform():
    # All 24 orders of 4 samples are equally frequent: chi-squared with 23 degrees of freedom, 99.9 %.
    sampler = RandomSampler(range(4), seed=0)
    counts = collections.Counter(tuple(sampler) for _ in range(4800))
    assert len(counts) == 24
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 49.7


def test_sequential_sampler():
    assert list(SequentialSampler("abc")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "at least 1, got 0"),
        ({"batch_size": -3}, ValueError, "got -3"),
        ({"batch_size": 2.0}, TypeError, "float"),
        ({"batch_size": None}, TypeError, "integer"),
        ({"batch_size": True}, TypeError, "bool"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "sampler"),
        ({"batch_size": 10, "drop_last": True}, ValueError, "leaves no batch of 4"),
        ({"shuffle": True, "seed": "today"}, TypeError, "seed"),
    ],
)
def test_refused_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        DataLoader(TensorDataset(np.zeros(4)), **arguments)


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ([], ValueError, "empty"),
        (np.zeros((0, 3)), ValueError, "no samples"),
        ((np.zeros(3), np.zeros(3)), TypeError, "TensorDataset"),
        (iter([1]), TypeError, "__len__"),
        (Subset(TensorDataset(np.zeros(3)), []), ValueError, "empty"),
    ],
)
def test_refused_data(dataset, error, message):
    with pytest.raises(error, match=message):
        DataLoader(dataset)


def test_collate_keeps_structure():
    Pair = collections.namedtuple("Pair", ["x", "y"])
    batch = default_collate([Pair(1.0, (2, "a")), Pair(3.0, (4, "b"))])
    assert isinstance(batch, Pair)
    assert batch.x.tolist() == [1.0, 3.0]
    assert batch.y[0].tolist() == [2, 4]
    assert batch.y[1] == ["a", "b"]


def test_collate_differentiates_through_tensors():
    leaves = [Tensor(np.array([1.0, 2.0])) for _ in range(2)]
    for leaf in leaves:
        leaf.requires_grad_()
    default_collate(leaves).sum().backward()
    assert leaves[1].grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([np.zeros(2), np.zeros(3)], ValueError, r"sample 1 .* \(3,\)"),
        ([Tensor(np.zeros(2)), Tensor(np.zeros(1))], ValueError, r"\(1,\)"),
        ([(1, 2), (1,)], ValueError, "numbers of entries"),
        ([{"a": 1}, {"b": 1}], ValueError, "keys"),
        ([object(), object()], TypeError, "collate_fn"),
        ([None], TypeError, "NoneType"),
    ],
)
def test_refused_samples(samples, error, message):
    with pytest.raises(error, match=message):
        default_collate(samples)
