"""overfit_batch tells a training that works from one that does not, and names what stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import nn, optim
from tinynn.debug import Overfit, overfit_batch


def curve(n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(-1.0, 1.0, n).reshape(-1, 1)
    return x, np.sin(3 * x)


def network(*, act: Callable[[], nn.Module] = nn.Tanh, width: int = 20) -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, width), act(), nn.Linear(width, 1))


def test_a_network_that_can_learn_does_and_is_left_as_it_was() -> None:
    model = network()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    result = overfit_batch(model, nn.MSELoss(), *curve())
    assert result
    assert result.memorised
    assert result.hints == ()
    assert result.losses[-1] <= result.target == 1e-3 * result.losses[0]
    assert str(result).startswith("memorised: the loss went from")
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
        assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.RMSprop(p, lr=0.01),
        lambda p: optim.LBFGS(p, line_search_fn="strong_wolfe"),
    ],
    ids=["SGD", "RMSprop", "LBFGS"],
)
def test_any_optimizer(optimizer: Callable[[Any], optim.Optimizer]) -> None:
    assert overfit_batch(network(), nn.MSELoss(), *curve(), optimizer=optimizer, steps=3000, tolerance=1e-2)


def test_classes_and_tensors_and_batch_norm() -> None:
    x = tinynn.randn(6, 4)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    assert overfit_batch(model, nn.CrossEntropyLoss(), x, np.array([0, 1, 2, 0, 1, 2]), tolerance=1e-2)
    assert not model[1].running_mean.numpy().any()  # the copy's were updated


def test_several_inputs() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, a: Any, b: Any) -> Any:
            return self.net(a + b)

    x, y = curve()
    assert overfit_batch(Sum(), nn.MSELoss(), (x, 0 * x), y)


def test_a_loss_whose_lowest_value_is_not_zero() -> None:
    def shifted(output: Any, target: Any) -> Any:
        return nn.functional.mse_loss(output, target) - 1.0

    result = overfit_batch(network(), shifted, *curve(), target=-0.999)
    assert result
    assert result.target == -0.999


def failed(result: Overfit, *words: str) -> None:
    """The result says NOT memorised, and its first hint has the words."""
    assert not result
    assert "NOT memorised" in str(result)
    assert result.hints
    for word in words:
        assert word in result.hints[0], result


def test_contradictory_samples_are_named() -> None:
    x, y = curve()
    x[5] = x[2]
    failed(overfit_batch(network(), nn.MSELoss(), x, y, steps=200), "samples 2 and 5", "the same inputs")
    labels = np.array([0, 1, 1, 1, 1, 0, 1, 1])
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 2))
    failed(overfit_batch(model, nn.CrossEntropyLoss(), x, labels, steps=200), "samples 2 and 5")


def test_equal_samples_do_not_contradict_each_other() -> None:
    x, y = curve()
    x[5], y[5] = x[2], y[2]
    assert overfit_batch(network(), nn.MSELoss(), x, y)


def test_a_linear_model_cannot_learn_a_curve_and_nothing_else_is_blamed() -> None:
    result = overfit_batch(
        nn.Linear(1, 1), nn.MSELoss(), np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [0.0]])
    )
    assert not result
    assert result.hints == ()


def test_nan_in_the_data() -> None:
    x, y = curve()
    x[3] = np.nan
    result = overfit_batch(network(), nn.MSELoss(), x, y)
    failed(result, "the inputs have 1 NaN", "sample 3")
    assert "detect_anomaly" in result.hints[1]
    assert "in 0 updates" in str(result)


def test_data_that_want_scaling() -> None:
    x, y = curve()
    failed(overfit_batch(network(), nn.MSELoss(), x, 1e4 * y, steps=100), "the targets go up to", "scale them")
    failed(overfit_batch(network(act=nn.Sigmoid), nn.MSELoss(), 1e6 * x, y, steps=100), "the inputs go up to 1e+06")


def test_too_high_a_learning_rate() -> None:
    result = overfit_batch(network(), nn.MSELoss(), *curve(), optimizer=lambda p: optim.SGD(p, lr=50.0))
    failed(result, "exploded", "a tenth of the learning rate")
    assert len(result.losses) < 1000


def test_too_low_a_learning_rate() -> None:
    slow = overfit_batch(network(), nn.MSELoss(), *curve(), optimizer=lambda p: optim.SGD(p, lr=3e-4), steps=300)
    failed(slow, "still falling")
    none = overfit_batch(network(), nn.MSELoss(), *curve(), optimizer=lambda p: optim.SGD(p, lr=0.0))
    failed(none, "changed no parameter")
    assert len(none.losses) == 2


def test_an_optimizer_of_other_parameters() -> None:
    other = network()
    result = overfit_batch(network(), nn.MSELoss(), *curve(), optimizer=lambda _: optim.Adam(other.parameters()))
    failed(result, "changed no parameter")


def test_dead_activations() -> None:
    model = network(act=nn.ReLU)
    model[0].bias.assign_(np.full(20, -10.0))
    result = overfit_batch(model, nn.MSELoss(), *curve(), steps=50)
    assert any("0.weight, 0.bias, 2.weight are given a gradient of zeros" in hint for hint in result.hints)
    assert any("the same for all samples" in hint for hint in result.hints)


def test_a_layer_that_was_forgotten_or_cut_off() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.spare = nn.Linear(1, 20), nn.Linear(20, 1), nn.Linear(1, 1)

        def forward(self, x: Any) -> Any:
            return self.last(tinynn.tanh(self.first(x)).detach())

    result = overfit_batch(Cut(), nn.MSELoss(), *curve(), steps=20)
    hint = "first.weight, first.bias, spare.weight, spare.bias are reached by no gradient"
    assert any(hint in text for text in result.hints)


def test_frozen_layers() -> None:
    model = network()
    model[0].requires_grad_(False)
    result = overfit_batch(
        model, nn.MSELoss(), *curve(), optimizer=lambda p: optim.SGD([q for q in p if q.requires_grad], lr=0.1)
    )
    assert any("0.weight, 0.bias are frozen" in hint for hint in result.hints)


def test_dropout() -> None:
    model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 1))
    result = overfit_batch(model, nn.MSELoss(), *curve(), steps=300)
    assert any("dropout is on (2)" in hint for hint in result.hints)
    model.eval()
    assert overfit_batch(model, nn.MSELoss(), *curve())


def test_wrong_arguments() -> None:
    x, y = curve()
    with pytest.raises(ValueError, match="at least one sample"):
        overfit_batch(network(), nn.MSELoss(), x[:0], y[:0])
    with pytest.raises(ValueError, match=r"differ in the number of samples, with shapes \[\(8, 1\), \(7, 1\)\]"):
        overfit_batch(network(), nn.MSELoss(), x, y[:7])
    with pytest.raises(ValueError, match="scalar tensor, but it returned shape"):
        overfit_batch(network(), nn.MSELoss(reduction="none"), x, y)
    with pytest.raises(ValueError, match="steps"):
        overfit_batch(network(), nn.MSELoss(), x, y, steps=0)
    with pytest.raises(ValueError, match="tolerance"):
        overfit_batch(network(), nn.MSELoss(), x, y, tolerance=2.0)
    with pytest.raises(TypeError, match="a function that makes one"):
        overfit_batch(network(), nn.MSELoss(), x, y, optimizer=lambda p: 0.1)
