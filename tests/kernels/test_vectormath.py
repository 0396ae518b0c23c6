"""The vector functions: within their stated error everywhere, right at special values, vectorised."""

from __future__ import annotations

import functools
import re

import mpmath
import numpy as np
import pytest
from numba import njit
from numba.core.codegen import get_host_cpu_features

from tinynn.kernels import vectormath

NAMES = ["exp", "expm1", "log", "log1p", "tanh", "erf"]
# The table in vectormath's docstring.
MAX_ULP = {
    "exp": (1.0, 1.0), "expm1": (2.0, 1.5), "log": (1.0, 1.0), "log1p": (1.5, 1.5), "tanh": (2.5, 2.5),
    "erf": (1.5, 1.5),
}  # fmt: skip
DTYPES = [np.float64, np.float32]
INF, NAN = np.inf, np.nan


@functools.cache
def vectorised(name):
    """A loop over an array around one function, as a printed kernel has it."""
    function = getattr(vectormath, name)

    @njit(error_model="numpy", fastmath={"contract"})
    def loop(out, x):
        for i in range(out.size):
            out[i] = function(x[i])

    return loop


def evaluate(name, x):
    out = np.empty_like(x)
    vectorised(name)(out, x)
    return out


def exact(name, x):
    # What a float64 result needs, and what cancels: log near one, expm1 and tanh near zero down to 1e-308.
    with mpmath.workdps(60):
        argument = mpmath.mpf(float(x))
        if name in ("expm1", "tanh") and abs(argument) < 1e-30:
            return argument
        return getattr(mpmath, name)(argument)


def errors_in_ulp(name, x):
    got = evaluate(name, x)
    tiny = np.finfo(x.dtype).smallest_subnormal
    largest = mpmath.mpf(float(np.finfo(x.dtype).max))
    errors = np.zeros(x.size)
    for i, (argument, result) in enumerate(zip(x, got)):
        reference = exact(name, argument)
        if abs(reference) > largest:
            # past the last float by less than half a step, the largest float is also right
            errors[i] = 0.0 if np.isinf(result) or abs(reference) < largest * (1 + mpmath.mpf(2) ** -24) else INF
            continue
        spacing = max(float(np.spacing(np.abs(x.dtype.type(float(reference))))), float(tiny))
        errors[i] = float(abs(mpmath.mpf(float(result)) - reference) / spacing) if np.isfinite(result) else INF
    return errors


def arguments(name, dtype, n=3000):
    """Random arguments over every magnitude the function distinguishes, denormal numbers included."""
    random = np.random.default_rng(7)
    info = np.finfo(dtype)
    overflow = float(np.log(info.max))
    underflow = float(np.log(np.float64(info.smallest_subnormal)))
    near, magnitudes = (
        random.uniform(-2, 2, n),
        10.0 ** random.uniform(np.log10(info.tiny) - 5, np.log10(info.max), n),
    )
    denormal = random.uniform(underflow, float(np.log(info.tiny)), n)  # what exp of it is
    small = random.choice([-1.0, 1.0], n) * 10.0 ** random.uniform(-44, 0, n)
    pools = {
        "exp": [near, random.uniform(underflow, overflow, n), denormal],
        "expm1": [near, random.uniform(-60, overflow, n), small],
        "log": [magnitudes, 1 + near / 5, 1 + near * 1e-6, random.uniform(0.5, 2, n)],
        "log1p": [magnitudes, near[near > -1], -1 + 10.0 ** random.uniform(-7, 0, n), small],
        "tanh": [near, random.uniform(-25, 25, n), small],
        "erf": [near, random.uniform(-7, 7, n), small],
    }  # fmt: skip
    with np.errstate(under="ignore", over="ignore"):
        x = np.concatenate(pools[name]).astype(dtype)
    x = x[np.isfinite(x)]
    return x[(x > 0)] if name == "log" else x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_error_against_fifty_digits(name, dtype):
    x = arguments(name, dtype)
    errors = errors_in_ulp(name, x)
    worst = int(np.argmax(errors))
    bound = MAX_ULP[name][DTYPES.index(dtype)]
    assert errors[worst] <= bound, f"{name}({x[worst]!r}) is wrong by {errors[worst]:.2f} ULP"


SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e4, INF), (-1e4, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (NAN, NAN), (1e4, INF), (-1e4, -1.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (NAN, NAN), (-1.0, NAN), (1.0, 0.0)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (NAN, NAN), (-1.0, -INF), (-2.0, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (1e30, 1.0), (-1e30, -1.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (1e30, 1.0), (-1e30, -1.0)],
}


@pytest.mark.parametrize("copies", [1, 64], ids=["scalar remainder", "vector loop"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, dtype, copies):
    for argument, expected in SPECIAL[name]:
        got = evaluate(name, np.full(copies, argument, dtype))
        np.testing.assert_array_equal(got, np.full(copies, expected, dtype), err_msg=f"{name}({argument})")
        if not np.isnan(expected):
            assert (np.signbit(got) == np.signbit(expected)).all(), f"{name}({argument}) has the wrong sign"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh"])
def test_denormal_arguments_come_back(name, dtype):
    x = np.arange(-40, 40).astype(dtype) * np.finfo(dtype).smallest_subnormal
    np.testing.assert_array_equal(evaluate(name, x), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_underflows_gradually_and_overflows_at_the_right_place(dtype):
    info = np.finfo(dtype)
    largest = np.array([np.log(info.max)], dtype)
    largest = (
        largest if float(largest[0]) <= float(np.log(np.longdouble(info.max))) else np.nextafter(largest, dtype(0))
    )
    assert np.isfinite(evaluate("exp", largest))[0]
    assert np.isinf(evaluate("exp", np.nextafter(np.nextafter(largest, dtype(INF)), dtype(INF))))[0]
    inside = np.linspace(float(np.log(float(info.smallest_subnormal))) + 1, float(np.log(float(info.tiny))), 100)
    denormal = evaluate("exp", inside.astype(dtype))
    assert ((denormal > 0) & (denormal <= info.tiny * 1.001)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["one_plus_erf", "normal_cdf"])
def test_relative_accuracy_in_the_tail_of_the_error_function(name, dtype):
    gaussian, function = vectormath.exp, getattr(vectormath, name)
    square = 1.0 if name == "one_plus_erf" else 0.5  # of what x is for erf
    factor = dtype(-square)

    @njit(error_model="numpy", fastmath={"contract"})
    def loop(out, x):
        for i in range(out.size):
            out[i] = function(x[i], gaussian(x[i] * x[i] * factor))

    x = np.concatenate([np.linspace(-5, 5, 2001), [0.0, -0.0, INF, -INF, np.nan]]).astype(dtype)
    out = np.empty_like(x)
    loop(out, x)
    assert np.isnan(out[-1])
    x, out = x[:-1], out[:-1]
    scaled = [-mpmath.mpf(float(v)) * mpmath.sqrt(square) for v in x[:-2]]
    reference = np.array([float(mpmath.erfc(v)) for v in scaled] + [2.0, 0.0]) * square
    eps = float(np.finfo(dtype).eps)
    # x * x is rounded, and the fit minimises the error times exp(-x**2 / 2). 1 + erf(x) as written loses
    # exp(x**2). There is no exact square root of 2.
    few = 3.0 if name == "one_plus_erf" else 4.0
    tail = np.where(x < 0, np.minimum(square * x.astype(float) ** 2, 30.0), 0.0)
    allowed = reference * eps * (few + tail + 0.1 * np.expm1(tail / 2))
    assert (np.abs(out - reference) <= allowed).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_widened_in_float32(dtype):
    for name in NAMES:
        loop = vectorised(name)
        evaluate(name, np.ones(4, dtype))
        (signature,) = [s for s in loop.signatures if str(np.dtype(dtype)) in str(s[0])]
        text = loop.inspect_llvm(signature)
        assert ("double" in text) == (dtype is np.float64), name


@pytest.mark.skipif("+avx" not in get_host_cpu_features(), reason="reads the assembly of an x86-64 processor with AVX")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_loops_are_vectorised(name, dtype):
    loop = vectorised(name)
    evaluate(name, np.ones(4, dtype))
    (signature,) = [s for s in loop.signatures if str(np.dtype(dtype)) in str(s[0])]
    assembly = loop.inspect_asm(signature)
    suffix = "ps" if dtype is np.float32 else "pd"
    packed = [line for line in assembly.splitlines() if re.search(rf"\tv(mul|fn?m(add|sub)\d+){suffix}\b", line)]
    assert any("ymm" in line or "zmm" in line for line in packed)
