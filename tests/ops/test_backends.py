"""All backends on this machine agree with the reference: values, gradients, and gradients of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn as tn
import tinynn.nn.functional as F
from tests.ops.checks import leaf
from tests.ops.test_elementwise import BINARY, UNARY, Case
from tests.ops.test_neural import PAIRS
from tinynn.backends import dispatch
from tinynn.ops.indexing import scatter_add

pytest.importorskip("numba")
TOLERANCE = {"float64": 1e-13, "float32": 2e-6}
EXTREME = np.array([-np.inf, -1e30, -1e4, -90.0, -1e-30, -0.0, 0.0, 1e-30, 90.0, 1e4, 1e30, np.inf, np.nan])


@pytest.fixture(autouse=True)
def _kernels_for_small_arrays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with tn.use("numba"):
        tables = [dispatch.FORWARD_KERNELS[np.ndarray], dispatch.GRADIENT_KERNELS[np.ndarray]]
        classes = {cls for table in tables for cls in table}
    assert classes
    for cls in classes:
        monkeypatch.setattr(cls, "worth_kernel", 1)


def results(f: Any, inputs: list[Any], order: int = 1) -> list[Any]:
    """The value of f and its derivatives up to an order."""
    leaves = [leaf(a) for a in inputs]
    y = f(*leaves)
    found = [y.numpy()]
    if y.node is not None:
        cotangent = tn.Tensor(np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype))
        first = tn.grad(y, leaves, cotangent, create_graph=order > 1, allow_unused=True)
        found += [g.numpy() for g in first if g is not None]
        deeper = [g for g in first if g is not None and g.node is not None]
        if order > 1 and deeper:
            total = sum((g * g).sum() for g in deeper)
            found += [g.numpy() for g in tn.grad(total, leaves, allow_unused=True) if g is not None]
    return found


def compare(f: Any, inputs: list[Any], dtype: str, order: int = 1) -> None:
    inputs = [np.asarray(a, dtype) for a in inputs]
    with np.errstate(all="ignore"):
        with tn.use("numpy"):
            wanted = results(f, inputs, order)
        with tn.use("numba"):
            got = results(f, inputs, order)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == np.dtype(dtype)
        size = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(a, b, rtol=50 * tolerance, atol=10 * tolerance * min(size, 1e4))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", UNARY + BINARY, ids=str)
def test_elementwise(case: Case, dtype: str) -> None:
    rng = np.random.default_rng(0)
    compare(case.f, [draw(rng, (7, 43)) for draw in case.domains], dtype)
    compare(case.f, [draw(rng, (7, 43)).T[::-1] for draw in case.domains], dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PAIRS)
def test_neural(name: str, dtype: str) -> None:
    primitive, _, inputs = PAIRS[name]
    compare(primitive, list(inputs), dtype, order=2 if dtype == "float64" else 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "f",
    [
        tn.exp,
        tn.tanh,
        tn.sigmoid,
        tn.erf,
        tn.relu,
        tn.elu,
        tn.selu,
        tn.gelu,
        tn.silu,
        tn.softplus,
        F.celu,
        F.logsigmoid,
        F.softsign,
        F.tanhshrink,
        F.hardtanh,
        F.softshrink,
        F.hardshrink,
        tn.abs,
        tn.log,
        tn.sqrt,
    ],
    ids=lambda f: f.__name__,
)
def test_extremes(f: Any, dtype: str) -> None:
    x = np.tile(EXTREME, 5).astype(dtype)
    with np.errstate(all="ignore"):
        with tn.use("numpy"):
            wanted = results(f, [x])
        with tn.use("numba"):
            got = results(f, [x])
    for what, a, b in zip(("value", "gradient"), got, wanted, strict=True):
        wrong = ~np.isclose(a, b, rtol=1e-5, atol=1e-30, equal_nan=True)
        assert not wrong.any(), f"{what} at {np.unique(x[wrong])}: {a[wrong][:5]} instead of {b[wrong][:5]}"


def test_scatter() -> None:
    index = np.random.default_rng(0).integers(0, 50, 4000)
    values = np.random.default_rng(1).standard_normal((4000, 3))
    compare(lambda x, v: scatter_add(x, index, v), [np.zeros((50, 3)), values], "float64")
    compare(lambda x: x[index] ** 2, [np.linspace(0, 1, 150).reshape(50, 3)], "float64")
