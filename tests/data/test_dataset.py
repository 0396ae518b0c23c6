"""Data sets: samples, batches, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.data import Dataset, Subset, TensorDataset
from tinynn.tensor import Tensor


def test_samples_are_rows_of_every_array():
    x, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    data = TensorDataset(x, y)
    assert len(data) == 4
    row, label = data[2]
    assert isinstance(row, Tensor)
    np.testing.assert_array_equal(row.numpy(), x[2])
    assert label.item() == 0


def test_arrays_are_wrapped_and_not_copied():
    x = np.arange(6.0).reshape(3, 2)
    (tensor,) = TensorDataset(x).tensors
    assert np.shares_memory(tensor.array, x)


def test_lists_become_tensors():
    data = TensorDataset([[1.0, 2.0], [3.0, 4.0]], [1, 0])
    assert [t.shape for t in data.tensors] == [(2, 2), (2,)]
    assert data[1][1].item() == 0


def test_dtypes_are_kept():
    data = TensorDataset(np.zeros((3, 1), np.float32), np.zeros(3, np.int16), np.zeros(3, bool))
    assert [t.dtype for t in data.batch(slice(0, 2))] == [np.float32, np.int16, np.bool_]


def test_a_batch_of_a_slice_copies_nothing():
    x = np.arange(10.0)
    (part,) = TensorDataset(x).batch(slice(2, 5))
    assert np.shares_memory(part.array, x)


def test_a_batch_of_a_leaf_that_requires_grad_stays_in_its_graph():
    x = Tensor(np.arange(4.0))
    x.requires_grad_()
    (part,) = TensorDataset(x).batch(np.array([3, 1]))
    part.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 1.0, 0.0, 1.0])


@given(indices=st.lists(st.integers(-7, 6), max_size=20), inner=st.lists(st.integers(-3, 2), max_size=5))
def test_subset_of_a_subset_is_indexing_twice(indices, inner):
    x = np.arange(7.0)
    subset = Subset(TensorDataset(x), indices)
    assert [s.item() for (s,) in subset] == x[np.array(indices, int)].tolist()
    if len(indices) >= 3:
        twice = Subset(subset, inner)
        np.testing.assert_array_equal(twice.batch(slice(None))[0].numpy(), x[np.array(indices)[np.array(inner, int)]])


def test_subset_accepts_a_tensor_of_indices():
    subset = Subset(TensorDataset(np.arange(5.0)), Tensor(np.array([4, 0])))
    assert [s.item() for (s,) in subset] == [4.0, 0.0]


class Squares(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return float(index), index**2


def test_a_data_set_of_ones_own_iterates():
    assert list(Squares())[3] == (3.0, 9)


def test_subset_of_a_data_set_without_batches_stacks_items():
    x, y = Subset(Squares(), [4, 2]).batch(slice(None))
    assert (x.tolist(), y.tolist()) == ([4.0, 2.0], [16, 4])


def test_a_data_set_without_its_two_methods_cannot_be_made():
    class Unfinished(Dataset):
        def __len__(self):
            return 1

    with pytest.raises(TypeError, match="__getitem__"):
        Unfinished()


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ((), ValueError, "at least one array"),
        ((np.zeros((3, 2)), np.zeros(4)), ValueError, r"\(3, 2\), \(4,\)"),
        ((np.zeros((0, 2)),), ValueError, "no samples"),
        ((np.float64(1.0),), ValueError, "first axis"),
        ((np.array(["a", "b"]),), TypeError, "return_inverse"),
    ],
)
def test_refused_arrays(arrays, error, message):
    with pytest.raises(error, match=message):
        TensorDataset(*arrays)


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 5], IndexError, "5 is outside a data set of 5"),
        ([-6], IndexError, "-6"),
        ([0.5], TypeError, "float64"),
        ([True, False, True, True, False], TypeError, "flatnonzero"),
        ([[0, 1]], TypeError, "one-dimensional"),
    ],
)
def test_refused_indices(indices, error, message):
    with pytest.raises(error, match=message):
        Subset(TensorDataset(np.zeros(5)), indices)
