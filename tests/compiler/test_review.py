"""Defects that a review of the compiler found, each with the smallest case that showed it."""

from __future__ import annotations

import argparse
import collections
import copy
import ctypes
import mmap
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.kernels.memory import has_slack, with_slack


def holds_after(f: Callable[[Any], Any], change: Callable[[], Any], x: Any = None) -> None:
    """Compiled calls see a change that eager calls see."""
    x = tn.ones(3) if x is None else x
    compiled = tn.compile(f)
    for _ in range(4):
        compiled(x)
    change()
    for _ in range(4):
        np.testing.assert_array_equal(compiled(x).numpy(), f(x).numpy())


# ----------------------------------------------------------------------------- what a function can reach


@pytest.mark.parametrize("make", [collections.deque, list])
def test_items_of_a_deque(make: Any) -> None:
    held = make([2.0, tn.tensor(1.0)])

    def change() -> None:
        held[0], held[1] = 3.0, tn.tensor(5.0)

    holds_after(lambda x: x * held[0] + held[1], change)


@pytest.mark.parametrize("make", [types.SimpleNamespace, argparse.Namespace])
@pytest.mark.parametrize("weights", [[2.0], (2.0,), {0: 2.0}])
def test_what_a_namespace_holds(make: Any, weights: Any) -> None:
    config = make(w=weights)
    new: Any = type(weights)({0: 3.0} if isinstance(weights, dict) else [3.0])
    holds_after(lambda x: x * config.w[0], lambda: setattr(config, "w", new))


def test_a_set() -> None:
    names = {"a"}
    holds_after(lambda x: x * 2 if "b" in names else x, lambda: names.add("b"))


def test_long_lists_and_dicts() -> None:
    numbers, table = [1.0] * 2000, dict.fromkeys(range(2000), 1.0)

    def change() -> None:
        numbers[1000] = 2.0
        table[1000] = 4.0

    holds_after(lambda x: x * numbers[1000] + table[1000], change)


def test_a_method_of_a_dict() -> None:
    settings = {"k": 2.0}
    get = settings.get
    holds_after(lambda x: x * get("k"), lambda: settings.update(k=3.0))


def test_deep_nests() -> None:
    inner: dict[str, Any] = {"v": 2.0}
    outer = inner
    for _ in range(20):
        outer = {"n": outer}

    def f(x: Any) -> Any:
        found = outer
        while "n" in found:
            found = found["n"]
        return x * found["v"]

    holds_after(f, lambda: inner.update(v=3.0))


@pytest.mark.parametrize("use", [lambda a: a[:3000], lambda a: a * 2, lambda a: float(a[0]), lambda a: tn.tensor(a)])
def test_what_is_computed_of_a_large_array(use: Any) -> None:
    array = np.ones(3000)
    holds_after(lambda x: x * use(array), lambda: array.fill(3.0), tn.ones(3000))


@pytest.mark.parametrize("which", [0, 1])
def test_two_large_arrays_of_equal_contents(which: int) -> None:
    a, b = np.zeros(3000), np.zeros(3000)
    holds_after(lambda x: x * a + b, lambda: (a, b)[which].fill(3.0), tn.ones(3000))


class Scaled:
    def __init__(self) -> None:
        self.factor = 1.0

    @tn.compile
    def call(self, x: Any) -> Any:
        return x * self.factor


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_method_of_a_copy(copied: Any) -> None:
    a = Scaled()
    for _ in range(4):
        a.call(tn.ones(1))
    b = copied(a)
    b.factor = 5.0
    assert [b.call(tn.ones(1)).item() for _ in range(4)] == [5.0] * 4
    assert a.call(tn.ones(1)).item() == 1.0


# --------------------------------------------------------------------------------------- arguments, results


def test_a_large_array_given_twice_and_then_another() -> None:
    w = tn.tensor(np.ones(8192))
    step = tn.compile(lambda x, y: w * x - 2 * y)
    rng = np.random.default_rng(0)
    x, y = rng.random(8192), rng.random(8192)
    for _ in range(4):
        step(x, x)
    w.assign_(np.full(8192, 2.0))  # the table is written anew, while both arguments lie at one address
    for a, b in ((x, y), (y, x), (x, x)):
        np.testing.assert_allclose(step(a, b).numpy(), 2 * a - 2 * b)


def test_shape_and_dtype_of_a_bare_array_set_in_place() -> None:
    step = tn.compile(lambda x: x * 2)
    array = np.arange(6.0).reshape(2, 3)
    for _ in range(4):
        step(array)
    array.shape = (1, 2, 3)
    assert step(array).shape == (1, 2, 3)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4"])
def test_other_byte_order(dtype: str) -> None:
    step = tn.compile(lambda x: x * 2)
    for i in range(4):
        assert step(np.full(3, i, dtype)).tolist() == [2 * i] * 3


@pytest.mark.parametrize("n", [3, 1 << 14])
def test_results_share_no_memory(n: int) -> None:
    def f(x: Any) -> Any:
        y = x * 2
        return y, y, x * 2

    step = tn.compile(f)
    for _ in range(4):
        a, b, c = step(tn.ones(n))
    assert not any(np.shares_memory(p.array, q.array) for p, q in ((a, b), (a, c), (b, c)))


def test_kinds_of_dicts_are_kept() -> None:
    def f(x: Any) -> Any:
        found: Any = collections.defaultdict(list)
        found["a"] = x * 2
        return collections.OrderedDict(found=found, n=3)

    step = tn.compile(f)
    for i in range(5):
        got = step(tn.ones(1) * i)
        assert type(got) is collections.OrderedDict
        assert type(got["found"]) is collections.defaultdict
        assert got["found"]["a"].item() == 2 * i


def test_copies_behind_which_memory_can_be_read() -> None:
    array = np.frombuffer(mmap.mmap(-1, 1 << 16), np.uint8)  # ends with its page
    assert not has_slack(array)
    assert with_slack(array).tobytes() == array.tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
@pytest.mark.parametrize("width", [3, 6, 10])
def test_nothing_is_read_beyond_large_arguments(width: int) -> None:
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    rows, size = 16384, 16384 * width * 8
    pages = mmap.mmap(-1, size + mmap.PAGESIZE)  # rows * 8 bytes are whole pages
    whole = np.frombuffer(pages, np.uint8)
    if size % mmap.PAGESIZE or protect(whole.ctypes.data + size, mmap.PAGESIZE, 0):
        pytest.skip("no page can be protected")
    x = whole[:size].view(np.float64).reshape(rows, width)
    x[...] = np.random.default_rng(0).standard_normal(x.shape)
    try:
        step = tn.compile(lambda x: (x.T @ x, x.sum(0), x @ tn.ones(width, 5)))
        for _ in range(4):
            product, *_ = step(x)
        np.testing.assert_allclose(product.numpy(), x.T @ x)
    finally:
        protect(whole.ctypes.data + size, mmap.PAGESIZE, 3)


# ------------------------------------------------------------------------------------ steps and whole epochs


@pytest.mark.parametrize("make", [lambda p: optim.Adam(p, lr=0.01), lambda p: optim.SGD(p, lr=0.01, momentum=0.9)])
def test_two_steps_of_an_optimizer_in_one_call(make: Any) -> None:
    ends = []
    for compiled in (False, True):
        tn.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = make(model.parameters())

        def step(x: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            for _ in range(2):
                optimizer.zero_grad()
                loss = (model(x) ** 2).mean()
                loss.backward()
                optimizer.step()
            return loss

        run = tn.compile(step) if compiled else step
        for i in range(12):
            run(tn.ones(4, 3) * (i % 3))
        if compiled:
            run.epoch(tn.ones(12, 3), batch_size=4)
        else:
            for _ in range(3):
                run(tn.ones(4, 3))
        ends.append((model.weight.numpy(), [entry["step"] for entry in optimizer.state.values()]))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-9)
    assert ends[0][1] == ends[1][1] == [30, 30]


def test_gradients_add_up_over_an_epoch() -> None:
    model = nn.Linear(3, 1)
    rng = np.random.default_rng(0)
    x = tn.tensor(rng.standard_normal((24, 3)))

    def step(x: Any) -> Any:
        loss = (model(x) ** 2).mean()
        loss.backward()
        return loss

    compiled = tn.compile(step)
    for _ in range(5):
        model.zero_grad()
        compiled.epoch(x, batch_size=4)
        got = model.weight.grad.numpy().copy()
        model.zero_grad()
        for i in range(0, 24, 4):
            step(x[i : i + 4])
        np.testing.assert_allclose(got, model.weight.grad.numpy(), rtol=1e-9)


def test_results_of_an_epoch_that_are_views() -> None:
    model = nn.Linear(3, 2)

    def f(x: Any) -> Any:
        y = model(x)
        return y.T, y[:, :1], y[::-1], model.weight.T

    x = tn.tensor(np.random.default_rng(0).standard_normal((24, 3)))
    compiled = tn.compile(f)
    for _ in range(3):
        got = compiled.epoch(x, batch_size=4)
    for i in range(6):
        for a, b in zip(got, f(x[4 * i : 4 * i + 4]), strict=True):
            np.testing.assert_allclose(a.numpy()[i], b.numpy(), rtol=1e-12)
