"""The update rules, written out once more in plain NumPy and followed for several steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinynn
from tinynn.optim import SGD, Adagrad, Adam, AdamW, RMSprop

GRADIENTS = [np.array([0.5, -2.0, 0.0]), np.array([0.1, 3.0, -1.0]), np.array([-4.0, 1e-3, 2.0])] * 3
START = np.array([1.0, -1.0, 0.5])


def follow(make, gradients=GRADIENTS) -> np.ndarray:
    p = tinynn.tensor(START, requires_grad=True)
    optimizer = make([p])
    for g in gradients:
        p.grad = tinynn.tensor(g)
        optimizer.step()
    return p.detach().numpy()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_sgd(nesterov: bool, dampening: float) -> None:
    if nesterov and dampening:
        return
    p, b = START.copy(), None
    for g in GRADIENTS:
        g = g + 0.01 * p
        b = g if b is None else 0.9 * b + (1 - dampening) * g
        p = p - 0.1 * (g + 0.9 * b if nesterov else b)
    got = follow(lambda ps: SGD(ps, 0.1, momentum=0.9, dampening=dampening, weight_decay=0.01, nesterov=nesterov))
    np.testing.assert_allclose(got, p, rtol=1e-14)


def test_plain_sgd_is_exact() -> None:
    p = START.copy()
    for g in GRADIENTS:
        p = p - 0.1 * g
    np.testing.assert_array_equal(follow(lambda ps: SGD(ps, 0.1)), p)


@pytest.mark.parametrize("eta", [0.1, 0.003])
def test_two_ways_to_write_momentum_are_one_bit_by_bit(eta: float) -> None:
    """v = gamma v - eta g, w = w + v;   and   w(j+1) = w(j) + D(j) with D(j) = -lambda g + alpha D(j-1)."""
    w, v = START.copy(), np.zeros(3)
    u, change = START.copy(), np.zeros(3)
    for g in GRADIENTS:
        v = 0.9 * v - eta * g
        w = w + v
        change = -eta * g + 0.9 * change
        u = u + change
        np.testing.assert_array_equal(u, w)
    got = follow(lambda ps: SGD(ps, eta, momentum=0.9))
    np.testing.assert_allclose(got, w, rtol=0, atol=8 * np.spacing(np.abs(w).max()))


def test_the_textbook_form_of_momentum_is_the_same() -> None:
    """v = -eta g + gamma v, w = w + v: the factor eta is inside v, so each v may differ by roundings only."""
    w, v = START.copy(), np.zeros(3)
    for g in GRADIENTS:
        v = -0.1 * g + 0.9 * v
        w = w + v
    got = follow(lambda ps: SGD(ps, 0.1, momentum=0.9))
    np.testing.assert_allclose(got, w, rtol=0, atol=8 * np.spacing(np.abs(w).max()))

    w, v = START.copy(), np.zeros(3)
    for g in GRADIENTS:  # with a power of two no rounding depends on where the factor stands
        v = -0.125 * g + 0.9 * v
        w = w + v
    np.testing.assert_array_equal(follow(lambda ps: SGD(ps, 0.125, momentum=0.9)), w)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(amsgrad: bool, decoupled: bool) -> None:
    lr, b1, b2, eps, decay = 0.1, 0.9, 0.99, 1e-8, 0.05
    p, m, v, largest = START.copy(), np.zeros(3), np.zeros(3), np.zeros(3)
    for t, g in enumerate(GRADIENTS, start=1):
        if decoupled:
            p = p - lr * decay * p
        else:
            g = g + decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        largest = np.maximum(largest, v)
        m_hat, v_hat = m / (1 - b1**t), (largest if amsgrad else v) / (1 - b2**t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    kind = AdamW if decoupled else Adam
    got = follow(lambda ps: kind(ps, lr, (b1, b2), eps, decay, amsgrad))
    np.testing.assert_allclose(got, p, rtol=1e-13)


def test_adam_without_bias_correction_is_the_printed_program_bit_by_bit() -> None:
    lr, beta1, beta2 = 0.01, 0.9, 0.999
    p, m, v = START.copy(), 0.0, 0.0
    for g in GRADIENTS:
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (g**2)
        p += -lr * m / (np.sqrt(v) + 1e-7)
    got = follow(lambda ps: Adam(ps, lr, (beta1, beta2), eps=1e-7, bias_correction=False))
    np.testing.assert_array_equal(got, p)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_adagrad(start: float) -> None:
    p, s = START.copy(), np.full(3, start)
    for t, g in enumerate(GRADIENTS):
        g = g + 0.01 * p
        s = s + g**2
        p = p - 0.1 / (1 + 0.2 * t) * g / (np.sqrt(s) + 1e-10)
    got = follow(lambda ps: Adagrad(ps, 0.1, 0.2, 0.01, start))
    np.testing.assert_allclose(got, p, rtol=1e-14)


def test_adagrad_begins_each_sum_where_it_is_told_to() -> None:
    p = tinynn.tensor(START, requires_grad=True)
    optimizer = Adagrad([p], initial_accumulator_value=0.25)
    assert optimizer.state_dict()["state"][0]["sum"].tolist() == [0.25] * 3
    again = Adagrad([p])
    again.load_state_dict(optimizer.state_dict())
    p.grad = tinynn.ones(3)
    again.step()
    assert again.state[p]["sum"].tolist() == [1.25] * 3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("centered", [False, True])
def test_rmsprop(momentum: float, centered: bool) -> None:
    p, v, m, b = START.copy(), np.zeros(3), np.zeros(3), np.zeros(3)
    for g in GRADIENTS:
        v = 0.9 * v + 0.1 * g**2
        m = 0.9 * m + 0.1 * g
        b = momentum * b + g / (np.sqrt(v - m**2 if centered else v) + 1e-6)
        p = p - 0.01 * b
    got = follow(lambda ps: RMSprop(ps, 0.01, 0.9, 1e-6, momentum=momentum, centered=centered))
    np.testing.assert_allclose(got, p, rtol=1e-12)


@pytest.mark.parametrize("kind", [SGD, Adagrad, Adam, AdamW, RMSprop])
def test_maximize_is_descent_of_minus_the_function(kind) -> None:
    up = follow(lambda ps: kind(ps, lr=0.1, weight_decay=0.1, maximize=True))
    down = follow(lambda ps: kind(ps, lr=0.1, weight_decay=0.1), [-g for g in GRADIENTS])
    np.testing.assert_array_equal(up, down)


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate() -> None:
    for scale in (1e-6, 1.0, 1e6):
        p = tinynn.tensor(1.0, requires_grad=True)
        (scale * p).backward()
        Adam([p], lr=0.125, eps=0.0).step()
        assert math.isclose(p.item(), 0.875, rel_tol=1e-12)
