"""Products of matrices, einsum, the linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as tn
from tests.ops.checks import (
    check_derivatives,
    check_float32,
    check_forward,
    check_layout,
    close,
    layouts,
    leaf,
    seeds,
    some,
)


def normal(*shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)) for shape in shapes]


MATMUL = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((3,), (5, 3, 2)),
    ((5, 2, 3), (3,)),
    ((1, 1), (1, 1)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((2, 3), (3, 0)),
    ((0, 2, 3), (3, 2)),
    ((0,), (0,)),
]


@pytest.mark.parametrize("shapes", MATMUL, ids=str)
def test_matmul(shapes: Any) -> None:
    a, b = normal(*shapes)
    check_forward(tn.matmul, np.matmul, a, b)
    check_derivatives(tn.matmul, a, b)
    check_float32(tn.matmul, a, b)
    close(leaf(a) @ leaf(b), a @ b)
    close(a @ leaf(b), a @ b)
    close(leaf(a) @ b, a @ b)


@some
@given(n=st.integers(0, 3), k=st.integers(0, 3), m=st.integers(0, 3), how=st.tuples(layouts, layouts), seed=seeds)
def test_matmul_in_any_layout(n: int, k: int, m: int, how: tuple[str, str], seed: int) -> None:
    a, b = normal((n, k), (k, m), seed=seed)
    check_layout(tn.matmul, [a, b], list(how))
    check_layout(lambda x, y: tn.matmul(y.T, x.T), [a, b], list(how))


@pytest.mark.parametrize(
    "shapes",
    [
        ((), ()),
        ((3,), ()),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((2, 3), (3, 4)),
        ((2, 3), (4, 3, 2)),
        ((5, 2, 3), (3, 4)),
    ],
    ids=str,
)
def test_dot(shapes: Any) -> None:
    a, b = normal(*shapes)
    check_forward(tn.dot, np.dot, a, b)
    check_derivatives(tn.dot, a, b)


def test_outer() -> None:
    a, b = normal((2, 3), (4,))
    check_forward(tn.outer, np.outer, a, b)
    check_derivatives(tn.outer, a, b)


EINSUM = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,jk": ((2, 3), (3, 4)),
    "ij->ji": ((2, 3),),
    "ij->": ((2, 3),),
    "ii": ((3, 3),),
    "ii->i": ((3, 3),),
    "iij->j": ((3, 3, 2),),
    "iji->j": ((3, 2, 3),),
    "iiii->i": ((2, 2, 2, 2),),
    "i,j->ij": ((2,), (3,)),
    "i,i": ((3,), (3,)),
    "ij,ij->i": ((2, 3), (2, 3)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 2)),
    "ij,k->k": ((2, 3), (4,)),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 2)),
    "i,i,i->i": ((3,), (3,), (3,)),
    "ab,ac,ad->bcd": ((2, 3), (2, 2), (2, 4)),
    "ab,bc,ca": ((2, 3), (3, 4), (4, 2)),
    "ii,ij,jk->k": ((2, 2), (2, 3), (3, 2)),
    "i,j,k,l->": ((2,), (3,), (2,), (2,)),
    "ij,ij,ij->": ((2, 3), (2, 3), (2, 3)),
    ",i->i": ((), (3,)),
    "ij,j->i": ((0, 3), (3,)),
    "ij,j->i ": ((2, 0), (0,)),
}


@pytest.mark.parametrize("subscripts", EINSUM)
def test_einsum(subscripts: str) -> None:
    arrays = normal(*EINSUM[subscripts])
    check_forward(lambda *xs: tn.einsum(subscripts, *xs), lambda *xs: np.einsum(subscripts, *xs), *arrays)
    check_derivatives(lambda *xs: tn.einsum(subscripts, *xs), *arrays)
    check_float32(lambda *xs: tn.einsum(subscripts, *xs), *arrays)
    check_layout(lambda *xs: tn.einsum(subscripts, *xs), arrays, ["reversed"] * len(arrays))


def test_einsum_of_one_tensor_twice() -> None:
    check_derivatives(lambda x: tn.einsum("ij,kj->ik", x, x), *normal((2, 3)))


@pytest.mark.parametrize("x_shape", [(5, 3), (3,), (2, 4, 3), (0, 3), (1, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(x_shape: Any, bias: bool) -> None:
    arrays = normal(x_shape, (2, 3), *([(2,)] if bias else []))

    def reference(x: Any, weight: Any, b: Any = 0.0) -> Any:
        return x @ weight.T + b

    check_forward(tn.linear, reference, *arrays)
    check_derivatives(tn.linear, *arrays)
    check_float32(tn.linear, *arrays)
    check_layout(tn.linear, arrays, ["fortran"] * len(arrays))


def test_linear_is_its_composite() -> None:
    x, weight, bias = (leaf(a) for a in normal((5, 3), (2, 3), (2,)))
    for f in (tn.linear(x, weight, bias), x @ weight.T + bias):
        first = tn.grad((f**3).sum(), [x, weight, bias], create_graph=True)
        second = tn.grad(sum((g**2).sum() for g in first), [x, weight, bias])
        if f.node.op.__class__.__name__ == "Linear":
            kept = (*first, *second)
        else:
            for a, b in zip(kept, (*first, *second), strict=True):
                close(a, b, rtol=1e-11)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"[mM]at[mM]ul.*\(2, 3\).*\(2, 3\)"):
        tn.zeros(2, 3) @ tn.zeros(2, 3)
    with pytest.raises(ValueError, match=r"matmul.*use \*"):
        tn.zeros(2, 3) @ tn.tensor(2.0)
    with pytest.raises(ValueError, match=r"in_features = 3.*\(5, 2\)"):
        tn.linear(tn.zeros(5, 2), tn.zeros(4, 3))
    with pytest.raises(
        TypeError, match=r"x is float32 and the parameters are float64.*x\.to\('float64'\).*model\.to\('float32'\)"
    ):
        tn.linear(tn.zeros(5, 3, dtype="float32"), tn.zeros(4, 3))
    for subscripts, message in {
        "...i,i": "ellipsis",
        "ij": "names 1 operands",
        "ijk,j": "does not fit operand 0",
        "ij,i": "stands for lengths",
        "ij,j->x": "output",
        "ij,j->ii": "output",
    }.items():
        with pytest.raises(ValueError, match=f"einsum.*{message}"):
            tn.einsum(subscripts, tn.zeros(2, 3), tn.zeros(3))
