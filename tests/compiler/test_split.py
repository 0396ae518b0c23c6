"""Large batches that are gone through in parts: the same results as whole, in less memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler import split
from tinynn.compiler.cuts import follows as goes_by_samples
from tinynn.compiler.interpret import Interpreter
from tinynn.compiler.machine import Machine
from tinynn.compiler.numba_machine import NumbaMachine
from tinynn.compiler.plan import make_plan
from tinynn.compiler.record import record
from tinynn.compiler.rows import Loop, Multiply
from tinynn.compiler.views import View

Step = Callable[..., Any]
MACHINES: dict[str, type[Machine]] = {"interpreter": Interpreter, "numba": NumbaMachine}


@pytest.fixture(autouse=True)
def _small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that batches of a thousand samples are large."""
    monkeypatch.setattr(split, "CACHE", 1 << 16)
    monkeypatch.setattr(split, "WORTH", 1 << 17)


def machine_class(name: str, splits: bool) -> type[Machine]:
    return type("Chosen", (MACHINES[name],), {"splits": splits})


def training(model: Any, loss_of: Callable[..., Any]) -> Step:
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def step(*data: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model, *data)
        loss.backward()
        optimizer.step()
        return loss

    return step


def mlp(dtype: str, *sizes: int, activation: Any = nn.Tanh) -> Any:
    tn.manual_seed(1)
    layers: list[Any] = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m), activation()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def run_both(
    build: Callable[[], tuple[Any, Step, list[Any]]], name: str, tolerance: float, expected_parts: bool = True
) -> tuple[Machine, Machine]:
    """Three steps whole and in parts; both machines."""
    outcomes, machines = [], []
    for splits in (False, True):
        model, step, data = build()
        step(*data)
        machine = machine_class(name, splits)(record(step, *data))
        results = [machine.run([x.array for x in data]) for _ in range(3)]
        values = [x.array for r in results for x in (r if isinstance(r, tuple) else (r,))]
        outcomes.append([*values, *(p.array.copy() for p in model.parameters())])
        machines.append(machine)
    whole, parts = machines
    assert all(row.part == (0, 1) for row in whole.plan.rows)
    assert any(row.part[1] > 1 for row in parts.plan.rows) == expected_parts
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    return whole, parts


def tolerance_of(dtype: str) -> float:
    return 1e-10 if dtype == "float64" else 2e-4


def random(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    return tn.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


LOSSES: dict[str, Callable[[], Any]] = {
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "huber": nn.HuberLoss,
    "sum": lambda: nn.MSELoss(reduction="sum"),
    "cross entropy": nn.CrossEntropyLoss,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str, name: str, dtype: str) -> None:
    n, loss_fn = 2003, LOSSES[loss]()
    labels = tn.tensor(np.random.default_rng(3).integers(0, 4, n))

    def build() -> tuple[Any, Step, list[Any]]:
        model = mlp(dtype, 4, 32, 16, 4)
        target = labels if loss == "cross entropy" else random((n, 4), dtype, 1)
        return model, training(model, lambda m, x, y: loss_fn(m(x), y)), [random((n, 4), dtype), target]

    whole, parts = run_both(build, name, tolerance_of(dtype))
    assert parts.layout.nbytes < 0.6 * whole.layout.nbytes


@pytest.mark.parametrize("n", [1024, 1500, 1537, 4097])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.SELU, nn.SiLU, nn.Sigmoid])
def test_activations_and_lengths(activation: Any, n: int) -> None:
    def build() -> tuple[Any, Step, list[Any]]:
        model = mlp("float32", 5, 24, 24, 1, activation=activation)
        step = training(model, lambda m, x, y: ((m(x) - y) ** 2).mean())
        return model, step, [random((n, 5), "float32"), random((n, 1), "float32", 1)]

    run_both(build, "numba", 2e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MACHINES)
def test_forces(name: str, dtype: str) -> None:
    """Second derivatives: sums over the batch of products that themselves come from a walk back."""
    n = 1100

    def loss_of(model: Any, x: Any, e: Any, f: Any) -> Any:
        x = x.detach().requires_grad_()
        energy = model(x)
        forces = -tn.grad(energy.sum(), x, create_graph=True)
        return ((energy - e) ** 2).mean() + ((forces - f) ** 2).mean()

    def build() -> tuple[Any, Step, list[Any]]:
        model = mlp(dtype, 6, 20, 20, 1)
        data = [random((n, 6), dtype), random((n, 1), dtype, 1), random((n, 6), dtype, 2)]
        return model, training(model, loss_of), data

    run_both(build, name, tolerance_of(dtype))


@pytest.mark.parametrize("name", MACHINES)
def test_results_that_are_kept_have_their_full_length(name: str) -> None:
    n = 1203

    def build() -> tuple[Any, Step, list[Any]]:
        model = mlp("float32", 4, 32, 32, 3)

        def step(x: Any) -> Any:
            out = model(x)
            return out, out.sum(), out.max(), out.min(), out.mean(axis=1), (out > 0)

        return model, step, [random((n, 4), "float32")]

    run_both(build, name, 1e-4)


@pytest.mark.parametrize("layer", [lambda: nn.LayerNorm(32), lambda: nn.BatchNorm1d(32), lambda: nn.Dropout(0.3)])
def test_layers_between(layer: Callable[[], Any]) -> None:
    """Norms of samples are cut, those over the batch end a run, masks are drawn whole."""
    n = 3001

    def build() -> tuple[Any, Step, list[Any]]:
        tn.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 32), layer(), nn.Tanh(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2))
        step = training(model.to("float64"), lambda m, x, y: ((m(x) - y) ** 2).mean())
        return model, step, [random((n, 4), "float64"), random((n, 2), "float64", 1)]

    run_both(build, "numba", 1e-9)


def test_largest_values_over_the_batch_and_nan() -> None:
    def step(x: Any) -> Any:
        y = tn.sqrt(tn.exp(x) @ tn.ones((8, 8), dtype="float32")) @ tn.ones((8, 8), dtype="float32")
        z = tn.tanh(y @ tn.ones((8, 8), dtype="float32"))
        return z.max(axis=0), z.min(), tn.square(z).mean(axis=0)

    x = np.random.default_rng(0).standard_normal((3001, 8)).astype("float32")
    for position in (None, (0, 0), (1700, 2), (3000, 7)):
        if position:
            x[position] = np.nan
        got = []
        for splits in (False, True):
            machine = machine_class("numba", splits)(record(step, tn.tensor(x)))
            got.append([t.array for t in machine.run([x])])
        assert any(row.part[1] > 1 for row in machine.plan.rows)
        for a, b in zip(*got, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4)


def test_samples_of_several_rows() -> None:
    """(batch, time, features) is (batch * time, features) for products."""

    def build() -> tuple[Any, Step, list[Any]]:
        tn.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)).to("float64")

        def loss_of(m: Any, x: Any, y: Any) -> Any:
            return ((tn.tanh(m(x)).mean(axis=1) - y) ** 2).sum()

        data = [random((1001, 3, 4), "float64"), random((1001, 2), "float64", 1)]
        return model, training(model, loss_of), data

    run_both(build, "numba", 1e-9)


def test_rows_that_move_keep_their_order() -> None:
    """A state that is read by samples and written in between, and a number that depends on all samples."""
    running = tn.tensor(np.zeros(16))
    w = tn.tensor(np.random.default_rng(0).standard_normal((16, 16)))

    def build() -> tuple[Any, Step, list[Any]]:
        running.assign_(tn.zeros(16))
        model = mlp("float64", 16, 16)

        def step(x: Any) -> Any:
            h = tn.tanh(x @ w + running)
            running.assign_(0.9 * running + 0.1 * h.mean(axis=0))
            scaled = tn.tanh(h @ w) / tn.sqrt((h * h).sum())
            return (tn.tanh(scaled @ w) + running).sum(axis=0), running * 1.0

        return model, step, [random((2000, 16), "float64")]

    run_both(build, "numba", 1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_number_of_labels_is_counted_before(dtype: str) -> None:
    """The walk back divides by it; counted in parts, it would cut the run in two."""
    n, loss_fn = 3001, nn.CrossEntropyLoss()
    model = mlp(dtype, 4, 32, 32, 4)
    labels = np.random.default_rng(3).integers(0, 4, n)
    labels[::7] = -100
    step = training(model, lambda m, x, y: loss_fn(m(x), y))
    data = [random((n, 4), dtype), tn.tensor(labels)]
    step(*data)
    rows = make_plan(record(step, *data), True).rows
    assert len({row.part[1] for row in rows} - {1}) == 1
    assert all(row.part[1] > 1 for row in rows if isinstance(row, Multiply))


@pytest.mark.parametrize("n", [32, 500, 512])
def test_small_batches_are_left_alone(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    model = mlp("float32", 4, 32, 16, 4)
    step = training(model, lambda m, x, y: ((m(x) - y) ** 2).mean())
    data = [random((n, 4), "float32"), random((n, 4), "float32", 1)]
    step(*data)
    whole, parts = (make_plan(record(step, *data), splits) for splits in (False, True))
    assert len(whole.rows) == len(parts.rows)


def test_large_products_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    model = mlp("float32", 256, 512, 256)
    step = training(model, lambda m, x, y: ((m(x) - y) ** 2).mean())
    data = [random((2048, 256), "float32"), random((2048, 256), "float32", 1)]
    step(*data)
    assert all(row.part == (0, 1) for row in make_plan(record(step, *data), True).rows)


def test_ten_thousand_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the constants as they are: less than a megabyte instead of five, a table of hundreds of rows."""
    monkeypatch.undo()

    def build() -> tuple[Any, Step, list[Any]]:
        model = mlp("float32", 4, 32, 16, 4)
        step = training(model, lambda m, x, y: ((m(x) - y) ** 2).mean())
        return model, step, [random((10_000, 4), "float32"), random((10_000, 4), "float32", 1)]

    whole, parts = run_both(build, "numba", 2e-4)
    assert parts.layout.nbytes < split.CACHE < whole.layout.nbytes
    assert len(parts.plan.rows) < 300
    table = str(parts.plan).splitlines()
    assert len(table) < 40
    assert any(" x " in line for line in table)
    assert {type(row) for row in parts.plan.rows} == {Loop, Multiply}


def test_no_more_rows_than_a_table_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "MOST_ROWS", 60)
    model = mlp("float32", 4, 32, 16, 4)
    step = training(model, lambda m, x, y: ((m(x) - y) ** 2).mean())
    data = [random((9000, 4), "float32"), random((9000, 4), "float32", 1)]
    step(*data)
    rows = make_plan(record(step, *data), True).rows
    assert 30 < sum(row.part[1] > 1 for row in rows) <= 60


@pytest.mark.parametrize(
    ("view", "axis", "follows"),
    [
        (View.whole(0, (6, 4)), 0, True),
        (View.whole(0, (4, 6)).transposed((1, 0)), 0, False),
        (View.whole(0, (6, 4)).transposed((1, 0)), 1, True),
        (View(0, (6, 2), (4, 1), 2), 0, True),  # the last two columns
        (View(0, (6, 2), (4, 1), 3), 0, False),  # reaches into the next sample
        (View(0, (12, 2), (2, 1)), 0, True),  # two rows a sample
        (View(0, (24,), (1,)), 0, True),
        (View(0, (6, 4), (4, 0)), 0, True),
        (View(0, (6, 4), (0, 1)), 0, False),
        (View(0, (6,), (4,), 24), 0, False),
    ],
)
def test_views_that_go_by_samples(view: View, axis: int, follows: bool) -> None:
    assert goes_by_samples(view, axis, 6, 24) == follows
