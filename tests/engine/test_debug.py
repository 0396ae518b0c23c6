"""gradcheck finds wrong formulas, anomalies stop in the right line, plans and pictures say what is there."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import debug, nn
from tinynn.autodiff import apply
from tinynn.graph import GraphError
from tinynn.ops.base import Elementwise, Op


class WrongSlope(Elementwise):
    """out = x**3, with a derivative that is wrong where x > 1"""

    def forward(self, xp, x):
        return x**3

    def grad_x(self, g, *, x):
        return g * (3.0 * x * x + tn.where(x > 1.0, 0.01, 0.0))


class HiddenConstant(Elementwise):
    """out = x**2, with a derivative whose own derivative is lost: right at first order, wrong at second"""

    def forward(self, xp, x):
        return x * x

    def grad_x(self, g, *, x):
        return g * tn.stop_gradient(2.0 * x)


class OnlyReverse(Op):
    """out = 3 x, with a forward rule that is wrong"""

    def forward(self, xp, x):
        return 3.0 * x

    def grad_x(self, g):
        return g * 3.0

    def tangent(self, tangents):
        return tangents[0] * 2.0


# ---------------------------------------------------------------------------------------------------
# gradcheck


def test_gradcheck_passes_what_is_right() -> None:
    x, w = np.linspace(0.1, 1.0, 6).reshape(2, 3), np.linspace(-1.0, 1.0, 3)
    assert debug.gradcheck(lambda x, w: (tn.exp(x) @ w, tn.sum(x)), x, w, order=2)
    assert debug.gradcheck(lambda x, i: x[i], x, np.array([0, 0]), order=2)
    assert debug.gradcheck(lambda x: x * 2, np.zeros((0, 3)))
    assert debug.gradcheck(lambda x: x.tanh(), tn.tensor(0.3, dtype="float32"))


def test_gradcheck_names_the_input_and_the_element() -> None:
    def f(a: Any, x: Any) -> Any:
        return a * apply(WrongSlope(), x)

    inputs = np.array([1.0, 1.0, 1.0]), np.array([0.5, 2.0, 0.7])
    with pytest.raises(debug.GradcheckError, match=r"reverse mode, input 1 .*; element \(1,\) should be .*, but is"):
        debug.gradcheck(f, *inputs)


class WrongTangent(Op):
    """out = 2 x, with a wrong forward mode"""

    def forward(self, xp, x):
        return 2.0 * x

    def grad_x(self, g):
        return 2.0 * g

    def tangent(self, tangents):
        return 3.0 * tangents[0]


def test_gradcheck_finds_a_wrong_forward_mode() -> None:
    x = np.array([1.0, 2.0, 3.0])
    with pytest.raises(
        debug.GradcheckError, match=r"forward mode.*input 0 \(shape \(3,\)\): element \(0,\) of output 0"
    ):
        debug.gradcheck(lambda x: apply(WrongTangent(), x), x)
    assert debug.gradcheck(lambda x: apply(WrongTangent(), x), x, forward_mode=False)


def test_gradcheck_finds_wrong_second_derivatives() -> None:
    def f(x: Any) -> Any:
        return apply(HiddenConstant(), x)

    assert debug.gradcheck(f, np.array([0.5, 2.0]))
    with pytest.raises(debug.GradcheckError, match="second order"):
        debug.gradcheck(f, np.array([0.5, 2.0]), order=2)


def test_gradcheck_finds_wrong_forward_rules() -> None:
    assert debug.gradcheck(lambda x: apply(OnlyReverse(), x), np.ones(2), forward_mode=False)
    with pytest.raises(debug.GradcheckError, match="forward mode"):
        debug.gradcheck(lambda x: apply(OnlyReverse(), x), np.ones(2))


def test_gradcheck_refuses_integers() -> None:
    with pytest.raises(TypeError, match="nothing to differentiate"):
        debug.gradcheck(lambda x: x, np.array([1, 2]))


# -------------------------------------------------------------------------------------------------------
# anomalies


def model(x: Any) -> Any:
    hidden = tn.exp(x * 100.0)
    return tn.log(hidden - hidden)  # inf - inf


def innermost(error: BaseException) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


def test_stops_in_the_users_line_of_the_forward_pass() -> None:
    x = tn.tensor([1.0, 10.0], requires_grad=True)
    with (
        pytest.raises(
            debug.AnomalyError, match=r"forward: Exp\(\) produced 1 inf among 2 numbers.*x float64 \(2,\)"
        ) as caught,
        debug.detect_anomaly(),
    ):
        model(x)
    frame = innermost(caught.value)
    assert frame.name == "model"
    assert "tn.exp" in (frame.line or "")
    assert f"test_debug.py:{frame.lineno}" in str(caught.value)


def test_says_what_was_bad_before() -> None:
    with (
        pytest.raises(debug.AnomalyError, match=r"a float64 \(2,\) \(has 1 nan among 2 numbers already\)"),
        debug.detect_anomaly(),
    ):
        tn.tensor([np.nan, 1.0]) + 1.0


def test_stops_in_the_gradient_formula_and_names_the_line_of_the_forward_pass() -> None:
    x = tn.tensor([0.0, 4.0], requires_grad=True)
    with debug.detect_anomaly():
        line = sys._getframe().f_lineno + 1
        y = tn.sqrt(x)
    with (
        pytest.raises(debug.AnomalyError, match=r"backward: Sqrt\.grad_x produced 1 inf") as caught,
        debug.detect_anomaly(),
    ):
        y.sum().backward()
    assert f"test_debug.py:{line}" in str(caught.value)
    assert "backward()" in (innermost(caught.value).line or "")
    assert x.grad is None


def test_infinities_may_be_allowed() -> None:
    with debug.detect_anomaly(infinities=False):
        scores = tn.where(tn.tensor([True, False]), 0.0, -np.inf)
        assert tn.softmax(scores).tolist() == [1.0, 0.0]
        with pytest.raises(debug.AnomalyError, match="nan"):
            scores - scores


def test_assignments_are_watched() -> None:
    p = tn.ones(2, requires_grad=True)
    with pytest.raises(debug.AnomalyError, match="assign_"), debug.detect_anomaly():
        p.assign_([np.nan, 1.0])


def test_the_block_leaves_things_as_they_were() -> None:
    with debug.detect_anomaly():
        y = tn.ones(2, requires_grad=True) * 2.0
    assert y.node.made_at is not None
    assert tn.autodiff.mode.observer is None
    assert (tn.ones(2, requires_grad=True) * 2.0).node.made_at is None
    with pytest.raises(ZeroDivisionError), debug.detect_anomaly():
        raise ZeroDivisionError
    assert tn.autodiff.mode.observer is None


def test_a_whole_training_step_runs_under_watch() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = tn.optim.Adam(net.parameters(), lr=0.1)
    before = net[0].weight.tolist()
    with debug.detect_anomaly():
        nn.functional.mse_loss(net(tn.ones(4, 2)), tn.zeros(4, 1)).backward()
        optimizer.step()
    assert net[0].weight.tolist() != before


# ------------------------------------------------------------------------------------------------- plan and
# picture


def test_the_plan_is_what_backward_does() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    loss = tn.mean(net(tn.ones(4, 2)) ** 2)
    plan = debug.explain(loss, net)
    ran: list[str] = []

    class Watch:
        wants_tensors = False

        def applied(self, *_: Any) -> None: ...
        def assigned(self, *_: Any) -> None: ...
        def differentiated(self, node: Any, i: int, gradient: Any) -> None:
            ran.append(f"grad_{node.op.inputs[i]}")

    with tn.modes.observed_by(Watch()):
        loss.backward()
    planned = [word.split("(")[0] for line in plan.splitlines() for word in line.split() if word.startswith("grad_")]
    assert planned == ran
    assert "0.weight" in plan
    assert "2.bias" in plan
    assert "(3, 2)" in plan
    assert "visits 5 operations" in plan
    assert "freed" in debug.explain(loss)


def test_plan_counts_shared_memory_once() -> None:
    x = tn.ones(1000, requires_grad=True)
    text = debug.explain((x * x + x.reshape(10, 100).reshape(1000) * x).sum())
    assert "1 array, 7.8 KiB, of which 7.8 KiB are the leaves' own" in text
    with pytest.raises(GraphError, match="there is no graph"):
        debug.explain(tn.ones(1))


def test_dot() -> None:
    w = tn.ones(2, requires_grad=True)
    text = debug.draw((tn.exp(w) + w * 2).sum(), names={'w "quoted"': w})
    assert text.startswith("digraph")
    assert text.count("->") == 5
    assert r"w \"quoted\"" in text


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "dot", "gv"])
def test_pictures(tmp_path: Path, ending: str) -> None:
    if ending in ("png", "svg", "pdf"):
        pytest.importorskip("matplotlib")
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    path = tmp_path / f"graph.{ending}"
    debug.draw(tn.mean(net(tn.ones(4, 2)) ** 2), path, net)
    start = path.read_bytes()[:500]
    assert {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "dot": b"digraph", "gv": b"digraph"}[ending] in start


def test_unknown_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'\.jpeg'; choose one of \.dot"):
        debug.draw(tn.ones(1, requires_grad=True) * 2, tmp_path / "graph.jpeg")
    with pytest.raises(GraphError, match="there is no graph"):
        debug.draw(tn.ones(1))
