"""The ways in which a compiled step can lie, and a test for each.

A compiled function runs no Python. Whatever Python decided, computed or read while it was recorded may be another
thing at a later call. For each way: what the library does about it.

| what changes behind the program's back                  | what happens                                            |
| ------------------------------------------------------- | ------------------------------------------------------- |
| a number computed by Python from data, a branch on data | TraceError at the line                                  |
| time, Python's and NumPy's random numbers, a counter    | TraceError: two records differ                          |
| tinynn's random numbers (dropout)                       | drawn anew at each run, the same as eagerly             |
| printing a tensor, append to a list that is depended on | TraceError                                              |
| printing something else                                 | happens in recorded calls only (documented)             |
| an iterator                                             | TraceError                                              |
| a Python argument, attribute, global, closure variable  | compiled for each value; eager after 8, with a warning  |
| an object as an argument                                | compiled for each object                                |
| config objects, dicts, lists, small NumPy arrays        | compared at each call                                   |
| what only classes, namespaces, syntax, vars() lead to   | compared at each call (`test_what_is_seen`)             |
| objects of other packages                               | a warning that they are compiled as they are            |
| large NumPy arrays                                      | read at each run                                        |
| learning rate, betas, weight decay                      | read at each step                                       |
| a loss weight in a tensor                               | read at each run                                        |
| load_state_dict, replaced, converted, frozen parameters | noticed by the counter of changes                       |
| train/eval, module attributes, hooks, layers appended   | the same                                                |
| shapes, dtypes, default dtype, backend, no_grad         | a program for each                                      |
| results and arguments that share memory                 | results are copies, arguments are copied                |
| gradients: accumulated, read, left behind               | part of the program; forgotten ones are None            |
| eager steps, a second compiled function, an exception   | step numbers and moments stay those of the optimizer    |
| the program itself                                      | compared with the eager step before it is used          |

Each test runs a function compiled and its twin eagerly, on the same data, and holds all numbers against each other.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler.errors import CompileError, TraceError

MACHINES = ("program", "auto")
GLOBAL_FACTOR = 2.0
global_model: Any = None


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _default_dtype() -> Iterator[None]:
    yield
    tn.set_default_dtype("float64")


def batches(n: int = 8, rows: int = 6, seed: int = 0, dtype: str = "float64") -> list[tuple[tn.Tensor, tn.Tensor]]:
    rng = np.random.default_rng(seed)
    return [
        (
            tn.tensor(rng.standard_normal((rows, 3)).astype(dtype)),
            tn.tensor(rng.standard_normal((rows, 1)).astype(dtype)),
        )
        for _ in range(n)
    ]


class Twin:
    """A network, its optimizer and a training step: eager or compiled."""

    def __init__(
        self,
        machine: str | None,
        *middle: Any,
        optimizer: Callable[[Any], Any] = lambda p: optim.Adam(p, lr=0.01),
        body: Callable[[Any, Any, Any], Any] | None = None,
    ) -> None:
        tn.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(3, 5), *(middle or (nn.Tanh(),)), nn.Linear(5, 1))
        self.optimizer = optimizer(self.model.parameters())
        model, opt = self.model, self.optimizer

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            opt.step()
            return loss

        if body is not None:
            inner = body

            def step(x: Any, y: Any) -> Any:
                return inner(twin, x, y)

            twin = self
        self.eager_step = step
        self.step = step if machine is None else tn.compile(step, machine=machine)


def assert_same(a: Any, b: Any, rtol: float = 1e-7) -> None:
    np.testing.assert_allclose(
        np.asarray(a.detach().numpy()), np.asarray(b.detach().numpy()), rtol=rtol, atol=1e-9, equal_nan=True
    )


def assert_twins(a: Twin, b: Twin, rtol: float = 1e-6) -> None:
    for (name, p), (_, q) in zip(a.model.state_dict().items(), b.model.state_dict().items(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=rtol, atol=1e-8, err_msg=name)
    first, second = a.optimizer.state_dict()["state"], b.optimizer.state_dict()["state"]
    assert first.keys() == second.keys()
    for number, entry in first.items():
        assert entry["step"] == second[number]["step"], f"step number of parameter {number}"
        for name in entry:
            if name != "step":
                np.testing.assert_allclose(second[number][name].numpy(), entry[name].numpy(), rtol=rtol, atol=1e-9)


def pair(machine: str, *middle: Any, **kwargs: Any) -> tuple[Twin, Twin]:
    return Twin(None, *copy.deepcopy(middle), **kwargs), Twin(machine, *copy.deepcopy(middle), **kwargs)


def train(a: Twin, b: Twin, data: list[Any]) -> None:
    for x, y in data:
        assert_same(a.step(x, y), b.step(x, y))
    assert_twins(a, b)


def compiled_calls(step: Any) -> int:
    return sum(one.calls for one in step.specialisations if one.stage == 2 and not one.broken)


# ------------------------------------------------------------------------------------- frozen by Python


def test_a_branch_on_data_is_refused(machine: str) -> None:
    step = tn.compile(lambda x: x * 2 if x.sum() > 0 else x, machine=machine)
    with pytest.raises(TraceError, match="where"):
        step(tn.ones(3))


@pytest.mark.parametrize("look", [lambda x: x.sum().item(), lambda x: float(x.sum()), lambda x: x.numpy().sum()])
def test_a_number_read_from_data_is_refused(look: Any, machine: str) -> None:
    step = tn.compile(lambda x: x * look(x), machine=machine)
    with pytest.raises(TraceError):
        step(tn.ones(3))


@pytest.mark.parametrize("source", [time.perf_counter, random.random, np.random.default_rng().random])
def test_time_and_foreign_random_numbers_are_refused(source: Any, machine: str) -> None:
    step = tn.compile(lambda x: x * source(), machine=machine)
    step(tn.ones(3))
    with pytest.raises(TraceError, match="two runs"):
        step(tn.ones(3))


def test_a_counter_is_refused(machine: str) -> None:
    count = 0

    @tn.compile(machine=machine)
    def step(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * 2

    step(tn.ones(3))
    count = 0  # as it was, so that the second call is the second of its kind
    with pytest.raises(TraceError, match="count"):
        step(tn.ones(3))


def test_appending_to_a_list_is_refused_or_done(machine: str) -> None:
    history: list[int] = []

    @tn.compile(machine=machine)
    def step(x: Any) -> Any:
        history.append(1)
        return x * 2

    for i in range(5):  # each call is another list, and so another program: it is recorded, and appends
        step(tn.ones(3))
        assert len(history) == i + 1
    del history[:]  # now it is the list of the first call again
    with pytest.raises(TraceError, match="history"):
        step(tn.ones(3))


def test_a_failed_record_leaves_everything_as_before(machine: str) -> None:
    def body(twin: Any, x: Any, y: Any) -> Any:
        twin.optimizer.zero_grad()
        loss = nn.functional.mse_loss(twin.model(x), y)
        loss.backward()
        twin.optimizer.step()
        return float(loss)

    a = Twin(machine, body=body)
    before, draws = copy.deepcopy(a.model.state_dict()), tn.random.default_generator.state_dict()
    with pytest.raises(TraceError):
        a.step(*batches()[0])
    for name, value in a.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())
    assert tn.random.default_generator.state_dict() == draws
    assert not any(entry.get("step") for entry in a.optimizer.state.values())


def test_dropout_draws_the_numbers_that_it_draws_eagerly(machine: str) -> None:
    a, b = pair(machine, nn.Dropout(0.4))
    for x, y in batches():
        state = tn.random.default_generator.state_dict()
        wanted = a.step(x, y)
        after = tn.random.default_generator.state_dict()
        tn.random.default_generator.load_state_dict(state)
        assert_same(wanted, b.step(x, y))
        assert tn.random.default_generator.state_dict() == after
    assert_twins(a, b)


def test_random_numbers_differ_from_call_to_call(machine: str) -> None:
    noise = tn.compile(lambda x: nn.functional.dropout(x, 0.5), machine=machine)
    x = tn.ones(1000)
    seen = {noise(x).numpy().tobytes() for _ in range(6)}
    assert len(seen) == 6
    tn.manual_seed(11)
    first = noise(x)
    tn.manual_seed(11)
    assert_same(first, noise(x))


def test_printing_a_value_is_refused(machine: str) -> None:
    def show(x: Any) -> Any:
        print(x * 2)
        return x

    with pytest.raises(TraceError):
        tn.compile(show, machine=machine)(tn.ones(2))


# ------------------------------------------------------------------------- what the function depends on


def test_closure_variables(machine: str) -> None:
    factor = 2.0

    def scaled(x: Any) -> Any:
        return x * factor

    step = tn.compile(scaled, machine=machine)
    for factor in (2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 2.0):
        assert step(tn.ones(1)).item() == factor


def test_globals(machine: str) -> None:
    global GLOBAL_FACTOR
    step = tn.compile(lambda x: x * GLOBAL_FACTOR, machine=machine)
    for GLOBAL_FACTOR in (2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 2.0):
        assert step(tn.ones(1)).item() == GLOBAL_FACTOR


def test_a_global_model_that_is_made_anew(machine: str) -> None:
    global global_model

    def step(x: Any) -> Any:
        return global_model(x)

    compiled = tn.compile(step, machine=machine)
    x = tn.ones(2, 3)
    for _ in range(2):
        global_model = nn.Linear(3, 1)
        for _ in range(4):
            assert_same(step(x), compiled(x))


def helper_of_a_helper(x: Any) -> Any:
    return x * GLOBAL_FACTOR


def test_globals_of_functions_that_it_calls(machine: str) -> None:
    global GLOBAL_FACTOR
    step = tn.compile(lambda x: helper_of_a_helper(x) + 0.0, machine=machine)
    for GLOBAL_FACTOR in (2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 2.0):
        assert step(tn.ones(1)).item() == GLOBAL_FACTOR


@dataclasses.dataclass
class Config:
    factor: float = 2.0
    unrelated: int = 0


class Slotted:
    __slots__ = ("factor",)

    def __init__(self) -> None:
        self.factor = 2.0


@pytest.mark.parametrize("make", [Config, Slotted])
def test_attributes_of_objects(make: Any, machine: str) -> None:
    config = make()
    step = tn.compile(lambda x: x * config.factor, machine=machine)
    for config.factor in (2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 2.0):
        assert step(tn.ones(1)).item() == config.factor


def test_attributes_that_the_code_does_not_name_may_change(machine: str) -> None:
    config = Config()
    step = tn.compile(lambda x: x * config.factor, machine=machine)
    for config.unrelated in range(20):
        step(tn.ones(1))
    assert len(step.specialisations) == 1


def test_dicts_and_lists(machine: str) -> None:
    settings: dict[str, Any] = {"factor": 2.0, "powers": [1.0]}

    def f(x: Any) -> Any:
        return sum(x * settings["factor"] * p for p in settings["powers"])

    step = tn.compile(f, machine=machine)
    for i in range(12):
        if i == 4:
            settings["factor"] = 3.0
        if i == 8:
            settings["powers"].append(5.0)
        assert step(tn.ones(1)).item() == f(tn.ones(1)).item()


@pytest.mark.parametrize("n", [3, 3000])
def test_numpy_arrays_from_outside(n: int, machine: str) -> None:
    scale = np.ones(n)
    step = tn.compile(lambda x: x * scale, machine=machine)
    for i in range(8):
        if i in (4, 6):
            scale[:] = i
        assert_same(step(tn.ones(n)), tn.ones(n) * scale)


class Trainer:
    def __init__(self) -> None:
        self.weight = tn.tensor([1.0, 2.0])
        self.factor = 1.0

    @tn.compile
    def forward(self, x: Any) -> Any:
        """Scale."""
        return x * self.weight * self.factor


def test_methods() -> None:
    a, b = Trainer(), Trainer()
    b.factor = 3.0
    for _ in range(5):
        assert a.forward(tn.ones(2)).tolist() == [1.0, 2.0]
        assert b.forward(tn.ones(2)).tolist() == [3.0, 6.0]
    a.factor = 5.0
    assert a.forward(tn.ones(2)).tolist() == [5.0, 10.0]
    twin = copy.deepcopy(a)
    twin.factor = 7.0
    for _ in range(4):
        assert twin.forward(tn.ones(2)).tolist() == [7.0, 14.0]
        assert a.forward(tn.ones(2)).tolist() == [5.0, 10.0]
    assert Trainer.forward.__doc__ == "Scale."


def test_python_arguments(machine: str) -> None:
    step = tn.compile(lambda x, k: x * k, machine=machine)
    for k in (1, 1, 1, 2, 2, 2, 1, True, 1.0):
        assert step(tn.ones(1), k).item() == k


def test_too_many_values_of_an_argument_run_eagerly(machine: str) -> None:
    step = tn.compile(lambda x, k: x * k, machine=machine)
    with pytest.warns(UserWarning, match="tensor") as caught:
        got = [step(tn.ones(1), float(k)).item() for k in range(20)]
    assert got == list(range(20))
    assert len(caught) == 1


# -------------------------------------------------------------------------------- optimizers and losses


def test_learning_rate_and_friends(machine: str) -> None:
    a, b = pair(machine, optimizer=lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1))
    changes = [{}, {}, {}, {}, {"lr": 0.1}, {"betas": (0.5, 0.6)}, {"eps": 1e-3}, {"weight_decay": 0.5}]
    for (x, y), change in zip(batches(), changes, strict=True):
        for twin in (a, b):
            twin.optimizer.param_groups[0].update(change)
        assert_same(a.step(x, y), b.step(x, y))
    assert_twins(a, b)


def test_a_setting_that_asks_for_another_formula(machine: str) -> None:
    a, b = pair(machine, optimizer=lambda p: optim.SGD(p, lr=0.01))
    changes = [{}, {}, {}, {}, {"momentum": 0.9}, {}, {}, {}, {"weight_decay": 0.1}, {}, {}, {"maximize": True}, {}, {}]
    for (x, y), change in zip(batches(len(changes)), changes, strict=True):
        for twin in (a, b):
            twin.optimizer.param_groups[0].update(change)
        assert_same(a.step(x, y), b.step(x, y))
    assert_twins(a, b)


def test_a_schedule(machine: str) -> None:
    a, b = pair(machine, optimizer=lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5))
    schedules = [optim.lr_scheduler.StepLR(twin.optimizer, 2, 0.5) for twin in (a, b)]
    for x, y in batches():
        assert_same(a.step(x, y), b.step(x, y))
        for schedule in schedules:
            schedule.step()
    assert_twins(a, b)


def test_a_setting_made_inside_is_refused(machine: str) -> None:
    def body(twin: Any, x: Any, y: Any) -> Any:
        twin.optimizer.param_groups[0]["lr"] *= 0.5
        twin.optimizer.zero_grad()
        nn.functional.mse_loss(twin.model(x), y).backward()
        twin.optimizer.step()

    twin = Twin(machine, body=body)
    with pytest.raises(TraceError, match="lr"):
        twin.step(*batches()[0])
    assert twin.optimizer.param_groups[0]["lr"] == 0.01


def test_a_loss_weight_in_a_tensor(machine: str) -> None:
    weight = tn.tensor(2.0)
    step = tn.compile(lambda x: (x * weight).sum(), machine=machine)
    for i in range(8):
        if i > 3:
            weight.assign_(float(i))
        assert step(tn.ones(2)).item() == 2 * weight.item()


def test_states_are_loaded(machine: str) -> None:
    a, b = pair(machine)
    data = batches(16)
    train(a, b, data[:5])
    saved = [(twin.model.state_dict(), twin.optimizer.state_dict()) for twin in (a, b)]
    train(a, b, data[5:10])
    for twin, (model, optimizer) in zip((a, b), saved, strict=True):
        twin.model.load_state_dict(model)
        twin.optimizer.load_state_dict(optimizer)
    train(a, b, data[10:])


def test_eager_steps_between_compiled_ones(machine: str) -> None:
    a, b = pair(machine)
    for i, (x, y) in enumerate(batches(12)):
        step = b.eager_step if i in (4, 5, 8) else b.step
        assert_same(a.step(x, y), step(x, y))
    assert_twins(a, b)
    assert next(iter(b.optimizer.state.values()))["step"] == 12


def test_two_compiled_functions_on_one_model(machine: str) -> None:
    a, b = pair(machine)
    other = tn.compile(lambda x, y: b.eager_step(x, y), machine=machine)
    look = tn.compile(lambda x: b.model(x), machine=machine)
    for i, (x, y) in enumerate(batches(16)):
        assert_same(a.step(x, y), (other if i % 3 else b.step)(x, y))
        assert_same(a.model(x), look(x))
    assert_twins(a, b)


def test_two_programs_that_want_parameters_in_different_places(machine: str) -> None:
    a, b = pair(machine)
    others = [optim.SGD(list(twin.model[2].parameters()), lr=0.01, momentum=0.9) for twin in (a, b)]

    def head_only(twin: Any, optimizer: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            twin.model.zero_grad()
            loss = nn.functional.mse_loss(twin.model(x), y)
            loss.backward()
            optimizer.step()
            twin.model.zero_grad()
            return loss

        return step

    eager, compiled = head_only(a, others[0]), tn.compile(head_only(b, others[1]), machine=machine)
    for i, (x, y) in enumerate(batches(30)):
        if i % 4:
            assert_same(a.step(x, y), b.step(x, y))
        else:
            assert_same(eager(x, y), compiled(x, y))
    assert_twins(a, b)


def test_two_optimizers(machine: str) -> None:
    def both(twin: Any, x: Any, y: Any) -> Any:
        twin.optimizer.zero_grad()
        twin.second.zero_grad()
        loss = nn.functional.mse_loss(twin.model(x), y)
        loss.backward()
        twin.optimizer.step()
        twin.second.step()
        return loss

    a, b = (Twin(m, optimizer=lambda p: optim.SGD(list(p)[:2], lr=0.1), body=both) for m in (None, machine))
    for twin in (a, b):
        twin.second = optim.Adam(list(twin.model.parameters())[2:], lr=0.01)
    train(a, b, batches())


# ------------------------------------------------------------------------------------------- the model


def test_batch_norm_and_evaluation(machine: str) -> None:
    a, b = pair(machine, nn.BatchNorm1d(5), nn.Dropout(0.0))
    look = tn.compile(lambda x: b.model(x), machine=machine)
    for x, y in batches(10):
        assert_same(a.step(x, y), b.step(x, y))
        for twin in (a, b):
            twin.model.eval()
        assert_same(a.model(x), look(x))
        for twin in (a, b):
            twin.model.train()
    assert_twins(a, b)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t.model[1], "negative_slope", 0.5),
        lambda t: t.model[0].weight.assign_(np.full((5, 3), 0.1)),
        lambda t: t.model.insert(1, nn.Tanh()),
        lambda t: t.model.__setitem__(1, nn.Sigmoid()),
        lambda t: t.model.append(nn.Tanh()),
        lambda t: t.model[1].register_forward_hook(lambda module, args, output: output * 2),
        lambda t: t.model[1].register_forward_pre_hook(lambda module, args: (args[0] + 1,)),
        lambda t: t.model[0].requires_grad_(False),
        lambda t: t.model[2].bias.requires_grad_(False),
        lambda t: t.optimizer.add_param_group({"params": [tn.tensor([1.0], requires_grad=True)]}),
        lambda t: setattr(t.model[0], "bias", None),
        lambda t: setattr(t.model[0], "weight", nn.Parameter(np.full((5, 3), 0.2))),
        lambda t: t.model[0].weight.__setattr__("grad", None),
        lambda t: t.model.to("float32").to("float64"),
    ],
)
def test_the_model_changes(change: Any, machine: str) -> None:
    a, b = pair(machine, nn.LeakyReLU(0.1))
    train(a, b, batches(4))
    for twin in (a, b):
        change(twin)
    train(a, b, batches(6, seed=1))


def test_freezing_and_unfreezing(machine: str) -> None:
    a, b = pair(machine)
    for i, (x, y) in enumerate(batches(16)):
        if i % 4 == 0:
            for twin in (a, b):
                twin.model[0].requires_grad_(i % 8 == 0)
        assert_same(a.step(x, y), b.step(x, y))
    assert_twins(a, b)


def test_a_hook_is_removed(machine: str) -> None:
    model = nn.Linear(2, 1)
    step = tn.compile(lambda x: model(x), machine=machine)
    handle = model.register_forward_hook(lambda module, args, output: output * 2)
    doubled = [step(tn.ones(1, 2)).item() for _ in range(4)]
    handle.remove()
    assert step(tn.ones(1, 2)).item() == pytest.approx(doubled[0] / 2)


def test_dtypes(machine: str) -> None:
    a, b = pair(machine)
    train(a, b, batches(4))
    for twin in (a, b):
        twin.model.to("float32")
    for x, y in batches(6, dtype="float32"):
        assert_same(a.step(x, y), b.step(x, y), rtol=1e-3)
    assert b.model[0].weight.dtype == np.float32
    assert_twins(a, b, rtol=1e-2)


def test_copies_of_the_model(machine: str) -> None:
    a, b = pair(machine)
    train(a, b, batches(4))
    kept = copy.deepcopy(b.model)
    before = kept.state_dict()
    train(a, b, batches(4, seed=1))
    for name, value in kept.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())


# --------------------------------------------------------------------------------------- arguments, results


def test_shapes_and_the_last_partial_batch(machine: str) -> None:
    a, b = pair(machine)
    for i in range(12):
        ((x, y),) = batches(1, rows=2 if i % 4 == 3 else 6, seed=i)
        assert_same(a.step(x, y), b.step(x, y))
    assert_twins(a, b)
    assert compiled_calls(b.step) == 12


def test_too_many_shapes_run_eagerly(machine: str) -> None:
    step = tn.compile(lambda x: x * 2, machine=machine, max_specialisations=3)
    lengths = [*range(1, 8), *range(1, 8)]
    with pytest.warns(UserWarning, match="max_specialisations") as caught:
        got = [step(tn.ones(n)).tolist() for n in lengths]
    assert got == [[2.0] * n for n in lengths]
    assert len(caught) == 1


def test_dtypes_of_arguments(machine: str) -> None:
    step = tn.compile(lambda x: x * 2, machine=machine)
    for dtype in ("float64", "float32", "int64", "float64", "float32", "int64"):
        for _ in range(3):
            assert step(tn.tensor(np.ones(2, dtype))).dtype == dtype


def test_arguments_without_order_in_memory(machine: str) -> None:
    step = tn.compile(lambda x: x @ x.T, machine=machine)
    rng = np.random.default_rng(0)
    for i in range(8):
        array = rng.standard_normal((6, 8))
        x = [array[:4], array[::2, :].copy()[:, ::-1][:4], array.T[:4, :4], np.asfortranarray(array)][i % 4]
        assert_same(step(tn.Tensor(x)), tn.tensor(x @ x.T))


def test_arrays_lists_dicts_and_keywords_as_arguments(machine: str) -> None:
    def f(batch: Any, scale: Any = 1.0, *, shift: Any = None) -> Any:
        out = batch["x"] * scale + batch["rest"][0]
        return {"out": out if shift is None else out + shift, "two": (out, [out + 1])}

    step = tn.compile(f, machine=machine)
    for i in range(6):
        batch = {"x": np.full(3, float(i)), "rest": [tn.ones(3) * i]}
        shift = None if i < 3 else tn.tensor(float(i))
        got = step(batch, 2.0, shift=shift)
        wanted = f({"x": tn.tensor(batch["x"]), "rest": batch["rest"]}, 2.0, shift=shift)
        assert_same(got["out"], wanted["out"])
        assert_same(got["two"][1][0], wanted["two"][1][0])


def test_the_same_array_twice(machine: str) -> None:
    step = tn.compile(lambda x, y: x - 2 * y, machine=machine)
    x, y = tn.ones(3), tn.zeros(3)
    for a, b in ((x, x), (x, x), (x, y), (y, x), (x, x)):
        assert_same(step(a, b), a - 2 * b)


def test_an_argument_that_is_a_parameter_or_looks_into_one(machine: str) -> None:
    def body(twin: Any, x: Any, y: Any) -> Any:
        twin.optimizer.zero_grad()
        loss = nn.functional.mse_loss(twin.model(x), y) + (x * 0.5).sum()
        loss.backward()
        twin.optimizer.step()
        return loss + x.sum()

    a, b = (Twin(m, body=body) for m in (None, machine))
    _, y = batches(1, rows=5)[0]
    for i in range(8):
        if i % 2:
            given = [twin.model[0].weight.detach() for twin in (a, b)]
        else:
            given = [twin.model[0].weight.detach()[:, :] for twin in (a, b)]
        wanted = a.step(tn.tensor(given[0].numpy().copy()), y)
        assert_same(wanted, b.step(given[1], y))
    assert_twins(a, b)


def test_an_argument_that_is_edited_later(machine: str) -> None:
    step = tn.compile(lambda x: (x, x * 1), machine=machine)
    array = np.ones(3)
    for i in range(5):
        array[:] = i
        same, new = step(tn.Tensor(array))
        array[:] = -1
        assert same.tolist() == new.tolist() == [float(i)] * 3


def test_results_are_copies(machine: str) -> None:
    twin = Twin(machine)
    results = []
    for x, y in batches():
        results.append((r := twin.step(x, y), r.item()))
    assert all(result.item() == number for result, number in results)
    weight = tn.tensor([1.0, 2.0])
    step = tn.compile(lambda x: (weight, x + weight), machine=machine)
    kept = [step(tn.ones(2)) for _ in range(5)]
    weight.assign_([5.0, 5.0])
    step(tn.ones(2))
    assert all(a.tolist() == [1.0, 2.0] and b.tolist() == [2.0, 3.0] for a, b in kept)


def test_results_are_outside_any_graph(machine: str) -> None:
    model = nn.Linear(2, 1)
    step = tn.compile(lambda x: model(x), machine=machine)
    assert not any(step(tn.ones(1, 2)).requires_grad for _ in range(4))


def test_scalars(machine: str) -> None:
    step = tn.compile(lambda x, y: x * y + 1, machine=machine)
    for i in range(5):
        assert step(tn.tensor(float(i)), tn.tensor(2.0)).item() == 2.0 * i + 1


def test_an_argument_that_wants_a_gradient(machine: str) -> None:
    step = tn.compile(lambda x: tn.grad((x**3).sum(), x), machine=machine)
    for i in range(5):
        x = tn.tensor([float(i)], requires_grad=True)
        assert step(x).tolist() == [3.0 * i**2]
    y = tn.tensor([2.0], requires_grad=True) * 2
    with pytest.raises(TraceError, match="detach"):
        step(y)


# ---------------------------------------------------------------------------------------------- gradients


def test_gradients_accumulate(machine: str) -> None:
    def body(twin: Any, x: Any, y: Any) -> Any:
        loss = nn.functional.mse_loss(twin.model(x), y)
        loss.backward()
        return loss

    a, b = (Twin(m, body=body) for m in (None, machine))
    for i, (x, y) in enumerate(batches(15)):
        assert_same(a.step(x, y), b.step(x, y))
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
            assert_same(p.grad, q.grad)
        if i % 3 == 2:
            for twin in (a, b):
                twin.optimizer.step()
                twin.optimizer.zero_grad()
    assert_twins(a, b)


def test_gradients_after_a_step_are_forgotten(machine: str) -> None:
    twin = Twin(machine)
    for x, y in batches(5):
        twin.step(x, y)
        assert all(p.grad is None for p in twin.model.parameters())


def test_clipped_gradients(machine: str) -> None:
    def body(twin: Any, x: Any, y: Any) -> Any:
        twin.optimizer.zero_grad()
        loss = nn.functional.mse_loss(twin.model(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(twin.model.parameters(), 0.1)
        twin.optimizer.step()
        return loss + norm

    a, b = (Twin(m, body=body) for m in (None, machine))
    train(a, b, batches())


def test_forces(machine: str) -> None:
    def body(twin: Any, x: Any, y: Any) -> Any:
        twin.optimizer.zero_grad()
        x = x.detach().requires_grad_()
        energy = twin.model(x)
        forces = -tn.grad(energy.sum(), x, create_graph=True)
        loss = tn.mean((energy - y) ** 2) + 0.1 * tn.mean(forces**2)
        loss.backward()
        twin.optimizer.step()
        return loss

    a, b = (Twin(m, body=body) for m in (None, machine))
    train(a, b, batches())


# --------------------------------------------------------------------------------------------- surroundings


def test_the_default_dtype(machine: str) -> None:
    step = tn.compile(lambda x: x + tn.zeros(2), machine=machine)
    for dtype in ("float64", "float32", "float64"):
        tn.set_default_dtype(dtype)
        for _ in range(4):
            assert step(tn.tensor(np.ones(2, "float32"))).dtype == dtype


def test_no_grad_around(machine: str) -> None:
    twin = Twin(machine)
    data = batches(8)
    for x, y in data[:4]:
        twin.step(x, y)
    with pytest.raises(tn.GraphError), tn.no_grad():
        twin.step(*data[4])
    twin.step(*data[5])


def test_another_backend(machine: str) -> None:
    a, b = pair(machine)
    for i, (x, y) in enumerate(batches(9)):
        with tn.use("numpy" if i % 3 else "numba"):
            assert_same(a.step(x, y), b.step(x, y))
    assert_twins(a, b)


def test_compiled_inside_compiled(machine: str) -> None:
    inner = tn.compile(lambda x: tn.tanh(x) * 2, machine=machine)
    outer = tn.compile(lambda x: inner(x).sum() + 1, machine=machine)
    for i in range(5):
        x = tn.ones(3) * i
        assert_same(outer(x), tn.tanh(x).sum() * 2 + 1)
        assert_same(inner(x), tn.tanh(x) * 2)


def test_an_exception_leaves_the_step_undone(machine: str) -> None:
    a, b = pair(machine)
    data = batches(10)
    train(a, b, data[:5])
    (one,) = b.step.specialisations
    run = one.machine._run_rows if hasattr(one.machine, "_run_rows") else one.machine.program.run

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    name, owner = ("_run_rows", one.machine) if hasattr(one.machine, "_run_rows") else ("run", one.machine.program)
    setattr(owner, name, interrupted)
    tn.changes.changes.bump()  # the fast call has its own line for this
    with pytest.raises(KeyboardInterrupt):
        b.step(*data[5])
    setattr(owner, name, run)
    assert_twins(a, b)
    train(a, b, data[5:])


def test_wrong_arguments_change_nothing(machine: str) -> None:
    a, b = pair(machine)
    data = batches(8)
    train(a, b, data[:4])
    for bad in ((), (data[0][0],), (data[0][0], data[0][1], 1)):
        with pytest.raises(TypeError):
            b.step(*bad)
    with pytest.raises((ValueError, TypeError)):
        b.step(tn.ones(6, 4), data[0][1])
    train(a, b, data[4:])


def test_threads(machine: str) -> None:
    w = tn.tensor(np.arange(50.0))
    step = tn.compile(lambda x: (tn.tanh(x) * w).sum(), machine=machine)
    for _ in range(3):
        step(tn.ones(50))
    wrong: list[Any] = []

    def work(k: int) -> None:
        for i in range(200):
            x = tn.Tensor(np.full(50, k + i / 200))
            if abs(step(x).item() - float((np.tanh(x.numpy()) * w.numpy()).sum())) > 1e-9:
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_wrong_program_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    twin, data = Twin("program"), batches(4)
    twin.step(*data[0])
    run = tn.compiler.Program.run

    def wrong(self: Any, *args: Any) -> Any:
        result = run(self, *args)
        tensor = self.assignments[0][0]
        tensor.assign_(tensor.numpy() * 1.001)
        return result

    before = twin.model.state_dict()
    monkeypatch.setattr(tn.compiler.Program, "run", wrong)
    with pytest.raises(CompileError, match="disagrees"):
        twin.step(*data[1])
    for name, value in twin.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())
    with pytest.warns(UserWarning, match="eagerly"):
        twin.step(*data[1])
    assert "NOT USED" in twin.step.explain()


def test_an_array_that_was_edited_before_its_tensor_moved_is_still_refused() -> None:
    """Compiling moves parameters to memory of their own; a graph that saved the old array must not use it."""
    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 300), nn.Linear(300, 300))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = tn.tensor(np.ones((5, 30)))
    kept = model(x).sum()  # saves the weights
    for p in model.parameters():
        p.assign_(p.detach() + 1.0)
    held = weakref.ref(model[1].weight.array)

    @tn.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step(x)
    assert held() is not None
    with pytest.raises(tn.GraphError, match="edited in place"):
        kept.backward()
    del kept
    gc.collect()
    assert held() is None, "nobody can use the old array any more, and it is still held"
