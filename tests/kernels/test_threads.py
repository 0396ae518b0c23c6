"""Sharing work among threads: everything runs once, errors arrive, and a fork starts with threads of its own."""

import os
import sys
import threading
import time

import numpy as np
import pytest

from tinynn.kernels import threads
from tinynn.kernels.threads import run_together, share, threads_for


def test_calls_run_at_the_same_time_and_again():
    for count in (1, 2, 4, 3):
        barrier = threading.Barrier(count, timeout=20)
        seen = set()

        def call(barrier=barrier, seen=seen):
            barrier.wait()  # goes on when all are here
            seen.add(threading.get_ident())

        run_together([call] * count)
        assert len(seen) == count
        assert threading.get_ident() in seen


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_arrives_when_all_are_done(failing):
    done = []

    def call(number):
        if number == failing:
            raise ValueError(f"call {number}")
        time.sleep(0.02)
        done.append(number)

    with pytest.raises(ValueError, match=f"call {failing}"):
        run_together([lambda number=number: call(number) for number in range(3)])
    assert sorted(done) == [number for number in range(3) if number != failing]
    run_together([lambda: done.append(3), lambda: done.append(4)])
    assert {3, 4} <= set(done)


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_waits_for_all(monkeypatch, after):
    """It may arrive before a message is taken, or just when it has been."""
    done = []

    class Interrupted(threads._Helper):
        interrupts = 2

        def wait(self):
            if after:
                super().wait()
            if self.interrupts:
                self.interrupts -= 1
                raise KeyboardInterrupt
            super().wait()

    def call(number):
        time.sleep(0.02 * number)
        done.append(number)

    monkeypatch.setattr(threads, "_idle", [Interrupted(), Interrupted()])
    with pytest.raises(KeyboardInterrupt):
        run_together([lambda number=number: call(number) for number in range(3)])
    assert done == [0, 1, 2]
    for helper in threads._idle:
        helper.interrupts = 0
    run_together([lambda: done.append(3)] * 3)
    assert done == [0, 1, 2, 3, 3, 3]


def test_a_thread_that_cannot_start(monkeypatch):
    done = []

    def slow():
        time.sleep(0.02)
        done.append(1)

    def no_more():
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_idle", [threads._Helper()])
    monkeypatch.setattr(threads, "_Helper", no_more)
    with pytest.raises(RuntimeError, match="can't start"):
        run_together([slow] * 3)
    assert done == [1]


def test_several_threads_share_at_once():
    results = np.zeros((6, 40), np.int64)

    def work(row):
        for k in range(40):
            parts = []
            run_together([lambda parts=parts, n=n: parts.append(n) for n in range(3)])
            results[row, k] = sum(parts)

    users = [threading.Thread(target=work, args=(row,)) for row in range(len(results))]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert (results == 3).all()


def test_every_item_once(monkeypatch):
    counted = np.zeros(10, np.int64)

    def kernel(first, last, out):
        out[first:last] += 1

    for number in (1, 3, 20):
        monkeypatch.setattr(threads, "threads_for", lambda nanoseconds, number=number: number)
        share(kernel, 10, 1e9, counted)
    assert (counted == 3).all()
    share(kernel, 0, 1e9, counted)


def test_how_many_threads(monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 4)
    assert [threads_for(t * threads.LEAST_WORK) for t in (0, 1.9, 2, 3.5, 100)] == [1, 1, 2, 3, 4]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded, which is the point
def test_a_forked_child_has_threads_of_its_own():
    run_together([lambda: None] * 3)
    pid = os.fork()
    if not pid:
        found = []
        run_together([lambda: found.append(1)] * 3)
        os._exit(0 if found == [1, 1, 1] else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("limit", "count"), [("max 100000", 4), ("250000 100000", 3), ("50000 100000", 1), ("900000 100000", 4), ("?", 4)]
)
def test_a_container_that_may_use_few_processors(limit, count, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(threads, "CONTROL_GROUP", str(tmp_path))
    monkeypatch.setitem(sys.modules, "numba", None)  # as long as it is not imported
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    assert threads.available() == count
    monkeypatch.setenv("NUMBA_NUM_THREADS", "many")
    assert 1 <= threads.available() <= (os.cpu_count() or 1)


def test_a_call_aside_gives_its_thread_back():
    done = threading.Event()
    threads.run_aside(done.set)
    assert done.wait(20)
    for _ in range(200):
        if threads._idle:
            break
        time.sleep(0.01)
    assert threads._idle
