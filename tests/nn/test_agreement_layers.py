"""Layers against PyTorch's: values, gradients, second derivatives, state dicts, running statistics."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tinynn import nn

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::UserWarning:torch")]
torch = pytest.importorskip("torch")


def close(ours, theirs, what=""):
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy(force=True)
    scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12 * scale, err_msg=what)


def twin(ours, theirs):
    """Give PyTorch's module our values, through the state dicts."""
    state = {name: torch.tensor(np.array(value.numpy())) for name, value in ours.state_dict().items()}
    theirs = theirs.double()
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict(state)
    return theirs.train(ours.training)


def compare(ours, theirs, array):
    """Values, first and second derivatives with respect to the input and the parameters."""
    x, y = tinynn.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    a, b = ours(x), theirs(y)
    close(a, b, "value")
    weights = np.random.default_rng(1).normal(size=a.shape)
    ours_in = [x, *ours.parameters()]
    theirs_in = [y, *theirs.parameters()]
    first_a = tinynn.grad((a * tinynn.tensor(weights)).sum(), ours_in, create_graph=True)
    first_b = torch.autograd.grad((b * torch.tensor(weights)).sum(), theirs_in, create_graph=True)
    for i, (u, v) in enumerate(zip(first_a, first_b, strict=True)):
        close(u, v, f"gradient {i}")
    total_a = sum((u * u).sum() for u in first_a)
    total_b = sum((v * v).sum() for v in first_b)
    nothing = [None] * len(ours_in)
    second_a = tinynn.grad(total_a, ours_in, allow_unused=True) if total_a.requires_grad else nothing
    second_b = torch.autograd.grad(total_b, theirs_in, allow_unused=True) if total_b.requires_grad else nothing
    for i, (x, u, v) in enumerate(zip(ours_in, second_a, second_b, strict=True)):
        zero = torch.zeros(x.shape, dtype=torch.float64)
        close(zero if u is None else u, zero if v is None else v, f"second derivative {i}")


def images(*shape):
    return np.random.default_rng(0).normal(size=shape)


LAYERS = [
    (lambda n: n.Linear(4, 3), (5, 4)),
    (lambda n: n.Linear(4, 3, bias=False), (2, 5, 4)),
    (lambda n: n.Linear(4, 1), (4,)),
    (lambda n: n.Conv2d(2, 3, 3), (2, 2, 6, 5)),
    (lambda n: n.Conv2d(2, 3, 3, bias=False), (2, 6, 5)),
    (
        lambda n: n.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        (2, 4, 7, 6),
    ),
    (lambda n: n.Conv2d(2, 3, 3, padding="same", dilation=2), (2, 2, 6, 7)),
    (lambda n: n.Conv2d(2, 3, (2, 4), padding="same"), (2, 2, 6, 7)),
    (lambda n: n.Conv2d(2, 2, 2, padding="valid", groups=2, stride=3), (1, 2, 6, 7)),
    (lambda n: n.Conv1d(2, 3, 3), (2, 2, 9)),
    (lambda n: n.Conv1d(2, 3, 3, bias=False), (2, 9)),
    (lambda n: n.Conv1d(4, 6, (3,), stride=2, padding=(2,), dilation=2, groups=2), (2, 4, 11)),
    (lambda n: n.Conv1d(2, 3, 4, padding="same", dilation=3), (2, 2, 12)),
    (lambda n: n.Conv1d(2, 2, 1, padding="valid", stride=3), (1, 2, 8)),
    (lambda n: n.MaxPool1d(2), (2, 3, 7)),
    (lambda n: n.MaxPool1d(3, stride=1, padding=1), (3, 7)),
    (lambda n: n.AvgPool1d((2,)), (3, 7)),
    (lambda n: n.AvgPool1d(3, stride=2, padding=1), (2, 3, 8)),
    (lambda n: n.AdaptiveAvgPool1d(1), (2, 3, 7)),
    (lambda n: n.AdaptiveAvgPool1d(4), (2, 3, 8)),
    (lambda n: n.AdaptiveAvgPool1d(3), (3, 7)),
    (lambda n: n.AdaptiveAvgPool1d(5), (2, 3, 3)),
    (lambda n: n.MaxPool2d(2), (2, 3, 6, 5)),
    (lambda n: n.MaxPool2d((3, 2), stride=(1, 2), padding=(1, 0)), (2, 3, 6, 5)),
    (lambda n: n.AvgPool2d(2), (3, 6, 5)),
    (lambda n: n.AvgPool2d(3, stride=2, padding=1), (2, 3, 6, 5)),
    (lambda n: n.BatchNorm1d(3), (6, 3)),
    (lambda n: n.BatchNorm1d(3), (4, 3, 5)),
    (lambda n: n.BatchNorm1d(3, affine=False), (6, 3)),
    (lambda n: n.BatchNorm1d(3, track_running_stats=False), (6, 3)),
    (lambda n: n.BatchNorm1d(3).eval(), (6, 3)),
    (lambda n: n.BatchNorm1d(3, track_running_stats=False).eval(), (6, 3)),
    (lambda n: n.BatchNorm2d(3, eps=1e-3), (4, 3, 2, 5)),
    (lambda n: n.BatchNorm2d(3, affine=False).eval(), (4, 3, 2, 5)),
    (lambda n: n.LayerNorm(4), (5, 4)),
    (lambda n: n.LayerNorm((3, 4), eps=1e-3), (5, 3, 4)),
    (lambda n: n.LayerNorm(4, elementwise_affine=False), (2, 5, 4)),
    (lambda n: n.LayerNorm(4, bias=False), (5, 4)),
    (lambda n: n.ReLU(), (5, 4)),
    (lambda n: n.LeakyReLU(0.2), (5, 4)),
    (lambda n: n.ELU(0.7), (5, 4)),
    (lambda n: n.SELU(), (5, 4)),
    (lambda n: n.GELU(), (5, 4)),
    (lambda n: n.GELU(approximate="tanh"), (5, 4)),
    (lambda n: n.SiLU(), (5, 4)),
    (lambda n: n.Sigmoid(), (5, 4)),
    (lambda n: n.Tanh(), (5, 4)),
    (lambda n: n.Softplus(beta=1.5), (5, 4)),
    (lambda n: n.PReLU(), (5, 4)),
    (lambda n: n.PReLU(init=-0.5), (4,)),
    (lambda n: n.PReLU(4), (5, 4)),
    (lambda n: n.PReLU(3), (2, 3, 4, 5)),
    (lambda n: n.RReLU().eval(), (5, 4)),
    (lambda n: n.ReLU6(), (50, 4)),
    (lambda n: n.CELU(0.5), (5, 4)),  # PyTorch keeps 1/alpha in float32, so that others agree to 1e-8 only
    (lambda n: n.Softsign(), (5, 4)),
    (lambda n: n.Hardtanh(), (5, 4)),
    (lambda n: n.Hardtanh(-0.3, 0.7), (5, 4)),
    (lambda n: n.Threshold(0.2, -3.0), (5, 4)),
    (lambda n: n.Tanhshrink(), (5, 4)),
    (lambda n: n.Softshrink(0.3), (5, 4)),
    (lambda n: n.Hardshrink(0.3), (5, 4)),
    (lambda n: n.LogSigmoid(), (5, 4)),
    (lambda n: n.Softmin(dim=1), (5, 4)),
    (lambda n: n.Softmax(dim=1), (5, 4)),
    (lambda n: n.Softmax(dim=0), (5, 4, 2)),
    (lambda n: n.LogSoftmax(dim=-1), (5, 4)),
    (lambda n: n.Flatten(1, 2), (2, 3, 4, 5)),
    (lambda n: n.Dropout(0.5).eval(), (5, 4)),
    (
        lambda n: n.Sequential(
            n.Conv1d(1, 4, 5, padding=2),
            n.BatchNorm1d(4),
            n.Tanh(),
            n.MaxPool1d(2),
            n.Conv1d(4, 3, 3),
            n.Tanh(),
            n.AdaptiveAvgPool1d(1),
            n.Flatten(),
            n.Linear(3, 2),
        ),
        (3, 1, 12),
    ),
    (
        lambda n: n.Sequential(
            n.Conv2d(1, 3, 3), n.BatchNorm2d(3), n.Tanh(), n.AvgPool2d(2), n.Flatten(), n.Linear(12, 2)
        ),
        (3, 1, 6, 6),
    ),
]


@pytest.mark.parametrize("case", range(len(LAYERS)))
def test_layer(case):
    make, shape = LAYERS[case]
    ours = make(nn)
    for i, p in enumerate(ours.parameters()):  # norms would start at 1 and 0, which hides mistakes
        p.assign_(np.random.default_rng(i).normal(size=p.shape))
    for name, buffer in ours.named_buffers():
        if name.endswith("running_var"):
            buffer.assign_(np.random.default_rng(7).uniform(0.5, 2.0, buffer.shape))
        elif name.endswith("running_mean"):
            buffer.assign_(np.random.default_rng(8).normal(size=buffer.shape))
    theirs = twin(ours, make(torch.nn))
    compare(ours, theirs, images(*shape))


@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0, 0.0, None])
def test_running_statistics(momentum):
    ours = nn.BatchNorm2d(3, momentum=momentum)
    theirs = twin(ours, torch.nn.BatchNorm2d(3, momentum=momentum))
    for i in range(4):
        batch = np.random.default_rng(i).normal(i, 1 + i, size=(2 + i, 3, 2, 2))
        close(ours(tinynn.tensor(batch)), theirs(torch.tensor(batch)))
    for name, value in theirs.state_dict().items():
        close(ours.state_dict()[name], value, name)
    assert ours.num_batches_tracked.item() == 4
    assert ours.state_dict()["num_batches_tracked"].dtype == np.int64
    batch = images(1, 3, 2, 2)
    close(ours.eval()(tinynn.tensor(batch)), theirs.eval()(torch.tensor(batch)))


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding(padding_idx):
    ours = nn.Embedding(5, 3, padding_idx=padding_idx)
    theirs = twin(ours, torch.nn.Embedding(5, 3, padding_idx=padding_idx))
    index = np.array([[0, 2, 2], [4, 1, 2]])
    weights = images(2, 3, 3)
    a, b = ours(tinynn.tensor(index)), theirs(torch.tensor(index))
    close(a, b)
    (a * a * tinynn.tensor(weights)).sum().backward()
    (b * b * torch.tensor(weights)).sum().backward()
    close(ours.weight.grad, theirs.weight.grad)


def test_a_state_dict_of_pytorch_loads_as_it_is():
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(4, 1))
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 1))
    ours.load_state_dict(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        close(ours.state_dict()[name], value.double() if value.is_floating_point() else value)


def test_gains_and_fans():
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)


def test_dropout_with_p_1_and_module_names():
    x = images(3, 4)
    close(nn.Dropout(1.0)(tinynn.tensor(x)), torch.nn.Dropout(1.0)(torch.tensor(x)))
    for name in nn.__all__:
        if name not in ("functional", "init", "Module", "Parameter"):
            assert hasattr(torch.nn, name), name
    for name in nn.functional.__all__:
        assert hasattr(torch.nn.functional, name), name
