"""Sums, means, extremes, products, norms, softmax: over any axes, with and without keepdims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

import tinynn as tn
from tests.ops.checks import (
    check_derivatives,
    check_float32,
    check_forward,
    check_layout,
    close,
    few,
    layouts,
    leaf,
    seeds,
)


def spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Distinct numbers, none near another or near 0."""
    n = int(np.prod(shape))
    return (rng.permutation(n).reshape(shape) - n // 2) * 0.21 + 0.1


def norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (tn.sum, np.sum),
    "mean": (tn.mean, np.mean),
    "prod": (tn.prod, np.prod),
    "max": (tn.max, np.max),
    "min": (tn.min, np.min),
    "var": (tn.var, np.var),
    "var ddof 1": (lambda x, **o: tn.var(x, ddof=1, **o), lambda x, **o: np.var(x, ddof=1, **o)),
    "std": (tn.std, np.std),
    "std ddof 1": (lambda x, **o: tn.std(x, ddof=1, **o), lambda x, **o: np.std(x, ddof=1, **o)),
    "logsumexp": (tn.logsumexp, logsumexp),
    "norm": (tn.norm, norm),
}
SAME_SHAPE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (tn.softmax, special.softmax),
    "log_softmax": (tn.log_softmax, special.log_softmax),
    "cumsum": (tn.cumsum, np.cumsum),
}
NEED_ELEMENTS = {"mean", "max", "min", "var", "std", "var ddof 1", "std ddof 1", "logsumexp"}
every_reduction = pytest.mark.parametrize("name", REDUCTIONS)


@st.composite
def reductions(draw: Any, least: int = 1) -> tuple[Any, dict[str, Any]]:
    """An array, an axis (None, one, or several; from the front or from the back), and keepdims."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=least, max_side=4))
    choices = [st.none()]
    if shape:
        axes = st.integers(-len(shape), len(shape) - 1)
        several = st.lists(axes, max_size=len(shape), unique_by=lambda i: i % len(shape)).map(tuple)
        choices += [axes, several]
    options = {"axis": draw(st.one_of(choices)), "keepdims": draw(st.booleans())}
    return spread(np.random.default_rng(draw(seeds)), shape), options


@every_reduction
@few
@given(problem=reductions(), layout=layouts)
def test_reductions(name: str, problem: Any, layout: str) -> None:
    f, reference = REDUCTIONS[name]
    x, options = problem
    if name.startswith(("var", "std")) and np.var(x, axis=options["axis"]).size * 2 > x.size:
        return  # one element has no spread; its corner is tested elsewhere
    with np.errstate(invalid="ignore"):
        check_forward(lambda t: f(t, **options), lambda t: np.asarray(reference(t, **options))[()], x)
    check_derivatives(lambda t: f(t, **options), x)
    check_layout(lambda t: f(t, **options), [x], [layout])


@pytest.mark.parametrize("name", SAME_SHAPE)
@few
@given(seed=seeds, shape=hnp.array_shapes(max_dims=3, max_side=4), layout=layouts, data=st.data())
def test_along_one_axis(name: str, seed: int, shape: tuple[int, ...], layout: str, data: Any) -> None:
    f, reference = SAME_SHAPE[name]
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = spread(np.random.default_rng(seed), shape)
    check_forward(lambda t: f(t, axis=axis), lambda t: reference(t, axis=axis), x)
    check_derivatives(lambda t: f(t, axis=axis), x)
    check_layout(lambda t: f(t, axis=axis), [x], [layout])


def test_cumsum_of_the_flattened() -> None:
    check_forward(tn.cumsum, np.cumsum, np.arange(6.0).reshape(2, 3))
    check_derivatives(tn.cumsum, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("name", [*REDUCTIONS, *SAME_SHAPE])
@pytest.mark.parametrize("axis", [0, -1, (0, 1), None])
def test_float32_stays_float32(name: str, axis: Any) -> None:
    f = {**REDUCTIONS, **SAME_SHAPE}[name][0]
    if name in SAME_SHAPE and not isinstance(axis, int):
        return
    check_float32(lambda t: f(t, axis=axis), spread(np.random.default_rng(0), (3, 4)))


@every_reduction
def test_no_elements_to_reduce(name: str) -> None:
    f, reference = REDUCTIONS[name]
    x = np.zeros((3, 0))
    if name in NEED_ELEMENTS:
        with pytest.raises(ValueError, match=r"\(3, 0\)"):
            f(leaf(x), axis=1)
    else:
        close(f(leaf(x), axis=1), reference(x, axis=1))
    kept = leaf(x)
    y = f(kept, axis=0)  # no results, each of three elements
    assert y.shape == (0,)
    assert tn.grad(y.sum(), kept).shape == (3, 0)


@few
@given(problem=reductions())
def test_where_the_extremes_are(problem: Any) -> None:
    x, options = problem
    if isinstance(options["axis"], tuple):
        return
    for f, reference in ((tn.argmax, np.argmax), (tn.argmin, np.argmin)):
        y = f(leaf(x), **options)
        np.testing.assert_array_equal(y.array, reference(x, **options))
        assert y.node is None
        assert y.dtype.kind == "i"
        np.testing.assert_array_equal(f(tn.Tensor(np.round(x)), **options).array, reference(np.round(x), **options))


@few
@given(problem=reductions(), seed=seeds)
def test_ties_share_evenly(problem: Any, seed: int) -> None:
    shape, options = problem[0].shape, problem[1]
    x = np.random.default_rng(seed).integers(0, 3, shape).astype(float)
    for f, reference in ((tn.max, np.max), (tn.min, np.min)):
        t = leaf(x)
        g = tn.grad(f(t, **options).sum(), t).numpy()
        hit = x == reference(x, axis=options["axis"], keepdims=True)
        close(g, hit / hit.sum(axis=options["axis"], keepdims=True))


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_prod_with_zeros(zeros: int) -> None:
    x = np.array([2.0, -1.5, 0.7, 3.0, 1.1])
    x[:zeros] = 0.0
    check_derivatives(tn.prod, x)
    check_derivatives(lambda t: tn.prod(t, axis=1), np.stack([x, np.flip(x)]))
    t = leaf(x)
    wanted = [np.prod(np.delete(x, i)) for i in range(5)]
    close(tn.grad(tn.prod(t), t), wanted)


@pytest.mark.parametrize(
    "f",
    [tn.sum, tn.mean, tn.max, tn.min, tn.prod, tn.var, tn.std, tn.logsumexp, tn.norm, tn.argmax, tn.cumsum],
)
def test_wrong_axes(f: Any) -> None:
    x = tn.zeros(2, 3)
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        f(x, axis=2)
    with pytest.raises(IndexError):  # what Python's users expect an AxisError to be
        f(x, axis=-3)
    if f not in (tn.argmax, tn.cumsum):
        with pytest.raises(ValueError, match=r"duplicate|twice"):
            f(x, axis=(0, -2))


def test_integers_and_bools() -> None:
    counts = tn.tensor([1, 2, 4])
    assert tn.sum(counts).item() == 7
    assert tn.mean(counts).item() == 7 / 3
    assert tn.max(counts).dtype == np.int64
    assert (counts > 1).sum().item() == 2
    assert tn.mean(counts > 1).item() == 2 / 3


def test_min_of_unsigned_bools_and_extremes() -> None:
    assert tn.min(tn.tensor(np.array([7, 0, 5], np.uint8))).item() == 0
    assert tn.min(tn.tensor([True, False])).item() is False
    assert tn.min(tn.tensor([-(2**63), 5])).item() == -(2**63)


@pytest.mark.parametrize("axis", [(2, 1), (1, 2), (3, 1), (3, 0, 2), (-1, 0), (0, 1, 2, 3)])
def test_prod_over_axes_in_any_order(axis: tuple[int, ...]) -> None:
    x = np.arange(1.0, 17.0).reshape(2, 2, 2, 2)
    close(tn.prod(tn.tensor(x), axis), x.prod(axis=axis))
    close(tn.prod(tn.tensor(x), axis, keepdims=True), x.prod(axis=axis, keepdims=True))


@pytest.mark.parametrize("f", [tn.sum, tn.mean, tn.max, tn.min, tn.prod, tn.var, tn.std, tn.logsumexp, tn.norm])
def test_axes_may_be_numpy_integers(f: Any) -> None:
    x = leaf(np.arange(6.0).reshape(2, 3))
    f(x, axis=np.int64(1)).sum().backward()
    assert x.grad.shape == (2, 3)


@pytest.mark.parametrize("f", [tn.sum, tn.mean, tn.max, tn.min, tn.prod, tn.var, tn.std, tn.logsumexp, tn.norm])
def test_lists_are_arrays(f: Any) -> None:
    rows = [[1.0, 2.0], [4.0, 3.0]]
    np.testing.assert_array_equal(f(rows, axis=0), f(np.array(rows), axis=0))


def test_methods_are_the_functions() -> None:
    x = tn.tensor([[1.0, 2.0], [3.0, 5.0]])
    for name in ("sum", "mean", "max", "min", "prod", "var", "std"):
        close(getattr(x, name)(axis=0, keepdims=True), getattr(tn, name)(x, axis=0, keepdims=True))
    for name in ("argmax", "argmin", "cumsum"):
        close(getattr(x, name)(axis=1), getattr(tn, name)(x, axis=1))
