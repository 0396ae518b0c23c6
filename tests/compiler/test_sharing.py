"""Long rows on several threads: the same numbers, in whatever order pieces are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn
from tinynn.compiler import sharing
from tinynn.compiler.numba_machine import NumbaMachine
from tinynn.compiler.record import record
from tinynn.compiler.rows import Loop
from tinynn.compiler.views import View
from tinynn.kernels import memory, products, threads
from tinynn.kernels.gang import Gang

PIECE = 1 << 12


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three threads share everything that can be; the list tells how many parts each shared row has."""
    words, parts = Gang.words, []

    def watched(gang: Gang, rows: Any) -> Any:
        parts.append(len(rows))
        return words(gang, rows)

    monkeypatch.setattr(Gang, "words", watched)
    monkeypatch.setattr(sharing, "_PARTS", 1)
    monkeypatch.setattr(sharing, "LONG", 1.0)
    monkeypatch.setattr(sharing, "SHORT", 1.0)
    monkeypatch.setattr(sharing, "PIECE", PIECE)
    monkeypatch.setattr(threads, "available", lambda: 3)
    return parts


@pytest.mark.parametrize("n", [17 * PIECE + 464, 16 * PIECE, PIECE - 5])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_loops_and_state(shared: list[int], n: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    s = tn.Tensor(np.ones(n, dtype))

    def f(x: Any, y: Any) -> Any:
        s.assign_(s * 0.9 + x)
        return tn.tanh(x) * y + 1.0

    x = rng.standard_normal(n).astype(dtype)
    y = np.asarray(2.0, dtype)[()]
    machine = NumbaMachine(record(f, tn.Tensor(x), tn.Tensor(y)))
    wanted = np.asarray(np.ones(n) * 0.9 + x, dtype)
    for _ in range(3):
        x = rng.standard_normal(n).astype(dtype)
        got = machine.run([x, y])
        wanted = wanted * np.asarray(0.9, dtype) + x
        rtol, atol = (1e-10, 1e-12) if dtype == "float64" else (1e-4, 1e-4)
        np.testing.assert_allclose(got.array, np.tanh(x) * y + 1.0, rtol, atol)
        np.testing.assert_allclose(s.array, wanted, rtol, atol)
    assert set(shared) == {3 if n > PIECE else 1}


@pytest.mark.parametrize("n", [17 * PIECE + 3, 16 * PIECE])
def test_a_mask_and_what_it_chooses_are_one_run(shared: list[int], n: int) -> None:
    drop = nn.Dropout(0.25)
    x = tn.tensor(np.random.default_rng(1).normal(size=n).astype(np.float32)).requires_grad_()
    g = tn.tensor(np.random.default_rng(2).normal(size=n).astype(np.float32))

    def f(x: Any, g: Any) -> Any:
        out = drop(x)
        return out, tn.grad(out, x, g)

    tn.manual_seed(1)
    expected = f(x, g)
    tn.manual_seed(1)
    program = record(f, x, g)
    machine = NumbaMachine(program)
    for _ in range(2):
        tn.manual_seed(1)
        for ours, eager in zip(machine.run([x.array, g.array]), expected, strict=True):
            np.testing.assert_array_equal(ours.numpy(), eager.numpy())
    assert set(shared) == {3}


def test_one_element_for_all(shared: list[int]) -> None:
    """All of the first row has to be done before the first element is written over."""
    n = 9 * PIECE
    state = tn.Tensor(np.ones(n))

    def f(x: Any) -> Any:
        out = state[0] * x
        state.assign_(state * 0.9 + x)
        return out

    x = np.random.default_rng(5).normal(size=n)
    machine = NumbaMachine(record(f, tn.Tensor(x)))
    for _ in range(3):
        first = state.numpy()[0]
        np.testing.assert_allclose(machine.run([x]).numpy(), first * x, 1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_results_are_written_past_the_caches(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Unless they are truth values, or read again."""
    monkeypatch.setattr(memory, "_STREAM", 0)
    x = np.random.default_rng(6).normal(size=300_000).astype(dtype)

    def f(x: Any) -> Any:
        y = tn.tanh(x)
        return y, x > 0.5, tn.sin(x), y[0] * x

    machine = NumbaMachine(record(f, tn.Tensor(x)))
    assert len(machine._stretches) == 1
    loops = [machine._prepared_for(row) for row in machine.plan.rows]
    streamed = sum(len(loop.spec.streamed) for loop in loops)
    assert streamed == 2
    for ours, eager in zip(machine.run([x]), f(tn.Tensor(x)), strict=True):
        np.testing.assert_allclose(ours.numpy(), eager.numpy(), 1e-6 if dtype == "float32" else 1e-14)


class Prepared:
    """A row that could be shared."""

    elements, cost = 8 * PIECE, 10.0

    def part(self, machine: Any, start: int, stop: int) -> list[int]:
        return [start, stop]


class Memory:
    """Three buffers of eight pieces of float64; the third begins in the middle of the first."""

    def __init__(self) -> None:
        block = np.zeros(24 * PIECE)
        self.memory = {0: block[: 8 * PIECE], 1: block[16 * PIECE :], 2: block[4 * PIECE : 12 * PIECE]}

    def lanes(self) -> int:
        return 3

    def address(self, view: View) -> int:
        return self.memory[view.base].ctypes.data + 8 * view.offset


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (([0], [1]), ([1], [0]), True),  # the same elements
        (([0], [1]), ([2], [1]), True),  # what is read may overlap
        (([0], [1]), ([1], [2]), False),  # the second writes what the first still has to read
        (([1], [0]), ([2], [1]), False),  # the second reads what the first has yet to write
        (([1], [0]), ([1], [2]), False),  # both write
        ((["first of 0"], [1]), ([1], [0]), False),  # one element for all is another element for most
        (([0], [1]), (["first of 1"], [0]), False),
    ],
)
def test_rows_run_together_if_they_meet_at_the_same_elements(
    shared: list[int], first: Any, second: Any, together: bool
) -> None:
    def row(operands: Any) -> Any:
        return Loop(*([view(number) for number in numbers] for numbers in operands)), Prepared()

    def view(number: int | str) -> View:
        if isinstance(number, str):
            return View(int(number[-1]), (8 * PIECE,), (0,), 0)
        return View.whole(number, (8 * PIECE,))

    rows, machine = [row(first), row(second)], Memory()
    found = list(sharing.runs(rows, machine))
    assert [len(run) for _, run in found] == ([2] if together else [1, 1])
    assert all(is_shared for is_shared, _ in found)
    pieces = [words for _, words in sharing.cut(found[0][1], machine)[0]]
    whole = 3 * PIECE
    expected = [(at, at + PIECE) for at in range(0, whole, PIECE) for _ in range(2)] if together else [(0, whole)]
    assert list(map(tuple, pieces)) == expected


@pytest.mark.parametrize("shape", [(330, 200, 70), (100, 333, 70), (64, 64, 70)])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_products(
    shared: list[int], monkeypatch: pytest.MonkeyPatch, shape: Any, has_bias: bool, dtype: str
) -> None:
    """Threads take some rows each, or columns where there are more of these."""
    monkeypatch.setattr(products, "_BLOCKS", True)
    monkeypatch.setattr(products, "_large", lambda volume: True)
    m, n, k = shape
    rng = np.random.default_rng(7)
    x, w, g = (rng.normal(size=size).astype(dtype) for size in ((m, k), (n, k), (m, n)))
    bias = rng.normal(size=n).astype(dtype) if has_bias else None

    def f(x: Any, w: Any, g: Any) -> Any:
        out = tn.nn.functional.linear(x, w, None if bias is None else tn.Tensor(bias))
        return out, g.T @ x

    machine = NumbaMachine(record(f, tn.Tensor(x), tn.Tensor(w), tn.Tensor(g)))
    for _ in range(2):
        out, dw = machine.run([x, w, g])
        np.testing.assert_allclose(
            out.numpy(),
            x @ w.T + (0 if bias is None else bias),
            *((1e-4, 1e-4) if dtype == "float32" else (1e-12, 1e-12)),
        )
        np.testing.assert_allclose(dw.numpy(), g.T @ x, *((1e-4, 1e-4) if dtype == "float32" else (1e-12, 1e-12)))
    assert shared[:2] == [-(-longest // (-(-longest // 96) * 32)) for longest in (max(m, n), max(n, k))]
