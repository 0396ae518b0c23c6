"""Recording: N runs of a program are N eager steps, and what no program can repeat is refused."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.backends import numba_backend
from tinynn.compiler.differences import differences
from tinynn.compiler.errors import TraceError
from tinynn.compiler.program import Program
from tinynn.compiler.record import record
from tinynn.nn import functional as F

rng = np.random.default_rng(0)
BATCHES = [(rng.standard_normal((8, 3)), rng.standard_normal((8, 1))) for _ in range(6)]
LABELLED = [(x, rng.integers(0, 4, 8)) for x, _ in BATCHES]
PLANES = [(rng.standard_normal((4, 1, 8, 8)), rng.integers(0, 3, 4)) for _ in range(6)]
Make = Callable[[], tuple[Any, list[Any], Any]]


def net(*middle: Any, out: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), *middle, nn.Linear(6, out))


def trained(
    model: nn.Module, loss_of: Any, make: Callable[[Any], Any], between: Any = None
) -> tuple[Any, list[Any], Any]:
    """(step, optimizers, model): an ordinary training step."""
    optimizer = make(model.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        if between is not None:
            between(model)
        optimizer.step()
        return loss

    return step, [optimizer], model


def squares(model: nn.Module, x: Any, y: Any) -> Any:
    return F.mse_loss(model(x), y)


def classes(model: nn.Module, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y)


def with_forces(model: nn.Module, x: Any, y: Any) -> Any:
    """Energies and forces: the loss contains a gradient, so the update contains second derivatives."""
    x = x.detach().requires_grad_()
    energy = model(x)
    forces = -tn.grad(energy.sum(), x, create_graph=True)
    return tn.mean((energy - y) ** 2) + 0.1 * tn.mean(forces**2)


def adam(parameters: Any) -> Any:
    return optim.Adam(parameters, lr=0.01)


def sgd(parameters: Any) -> Any:
    return optim.SGD(parameters, lr=0.05)


def two_micro_batches() -> tuple[Any, list[Any], Any]:
    model = net(nn.Tanh())
    optimizer = adam(model.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        for part in (slice(0, 4), slice(4, 8)):
            (F.mse_loss(model(x[part]), y[part]) / 2).backward()
        optimizer.step()
        return model(x)

    return step, [optimizer], model


def two_optimizers() -> tuple[Any, list[Any], Any]:
    model = nn.ModuleList([net(nn.Tanh()), net(nn.ReLU())])
    optimizers = [optim.Adam(model[0].parameters(), lr=0.01), optim.SGD(model[1].parameters(), lr=0.1, momentum=0.5)]

    def step(x: Any, y: Any) -> Any:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = F.mse_loss(model[0](x) + model[1](x), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return {"loss": loss, "parts": (loss * 2, [3, "three"]), "none": None}

    return step, optimizers, model


def one_optimizer_twice() -> tuple[Any, list[Any], Any]:
    model = net(nn.Tanh())
    optimizer = adam(model.parameters())

    def step(x: Any, y: Any) -> Any:
        for _ in range(2):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        return loss

    return step, [optimizer], model


def groups() -> tuple[Any, list[Any], Any]:
    model = net(nn.GELU())
    return trained(model, squares, lambda _: optim.AdamW([
        {"params": model[0].parameters(), "lr": 0.1, "weight_decay": 0.1},
        {"params": model[2].parameters(), "weight_decay": 0.0, "betas": (0.5, 0.9)},
    ], lr=0.01))  # fmt: skip


def several(sequence: Any) -> Any:
    return lambda: trained(net(*sequence()), squares, adam)


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.Flatten(),
        nn.Linear(12, 3),
    )  # fmt: skip


def averaging_norm() -> nn.Module:
    return net(nn.BatchNorm1d(6, momentum=None), nn.ReLU())


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3, padding_idx=0)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Any, labels: Any) -> Any:
        return self.head(tn.concatenate([self.table(labels), tn.one_hot(labels, 4)], 1)) + x[:, :1]


def noisy(model: nn.Module, x: Any, y: Any) -> Any:
    pick = tn.randint(0, 3, (8,))
    x = x + 0.1 * tn.randn(8, 3) * tn.rand(8, 1) + tn.one_hot(pick, 3)
    return F.mse_loss(model(x[tn.randperm(8)]), y)


STEPS: dict[str, tuple[Make, Any]] = {
    "tanh, sgd": (lambda: trained(net(nn.Tanh()), squares, sgd), BATCHES),
    "selu, momentum": (
        lambda: trained(net(nn.SELU()), squares, lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1)),
        BATCHES,
    ),
    "nesterov": (
        lambda: trained(net(nn.Tanh()), squares, lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
        BATCHES,
    ),
    "rmsprop, weight decay": (
        lambda: trained(net(nn.GELU()), squares, lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, weight_decay=0.1)),
        BATCHES,
    ),
    "dropout": (several(lambda: [nn.ReLU(), nn.Dropout(0.4)]), BATCHES),
    "batch norm": (several(lambda: [nn.BatchNorm1d(6), nn.ReLU()]), BATCHES),
    "batch norm, mean of all batches": (lambda: trained(averaging_norm(), squares, adam), BATCHES),
    "layer norm": (several(lambda: [nn.LayerNorm(6), nn.Tanh()]), BATCHES),
    "clipped norm": (
        lambda: trained(net(nn.Tanh()), squares, sgd, lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.1)),
        BATCHES,
    ),
    "clipped values": (
        lambda: trained(net(nn.Tanh()), squares, sgd, lambda m: nn.utils.clip_grad_value_(m.parameters(), 0.01)),
        BATCHES,
    ),
    "two micro-batches": (two_micro_batches, BATCHES),
    "two optimizers": (two_optimizers, BATCHES),
    "one optimizer twice": (one_optimizer_twice, BATCHES),
    "groups": (groups, BATCHES),
    "energies and forces": (lambda: trained(net(nn.Tanh()), with_forces, adam), BATCHES),
    "energies and forces, sgd": (lambda: trained(net(nn.Tanh()), with_forces, sgd), BATCHES),
    "cross entropy": (lambda: trained(net(nn.ReLU(), out=4), classes, adam), LABELLED),
    "embedding and one-hot": (
        lambda: trained(Embedded(), lambda m, x, y: F.cross_entropy(m(x, y), y), adam), LABELLED
    ),
    "conv net": (lambda: trained(conv_net(), classes, adam), PLANES),
    "noise": (lambda: trained(net(nn.Tanh()), noisy, adam), BATCHES),
}  # fmt: skip


def flat(result: Any) -> list[Any]:
    if isinstance(result, dict):
        return [x for value in result.values() for x in flat(value)]
    if isinstance(result, (list, tuple)):
        return [x for value in result for x in flat(value)]
    return [np.asarray(result.detach().numpy()) if isinstance(result, tn.Tensor) else result]


def agree(got: Any, wanted: Any, exact: bool = False, tolerance: float = 1e-12) -> None:
    for a, b in zip(flat(got), flat(wanted), strict=True):
        if exact or not isinstance(a, np.ndarray):
            assert np.array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=1e-13)


def run_both(make: Make, batches: Any, warm: int = 1, between: Any = None) -> Program:
    """Train eagerly; then from the same beginning by the program; and compare every number."""
    histories = []
    program = None
    for recorded in (False, True):
        tn.manual_seed(1)
        step, optimizers, model = make()
        results = []
        for i, batch in enumerate(batches):
            tensors = [tn.tensor(a) for a in batch]
            if between is not None:
                between(i, optimizers)
            if not recorded or i < warm:
                results.append(step(*tensors))
            elif i == warm:
                program = record(step, *batch)  # the recorded run is a real one
                results.append(None)
            else:
                assert program is not None
                assert program.advance()
                results.append(program.run(*tensors))
        state = {k: v.numpy() for k, v in model.state_dict().items()}
        steps = [o.state_dict()["state"] for o in optimizers]
        histories.append((results, state, steps, tn.random.default_generator.offset))
    (wanted, *ends), (got, *other_ends) = histories
    for a, b in zip(got, wanted, strict=True):
        if a is not None:
            agree(a, b)
    agree(other_ends[:2], ends[:2], tolerance=1e-10)
    assert other_ends[2] == ends[2]
    assert program is not None
    for instruction in program.instructions:  # the types of everything
        assert {*instruction.inputs, *instruction.outputs} <= program.types.keys()
    return program


@pytest.mark.parametrize("warm", [0, 1])
@pytest.mark.parametrize("name", STEPS)
def test_runs_are_eager_steps(name: str, warm: int) -> None:
    make, batches = STEPS[name]
    program = run_both(make, batches, warm)
    assert program.assignments


def test_classification_replays_with_new_labels() -> None:
    weight = tn.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    x, labels = tn.tensor(rng.standard_normal((5, 4))), tn.tensor([0, 1, 2, 0, 1])

    def slope(x: Any, labels: Any) -> Any:
        return tn.grad(nn.functional.cross_entropy(tn.linear(x, weight), labels), weight)

    program = record(slope, x, labels)
    x, labels = tn.tensor(rng.standard_normal((5, 4))), tn.tensor([2, 2, 0, 1, 1])
    np.testing.assert_allclose(program.run(x, labels).numpy(), slope(x, labels).numpy(), rtol=1e-12)


def test_pooling_replays_with_new_places() -> None:
    kernel = tn.tensor(rng.standard_normal((2, 1, 3, 3)), requires_grad=True)

    def slope(x: Any) -> Any:
        return tn.grad(tn.relu(nn.functional.max_pool2d(nn.functional.conv2d(x, kernel), 2)).sum(), kernel)

    program = record(slope, tn.tensor(rng.standard_normal((2, 1, 8, 8))))
    x = tn.tensor(rng.standard_normal((2, 1, 8, 8)))
    np.testing.assert_allclose(program.run(x).numpy(), slope(x).numpy(), rtol=1e-12)


def test_indices_and_conditions_are_data() -> None:
    def f(x: Any, index: Any) -> Any:
        x = x.detach().requires_grad_()
        y = tn.where(x > 0, x * x, tn.exp(x))[index]
        return tn.grad((tn.maximum(y, 0.5) * tn.std(y)).sum(), x)

    program = record(f, tn.tensor([1.0, -1.0, 2.0]), tn.tensor([0, 1, 1]))
    x, index = tn.tensor([-0.3, 0.7, -2.0]), tn.tensor([2, 1, 2])
    np.testing.assert_allclose(program.run(x, index).numpy(), f(x, index).numpy(), rtol=1e-13)


def test_recording_leaves_no_graph_behind() -> None:
    w = tn.tensor([1.0, 2.0], requires_grad=True)
    record(lambda x: (w * x).sum().backward(), tn.tensor([3.0, 4.0]))
    assert w.grad is not None
    assert w.grad.node is None


def test_gradients_of_every_kind_pass_the_door() -> None:
    """No formula computes behind the recorder's back: each elementwise gradient replays on new data."""
    from tests.ops.test_elementwise import BINARY, UNARY

    for case in UNARY + BINARY:
        draw = np.random.default_rng(0)
        old, new = ([np.asarray(d(draw, (3, 2))) for d in case.domains] for _ in range(2))

        def f(*xs: Any, case: Any = case) -> Any:
            leaves = [x.detach().requires_grad_() for x in xs]
            return tn.grad(case.f(*leaves).sum(), leaves)

        program = record(f, *map(tn.Tensor, old))
        for got, wanted in zip(program.run(*map(tn.Tensor, new)), f(*map(tn.Tensor, new)), strict=True):
            np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-12, err_msg=case.name)


# ------------------------------------------------------------------------------ settings, gradients, arguments


def test_learning_rates_are_read_at_each_run() -> None:
    def lower(i: int, optimizers: list[Any]) -> None:
        optimizers[0].param_groups[0]["lr"] = 0.1 / (i + 1)

    run_both(STEPS["groups"][0], BATCHES, between=lower)
    run_both(STEPS["tanh, sgd"][0], BATCHES, between=lower)


def test_gradients_that_are_added_over_calls() -> None:
    for x in (np.ones(2), np.array([3.0, -1.0])):
        w = tn.tensor([1.0, 2.0], requires_grad=True)

        def call(x: Any, w: Any = w) -> None:
            (w * w * x).sum().backward()

        first = record(call, x)
        assert first.grads_absent == [w]
        assert not first.grads_in
        assert not first.fits_gradients()
        with pytest.raises(ValueError, match="gradients"):
            first.run(x)
        second = record(call, x)
        assert list(second.grads_in) == [w]
        assert not second.grads_absent
        second.run(x)
        second.run(x)
        np.testing.assert_allclose(w.grad.numpy(), 4 * 2 * np.array([1.0, 2.0]) * x)
        w.grad = None
        first.run(x)
        np.testing.assert_allclose(w.grad.numpy(), 2 * np.array([1.0, 2.0]) * x)


def test_gradients_that_a_step_has_used_are_forgotten() -> None:
    step, (optimizer,), model = STEPS["tanh, sgd"][0]()
    program = record(step, *BATCHES[0])
    assert [register for _, register in program.grads_out] == [None] * 4
    assert not program.grads_in
    assert not program.grads_absent
    assert optimizer.param_groups[0]["params"][0].grad is not None  # the recorded run was an ordinary one
    program.run(*BATCHES[1])
    assert all(p.grad is None for p in model.parameters())


def test_gradients_that_nobody_forgets_add_up() -> None:
    """Without zero_grad inside, what a step has used is added to at the next call, as it is eagerly."""
    w = tn.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: Any) -> None:
        (w * x).sum().backward()
        optimizer.step(keep_grad=True)

    step(tn.ones(2))
    program = record(step, np.ones(2))
    assert [register is not None for _, register in program.grads_out] == [True]
    assert program.advance()
    program.run(np.ones(2))
    np.testing.assert_allclose(w.grad.numpy(), [3.0, 3.0])
    np.testing.assert_allclose(w.numpy(), np.array([1.0, 2.0]) - 0.1 * (1 + 2 + 3))


def test_two_programs_share_an_optimizer() -> None:
    """The last batch of an epoch is smaller: it has a program of its own."""
    histories = []
    for recorded in (False, True):
        tn.manual_seed(3)
        step, (optimizer,), model = STEPS["layer norm"][0]()
        programs: dict[int, Program] = {}
        for x, y in BATCHES:
            for n in (8, 3):
                batch = tn.tensor(x[:n]), tn.tensor(y[:n])
                if not recorded:
                    step(*batch)
                elif n not in programs:
                    programs[n] = record(step, *batch)
                else:
                    assert programs[n].advance()
                    programs[n].run(*batch)
        histories.append({**model.state_dict(), "steps": tn.tensor(optimizer.state_dict()["state"][0]["step"])})
    agree(histories[1], histories[0], tolerance=1e-10)


def test_nested_and_fixed_arguments() -> None:
    def f(batch: Any, scale: float, *, more: Any, name: str) -> Any:
        assert isinstance(batch["x"], tn.Tensor)
        assert name == "mean"
        return batch["x"] * scale + more[0] - more[1][0]

    program = record(f, {"x": np.ones(2)}, 2.0, more=(tn.ones(2), [tn.zeros(2)]), name="mean")
    assert [r is None for r in program.arguments] == [False, True, False, False, True]
    x = np.array([1.0, 5.0])
    got = program.run({"x": x}, 2.0, more=(x, [tn.tensor(x)]), name="mean")
    assert np.array_equal(got.numpy(), 2 * x)
    for wrong in ({"x": x[:1]}, {"x": x.astype("float32")}):
        with pytest.raises(ValueError, match="argument 0 was float64 of shape"):
            program.run(wrong, 2.0, more=(x, [x]), name="mean")
    with pytest.raises(ValueError, match="argument 1 was"):
        program.run({"x": x}, 3.0, more=(x, [x]), name="mean")
    with pytest.raises(TypeError, match="5 arguments"):
        program.run({"x": x}, 2.0, more=(x, []), name="mean")
    with pytest.raises(TypeError, match="must be a tensor"):
        program.run({"x": 3.0}, 2.0, more=(x, [x]), name="mean")


def test_one_array_given_twice() -> None:
    w = tn.tensor([2.0, 3.0], requires_grad=True)
    x = tn.tensor([1.0, 1.0])
    program = record(lambda a, b, c: a - b + w * c, x, x, w.detach())
    a, b = np.array([5.0, 6.0]), np.array([1.0, 0.0])
    assert np.array_equal(program.run(a, b, b).numpy(), a - b + w.numpy() * b)


def test_bools_without_axes_are_told_apart() -> None:
    def f(x: Any) -> Any:
        return tn.where((x > 0).all(), x, -x) + tn.where((x > 5).all(), 1.0, tn.where((x < 9).any(), 2.0, 3.0))

    program = record(f, np.ones(2))
    for x in ([1.0, 1.0], [-1.0, 1.0], [6.0, 7.0], [10.0, 10.0]):
        assert np.array_equal(program.run(np.array(x)).numpy(), f(tn.tensor(x)).numpy())


def test_an_index_without_axes_is_data_also_on_the_way_back() -> None:
    def f(x: Any, i: Any) -> Any:
        x = x.detach().requires_grad_()
        return tn.grad(x[i] * 2.0, x)

    program = record(f, np.zeros(3), np.array(1))
    assert program.run(np.zeros(3), np.array(2)).tolist() == [0.0, 0.0, 2.0]


def test_values_assigned_in_another_dtype_are_cast() -> None:
    buffer = tn.tensor([1.0, 2.0], dtype="float32")

    def f(x: Any) -> Any:
        buffer.assign_(x)
        return buffer * 1.0

    program = record(f, np.array([0.1, 0.2]))
    got = program.run(np.array([0.3, 0.7]))
    assert got.dtype == np.float32
    assert np.array_equal(got.numpy(), np.array([0.3, 0.7], "float32"))
    assert np.array_equal(buffer.numpy(), got.numpy())


def test_copies_are_copies_at_each_run() -> None:
    def f(x: Any) -> Any:
        a = tn.tensor(x, requires_grad=True)
        b = x.clone()
        return tn.grad((a * b).sum(), a) + tn.tensor(b, dtype="float32").to("float64")

    program = record(f, np.ones(2))
    assert program.run(np.array([2.0, 3.0])).tolist() == [4.0, 6.0]


def test_own_generators_begin_anew() -> None:
    def f(x: Any) -> Any:
        return x * tn.rand(3, generator=tn.Generator(7)) + tn.rand(3)

    program = record(f, np.zeros(3))
    before = tn.random.default_generator.state_dict()
    got = program.run(np.ones(3))
    tn.random.default_generator.load_state_dict(before)
    assert np.array_equal(got.numpy(), f(tn.ones(3)).numpy())


def test_dropout_masks_are_those_of_eager_runs() -> None:
    layer = nn.Dropout(0.5, generator=tn.Generator(3))
    program = record(layer, np.ones(40))
    layer.generator = tn.Generator(3)
    layer(tn.ones(40))
    wanted = [layer(tn.ones(40)).numpy() for _ in range(3)]
    assert all(np.array_equal(program.run(np.ones(40)).numpy(), mask) for mask in wanted)


def test_gradients_of_large_ops_are_one_instruction() -> None:
    step, _, _ = STEPS["conv net"][0]()
    names = [type(i.op).__name__ for i in record(step, *PLANES[0]).instructions]
    assert names.count("GradientOf") == 5  # cross entropy, two poolings, batch norm, convolution
    assert not {"Windows", "Unwindows"} & set(names)
    assert len(names) < 250


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (16, 3, 40, 40)])
def test_large_gradients_are_the_eager_ones(shape: tuple[int, ...]) -> None:
    """Also above the size from which on kernels are used."""
    layer = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.AvgPool2d(2))
    x = tn.randn(*shape)

    def f(x: Any) -> Any:
        x = x.detach().requires_grad_()
        return tn.grad(tn.square(layer(x)).sum(), [x, *layer.parameters()])

    program = record(f, x)
    agree(program.run(x * 2.0), f(x * 2.0), tolerance=1e-9)


# -------------------------------------------------------------------------------------------------- refusals

W = tn.tensor([1.0, 2.0], requires_grad=True)
LAYER = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
ADAM = optim.Adam(LAYER.parameters(), lr=0.1)
OUTSIDE = tn.tensor([3.0])
BUFFER = tn.zeros(2)


def setting(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda x: ADAM.param_groups[0].__setitem__(name, value)


def overwritten_view(x: Any) -> Any:
    view = W.reshape(2, 1)
    W.assign_(x)
    return view


REFUSED: dict[str, Callable[[Any], Any]] = {
    ".item()": lambda x: x.sum().item(),
    "float()": lambda x: float(x.sum()),
    "int()": lambda x: int((x * 2).sum()),
    "bool()": lambda x: x if x.sum() > 0 else -x,
    ".numpy()": lambda x: x.numpy(),
    ".tolist()": lambda x: x.tolist(),
    ".numpy() of x": lambda x: np.asarray(x),
    "printing": lambda x: repr(x),
    "printing (repr, str, format)": lambda x: f"{x}",
    ".item() of a": lambda x: f"{x.sum():.3f}",
    "printing (": lambda x: str(W),
    "operator `in`": lambda x: 3.0 in x,
    "deepcopy": lambda x: __import__("copy").deepcopy(x),
    ".item() of a float64 tensor of shape (1,)": lambda x: OUTSIDE.item(),
    "whose number depends on values": lambda x: x[x > 0],
    "assign_() to an argument": lambda x: x.assign_(W),
    "that was computed": lambda x: (x * 2).assign_(x),
    "was overwritten since": overwritten_view,
    "manual_seed()": lambda x: tn.manual_seed(3),
    "drawing a seed": lambda x: tn.random.default_generator.next_seed(),
    "train() or eval()": lambda x: LAYER.eval(),
    "dtype or device": lambda x: LAYER.to("float32"),
    "load_state_dict()": lambda x: LAYER.load_state_dict({}),
    "state_dict()": lambda x: LAYER.state_dict(),
    "state_dict() cannot": lambda x: ADAM.state_dict(),
    "load_state_dict() cannot": lambda x: ADAM.load_state_dict({}),
    "freezing": lambda x: LAYER.requires_grad_(False),
    "setting Dropout.p": lambda x: setattr(LAYER[1], "p", 0.25),
    "making an optimizer": lambda x: optim.SGD([W], lr=0.1),
    "['lr'] from 0.1 to 0.2": setting("lr", 0.2),
    "LBFGS": lambda x: optim.LBFGS.step(LBFGS, lambda: x.sum()),
    "gradient of an argument": lambda x: (x * x).sum().backward(),
    "operations from outside": lambda x: OUT[0].backward(retain_graph=True),
    "computed outside": lambda x: OUT[0] * x,
    "watching operations": lambda x: tn.debug.detect_anomaly().__enter__(),
    "recording": lambda x: record(lambda y: y, x),
    "norm of the gradients": lambda x: None,
}
del REFUSED["norm of the gradients"]
LBFGS = optim.LBFGS([W])
OUT: list[Any] = []  # a graph from outside, only for the time of a test


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    x = tn.tensor([1.0, 2.0], requires_grad=name == "gradient of an argument")
    OUT[:] = [(W * W).sum()]
    with pytest.raises(TraceError) as info:
        record(REFUSED[name], x)
    OUT.clear()
    ADAM.param_groups[0]["lr"] = 0.1
    assert name.split(" of x")[0] in str(info.value)
    if "lr" not in name:
        assert str(info.value).startswith(f"{__file__}:")
    assert tn.modes.mode.recorder is None


def test_what_does_not_depend_on_the_run_may_be_looked_at() -> None:
    def f(x: Any) -> Any:
        n = tn.arange(4).sum().item()
        LAYER.train()  # changes nothing
        mask = tn.tensor([True, False])
        assert (tn.ones(2) + 1.0).tolist() == [2.0, 2.0]
        return (x * n)[mask] + nn.MSELoss(reduction="sum")(x, x)

    program = record(f, np.ones(2))
    assert program.run(np.array([2.0, 3.0])).tolist() == [12.0]


def test_symmetry_functions_of_data_are_refused() -> None:
    from tinynn.potentials import G2, SymmetryFunctions

    functions = SymmetryFunctions([G2("H", eta=1.0)])
    with pytest.raises(TraceError, match=r"\.numpy\(\)"):
        record(lambda x: functions.values(x, ["H", "H"]), np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]]))


# ----------------------------------------------------------------------------------------------- differences


def twice(f: Callable[..., Any], *others: Any) -> list[str]:
    a, b = np.array([1.0, 2.0]), np.array([-3.0, 5.0])
    return differences(record(f, a), record(f, b))


@pytest.mark.parametrize("name", STEPS)
def test_steps_recorded_twice_do_not_differ(name: str) -> None:
    make, batches = STEPS[name]
    step, _, _ = make()
    step(*map(tn.tensor, batches[0]))
    assert differences(record(step, *batches[1]), record(step, *batches[2])) == []


NUMBERS = np.random.default_rng(0)
GROWING: list[float] = []


def grown(x: Any) -> Any:
    GROWING.append(1.0)
    for _ in GROWING:
        x = x * 2.0
    return x


DIFFERENT: dict[str, Callable[[Any], Any]] = {
    "a Python number 0.": lambda x: x * NUMBERS.random(),
    "an array of shape (2,) became part of Add": lambda x: x + NUMBERS.random(2),
    "an array of shape (2,) became part of Mul": lambda x: tn.tensor(NUMBERS.random(2)) * x,
    "an array of shape (1,) became part of Mul": lambda x: tn.Tensor(NUMBERS.random(1)) * x,
    "a branch or a loop": lambda x: tn.exp(x) if x.array[0] > 0 else tn.tanh(x),
    "a setting follows from the data": lambda x: x[int(x.array[0] > 0) :].sum(),
    "runs only in the second run": grown,
    "reads the result of another": lambda x: (lambda y, z: (y if x.array[0] > 0 else z) * x)(tn.exp(x), tn.tanh(x)),
    "the result is": lambda x: float(x.array[0]),
    "the result has": lambda x: {str(x.array[0]): x},
    "the result[0] is": lambda x: (x if x.array[0] > 0 else None, x),
    "reads argument 0 in the first run, a result": lambda x: (x if x.array[0] > 0 else tn.exp(x)) and None,
}
del DIFFERENT["reads argument 0 in the first run, a result"]


@pytest.mark.parametrize("name", DIFFERENT)
def test_differences_are_named(name: str) -> None:
    found = twice(DIFFERENT[name])
    assert any(name in text for text in found), found
    if not name.startswith("the result"):
        assert found[0].startswith(f"{__file__}:")


# -------------------------------------------------------------------------------------------------- memory


def test_what_nobody_needs_dies_while_recording() -> None:
    """As in an eager step: recording keeps no value alive, and an id that is used again means the new value."""
    x = rng.standard_normal(1000)
    dead: list[bool] = []

    def f(x: Any) -> Any:
        total = x
        for k in range(40):  # one after the other in the same memory, likely under the same id
            part = tn.sin(x * (k + 1.0)) + np.full(1000, float(k))
            gone = weakref.ref(part.array)
            total = total + part
            del part
            dead.append(gone() is None)
        return total

    program = record(f, tn.tensor(x))
    assert all(dead)
    other = rng.standard_normal(1000)
    np.testing.assert_allclose(program.run(tn.tensor(other)).numpy(), f(tn.tensor(other)).numpy(), 1e-13)


def test_a_step_that_is_recorded_takes_little_more_memory_than_an_eager_one() -> None:
    model = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(100, 100), nn.Tanh())))
    optimizer = optim.Adam(model.parameters())
    x, y = (tn.tensor(rng.standard_normal((500, 100))) for _ in range(2))

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def peak(run: Callable[[], Any]) -> float:
        gc.collect()
        tracemalloc.start()
        run()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return float(size)

    step(x, y)
    eager = peak(lambda: step(x, y))
    assert peak(lambda: record(step, x, y)) < 1.6 * eager  # 8 if values were kept


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.MaxPool2d(2), (4, 3, 24, 24)), (nn.LayerNorm(64), (100, 64)), (nn.BatchNorm1d(64), (100, 64)),
        (nn.AvgPool2d(2), (4, 3, 24, 24)), (nn.Conv2d(3, 5, 3), (4, 3, 24, 24)), (nn.ReLU(), (100, 64)),
    ],
)  # fmt: skip
def test_recordings_with_and_without_kernels_are_the_same_program(
    monkeypatch: pytest.MonkeyPatch, layer: nn.Module, shape: tuple[int, ...]
) -> None:
    """Numba may be loaded between two recordings."""
    pytest.importorskip("numba")
    layer = layer.to("float32")
    x = tn.tensor(rng.standard_normal(shape).astype("float32"))

    def loss(x: Any) -> Any:
        return tn.grad((layer(x) ** 2).sum(), tuple(layer.parameters())) if list(layer.parameters()) else layer(x)

    with_kernels = record(loss, x)
    loaded = {name: module for name, module in sys.modules.items() if name != "numba"}
    monkeypatch.setattr(numba_backend, "sys", SimpleNamespace(modules=loaded))
    assert not differences(record(loss, x), with_kernels)
