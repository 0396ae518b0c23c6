"""Machines and memory: homes of parameters, arguments read in place, results, threads, interrupts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn
from tinynn.compiler.homes import is_home, move_home, side_by_side
from tinynn.compiler.interpret import Interpreter
from tinynn.compiler.machine import Machine
from tinynn.compiler.numba_machine import NumbaMachine
from tinynn.compiler.record import record
from tinynn.kernels.loops import joined_axes

MACHINES = [Interpreter, NumbaMachine]
both = pytest.mark.parametrize("kind", MACHINES)
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_data_in_every_order() -> None:
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state


class Setup:
    """A small network in training."""

    def __init__(self, optimizer: str = "Adam", dtype: str = "float64") -> None:
        tn.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).to(dtype)
        self.optimizer: Any = getattr(tn.optim, optimizer)(self.model.parameters(), lr=0.01)
        data = np.random.default_rng(5)
        self.x, self.y = (data.standard_normal((4, n)).astype(dtype) for n in (3, 1))

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def eager(self, steps: int = 1) -> list[float]:
        return [self.step(tn.Tensor(self.x), tn.Tensor(self.y)).item() for _ in range(steps)]

    def machine(self, kind: type[Machine]) -> Machine:
        return kind(record(self.step, tn.Tensor(self.x), tn.Tensor(self.y)))

    def run(self, machine: Machine, steps: int = 1) -> list[float]:
        return [machine.run([self.x, self.y]).item() for _ in range(steps)]

    def values(self) -> list[Any]:
        return [np.array(p.array) for p in self.model.parameters()]


def same(a: Setup, b: Setup) -> None:
    for x, y in zip(a.values(), b.values(), strict=True):
        np.testing.assert_allclose(x, y, 1e-9, 1e-12, 1e-12)


# ----------------------------------------------------------------------------------------------------- homes


def test_arrays_move_side_by_side_and_keep_their_values() -> None:
    tensors = [tn.Tensor(rng.standard_normal(shape)) for shape in ((3,), (2, 5), (1,), (0,), (9, 1))]
    before = [t.array.copy() for t in tensors]
    move_home(tensors)
    assert side_by_side(tensors)
    for t, old in zip(tensors, before, strict=True):
        assert is_home(t.array)
        assert t.array.ctypes.data % 64 == 0
        np.testing.assert_array_equal(t.array, old)
    assert not side_by_side(tensors[::-1])
    assert not side_by_side([tensors[0], tensors[2]])


def test_slices_of_a_home_are_no_homes() -> None:
    t = tn.Tensor(rng.standard_normal(20))
    move_home([t])
    assert is_home(t.array)
    for part in (t.array[:3], t.array[8:], t.array[1:], t.array[::2]):
        assert not is_home(part)
    assert not is_home(t.array.copy())
    assert not is_home(np.float64(1.0))


@both
def test_parameters_move_once(kind: type[Machine]) -> None:
    setup = Setup()
    machine = setup.machine(kind)
    arrays = [p.array for p in setup.model.parameters()]
    assert all(map(is_home, arrays))
    setup.run(machine, 3)
    machine.relink()
    assert all(p.array is a for p, a in zip(setup.model.parameters(), arrays, strict=True))


@both
def test_two_machines_share_parameters(kind: type[Machine]) -> None:
    setup, other = Setup(), Setup()
    machine = setup.machine(kind)
    forward = kind(record(lambda x: setup.model(x), tn.Tensor(setup.x)))
    machine.relink()
    other.eager()
    for _ in range(3):
        setup.run(machine)
        other.eager()
        got = forward.run([setup.x])
        np.testing.assert_allclose(got.array, other.model(tn.Tensor(setup.x)).array, 1e-9, 1e-12)
    same(setup, other)


@both
@pytest.mark.parametrize("change", ["array", "state dict", "assign", "dtype and back"])
def test_relink_after_a_change_from_outside(kind: type[Machine], change: str) -> None:
    setup, other = Setup(), Setup()
    machine = setup.machine(kind)
    other.eager()
    setup.run(machine, 2)
    other.eager(2)
    for each in (setup, other):
        first = next(iter(each.model.parameters()))
        if change == "array":
            first.array = np.asfortranarray(first.array * 0.5)
        elif change == "state dict":
            each.model.load_state_dict({name: t * 0.5 for name, t in each.model.state_dict().items()})
        elif change == "assign":
            first.assign_(first.array * 0.5)
        else:
            each.model.to("float32").to("float64")
    machine.relink()
    np.testing.assert_allclose(setup.run(machine, 3), other.eager(3), 1e-9, 1e-12)
    same(setup, other)


@both
def test_a_parameter_that_is_a_slice_of_another_array(kind: type[Machine]) -> None:
    """What lies behind it in memory stays as it is."""
    big = rng.standard_normal(40)
    s = tn.Tensor(big[3:8])
    before = big.copy()

    def f(x: Any) -> Any:
        s.assign_(tn.tanh(s) + x)
        return s.sum()

    x = rng.standard_normal(5)
    machine = kind(record(f, tn.Tensor(x)))
    for _ in range(2):
        wanted = np.tanh(s.array) + x
        np.testing.assert_allclose(machine.run([x]).array, wanted.sum())
        np.testing.assert_allclose(s.array, wanted)
    np.testing.assert_array_equal(big, before)


@both
def test_a_slice_of_a_state_is_another_state(kind: type[Machine]) -> None:
    whole = tn.Tensor(rng.standard_normal(20))
    machine = kind(record(lambda x: whole.assign_(whole + x).sum(), tn.Tensor(rng.standard_normal(20))))
    machine.run([np.zeros(20)])
    part = tn.Tensor(whole.array[:3])
    before = whole.array.copy()
    other = kind(record(lambda x: part.assign_(part * x).sum(), tn.tensor(2.0)))
    other.run([np.float64(3.0)])
    np.testing.assert_array_equal(whole.array[3:], before[3:])
    np.testing.assert_allclose(part.array, before[:3] * 6.0)


# --------------------------------------------------------------------------------------------------- results


@both
def test_results_are_copies(kind: type[Machine]) -> None:
    s = tn.Tensor(rng.standard_normal((3, 3)))

    def f(x: Any) -> Any:
        s.assign_(s + x)
        return {"state": s, "argument": x, "computed": [x * 2.0, x.T], "constant": tn.ones((2,)), "text": "a"}

    x = rng.standard_normal((3, 3))
    machine = kind(record(f, tn.Tensor(x)))
    first = machine.run([x])
    kept = [first["state"], first["argument"], *first["computed"], first["constant"]]
    before = [t.array.copy() for t in kept]
    for t in kept:
        assert not np.shares_memory(t.array, s.array)
        assert not np.shares_memory(t.array, x)
    machine.run([x + 1.0])
    x += 5.0
    for t, old in zip(kept, before, strict=True):
        np.testing.assert_array_equal(t.array, old)
    first["constant"].array[...] = 7.0
    np.testing.assert_array_equal(machine.run([x])["constant"].array, [1.0, 1.0])
    assert first["text"] == "a"


@both
def test_results_of_all_kinds(kind: type[Machine]) -> None:
    def f(x: Any) -> Any:
        return x > 0.0, tn.argmax(x), x.sum(), tn.max(x, axis=0), (x[0:0], None, 3), x.astype(tn.float32), x.T[1:]

    x = rng.standard_normal((4, 3))
    machine = kind(record(f, tn.Tensor(x)))
    x = -x
    wanted, got = f(tn.Tensor(x)), machine.run([x])
    assert got[4][1:] == (None, 3)
    for a, b in zip((*wanted[:4], wanted[4][0], *wanted[5:]), (*got[:4], got[4][0], *got[5:]), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(b.array, a.array)


# ------------------------------------------------------------------------------------------------- arguments


@both
def test_arguments_lie_anyhow(kind: type[Machine]) -> None:
    machine = kind(record(lambda x: tn.tanh(x) @ x, tn.Tensor(rng.standard_normal((6, 6)))))
    wide = rng.standard_normal((12, 12))
    read_only = rng.standard_normal((6, 6))
    read_only.flags.writeable = False
    for x in (wide[::2, ::2], wide[:6, :6].T, np.asfortranarray(wide[:6, 6:]), wide[5::-1, :6], read_only):
        np.testing.assert_allclose(machine.run([x]).array, np.tanh(x) @ x, 1e-12, 1e-12)


LARGE = (128, 80)  # 80 kB in float64: read where it lies


def shifted(array: Any) -> Any:
    """The same array, beginning 8 bytes behind a cache line."""
    raw = np.empty(array.size + 32, array.dtype)
    at = (-raw.ctypes.data % 64) // array.itemsize + 1
    out = raw[at : at + array.size].reshape(array.shape)
    out[...] = array
    return out


@both
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_arguments(kind: type[Machine], dtype: str) -> None:
    def f(x: Any, y: Any) -> Any:
        return tn.tanh(x) * y, tn.sum(x * y, axis=0), x @ y.T, y

    x, y = (rng.standard_normal((LARGE[0], 2 * LARGE[1])).astype(dtype) for _ in range(2))
    machine = kind(record(f, tn.Tensor(x), tn.Tensor(y)))
    results = []
    for make in (np.copy, shifted, np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2], lambda a: a[::-1]):
        given = [make(x), make(y)]
        before = [a.copy() for a in given]
        got = machine.run(given)
        wanted = f(*map(tn.Tensor, before))
        for a, b in zip(wanted, got, strict=True):
            rtol, atol = (1e-4, 1e-3) if dtype == "float32" else (1e-9, 1e-12)
            np.testing.assert_allclose(b.array, a.array, rtol, atol)
            assert not any(np.shares_memory(b.array, a) for a in given)
        for a, old in zip(given, before, strict=True):
            np.testing.assert_array_equal(a, old)
        results.append((got, [t.array.copy() for t in got]))
        x, y = y, x
    for got, copies in results:  # later runs left earlier results alone
        for t, old in zip(got, copies, strict=True):
            np.testing.assert_array_equal(t.array, old)


@both
def test_a_large_argument_is_given_twice_and_returned(kind: type[Machine]) -> None:
    machine = kind(record(lambda x, y: (x, x.T, x + y), *[tn.Tensor(rng.standard_normal(LARGE)) for _ in range(2)]))
    x = rng.standard_normal(LARGE)
    same_one, turned, total = machine.run([x, x])
    before = x.copy()
    x[...] = 0.0
    np.testing.assert_array_equal(same_one.array, before)
    np.testing.assert_array_equal(turned.array, before.T)
    np.testing.assert_array_equal(total.array, 2.0 * before)


@both
def test_a_large_argument_is_kept_in_a_state(kind: type[Machine]) -> None:
    s = tn.Tensor(np.zeros(LARGE))

    def f(x: Any) -> Any:
        old = s.clone()
        s.assign_(x)
        return old

    x = rng.standard_normal(LARGE)
    machine = kind(record(f, tn.Tensor(x)))
    machine.run([2.0 * x])
    y = 3.0 * x
    got = machine.run([y])
    y[...] = 0.0
    np.testing.assert_array_equal(got.array, 2.0 * x)
    np.testing.assert_array_equal(s.array, 3.0 * x)


@both
def test_relink_between_runs_with_large_arguments(kind: type[Machine]) -> None:
    s = tn.Tensor(np.ones(LARGE))
    machine = kind(record(lambda x: tn.tanh(x) * s, tn.Tensor(np.zeros(LARGE))))
    x = rng.standard_normal(LARGE)
    first = machine.run([x])
    kept = first.array.copy()
    s.array = np.full(LARGE, 2.0)
    machine.relink()
    np.testing.assert_allclose(machine.run([x]).array, 2.0 * np.tanh(x))
    np.testing.assert_array_equal(first.array, kept)


@both
def test_empty_arguments(kind: type[Machine]) -> None:
    machine = kind(record(lambda x: (x * 2.0, tn.sum(x, axis=0)), tn.Tensor(np.zeros((0, 3)))))
    doubled, total = machine.run([np.zeros((0, 3))])
    assert doubled.shape == (0, 3)
    np.testing.assert_array_equal(total.array, np.zeros(3))


# ------------------------------------------------------------------------------------------- numbers as state


@both
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_states_without_axes(kind: type[Machine], dtype: str) -> None:
    count, total = tn.tensor(0), tn.Tensor(np.asarray(1.0, dtype)[()])

    def f(x: Any) -> Any:
        count.assign_(count + 1)
        total.assign_(total * 0.5 + x.sum())
        return total, count

    x = np.ones(3, dtype)
    machine = kind(record(f, tn.Tensor(x)))
    for expected in (2, 3):
        value = float(total.array) * 0.5 + 3.0
        got, counted = machine.run([x])
        assert counted.item() == expected
        assert count.item() == expected
        assert got.dtype == dtype
        np.testing.assert_allclose(got.item(), value, 1e-6)
        np.testing.assert_allclose(total.item(), value, 1e-6)
    total.assign_(10.0)
    machine.refresh()
    np.testing.assert_allclose(machine.run([x])[0].item(), 8.0)


@both
def test_learning_rates_and_step_numbers(kind: type[Machine]) -> None:
    """More steps than scalars are computed ahead, with a new rate on the way."""
    setup, other = Setup(), Setup()
    machine = setup.machine(kind)
    other.eager()
    np.testing.assert_allclose(setup.run(machine, 150), other.eager(150), 1e-7, 1e-12)
    for each in (setup, other):
        each.optimizer.param_groups[0]["lr"] = 0.002
    machine.refresh()
    np.testing.assert_allclose(setup.run(machine, 5), other.eager(5), 1e-7, 1e-12)
    steps = [state["step"] for state in setup.optimizer.state_dict()["state"].values()]
    assert steps == [156] * 4
    same(setup, other)


def test_neighbouring_axes_are_joined() -> None:
    assert joined_axes((2, 3, 4), [(12, 4, 1)]) == ([24], [[1]])
    assert joined_axes((2, 3, 4), [(12, 4, 1), (3, 1, 0)]) == ([6, 4], [[4, 1], [1, 0]])
    assert joined_axes((), [()]) == ([], [[]])
    assert joined_axes((2, 3), [(1, 2)]) == ([2, 3], [[1, 2]])


PIECES: dict[str, Callable[..., Any]] = {
    "pad behind": lambda x: tn.pad(x, [(0, 2)], 1.5),
    "pad around": lambda x: tn.pad(x, [(1, 2)], 1.5),
    "gradient of a slice": lambda x: tn.grad(tn.sum(x[:2] ** 2), x),
    "stack, and a neighbour": lambda x: (tn.stack([tn.sum(x)[None]] * 2, 1), x / (tn.abs(x) + 0.5), x * x),
    "concatenate": lambda x: (tn.concatenate([x, x * 2.0, x[:1]], 0), x * 3.0),
}


@both
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("what", PIECES)
def test_pieces_of_a_buffer_leave_what_lies_behind_them_alone(kind: type[Machine], what: str, dtype: str) -> None:
    """Flat loops write whole vectors: never beyond a piece of a buffer, nor into the next buffer."""

    def f(x: Any) -> Any:
        out = PIECES[what](x.detach().requires_grad_())
        return out if isinstance(out, tuple) else (out,)

    for n in (1, 3, 7, 8, 9, 15, 16, 17, 31):
        machine = kind(record(f, tn.Tensor(rng.standard_normal(n).astype(dtype))))
        for _ in range(2):
            x = rng.standard_normal(n).astype(dtype)
            for a, b in zip(f(tn.Tensor(x)), machine.run([x]), strict=True):
                np.testing.assert_allclose(b.array, a.array, 1e-5, 1e-5, err_msg=f"{n} elements")


def test_updates_of_parameters_run_in_whole_vectors() -> None:
    """However long they are: what lies behind them up to a whole vector is padding."""
    machine = Setup().machine(NumbaMachine)
    updates = [
        row for row in machine.plan.rows if row.outputs and machine.plan.buffers[row.outputs[0].base].kind == "state"
    ]
    assert updates
    assert all(machine._prepared_for(row).spec.is_flat for row in updates)


def test_loops_over_more_axes_than_kernels_have() -> None:
    """Every other axis is turned around, so that none can be joined: NumPy runs the row."""
    shape = (2, 3, 2, 3, 2, 3, 2)

    def f(x: Any) -> Any:
        return tn.tanh(tn.transpose(x, (6, 5, 4, 3, 2, 1, 0)) + 1.0) * 2.0 + tn.sum(x)

    x = rng.standard_normal(shape)
    machine = NumbaMachine(record(f, tn.Tensor(x)))
    np.testing.assert_allclose(machine.run([-x]).array, f(tn.Tensor(-x)).array, 1e-12, 1e-12)


# ------------------------------------------------------------------------------------------------ interrupts


def interrupted(kind: type[Machine], make: Callable[[], Setup]) -> tuple[Setup, Machine]:
    setup = make()

    def step(x: Any, y: Any) -> Any:
        return setup.step(tn.cumsum(x, 0), y)  # which no loop does

    machine = kind(record(step, tn.Tensor(setup.x), tn.Tensor(setup.y)))
    return setup, machine


@both
def test_an_exception_in_the_middle_of_a_step(kind: type[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    setup, machine = interrupted(kind, Setup)
    setup.run(machine, 3)
    before = setup.values()

    def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(machine, "call", fails)
        with pytest.raises(KeyboardInterrupt):
            setup.run(machine)
    steps = {state["step"] for state in setup.optimizer.state_dict()["state"].values()}
    assert len(steps) == 1  # all count alike
    assert steps <= {4, 5}
    for a, b in zip(setup.values(), before, strict=True):
        np.testing.assert_array_equal(a, b)  # the updates come last
    setup.run(machine, 2)
    after = {state["step"] for state in setup.optimizer.state_dict()["state"].values()}
    assert after == {steps.pop() + 2}


@both
def test_a_wrong_argument_changes_nothing(kind: type[Machine]) -> None:
    setup, other = Setup(), Setup()
    machine = setup.machine(kind)
    other.eager()
    for bad in ([setup.x, np.zeros((4, 7))], [setup.x]):
        with pytest.raises(ValueError, match=r"broadcast|argument"):
            machine.run(bad)
    np.testing.assert_allclose(setup.run(machine, 2), other.eager(2), 1e-9, 1e-12)
    steps = [state["step"] for state in setup.optimizer.state_dict()["state"].values()]
    assert steps == [3] * 4
    same(setup, other)


# --------------------------------------------------------------------------------------------------- numbers


@both
def test_memory_numbers(kind: type[Machine]) -> None:
    machine = Setup().machine(kind)
    report = machine.memory_report
    assert 0 < report.arena <= report.without_reuse
    assert report.arena == machine.layout.nbytes
    assert report.state >= 3 * 8 * (3 * 5 + 5 + 5 + 1)
    assert report.fixed > 0
    assert report.eager_peak > 0


def test_memory_is_used_again_in_deep_networks() -> None:
    model = nn.Sequential(*[layer for _ in range(30) for layer in (nn.Linear(16, 16), nn.Tanh())])
    machine = Interpreter(record(lambda x: model(x), tn.Tensor(rng.standard_normal((8, 16)))))
    assert machine.memory_report.arena <= 4 * 8 * 16 * 8
    assert machine.memory_report.without_reuse >= 30 * 8 * 16 * 8


def test_source_is_text() -> None:
    machine = Setup().machine(NumbaMachine)
    assert "def " in machine.source


@both
def test_a_machine_runs_dropout_with_fresh_masks(kind: type[Machine]) -> None:
    drop = nn.Dropout(0.5)
    x = np.ones((6, 7))
    tn.manual_seed(4)
    eager = [drop(tn.Tensor(x)).array for _ in range(4)]
    tn.manual_seed(4)
    machine = kind(record(lambda x: drop(x), tn.Tensor(x)))
    for wanted in eager[1:]:
        np.testing.assert_allclose(machine.run([x]).array, wanted)
    assert not np.array_equal(eager[1], eager[2])
