"""Fifteen things that users of other libraries stumbled over, in the order of the plan; each is a test here.

The numbers in brackets name the threads where people met them.
"""

from __future__ import annotations

import gc
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import ForgottenZeroGradWarning, GraphError, debug, nn, optim
from tinynn.backends import dispatch
from tinynn.data import DataLoader, TensorDataset

PACKAGE = Path(tn.__file__).parent


@pytest.fixture
def fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_warned", set())


def leaf(*numbers: float) -> tn.Tensor:
    return tn.tensor(numbers[0] if len(numbers) == 1 else list(numbers), requires_grad=True)


def test_01_backward_does_not_accumulate_on_intermediates() -> None:
    """[micrograd #53, #54, #102]"""
    x = leaf(3.0)
    y = x * x
    z = y * 2.0
    for _ in range(3):
        x.grad = None
        z.backward(retain_graph=True)
        assert x.grad.item() == 12.0
    with pytest.raises(GraphError):
        _ = y.grad


def test_02_forgotten_zero_grad_warns_once_and_accumulation_can_be_meant(fresh_warnings: None) -> None:
    """[pytorch #47175]"""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = optim.SGD(net.parameters(), lr=0.01)

    def backward() -> None:
        net(tn.ones(4, 2)).mean().backward()

    backward()
    backward()  # twice before a step is accumulation, not forgetfulness
    optimizer.step(keep_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backward()
        optimizer.step()

    def train() -> None:
        for _ in range(3):
            backward()
            optimizer.step()

    with pytest.warns(ForgottenZeroGradWarning, match=r"zero_grad\(\) before backward\(\).*keep_grad=True") as caught:
        train()
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            optimizer.zero_grad()
            backward()
            optimizer.step()


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.BCEWithLogitsLoss()])
def test_03_losses_do_not_broadcast(loss: Any) -> None:
    """[pytorch #16045, #16413, #26551]"""
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
        loss(tn.zeros(5, 1), tn.zeros(5))
    assert (tn.zeros(5, 1) - tn.zeros(5)).shape == (5, 5)  # in arithmetic it stays legal


def test_04_an_edit_in_place_names_the_operation_and_the_line() -> None:
    """[pytorch #96265]"""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = optim.SGD(net.parameters(), lr=0.01)
    loss = net(tn.ones(4, 2)).mean()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(GraphError, match=r"Linear needs its 'weight'.*SGD\.step\(\)"):
        loss.backward()
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    w.assign_([0.0, 0.0])
    with pytest.raises(GraphError, match=r"Mul needs its '[ab]'.*test_lessons\.py:\d+"):
        y.backward()


def test_05_assignment_float_and_array_have_messages_with_a_way_out() -> None:
    """[autograd #559, #58, #375]"""
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=r"tinynn\.where.*scatter_add"):
        x[0] = 3.0
    with pytest.raises(TypeError, match="reduce it first"):
        float(x)
    with pytest.raises(TypeError, match=r"tinynn\.stack"):
        np.array([x, x])


def test_06_a_second_backward_says_where_the_tensor_came_from() -> None:
    """A hidden state carried from one step to the next without detach()."""
    w, hidden = leaf(0.5), tn.tensor(1.0)
    with debug.detect_anomaly():
        hidden = tn.tanh(w * hidden)
        hidden.backward()
        hidden = tn.tanh(w * hidden)
    with pytest.raises(GraphError, match=r"Tanh .*recorded at .*test_lessons\.py:\d+.*retain_graph=True.*detach\(\)"):
        hidden.backward()


def test_07_scalars_are_weak_and_layers_say_what_to_do() -> None:
    """[pytorch #2138, #15436]"""
    x = tn.ones(2, 3, dtype="float32", requires_grad=True)
    y = x * np.sqrt(2) + np.float64(1.0) - 0.5
    assert y.dtype == np.float32
    with pytest.raises(TypeError, match=r"float32.*float64.*\.to\("):
        nn.Linear(3, 1).to("float64")(x)
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 1)).to("float32")
    net(x).mean().backward()
    assert all(p.dtype == p.grad.dtype == np.float32 for p in net.parameters())
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    optimizer.step()
    assert all(p.dtype == np.float32 for p in net.parameters())


def test_08_no_nan_out_of_where_norms_and_roots() -> None:
    """[pytorch #18287, #2421, jax #347, MyGrad #379, autograd #151]"""
    with np.errstate(all="ignore"):
        x = leaf(-1.0, 0.0, 4.0)
        for f in (tn.sqrt, tn.log, lambda t: 1 / t, lambda t: t**0.5):
            slope = tn.grad(tn.where(x > 1, f(x), 0.0).sum(), x, create_graph=True)
            assert np.isfinite(slope.numpy()).all()
            assert np.isfinite(tn.grad(slope.sum(), x).numpy()).all()
        zero = leaf(0.0, 0.0)
        for f in (tn.norm, tn.std, lambda t: tn.sqrt(t).sum() * 0.0):
            assert tn.grad(f(zero), zero).tolist() == [0.0, 0.0]


def test_09_one_documented_table_of_corners() -> None:
    """[jax #37821, pytorch #184572]  Each row is tested in tests/engine/test_corners.py."""
    table = (PACKAGE.parent / "docs" / "corners.md").read_text(encoding="utf-8")
    for name in (
        "maximum",
        "max_pool2d",
        "relu",
        "abs",
        "sqrt",
        "norm",
        "std",
        "clip",
        "where",
        "sign",
        "leaky_relu",
        "elu",
    ):
        assert f"`{name}(" in table or f"`{name}`" in table


def test_10_anomalies_stop_in_the_right_line() -> None:
    """[pytorch #160016]  In the forward pass, and for the backward pass with the line of the forward pass."""
    x = leaf(0.0, 1.0)
    with (
        pytest.raises(debug.AnomalyError, match=r"Log\(\) produced 1 inf.*\(2,\).*test_lessons\.py:\d+"),
        debug.detect_anomaly(),
    ):
        tn.log(x)
    with (
        pytest.raises(debug.AnomalyError, match=r"Sqrt\.grad_x.*\(2,\).*recorded at .*test_lessons\.py:\d+"),
        debug.detect_anomaly(),
    ):
        tn.sqrt(x).sum().backward()


def test_11_create_graph_neither_leaks_nor_is_silently_wrong() -> None:
    """[pytorch #4661, #7343, chainer #4114]"""
    x = leaf(0.3, 0.7)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            (x.tanh() * x).sum().backward(create_graph=True)
            x.grad = None
        assert gc.collect() == 0
    finally:
        gc.enable()
    batch = np.random.default_rng(0).standard_normal((5, 3))
    norm = nn.BatchNorm1d(3).to("float64")
    assert debug.gradcheck(
        lambda t: nn.functional.batch_norm(t, None, None, norm.weight, norm.bias, training=True) ** 3,
        batch,
        order=2,
    )


def test_12_the_traversal_is_iterative_and_in_the_right_order() -> None:
    """[micrograd #64, #90]"""
    a = leaf(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.item() == 4.0
    y = x = leaf(1.0)
    for _ in range(5_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_13_small_operations_stay_cheap() -> None:
    """[chainer #1771, #6263, pytorch #1630, #41383]  A coarse guard; the budget is a benchmark's."""
    import timeit

    x = tn.ones(3, requires_grad=True)
    forward_and_backward = min(timeit.repeat(lambda: tn.tanh(x).backward(np.ones(3)), number=200, repeat=5)) / 200
    assert forward_and_backward < 200e-6


def test_14_random_numbers_are_counters() -> None:
    """[tinygrad #7020, #13364, #16571, pytorch #9069]  What of it holds before there is a compiler."""
    a, b = tn.Generator(7), tn.Generator(7)
    first = tn.rand(5, generator=a).tolist()
    assert tn.rand(5, generator=a).tolist() != first
    assert tn.rand(5, generator=b).tolist() == first
    state = a.state_dict()
    later = tn.randn(3, generator=a).tolist()
    b.load_state_dict(state)
    assert tn.randn(3, generator=b).tolist() == later
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    tn.manual_seed(3)
    x = tn.rand(4)
    nn.Linear(3, 3)
    nn.functional.dropout(tn.ones(10), 0.5)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002  # NumPy's global state is not touched
    tn.manual_seed(3)
    assert tn.rand(4).tolist() == x.tolist()


def test_14_random_masks_do_not_depend_on_threads() -> None:
    from tinynn.ops.neural import dropout

    masks: list[Any] = []
    threads = [
        threading.Thread(target=lambda: masks.append(dropout(tn.ones(100), 0.5, seed=3).tolist())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert masks[0] == masks[1] == masks[2]


def test_15_pictures(tmp_path: Path) -> None:
    """The second issue that Chainer ever had."""
    x = leaf(1.0, 2.0)
    assert debug.draw((x * x).sum(), tmp_path / "graph.dot").count("->") == 3


def test_15_grad_of_a_result_is_explained() -> None:
    with pytest.raises(GraphError, match=r"only leaves keep \.grad.*tinynn\.grad"):
        _ = (leaf(1.0) * 2).grad


def test_15_running_variance_is_unbiased() -> None:
    """[pytorch #19902]"""
    batch = np.random.default_rng(0).standard_normal((6, 3))
    norm = nn.BatchNorm1d(3).to("float64")
    norm(tn.tensor(batch))
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * batch.var(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * batch.mean(axis=0), rtol=1e-12)


def test_15_loaders_shuffle_differently_in_each_epoch_and_equally_in_each_run() -> None:
    data = TensorDataset(tn.arange(20))

    def epochs(seed: int) -> list[list[int]]:
        loader = DataLoader(data, batch_size=20, shuffle=True, seed=seed)
        return [next(iter(loader))[0].tolist() for _ in range(2)]

    first, second = epochs(0)
    assert first != second
    assert epochs(0) == [first, second]
    assert epochs(1)[0] not in (first, second)


def test_15_no_pickle(tmp_path: Path) -> None:
    """[pytorch #52596]"""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps({"w": np.ones(3)}))
    with pytest.raises(Exception, match=r"pickle|safetensors"):
        tn.load(path)
    for source in PACKAGE.rglob("*.py"):
        if source == PACKAGE / "distributed" / "mpi.py":  # messages between the processes of one run, and no files
            continue
        assert "import pickle" not in source.read_text(encoding="utf-8"), source


def test_15_parameters_come_in_the_same_order_in_every_run() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    wanted = ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert [name for name, _ in net.named_parameters()] == wanted
