"""Losses: numbers, stability, shapes, labels, dtypes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinynn
from tinynn import modes, nn
from tinynn.nn import functional as F

REGRESSIONS = [nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss, nn.KLDivLoss]


def test_regression_numbers():
    a, b = tinynn.tensor([0.0, 1.0, 5.0]), tinynn.tensor([0.5, 1.0, 2.0])
    assert F.mse_loss(a, b).item() == pytest.approx((0.25 + 9.0) / 3)
    assert F.l1_loss(a, b, reduction="sum").item() == 3.5
    assert F.huber_loss(a, b, reduction="none").tolist() == [0.125, 0.0, 2.5]
    assert F.huber_loss(a, b, reduction="none", delta=2.0).tolist() == [0.125, 0.0, 4.0]


def test_huber_has_the_right_second_derivative_at_zero_and_cannot_overflow():
    x = tinynn.tensor([0.0, 0.5, 3.0, 1e200], requires_grad=True)
    loss = F.huber_loss(x, tinynn.zeros(4), reduction="sum")
    (g,) = tinynn.grad(loss, [x], create_graph=True)
    (h,) = tinynn.grad(g.sum(), [x])
    assert loss.item() == 0.125 + 2.5 + 1e200
    assert g.tolist() == [0.0, 0.5, 1.0, 1.0]
    assert h.tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_a_column_against_a_row_names_the_fix(loss):
    column, row = tinynn.full((4, 1), 0.5), tinynn.full(4, 0.5)
    with pytest.raises(ValueError, match=r"\(4, 1\).*\(4,\).*target\.reshape\(-1, 1\).*output\.squeeze\(1\)"):
        loss()(column, row)
    with pytest.raises(ValueError, match=r"\(4,\).*\(4, 1\).*target\.squeeze\(1\).*output\.reshape\(-1, 1\)"):
        loss()(row, column)
    with pytest.raises(ValueError, match=r"target\.reshape\(2, 2\)"):
        loss()(tinynn.full((2, 2), 0.5), row)
    with pytest.raises(ValueError, match="Nothing is broadcast"):
        loss()(row, tinynn.full(3, 0.5))


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_reductions_empty_and_single(loss):
    a, b = tinynn.rand(3, 2), tinynn.rand(3, 2)
    each = loss(reduction="none")(a, b).numpy()
    assert each.shape == (3, 2)
    assert loss(reduction="sum")(a, b).item() == pytest.approx(each.sum())
    assert loss()(a, b).item() == pytest.approx(each.mean())
    with pytest.raises(ValueError, match="empty"):
        loss()(tinynn.zeros(0, 2), tinynn.zeros(0, 2))
    assert loss(reduction="sum")(tinynn.zeros(0, 2), tinynn.zeros(0, 2)).item() == 0.0
    assert loss()(tinynn.tensor(0.5), tinynn.tensor(0.5)).shape == ()
    assert loss(reduction="none")(tinynn.tensor([0.5]), [1]).shape == (1,)
    with pytest.raises(ValueError, match="reduction"):
        loss(reduction="average")


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_mixed_dtypes_are_refused_but_integers_become_floats(loss):
    a = tinynn.rand(3, dtype="float32")
    with pytest.raises(TypeError, match=r"input is float32 and the target is float64.*target\.to\('float32'\)"):
        loss()(a, tinynn.rand(3))
    assert loss()(a, tinynn.tensor([1, 0, 1])).dtype == np.float32
    assert loss()(a, tinynn.tensor([True, False, True])).dtype == np.float32


WEIGHTS = [1.0, 2.0, 3.0]
CLASSIFICATIONS = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(weight=WEIGHTS),
    nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=0),
    nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1, reduction="sum"),
    nn.NLLLoss(),
    nn.NLLLoss(weight=WEIGHTS, ignore_index=1),
]
WEIGHTED = [nn.BCELoss(weight=WEIGHTS), nn.BCEWithLogitsLoss(weight=WEIGHTS, pos_weight=WEIGHTS)]


def test_float32_stays_float32(only_float32):
    labels = tinynn.tensor([0, 2, 1, 1])
    cases = [(loss(), tinynn.rand(4, 3, dtype="float32")) for loss in REGRESSIONS]
    cases += [(loss, tinynn.rand(4, 3, dtype="float32")) for loss in WEIGHTED]
    cases += [(nn.KLDivLoss("batchmean", log_target=True), tinynn.rand(4, 3, dtype="float32"))]
    cases += [(nn.CrossEntropyLoss(weight=WEIGHTS), nn.functional.softmax(tinynn.rand(4, 3, dtype="float32")))]
    cases += [(loss, labels) for loss in CLASSIFICATIONS]
    for loss, target in cases:
        x = tinynn.rand(4, 3, dtype="float32", requires_grad=True)
        if "weight" in loss.state_dict():
            loss.to("float32")
        with only_float32():
            out = loss(x, target)
            out.backward()
            (g,) = tinynn.grad(loss(x, target), [x], create_graph=True)
            if g.requires_grad:
                (g * g).sum().backward()
        assert out.dtype == x.grad.dtype == np.float32


def test_weights_take_the_predictions_dtype():
    x, t = tinynn.rand(4, 3, dtype="float32"), tinynn.tensor([0, 2, 1, 1])
    assert nn.CrossEntropyLoss(weight=WEIGHTS)(x, t).dtype == np.float32
    assert F.cross_entropy(x, t, weight=WEIGHTS).dtype == np.float32
    assert F.binary_cross_entropy(x, x, weight=np.ones(3)).dtype == np.float32


# -------------------------------------------------------------------------------------------- probabilities


def test_binary_cross_entropy_is_held_at_100():
    p = tinynn.tensor([0.0, 1.0, 0.0, 1.0, 1e-50], requires_grad=True)
    with np.errstate(all="raise"):
        loss = F.binary_cross_entropy(p, tinynn.tensor([1.0, 0.0, 0.0, 1.0, 1.0]), reduction="none")
        loss.sum().backward()
    assert loss.tolist() == [100.0, 100.0, 0.0, 0.0, 100.0]
    assert np.isfinite(p.grad.numpy()).all()
    with pytest.raises(ValueError, match=r"in \[0, 1\].*BCEWithLogitsLoss"):
        F.binary_cross_entropy(tinynn.tensor([1.5]), tinynn.tensor([1.0]))


def test_logits_of_any_size():
    x = tinynn.tensor([1e4, -1e4, 1e4, -1e4, 0.0, -40.0], requires_grad=True)
    t = tinynn.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    with np.errstate(over="raise", invalid="raise"):
        loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        loss.sum().backward()
    expected = [0.0, 1e4, 1e4, 0.0, math.log(2), math.exp(-40)]
    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), [0.0, -1.0, 1.0, 0.0, -0.5, math.exp(-40)], rtol=1e-14)


def test_weight_that_does_not_broadcast():
    a = tinynn.full((4, 2), 0.5)
    with pytest.raises(ValueError, match=r"weight of shape \(3,\)"):
        F.binary_cross_entropy(a, a, weight=WEIGHTS)
    with pytest.raises(ValueError, match=r"pos_weight of shape \(3,\)"):
        F.binary_cross_entropy_with_logits(a, a, pos_weight=WEIGHTS)
    with pytest.raises(ValueError, match=r"weight of shape \(5, 4, 2\)"):
        F.binary_cross_entropy(a, a, weight=np.ones((5, 4, 2)))


def test_kl_div():
    p, q = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.1, 0.9]])
    expected = np.array([[0.0, math.log(1 / 0.8)], [0.1 * math.log(0.1 / 0.5), 0.9 * math.log(0.9 / 0.5)]])
    x, t = tinynn.tensor(np.log(p), requires_grad=True), tinynn.tensor(q)
    with np.errstate(all="raise"):
        each = F.kl_div(x, t, reduction="none")
    np.testing.assert_allclose(each.detach().numpy(), expected, rtol=1e-14)
    assert F.kl_div(x, t, "batchmean").item() == pytest.approx(expected.sum() / 2)
    assert F.kl_div(x, tinynn.tensor(p).log(), log_target=True).item() == pytest.approx(0.0)
    with pytest.raises(ValueError, match="empty"):
        F.kl_div(tinynn.zeros(0, 2), tinynn.zeros(0, 2), "batchmean")
    with pytest.raises(ValueError, match="batchmean"):
        nn.MSELoss("batchmean")


# -------------------------------------------------------------------------------------------------- classes


def test_cross_entropy_at_logits_of_any_size():
    x = tinynn.tensor([[1e4, -1e4], [1e4, -1e4], [0.0, 0.0]], requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss = F.cross_entropy(x, tinynn.tensor([0, 1, 1]), reduction="none")
        loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), [0.0, 2e4, math.log(2)])
    np.testing.assert_allclose(x.grad.numpy(), [[0.0, 0.0], [1.0, -1.0], [0.5, -0.5]])
    smooth = F.cross_entropy(x, tinynn.tensor([0, 1, 1]), label_smoothing=0.1, reduction="none")
    np.testing.assert_allclose(smooth.detach().numpy(), [1e3, 1.9e4, math.log(2)])


def test_cross_entropy_is_nll_of_log_softmax_and_probabilities_are_labels():
    x, t = tinynn.randn(5, 4), tinynn.tensor([0, 3, 2, 1, 1])
    one = F.cross_entropy(x, t).item()
    assert F.nll_loss(F.log_softmax(x), t).item() == pytest.approx(one, rel=1e-14)
    assert F.cross_entropy(x, F.one_hot(t, 4)).item() == pytest.approx(one, rel=1e-14)
    rows = [F.cross_entropy(x[i], t[i]).item() for i in range(5)]
    assert np.mean(rows) == pytest.approx(one, rel=1e-14)
    assert F.cross_entropy(x, t.numpy()).item() == one
    assert F.cross_entropy(x, t.tolist()).item() == one
    assert F.cross_entropy(x, t.to("uint8")).item() == one


def test_ignored_rows_do_not_count():
    x, t = tinynn.randn(4, 3, requires_grad=True), tinynn.tensor([0, -100, 2, -100])
    loss = F.cross_entropy(x, t)
    assert loss.item() == pytest.approx(F.cross_entropy(x[[0, 2]], t[[0, 2]]).item(), rel=1e-14)
    loss.backward()
    assert not x.grad.numpy()[[1, 3]].any()
    assert F.nll_loss(x, t, reduction="none").numpy()[[1, 3]].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="every label is ignore_index"):
        F.cross_entropy(x, tinynn.full(4, -100, dtype="int64"))


def test_observed_and_unobserved_ways_agree():
    class Nothing:
        def __getattr__(self, name):
            return lambda *args: None

    x, t = tinynn.randn(4, 3), tinynn.tensor([0, 1, 2, 1])
    for loss in CLASSIFICATIONS:
        plain = loss(x, t).item()
        with modes.observed_by(Nothing()):
            assert loss(x, t).item() == pytest.approx(plain, rel=1e-14)


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_label_mistakes(function):
    x = tinynn.randn(4, 3)
    with pytest.raises(IndexError, match=r"0 \.\.\. 2.*1 are not, such as 3"):
        function(x, tinynn.tensor([0, 1, 2, 3]))
    with pytest.raises(IndexError, match="such as -1"):
        function(x, tinynn.tensor([0, 1, 2, -1]))
    with pytest.raises(TypeError, match=r"integers.*float64.*to\('int64'\)"):
        function(x, tinynn.tensor([0.0, 1.0, 2.0, 0.0]))
    with pytest.raises(ValueError, match=r"\(4, 3\) needs one label for each of \(4,\).*shape \(3,\)"):
        function(x, tinynn.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"squeeze\(1\)"):
        function(x, tinynn.tensor([[0], [1], [2], [0]]))
    with pytest.raises(ValueError, match="argmax"):
        function(x, F.one_hot([0, 1, 2, 0], 3).to("int64"))
    with pytest.raises(ValueError, match=r"weight has shape \(2,\).*3 classes"):
        function(x, tinynn.tensor([0, 1, 2, 0]), weight=tinynn.ones(2))
    with pytest.raises(ValueError, match="empty"):
        function(tinynn.zeros(0, 3), tinynn.zeros(0, dtype="int64"))
    assert function(tinynn.zeros(0, 3), tinynn.zeros(0, dtype="int64"), reduction="sum").item() == 0.0
    with pytest.raises(ValueError, match="no classes"):
        function(tinynn.zeros(4, 0), tinynn.zeros(4, dtype="int64"))
    with pytest.raises(ValueError, match="single number"):
        function(tinynn.tensor(1.0), tinynn.tensor(0))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="label_smoothing"):
        nn.CrossEntropyLoss(label_smoothing=1.5)
    with pytest.raises(ValueError, match="delta"):
        nn.HuberLoss(delta=0.0)
    with pytest.raises(ValueError, match="ignore_index has no meaning"):
        F.cross_entropy(tinynn.zeros(2, 2), tinynn.full((2, 2), 0.5), ignore_index=1)


def test_weights_are_buffers():
    loss = nn.CrossEntropyLoss(weight=WEIGHTS)
    assert list(loss.state_dict()) == ["weight"]
    assert not list(loss.parameters())
    assert not list(nn.CrossEntropyLoss().state_dict())
    assert repr(nn.HuberLoss(delta=2.0)) == "HuberLoss(reduction='mean', delta=2.0)"
