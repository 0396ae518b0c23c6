"""Transforms of functions that use tensors from outside: what stays part of a graph, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn as tn
from tinynn import func, nn


def energy(model: nn.Module, x: tn.Tensor) -> tn.Tensor:
    return (model(x).tanh() ** 2).sum()


def test_derivatives_can_be_differentiated_by_the_parameters_in_the_function() -> None:
    model, x = nn.Linear(2, 3), tn.tensor([[0.3, -0.4]])
    leaf = tn.tensor(x.numpy(), requires_grad=True)
    wanted = tn.grad((tn.grad(energy(model, leaf), leaf, create_graph=True) ** 2).sum(), model.weight)
    slope = func.grad(lambda t: energy(model, t))(x)
    np.testing.assert_allclose(tn.grad((slope**2).sum(), model.weight).numpy(), wanted.numpy())
    value, slope = func.value_and_grad(lambda t: energy(model, t))(x)
    assert value.requires_grad
    (pulled,) = func.vjp(lambda t: energy(model, t), x)[1](1.0)
    _, pushed = func.jvp(lambda t: energy(model, t), (x,), (x,))
    rows = func.jacobian(lambda t: model(t).tanh())(x)
    assert all(t.requires_grad for t in (slope, pulled, pushed, rows))


def test_without_such_parameters_the_results_are_constants() -> None:
    model, x = nn.Linear(2, 3).requires_grad_(False), tn.tensor([[0.3, -0.4]])
    value, slope = func.value_and_grad(lambda t: energy(model, t))(x)
    assert not any(t.requires_grad for t in (value, slope))
    assert not func.hvp(lambda t: energy(model, t), x, x)[1].requires_grad
    assert not func.hessian(lambda t: energy(model, t))(x).requires_grad


def test_under_no_grad_the_results_are_constants() -> None:
    model, x = nn.Linear(2, 3), tn.tensor([[0.3, -0.4]], requires_grad=True)
    with tn.no_grad():
        value, slope = func.value_and_grad(lambda t: energy(model, t))(x)
        _, pushed = func.hvp(lambda t: energy(model, t), x, x)
    assert not any(t.requires_grad for t in (value, slope, pushed))
    assert slope.size == 2


def test_only_the_condition_of_where_moves() -> None:
    c = tn.tensor([1.0, 2.0], requires_grad=True)
    x = tn.tensor([1.0, 0.0])
    value, tangent = func.jvp(lambda t: tn.where(t, c, 0.0).sum(), (x,), (x,))
    assert (value.item(), tangent.item()) == (1.0, 0.0)


def test_arguments_in_the_wrong_place_are_refused() -> None:
    x = tn.tensor([1.0, 2.0])
    for transform in (func.grad, func.value_and_grad, func.jacobian, func.hessian):
        with pytest.raises(TypeError, match=rf"{transform.__name__}\(function\)\(x\)"):
            transform(lambda t: (t**3).sum(), x)
    with pytest.raises(TypeError, match=r"jvp\(f, \(x,\), \(t,\)\)"):
        func.jvp(lambda t: t**3, x, x)
