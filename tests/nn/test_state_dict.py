"""State dicts: names, copies, and loading that changes all or nothing."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tinynn import nn


def network():
    return nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def test_names_and_shapes_are_pytorchs():
    assert {name: value.shape for name, value in network().state_dict().items()} == {
        "0.weight": (4, 1, 3, 3),
        "0.bias": (4,),
        "1.weight": (4,),
        "1.bias": (4,),
        "1.running_mean": (4,),
        "1.running_var": (4,),
        "1.num_batches_tracked": (),
        "3.weight": (3, 16),
        "3.bias": (3,),
    }


def test_values_are_copies_outside_the_graph():
    layer = nn.Linear(2, 2)
    state = layer.state_dict(prefix="encoder.")
    assert list(state) == ["encoder.weight", "encoder.bias"]
    before = state["encoder.weight"].numpy().copy()
    layer.weight.assign_(np.zeros((2, 2)))
    assert (state["encoder.weight"].numpy() == before).all()
    assert not state["encoder.weight"].requires_grad


def test_round_trip():
    a, b = network(), network()
    a(tinynn.randn(2, 2, 4, 4))
    x = tinynn.randn(2, 2, 4, 4)
    result = b.load_state_dict(a.state_dict())
    assert result == ([], [])
    assert (a.eval()(x).numpy() == b.eval()(x).numpy()).all()
    assert b[1].num_batches_tracked.item() == 1


def test_values_take_the_modules_dtype_and_arrays_do_as_well():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2, dtype="float32")
    weight = b.weight
    b.load_state_dict({name: value.numpy() for name, value in a.state_dict().items()})
    assert b.weight is weight
    assert b.weight.dtype == np.float32
    assert b.weight.requires_grad
    np.testing.assert_allclose(b.weight.numpy(), a.weight.numpy(), rtol=1e-6)


def test_all_problems_in_one_message_and_nothing_changed():
    net = network()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    state = {name: np.full(value.shape, 7.0) for name, value in before.items()}
    del state["0.bias"], state["1.running_var"]
    state["3.weight"] = np.zeros((16, 3))
    state["3.bias"] = np.array(["a", "b", "c"])
    state["4.weight"] = np.zeros(1)
    with pytest.raises(ValueError, match="nothing was changed") as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "missing: 0.bias, 1.running_var" in message
    assert "unexpected: 4.weight" in message
    assert "3.weight: shape (16, 3) in the state, (3, 16) in the module" in message
    assert "3.bias: <U1 values are no numbers" in message
    assert "strict=False" in message
    for name, value in net.state_dict().items():
        assert (value.numpy() == before[name]).all()


def test_not_strict_loads_what_fits_and_reports_the_rest():
    layer = nn.Linear(2, 2)
    result = layer.load_state_dict({"weight": np.ones((2, 2)), "other": np.ones(1)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["other"]
    assert (layer.weight.numpy() == 1.0).all()
    with pytest.raises(ValueError, match="shape"):
        layer.load_state_dict({"weight": np.ones((3, 2))}, strict=False)


def test_a_list_is_no_state():
    with pytest.raises(TypeError, match="must be a dict"):
        nn.Linear(1, 1).load_state_dict([1, 2])


def test_loading_after_forward_is_seen_by_backward():
    layer = nn.Linear(2, 1)
    y = layer(tinynn.ones(1, 2).requires_grad_())
    layer.load_state_dict(nn.Linear(2, 1).state_dict())
    with pytest.raises(tinynn.GraphError, match="edited"):
        y.sum().backward()


def test_save_and_load(tmp_path):
    pytest.importorskip("safetensors")
    net = network()
    net(tinynn.randn(2, 2, 4, 4))
    tinynn.save(tmp_path / "net.safetensors", net.state_dict())
    other = network()
    other.load_state_dict(tinynn.load(tmp_path / "net.safetensors"))
    for (name, a), b in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert (a.numpy() == b.numpy()).all(), name
