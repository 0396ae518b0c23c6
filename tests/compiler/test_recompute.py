"""``tinynn.compile(recompute=True)``: the same numbers to the last bit, in less memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler.layout import lay_out
from tinynn.compiler.plan import Plan, make_plan
from tinynn.compiler.record import record
from tinynn.compiler.table import as_table

Build = Callable[[], tuple[Any, list[Any]]]


def mlp(layers: int, width: int, activation: Any = nn.Tanh) -> Any:
    parts: list[Any] = []
    for _ in range(layers):
        parts += [nn.Linear(width, width), activation()]
    return nn.Sequential(*parts[:-1])


class Block(nn.Module):
    """x + a small network of x: what goes over a cut between blocks is one array, inside of one it is two."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide, self.back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        return x + self.back(nn.functional.gelu(self.wide(self.norm(x))))


class Tied(nn.Module):
    """One layer, many times."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        for _ in range(9):
            x = self.layer(x).tanh()
        return x


def convolutions() -> Any:
    parts: list[Any] = [nn.Conv2d(1, 4, 3, padding=1)]
    for _ in range(5):
        parts += [nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 4, 3, padding=1)]
    return nn.Sequential(*parts, nn.MaxPool2d(2), nn.Flatten())


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "relu": (lambda: mlp(12, 16, nn.ReLU), (256, 16)),
    "gelu": (lambda: mlp(12, 16, nn.GELU), (256, 16)),
    "dropout": (lambda: nn.Sequential(*[p for _ in range(9) for p in (nn.Linear(16, 16), nn.Dropout(0.3))]), (256, 16)),
    "batch norm": (
        lambda: nn.Sequential(*[p for _ in range(9) for p in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.SiLU())]),
        (256, 16),
    ),
    "residual": (lambda: nn.Sequential(*[Block(8) for _ in range(8)]), (256, 8)),
    "tied": (lambda: Tied(16), (256, 16)),
    "convolutions": (convolutions, (32, 1, 8, 8)),
}


def training(model: Any, optimizer: Any, loss_of: Callable[..., Any] | None = None) -> Callable[..., Any]:
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean() if loss_of is None else loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def data(model: Any, shape: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(3)
    x = tn.tensor(rng.normal(size=shape).astype(dtype))
    with tn.no_grad():
        out = model.eval()(x)
    model.train()
    return [x, tn.tensor(rng.normal(size=out.shape).astype(dtype))]


def trained(name: str, dtype: str, machine: str, recompute: bool) -> tuple[list[Any], Any]:
    """All that five steps leave behind; and the compiled function."""
    make, shape = MODELS[name]
    tn.manual_seed(5)
    model = make().to(dtype)
    step = tn.compile(training(model, optim.Adam(model.parameters(), lr=1e-2)), machine=machine, recompute=recompute)
    x, y = data(model, shape, dtype)
    losses = [step(x, y).numpy() for _ in range(5)]
    return losses + [np.array(t.array) for t in model.state_dict().values()], step


@pytest.mark.parametrize("machine", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_same_bits_in_less_memory(name: str, dtype: str, machine: str) -> None:
    wanted, whole = trained(name, dtype, machine, False)
    found, less = trained(name, dtype, machine, True)
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert less.memory.arena < 0.9 * whole.memory.arena
    assert any(row.again for row in less.plan.rows)
    assert not any(row.again for row in whole.plan.rows)


def activations_held(plan: Plan, nbytes: int) -> float:
    return lay_out(plan).nbytes / nbytes


def test_memory_grows_with_the_square_root_of_the_depth() -> None:
    held = {}
    for layers in (25, 100):
        model = mlp(layers, 16).to("float64")
        x, y = data(model, (512, 16), "float64")
        step = training(model, optim.SGD(model.parameters(), lr=0.1))
        program = record(step, x, y)
        held[layers] = activations_held(make_plan(program, recompute=True), x.numpy().nbytes)
        assert activations_held(make_plan(program), x.numpy().nbytes) > layers - 2
        assert held[layers] < 2 * math.sqrt(layers) + 8
        again = [row for row in make_plan(program, recompute=True).rows if row.again]
        assert sum(row.flops for row in again) <= sum(row.flops for row in make_plan(program).rows) / 3
    assert held[100] < 2.5 * held[25]


def test_cuts_lie_between_blocks() -> None:
    """All that goes over a cut is one array, though half of all rows lie inside of a block, where there are two."""
    model = nn.Sequential(*[Block(8) for _ in range(16)]).to("float64")
    x, y = data(model, (256, 8), "float64")
    program = record(training(model, optim.SGD(model.parameters(), lr=0.1)), x, y)
    assert lay_out(make_plan(program, recompute=True)).nbytes < 0.45 * lay_out(make_plan(program)).nbytes


def test_nothing_to_gain_changes_nothing() -> None:
    """Inference keeps no activations; two layers have none between cuts."""
    model = mlp(12, 16).to("float64")
    x, y = data(model, (256, 16), "float64")
    inference = record(lambda x: model(x), x)
    assert as_table(make_plan(inference, recompute=True)) == as_table(make_plan(inference))
    shallow = mlp(2, 16).to("float64")
    program = record(training(shallow, optim.SGD(shallow.parameters(), lr=0.1)), x, y)
    assert as_table(make_plan(program, recompute=True)) == as_table(make_plan(program))
    nothing = record(lambda x: x, x)
    assert as_table(make_plan(nothing, recompute=True)) == as_table(make_plan(nothing))


def test_a_parameter_that_changes_on_the_way_is_not_read_again() -> None:
    """The step writes over the shift as soon as nobody reads it; what was computed from it is kept then."""
    tn.manual_seed(0)
    layers = [nn.Linear(8, 8) for _ in range(9)]
    outcomes = []
    for recompute in (False, True):
        tn.manual_seed(0)
        model = nn.Sequential(*[nn.Linear(8, 8).to("float64") for _ in layers])
        shift = tn.zeros((8,), dtype="float64")

        def step(x: Any, model: Any = model, shift: Any = shift) -> Any:
            for p in model.parameters():
                p.grad = None
            h = x
            for layer in model:
                h = (layer(h) + shift).tanh()
            shift.assign_(shift + 1.0)
            (h * h).sum().backward()
            with tn.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
            return h

        compiled = tn.compile(step, recompute=recompute)
        x = tn.tensor(np.linspace(-1, 1, 16 * 8).reshape(16, 8))
        results = [compiled(x).numpy() for _ in range(4)]
        outcomes.append([*results, shift.numpy().copy(), *(p.numpy().copy() for p in model.parameters())])
    for a, b in itertools.zip_longest(*outcomes):
        np.testing.assert_array_equal(a, b)


def test_forces_and_returned_activations() -> None:
    """Gradients inside the step; and values that the step returns are not computed twice."""
    outcomes = []
    for recompute in (False, True):
        tn.manual_seed(2)
        model = mlp(8, 12).to("float64")
        optimizer = optim.Adam(model.parameters(), lr=1e-3)

        @tn.compile(recompute=recompute)
        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            positions = x.detach().requires_grad_()
            middle = model[:6](positions)
            energies = model[6:](middle).sum(axis=1)
            forces = -tn.grad(energies.sum(), positions, create_graph=True)
            loss = (energies**2).mean() + ((forces - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss, middle, forces

        rng = np.random.default_rng(0)
        x, y = (tn.tensor(rng.normal(size=(24, 12))) for _ in range(2))
        outcomes.append([r.numpy() for _ in range(4) for r in step(x, y)])
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from(["linear", "skip", "norm", "gelu", "drop", "join"]), min_size=3, max_size=14),
    st.integers(0, 3),
)
def test_random_networks(kinds: list[str], seed: int) -> None:
    """Skips over any distance, arrays that are put together from parts, masks: the bits stay the same."""
    outcomes = []
    for recompute in (False, True):
        tn.manual_seed(seed)
        layers = {k: nn.Linear(8, 8).to("float64") for k, kind in enumerate(kinds) if kind == "linear"}
        last = nn.Linear(8, 8).to("float64")
        parameters = [p for layer in (*layers.values(), last) for p in layer.parameters()]
        optimizer = optim.SGD(parameters, lr=0.05, momentum=0.9)

        def loss_of(_: Any, x: Any, y: Any, layers: Any = layers, last: Any = last) -> Any:
            seen = [x]
            for k, kind in enumerate(kinds):
                h = seen[-1]
                if kind == "linear":
                    h = layers[k](h)
                elif kind == "skip":
                    h = h + seen[(k * 7 + seed) % len(seen)]
                elif kind == "norm":
                    h = nn.functional.layer_norm(h, (8,))
                elif kind == "gelu":
                    h = nn.functional.gelu(h)
                elif kind == "drop":
                    h = nn.functional.dropout(h, 0.2)
                else:
                    h = tn.concatenate([h[:, :3], seen[(k * 5 + seed) % len(seen)][:, 3:]], axis=1)
                seen.append(h)
            return ((last(seen[-1]) - y) ** 2).mean()

        step = tn.compile(training(None, optimizer, loss_of), machine="numpy", recompute=recompute)
        rng = np.random.default_rng(seed)
        x, y = (tn.tensor(rng.normal(size=(16, 8))) for _ in range(2))
        outcomes.append([step(x, y).numpy() for _ in range(4)] + [p.numpy().copy() for p in parameters])
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_table_says_what_runs_again() -> None:
    model = mlp(12, 16).to("float64")
    x, y = data(model, (256, 16), "float64")
    step = tn.compile(training(model, optim.SGD(model.parameters(), lr=0.1)), recompute=True)
    for _ in range(3):
        step(x, y)
    assert "product, again" in repr(step.plan)


def test_refused() -> None:
    with pytest.raises(TypeError, match="recompute must be True or False, not 2"):
        tn.compile(lambda x: x, recompute=2)
