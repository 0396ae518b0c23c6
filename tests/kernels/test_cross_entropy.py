"""Softmax cross-entropy against its definition in long double, at infinite logits, and against PyTorch."""

import numpy as np
import pytest

from tinynn.kernels import threads
from tinynn.kernels.cross_entropy import softmax_cross_entropy_backward as backward
from tinynn.kernels.cross_entropy import softmax_cross_entropy_forward as forward

TYPES = [np.float32, np.float64]
SHAPES = [(0, 3), (1, 1), (1, 2), (64, 10), (301, 7), (5, 100), (3, 2500), (130, 64)]


def problem(shape, dtype, seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=shape)).astype(dtype), rng.integers(0, shape[1], shape[0])


def reference(x, labels, weight, smoothing, ignore, g):
    """Loss, logsumexp and gradient by the formulas of the module's docstring, in long double."""
    x, g = x.astype(np.longdouble), g.astype(np.longdouble)
    weight = np.ones(x.shape[1]) if weight is None else weight.astype(np.longdouble)
    top = x.max(axis=1, keepdims=True)
    lse = top + np.log(np.exp(x - top).sum(axis=1, keepdims=True))
    classes, kept = x.shape[1], labels != ignore
    safe = np.where(kept, labels, 0)
    hit = (np.arange(classes) == safe[:, None]) * weight[safe][:, None]
    hot = ((1 - smoothing) * hit + smoothing / classes * weight) * kept[:, None]
    with np.errstate(invalid="ignore"):
        loss = np.where(hot > 0, hot * (lse - x), 0).sum(axis=1)
    dx = (np.exp(x - lse) * hot.sum(axis=1, keepdims=True) - hot) * g[:, None]
    return loss, lse[:, 0], dx


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0), (True, 0), (False, 0.1), (True, 0.3), (True, 1)])
def test_against_the_definition(shape, weighted, smoothing, dtype):
    x, labels = problem(shape, dtype)
    labels[::5] = -100
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2.0, shape[1]).astype(dtype) if weighted else None
    g = rng.normal(size=shape[0]).astype(dtype)
    loss, lse = forward(x, labels, weight, smoothing)
    dx = backward(g, x, labels, lse, weight, smoothing)
    assert (loss.dtype, lse.dtype, dx.dtype) == (dtype,) * 3
    limit = 2e-5 if dtype == np.float32 else 1e-13
    if len(x):
        for ours, expected in zip((loss, lse, dx), reference(x, labels, weight, smoothing, -100, g)):
            np.testing.assert_allclose(ours, expected.astype(np.float64), rtol=limit, atol=limit)
    assert not loss[::5].any()
    assert not dx[::5].any()


@pytest.mark.parametrize("dtype", TYPES)
def test_large_and_infinite_logits(dtype):
    x = np.array(
        [
            [1e4, -1e4, 0.0],
            [-1e4, -1e4, -1e4],
            [1e4, 1e4 - 1, 1e4 - 2],
            [-np.inf, 2.0, 1.0],
            [-np.inf, -np.inf, 5.0],
        ],
        dtype,
    )
    labels = np.array([1, 0, 2, 1, 2])
    loss, lse = forward(x, labels)
    g = np.ones(5, dtype)
    expected = reference(x, labels, None, 0.0, -100, g)
    limit = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(loss, expected[0].astype(np.float64), rtol=limit, atol=limit)
    np.testing.assert_allclose(backward(g, x, labels, lse), expected[2].astype(np.float64), rtol=0, atol=limit)


def test_what_cannot_be_told():
    """A label of probability zero costs an infinite loss; rows without a finite largest logit have none."""
    x = np.array([[-np.inf, 0.0], [-np.inf, -np.inf], [np.inf, 0.0], [np.nan, 0.0]])
    loss, lse = forward(x, np.array([0, 0, 0, 1]))
    assert loss[0] == np.inf
    assert np.isnan(loss[1:]).all()
    dx = backward(np.ones(4), x, np.array([0, 0, 0, 1]), lse)
    np.testing.assert_array_equal(dx[0], [-1.0, 1.0])
    assert np.isnan(dx[1:]).any(axis=1).all()


def test_gradient_rows_sum_to_zero_in_float32_at_large_logits():
    x, labels = problem((200, 30), np.float32, 2)
    x += np.float32(1e4)
    _, lse = forward(x, labels)
    assert np.abs(backward(np.ones(200, np.float32), x, labels, lse).sum(axis=1)).max() < 1e-6


@pytest.mark.parametrize("dtype", TYPES)
def test_threads_do_not_change_the_result(monkeypatch, dtype):
    x, labels = problem((1001, 10), dtype, 3)
    g = np.ones(1001, dtype)

    def everything():
        loss, lse = forward(x, labels)
        return loss, lse, backward(g, x, labels, lse)

    serial = everything()
    monkeypatch.setattr(threads, "threads_for", lambda nanoseconds: 3)
    for a, b in zip(serial, everything()):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_ignore_index_may_be_any_number():
    x, labels = problem((6, 4), np.float64)
    loss, _ = forward(x, labels, ignore_index=int(labels[0]))
    assert not loss[labels == labels[0]].any()
    assert (loss[labels != labels[0]] > 0).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": np.ones((3, 4), int)}, TypeError, "int64"),
        ({"logits": np.ones(3)}, ValueError, r"\(B, K\)"),
        ({"logits": np.ones((3, 0))}, ValueError, "at least one class"),
        ({"labels": np.ones(3)}, TypeError, "class numbers"),
        ({"labels": np.ones(2, int)}, ValueError, "one label per row"),
        ({"labels": np.array([0, 4, 1])}, ValueError, "label 4 in row 1"),
        ({"labels": np.array([0, 1, -1])}, ValueError, "label -1 in row 2"),
        ({"weight": np.ones(3)}, ValueError, "one weight per class"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing is 1.5"),
    ],
)
def test_errors(change, error, message):
    arguments = {"logits": np.ones((3, 4)), "labels": np.array([0, 1, 2])} | change
    with pytest.raises(error, match=message):
        forward(**arguments)


def test_error_for_a_gradient_of_the_wrong_shape():
    with pytest.raises(ValueError, match="g has shape"):
        backward(np.ones(2), np.ones((3, 4)), np.zeros(3, int), np.ones(3))


@pytest.mark.peers
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.1), (True, 0.3)])
def test_against_pytorch(weighted, smoothing):
    torch = pytest.importorskip("torch")
    x, labels = problem((50, 7), np.float64)
    labels[::4] = 99
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 7) if weighted else None
    their_x = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        their_x,
        torch.tensor(labels),
        None if weight is None else torch.tensor(weight),
        reduction="none",
        label_smoothing=smoothing,
        ignore_index=99,
    )
    loss, lse = forward(x, labels, weight, smoothing, 99)
    np.testing.assert_allclose(loss, expected.detach().numpy(), atol=1e-12)
    g = np.random.default_rng(2).normal(size=50)
    (gradient,) = torch.autograd.grad(expected, their_x, torch.tensor(g))
    np.testing.assert_allclose(backward(g, x, labels, lse, weight, smoothing, 99), gradient.numpy(), atol=1e-12)
