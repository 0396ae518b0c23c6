"""Initialisation: bounds, moments, reproducibility."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinynn
from tinynn import nn
from tinynn.nn import init

SHAPE = (60, 20, 3, 2)  # fan_in 120, fan_out 360


@pytest.mark.parametrize(
    ("function", "bound"),
    [
        (lambda t: init.uniform_(t, -0.25, 0.25), 0.25),
        (init.standard_uniform_, 1 / math.sqrt(120)),
        (init.xavier_uniform_, math.sqrt(6 / 480)),
        (lambda t: init.xavier_uniform_(t, gain=5 / 3), 5 / 3 * math.sqrt(6 / 480)),
        (init.kaiming_uniform_, math.sqrt(2) * math.sqrt(3 / 120)),
        (lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"), math.sqrt(6 / 360)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), 1 / math.sqrt(120)),
    ],
)
def test_uniform_ones_fill_their_interval(function, bound):
    t = tinynn.zeros(SHAPE)
    assert function(t) is t
    values = t.numpy()
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.99 * bound
    np.testing.assert_allclose(values.var(), bound**2 / 3, rtol=0.05)
    assert abs(values.mean()) < 0.05 * bound


@pytest.mark.parametrize(
    ("function", "std"),
    [
        (lambda t: init.normal_(t, std=3.0), 3.0),
        (init.xavier_normal_, math.sqrt(2 / 480)),
        (init.kaiming_normal_, math.sqrt(2 / 120)),
        (lambda t: init.kaiming_normal_(t, nonlinearity="selu"), 0.75 / math.sqrt(120)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="linear"), 1 / math.sqrt(360)),
    ],
)
def test_normal_ones_have_their_standard_deviation(function, std):
    values = function(tinynn.zeros(SHAPE)).numpy()
    np.testing.assert_allclose(values.std(), std, rtol=0.05)
    assert abs(values.mean()) < 0.05 * std


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (4, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal_(tinynn.zeros(shape), gain=2.0).numpy().reshape(shape[0], -1) / 2.0
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-14)


def test_gains():
    gains = {"linear": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    assert {name: init.calculate_gain(name) for name in gains} == gains
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(ValueError, match="swish"):
        init.calculate_gain("swish")


def test_same_generator_same_numbers_and_the_default_one_is_left_alone():
    a = init.xavier_normal_(tinynn.zeros(4, 4), generator=tinynn.Generator(3)).numpy()
    b = init.xavier_normal_(tinynn.zeros(4, 4), generator=tinynn.Generator(3)).numpy()
    assert (a == b).all()
    tinynn.manual_seed(5)
    first = nn.Linear(3, 3).weight.numpy()
    tinynn.manual_seed(5)
    nn.Linear(3, 3, generator=tinynn.Generator(0))
    assert (nn.Linear(3, 3).weight.numpy() == first).all()


def test_dtype_and_identity_stay():
    p = nn.Parameter(tinynn.zeros(3, 4, dtype="float32"))
    functions = (init.xavier_uniform_, init.kaiming_normal_, init.orthogonal_, init.zeros_, init.ones_)
    for function in functions:
        assert function(p) is p
        assert p.dtype == np.float32
        assert p.requires_grad


def test_mistakes():
    for function in (init.xavier_uniform_, init.kaiming_normal_, init.standard_uniform_, init.orthogonal_):
        with pytest.raises(ValueError, match=r"two axes or more.*\(3,\)"):
            function(tinynn.zeros(3))
    with pytest.raises(ValueError, match="fan_avg"):
        init.kaiming_uniform_(tinynn.zeros(2, 2), mode="fan_avg")
    with pytest.raises(ValueError, match="negative"):
        init.normal_(tinynn.zeros(2), std=-1.0)
    with pytest.raises(ValueError, match="above"):
        init.uniform_(tinynn.zeros(2), 1.0, 0.0)


@pytest.mark.parametrize("layer", [nn.Linear(400, 30), nn.Conv2d(16, 60, 5, groups=1)])
def test_layers_start_with_the_standard_initialisation(layer):
    bound = 0.05
    for p in layer.parameters():
        assert np.abs(p.numpy()).max() <= bound
        assert np.abs(p.numpy()).max() > 0.7 * bound
