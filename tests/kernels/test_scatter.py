"""Scatter-add against np.add.at, in the same order."""

import numpy as np
import pytest

from tinynn.kernels import threads
from tinynn.kernels.scatter import scatter_add_flat, scatter_add_rows

TYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index_shape", [(0,), (1,), (50,), (7, 3), ()])
@pytest.mark.parametrize("trailing", [(), (1,), (5,), (2, 3), (64,), (0,)])
def test_rows_to_the_last_bit(trailing, index_shape, dtype):
    rng = np.random.default_rng(0)
    out = rng.normal(size=(6, *trailing)).astype(dtype)
    index = rng.integers(-6, 6, index_shape)
    values = rng.normal(size=index_shape + trailing).astype(dtype)
    expected = out.copy()
    np.add.at(expected, index, values)
    result = scatter_add_rows(out, np.asarray(index), values)
    assert result is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_flat_to_the_last_bit(kind, dtype):
    rng = np.random.default_rng(1)
    out = rng.normal(size=(4, 5)).astype(dtype)
    index = rng.integers(0, 20, (30, 2)).astype(kind)
    values = rng.normal(size=(30, 2)).astype(dtype)
    expected = out.copy()
    np.add.at(expected.reshape(-1), index, values)
    assert scatter_add_flat(out, index, values) is out
    np.testing.assert_array_equal(out, expected)


def test_no_places():
    assert scatter_add_rows(np.zeros((0, 3)), np.zeros(0, int), np.zeros((0, 3))).shape == (0, 3)
    assert scatter_add_flat(np.zeros(0), np.zeros(0, int), np.zeros(0)).shape == (0,)


def test_threads_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(2)
    index, values = rng.integers(-40, 40, 1000), rng.normal(size=(1000, 16)).astype(np.float32)
    serial = scatter_add_rows(np.zeros((40, 16), np.float32), index, values)
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    np.testing.assert_array_equal(scatter_add_rows(np.zeros((40, 16), np.float32), index, values), serial)


def test_values_that_are_not_contiguous():
    values = np.arange(12.0).reshape(3, 4).T
    np.testing.assert_array_equal(
        scatter_add_rows(np.zeros((2, 3)), np.array([0, 1, 0, 1]), values),
        [values[0] + values[2], values[1] + values[3]],
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((3, 2)), np.array([3]), np.ones((1, 2))), IndexError, "index holds 3 at flat position 0"),
        (
            (np.zeros((3, 2)), np.array([0, -4]), np.ones((2, 2))),
            IndexError,
            "index holds -4 at flat position 1",
        ),
        ((np.zeros((3, 2)), np.array([0.0]), np.ones((1, 2))), TypeError, "positions are integers"),
        ((np.zeros((3, 2)), np.array([True]), np.ones((1, 2))), TypeError, "flatnonzero"),
        ((np.zeros((3, 2)), np.array([0]), np.ones((1, 3))), ValueError, "values has shape"),
        ((np.zeros((3, 2)), np.array([0]), np.ones((1, 2), np.float32)), TypeError, "cast one of them"),
        ((np.zeros((2, 3)).T, np.array([0]), np.ones((1, 2))), ValueError, "C-contiguous"),
    ],
)
def test_errors_leave_out_alone(arguments, error, message):
    with pytest.raises(error, match=message):
        scatter_add_rows(*arguments)
    assert not arguments[0].any()


@pytest.mark.slow
def test_faster_than_add_at():
    import time

    rng = np.random.default_rng(3)
    index, values, out = (
        rng.integers(0, 10_000, 100_000),
        rng.normal(size=(100_000, 64)),
        np.zeros((10_000, 64)),
    )

    def best(call):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    scatter_add_rows(out, index, values)
    ours, theirs = (
        best(lambda: scatter_add_rows(out, index, values)),
        best(lambda: np.add.at(out, index, values)),
    )
    assert ours < theirs / 2
