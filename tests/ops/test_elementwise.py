"""Every function of one number, and every choice and product of two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

import tinynn as tn
import tinynn.nn.functional as F
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
from tinynn.ops.piecewise_activations import prelu

Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def between(low: float, high: float, *corners: float) -> Draw:
    """Uniform numbers that keep 0.02 away from the corners."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        x = rng.uniform(low, high, shape)
        for corner in corners:
            x = np.where(np.abs(x - corner) < 0.02, corner + 0.05, x)
        return x

    return draw


def grid(offset: float) -> Draw:
    """Numbers that never come near those of another offset."""
    return lambda rng, shape: rng.integers(-8, 8, shape) * 0.2 + offset


@dataclass(frozen=True)
class Case:
    name: str
    f: Callable[..., Any]
    reference: Callable[..., Any]
    domains: tuple[Draw, ...] = (between(-2, 2),)

    def __str__(self) -> str:
        return self.name


def elu(x: Any, alpha: float, scale: float = 1.0) -> Any:
    return np.where(x > 0, scale * x, scale * alpha * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


positive, off_zero = (between(0.2, 3),), (between(-2, 2, 0.0),)
UNARY = [
    Case("exp", tn.exp, np.exp),
    Case("expm1", tn.expm1, np.expm1),
    Case("log", tn.log, np.log, positive),
    Case("log1p", tn.log1p, np.log1p, (between(-0.8, 3),)),
    Case("sqrt", tn.sqrt, np.sqrt, positive),
    Case("square", tn.square, np.square),
    Case("abs", tn.abs, np.abs, off_zero),
    Case("sign", tn.sign, np.sign, off_zero),
    Case("floor", tn.floor, np.floor, (between(-2, 2, -2, -1, 0, 1, 2),)),
    Case("sin", tn.sin, np.sin),
    Case("cos", tn.cos, np.cos),
    Case("tanh", tn.tanh, np.tanh),
    Case("sigmoid", tn.sigmoid, special.expit),
    Case("erf", tn.erf, special.erf),
    Case("negative", tn.negative, np.negative),
    Case("relu", tn.relu, lambda x: np.maximum(x, 0), off_zero),
    Case("leaky_relu", lambda x: tn.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x), off_zero),
    Case("elu", lambda x: tn.elu(x, 1.3), lambda x: elu(x, 1.3), off_zero),
    Case("selu", tn.selu, lambda x: elu(x, 1.6732632423543772, 1.0507009873554805), off_zero),
    Case("gelu", tn.gelu, lambda x: x * special.ndtr(x)),
    Case("gelu_tanh", lambda x: tn.gelu(x, "tanh"), gelu_tanh),
    Case("silu", tn.silu, lambda x: x * special.expit(x)),
    Case("softplus", tn.softplus, lambda x: np.logaddexp(x, 0)),
    Case("celu", lambda x: F.celu(x, 0.6), lambda x: elu(x / 0.6, 1.0) * 0.6, off_zero),
    Case("logsigmoid", F.logsigmoid, special.log_expit),
    Case("softsign", F.softsign, lambda x: x / (1 + np.abs(x)), off_zero),
    Case("tanhshrink", F.tanhshrink, lambda x: x - np.tanh(x)),
    Case("relu6", lambda x: F.relu6(4 * x), lambda x: np.clip(4 * x, 0, 6), (between(-2, 2, 0.0, 1.5),)),
    Case("hardtanh", lambda x: F.hardtanh(x, -0.5, 0.8), lambda x: np.clip(x, -0.5, 0.8), (between(-2, 2, -0.5, 0.8),)),
    Case(
        "threshold", lambda x: F.threshold(x, 0.3, -2.0), lambda x: np.where(x > 0.3, x, -2.0), (between(-2, 2, 0.3),)
    ),
    Case(
        "softshrink",
        lambda x: F.softshrink(x, 0.4),
        lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.4, 0),
        (between(-2, 2, -0.4, 0.4),),
    ),
    Case(
        "hardshrink",
        lambda x: F.hardshrink(x, 0.4),
        lambda x: np.where(np.abs(x) > 0.4, x, 0),
        (between(-2, 2, -0.4, 0.4),),
    ),
    Case("clip", lambda x: tn.clip(x, -0.5, 0.8), lambda x: np.clip(x, -0.5, 0.8), (between(-2, 2, -0.5, 0.8),)),
    Case("clip_below", lambda x: tn.clip(x, -0.5), lambda x: np.maximum(x, -0.5), (between(-2, 2, -0.5),)),
    Case("clip_above", lambda x: tn.clip(x, maximum=0.5), lambda x: np.minimum(x, 0.5), (between(-2, 2, 0.5),)),
    *[Case(f"power {p}", lambda x, p=p: tn.power(x, p), lambda x, p=p: x**p) for p in (0, 1, 2, 3, 4)],
    *[
        Case(f"power {p}", lambda x, p=p: tn.power(x, p), lambda x, p=p: x**p, positive)
        for p in (-1, -2, 0.5, 1.5, 2.5)
    ],
    Case("2 - x", lambda x: 2 - x, lambda x: 2 - x),
    Case("2 / x", lambda x: 2 / x, lambda x: 2 / x, positive),
    Case("2 ** x", lambda x: 2.0**x, lambda x: 2.0**x),
    Case("x % 0.7", lambda x: x % 0.7, lambda x: x % 0.7, (between(-1.35, 1.35, -0.7, 0.0, 0.7),)),
    Case("x / 3", lambda x: x / 3, lambda x: x / 3),
    Case("x / x.size", lambda x: x / max(x.size, 1), lambda x: x / max(x.size, 1)),
    Case("-x", lambda x: -x, lambda x: -x),
    Case("+x*3-1", lambda x: x * 3 - 1, lambda x: x * 3 - 1),
]
either = between(-2, 2)
BINARY = [
    Case("add", tn.add, np.add, (either, either)),
    Case("subtract", tn.subtract, np.subtract, (either, either)),
    Case("multiply", tn.multiply, np.multiply, (either, either)),
    Case("divide", tn.divide, np.divide, (either, between(-2, 2, 0.0, 0.05, -0.05))),
    Case("power", tn.power, np.power, (between(0.2, 2), either)),
    Case("maximum", tn.maximum, np.maximum, (grid(0.1), grid(0.0))),
    Case("minimum", tn.minimum, np.minimum, (grid(0.1), grid(0.0))),
    Case(
        "remainder",
        tn.remainder,
        np.remainder,
        (grid(0.1), lambda rng, shape: rng.choice([0.4, -0.8, 1.6], shape)),
    ),
    Case(
        "where",
        lambda a, b: tn.where(a > 0, a * b, a - b),
        lambda a, b: np.where(a > 0, a * b, a - b),
        (grid(0.1), either),
    ),
    Case(
        "clip tensors",
        lambda x, b: tn.clip(x, b - 0.7, b + 0.7),
        lambda x, b: np.clip(x, b - 0.7, b + 0.7),
        (grid(0.0), grid(0.0)),
    ),
]
BINARY.append(Case("prelu", prelu, lambda x, slope: np.where(x > 0, x, slope * x), (between(-2, 2, 0.0), either)))
FLAT = [
    Case(
        "floor_divide",
        tn.floor_divide,
        np.floor_divide,
        (grid(0.1), lambda rng, shape: rng.choice([0.4, -0.8], shape)),
    ),
    Case("equal", tn.equal, np.equal, (grid(0.0), grid(0.0))),
    Case("not_equal", tn.not_equal, np.not_equal, (grid(0.0), grid(0.0))),
    Case("less", tn.less, np.less, (grid(0.0), grid(0.0))),
    Case("less_equal", tn.less_equal, np.less_equal, (grid(0.0), grid(0.0))),
    Case("greater", tn.greater, np.greater, (grid(0.0), grid(0.0))),
    Case("greater_equal", tn.greater_equal, np.greater_equal, (grid(0.0), grid(0.0))),
    Case("logical_and", tn.logical_and, np.logical_and, (grid(0.0), grid(0.0))),
    Case("logical_or", tn.logical_or, np.logical_or, (grid(0.0), grid(0.0))),
]
every_case = pytest.mark.parametrize("case", UNARY + BINARY, ids=str)


def draw_inputs(data: Any, case: Case) -> list[Any]:
    rng = np.random.default_rng(data.draw(seeds))
    if len(case.domains) == 1:
        return [np.asarray(case.domains[0](rng, data.draw(shapes)))]
    pair = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)).input_shapes
    return [np.asarray(draw(rng, shape)) for draw, shape in zip(case.domains, pair, strict=True)]


@pytest.mark.parametrize("case", UNARY + BINARY + FLAT, ids=str)
@few
@given(data=st.data())
def test_forward_is_numpys(case: Case, data: Any) -> None:
    check_forward(case.f, case.reference, *draw_inputs(data, case))


@every_case
@few
@given(data=st.data())
def test_first_and_second_derivatives(case: Case, data: Any) -> None:
    check_derivatives(case.f, *draw_inputs(data, case))


@every_case
@few
@given(data=st.data())
def test_layout_in_memory_does_not_matter(case: Case, data: Any) -> None:
    arrays = draw_inputs(data, case)
    check_layout(case.f, arrays, [data.draw(layouts) for _ in arrays])


@every_case
def test_float32_stays_float32(case: Case) -> None:
    rng = np.random.default_rng(0)
    for shape in ((), (1,), (3,), (2, 3)):
        check_float32(case.f, *[draw(rng, shape) for draw in case.domains])


@pytest.mark.parametrize("case", FLAT, ids=str)
def test_flat_functions_record_nothing(case: Case) -> None:
    rng = np.random.default_rng(0)
    assert case.f(*[leaf(draw(rng, (3,))) for draw in case.domains]).node is None


@pytest.mark.parametrize("scalar", [2, 2.5, np.float64(2.5), np.float32(2.5), np.int64(2), np.sqrt(2)])
def test_scalars_are_weak(scalar: Any) -> None:
    x = tn.tensor([1.0, 2.0], dtype="float32", requires_grad=True)
    zero_d = tn.tensor(1.5, dtype="float32", requires_grad=True)
    for t in (x, zero_d):
        for y in (
            t + scalar,
            scalar + t,
            t - scalar,
            scalar - t,
            t * scalar,
            scalar * t,
            t / scalar,
            scalar / t,
            t**scalar,
            scalar**t,
            tn.maximum(t, scalar),
            tn.where(t > 0, t, scalar),
            tn.clip(t, 0, scalar),
            t % scalar,
        ):
            assert y.dtype == np.float32
            assert tn.grad(y.sum(), t).dtype == np.float32


def test_numpy_functions_and_arrays_give_tensors() -> None:
    x = tn.tensor([1.0, 2.0], requires_grad=True)
    array = np.array([3.0, 4.0])
    for y in (
        array * x,
        array + x,
        array - x,
        array / x,
        array**x,
        array @ x,
        np.exp(x),
        np.maximum(array, x),
        array > x,
        -x,
    ):
        assert isinstance(y, tn.Tensor)
    assert isinstance([3.0, 4.0] * x, tn.Tensor)
    close(tn.grad((array / x).sum(), x), -array / x.numpy() ** 2)
    with pytest.raises(TypeError, match=r"numpy\.arctan .*tinynn"):
        np.arctan(x)
    with pytest.raises(TypeError, match=r"numpy\.add\.reduce"):
        np.add.reduce(x)


def test_stop_gradient_is_a_constant() -> None:
    x = tn.tensor([1.0, 2.0], requires_grad=True)
    assert tn.stop_gradient(x).node is None
    close(tn.grad((x * tn.stop_gradient(x)).sum(), x), x)


def test_integer_powers_have_all_derivatives_at_zero() -> None:
    x = tn.tensor(0.0, requires_grad=True)
    for p, derivatives in {0: [0, 0, 0], 1: [1, 0, 0], 2: [0, 2, 0], 3: [0, 0, 6]}.items():
        y = tn.power(x, p)
        for wanted in derivatives:
            y = tn.grad(y, x, create_graph=True, allow_unused=True) if y.node is not None else None
            assert (0.0 if y is None else y.item()) == wanted
            if y is None:
                break


def test_errors_name_the_operation_and_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"Add.*\(2,\).*\(3,\)"):
        tn.zeros(2) + tn.zeros(3)
    with pytest.raises(ValueError, match="clip: give"):
        tn.clip(tn.zeros(2))
    with pytest.raises(ValueError, match="gelu: approximate"):
        tn.gelu(tn.zeros(2), approximate="erf")
    with pytest.raises(TypeError, match="Mul"):
        tn.zeros(2) * None
