"""Symbols record every operator and function, mix with numbers, and refuse to be numbers themselves."""

from __future__ import annotations

import copy
import gc
import math
import operator
import pickle

import numpy as np
import pytest

from tinynn.kernels import symbols
from tinynn.kernels.symbols import Symbol, symbolic, trace

x, y = Symbol.variable("x"), Symbol.variable("y")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (x + y, "add(x, y)"), (x + 2, "add(x, 2.0)"), (2 + x, "add(2.0, x)"),
        (x - y, "subtract(x, y)"), (2 - x, "subtract(2.0, x)"),
        (x * y, "multiply(x, y)"), (2 * x, "multiply(2.0, x)"),
        (x / y, "divide(x, y)"), (2 / x, "divide(2.0, x)"),
        (x // y, "floor_divide(x, y)"), (2 // x, "floor_divide(2.0, x)"),
        (x % y, "remainder(x, y)"), (2 % x, "remainder(2.0, x)"),
        (x**y, "power(x, y)"), (2**x, "power(2.0, x)"),
        (-x, "negative(x)"), (+x, "x"), (abs(x), "absolute(x)"),
        (x > y, "greater(x, y)"), (x >= 1, "greater_equal(x, 1.0)"), (x < y, "less(x, y)"),
        (operator.lt(1, x),
        "greater(x, 1.0)"),
        (x <= y, "less_equal(x, y)"), (x == y, "equal(x, y)"), (x != 0, "not_equal(x, 0.0)"),
        ((x > 0) & (y > 0), "logical_and(greater(x, 0.0), greater(y, 0.0))"),
        ((x > 0) | (y > 0), "logical_or(greater(x, 0.0), greater(y, 0.0))"),
        (~(x > 0), "logical_not(greater(x, 0.0))"),
        (np.float64(2) * x, "multiply(2.0, x)"), (x + np.float32(0.5), "add(x, 0.5)"), (np.int64(3) - x,
        "subtract(3.0, x)"),
        (x + True, "add(x, True)"),
    ],
)  # fmt: skip
def test_operators(expression, text):
    assert repr(expression) == text


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "expm1", "sqrt", "sin", "cos", "tanh", "erf", "sign", "floor"])
def test_functions_of_one_argument(name):
    assert repr(getattr(symbolic, name)(x)) == f"{name}(x)"


@pytest.mark.parametrize("name", ["maximum", "minimum", "power", "floor_divide", "remainder", "add", "greater"])
def test_functions_of_two_arguments(name):
    assert repr(getattr(symbolic, name)(x, y)) == f"{name}(x, y)"


def test_further_functions():
    assert symbolic.abs(x) is symbolic.absolute(x)
    assert symbolic.square(x) is x * x
    assert repr(symbolic.isnan(x)) == "isnan(x)"
    assert repr(symbolic.where(x > 0, x, 0)) == "where(greater(x, 0.0), x, 0.0)"
    assert repr(symbolic.logical_or(x, y > 0)) == "logical_or(not_equal(x, 0.0), greater(y, 0.0))"
    assert symbolic.logical_not(symbolic.logical_not(x > 0)) is (x > 0)
    assert (symbolic.pi, symbolic.inf) == (math.pi, math.inf)


def test_equal_expressions_are_one_object():
    assert symbolic.exp(-x * x) is symbolic.exp(-(x * x))
    assert Symbol.variable("x") is x
    assert x + 0.0 is not x + (-0.0)
    assert x + 1 is not x + True
    assert Symbol.constant(math.nan) is Symbol.constant(math.nan)


def test_unused_expressions_are_forgotten():
    before = len(symbols._alive)
    expression = symbolic.tanh(x * 123.25) + 17.0
    assert len(symbols._alive) > before
    del expression
    gc.collect()
    assert len(symbols._alive) == before


def test_constants_are_folded_and_simple_powers_expanded():
    assert (Symbol.constant(2.0) * 3 + 1).value == 7.0
    assert symbolic.sqrt(2.0).value == math.sqrt(2.0)
    assert repr(Symbol.constant(1.0) / 0.0) == "divide(1.0, 0.0)"
    assert symbolic.where(Symbol.constant(2.0) > 1.0, x, y) is x
    assert x * 1.0 is x
    assert x * -1 is -x
    assert x / 1 is x
    assert operator.neg(-x) is x
    assert x**2 is x * x
    assert x**3 is x * x * x
    assert x**-1 is 1.0 / x
    assert x**0.5 is symbolic.sqrt(x)
    assert (x**0).value == 1.0
    assert repr(x**2.5) == "power(x, 2.5)"
    assert repr(x**100) == "power(x, 100.0)"
    assert repr(x**-math.inf) == "power(x, -inf)"


@pytest.mark.parametrize("use", [bool, float, int, len, iter, round, math.sqrt, lambda s: [1, 2][s], lambda s: s and 1])
def test_a_symbol_is_no_number(use):
    with pytest.raises(TypeError, match="while a formula is being recorded"):
        use(x > 0 if use is bool else x)


def test_branching_names_the_way_out():
    with pytest.raises(TypeError, match=r"greater\(x, 0\.0\).*xp\.where"):
        trace(lambda x: x if x > 0 else -x)


def test_other_misuse_is_explained():
    with pytest.raises(TypeError, match="one element at a time"):
        _ = x + np.ones(3)
    with pytest.raises(TypeError, match="one element at a time"):
        _ = np.ones(3) * x
    with pytest.raises(TypeError, match="one element at a time"):
        _ = x * "2"
    with pytest.raises(TypeError, match="joins truth values"):
        _ = x & (y > 0)
    with pytest.raises(TypeError, match="joins truth values"):
        _ = ~x
    with pytest.raises(AttributeError, match=r"no xp\.arctan; they know: .*tanh"):
        _ = symbolic.arctan
    with pytest.raises(TypeError, match="takes 2 arguments, got 1"):
        symbolic.maximum(x)
    with pytest.raises(AttributeError, match="immutable"):
        x.value = "z"
    with pytest.raises(ValueError, match="identifier"):
        Symbol.variable("not a name")
    with pytest.raises(ValueError, match="must differ"):
        trace(lambda a, b: a, ["a", "a"])


def test_copies_are_the_same_object():
    expression = symbolic.tanh(x) + 2.0
    assert copy.deepcopy(expression) is expression
    assert pickle.loads(pickle.dumps(expression)) is expression


def test_trace_calls_the_formula_with_variables():
    (one,) = trace(lambda g, out: g * (1.0 - out * out))
    g, out = Symbol.variable("g"), Symbol.variable("out")
    assert one is g * (1.0 - out * out)
    assert trace(lambda a, b: (a + b, 2.0), ["p", "q"])[0] is Symbol.variable("p") + Symbol.variable("q")
    (masked,) = trace(lambda m, a: symbolic.where(m, a, 0.0), ["m", "a"], bools=["m"])
    assert repr(masked) == "where(m, a, 0.0)"
