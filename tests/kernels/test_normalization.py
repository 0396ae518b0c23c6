"""Layer and batch normalisation against their formulas in higher precision, and where the mean is large."""

import numpy as np
import pytest
from numba import config

from tinynn.kernels import memory, normalization, threads
from tinynn.kernels.normalization import (
    batch_norm_backward,
    batch_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)

TYPES = [np.float32, np.float64]
EPS = 1e-5
ROWS = [(0, 5), (1, 1), (1, 7), (5, 1), (3, 16), (130, 33), (300, 10), (7, 1000), (130, 64), (3, 1024)]
CHANNELS = [
    (2, 3), (1, 1), (5, 1), (300, 33), (70, 700), (1, 4), (2, 3, 4), (5, 2, 15), (5, 2, 16), (70, 3, 20),
    (3, 4, 1000), (1, 1, 1), (9, 5, 1), (2000, 2), (6, 3, 64),
    (4, 2, 1024),
]  # fmt: skip


def numbers(shape, dtype, seed, offset=0.0, spread=1.0):
    return (offset + spread * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def reference(x, weight, bias, axes, eps, g):
    """The formulas in long double: out, mean, var, rstd, dx, and g * x_hat, g before their sums."""
    x, weight, bias, g = (np.asarray(part, np.longdouble) for part in (x, weight, bias, g))
    mean = x.mean(axis=axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    rstd = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * rstd
    h = g * weight
    dx = rstd * (h - h.mean(axis=axes, keepdims=True) - x_hat * (h * x_hat).mean(axis=axes, keepdims=True))
    return x_hat * weight + bias, mean, var, rstd, dx, g * x_hat, g


def close(ours, expected, dtype, scale=1.0):
    assert ours.dtype == dtype
    limit = scale * (1e-5 if dtype == np.float32 else 1e-13)
    expected = np.asarray(expected, np.float64)
    np.testing.assert_allclose(ours, expected, rtol=limit, atol=limit * max(1.0, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", ROWS)
def test_layer_norm(shape, affine, dtype):
    x, g = numbers(shape, dtype, 0, 2.0, 3.0), numbers(shape, dtype, 1)
    weight, bias = (numbers(shape[1:], dtype, 2), numbers(shape[1:], dtype, 3)) if affine else (None, None)
    out, mean, rstd = layer_norm_forward(x, weight, bias, EPS)
    dx, dweight, dbias = layer_norm_backward(g, x, mean, rstd, weight)
    if not len(x):
        assert out.shape == dx.shape == shape
        assert not dweight.any()
        assert not dbias.any()
        return
    ones, zeros = np.ones(shape[1]), np.zeros(shape[1])
    expected = reference(x, ones if weight is None else weight, zeros if bias is None else bias, 1, EPS, g)
    close(out, expected[0], dtype)
    close(mean, expected[1][:, 0], dtype)
    close(rstd, expected[3][:, 0], dtype)
    close(dx, expected[4], dtype, 10)
    close(dweight, expected[5].sum(axis=0), dtype, 10)
    close(dbias, expected[6].sum(axis=0), dtype)
    assert layer_norm_backward(g, x, mean, rstd, weight, False, False)[1:] == (None, None)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", CHANNELS)
def test_batch_norm(shape, affine, dtype):
    x, g = numbers(shape, dtype, 0, 2.0, 3.0), numbers(shape, dtype, 1)
    weight, bias = (numbers(shape[1:2], dtype, 2), numbers(shape[1:2], dtype, 3)) if affine else (None, None)
    out, mean, var, rstd = batch_norm_forward(x, weight, bias, EPS)
    dx, dweight, dbias = batch_norm_backward(g, x, mean, rstd, weight)
    axes = (0, 2) if len(shape) == 3 else (0,)
    along = (-1, 1) if len(shape) == 3 else (-1,)
    ones, zeros = np.ones(shape[1]), np.zeros(shape[1])
    parts = [default if part is None else part for part, default in ((weight, ones), (bias, zeros))]
    expected = reference(x, parts[0].reshape(along), parts[1].reshape(along), axes, EPS, g)
    few = 1 + (1e3 if x.size // shape[1] <= 2 else 0)  # two values: x_hat is made of their rounding
    close(out, expected[0], dtype, few)
    close(mean, expected[1].reshape(-1), dtype)
    close(var, expected[2].reshape(-1), dtype, few)
    close(rstd, expected[3].reshape(-1), dtype, few)
    close(dx, expected[4], dtype, 10 * few)
    close(dweight, expected[5].sum(axis=axes), dtype, 10 * few)
    close(dbias, expected[6].sum(axis=axes), dtype)


LARGE = [(np.float64, 1e4, 1e-2, 1e-7), (np.float32, 1e4, 1.0, 2e-3), (np.float32, -3e3, 0.5, 2e-3)]


@pytest.mark.parametrize(("dtype", "offset", "spread", "limit"), LARGE)
def test_large_mean(dtype, offset, spread, limit):
    """E[x**2] - E[x]**2 would have no digit left in float32, and few in float64."""
    for shape in ((64, 500), (40, 6, 50), (400, 30)):
        x = numbers(shape, dtype, 4, offset, spread)
        ones, zeros, g = np.ones(1), np.zeros(1), numbers(shape, dtype, 5)
        if shape == (64, 500):
            out, mean, rstd = layer_norm_forward(x, None, None, 0.0)
            expected = reference(x, ones, zeros, 1, 0.0, g)
            dx = layer_norm_backward(g, x, mean, rstd, None)[0]
        else:
            out, mean, var, rstd = batch_norm_forward(x, None, None, 0.0)
            expected = reference(x, ones, zeros, (0, 2) if len(shape) == 3 else 0, 0.0, g)
            np.testing.assert_allclose(var, expected[2].astype(np.float64).reshape(-1), rtol=1e-5)
            dx = batch_norm_backward(g, x, mean, rstd, None)[0]
        exact = expected[1].astype(np.float64).reshape(-1)
        np.testing.assert_allclose(mean, exact, rtol=4 * np.finfo(dtype).eps)
        rounding = 1e-5 if dtype == np.float32 else 1e-9
        np.testing.assert_allclose(out, expected[0].astype(np.float64), rtol=0, atol=rounding)
        # backward has the mean as it was rounded, half a unit in the last place of 1e4
        np.testing.assert_allclose(dx * spread, (expected[4] * spread).astype(np.float64), rtol=0, atol=limit)


@pytest.mark.skipif(config.DISABLE_JIT, reason="plain Python adds one by one, and rounds more than compiled loops")
@pytest.mark.parametrize("dtype", TYPES)
def test_variance_of_rows_whose_beginning_is_unlike_the_rest(dtype):
    """Layer norm takes moments about the mean of a row's beginning, and again where that was far off."""
    x = numbers((3, 4096), dtype, 10)
    x[1, :128] += dtype(1e4)
    x[2, 128:] += dtype(1e4)
    x[0, 0] = 1e4
    out, mean, rstd = layer_norm_forward(x, None, None, 0.0)
    expected = reference(x, np.ones(1), np.zeros(1), 1, 0.0, x)
    unit = np.finfo(dtype).eps
    exact_mean, exact_rstd = (expected[k][:, 0].astype(np.float64) for k in (1, 3))
    np.testing.assert_allclose((mean - exact_mean) * exact_rstd, np.zeros(3), atol=50 * unit)
    np.testing.assert_allclose(rstd, exact_rstd, rtol=8 * unit)
    np.testing.assert_allclose(out, expected[0].astype(np.float64), rtol=8 * unit, atol=50 * unit)


def test_rows_that_are_not_finite_do_not_spoil_others():
    x = numbers((4, 256), np.float32, 11)
    expected = layer_norm_forward(x, None, None, EPS)[0]
    x[1, 3], x[2, 200] = np.inf, np.nan
    out, _, rstd = layer_norm_forward(x, None, None, EPS)
    assert np.isnan(out[1:3]).all()
    assert np.isnan(rstd[1:3]).all()
    np.testing.assert_array_equal(out[[0, 3]], expected[[0, 3]])


@pytest.mark.skipif(config.DISABLE_JIT, reason="registers exist in compiled code only")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_writing_past_the_caches_changes_nothing(monkeypatch, dtype, shift):
    """The same bits, wherever the arguments begin in memory, and with threads as well."""

    def placed(array):  # begins `shift` elements after a NumPy array does
        room = np.empty(array.size + shift, dtype)
        room[shift:] = array.reshape(-1)
        return room[shift:].reshape(array.shape)

    rows, planes = placed(numbers((300, 256), dtype, 12)), placed(numbers((70, 3, 384), dtype, 13))
    weight, g = numbers((256,), dtype, 14), placed(numbers((300, 256), dtype, 15))

    def everything():
        out, mean, rstd = layer_norm_forward(rows, weight, weight, EPS)
        results = [out, mean, rstd, *layer_norm_backward(g, rows, mean, rstd, weight)]
        out, mean, var, rstd = batch_norm_forward(planes, None, None, EPS)
        return results + [out, mean, var, rstd, *batch_norm_backward(planes, planes, mean, rstd, None)]

    streamed = []

    def worth_streaming(out):
        streamed.append(memory.worth_streaming(out))
        return streamed[-1]

    monkeypatch.setattr(normalization, "worth_streaming", worth_streaming)
    ordinary = everything()
    assert streamed == 4 * [False]
    monkeypatch.setattr(memory, "_STREAM", 0)
    monkeypatch.setattr(normalization, "_LARGE", 0)
    for number in (1, 3):
        streamed.clear()
        monkeypatch.setattr(threads, "threads_for", lambda nanoseconds, number=number: number)
        for a, b in zip(ordinary, everything(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert streamed == 4 * [True]


def test_drifting_columns():
    """Blocks of rows whose means differ by much more than their spread are joined without loss."""
    for shape in ((1000, 40), (100, 3, 40)):
        x = numbers(shape, np.float32, 6)
        x += (1000 * np.arange(shape[0])).astype(np.float32).reshape(-1, *[1] * (len(shape) - 1))
        _, mean, var, _ = batch_norm_forward(x, None, None, 0.0)
        axes = (0, 2) if len(shape) == 3 else 0
        np.testing.assert_allclose(mean, x.mean(axis=axes, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(var, x.var(axis=axes, dtype=np.float64), rtol=1e-5)


def test_constant_rows_have_no_gradient_problem():
    x = np.full((4, 8), 7.0)
    out, mean, rstd = layer_norm_forward(x, None, None, EPS)
    assert not out.any()
    np.testing.assert_allclose(rstd, 1 / np.sqrt(EPS))
    assert np.isfinite(layer_norm_backward(np.ones((4, 8)), x, mean, rstd, None)[0]).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_threads_do_not_change_the_result(monkeypatch, dtype):
    rows, planes, columns = (
        numbers((500, 30), dtype, 7),
        numbers((90, 3, 200), dtype, 8),
        numbers((700, 60), dtype, 9),
    )

    def everything():
        out, mean, rstd = layer_norm_forward(rows, None, None, EPS)
        results = [out, mean, rstd, *layer_norm_backward(rows, rows, mean, rstd, None)]
        for x in (planes, columns):
            out, mean, var, rstd = batch_norm_forward(x, None, None, EPS)
            results += [out, mean, var, rstd, *batch_norm_backward(x, x, mean, rstd, None)]
        return results

    serial = everything()
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    for a, b in zip(serial, everything()):
        np.testing.assert_array_equal(a, b)


def test_errors():
    x, w = np.ones((3, 4)), np.ones(4)
    with pytest.raises(TypeError, match="int64"):
        layer_norm_forward(np.ones((3, 4), int), None, None, EPS)
    with pytest.raises(ValueError, match=r"weight is float64 of shape \(3,\)"):
        layer_norm_forward(x, np.ones(3), None, EPS)
    with pytest.raises(ValueError, match="bias is float32"):
        batch_norm_forward(x, w, w.astype(np.float32), EPS)
    with pytest.raises(ValueError, match="2 axes are needed"):
        layer_norm_forward(np.ones(3), None, None, EPS)
    with pytest.raises(ValueError, match="2 axes are needed"):
        batch_norm_forward(np.ones((2, 3, 4, 5)), None, None, EPS)
    for call, shape in (
        (layer_norm_forward, (3, 0)),
        (batch_norm_forward, (0, 3)),
        (batch_norm_forward, (2, 3, 0)),
    ):
        with pytest.raises(ValueError, match="no value to take a mean over"):
            call(np.ones(shape), None, None, EPS)
    with pytest.raises(ValueError, match="g has shape"):
        layer_norm_backward(np.ones((3, 3)), x, np.ones(3), np.ones(3), None)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(130, 33), (7, 1000), (1, 7)])
def test_layer_norm_against_pytorch(shape):
    torch = pytest.importorskip("torch")
    arrays = (
        numbers(shape, np.float64, 0, 2.0),
        numbers(shape[1:], np.float64, 1),
        numbers(shape[1:], np.float64, 2),
    )
    theirs = [torch.tensor(part, requires_grad=True) for part in arrays]
    expected = torch.nn.functional.layer_norm(theirs[0], shape[1:], *theirs[1:], EPS)
    out, mean, rstd = layer_norm_forward(*arrays, EPS)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-12)
    g = numbers(shape, np.float64, 3)
    gradients = torch.autograd.grad(expected, theirs, torch.tensor(g))
    for ours, their in zip(layer_norm_backward(g, arrays[0], mean, rstd, arrays[1]), gradients):
        np.testing.assert_allclose(ours, their.numpy(), atol=1e-10)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(300, 33), (5, 2, 15), (70, 3, 20)])
def test_batch_norm_against_pytorch(shape):
    torch = pytest.importorskip("torch")
    arrays = (
        numbers(shape, np.float64, 0, 2.0),
        numbers(shape[1:2], np.float64, 1),
        numbers(shape[1:2], np.float64, 2),
    )
    theirs = [torch.tensor(part, requires_grad=True) for part in arrays]
    expected = torch.nn.functional.batch_norm(theirs[0], None, None, *theirs[1:], training=True, eps=EPS)
    out, mean, _, rstd = batch_norm_forward(*arrays, EPS)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-12)
    g = numbers(shape, np.float64, 3)
    gradients = torch.autograd.grad(expected, theirs, torch.tensor(g))
    for ours, their in zip(batch_norm_backward(g, arrays[0], mean, rstd, arrays[1]), gradients):
        np.testing.assert_allclose(ours, their.numpy(), atol=1e-10)
