"""backward(), grad(), the modes, and what they say when something is wrong."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import ForgottenZeroGradWarning, GraphError
from tinynn.backends import dispatch


def leaf(*numbers: float, dtype: str = "float64") -> tn.Tensor:
    return tn.tensor(numbers[0] if len(numbers) == 1 else list(numbers), requires_grad=True, dtype=dtype)


# ------------------------------------------------------------------------------------------------- .grad


def test_grad_accumulates_on_leaves_only() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_accumulation_does_not_write_into_what_was_handed_out() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()  # both get the very same array
    kept = x.grad
    (x * 2).sum().backward()
    assert kept.tolist() == [1.0, 1.0]
    assert y.grad.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [3.0, 3.0]


def test_grad_of_a_result_is_explained() -> None:
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(GraphError, match=r"result of Mul: only leaves keep \.grad.*tinynn\.grad"):
        _ = y.grad


def test_setting_grad() -> None:
    x = leaf(1.0, 2.0)
    x.grad = [3.0, 4.0]
    assert x.grad.tolist() == [3.0, 4.0]
    with pytest.raises(ValueError, match=r"grad: a gradient of shape \(3,\) does not fit"):
        x.grad = np.zeros(3)


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match=r"int64 tensor.*\.to\('float64'\)"):
        tn.tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="bool"):
        tn.tensor([True]).requires_grad_()
    x = leaf(1.5)
    assert x.to("int64").node is None


def test_gradients_have_the_dtype_of_the_leaf() -> None:
    x = leaf(1.0, 2.0, dtype="float32")
    (x.to("float64") * tn.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.dtype == np.float32
    y = leaf(1.0, 2.0)
    assert tn.grad(y.to("float32").sum(), y).dtype == np.float64


def test_forgotten_zero_grad_warns_once_and_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_warned", set())
    x = tn.ones(17, requires_grad=True)
    x.sum().backward()
    x.node.consumed = True  # what an optimizer step does
    with pytest.warns(ForgottenZeroGradWarning, match=r"shape \(17,\).*zero_grad\(\).*keep_grad=True") as caught:
        x.sum().backward()
    assert caught[0].filename == __file__  # at the user's line
    x.node.consumed = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x.sum().backward()


# -------------------------------------------------------------------------------------------- the walk twice


def test_backward_twice_says_what_to_do() -> None:
    x = leaf(1.0, 2.0)
    y = x.tanh().sum()
    y.backward()
    with pytest.raises(GraphError, match=r"second time.*retain_graph=True.*earlier step.*detach\(\)"):
        y.backward()
    with tn.debug.detect_anomaly():
        z = x.tanh().sum()
        z.backward()
    with pytest.raises(GraphError, match=r"recorded at .*test_backward\.py:\d+"):
        z.backward()


def test_retain_graph() -> None:
    x = leaf(2.0)
    y = x**3
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 24.0
    with pytest.raises(GraphError):
        y.backward()
    z = x**3
    first = tn.grad(z, x, create_graph=True)  # keeps the graph by itself
    assert tn.grad(first, x).item() == 12.0


def test_a_graph_that_saved_nothing_is_freed_too() -> None:
    x = leaf(1.0)
    y = x + 1.0
    y.backward()
    with pytest.raises(GraphError, match="second time"):
        y.backward()


# -------------------------------------------------------------------------------------------- edits in place


def test_edited_saved_values_are_noticed() -> None:
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    w.assign_([5.0, 6.0])
    with pytest.raises(GraphError, match=r"Mul needs its 'a'.*shape \(2,\) was edited in place.*test_backward\.py:\d+"):
        loss.backward()


def test_edited_views_are_noticed() -> None:
    w = tn.ones(2, 3, requires_grad=True)
    loss = (w.T.reshape(3, 2)[1:] ** 2).sum()
    w.assign_(np.zeros((2, 3)))
    with pytest.raises(GraphError, match="edited in place"):
        loss.backward()


def test_edited_windows_are_noticed() -> None:
    w = tn.ones(3, 3, requires_grad=True)
    loss = (tn.windows(w, (2, 2)) ** 2).sum()  # windows lie in w's memory, but NumPy does not say that w is their base
    w.assign_(np.zeros((3, 3)))
    with pytest.raises(GraphError, match="edited in place"):
        loss.backward()


def test_edits_are_noticed_after_the_tensor_is_gone() -> None:
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    w.assign_([5.0, 6.0])
    del w
    with pytest.raises(GraphError, match="edited in place"):
        loss.backward()


def test_edits_that_do_not_matter_are_let_pass() -> None:
    w, x = leaf(1.0, 2.0), tn.tensor([3.0, 4.0])
    loss = (w * x).sum()  # keeps x, not w
    w.assign_([5.0, 6.0])
    loss.backward()
    assert w.grad.tolist() == [3.0, 4.0]
    w.grad = None
    (w * w).sum().backward()  # after the edit
    assert w.grad.tolist() == [10.0, 12.0]


def test_assigning_to_a_tensor_without_a_gradient_leaves_older_results_alone() -> None:
    w, running = leaf(1.0, 2.0), tn.tensor([3.0, 4.0])
    loss = (w * running).sum()
    running.assign_([0.0, 0.0])
    loss.backward()
    assert w.grad.tolist() == [3.0, 4.0]


def test_assign_errors() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"assign_: a value of shape \(3,\)"):
        x.assign_(np.zeros(3))
    with pytest.raises(GraphError, match="assign to a leaf"):
        (x * 2).assign_([1.0, 2.0])
    with pytest.raises(TypeError, match="not edited in place"):
        x[0] = 1.0


def test_plus_equals_rebinds() -> None:
    x = leaf(1.0, 2.0)
    y = x
    x += 1.0
    assert y.tolist() == [1.0, 2.0]
    assert x.node is not y.node


# ----------------------------------------------------------------------------------------------- where to
# start


def test_backward_needs_a_scalar_or_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    with pytest.raises(ValueError, match=r"shape \(2,\).*only a scalar.*loss\.mean\(\).*of shape \(2,\)"):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient of shape \(3,\) does not fit an output of shape \(2,\)"):
        y.backward(np.ones(3))
    y.backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 20.0]
    (x.sum().reshape(1, 1) * 1.0).backward()  # one element is enough


def test_backward_needs_a_graph() -> None:
    with pytest.raises(GraphError, match="requires_grad=True"):
        tn.ones(1).sum().backward()
    with tn.no_grad(), pytest.raises(GraphError, match="inside no_grad"):
        leaf(1.0).sum().backward()


def test_backward_of_a_leaf_itself() -> None:
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0
    assert tn.grad(x, x).item() == 1.0


# -------------------------------------------------------------------------------------------------
# tinynn.grad


def test_grad_of_several() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * w).sum()
    z = (x * x).sum()
    gx, gw = tn.grad([y, z], [x, w])
    assert gx.tolist() == [5.0, 8.0]
    assert gw.tolist() == [1.0, 2.0]
    assert x.grad is None
    assert isinstance(tn.grad(x.sum(), (x,)), tuple)
    vector = x * w
    (only,) = tn.grad([vector, x.sum()], [x], [np.array([1.0, 0.0]), None])
    assert only.tolist() == [4.0, 1.0]
    assert tn.grad([x.sum(), x.sum()], x).tolist() == [2.0, 2.0]
    same = x.sum()
    assert tn.grad([same, same], x).tolist() == [2.0, 2.0]
    assert tn.grad(x.sum(), [x, x])[1].tolist() == [1.0, 1.0]


def test_grad_by_results_in_between() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    z = (y * y * x).sum()
    gy, gx = tn.grad(z, [y, x])
    assert gy.tolist() == [2.0, 16.0]
    assert gx.tolist() == [5.0, 80.0]


def test_grad_unused() -> None:
    x, other = leaf(1.0), leaf(2.0)
    with pytest.raises(GraphError, match="do not depend on input 1; allow_unused=True"):
        tn.grad(x * 2, [x, other])
    assert tn.grad(x * 2, [x, other], allow_unused=True)[1] is None
    with pytest.raises(GraphError, match="input 0 does not require a gradient"):
        tn.grad(x * 2, tn.ones(1))
    with pytest.raises(GraphError, match="output 0 does not depend"):
        tn.grad(tn.ones(1).sum(), x)
    with pytest.raises(ValueError, match="2 outputs but 1 grad_outputs"):
        tn.grad([x * 2, x * 3], x, [None])


def test_create_graph_of_a_vector() -> None:
    x, v = leaf(1.0, 2.0), leaf(1.0, 10.0)
    first = tn.grad(x**3, x, v, create_graph=True)
    assert first.tolist() == [3.0, 120.0]
    gx, gv = tn.grad(first.sum(), [x, v])
    assert gx.tolist() == [6.0, 120.0]
    assert gv.tolist() == [3.0, 12.0]


def test_backward_with_create_graph() -> None:
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    slope = x.grad
    x.grad = None
    slope.backward()
    assert x.grad.item() == 12.0


def test_derivatives_inside_no_grad() -> None:
    x = leaf(2.0)
    y = x**3
    with tn.no_grad():
        y.backward(retain_graph=True)
        slope = tn.grad(y, x, create_graph=True)
    assert x.grad.item() == 12.0
    assert tn.grad(slope, x).item() == 12.0


# -------------------------------------------------------------------------------------------------------
# modes


def test_modes_nest_and_restore() -> None:
    assert tn.is_grad_enabled()
    with tn.no_grad():
        with tn.enable_grad():
            assert tn.is_grad_enabled()
        assert not tn.is_grad_enabled()
    with pytest.raises(RuntimeError, match="boom"), tn.no_grad():
        raise RuntimeError("boom")
    assert tn.is_grad_enabled()
    once = tn.no_grad()
    with once, once:
        assert not tn.is_grad_enabled()
    assert tn.is_grad_enabled()


def test_modes_as_decorators() -> None:
    @tn.no_grad()
    def off() -> bool:
        """Documented."""
        return tn.is_grad_enabled()

    @tn.enable_grad()
    def on() -> bool:
        return tn.is_grad_enabled()

    assert off() is False
    assert off.__doc__ == "Documented."
    with tn.no_grad():
        assert on() is True
    assert tn.is_grad_enabled()


def test_modes_decorate_without_parentheses() -> None:
    @tn.no_grad
    def doubled(x: tn.Tensor) -> tn.Tensor:
        return x * 2.0

    assert not doubled(leaf(1.0, 2.0)).requires_grad
    assert doubled.__name__ == "doubled"
    assert tn.is_grad_enabled()


def test_modes_are_per_thread() -> None:
    seen: list[bool] = []
    with tn.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tn.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_differentiate_side_by_side() -> None:
    wrong: list[Any] = []

    def work(k: int) -> None:
        for _ in range(100):
            x = leaf(float(k), 2.0)
            (x**3).sum().backward()
            if x.grad.tolist() != [3.0 * k * k, 12.0]:
                wrong.append(x.grad)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ------------------------------------------------------------------------------------------------------
# tensors


def test_requires_grad() -> None:
    x = tn.ones(2)
    x.requires_grad = True
    assert x.is_leaf
    x.requires_grad_(False)
    assert not x.requires_grad
    y = leaf(1.0) * 2
    with pytest.raises(GraphError, match=r"use detach\(\)"):
        y.requires_grad_(False)
    assert y.detach().node is None
    assert y.detach().requires_grad_().is_leaf


def test_copies() -> None:
    x = leaf(1.0, 2.0)
    assert tn.grad(x.clone().sum(), x).tolist() == [1.0, 1.0]
    twin = copy.deepcopy(x)
    twin.assign_([9.0, 9.0])
    assert x.tolist() == [1.0, 2.0]
    assert twin.requires_grad
    with pytest.raises(GraphError, match="deep-copied"):
        copy.deepcopy(x * 2)
    again = pickle.loads(pickle.dumps(x))
    assert again.tolist() == [1.0, 2.0]
    assert again.requires_grad
    data = np.ones(2)
    t = tn.tensor(data)
    data[0] = 5.0
    assert t.tolist() == [1.0, 1.0]
