"""Module: registration, traversal, modes, hooks, printing, copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinynn
from tinynn import nn


class Net(nn.Module):
    """A net with a submodule, a parameter of its own, and two buffers."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tinynn.ones(3))
        self.register_buffer("mean", tinynn.zeros(3))
        self.register_buffer("scratch", tinynn.zeros(1), persistent=False)
        self.first = nn.Linear(2, 3)
        self.rest = nn.Sequential(nn.Tanh(), nn.BatchNorm1d(3), nn.Linear(3, 1, bias=False))

    def forward(self, x):
        return self.rest(self.first(x) * self.scale)


def names(pairs):
    return [name for name, _ in pairs]


def test_parameters_come_in_the_order_of_assignment_own_ones_first():
    expected = ["scale", "first.weight", "first.bias", "rest.1.weight", "rest.1.bias", "rest.2.weight"]
    assert names(Net().named_parameters()) == expected
    assert names(Net().named_parameters(recurse=False)) == ["scale"]
    assert Net().num_parameters() == 3 + 9 + 6 + 3
    assert names(Net().named_parameters(prefix="net"))[:2] == ["net.scale", "net.first.weight"]


def test_modules_children_buffers():
    net = Net()
    assert names(net.named_modules()) == ["", "first", "rest", "rest.0", "rest.1", "rest.2"]
    assert names(net.named_children()) == ["first", "rest"]
    running = [f"rest.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    assert names(net.named_buffers()) == ["mean", "scratch", *running]
    assert len(list(net.modules())) == 6
    assert len(list(net.buffers())) == 5


def test_a_shared_parameter_is_listed_once_but_saved_under_each_name():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    net = nn.Sequential(a, b, a)
    assert names(net.named_parameters()) == ["0.weight", "0.bias", "1.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert len(list(net.modules())) == 3
    assert names(net.named_children()) == ["0", "1"]


def test_forgotten_super_init_says_so():
    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    class ForgetfulBuffer(nn.Module):
        def __init__(self):
            self.register_buffer("mean", tinynn.zeros(1))

    for kind in (Forgetful, ForgetfulBuffer):
        with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
            kind()


def test_assignments_that_would_lose_a_part_are_refused():
    net = Net()
    with pytest.raises(TypeError, match=r"scale is a parameter.*assign_"):
        net.scale = net.scale * 2.0
    with pytest.raises(TypeError, match="first is a submodule"):
        net.first = 3
    with pytest.raises(TypeError, match="mean is a buffer"):
        net.mean = np.zeros(3)
    net.mean = tinynn.ones(3)
    assert net.state_dict()["mean"].tolist() == [1.0, 1.0, 1.0]
    net.scale = None
    assert "scale" not in net.state_dict()


def test_registration_by_name_is_checked():
    net = Net()
    with pytest.raises(KeyError, match="without dots"):
        net.register_buffer("a.b", tinynn.zeros(1))
    with pytest.raises(KeyError, match="already"):
        net.register_buffer("forward", tinynn.zeros(1))
    with pytest.raises(KeyError, match="already"):
        net.add_module("training", nn.ReLU())
    with pytest.raises(TypeError, match="must be a tensor"):
        net.register_buffer("numbers", np.zeros(1))
    with pytest.raises(TypeError, match="must be a Parameter"):
        net.register_parameter("weight", tinynn.zeros(1))
    with pytest.raises(TypeError, match="must be a Module"):
        net.add_module("layer", 3)
    net.register_parameter("bias", None)
    assert net.bias is None


def test_deleting_an_attribute_takes_it_off_the_lists():
    net = Net()
    del net.mean, net.first
    assert "mean" not in net.state_dict()
    assert names(net.named_children()) == ["rest"]


def test_train_and_eval_reach_everything():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    with pytest.raises(ValueError, match="True or False"):
        net.train("yes")


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Linear", "Tanh", "BatchNorm1d", "Linear", "Sequential", "Net"]


def test_zero_grad_and_freezing():
    net = Net()
    net(tinynn.randn(4, 2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.first.requires_grad_(False)
    assert net.num_parameters(trainable_only=True) == net.num_parameters() - 9
    net(tinynn.randn(4, 2)).sum().backward()
    assert net.first.weight.grad is None
    assert net.scale.grad is not None


def test_hooks_see_and_change():
    layer, x = nn.Identity(), tinynn.ones(2)
    with (
        layer.register_forward_pre_hook(lambda module, args: args[0] * 2.0),
        layer.register_forward_hook(lambda module, args, output: output + args[0]),
    ):
        assert layer(x).tolist() == [4.0, 4.0]
    assert layer(x) is x
    seen = []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append((module, args, output)))
    layer(x)
    handle.remove()
    handle.remove()
    layer(x)
    assert len(seen) == 1
    assert seen[0][0] is layer
    assert seen[0][1][0] is x


def test_missing_forward_and_missing_attribute():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)
    with pytest.raises(AttributeError, match="nonsense"):
        nn.Linear(1, 1).nonsense  # noqa: B018
    with pytest.raises(AttributeError, match="nonsense"):
        nn.Sequential().nonsense  # noqa: B018


def test_repr_is_a_tree_with_counts():
    net = Net()
    net.first.requires_grad_(False)
    assert repr(net) == (
        "Net(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)  # 9 parameters, all frozen\n"
        "  (rest): Sequential(\n"
        "    (0): Tanh()\n"
        "    (1): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
        "  # 6 parameters\n"
        "    (2): Linear(in_features=3, out_features=1, bias=False)  # 3 parameters\n"
        "  )  # 9 parameters\n"
        ")  # 21 parameters, 9 frozen"
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_compute_the_same_and_share_nothing(copied):
    net = Net()
    net.twin = net.first
    x = tinynn.randn(4, 2)
    net(x)
    other = copied(net)
    assert other.twin is other.first
    assert names(other.named_parameters()) == names(net.named_parameters())
    assert (net.eval()(x).numpy() == other.eval()(x).numpy()).all()
    other.first.weight.assign_(np.zeros((3, 2)))
    other.mean.assign_(np.ones(3))
    assert net.first.weight.numpy().any()
    assert not net.mean.numpy().any()
    other.train()
    assert not net.training
    other(x).sum().backward()
    assert other.first.bias.grad is not None
    assert net.first.bias.grad is None


def test_to_keeps_the_parameter_objects():
    net = Net()
    before = list(net.parameters())
    net(tinynn.randn(4, 2)).sum().backward()
    assert net.to("float32") is net
    assert [id(p) for p in net.parameters()] == [id(p) for p in before]
    assert {p.dtype for p in net.parameters()} == {np.dtype("float32")}
    assert {p.grad.dtype for p in before} == {np.dtype("float32")}
    assert {b.dtype for b in net.buffers()} == {np.dtype("float32"), np.dtype("int64")}
    out = net(tinynn.randn(4, 2, dtype="float32"))
    assert out.dtype == np.float32
    out.sum().backward()
    assert {p.grad.dtype for p in before} == {np.dtype("float32")}
    with pytest.raises(TypeError, match=r"x is float64.*float32.*model\.to"):
        net(tinynn.randn(4, 2))


@pytest.mark.parametrize("target", ["int64", "nonsense", 3.5, "bool"])
def test_to_refuses_what_is_no_floating_dtype(target):
    net = Net()
    with pytest.raises(TypeError, match="floating dtype"):
        net.to(target)
    assert net.scale.dtype == np.float64


def test_float32_by_default_dtype():
    tinynn.set_default_dtype("float32")
    try:
        net = Net()
    finally:
        tinynn.set_default_dtype("float64")
    assert {p.dtype for p in net.parameters()} == {np.dtype("float32")}
    assert net.rest[1].running_var.dtype == np.float32


def test_a_property_with_a_setter_still_works():
    class WithProperty(nn.Module):
        @property
        def rate(self):
            return self._rate

        @rate.setter
        def rate(self, value):
            self._rate = 2 * value

    module = WithProperty()
    module.rate = 3
    assert module.rate == 6
