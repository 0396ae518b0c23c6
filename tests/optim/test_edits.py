"""Lists and dicts of an optimizer that somebody edits: the next step goes by what is in them, eager or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim

X = np.random.default_rng(0).standard_normal((5, 3))


def network() -> Any:
    tn.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 80), nn.Linear(80, 80), nn.Linear(80, 1))


def stepping(model: Any, optimizer: Any) -> Any:
    def step() -> Any:
        model.zero_grad()  # also of parameters that the optimizer no longer has
        loss = (model(tn.tensor(X)) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def moments(optimizer: Any) -> list[Any]:
    return [value for entry in optimizer.state_dict()["state"].values() for value in entry.values()]


def fresh_of(*which: int) -> Callable[[Any, Any], Any]:
    """A new optimizer for some parameters."""
    return lambda model, _: optim.Adam([list(model.parameters())[i] for i in which], lr=0.01)


def with_steps(model: Any, old: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    """A new optimizer that goes on from the old one's state after a change in it."""
    new, state = optim.Adam(model.parameters(), lr=0.01), old.state_dict()
    change(state)
    new.load_state_dict(state)
    return new


def set_steps(entries: Any) -> None:
    for entry in entries:
        entry["step"] = 0


def zero_first_moment(entry: Any) -> None:
    entry["exp_avg"] = tn.tensor(np.zeros(entry["exp_avg"].shape))


# name: (the edit, an optimizer that does the same without it)
EDITS: dict[str, tuple[Any, Any]] = {
    "clear": (lambda m, o: o.state.clear(), fresh_of(*range(8))),
    "another dict": (lambda m, o: setattr(o, "state", {}), fresh_of(*range(8))),
    "another empty one": (lambda m, o: setattr(o, "state", type(o.state)()), fresh_of(*range(8))),
    "one entry": (
        lambda m, o: o.state.pop(m[0].weight),
        lambda m, o: with_steps(m, o, lambda state: state["state"].pop(0)),
    ),
    "step numbers": (
        lambda m, o: set_steps(o.state.values()),
        lambda m, o: with_steps(m, o, lambda state: set_steps(state["state"].values())),
    ),
    "one step number": (
        lambda m, o: set_steps([o.state[m[0].weight]]),
        lambda m, o: with_steps(m, o, lambda state: set_steps([state["state"][0]])),
    ),
    "one large moment": (
        lambda m, o: zero_first_moment(o.state[m[3].weight]),
        lambda m, o: with_steps(m, o, lambda state: zero_first_moment(state["state"][4])),
    ),
    "one small moment": (
        lambda m, o: zero_first_moment(o.state[m[0].bias]),
        lambda m, o: with_steps(m, o, lambda state: zero_first_moment(state["state"][1])),
    ),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_counts_at_the_next_step(name: str, compiled: bool) -> None:
    edit, without = EDITS[name]
    ends = []
    for edited in (True, False):
        model = network()
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        step = stepping(model, optimizer)
        step = tn.compile(step) if compiled and edited else step
        for _ in range(4):
            step()
        if edited:
            edit(model, optimizer)
        else:
            step = stepping(model, optimizer := without(model, optimizer))
        losses = [step().item() for _ in range(4)]
        ends.append((losses, moments(optimizer)))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-9)
    assert len(ends[0][1]) == len(ends[1][1]) == 24
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("how", ["pop", "another list", "another group"])
def test_parameters_that_are_taken_out_stay(how: str, compiled: bool) -> None:
    model = network()
    first, *rest = model.parameters()
    optimizer = optim.Adam([{"params": [first]}, {"params": rest}] if how == "another group" else [first, *rest])
    step = tn.compile(stepping(model, optimizer)) if compiled else stepping(model, optimizer)
    for _ in range(4):
        step()
    if how == "another group":
        optimizer.param_groups.pop(0)
    elif how == "pop":
        optimizer.param_groups[0]["params"].pop(0)
    else:
        optimizer.param_groups[0]["params"] = rest
    kept, moving = first.numpy().copy(), rest[0].numpy().copy()
    for _ in range(4):
        step()
    np.testing.assert_array_equal(first.numpy(), kept)
    assert (rest[0].numpy() != moving).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_edits_that_make_no_sense_are_refused(compiled: bool) -> None:
    model = network()
    optimizer = optim.Adam(model.parameters())
    step = tn.compile(stepping(model, optimizer)) if compiled else stepping(model, optimizer)
    for _ in range(4):
        step()
    params = optimizer.param_groups[0]["params"]
    optimizer.param_groups.append({**optimizer.param_groups[0], "params": [params.pop()]})
    with pytest.raises(TypeError, match="add_param_group"):
        step()
    params.append(optimizer.param_groups.pop()["params"][0])
    step()
    params.append(params[0])
    with pytest.raises(ValueError, match="twice"):
        step()
    params[-1] = 3.0
    with pytest.raises(TypeError, match="leaf tensors"):
        step()
    params.pop()
    step()
