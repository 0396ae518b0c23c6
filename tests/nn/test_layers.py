"""Layers: numbers by their formulas, errors, dtypes, modes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import tinynn
from tinynn import nn
from tinynn.nn import functional as F

FLOAT32_LAYERS = [
    (lambda: nn.Linear(4, 3, dtype="float32"), (5, 4)),
    (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1, dtype="float32"), (2, 4, 5, 5)),
    (lambda: nn.Conv2d(1, 2, 2, padding="same", dtype="float32"), (2, 1, 5, 5)),
    (lambda: nn.Conv1d(4, 6, 3, groups=2, padding=1, dtype="float32"), (2, 4, 9)),
    (lambda: nn.MaxPool1d(2, padding=1), (2, 3, 5)),
    (lambda: nn.AvgPool1d(3, 2, 1), (2, 3, 5)),
    (lambda: nn.AdaptiveAvgPool1d(1), (2, 3, 5)),
    (lambda: nn.AdaptiveAvgPool1d(2), (2, 3, 5)),
    (lambda: nn.MaxPool2d(2, padding=1), (2, 3, 5, 5)),
    (lambda: nn.AvgPool2d(3, 2, 1), (2, 3, 5, 5)),
    (lambda: nn.BatchNorm1d(4, dtype="float32"), (5, 4)),
    (lambda: nn.BatchNorm1d(4, momentum=None, dtype="float32"), (5, 4, 3)),
    (lambda: nn.BatchNorm2d(4, dtype="float32"), (5, 4, 2, 2)),
    (lambda: nn.BatchNorm2d(4, dtype="float32").eval(), (5, 4, 2, 2)),
    (lambda: nn.LayerNorm((4, 3), dtype="float32"), (5, 4, 3)),
    (lambda: nn.Dropout(0.3), (5, 4)),
    (lambda: nn.Dropout(1.0), (5, 4)),
    (nn.ReLU, (5, 4)),
    (nn.LeakyReLU, (5, 4)),
    (nn.ELU, (5, 4)),
    (nn.SELU, (5, 4)),
    (nn.GELU, (5, 4)),
    (lambda: nn.GELU("tanh"), (5, 4)),
    (nn.SiLU, (5, 4)),
    (nn.Sigmoid, (5, 4)),
    (nn.Tanh, (5, 4)),
    (lambda: nn.Softplus(2.0), (5, 4)),
    (lambda: nn.PReLU(dtype="float32"), (5, 4)),
    (lambda: nn.PReLU(4, dtype="float32"), (5, 4, 2)),
    (nn.RReLU, (5, 4)),
    (nn.ReLU6, (5, 4)),
    (nn.CELU, (5, 4)),
    (nn.Softsign, (5, 4)),
    (nn.Hardtanh, (5, 4)),
    (lambda: nn.Threshold(0.1, 2.0), (5, 4)),
    (nn.Tanhshrink, (5, 4)),
    (nn.Softshrink, (5, 4)),
    (nn.Hardshrink, (5, 4)),
    (nn.LogSigmoid, (5, 4)),
    (nn.Softmin, (5, 4)),
    (nn.Softmax, (5, 4)),
    (lambda: nn.LogSoftmax(axis=0), (5, 4)),
    (nn.Flatten, (5, 4, 2)),
]


@pytest.mark.parametrize("case", range(len(FLOAT32_LAYERS)))
def test_float32_stays_float32_forward_backward_and_twice(case, only_float32):
    make, shape = FLOAT32_LAYERS[case]
    layer = make()
    x = tinynn.randn(shape, dtype="float32", requires_grad=True)
    with only_float32() if "momentum=None" not in repr(layer) else contextlib.nullcontext():
        out = layer(x)
        assert out.dtype == np.float32
        (out * out).sum().backward()
        out = layer(x)
        (g,) = tinynn.grad((out * out).sum(), [x], create_graph=True)
        if g.requires_grad:
            (g * g).sum().backward()
    assert x.grad.dtype == np.float32
    assert {t.dtype for t in layer.state_dict().values()} <= {np.dtype("float32"), np.dtype("int64")}


def test_linear_by_its_formula():
    layer, x = nn.Linear(3, 2), tinynn.randn(4, 5, 3)
    expected = x.numpy() @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-14)
    assert layer(tinynn.randn(3)).shape == (2,)
    assert nn.Linear(3, 2, bias=False).bias is None
    with pytest.raises(ValueError, match=r"in_features = 3.*\(4, 2\)"):
        layer(tinynn.zeros(4, 2))
    with pytest.raises(ValueError, match="not be negative"):
        nn.Linear(-1, 2)


def test_conv2d_by_loops():
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    x = tinynn.randn(2, 4, 7, 6)
    out = layer(x).detach().numpy()
    w, b = layer.weight.numpy(), layer.bias.numpy()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (0, 0)))
    assert out.shape == (2, 6, 4, 4)
    for n, o, i, j in np.ndindex(out.shape):
        group = o // 3
        window = padded[n, 2 * group : 2 * group + 2, 2 * i : 2 * i + 3, j : j + 3 : 2]
        np.testing.assert_allclose(out[n, o, i, j], (window * w[o]).sum() + b[o], rtol=1e-12)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (2, 1), ((2, 3), (3, 2)), ((4, 1), 1)])
def test_conv2d_same_keeps_the_size(kernel, dilation):
    layer = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)
    assert layer(tinynn.zeros(2, 2, 7, 8)).shape == (2, 3, 7, 8)
    assert layer(tinynn.zeros(2, 7, 8)).shape == (3, 7, 8)


def test_conv2d_mistakes():
    with pytest.raises(ValueError, match="divisible by groups=2"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="needs stride 1"):
        nn.Conv2d(1, 1, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match="'full'"):
        nn.Conv2d(1, 1, 3, padding="full")
    with pytest.raises(ValueError, match="kernel_size"):
        nn.Conv2d(1, 1, (1, 2, 3))
    with pytest.raises(ValueError, match="stride"):
        nn.Conv2d(1, 1, 3, stride=0)
    with pytest.raises(ValueError, match="3 channels"):
        nn.Conv2d(2, 1, 3)(tinynn.zeros(1, 3, 5, 5))
    with pytest.raises(ValueError, match=r"N, C, H, W.*\(5, 5\)"):
        nn.Conv2d(1, 1, 3)(tinynn.zeros(5, 5))
    with pytest.raises(ValueError, match="larger than"):
        nn.Conv2d(1, 1, 6)(tinynn.zeros(1, 1, 5, 5))
    with pytest.raises(TypeError, match="float32"):
        nn.Conv2d(1, 1, 3)(tinynn.zeros(1, 1, 5, 5, dtype="float32"))


def test_conv1d_by_loops():
    layer = nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)
    x = tinynn.randn(2, 4, 11)
    out = layer(x).detach().numpy()
    w, b = layer.weight.numpy(), layer.bias.numpy()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1)))
    assert out.shape == (2, 6, 5)
    for n, o, i in np.ndindex(out.shape):
        group = o // 3
        window = padded[n, 2 * group : 2 * group + 2, 2 * i : 2 * i + 5 : 2]
        np.testing.assert_allclose(out[n, o, i], (window * w[o]).sum() + b[o], rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_lines_are_planes_of_height_one(backend):
    """To the last bit: the same kernels do the same sums, also at sizes where compiled ones take over."""
    line, plane = nn.Conv1d(3, 8, 5, 2, 2), nn.Conv2d(3, 8, (1, 5), (1, 2), (0, 2))
    plane.weight.assign_(line.weight.numpy()[:, :, None])
    plane.bias.assign_(line.bias)
    with tinynn.use(backend):
        for n in (2, 40):
            x = tinynn.randn(n, 3, 50, requires_grad=True)
            a = F.max_pool1d(F.avg_pool1d(line(x), 3, 1, 1), 2)
            b = F.max_pool2d(F.avg_pool2d(plane(x.reshape(n, 3, 1, 50)), (1, 3), 1, (0, 1)), (1, 2))
            np.testing.assert_array_equal(a.numpy(), b.numpy()[:, :, 0])
            inputs = [x, *line.parameters()], [x, *plane.parameters()]
            for u, v in zip(*(tinynn.grad((out**2).sum(), ts) for out, ts in zip((a, b), inputs)), strict=True):
                np.testing.assert_array_equal(u.numpy().ravel(), v.numpy().ravel())


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (2, 1), (4, 3)])
def test_conv1d_same_keeps_the_length(kernel, dilation):
    layer = nn.Conv1d(2, 3, kernel, padding="same", dilation=dilation)
    assert layer(tinynn.zeros(2, 2, 7)).shape == (2, 3, 7)
    assert layer(tinynn.zeros(2, 8)).shape == (3, 8)


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: nn.Conv1d(3, 4, 3, groups=2), "Conv1d.*divisible by groups=2"),
        (ValueError, lambda: nn.Conv1d(1, 1, 3, stride=2, padding="same"), "Conv1d.*needs stride 1"),
        (ValueError, lambda: nn.Conv1d(1, 1, 3, padding="full"), "'full'"),
        (ValueError, lambda: nn.Conv1d(1, 1, (1, 2)), r"kernel_size must be an integer.*\(1, 2\)"),
        (ValueError, lambda: nn.Conv1d(1, 1, 3, stride=0), "stride"),
        (ValueError, lambda: nn.Conv1d(2, 1, 3)(tinynn.zeros(1, 3, 5)), "conv1d: x has 3 channels"),
        (ValueError, lambda: nn.Conv1d(1, 1, 3)(tinynn.zeros(5)), r"N, C, L.*\(5,\)"),
        (ValueError, lambda: nn.Conv1d(1, 1, 3)(tinynn.zeros(2, 1, 5, 5)), "N, C, L"),
        (ValueError, lambda: nn.Conv1d(1, 1, 6)(tinynn.zeros(1, 1, 5)), "conv1d: a kernel of 6.*longer than.*5 places"),
        (TypeError, lambda: nn.Conv1d(1, 1, 3)(tinynn.zeros(1, 1, 5, dtype="float32")), "conv1d.*float32"),
        (ValueError, lambda: F.conv1d(tinynn.zeros(1, 5), tinynn.zeros(1, 1, 2), padding="same", stride=2), "stride 1"),
        (ValueError, lambda: F.conv1d(tinynn.zeros(1, 5), tinynn.zeros(1, 1, 2), padding="full"), "'full'"),
        (ValueError, lambda: nn.MaxPool1d(2, padding=2), "MaxPool1d.*more than half"),
        (ValueError, lambda: nn.AvgPool1d(0), "kernel_size"),
        (ValueError, lambda: nn.MaxPool1d(3)(tinynn.zeros(1, 1, 2)), "longer than"),
        (ValueError, lambda: nn.MaxPool1d(3)(tinynn.zeros(4)), "N, C, L"),
        (ValueError, lambda: nn.AdaptiveAvgPool1d(0), "output_size"),
        (ValueError, lambda: nn.AdaptiveAvgPool1d(1)(tinynn.zeros(4)), "N, C, L"),
    ],
)
def test_mistakes_with_lines(error, make, message):
    with pytest.raises(error, match=message):
        make()


def test_settings_of_lines_are_shown():
    assert (
        repr(nn.Conv1d(1, 2, 3, padding=1))
        == "Conv1d(1, 2, kernel_size=(3,), stride=(1,), padding=(1,))  # 8 parameters"
    )
    assert repr(nn.MaxPool1d(2)) == "MaxPool1d(kernel_size=2, stride=2, padding=0)"
    assert repr(nn.AdaptiveAvgPool1d(1)) == "AdaptiveAvgPool1d(output_size=1)"


def test_pooling_by_loops():
    x = tinynn.randn(2, 3, 6, 7)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    largest = nn.MaxPool2d(3, 2, 1)(x).numpy()
    zeros = np.where(np.isinf(padded), 0.0, padded)
    means = nn.AvgPool2d(3, 2, 1)(x).numpy()
    assert largest.shape == means.shape == (2, 3, 3, 4)
    for n, c, i, j in np.ndindex(largest.shape):
        window = np.s_[n, c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        assert largest[n, c, i, j] == padded[window].max()
        np.testing.assert_allclose(means[n, c, i, j], zeros[window].mean(), rtol=1e-12)


def test_pooling_mistakes():
    with pytest.raises(ValueError, match="more than half"):
        nn.MaxPool2d(2, padding=2)
    with pytest.raises(ValueError, match="kernel_size"):
        nn.AvgPool2d(0)
    with pytest.raises(ValueError, match="larger than"):
        nn.MaxPool2d(3)(tinynn.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="N, C, H, W"):
        nn.MaxPool2d(3)(tinynn.zeros(2, 2))


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_batch_norm_is_algorithm_1(shape):
    layer = nn.BatchNorm2d(3) if len(shape) == 4 else nn.BatchNorm1d(3)
    layer.weight.assign_(np.array([1.0, 2.0, 3.0]))
    layer.bias.assign_(np.array([0.5, 0.0, -1.0]))
    x = tinynn.randn(shape)
    axes = (0, *range(2, len(shape)))
    across = (3, *[1] * (len(shape) - 2))
    values = x.numpy()
    mean, var = values.mean(axes), values.var(axes)
    normal = (values - mean.reshape(across)) / np.sqrt(var.reshape(across) + 1e-5)
    expected = normal * layer.weight.numpy().reshape(across) + layer.bias.numpy().reshape(across)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    n = x.size // 3
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * var * n / (n - 1), rtol=1e-12)
    assert layer.num_batches_tracked.item() == 1
    running = layer.running_mean.numpy().reshape(across), layer.running_var.numpy().reshape(across)
    expected = (values - running[0]) / np.sqrt(running[1] + 1e-5)
    expected = expected * layer.weight.numpy().reshape(across) + layer.bias.numpy().reshape(across)
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    assert layer.num_batches_tracked.item() == 1
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0] * 3
    assert layer.num_batches_tracked.item() == 0


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.BatchNorm1d(3), (1, 3), r"1 value per channel.*drop_last=True.*eval"),
        (nn.BatchNorm1d(3), (0, 3), "0 values per channel"),
        (nn.BatchNorm2d(3), (1, 3, 1, 1), "1 value per channel"),
        (nn.BatchNorm1d(3), (5, 4), r"BatchNorm1d\(3\).*\(5, 4\)"),
        (nn.BatchNorm1d(3), (5, 3, 2, 2), r"\(N, C\) or \(N, C, L\)"),
        (nn.BatchNorm2d(3), (5, 3), r"\(N, C, H, W\)"),
    ],
)
def test_batch_norm_refuses_before_anything_changes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(tinynn.zeros(shape))
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_mean.tolist() == [0.0] * 3


def test_batch_norm_dtype_error_changes_nothing():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(TypeError, match=r"float32.*x\.to\('float64'\)"):
        layer(tinynn.zeros(5, 3, dtype="float32"))
    assert layer.num_batches_tracked.item() == 0
    with pytest.raises(TypeError, match="float32"):
        nn.LayerNorm(3)(tinynn.zeros(5, 3, dtype="float32"))


def test_batch_norm_one_sample_is_fine_in_evaluation():
    assert nn.BatchNorm1d(3).eval()(tinynn.ones(1, 3)).shape == (1, 3)


def test_batch_norm_running_statistics_keep_no_graph():
    layer = nn.BatchNorm1d(3)
    x = tinynn.randn(5, 3, requires_grad=True)
    (layer(x) ** 2).sum().backward()
    assert not layer.running_mean.requires_grad
    assert layer.running_mean.is_leaf


def test_batch_norm_settings():
    assert list(nn.BatchNorm1d(3, affine=False).state_dict()) == [
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    layer = nn.BatchNorm1d(3, track_running_stats=False).eval()
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert abs(layer(tinynn.randn(50, 3)).detach().numpy().mean()) < 1e-12
    with pytest.raises(ValueError, match="momentum"):
        nn.BatchNorm1d(3, momentum=2.0)
    with pytest.raises(ValueError, match="num_features"):
        nn.BatchNorm2d(0)
    with pytest.raises(ValueError, match="needs running_mean"):
        F.batch_norm(tinynn.zeros(2, 3), None, None)
    with pytest.raises(ValueError, match="weight has shape"):
        F.batch_norm(tinynn.zeros(2, 3), None, None, tinynn.ones(2), training=True)


def test_layer_norm_by_its_formula():
    layer = nn.LayerNorm((3, 4))
    x = tinynn.randn(5, 3, 4)
    values = x.numpy()
    mean, var = values.mean((1, 2), keepdims=True), values.var((1, 2), keepdims=True)
    expected = (values - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert not list(nn.LayerNorm(3, elementwise_affine=False).state_dict())
    with pytest.raises(ValueError, match=r"normalized_shape = \(3, 4\)"):
        layer(tinynn.zeros(3, 5))
    with pytest.raises(ValueError, match="positive"):
        nn.LayerNorm(0)


def test_dropout():
    layer = nn.Dropout(0.25)
    x = tinynn.ones(200, 100, requires_grad=True)
    out = layer(x)
    values = out.detach().numpy()
    assert set(np.unique(values)) == {0.0, 1 / 0.75}
    assert abs((values == 0.0).mean() - 0.25) < 0.01
    out.sum().backward()
    assert (x.grad.numpy() == values).all()
    assert not (layer(x).detach().numpy() == values).all()
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert not nn.Dropout(1.0)(tinynn.full(3, np.inf)).numpy().any()


def test_dropout_is_reproducible():
    x = tinynn.ones(37)
    tinynn.manual_seed(3)
    first = nn.Dropout()(x).numpy()
    tinynn.manual_seed(3)
    assert (nn.Dropout()(x).numpy() == first).all()
    a = nn.Dropout(generator=tinynn.Generator(9))(x).numpy()
    assert (nn.Dropout(generator=tinynn.Generator(9))(x).numpy() == a).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_dropout_p_is_a_probability(p):
    with pytest.raises(ValueError, match="probability"):
        nn.Dropout(p)
    with pytest.raises(ValueError, match="probability"):
        F.dropout(tinynn.ones(3), p)


def test_embedding_adds_up_gradients_and_leaves_the_padding_alone():
    layer = nn.Embedding(5, 2, padding_idx=-1)
    assert layer.padding_idx == 4
    assert layer.weight.numpy()[4].tolist() == [0.0, 0.0]
    index = tinynn.tensor([[1, 4], [1, 0]])
    out = layer(index)
    assert (out.detach().numpy() == layer.weight.numpy()[index.numpy()]).all()
    out.sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [1.0, 2.0, 0.0, 0.0, 0.0]
    assert layer([]).shape == (0, 2)
    assert layer([2, 3]).shape == (2, 2)


def test_embedding_mistakes():
    layer = nn.Embedding(5, 2)
    with pytest.raises(IndexError, match=r"0 \.\.\. 4.*from 1 to 5"):
        layer(tinynn.tensor([1, 5]))
    with pytest.raises(IndexError, match="from -1"):
        layer(tinynn.tensor([-1]))
    with pytest.raises(TypeError, match="integers, not float64"):
        layer(tinynn.tensor([1.0]))
    with pytest.raises(ValueError, match="padding_idx=5"):
        nn.Embedding(5, 2, padding_idx=5)
    with pytest.raises(ValueError, match="positive"):
        nn.Embedding(0, 2)


def test_softmax_takes_dim_and_axis():
    x = tinynn.randn(3, 4)
    assert (nn.Softmax(dim=0)(x).numpy() == nn.Softmax(axis=0)(x).numpy()).all()
    np.testing.assert_allclose(nn.Softmax(0)(x).numpy().sum(0), 1.0)
    np.testing.assert_allclose(nn.LogSoftmax()(x).exp().numpy().sum(-1), 1.0)
    with pytest.raises(IndexError):
        nn.Softmax(dim=2)(x)


def test_slopes_are_drawn_for_each_element_in_training_only():
    layer, x = nn.RReLU(0.2, 0.6), tinynn.full((100, 50), -1.0).requires_grad_()
    tinynn.manual_seed(4)
    out = layer(x)
    slopes = -out.detach().numpy()
    assert slopes.min() >= 0.2
    assert slopes.max() < 0.6
    assert abs(slopes.mean() - 0.4) < 0.01
    assert len(np.unique(slopes)) == slopes.size
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), slopes)
    tinynn.manual_seed(4)
    np.testing.assert_array_equal(layer(x).numpy(), -slopes)
    assert (layer.eval()(x).numpy() == -0.4).all()
    assert (nn.RReLU()(-x.detach()).numpy() == 1.0).all()
    mine = nn.RReLU(generator=tinynn.Generator(3))(x).numpy()
    assert (nn.RReLU(generator=tinynn.Generator(3))(x).numpy() == mine).all()


def test_prelu_learns_a_slope_per_channel():
    layer = nn.PReLU(3)
    assert layer.num_parameters() == 3
    assert layer.weight.tolist() == [0.25] * 3
    x = tinynn.tensor(np.arange(-6.0, 6.0).reshape(2, 3, 2))
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == np.minimum(x.numpy(), 0).sum((0, 2)).tolist()
    with pytest.raises(ValueError, match=r"one for each channel.*\(3,\).*\(2, 4\)"):
        layer(tinynn.zeros(2, 4))
    with pytest.raises(ValueError, match="num_parameters"):
        nn.PReLU(0)
    with pytest.raises(TypeError, match="float32"):
        layer(tinynn.zeros(2, 3, dtype="float32"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.RReLU(0.5, 0.2), "RReLU: lower"),
        (lambda: F.rrelu(tinynn.zeros(2), 0.5, 0.2), "rrelu: lower"),
        (lambda: nn.Hardtanh(1.0, 1.0), "Hardtanh: min_val"),
        (lambda: F.hardtanh(tinynn.zeros(2), 1.0, 0.0), "hardtanh: min_val"),
        (lambda: nn.Softshrink(-0.1), "Softshrink: lambd"),
        (lambda: F.softshrink(tinynn.zeros(2), -0.1), "softshrink: lambd"),
        (lambda: nn.CELU(0.0), "CELU: alpha"),
        (lambda: F.celu(tinynn.zeros(2), 0.0), "celu: alpha"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_activation_settings_are_checked():
    with pytest.raises(ValueError, match="approximate"):
        nn.GELU("fast")
    with pytest.raises(ValueError, match="beta"):
        nn.Softplus(0.0)
    assert repr(nn.LeakyReLU(0.2, inplace=True)) == "LeakyReLU(negative_slope=0.2)"
