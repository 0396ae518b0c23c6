"""The decorator: its attributes, explanations, epochs; that calls become programs at the third one."""

from __future__ import annotations

import inspect
import io
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler import state
from tinynn.compiler.errors import CompileError
from tinynn.compiler.guards import Look, difference
from tinynn.compiler.specialise import Specialisation
from tinynn.compiler.state import _within_noise, nudged
from tinynn.compiler.step import CompiledFunction
from tinynn.compiler.watch import Watch
from tinynn.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((50, 3)), rng.standard_normal((50, 1))


def training(compiled: bool, machine: str = "program") -> tuple[Any, nn.Module]:
    tn.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        """One step."""
        optimizer.zero_grad()
        out = model(x)
        loss = nn.functional.mse_loss(out, y)
        loss.backward()
        optimizer.step()
        return {"loss": loss, "mean": out.mean(axis=0)}

    return (tn.compile(step, machine=machine) if compiled else step), model


def test_it_looks_like_the_function() -> None:
    step, _ = training(True)
    assert step.__name__ == "step"
    assert step.__doc__ == "One step."
    assert list(inspect.signature(step).parameters) == ["x", "y"]
    assert isinstance(step, CompiledFunction)
    assert "0 programs" in repr(step)


def test_wrong_use_is_explained() -> None:
    with pytest.raises(ValueError, match="numba"):
        tn.compile(lambda x: x, machine="fortran")
    with pytest.raises(ValueError, match="max_specialisations"):
        tn.compile(lambda x: x, max_specialisations=0)
    with pytest.raises(TypeError, match="function"):
        tn.compile(3)


def test_nothing_is_there_before_the_first_call() -> None:
    step, _ = training(True)
    for name in ("plan", "source", "memory", "program"):
        with pytest.raises(AttributeError, match="call"):
            getattr(step, name)
    assert "nothing" in step.explain()
    step(tn.tensor(X[:4]), tn.tensor(Y[:4]))
    assert step.program.instructions
    with pytest.raises(AttributeError, match="second call"):
        step.plan  # noqa: B018
    step(tn.tensor(X[:4]), tn.tensor(Y[:4]))
    assert step.plan
    assert step.source
    assert step.memory


def test_python_runs_twice_only() -> None:
    log = io.StringIO()

    def f(x: Any) -> Any:
        log.write("run ")
        return x * 2

    step = tn.compile(f, machine="program")
    for _ in range(10):
        step(tn.ones(2))
    assert log.getvalue() == "run run "


def test_explain_says_why_it_was_compiled_anew() -> None:
    step, model = training(True)
    for n in (4, 4, 4, 5):
        step(tn.tensor(X[:n]), tn.tensor(Y[:n]))
    model[0].requires_grad_(False)
    step(tn.tensor(X[:5]), tn.tensor(Y[:5]))
    lines = step.explain().split("\n")
    assert "3 programs" in lines[0]
    assert "it is the first" in lines[1]
    assert "(5, 3)" in lines[2]
    assert "model.0.weight" in lines[3]


@pytest.mark.parametrize("machine", ["program", "auto"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_is_the_loop(shuffle: bool, drop_last: bool, machine: str) -> None:
    loop, model = training(False)
    step, twin = training(True, machine)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=shuffle, drop_last=drop_last, seed=5)
    for number in range(3):
        results = [loop(x, y) for x, y in loader]
        stacked = step.epoch(X, Y, batch_size=8, shuffle=shuffle, seed=5, drop_last=drop_last, number=number)
        assert stacked["loss"].shape == (len(results),)
        assert stacked["mean"].shape == (len(results), 1)
        np.testing.assert_allclose(stacked["loss"].numpy(), [r["loss"].item() for r in results], rtol=1e-9)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-8, atol=1e-11)


def test_an_epoch_refuses_what_does_not_fit() -> None:
    step, _ = training(True)
    with pytest.raises(ValueError, match="array"):
        step.epoch(batch_size=3)
    with pytest.raises(ValueError, match="50"):
        step.epoch(X, Y[:4], batch_size=3)
    with pytest.raises(ValueError, match="batch_size"):
        step.epoch(X, Y, batch_size=0)
    with pytest.raises(ValueError, match="drop_last"):
        step.epoch(X, Y, batch_size=51, drop_last=True)


def test_results_per_row_stay_a_list() -> None:
    double = tn.compile(lambda x: x * 2, machine="program")
    results = double.epoch(X, batch_size=20)
    assert [tuple(r.shape) for r in results] == [(20, 3), (20, 3), (10, 3)]


def test_a_look_sees_what_a_function_reaches() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    settings = {"k": 1}

    def f(x: Any) -> Any:
        return model(x) * settings["k"], optimizer

    before = Look(f)
    assert before.marks["model.1.p"] == ("float", "0.5")
    assert len(before.modules) == 3
    assert len(before.tensors) == 2
    assert before.optimizers == [optimizer]
    unchanged = before.watch.compiled()
    assert unchanged()
    assert difference(before.marks, Look(f).marks) is None
    settings["k"] = 2
    assert not unchanged()
    assert difference(before.marks, Look(f).marks) == "settings.k was 1 and is 2"


def test_a_watch_notices_what_is_gone() -> None:
    things = {"a": [1]}
    watch = Watch()
    watch.items(things, ["a"], complete=True)
    unchanged = watch.compiled()
    assert unchanged()
    things["b"] = 1
    assert not unchanged()
    del things["b"]
    assert unchanged()
    del things["a"]
    assert not unchanged()


def test_settings_of_optimizers_are_counted_dicts() -> None:
    optimizer = optim.SGD([tn.tensor([1.0], requires_grad=True)], lr=0.1)
    group = optimizer.param_groups[0]
    assert isinstance(group, dict)
    assert group == dict(group)
    assert type(optimizer.state_dict()["param_groups"][0]) is dict
    before = tn.changes.changes.count, tn.changes.changes.settings
    group["lr"] = 0.2
    assert tn.changes.changes.settings > before[1]
    assert tn.changes.changes.count == before[0]
    group["params"] = list(group["params"])
    assert tn.changes.changes.count > before[0]


def compiled_step(model, optimizer):
    @tn.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_what_rounding_excuses() -> None:
    """A sample on the other side of a kink may do so too after a nudge; a loop that forgets its end is wrong."""
    rng = np.random.default_rng(0)
    program = rng.normal(size=(64, 64)).astype(np.float32)
    eager, shaken = program.copy(), program.copy()
    eager[5] += 0.02 * rng.normal(size=64).astype(np.float32)
    shaken[9] += 0.02 * rng.normal(size=64).astype(np.float32)
    assert _within_noise(eager, program, shaken)
    assert _within_noise(program, program, program)
    assert not _within_noise(eager, program, program)
    assert not _within_noise(eager, program, nudged(program, 0))
    assert not _within_noise(1.1 * program, program, shaken)
    forgotten = program.copy()
    forgotten.reshape(-1)[-7:] = shaken.reshape(-1)[-7:] = 0.0
    assert not _within_noise(program, forgotten, shaken)
    eager[0, 0] = np.nan
    assert not _within_noise(eager, program, shaken)


def test_a_nudge_moves_every_number_by_its_last_bits() -> None:
    for dtype in (np.float32, np.float64):
        x = np.random.default_rng(1).normal(size=500).astype(dtype)
        moved = nudged(x, 0)
        assert moved.dtype == dtype
        assert (moved != x).mean() > 0.95
        assert np.abs(moved / x - 1).max() <= 65 * np.finfo(dtype).eps
    assert (nudged(np.arange(3), 0) == np.arange(3)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_program_is_found_in_spite_of_the_noise(dtype, monkeypatch) -> None:
    """One of ten thousand weights is left as it was: the step makes so little of rounding that this is seen."""
    from tinynn.compiler import specialise

    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1)).to(dtype)
    optimizer = optim.SGD(model.parameters(), lr=1e-2)
    machine_for = specialise.machine_for

    def wrong_machine(program, kind):
        machine = machine_for(program, kind)
        run = machine.run

        def run_wrong(arrays):
            kept = model[0].weight.array[7, 7]
            result = run(arrays)
            model[0].weight.array[7, 7] = kept
            return result

        monkeypatch.setattr(machine, "run", run_wrong)
        return machine

    monkeypatch.setattr(specialise, "machine_for", wrong_machine)

    step = compiled_step(model, optimizer)
    rng = np.random.default_rng(1)
    x, y = (tn.tensor(rng.normal(size=(32, n)).astype(dtype)) for n in (100, 1))
    step(x, y)
    with pytest.raises(CompileError, match="disagrees"):
        step(x, y)


def test_a_deep_network_of_kinks_is_compiled() -> None:
    tn.manual_seed(0)
    parts = [part for _ in range(40) for part in (nn.Linear(64, 64), nn.ReLU())]
    model = nn.Sequential(*parts, nn.Linear(64, 1)).to("float32")
    optimizer = optim.Adam(model.parameters(), lr=1e-4)

    step = compiled_step(model, optimizer)
    rng = np.random.default_rng(1)
    x, y = (tn.tensor(rng.normal(size=(128, n)).astype(np.float32)) for n in (64, 1))
    losses = [step(x, y).item() for _ in range(6)]
    assert np.isfinite(losses).all()
    assert "compiled" in step.explain()


def test_replays_leave_everything_as_the_eager_step_did(monkeypatch) -> None:
    """What is compared is kept without copies where nothing writes to it: also under nudges, also the second time."""
    monkeypatch.setitem(state.TOLERANCE, "float64", 1e-30)  # so that nudged replays are needed
    replays = []
    replayed = Specialisation._replayed

    def counted(self, *arguments):
        replays.append(arguments)
        return replayed(self, *arguments)

    monkeypatch.setattr(Specialisation, "_replayed", counted)

    def trained(compiled: bool) -> list[np.ndarray]:
        tn.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        step = compiled_step(model, optimizer)
        step = step if compiled else step.__wrapped__
        rng = np.random.default_rng(1)
        for n in (32, 32, 8, 32, 8, 32, 8, 8):  # the second program finds arrays where the first one put them
            step(*(tn.tensor(rng.normal(size=(n, width))) for width in (5, 1)))
        moments = [t.numpy() for kept in optimizer.state.values() for t in kept.values() if isinstance(t, tn.Tensor)]
        return [*(t.numpy() for t in model.state_dict().values()), *moments]

    eager = trained(False)
    for ours, wanted in zip(trained(True), eager, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-8, atol=1e-9)
    assert len(replays) >= 4
