"""Losses against PyTorch's: values, first and second derivatives, for many options."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tinynn import nn

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::UserWarning:torch")]
torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
WEIGHT = rng.uniform(0.5, 2.0, 4)
REDUCTIONS = ["mean", "sum", "none"]


def close(ours, theirs, what=""):
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy(force=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13, err_msg=what)


def compare(ours, theirs, x, target, differentiable_target=False):
    """Value, gradient and the gradient of the gradient's square, for the input (and the target)."""
    a, b = tinynn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    s, t = tinynn.tensor(target), torch.tensor(target)
    if differentiable_target:
        s.requires_grad_()
        t.requires_grad_()
    ours_in, theirs_in = ([a, s], [b, t]) if differentiable_target else ([a], [b])
    u, v = ours(a, s), theirs(b, t)
    close(u, v, "value")
    factors = np.random.default_rng(1).normal(size=u.shape)
    first_a = tinynn.grad((u * tinynn.tensor(factors)).sum(), ours_in, create_graph=True)
    first_b = torch.autograd.grad((v * torch.tensor(factors)).sum(), theirs_in, create_graph=True)
    for i, (p, q) in enumerate(zip(first_a, first_b, strict=True)):
        close(p, q, f"gradient {i}")
    total_a, total_b = (first_a[0] ** 2).sum(), (first_b[0] ** 2).sum()
    second_a = tinynn.grad(total_a, [a], allow_unused=True)[0] if total_a.requires_grad else None
    second_b = torch.autograd.grad(total_b, [b], allow_unused=True)[0] if total_b.requires_grad else None
    nothing = torch.zeros(a.shape, dtype=torch.float64)
    close(
        nothing if second_a is None else second_a,
        nothing if second_b is None else second_b,
        "second derivative",
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5, 4), (1,), (), (2, 3, 4)])
def test_regression(reduction, shape):
    x, t = rng.normal(size=shape), rng.normal(size=shape)
    compare(nn.MSELoss(reduction), torch.nn.MSELoss(reduction=reduction), x, t, True)
    compare(nn.L1Loss(reduction), torch.nn.L1Loss(reduction=reduction), x, t, True)
    for delta in (0.3, 1.0, 5.0):
        theirs = torch.nn.HuberLoss(reduction=reduction, delta=delta)
        compare(nn.HuberLoss(reduction, delta), theirs, x, t, True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_binary_cross_entropy(reduction, weight):
    w = None if weight is None else torch.tensor(weight)
    p, t = rng.uniform(0.01, 0.99, (5, 4)), rng.uniform(0.0, 1.0, (5, 4))
    labels = rng.integers(0, 2, (5, 4)).astype(float)
    for target in (t, labels):
        compare(nn.BCELoss(weight, reduction), torch.nn.BCELoss(w, reduction=reduction), p, target)
        for pos in (None, WEIGHT):
            theirs = torch.nn.BCEWithLogitsLoss(
                w, reduction=reduction, pos_weight=None if pos is None else torch.tensor(pos)
            )
            compare(nn.BCEWithLogitsLoss(weight, reduction, pos), theirs, rng.normal(0, 5, (5, 4)), target)


def test_binary_cross_entropy_at_the_ends():
    p, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    ours = nn.BCELoss(reduction="none")(tinynn.tensor(p), tinynn.tensor(t))
    close(ours, torch.nn.BCELoss(reduction="none")(torch.tensor(p), torch.tensor(t)))


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_kl_div(reduction):
    x = np.log(rng.dirichlet(np.ones(4), 5))
    t = rng.dirichlet(np.ones(4), 5)
    compare(nn.KLDivLoss(reduction), torch.nn.KLDivLoss(reduction=reduction), x, t, True)
    sparse = np.eye(4)[[0, 1, 2, 3, 0]]
    compare(nn.KLDivLoss(reduction), torch.nn.KLDivLoss(reduction=reduction), x, sparse)
    theirs = torch.nn.KLDivLoss(reduction=reduction, log_target=True)
    compare(nn.KLDivLoss(reduction, log_target=True), theirs, x, np.log(t), True)


CLASS_SHAPES = [((6, 4), (6,)), ((4,), ()), ((3, 4, 2), (3, 2)), ((2, 4, 3, 2), (2, 3, 2))]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "places"), CLASS_SHAPES)
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("ignore", [-100, 1])
def test_cross_entropy_and_nll_of_labels(reduction, shape, places, weight, ignore):
    x, t = rng.normal(0, 3, shape), np.asarray(rng.integers(0, 4, places))
    t = np.where(t == ignore, 0, t) if not places else t
    w = None if weight is None else torch.tensor(weight)
    if ignore < 0 and places:
        t[0] = ignore
    for smoothing in (0.0, 0.1, 1.0):
        ours = nn.CrossEntropyLoss(weight, ignore, reduction, smoothing)
        theirs = torch.nn.CrossEntropyLoss(w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)
        compare(ours, theirs, x, t)
    theirs = torch.nn.NLLLoss(w, ignore_index=ignore, reduction=reduction)
    compare(nn.NLLLoss(weight, ignore, reduction), theirs, x, t)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [shape for shape, _ in CLASS_SHAPES])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cross_entropy_of_probabilities(reduction, shape, weight):
    x = rng.normal(0, 3, shape)
    t = np.exp(rng.normal(size=shape))
    t /= t.sum(axis=min(1, len(shape) - 1), keepdims=True)
    w = None if weight is None else torch.tensor(weight)
    for smoothing in (0.0, 0.1):
        ours = nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=smoothing)
        theirs = torch.nn.CrossEntropyLoss(w, reduction=reduction, label_smoothing=smoothing)
        compare(ours, theirs, x, t, True)


def test_huge_logits():
    x = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]])
    t = np.array([1, 0, 2])
    for smoothing in (0.0, 0.1):
        ours = nn.CrossEntropyLoss(label_smoothing=smoothing)
        compare(ours, torch.nn.CrossEntropyLoss(label_smoothing=smoothing), x, t)
    ours = nn.BCEWithLogitsLoss()
    compare(ours, torch.nn.BCEWithLogitsLoss(), x, (x > 0).astype(float))
    compare(ours, torch.nn.BCEWithLogitsLoss(), x, (x < 0).astype(float))
