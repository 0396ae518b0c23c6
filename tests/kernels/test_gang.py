"""Rows whose parts threads take one by one: each part is done once, and rows follow each other."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.kernels import driver, machine_code, threads
from tinynn.kernels.gang import Gang
from tinynn.kernels.native import as_float64, as_int64, kernel

pytestmark = pytest.mark.skipif(machine_code.interpreted(), reason="kernels run as Python here")


@kernel
def count(row):  # type: ignore[no-untyped-def]
    """Add 1 where it points to, after some work."""
    place, waste = as_int64(row[2]), as_float64(row[3])
    for i in range(row[4]):
        waste[0] = waste[0] * 0.5 + i
    place[0] += 1


@kernel
def total(row):  # type: ignore[no-untyped-def]
    """out = the sum of n integers, plus what is there."""
    n, x, out = row[2], as_int64(row[3]), as_int64(row[4])
    for i in range(n):
        out[0] += x[i]


def table_of(rows: list[list[int]]) -> Any:
    head = [0] * driver.HEAD
    head[driver.ROWS] = len(rows)
    return np.array([*head, *(word for row in rows for word in row)], np.int64)


def counted(gang: Gang, parts: list[int], waste: Any) -> tuple[list[list[int]], list[Any]]:
    """Shared rows with so many parts each, and where they count."""
    rows, counts = [], []
    for n in parts:
        places = np.zeros(n * 8, np.int64)  # a line of memory for each
        address = [places.ctypes.data + 64 * i for i in range(n)]
        waste_of = [waste.ctypes.data + 64 * i for i in range(n)]
        rows.append(gang.words([[count.address, 5, address[i], waste_of[i], 7 * (i % 5)] for i in range(n)]))
        counts.append(places)
    return rows, counts


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_every_part_is_done_once_in_every_step(helpers: int) -> None:
    gang = Gang(helpers)
    waste = np.zeros(8 * 40)
    sizes = [3, 40, 1, 2, 17, 1, 5]  # the next row often has more parts than the one before
    rows, counts = counted(gang, sizes, waste)
    step = gang.leading(driver.stepping(table_of(rows), unlocked=True))
    for turn in range(1, 3001):
        step()
        for n, places in zip(sizes, counts, strict=True):
            assert places[::8].tolist() == [turn] * n


def test_a_row_begins_when_the_one_before_has_ended() -> None:
    gang = Gang(3)
    waste = np.zeros(8 * 16)
    (shared, again), (first, second) = counted(gang, [16, 16], waste)
    out = np.zeros(2, np.int64)
    size = len(first)
    after = [
        [total.address, 5, size, first.ctypes.data, out.ctypes.data],
        [total.address, 5, size, second.ctypes.data, out.ctypes.data + 8],
    ]
    step = gang.leading(driver.stepping(table_of([shared, after[0], again, after[1]]), unlocked=True))
    wanted = 0
    for turn in range(1, 2001):
        step()
        wanted += 16 * turn
        assert out.tolist() == [wanted, wanted]


def asleep(gang: Gang) -> bool:
    for _ in range(200):
        if gang.awake() == 0:
            return True
        time.sleep(0.01)
    return False


def test_helpers_sleep_and_wake() -> None:
    gang = Gang(2)
    waste = np.zeros(8 * 6)
    rows, (places,) = counted(gang, [6], waste)
    step = gang.leading(driver.stepping(table_of(rows), unlocked=True))
    before = threading.active_count()
    for turn in range(1, 6):
        step()
        assert places[::8].tolist() == [turn] * 6
        assert asleep(gang)
    assert threading.active_count() <= before + 2  # the same two each time


def test_without_anyone_awake_the_leader_does_all() -> None:
    gang = Gang(2)
    waste = np.zeros(8 * 6)
    rows, (places,) = counted(gang, [6], waste)
    driver.stepping(table_of(rows), unlocked=True)()
    assert places[::8].tolist() == [1] * 6


def test_helpers_keep_their_gang_alive() -> None:
    """They look at its memory until they sleep."""
    gang = Gang(1)
    gone, state = weakref.ref(gang), gang.state
    stay = 2 * 8 + 3  # what `staying` sets
    state[stay] = 1
    gang.wake()
    time.sleep(0.05)
    del gang
    gc.collect()
    assert gone() is not None
    state[stay] = 0
    for _ in range(200):
        if gone() is None:
            break
        time.sleep(0.01)
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_in_a_child_of_a_fork() -> None:
    gang = Gang(1)
    waste = np.zeros(8 * 6)
    rows, (places,) = counted(gang, [6], waste)
    step = gang.leading(driver.stepping(table_of(rows), unlocked=True))
    step()
    child = os.fork()
    if child == 0:
        step()
        step()
        os._exit(0 if places[::8].tolist() == [3] * 6 and gang.awake() <= 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_helpers_that_are_about_to_sleep() -> None:
    """Steps that begin just when the patience of helpers ends: nobody is counted twice, or for ever."""
    gang = Gang(1)
    waste = np.zeros(8 * 64)
    rows, (places,) = counted(gang, [64], waste)
    step = gang.leading(driver.stepping(table_of(rows), unlocked=True))
    for turn in range(1, 401):
        step()
        assert places[::8].tolist() == [turn] * 64
        assert 0 <= gang.awake() <= 2
        time.sleep(turn * 1e-6)
    assert asleep(gang)


# ------------------------------------------------------------------------------------------------ whole steps


@pytest.fixture(params=[1, 2, 5])
def available(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(threads, "available", lambda: request.param)
    return request.param


def training(dtype: str, batch: int) -> tuple[Any, Any, list[Any]]:
    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 260), nn.ReLU(), nn.Linear(260, 150), nn.Tanh(), nn.Linear(150, 10)).to(dtype)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @tn.compile(machine="numba")
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    rng = np.random.default_rng(0)
    data = [rng.normal(size=(4 * batch, 300)).astype(dtype), rng.integers(0, 10, 4 * batch)]
    return step, model, [tn.tensor(array) for array in data]


_of_one_thread: dict[Any, list[Any]] = {}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch", [97, 128, 400])
def test_products_in_parts_give_the_same_bits(dtype: str, batch: int, available: int) -> None:
    """Every layout: x @ w.T, g @ w, g.T @ x with sums; sizes that are no multiples of a tile; single steps, epochs."""
    step, model, (x, y) = training(dtype, batch)
    found = [step(x[:batch], y[:batch]).numpy() for _ in range(6)]
    found += [step.epoch(x, y, batch_size=batch, seed=1).numpy() for _ in range(2)]
    found += [p.numpy() for p in model.parameters()]
    machine = step.specialisations[0].machine
    assert (machine._gang is not None) == (available > 1)
    assert len(machine._stretches) == 1
    wanted = _of_one_thread.setdefault((dtype, batch), found)  # which comes first
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(a, b)


def full_batch(dtype: str, samples: int) -> tuple[Any, Any, list[Any]]:
    """A batch that is gone through in parts."""
    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4)).to(dtype)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @tn.compile(machine="numba")
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        out = model(x)
        loss = nn.functional.mse_loss(out, y)
        loss.backward()
        optimizer.step()
        return loss, out

    rng = np.random.default_rng(0)
    return step, model, [tn.tensor(rng.normal(size=(samples, 4)).astype(dtype)) for _ in range(2)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("samples", [9_001, 12_288])
def test_parts_of_a_batch_in_lanes_give_the_same_bits(dtype: str, samples: int, available: int) -> None:
    step, model, (x, y) = full_batch(dtype, samples)
    found = [result.numpy() for _ in range(20) for result in step(x, y)] + [p.numpy() for p in model.parameters()]
    machine = step.specialisations[0].machine
    assert (machine._gang is not None) == (available > 1)
    assert len({row.lane for row in machine.plan.rows}) == available
    for a, b in zip(_of_one_thread.setdefault((dtype, "parts", samples), found), found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("samples", [9_001, 12_288])
def test_lanes_have_memory_of_their_own(dtype: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row of one lane writes, no row of another lane reads or writes; they may run in any order."""
    monkeypatch.setattr(threads, "available", lambda: 3)
    step, _, (x, y) = full_batch(dtype, samples)
    for _ in range(3):
        step(x, y)
    machine = step.specialisations[0].machine
    touched: dict[int, dict[str, set[int]]] = {lane: {"reads": set(), "writes": set()} for lane in range(3)}
    for row in machine.plan.rows:
        if row.part[1] > 1:
            for what, views in (("reads", row.inputs), ("writes", row.outputs)):
                for view in views:
                    address, size = machine.address(view), machine.memory[view.base].itemsize
                    strides = [stride * size for stride in view.strides]
                    steps = [np.arange(n) * s for n, s in zip(view.shape, strides, strict=True)]
                    touched[row.lane][what].update(np.ravel(sum(np.ix_(*steps), address)).tolist())
    assert all(touched[lane]["writes"] for lane in range(3))
    for one in range(3):
        for other in {0, 1, 2} - {one}:
            assert not touched[one]["writes"] & (touched[other]["reads"] | touched[other]["writes"])


def test_rows_of_many_samples_and_few_columns(available: int) -> None:
    """Parts of the rows, each of which copies the columns of the transposed weights."""
    tn.manual_seed(0)
    layer = nn.Linear(64, 64)
    apply = tn.compile(lambda x: layer(x), machine="numba")
    x = tn.randn(1300, 64)
    found = [apply(x).numpy() for _ in range(5)][-1]
    assert (apply.specialisations[0].machine._gang is not None) == (available > 1)
    np.testing.assert_array_equal(_of_one_thread.setdefault("rows", found), found)


def test_two_models_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available", lambda: 3)
    steps = [training("float32", 128) for _ in range(2)]
    losses: dict[int, list[Any]] = {}
    for step, _, (x, y) in steps:
        for _ in range(3):
            step(x[:128], y[:128])

    def run(k: int) -> None:
        step, _, (x, y) = steps[k]
        losses[k] = [step(x[:128], y[:128]).item() for _ in range(200)]

    running = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert losses[0] == losses[1]


def test_where_no_thread_can_be_started_the_leader_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(call: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "run_aside", refused)
    gang = Gang(3)
    rows, (places,) = counted(gang, [6], np.zeros(8 * 6))
    step = gang.leading(driver.stepping(table_of(rows), unlocked=True))
    step()
    step()
    assert places[::8].tolist() == [2] * 6
    assert gang.awake() == 0
    assert gang.helpers == 0


def test_an_interrupt_leaves_no_helper_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(call: Any) -> None:
        raise KeyboardInterrupt

    gang = Gang(2)
    with monkeypatch.context() as patched:
        patched.setattr(threads, "run_aside", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gang.wake()
    assert gang.awake() == 0
    gang.wake()
    assert gang.awake() == 2


def test_helpers_stay_awake_for_as_long_as_they_are_asked_to() -> None:
    gang = Gang(1)
    with gang.staying():
        time.sleep(0.2)
        assert gang.awake() == 1
    assert asleep(gang)


def test_as_many_threads_as_there_are_when_arrays_have_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3
    monkeypatch.setattr(threads, "available", lambda: count)
    step, model, (x, y) = training("float32", 128)
    for _ in range(4):
        step(x[:128], y[:128])
    machine = step.specialisations[0].machine
    assert machine._gang.helpers == 2
    count = 1
    next(iter(model.parameters())).assign_(np.zeros((260, 300), np.float32))
    machine.relink()
    assert machine._gang is None
