"""Convolution against an einsum over windows, its derivatives against the bilinear form, and PyTorch."""

import numpy as np
import pytest

from tinynn.kernels import threads
from tinynn.kernels.convolution import conv2d_backward, conv2d_forward
from tinynn.kernels.shifted_products import (
    add_products,
    add_products_plain,
    add_shifted,
    add_shifted_plain,
)

# x (N, C, H, W), weight (O, C / groups, KH, KW), stride, padding, dilation, groups
CASES = [
    ((2, 3, 8, 9), (4, 3, 3, 3), 1, 0, 1, 1),
    ((2, 3, 8, 9), (5, 3, 3, 2), (1, 2), (2, 0), 1, 1),
    ((3, 4, 17, 13), (6, 2, 3, 5), (2, 3), (3, 1), (2, 1), 2),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
    ((1, 1, 5, 5), (1, 1, 5, 5), 1, 0, 1, 1),
    ((2, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, 1),
    ((3, 6, 14, 14), (16, 6, 5, 5), 1, 0, 1, 1),
    ((2, 8, 6, 7), (8, 1, 3, 3), 1, 1, 1, 8),
    ((2, 8, 6, 7), (16, 1, 3, 3), 2, 1, 1, 8),
    ((2, 5, 6, 7), (3, 5, 1, 1), 1, 0, 1, 1),
    ((2, 5, 6, 7), (3, 5, 1, 1), 2, 1, 1, 1),
    ((2, 2, 3, 3), (7, 2, 2, 2), 1, 4, 1, 1),
    ((2, 2, 20, 20), (3, 2, 2, 2), 5, 0, 3, 1),
    ((2, 2, 4, 70), (9, 2, 2, 4), (1, 3), (0, 2), (1, 4), 1),
    ((2, 3, 40, 40), (2, 3, 3, 3), 1, 1, 1, 1),
    ((21, 2, 6, 6), (3, 2, 3, 3), 1, 1, 1, 1),
]


def pair(value):
    return (value, value) if isinstance(value, int) else value


def windows(x, kernel, stride, padding, dilation):
    """All windows of x as an array (N, C, KH, KW, OH, OW)."""
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh = (x.shape[2] - dh * (kernel[0] - 1) - 1) // sh + 1
    ow = (x.shape[3] - dw * (kernel[1] - 1) - 1) // sw + 1
    rows, columns = slice(None, (oh - 1) * sh + 1, sh), slice(None, (ow - 1) * sw + 1, sw)
    taps = [[x[:, :, k * dh :, m * dw :][:, :, rows, columns] for m in range(kernel[1])] for k in range(kernel[0])]
    return np.moveaxis(np.array(taps), (0, 1), (2, 3))


def reference(x, weight, bias, stride, padding, dilation, groups):
    patches = windows(x, weight.shape[2:], stride, padding, dilation)
    n, c, kh, kw, oh, ow = patches.shape
    patches = patches.reshape(n, groups, c // groups, kh, kw, oh, ow)
    filters = weight.reshape(groups, -1, c // groups, kh, kw)
    out = np.einsum("ngcklij,gockl->ngoij", patches, filters).reshape(n, -1, oh, ow)
    return out + bias[:, None, None]


def numbers(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


def problem(x_shape, w_shape, dtype=np.float64):
    return [numbers(shape, i).astype(dtype) for i, shape in enumerate((x_shape, w_shape, w_shape[:1]))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding", "dilation", "groups"), CASES)
def test_forward_and_backward(x_shape, w_shape, stride, padding, dilation, groups, dtype):
    x, weight, bias = problem(x_shape, w_shape, dtype)
    options = stride, padding, dilation, groups
    tolerance = {"rtol": 0, "atol": 2e-4 if dtype == np.float32 else 1e-11}
    out = conv2d_forward(x, weight, bias, *options)
    assert out.dtype == dtype
    expected = reference(*(part.astype(np.float64) for part in (x, weight, bias)), *options)
    np.testing.assert_allclose(out, expected, **tolerance)
    np.testing.assert_allclose(
        conv2d_forward(x, weight, None, *options),
        expected - bias[:, None, None].astype(np.float64),
        **tolerance,
    )
    # out is linear in x, in weight and in bias, so <g, out(dx-direction)> = <dx, direction> says all.
    g = numbers(out.shape, 3).astype(dtype)
    dx, dweight, dbias = conv2d_backward(g, x, weight, *options)
    assert (dx.dtype, dweight.dtype, dbias.dtype) == (dtype,) * 3
    zero = np.zeros(w_shape[0])
    wide = g.astype(np.float64)
    close = {"rtol": 1e-4 if dtype == np.float32 else 1e-10, "atol": 1e-2 if dtype == np.float32 else 1e-9}
    for seed in (4, 5):
        v, u = numbers(x_shape, seed), numbers(w_shape, seed)
        lhs = (wide * reference(v, weight.astype(np.float64), zero, *options)).sum()
        np.testing.assert_allclose((dx * v).sum(), lhs, **close)
        lhs = (wide * reference(x.astype(np.float64), u, zero, *options)).sum()
        np.testing.assert_allclose((dweight * u).sum(), lhs, **close)
    np.testing.assert_allclose(dbias, wide.sum(axis=(0, 2, 3)), **close)


def test_every_element_of_the_gradients():
    """Each dweight and dx entry on its own, by putting in unit vectors."""
    options = (2, 1), (1, 0), (1, 2), 2
    x, weight, _ = problem((2, 4, 5, 6), (4, 2, 2, 2))
    zero = np.zeros(4)
    g = numbers(conv2d_forward(x, weight, None, *options).shape, 6)
    dx, dweight, _ = conv2d_backward(g, x, weight, *options)
    for array, gradient, call in (
        (x, dx, lambda e: reference(e, weight, zero, *options)),
        (weight, dweight, lambda e: reference(x, e, zero, *options)),
    ):
        for k in range(array.size):
            unit = np.zeros(array.size)
            unit[k] = 1.0
            assert abs((g * call(unit.reshape(array.shape))).sum() - gradient.flat[k]) < 1e-12


def test_only_what_is_needed():
    x, weight, _ = problem((2, 3, 8, 9), (4, 3, 3, 3))
    g = np.ones((2, 4, 6, 7))
    assert conv2d_backward(g, x, weight, need_x=False, need_weight=False, need_bias=False) == (
        None,
        None,
        None,
    )
    full = conv2d_backward(g, x, weight)
    for k in range(3):
        needs = [k == 0, k == 1, k == 2]
        parts = conv2d_backward(g, x, weight, 1, 0, 1, 1, *needs)
        assert [part is not None for part in parts] == needs
        np.testing.assert_array_equal(parts[k], full[k])


def test_empty_batch():
    weight = np.ones((4, 3, 3, 3))
    assert conv2d_forward(np.ones((0, 3, 8, 8)), weight).shape == (0, 4, 6, 6)
    dx, dweight, dbias = conv2d_backward(np.ones((0, 4, 6, 6)), np.ones((0, 3, 8, 8)), weight)
    assert dx.shape == (0, 3, 8, 8)
    assert not dweight.any()
    assert not dbias.any()
    assert conv2d_forward(np.ones((0, 3, 8, 8)), weight[:, :, :1, :1]).shape == (0, 4, 8, 8)


def test_threads_do_not_change_the_result(monkeypatch):
    x, weight, bias = problem((19, 4, 9, 9), (6, 2, 3, 3), np.float32)
    g = numbers((19, 6, 9, 9), 7).astype(np.float32)
    serial = conv2d_forward(x, weight, bias, 1, 1, 1, 2), *conv2d_backward(g, x, weight, 1, 1, 1, 2)
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    shared = conv2d_forward(x, weight, bias, 1, 1, 1, 2), *conv2d_backward(g, x, weight, 1, 1, 1, 2)
    for a, b in zip(serial, shared):
        np.testing.assert_array_equal(a, b)


def test_unread_values_stay_out():
    """An infinity that a window does not see, or that lies between the rows, does not reach its output."""
    x, weight, _ = problem((1, 1, 6, 6), (1, 1, 2, 2))
    x[0, 0, 5, 5] = np.inf
    assert np.isfinite(conv2d_forward(x, weight, None, stride=3)).all()
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0, 3] = np.inf  # seen by windows that end in column 3 only
    out = conv2d_forward(x, np.ones((1, 1, 2, 2)))
    assert np.isfinite(out[0, 0, :, :2]).all()
    assert np.isinf(out[0, 0, 0, 2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "shifts", "n"), [(1, 1, 16), (2, 4, 16), (3, 8, 48), (4, 4, 64), (7, 12, 112), (5, 0, 16)]
)
def test_tiles_against_their_plain_twins(rows, shifts, n, dtype):
    rng = np.random.default_rng(8)
    x, w = rng.normal(size=2 * n + 500).astype(dtype), rng.normal(size=(rows, shifts)).astype(dtype)
    offsets = rng.integers(0, 200, shifts)
    starts = np.arange(rows) * (n + 3)
    y = rng.normal(size=starts[-1] + n).astype(dtype)
    expected = y.copy()
    add_shifted_plain(expected, starts, w, x, offsets, n)
    add_shifted(y, starts, w, x, offsets, n)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)
    if shifts % 4:
        return  # the dots take four shifts at a time
    d = rng.normal(size=(rows, shifts)).astype(dtype)
    expected = d.copy()
    g = rng.normal(size=starts[-1] + 2 * n + 100).astype(dtype)
    add_products_plain(expected, g, starts, x, offsets, n, 2, n + 5)
    add_products(d, g, starts, x, offsets, n, 2, n + 5)
    np.testing.assert_allclose(d, expected, rtol=0, atol=1e-3 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"stride": 0}, ValueError, "stride is 0"),
        ({"padding": (1, 2, 3)}, ValueError, "padding is"),
        ({"groups": 2}, ValueError, "3 channels"),
        ({"dilation": 9}, ValueError, "does not fit"),
        ({"weight": np.ones((4, 3, 3, 3), np.float32)}, TypeError, "float32"),
        ({"x": np.ones((3, 8, 9))}, ValueError, r"x\[None\]"),
        ({"bias": np.ones(3)}, ValueError, "4 filters"),
    ],
)
def test_errors_name_what_does_not_fit(change, error, message):
    arguments = {"x": np.ones((2, 3, 8, 9)), "weight": np.ones((4, 3, 3, 3))} | change
    with pytest.raises(error, match=message):
        conv2d_forward(**arguments)


def test_error_for_a_gradient_of_the_wrong_shape():
    with pytest.raises(ValueError, match="g has shape"):
        conv2d_backward(np.ones((2, 4, 8, 8)), np.ones((2, 3, 8, 9)), np.ones((4, 3, 3, 3)))


@pytest.mark.peers
@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding", "dilation", "groups"), CASES)
def test_against_pytorch(x_shape, w_shape, stride, padding, dilation, groups):
    torch = pytest.importorskip("torch")
    x, weight, bias = problem(x_shape, w_shape)
    theirs = [torch.tensor(part, requires_grad=True) for part in (x, weight, bias)]
    expected = torch.nn.functional.conv2d(*theirs, stride, padding, dilation, groups)
    np.testing.assert_allclose(
        conv2d_forward(x, weight, bias, stride, padding, dilation, groups),
        expected.detach().numpy(),
        atol=1e-11,
    )
    g = numbers(tuple(expected.shape), 3)
    gradients = torch.autograd.grad(expected, theirs, torch.tensor(g))
    for ours, their in zip(conv2d_backward(g, x, weight, stride, padding, dilation, groups), gradients):
        np.testing.assert_allclose(ours, their.numpy(), atol=1e-10)
