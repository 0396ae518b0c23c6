"""How a step is run: packed, one by one, compiled, recorded; what it leaves alone; what it marks."""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.optim.networks import loss_of, parameters, train, values
from tinynn import graph, modes
from tinynn.backends import dispatch, select
from tinynn.optim import SGD, Adagrad, Adam, AdamW, RMSprop, update

MAKERS = {
    "sgd": lambda ps: SGD(ps, 0.1),
    "momentum": lambda ps: SGD(ps, 0.1, momentum=0.9, dampening=0.2, weight_decay=0.01),
    "nesterov": lambda ps: SGD(ps, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda ps: Adam(ps, 0.01, weight_decay=0.01),
    "amsgrad": lambda ps: Adam(ps, 0.01, amsgrad=True),
    "adamw": lambda ps: AdamW(ps, 0.01),
    "adagrad": lambda ps: Adagrad(ps, 0.1, lr_decay=0.1, weight_decay=0.01, initial_accumulator_value=0.5),
    "rmsprop": lambda ps: RMSprop(ps, 0.01, momentum=0.5, centered=True, weight_decay=0.01),
}
each_rule = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


class Watching:
    """Sees the operations and does nothing."""

    def __init__(self) -> None:
        self.count = 0

    def applied(self, *_: object) -> None:
        self.count += 1

    def differentiated(self, *_: object) -> None:
        pass

    def assigned(self, *_: object) -> None:
        self.count += 1


def run(make, dtype="float64", steps=12):
    params = parameters(dtype)
    train(make(params), params, steps)
    return params


@each_rule
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_by_one_is_the_same_as_packed(make, dtype, monkeypatch) -> None:
    with tinynn.use("numpy"):
        packed = run(make, dtype)
        monkeypatch.setattr(update, "SMALL", 1)
        monkeypatch.setattr(update, "BLOCK", 5)
        single = run(make, dtype)
    for p, q in zip(packed, single, strict=True):
        assert p.dtype == q.dtype == dtype
        np.testing.assert_array_equal(p.array, q.array)


@each_rule
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_compiled_loop_computes_the_formula(make, dtype, monkeypatch) -> None:
    pytest.importorskip("numba")
    with tinynn.use("numpy"):
        reference = run(make, dtype)
    monkeypatch.setattr(update, "PLAIN_STEPS", 0)
    tolerance = 1e-13 if dtype == "float64" else 2e-5
    with tinynn.use("numba"):
        packed = run(make, dtype)
        monkeypatch.setattr(update, "SMALL", 1)
        single = run(make, dtype)
    for p, q, r in zip(reference, packed, single, strict=True):
        np.testing.assert_allclose(q.array, p.array, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(q.array, r.array)


def test_without_numba_there_is_one_notice_and_numpy(monkeypatch) -> None:
    monkeypatch.setattr(update, "PLAIN_STEPS", 0)
    monkeypatch.setattr(update, "_kernels", {})
    monkeypatch.setattr(update.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(dispatch, "_warned", set())
    with tinynn.use("numpy"):
        before = run(MAKERS["adam"])
        select._active = "numba"  # what `use` puts back on leaving
        with pytest.warns(UserWarning, match="Numba is not installed"):
            after = run(MAKERS["adam"])
    np.testing.assert_array_equal(before[0].array, after[0].array)


@each_rule
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_recorded_step_is_the_same_step(make, dtype) -> None:
    expected = run(make, dtype)
    params = parameters(dtype)
    optimizer = make(params)
    for step in range(12):
        optimizer.zero_grad()
        loss_of(params, step).backward()
        if step % 3 == 0:  # eager and recorded steps may alternate
            optimizer.step()
            continue
        watching = Watching()
        with modes.observed_by(watching):
            optimizer.step()
        assert watching.count >= 2 * len(params)
    for p, q in zip(expected, params, strict=True):
        assert q.dtype == dtype
        np.testing.assert_array_equal(p.array, q.array)


def test_the_scalars_of_a_recorded_step_are_renewed() -> None:
    params = parameters()
    optimizer = Adam(params, lr=0.5)
    loss_of(params, 0).backward()
    with modes.observed_by(Watching()):
        optimizer.step()
    assert optimizer._recorded is not None
    (recorded,) = optimizer._recorded.parts
    optimizer.param_groups[0]["lr"] = 0.25
    assert optimizer.advance()
    assert [s.item() for s in recorded.scalars] == list(optimizer.scalars(optimizer.param_groups[0], 2))
    assert {state["step"] for state in optimizer.state.values()} == {2}
    optimizer.param_groups[0]["weight_decay"] = 0.1  # another formula
    assert not optimizer.advance()
    optimizer.param_groups[0]["weight_decay"] = 0
    optimizer.load_state_dict(optimizer.state_dict())
    assert not optimizer.advance()
    assert {state["step"] for state in optimizer.state.values()} == {2}


def test_parameters_without_a_gradient_stay_with_their_state() -> None:
    a, b = (tinynn.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    optimizer = Adam([a, b], lr=0.1)
    for uses_b in (True, False, True, False, False):
        optimizer.zero_grad()
        before, kept = b.numpy().copy(), optimizer.state_dict()["state"].get(1)
        ((a * a).sum() + (b * b).sum() * 3.0 if uses_b else (a * a).sum()).backward()
        optimizer.step()
        if not uses_b:
            np.testing.assert_array_equal(b.detach().numpy(), before)
            now = optimizer.state_dict()["state"][1]
            assert now["step"] == kept["step"]
            np.testing.assert_array_equal(now["exp_avg"].array, kept["exp_avg"].array)
    assert (optimizer.state[a]["step"], optimizer.state[b]["step"]) == (5, 2)
    alone = tinynn.tensor([1.0, 2.0], requires_grad=True)
    single = Adam([alone], lr=0.1)
    for _ in range(2):
        single.zero_grad()
        ((alone * alone).sum() * 3.0).backward()
        single.step()
    np.testing.assert_array_equal(b.detach().numpy(), alone.detach().numpy())


def test_dtypes_may_be_mixed_in_a_group() -> None:
    a = tinynn.tensor([1.0, 2.0], dtype="float32", requires_grad=True)
    b = tinynn.tensor([1.0, 2.0], requires_grad=True)
    optimizer = Adam([a, b], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (a * a).sum().backward()
        (b * b).sum().backward()
        optimizer.step()
    assert (a.dtype, b.dtype) == ("float32", "float64")
    assert optimizer.state[a]["exp_avg"].dtype == "float32"
    np.testing.assert_allclose(a.array, b.array, rtol=1e-6)


def test_settings_of_a_group_are_read_at_every_step() -> None:
    a, b = (tinynn.tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.25)
    for lr in (0.25, 0.125):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        (a.sum() + b.sum()).backward()
        optimizer.step()
    assert (a.item(), b.item()) == (1.0 - 0.25 - 0.125, 0.0)
    optimizer.param_groups[1]["momentum"] = 0.5  # another formula from now on
    optimizer.zero_grad()
    b.sum().backward()
    optimizer.step()
    assert "momentum_buffer" in optimizer.state[b]
    c = tinynn.tensor([1.0], requires_grad=True)
    optimizer.add_param_group({"params": [c], "lr": 1.0})
    c.sum().backward()
    optimizer.step()
    assert c.item() == 0.0


def test_a_parameter_may_be_assigned_converted_or_frozen_between_steps() -> None:
    params = parameters()
    optimizer = Adam(params, lr=0.1)
    train(optimizer, params, 2)
    params[0].assign_(np.zeros(params[0].shape))
    optimizer.zero_grad()
    loss_of(params, 5).backward()
    optimizer.step()
    assert np.abs(params[0].array).max() < 0.2  # moved from where it was put
    params[1].requires_grad_(False)
    frozen = params[1].numpy().copy()
    train(optimizer, params, 1)
    np.testing.assert_array_equal(params[1].numpy(), frozen)
    for p in params:
        p.array = p.array.astype("float32")[()]
        p.requires_grad_()
    train(optimizer, params, 2)
    assert {p.dtype.name for p in params} == {"float32"}
    assert optimizer.state[params[0]]["exp_avg"].dtype == "float32"


def test_odd_arrays() -> None:
    start = np.arange(6.0).reshape(2, 3)
    for array in (np.asfortranarray(start), np.broadcast_to(1.0, (2, 3)), start.copy()[:, ::-1]):
        for small in (True, False):
            p = tinynn.Tensor(array.copy(order="K") if small else array).requires_grad_()
            before = p.numpy().copy()
            p.sum().backward()  # the gradient is a broadcast view
            SGD([p], lr=0.5).step()
            np.testing.assert_array_equal(p.detach().numpy(), before - 0.5)


def test_gradients_are_not_written_to_and_may_be_shared() -> None:
    a, b = (tinynn.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    shared = tinynn.tensor([1.0, 1.0])
    a.grad = b.grad = shared
    Adam([a, b], maximize=True, weight_decay=0.1).step()
    assert shared.tolist() == [1.0, 1.0]


def test_parameters_are_overwritten_in_place() -> None:
    p = tinynn.tensor(np.ones((3, 3)), requires_grad=True)
    array = p.array
    p.sum().backward()
    SGD([p], lr=1.0).step()
    assert p.array is array
    assert not array.any()


@pytest.mark.parametrize("size", [3, 5000])
def test_backward_after_the_step_says_what_happened(size: int) -> None:
    p = tinynn.tensor(np.ones(size), requires_grad=True)
    optimizer = SGD([p], lr=0.1)
    first, second = (p * p).sum(), (p * p).sum()
    first.backward()
    optimizer.step()
    with pytest.raises(graph.GraphError, match=r"Mul.*edited in place.*SGD\.step"):
        second.backward()


def test_a_forgotten_zero_grad_warns_and_keep_grad_says_it_is_wanted(monkeypatch) -> None:
    monkeypatch.setattr(dispatch, "_warned", set())
    p = tinynn.tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1)
    (p * p).sum().backward()
    (p * p).sum().backward()  # accumulating before the step is no mistake
    optimizer.step(keep_grad=True)
    (p * p).sum().backward()
    optimizer.step()
    with pytest.warns(tinynn.ForgottenZeroGradWarning, match="zero_grad"):
        (p * p).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert p.grad is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (p * p).sum().backward()


def test_zero_grad_may_put_zeros() -> None:
    p = tinynn.tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1, weight_decay=1.0)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    optimizer.step()
    assert p.tolist() == [0.9]


def test_a_closure_gives_the_loss() -> None:
    p = tinynn.tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tinynn.no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert p.tolist() == [0.8]


@pytest.mark.parametrize("make", [MAKERS["adam"], MAKERS["nesterov"]])
def test_many_steps_hold_no_more_memory(make) -> None:
    """The interpreter's lists of free tuples fill up during the first thousand steps."""
    params = parameters()
    optimizer = make(params)
    gc.collect()
    gc.disable()
    try:
        with tinynn.use("numpy"):
            train(optimizer, params, 1500)
            before = sys.getallocatedblocks()
            train(optimizer, params, 1000)
            assert sys.getallocatedblocks() - before < 100
    finally:
        gc.enable()


def test_values_of_all_rules_go_down() -> None:
    for make in MAKERS.values():
        params = parameters()
        optimizer = make(params)
        before = loss_of(params, 0).item()
        for _ in range(50):
            optimizer.zero_grad()
            loss_of(params, 0).backward()
            optimizer.step()
        assert loss_of(params, 0).item() < before
        assert all(np.isfinite(v).all() for v in values(params))


def test_empty_parameters_are_harmless() -> None:
    a, b = tinynn.tensor(np.zeros((0, 3)), requires_grad=True), tinynn.tensor([1.0], requires_grad=True)
    (a.sum() + b.sum()).backward()
    Adam([a, b], lr=0.5).step()
    assert b.item() == pytest.approx(0.5)


@pytest.mark.gpu
@each_rule
def test_on_the_gpu(make) -> None:
    host = run(make)
    params = [tinynn.Tensor(p.to("cupy").array).requires_grad_() for p in (q.detach() for q in parameters())]
    optimizer = make(params)
    for step in range(12):
        copies = [tinynn.tensor(p.to("cpu").numpy(), requires_grad=True) for p in (q.detach() for q in params)]
        loss_of(copies, step).backward()
        for p, q in zip(params, copies, strict=True):
            p.grad = q.grad.to("cupy")
        optimizer.step()
    for p, q in zip(host, params, strict=True):
        np.testing.assert_allclose(q.detach().to("cpu").numpy(), p.array, rtol=1e-12)


def test_frozen_parameters_are_accepted_and_left_alone() -> None:
    frozen, free = tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 2.0], requires_grad=True)
    for make in (
        lambda p: tinynn.optim.SGD(p, lr=0.1),
        lambda p: tinynn.optim.Adam(p, lr=0.1),
        lambda p: tinynn.optim.LBFGS(p),
    ):
        optimizer = make([frozen, free])

        def closure(optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = ((free - frozen - 1.0) ** 2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        assert frozen.tolist() == [1.0, 2.0]
    assert free.tolist() != [1.0, 2.0]
