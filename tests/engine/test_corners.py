"""docs/corners.md, row by row: the gradient where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn as tn
import tinynn.nn.functional as F
from tests.ops.checks import close
from tinynn.ops.convolution import max_pool2d
from tinynn.ops.piecewise_activations import prelu

INF = math.inf


def slope(f: Callable[..., Any], *inputs: Any, order: int = 1) -> Any:
    """The gradients of f, by each input, at first or second order."""
    leaves = [tn.tensor(np.asarray(x, float), requires_grad=True) for x in inputs]
    y = f(*leaves)
    for _ in range(order):
        if y.node is None:
            return [np.zeros(x.shape) for x in leaves] if len(leaves) > 1 else np.zeros(leaves[0].shape)
        found = tn.grad(y.sum(), leaves, create_graph=True, allow_unused=True)
        y = sum(g.sum() for g in found if g is not None)
        y = y if isinstance(y, tn.Tensor) else tn.zeros(())
    values = [np.zeros(x.shape) if g is None else g.numpy() for x, g in zip(leaves, found, strict=True)]
    return values if len(values) > 1 else values[0]


# (row of the table, function, inputs, expected gradient by each input)
ROWS: list[tuple[str, Callable[..., Any], tuple[Any, ...], Any]] = [
    ("`maximum(a, b)`", tn.maximum, (2.0, 2.0), [0.5, 0.5]),
    ("`minimum(a, b)`", tn.minimum, (2.0, 2.0), [0.5, 0.5]),
    ("`max(x)`", tn.max, ([1.0, 3.0, 3.0, 3.0],), [0, 1 / 3, 1 / 3, 1 / 3]),
    ("`min(x)`", lambda x: tn.min(x, axis=1), ([[1.0, 1.0], [2.0, 1.0]],), [[0.5, 0.5], [0, 1]]),
    ("`max_pool2d`", lambda x: max_pool2d(x, (2, 2)), (np.ones((1, 1, 2, 2)),), [[[[1, 0], [0, 0]]]]),
    ("`relu(x)`", tn.relu, (0.0,), 0),
    ("`leaky_relu(x, s)`", lambda x: tn.leaky_relu(x, 0.1), (0.0,), 0.1),
    ("`elu(x, alpha)`", lambda x: tn.elu(x, 2.0), (0.0,), 2.0),
    ("`selu(x)`", tn.selu, (0.0,), 1.0507009873554805 * 1.6732632423543772),
    ("`prelu(x, s)`", prelu, (0.0, 0.1), [0.1, 0]),
    ("`hardtanh(x, low, high)`", F.hardtanh, ([-1.0, 1.0, 0.5],), [0, 0, 1]),
    ("`threshold(x, t, v)`", lambda x: F.threshold(x, 1.0, 5.0), ([1.0, 1.5],), [0, 1]),
    ("`softshrink(x, s)`", F.softshrink, ([-0.5, 0.5, 0.75],), [0, 0, 1]),
    ("`hardshrink(x, s)`", F.hardshrink, ([-0.5, 0.5, 0.75],), [0, 0, 1]),
    ("`softsign(x)`", F.softsign, (0.0,), 1),
    ("`abs(x)`", tn.abs, (0.0,), 0),
    ("`sign(x)`", tn.sign, ([0.0, 2.0],), [0, 0]),
    ("`floor(x)`", tn.floor, ([0.0, 2.5],), [0, 0]),
    ("`remainder(a, b)`", tn.remainder, (4.0, 2.0), [1, -2]),
    ("`clip(x, low, high)`", lambda x: tn.clip(x, -1, 1), ([-1.0, 1.0, 1.5, -1.5],), [1, 1, 0, 0]),
    ("with tensors as bounds", tn.clip, ([-2.0, 2.0], [-1.0, -1.0], [1.0, 1.0]), [[0, 0], [1, 0], [0, 1]]),
    ("`sqrt(x)`", tn.sqrt, (0.0,), INF),
    ("`sqrt(x)`", lambda x: tn.sqrt(x) * 0.0, (0.0,), 0),
    ("`norm(x)`", tn.norm, ([0.0, 0.0],), [0, 0]),
    ("`norm(x)`", lambda x: tn.norm(x, axis=1), ([[0.0, 0.0], [3.0, 4.0]],), [[0, 0], [0.6, 0.8]]),
    ("`std(x)`", tn.std, ([2.0, 2.0, 2.0],), [0, 0, 0]),
    ("`log(x)`", tn.log, (0.0,), INF),
    ("`log(x)`", lambda x: tn.log(x) * tn.tensor([0.0, 0.0]), ([1.0, 2.0],), [0, 0]),
    ("`1/x`", lambda x: 1 / x, (0.0,), -INF),
    ("`x**p`, p a whole", lambda x: x**0, (0.0,), 0),
    ("`x**p`, p a whole", lambda x: x**1, (0.0,), 1),
    ("`x**p`, p a whole", lambda x: x**2, (0.0,), 0),
    ("`x**p`, 0 < p < 1", lambda x: x**0.5, (0.0,), INF),
    ("`a**b` by b", lambda b: tn.tensor([0.0, 0.0]) ** b, ([2.0, 0.5],), [0, 0]),
    ("`prod(x)`", tn.prod, ([0.0, 2.0, 3.0],), [6, 0, 0]),
    ("`prod(x)`", tn.prod, ([0.0, 2.0, 0.0],), [0, 0, 0]),
    ("`where(c, a, b)`", lambda x: tn.where(x > 1, 1 / x, 0.0), ([0.0, 2.0],), [0, -0.25]),
    ("`where(c, a, b)`", lambda x: tn.where(x > 1, tn.log(x), x), ([-1.0, 0.0, 2.0],), [1, 1, 0.5]),
    ("`where(c, a, b)`", lambda x: tn.where(x > 1, tn.sqrt(x), 0.0), ([-1.0, 0.0, 4.0],), [0, 0, 0.25]),
    ("`where(c, a, b)`", lambda x: tn.where(x > 1, x**0.5, 0.0), ([-1.0, 0.0, 4.0],), [0, 0, 0.25]),
    ("`logsumexp`", tn.logsumexp, ([0.0, -INF, 0.0],), [0.5, 0, 0.5]),
]
TABLE = (Path(__file__).parents[2] / "docs" / "corners.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(len(ROWS)), ids=lambda i: f"{i} {ROWS[i][0]}")
def test_row(number: int) -> None:
    row, f, inputs, wanted = ROWS[number]
    assert row in TABLE, f"{row} is not in docs/corners.md"
    with np.errstate(all="ignore"):
        found = slope(f, *inputs)
    for got, expected in zip(found, wanted, strict=True) if len(inputs) > 1 else [(found, wanted)]:
        close(got, np.asarray(expected, float))


@pytest.mark.parametrize(
    ("f", "at", "wanted"),
    [
        (tn.norm, [0.0, 0.0], [0, 0]),
        (tn.std, [2.0, 2.0, 2.0], [0, 0, 0]),
        (lambda x: x**1, 0.0, 0),
        (lambda x: x**2, 0.0, 2),
        (tn.relu, 0.0, 0),
        (tn.abs, 0.0, 0),
        (tn.prod, [0.0, 0.0, 3.0], [3, 3, 0]),
        (lambda x: tn.where(x > 1, 1 / x, 0.0), [0.0, 2.0], [0, 0.25]),
        (lambda x: tn.where(x > 1, tn.sqrt(x), 0.0), [-1.0, 0.0, 4.0], [0, 0, -1 / 32]),
        (lambda x: tn.where(x > 1, tn.log(x), 0.0), [-1.0, 0.0, 2.0], [0, 0, -0.25]),
    ],
)
def test_second_order(f: Any, at: Any, wanted: Any) -> None:
    with np.errstate(all="ignore"):
        close(slope(f, at, order=2), np.asarray(wanted, float))


def test_flat_functions_record_nothing() -> None:
    x = tn.tensor([1.0, 1.0], requires_grad=True)
    for y in (x // 2.0, x > 1, x == 1, tn.argmax(x), tn.argmin(x)):
        assert y.node is None
    assert tn.argmax(x).item() == 0


def test_every_row_of_the_table_has_a_test() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| `")]
    tested = {row for row, *_ in ROWS} | {"`argmax`", "`floor_divide(a, b)`"}
    untested = [row for row in rows if not any(name in row for name in tested)]
    assert not untested


@pytest.mark.peers
def test_as_pytorch_where_the_table_says_so() -> None:
    torch = pytest.importorskip("torch")
    pairs: list[tuple[Any, Any, tuple[Any, ...]]] = [
        (tn.maximum, torch.maximum, (2.0, 2.0)),
        (tn.minimum, torch.minimum, (2.0, 2.0)),
        (tn.max, torch.amax, ([3.0, 1.0, 3.0],)),
        (tn.relu, torch.relu, (0.0,)),
        (lambda x: tn.leaky_relu(x, 0.1), lambda x: torch.nn.functional.leaky_relu(x, 0.1), (0.0,)),
        (lambda x: tn.elu(x, 2.0), lambda x: torch.nn.functional.elu(x, 2.0), (0.0,)),
        (tn.selu, torch.selu, (0.0,)),
        (F.hardtanh, torch.nn.functional.hardtanh, ([-1.0, 1.0],)),
        (F.relu6, torch.nn.functional.relu6, ([0.0, 6.0],)),
        (lambda x: F.threshold(x, 1.0, 5.0), lambda x: torch.nn.functional.threshold(x, 1.0, 5.0), (1.0,)),
        (F.softshrink, torch.nn.functional.softshrink, ([-0.5, 0.5],)),
        (F.hardshrink, torch.nn.functional.hardshrink, ([-0.5, 0.5],)),
        (F.softsign, torch.nn.functional.softsign, (0.0,)),
        (prelu, torch.nn.functional.prelu, ([0.0], [0.1])),
        (tn.abs, torch.abs, (0.0,)),
        (tn.sign, torch.sign, (0.0,)),
        (tn.floor, torch.floor, (0.0,)),
        (tn.remainder, torch.remainder, (4.0, 2.0)),
        (lambda x: tn.clip(x, -1, 1), lambda x: torch.clamp(x, -1, 1), ([-1.0, 1.0, 1.5],)),
        (tn.norm, torch.linalg.vector_norm, ([0.0, 0.0],)),
        (lambda x: x**0, lambda x: x**0, (0.0,)),
        (lambda x: x**1, lambda x: x**1, (0.0,)),
        (
            lambda b: tn.tensor([0.0, 0.0]) ** b,
            lambda b: torch.zeros(2, dtype=torch.float64) ** b,
            ([2.0, 0.5],),
        ),
        (tn.prod, torch.prod, ([0.0, 2.0, 0.0],)),
        (tn.logsumexp, lambda x: torch.logsumexp(x, 0), ([0.0, -INF, 0.0],)),
        (
            lambda x: max_pool2d(x, (2, 2)),
            lambda x: torch.nn.functional.max_pool2d(x, 2),
            (np.ones((1, 1, 2, 2)),),
        ),
    ]
    for ours, theirs, inputs in pairs:
        leaves = [torch.tensor(np.asarray(x, float), requires_grad=True) for x in inputs]
        wanted = torch.autograd.grad(theirs(*leaves).sum(), leaves)
        found = slope(ours, *inputs)
        for got, expected in zip(found if len(inputs) > 1 else [found], wanted, strict=True):
            close(got, expected.numpy())
