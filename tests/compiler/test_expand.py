"""Operations written out in plain ones: machines agree with eager, at odd shapes too, and Python has nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynn as tn
from tinynn import nn
from tinynn.compiler.expand import expand
from tinynn.compiler.interpret import Interpreter
from tinynn.compiler.numba_machine import NumbaMachine
from tinynn.compiler.record import record
from tinynn.compiler.rows import Call

MACHINES = [Interpreter, NumbaMachine]
DTYPES = ["float64", "float32"]
TOLERANCE = {"float64": {"rtol": 1e-9, "atol": 1e-11}, "float32": {"rtol": 3e-4, "atol": 3e-5}}
few = settings(max_examples=12, deadline=None)


def calls(machine: Any) -> list[str]:
    """The operations that a machine leaves to Python."""
    if isinstance(machine, NumbaMachine):
        rows = [row for row in machine.plan.rows if isinstance(row, Call) and machine._prepared_for(row) is None]
    else:
        rows = [row for row in machine.plan.rows if isinstance(row, Call)]
    return [type(row.work.op).__name__ for row in rows if row.work is not None]


def flat(result: Any) -> list[np.ndarray]:
    items = result if isinstance(result, (tuple, list)) else [result]
    return [np.asarray(item.detach().numpy()) for item in items if item is not None]


def check(function: Callable[..., Any], *arrays: Any, dtype: str = "float64", left: tuple[str, ...] = ()) -> None:
    """A function of tensors gives the same on both machines as eagerly, with other data than it was recorded with."""
    others = [
        np.ascontiguousarray(a[::-1]) if a.dtype.kind in "iub" else (a * a.dtype.type(0.5) + a.dtype.type(0.25))
        for a in arrays
    ]
    for machine_class in MACHINES:
        machine = machine_class(record(function, *map(tn.tensor, arrays)))
        for data in (arrays, others):
            expected = flat(function(*map(tn.tensor, data)))
            got = flat(machine.run([tn.tensor(a).array for a in data]))
            assert len(got) == len(expected)
            for a, b in zip(got, expected, strict=True):
                assert a.shape == b.shape
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, **TOLERANCE[dtype])
        if machine_class is NumbaMachine:
            assert set(calls(machine)) <= set(left), machine.plan


def normal(shape: tuple[int, ...], dtype: str, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def with_gradients(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The function and the gradients of a weighted sum of its result by the first arguments."""

    def both(*args: Any) -> Any:
        args = tuple(a.detach().requires_grad_() if i < count else a for i, a in enumerate(args))
        out = function(*args)
        weights = np.cos(np.arange(out.size, dtype=out.dtype)).reshape(out.shape)
        gradients = tn.grad((out * weights).sum(), list(args[:count]))
        return [out, *gradients]

    return both


# ----------------------------------------------------------------------------------------------- norms, losses


@few
@given(st.integers(1, 5), st.sampled_from([1, 2, 3, 17]), st.sampled_from(DTYPES), st.booleans())
def test_layer_norm(rows: int, features: int, dtype: str, affine: bool) -> None:
    x, w, b = normal((rows, features), dtype), normal((features,), dtype, 1), normal((features,), dtype, 2)
    if affine:
        function = with_gradients(lambda x, w, b: nn.functional.layer_norm(x, features, w, b), 3)
        check(function, x, w, b, dtype=dtype)
    else:
        check(with_gradients(lambda x: nn.functional.layer_norm(x, features), 1), x, dtype=dtype)


@few
@given(st.integers(2, 5), st.sampled_from([1, 2, 3, 17]), st.sampled_from([(), (1,), (4,)]), st.sampled_from(DTYPES))
def test_batch_norm(rows: int, channels: int, places: tuple[int, ...], dtype: str) -> None:
    x, w, b = normal((rows, channels, *places), dtype), normal((channels,), dtype, 1), normal((channels,), dtype, 2)
    function = with_gradients(lambda x, w, b: nn.functional.batch_norm(x, None, None, w, b, training=True), 3)
    check(function, x, w, b, dtype=dtype)


@few
@given(st.integers(1, 5), st.sampled_from([1, 2, 3, 17]), st.sampled_from(DTYPES), st.sampled_from([1.0, 1e4]))
def test_cross_entropy(rows: int, classes: int, dtype: str, scale: float) -> None:
    x = normal((rows, classes), dtype, scale=scale)
    labels = np.random.default_rng(1).integers(0, classes, rows)
    for reduction in ("mean", "sum", "none"):
        loss = lambda x, y, how=reduction: nn.functional.cross_entropy(x, y, reduction=how)  # noqa: E731
        check(with_gradients(loss, 1), x, labels, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"ignore_index": 1}, {"weight": [1.0, 2.0, 0.5]}])
def test_cross_entropy_with_options(dtype: str, options: dict[str, Any]) -> None:
    x, labels = normal((6, 3), dtype), np.array([0, 1, 2, 2, 1, 0])
    if "weight" in options:
        options = {"weight": np.array(options["weight"], dtype)}
    check(with_gradients(lambda x, y: nn.functional.cross_entropy(x, y, **options), 1), x, labels, dtype=dtype)
    log_p = lambda x: nn.functional.log_softmax(x)  # noqa: E731
    check(with_gradients(lambda x, y: nn.functional.nll_loss(log_p(x), y), 1), x, labels, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_logits(dtype: str) -> None:
    mask = np.array([[True, False, True], [True, True, False]])

    def loss(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(tn.where(mask, x, -np.inf), y, reduction="none")

    check(with_gradients(loss, 1), normal((2, 3), dtype), np.array([0, 0]), dtype=dtype)


@pytest.mark.parametrize("kind", ["int32", "uint8", "int64"])
def test_labels_of_other_integers(kind: str) -> None:
    labels = np.array([0, 2, 1], kind)
    check(with_gradients(lambda x, y: nn.functional.cross_entropy(x, y), 1), normal((3, 3), "float32"), labels,
          dtype="float32", left=() if kind == "int64" else ("Where", "NotEqual", "Equal"))  # fmt: skip


def test_large_arrays_keep_their_kernels() -> None:
    layer = nn.LayerNorm(1024)
    small, large = (record(layer, tn.ones(n, 1024)) for n in (4, 1024))
    assert "LayerNorm" not in {type(i.op).__name__ for i in expand(small).instructions}
    assert "LayerNorm" in {type(i.op).__name__ for i in expand(large).instructions}


@pytest.mark.parametrize("dtype", DTYPES)
def test_forces_through_a_layer_norm(dtype: str) -> None:
    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 1)).to(dtype)
    parameters = list(model.parameters())[:-1]  # the last bias does nothing to forces

    def function(x: Any, f: Any) -> Any:
        x = x.detach().requires_grad_()
        forces = -tn.grad(model(x).sum(), x, create_graph=True)
        return [forces, *tn.grad(((forces - f) ** 2).mean(), parameters)]

    check(function, normal((3, 4), dtype), normal((3, 4), dtype, 1), dtype=dtype)


# ------------------------------------------------------------------------------------------------ whole steps


def classifier(dtype: str, dropout: float = 0.3) -> tuple[Any, Callable[..., Any]]:
    tn.manual_seed(5)
    model = nn.Sequential(
        nn.Linear(7, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(9, 6), nn.LayerNorm(6), nn.SiLU(), nn.Dropout(dropout), nn.Linear(6, 3),
    ).to(dtype)  # fmt: skip
    optimizer = tn.optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("machine_class", MACHINES)
def test_steps_of_a_classifier(dtype: str, machine_class: Any) -> None:
    """Running statistics and dropout masks are those of eager steps, step after step, and in evaluation."""
    x, y = normal((11, 7), dtype), np.random.default_rng(2).integers(0, 3, 11)
    model, step = classifier(dtype)
    expected = [step(tn.tensor(x), tn.tensor(y)).item() for _ in range(7)]
    twin, twin_step = classifier(dtype)
    got = [twin_step(tn.tensor(x), tn.tensor(y)).item()]
    program = record(twin_step, tn.tensor(x), tn.tensor(y))
    got.append(expected[1])
    machine = machine_class(program)
    got += [machine.run([x, y]).item() for _ in range(5)]
    np.testing.assert_allclose(got, expected, rtol=1e-9 if dtype == "float64" else 1e-3)
    rtol = 1e-6 if dtype == "float64" else 2e-2
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=rtol, atol=1e-5, err_msg=name)
    if machine_class is NumbaMachine:
        assert not calls(machine)
        assert len(machine._stretches) == 1
    model.eval()
    check(model, x, dtype=dtype)


@pytest.mark.parametrize("machine_class", MACHINES)
@pytest.mark.parametrize("n", [1, 3, 4, 5, 64, 1001])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.999])
def test_dropout_masks_are_those_of_eager(machine_class: Any, n: int, p: float) -> None:
    x = normal((n,), "float32") + np.float32(10.0)
    drop = nn.Dropout(p)

    def function(x: Any) -> Any:
        x = x.detach().requires_grad_()
        out = drop(x)
        return [out, tn.grad(out.sum(), x)]

    tn.manual_seed(3)
    expected = [flat(function(tn.tensor(x))) for _ in range(4)]
    tn.manual_seed(3)
    machine = machine_class(record(function, tn.tensor(x)))
    for step in range(1, 4):
        for a, b in zip(flat(machine.run([x])), expected[step], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_long_mask_is_shared_by_threads() -> None:
    x = np.ones(3_000_001, np.float32)
    drop = nn.Dropout(0.25)
    tn.manual_seed(1)
    expected = drop(tn.tensor(x))
    tn.manual_seed(1)
    program = record(drop, tn.tensor(x))
    tn.manual_seed(1)
    np.testing.assert_array_equal(NumbaMachine(program).run([x]).numpy(), expected.numpy())


# ------------------------------------------------------------------------------------------ picking, placing


@few
@given(st.sampled_from([(1,), (5,), (2, 3)]), st.integers(1, 4), st.sampled_from([1, 2, 9]), st.sampled_from(DTYPES))
def test_embeddings(shape: tuple[int, ...], rows: int, width: int, dtype: str) -> None:
    weight = normal((rows, width), dtype)
    index = np.random.default_rng(0).integers(0, rows, shape)
    check(with_gradients(lambda w, i: nn.functional.embedding(i, w), 1), weight, index, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_picks(dtype: str) -> None:
    x, i = normal((4, 3, 5), dtype), np.array([2, 0, -1, 1])
    check(with_gradients(lambda x, i: x[:, i], 1), x, i, dtype=dtype)
    check(with_gradients(lambda x, i: x[i], 1), x, i, dtype=dtype)
    check(with_gradients(lambda x, i: x[i, i], 1), x, np.array([2, 0, -1]), dtype=dtype)
    check(with_gradients(lambda x, i: tn.take(x, i, 2), 1), x, i, dtype=dtype)
    check(with_gradients(lambda x, i: x.swapaxes(0, 2)[i], 1), x, i, dtype=dtype)
    check(with_gradients(lambda x: x[:, [2, 0, 0]], 1), x, dtype=dtype)
    check(with_gradients(lambda x, i: x[np.arange(3), i], 1), x[0], np.array([4, 0, 1]), dtype=dtype)
    check(lambda i: tn.one_hot(i, 5, dtype), np.array([[1, 2], [4, 0]]), dtype=dtype)


def test_an_index_out_of_range_is_seen() -> None:
    machine = NumbaMachine(record(lambda x, i: x[i], tn.ones(3, 2), tn.tensor([0, 1])))
    assert np.isnan(machine.run([np.ones((3, 2)), np.array([0, 3])]).numpy()[1]).all()


PLACED: dict[str, Callable[..., Any]] = {
    "concatenate": lambda x, y: tn.concatenate([x, y, x], 0),
    "concatenate columns": lambda x, y: tn.concatenate([x, y], 1) * 2.0,
    "stack": lambda x, y: tn.stack([x, y], 1),
    "stack of numbers": lambda x, y: tn.stack([x.sum(), y.sum()]),
    "pad": lambda x, y: tn.pad(x, ((1, 0), (0, 2)), 3.0) * tn.pad(y, ((1, 0), (0, 2))),
    "flip": lambda x, y: tn.flip(x) + tn.flip(y, 1),
    "roll": lambda x, y: tn.roll(x, 1, 0) - tn.roll(y, 2),
    "slices": lambda x, y: x[:, 1:] * y[:, :-1] + x[..., ::-1][:, :2],
    "reshape of a transpose": lambda x, y: x.swapaxes(0, 1).reshape(-1) * y.reshape(-1),
    "tile": lambda x, y: tn.tile(x, (2, 2)) + tn.tile(y, (2, 2)),
    "any": lambda x, y: tn.where((x > 0).any(axis=1, keepdims=True), x, y),
    "all": lambda x, y: tn.where((x > -1).all(axis=0), x, y),
    "casts": lambda x, y: (x.to("float64") + 1e-9).to("float32").to(x.dtype) * y,
    "product with a flip": lambda x, y: tn.flip(x, 1) @ y.swapaxes(0, 1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PLACED)
def test_placed(name: str, dtype: str) -> None:
    for rows in (1, 4):
        left = ("MatMul",) if name == "product with a flip" else ()
        x, y = normal((rows, 3), dtype), normal((rows, 3), dtype, 1)
        check(with_gradients(PLACED[name], 2), x, y, dtype=dtype, left=left)


def test_an_assigned_concatenation() -> None:
    for machine_class in MACHINES:
        state = tn.zeros(4)

        def function(x: Any, state: Any = state) -> Any:
            state.assign_(tn.concatenate([x, state[:2]]))
            return x + 1

        machine = machine_class(record(function, tn.tensor([1.0, 2.0])))
        machine.run([np.array([3.0, 4.0])])
        np.testing.assert_array_equal(state.numpy(), [3.0, 4.0, 1.0, 2.0])


STACKS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "batched": ("bij,bjk->bik", (3, 2, 4), (3, 4, 5)),
    "batched, transposed": ("bij,bkj->bki", (3, 2, 4), (3, 5, 4)),
    "dots": ("bi,bi->b", (3, 4), (3, 4)),
    "outer": ("i,j->ij", (3,), (4,)),
    "two shared": ("ijk,ljk->il", (2, 3, 4), (5, 3, 4)),
    "two free": ("ijk,kl->jil", (2, 3, 4), (4, 5)),
    "everything": ("bnij,bjkn->bnki", (2, 3, 2, 4), (2, 4, 5, 3)),
    "many": ("bij,bjk->bik", (90, 2, 2), (90, 2, 2)),
    "full": ("ij,ij->", (3, 4), (3, 4)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STACKS)
def test_contractions(name: str, dtype: str) -> None:
    letters, shape_a, shape_b = STACKS[name]
    function = with_gradients(lambda a, b: tn.einsum(letters, a, b), 2)
    check(function, normal(shape_a, dtype), normal(shape_b, dtype, 1), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 2, 3), (4, 3, 2)), ((4, 2, 3), (3,)), ((1, 2, 3), (4, 3, 2)),
     ((2, 1, 2, 3), (3, 3, 2)), ((4, 2, 3), (3, 2))],
)  # fmt: skip
def test_products(a: tuple[int, ...], b: tuple[int, ...], dtype: str) -> None:
    check(with_gradients(lambda a, b: a @ b, 2), normal(a, dtype), normal(b, dtype, 1), dtype=dtype)


def test_integers_are_exact() -> None:
    big = np.array([2**60 + 1, 2**60, -(2**60) - 1])
    for machine_class in MACHINES:
        function = lambda a, b: [a + 1, tn.where(a > b, a, b), a == b]  # noqa: E731
        machine = machine_class(record(function, tn.tensor(big), tn.tensor(big)))
        got = machine.run([big, big[::-1].copy()])
        np.testing.assert_array_equal(got[0].numpy(), big + 1)
        np.testing.assert_array_equal(got[1].numpy(), np.maximum(big, big[::-1]))
        np.testing.assert_array_equal(got[2].numpy(), [False, True, False])
