"""Gradients held within bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinynn
from tinynn.nn.utils import clip_grad_norm_, clip_grad_value_


def make():
    params = [tinynn.tensor(np.zeros(s), dtype=d, requires_grad=True) for s, d in [((2, 2), "float64"), (3, "float32")]]
    params.append(tinynn.tensor([1.0], requires_grad=True))  # without a gradient
    params[0].grad = tinynn.tensor([[1.0, -2.0], [3.0, -4.0]])
    params[1].grad = tinynn.tensor([5.0, -6.0, 0.0], dtype="float32")
    return params


@pytest.mark.parametrize(
    ("norm_type", "norm"), [(2.0, math.sqrt(91)), (1.0, 21.0), (math.inf, 6.0), (3.0, 441 ** (1 / 3))]
)
def test_norm(norm_type, norm) -> None:
    params = make()
    gradients = [p.grad for p in params]
    total = clip_grad_norm_(iter(params), 1.0, norm_type)
    assert total.item() == pytest.approx(norm, rel=1e-6)
    for p, g in zip(params[:2], gradients, strict=False):
        assert p.grad is not g
        assert p.grad.dtype == p.dtype
        np.testing.assert_allclose(p.grad.array, g.array / (norm + 1e-6), rtol=1e-6)
    assert params[2].grad is None
    assert gradients[0].tolist() == [[1.0, -2.0], [3.0, -4.0]]  # replaced, not written to


def test_a_small_norm_is_left() -> None:
    params = make()
    clip_grad_norm_(params, 100.0)
    assert params[0].grad.tolist() == [[1.0, -2.0], [3.0, -4.0]]
    assert clip_grad_norm_(params[2], 1.0).item() == 0.0


def test_value() -> None:
    params = make()
    clip_grad_value_(params, 2.5)
    assert params[0].grad.tolist() == [[1.0, -2.0], [2.5, -2.5]]
    assert params[1].grad.tolist() == [2.5, -2.5, 0.0]
    assert params[1].grad.dtype == "float32"


def test_errors_change_nothing() -> None:
    params = make()
    params[0].grad = tinynn.tensor([[math.nan, 1.0], [1.0, 1.0]])
    kept = params[1].grad
    with pytest.raises(ArithmeticError, match="norm of the gradients is nan"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[1].grad is kept
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm_(params, -1.0)
    with pytest.raises(ValueError, match="norm_type"):
        clip_grad_norm_(params, 1.0, 0.0)
    with pytest.raises(ValueError, match="clip_value"):
        clip_grad_value_(params, math.nan)
    with pytest.raises(TypeError, match="not a tensor"):
        clip_grad_value_([np.zeros(2)], 1.0)
