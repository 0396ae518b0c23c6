"""The record and the walk back: order, stack, memory, what is computed and what is kept."""

from __future__ import annotations

import gc
import traceback
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn.graph import Leaf, Node
from tinynn.ops.arithmetic import Mul
from tinynn.ops.base import Elementwise, Op
from tinynn.ops.elementwise import Exp, Tanh
from tinynn.ops.linalg import MatMul


def leaf(*numbers: float) -> tn.Tensor:
    return tn.tensor(numbers[0] if len(numbers) == 1 else list(numbers), requires_grad=True)


# ------------------------------------------------------------------------------------------------- the stack


def test_three_frames_from_backward_to_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = Tanh.grad_x

    def grad_x(self: Any, g: Any, *, out: Any) -> Any:
        seen.extend(frame.name for frame in traceback.extract_stack())
        return original(self, g, out=out)

    monkeypatch.setattr(Tanh, "rules", ((grad_x, ("out",)),))
    leaf(0.5, 1.0).tanh().sum().backward()
    assert seen[-3:] == ["backward", "backpropagate", "grad_x"]
    assert seen[-4] == "test_three_frames_from_backward_to_the_formula"


# ------------------------------------------------------------------------------------------------- the order


def test_b_is_a_plus_a() -> None:
    a = leaf(3.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.item() == 4.0


def test_diamonds_and_many_uses() -> None:
    a = leaf(1.1)
    y = a
    for _ in range(30):  # 2**30 paths: a walk that followed each would not end
        y = y * 0.5 + y * 0.5
    y.backward()
    assert a.grad.item() == pytest.approx(1.0)
    x = leaf(2.0)
    sum(x * k for k in range(100)).backward()
    assert x.grad.item() == sum(range(100))


def test_same_order_in_every_run() -> None:
    def visited() -> list[str]:
        order: list[str] = []

        class Watch:
            wants_tensors = False

            def applied(self, *_: Any) -> None: ...
            def assigned(self, *_: Any) -> None: ...
            def differentiated(self, node: Node, i: int, gradient: Any) -> None:
                order.append(f"{type(node.op).__name__}.{i}")

        w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
        y = (w * v).tanh() + w.exp() * v.sin()
        with tn.modes.observed_by(Watch()):
            (y * y).sum().backward()
        return order

    runs = [visited() for _ in range(5)]
    assert all(run == runs[0] for run in runs)


def test_a_chain_of_100_000_operations() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.001
    y.backward()
    assert x.grad.item() == 1.0
    del y  # dropping 100,000 nodes, each owned by the next, must not recurse either
    y = x
    for _ in range(100_000):
        y = y * 1.0
    del y


# --------------------------------------------------------------------------------------- what is computed


def test_a_gradient_that_nobody_needs_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name, (formula, names) in zip("ab", MatMul.rules, strict=True):

        def counted(self: Any, g: Any, *, _f: Any = formula, _n: str = name, **saved: Any) -> Any:
            calls.append(_n)
            return _f(self, g, **saved)

        rules = list(MatMul.rules)
        rules["ab".index(name)] = (counted, names)
        monkeypatch.setattr(MatMul, "rules", tuple(rules))
    weight, data = tn.ones(3, 2, requires_grad=True), tn.ones(4, 3)
    (data @ weight).sum().backward()
    assert calls == ["b"]
    calls.clear()
    (weight.T @ data.T).sum().backward()
    assert calls == ["a"]
    calls.clear()
    w2 = tn.ones(2, 2, requires_grad=True)
    hidden = data @ weight
    tn.grad((hidden @ w2).sum(), w2)  # the way on to `weight` is not asked for
    assert calls == ["b"]


def test_only_paths_to_the_wanted_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Any, g: Any, *, out: Any) -> Any:
        raise AssertionError("exp lies on no path to x")

    monkeypatch.setattr(Exp, "rules", ((never, ("out",)),))
    x, other = leaf(1.0), leaf(2.0)
    assert tn.grad(x * tn.exp(other), x).item() == pytest.approx(np.exp(2.0))


# ---------------------------------------------------------------------------------------- what is kept alive


def saved_by(y: tn.Tensor) -> set[str]:
    return set(y.node.saved)


def test_the_signature_is_the_memory_policy() -> None:
    a, b, constant = leaf(1.0, 2.0), leaf(3.0, 4.0), tn.tensor([5.0, 6.0])
    assert saved_by(a + b) == set()
    assert saved_by(a.tanh()) == {"out"}
    assert saved_by(a.sum()) == {"x_shape"}
    assert saved_by(a * b) == {"a", "b"}
    assert saved_by(a * constant) == {"b"}  # the gradient of the constant is not wanted, so `a` is not kept
    assert saved_by(constant * a) == {"a"}
    assert Mul.plans[0b01] == (("b", 1),)


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    x = tn.ones(3)
    assert (x * x).node is None
    with tn.no_grad():
        assert (leaf(1.0) * 2).node is None


def test_inputs_that_no_formula_needs_die_at_once() -> None:
    a = leaf(*np.arange(5.0))
    middle = a * 2.0
    kept = weakref.ref(middle)
    y = middle + 1.0
    del middle
    assert kept() is None
    y.sum().backward()
    assert a.grad.tolist() == [2.0] * 5


def test_backward_frees_as_it_goes() -> None:
    x = leaf(1.0, 2.0)
    y = x.tanh()
    z = y.sum()
    z.backward()
    assert y.node.saved is None
    assert z.node.saved is None


# ----------------------------------------------------------------------------------- no cycles, and no growth


def networks() -> tuple[list[tn.Tensor], Any]:
    rng = np.random.default_rng(0)
    params = [tn.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((4, 3), (4,), (1, 4), (1,))]

    def energy(x: Any) -> Any:
        return tn.linear(tn.tanh(tn.linear(x, params[0], params[1])), params[2], params[3])

    return params, energy


def plain_step(params: list[tn.Tensor], energy: Any, x: Any) -> None:
    loss = (energy(x) ** 2).mean()
    loss.backward()
    update(params)


def force_step(params: list[tn.Tensor], energy: Any, x: Any) -> None:
    x = x.detach().requires_grad_()
    forces = tn.grad(energy(x).sum(), x, create_graph=True)
    (forces**2).mean().backward()
    update(params)


def careless_step(params: list[tn.Tensor], energy: Any, x: Any) -> None:
    """Gradients that stay part of a graph, as PyTorch warns against."""
    (energy(x) ** 2).mean().backward(create_graph=True)
    update(params)


def update(params: list[tn.Tensor]) -> None:
    with tn.no_grad():
        for p in params:
            if p.grad is not None:
                p.assign_(p - 0.001 * p.grad)
            p.grad = None


@pytest.mark.parametrize("step", [plain_step, force_step, careless_step])
def test_no_reference_cycles(step: Any) -> None:
    params, energy = networks()
    x = tn.ones(5, 3)
    step(params, energy, x)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            step(params, energy, x)
        nodes = [o for o in gc.get_objects() if issubclass(type(o), Node) and not issubclass(type(o), Leaf)]
        assert not nodes
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_graph_dies_with_its_last_name() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    g = tn.grad(y, x, create_graph=True)
    nodes = [weakref.ref(y.node), weakref.ref(g.node)]
    gc.disable()
    try:
        del y, g
        assert [ref() for ref in nodes] == [None, None]
    finally:
        gc.enable()


@pytest.mark.slow
def test_20_000_steps_without_the_garbage_collector() -> None:
    params, energy = networks()
    x = tn.ones(5, 3)
    for step in (plain_step, force_step, careless_step):
        for _ in range(20):
            step(params, energy, x)
        gc.collect()
        gc.disable()
        try:
            objects = len(gc.get_objects())
            for _ in range(20_000 if step is plain_step else 6_000):
                step(params, energy, x)
            assert len(gc.get_objects()) <= objects + 20
        finally:
            gc.enable()
    tracemalloc.start()
    try:
        plain_step(params, energy, x)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            plain_step(params, energy, x)
        assert tracemalloc.get_traced_memory()[0] - before < 5_000
    finally:
        tracemalloc.stop()


def test_a_leaf_that_is_gone_gets_no_gradient() -> None:
    x = leaf(1.0)
    w = leaf(2.0)
    y = x * w
    del x
    y.backward()
    assert w.grad.item() == 1.0


def test_a_misspelt_gradient_method_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Cube\.grad_a is the gradient by no input: forward's inputs are x"):

        class Cube(Elementwise):
            def forward(self, xp, x):
                return x**3

            def grad_a(self, g, *, x):
                return g * 3.0 * x**2


def test_what_a_gradient_asks_for_stands_behind_a_star() -> None:
    with pytest.raises(TypeError, match=r"behind a star: \(self, g, \*, x\)"):

        class Cube(Op):
            def forward(self, xp, x):
                return x * x * x

            def grad_x(self, g, x):
                return g * 3.0 * x * x
