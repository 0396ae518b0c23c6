"""Sequential, ModuleList, ModuleDict, Flatten, Identity."""

from __future__ import annotations

from collections import OrderedDict

import pytest

import tinynn
from tinynn import nn


def keys(module):
    return [name for name, _ in module.named_children()]


def test_sequential_runs_in_order():
    a, b = nn.Linear(2, 3), nn.Linear(3, 1)
    x = tinynn.randn(4, 2)
    model = nn.Sequential(a, nn.Tanh(), b)
    assert (model(x).numpy() == b(a(x).tanh()).numpy()).all()
    assert len(model) == 3
    assert model[0] is a
    assert model[-1] is b
    assert list(model)[2] is b


def test_sequential_with_names():
    model = nn.Sequential(OrderedDict([("hidden", nn.Linear(2, 3)), ("out", nn.Linear(3, 1))]))
    assert model.hidden is model[0]
    assert list(model.state_dict()) == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    assert keys(model[1:]) == ["out"]
    model.out = nn.Linear(3, 2)
    assert model(tinynn.zeros(1, 2)).shape == (1, 2)
    with pytest.raises(TypeError, match="submodule"):
        model.out = 3


def test_sequential_is_edited_like_a_list():
    model = nn.Sequential(nn.Linear(1, 2)).append(nn.ReLU()).extend([nn.Linear(2, 3)])
    model.insert(1, nn.Identity())
    assert [type(m).__name__ for m in model] == ["Linear", "Identity", "ReLU", "Linear"]
    assert keys(model) == ["0", "1", "2", "3"]
    del model[1]
    assert keys(model) == ["0", "1", "2"]
    model[1] = nn.Tanh()
    assert type(model[1]) is nn.Tanh
    tail = model[1:]
    assert type(tail) is nn.Sequential
    assert keys(tail) == ["0", "1"]
    assert tail[1] is model[2]
    model.head = nn.Linear(3, 1)
    assert model(tinynn.zeros(5, 1)).shape == (5, 1)


def test_sequential_mistakes():
    with pytest.raises(TypeError, match=r"holds modules.*write ReLU\(\)"):
        nn.Sequential(nn.Linear(1, 1), nn.ReLU)
    with pytest.raises(TypeError, match="holds modules"):
        nn.Sequential([nn.ReLU()])
    with pytest.raises(IndexError, match="2 modules; 2"):
        nn.Sequential(nn.ReLU(), nn.ReLU())[2]
    with pytest.raises(AttributeError, match="head"):
        nn.Sequential().head  # noqa: B018


def test_module_list():
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert type(layers[:1]) is nn.ModuleList
    with pytest.raises(NotImplementedError, match="loop over it"):
        layers(tinynn.zeros(2))


def test_module_dict():
    heads = nn.ModuleDict({"energy": nn.Linear(2, 1)})
    heads["charge"] = nn.Linear(2, 1)
    heads.update({"spin": nn.Identity()})
    assert list(heads.keys()) == ["energy", "charge", "spin"]
    assert [type(m).__name__ for m in heads.values()] == ["Linear", "Linear", "Identity"]
    assert "energy" in heads
    assert len(heads.items()) == 3
    del heads["energy"]
    assert list(heads.state_dict()) == ["charge.weight", "charge.bias"]
    with pytest.raises(TypeError, match="holds modules"):
        heads["number"] = 3
    with pytest.raises(KeyError):
        heads["keys"] = nn.Identity()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(1, -1, (2, 60)), (0, -1, (120,)), (1, 2, (2, 12, 5)), (-2, -1, (2, 3, 20)), (2, 2, (2, 3, 4, 5))],
)
def test_flatten(start, end, expected):
    assert nn.Flatten(start, end)(tinynn.zeros(2, 3, 4, 5)).shape == expected


def test_flatten_of_an_empty_batch_and_mistakes():
    assert nn.Flatten()(tinynn.zeros(0, 3, 4)).shape == (0, 12)
    with pytest.raises(IndexError, match="start_dim=1"):
        nn.Flatten()(tinynn.zeros(3))
    with pytest.raises(ValueError, match="comes after"):
        nn.Flatten(2, 1)(tinynn.zeros(1, 1, 1))
