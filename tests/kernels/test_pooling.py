"""Pooling against windows taken one by one, in NumPy."""

import numpy as np
import pytest

from tinynn.kernels import threads
from tinynn.kernels.pooling import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)

# shape, kernel, stride, padding
CASES = [
    ((2, 3, 8, 6), 2, 2, 0),
    ((2, 3, 9, 7), 2, None, 0),
    ((1, 1, 2, 2), 2, 2, 0),
    ((1, 1, 1, 1), 1, 1, 0),
    ((2, 2, 9, 11), 3, 2, 1),
    ((2, 2, 9, 11), 3, 1, 1),
    ((2, 2, 9, 40), (2, 5), (1, 3), (1, 2)),
    ((1, 2, 5, 5), 5, 1, 2),
    ((3, 1, 7, 7), 2, 3, 0),
    ((0, 3, 8, 8), 2, 2, 0),
    ((2, 0, 8, 8), 3, 2, 1),
]
TYPES = [np.float32, np.float64]


def pair(value):
    return (value, value) if isinstance(value, int) else value


def each_window(shape, kernel, stride, padding):
    """Yield the indices (n, c, i, j) of each output with the rows and columns of x that it sees."""
    (kh, kw), (ph, pw) = pair(kernel), pair(padding)
    sh, sw = pair(kernel if stride is None else stride)
    n, c, height, width = shape
    size = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
    for at in np.ndindex(n, c, *size):
        top, left = at[2] * sh - ph, at[3] * sw - pw
        rows = slice(max(top, 0), min(top + kh, height))
        yield at, rows, slice(max(left, 0), min(left + kw, width)), size


def output_shape(shape, kernel, stride, padding):
    kernel, padding, stride = pair(kernel), pair(padding), pair(kernel if stride is None else stride)
    return (*shape[:2], *((shape[2 + a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_maximum(shape, kernel, stride, padding, dtype):
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)  # many ties
    out, index = max_pool2d_forward(x, kernel, stride, padding)
    assert out.shape == index.shape == output_shape(shape, kernel, stride, padding)
    assert (out.dtype, index.dtype) == (dtype, np.int32)
    g = np.random.default_rng(1).normal(size=out.shape).astype(dtype)
    dx = np.zeros(shape, dtype)
    for at, rows, columns, _ in each_window(shape, kernel, stride, padding):
        window = x[at[0], at[1], rows, columns]
        i, j = np.unravel_index(window.argmax(), window.shape)  # argmax: the first one
        row, column = rows.start + i, columns.start + j
        assert out[at] == window.max()
        assert index[at] == row * shape[3] + column
        dx[at[0], at[1], row, column] += g[at]
    np.testing.assert_allclose(max_pool2d_backward(g, index, shape), dx, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_average(shape, kernel, stride, padding, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    out = avg_pool2d_forward(x, kernel, stride, padding)
    assert out.dtype == dtype
    expected, dx = np.zeros(output_shape(shape, kernel, stride, padding)), np.zeros(shape)
    g = np.random.default_rng(1).normal(size=out.shape).astype(dtype)
    area = np.prod(pair(kernel))
    for at, rows, columns, _ in each_window(shape, kernel, stride, padding):
        expected[at] = x[at[0], at[1], rows, columns].sum(dtype=np.float64) / area
        dx[at[0], at[1], rows, columns] += g[at] / area
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(avg_pool2d_backward(g, shape, kernel, stride, padding), dx, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_infinities_and_nan(kernel, stride, padding):
    x = np.full((1, 1, 6, 6), -np.inf)
    out, index = max_pool2d_forward(x, kernel, stride, padding)
    assert (out == -np.inf).all()
    for at, rows, columns, _ in each_window(x.shape, kernel, stride, padding):
        assert index[at] == rows.start * 6 + columns.start
    x = np.random.default_rng(2).normal(size=(1, 1, 6, 6))
    x[0, 0, 2, 3] = x[0, 0, 3, 2] = np.nan
    x[0, 0, 2, 2] = np.inf
    out, index = max_pool2d_forward(x, kernel, stride, padding)
    for at, rows, columns, _ in each_window(x.shape, kernel, stride, padding):
        window = x[0, 0, rows, columns]
        nan = np.argwhere(np.isnan(window))
        assert np.isnan(out[at]) == (len(nan) > 0)
        if len(nan):
            assert index[at] == (rows.start + nan[-1][0]) * 6 + columns.start + nan[-1][1]


@pytest.mark.parametrize("dtype", TYPES)
def test_threads_do_not_change_the_result(monkeypatch, dtype):
    x = np.random.default_rng(3).normal(size=(5, 3, 9, 9)).astype(dtype)

    def everything():
        results = []
        for kernel, stride, padding in ((2, 2, 0), (3, 2, 1)):
            out, index = max_pool2d_forward(x, kernel, stride, padding)
            results += [out, index, max_pool2d_backward(out, index, x.shape)]
            out = avg_pool2d_forward(x, kernel, stride, padding)
            results += [out, avg_pool2d_backward(out, x.shape, kernel, stride, padding)]
        return results

    serial = everything()
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    for a, b in zip(serial, everything()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones((2, 3, 4)), 2), ValueError, "N, C, H, W"),
        ((np.ones((1, 1, 4, 4), int), 2), TypeError, "int64"),
        ((np.ones((1, 1, 4, 4)), 5), ValueError, "does not fit"),
        ((np.ones((1, 1, 4, 4)), 2, 2, 2), ValueError, "half of the kernel"),
        ((np.ones((1, 1, 4, 4)), 2, 0), ValueError, "must be positive"),
        ((np.ones((1, 1, 4, 4)), (2, 2, 2)), ValueError, "kernel is"),
    ],
)
def test_errors(arguments, error, message):
    for call in (max_pool2d_forward, avg_pool2d_forward):
        with pytest.raises(error, match=message):
            call(*arguments)


def test_errors_of_backward():
    with pytest.raises(ValueError, match="must have one shape"):
        max_pool2d_backward(np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 1), int), (1, 1, 4, 4))
    with pytest.raises(ValueError, match="g has shape"):
        avg_pool2d_backward(np.ones((1, 1, 2, 1)), (1, 1, 4, 4), 2)


@pytest.mark.peers
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES[:-2])
def test_against_pytorch(shape, kernel, stride, padding):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = np.random.default_rng(4).integers(-3, 4, shape).astype(np.float64)
    x.flat[x.size // 2] = np.nan
    out, index = max_pool2d_forward(x, kernel, stride, padding)
    theirs, positions = functional.max_pool2d(torch.tensor(x), kernel, stride, padding, return_indices=True)
    np.testing.assert_array_equal(out, theirs.numpy())
    np.testing.assert_array_equal(index, positions.numpy())
    x = torch.tensor(np.nan_to_num(x), requires_grad=True)
    out = functional.avg_pool2d(x, kernel, stride, padding)
    np.testing.assert_allclose(avg_pool2d_forward(x.detach().numpy(), kernel, stride, padding), out.detach().numpy())
    (dx,) = torch.autograd.grad(out.sum(), x)
    ours = avg_pool2d_backward(np.ones(out.shape), shape, kernel, stride, padding)
    np.testing.assert_allclose(ours, dx.numpy(), atol=1e-14)
