"""What a compiled function reaches besides its arguments' arrays: each is changed after compiling, and must be seen.

Each case gives a function, and a change of what it depends on. After the change the compiled function must give what
the plain one gives: because it was compiled anew, or ran eagerly.
"""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import functools
import itertools
import operator
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler import reach
from tinynn.compiler.errors import TraceError

X = tn.tensor([1.0, 2.0, 3.0])
Case = tuple[Callable[..., Any], Callable[[], Any]]


class Settings:
    """An object of the user's."""

    def __init__(self, w: float = 1.0) -> None:
        self.w = w


def layer(seed: int) -> nn.Linear:
    tn.manual_seed(seed)
    return nn.Linear(3, 1)


# ------------------------------------------------------------------------------------------------- the cases


def namespace(kind: Any) -> Case:
    held = kind(w=Settings(), model=layer(0))
    return lambda x: held.model(x) * held.w.w, lambda: setattr(held.w, "w", 2.0)


def namespace_model(kind: Any) -> Case:
    held = kind(model=layer(0))
    return lambda x: held.model(x), lambda: setattr(held, "model", layer(1))


def class_attribute(value: Any, other: Any, read: Callable[[Any], Any]) -> Case:
    class Holder:
        held = value

    return lambda x: x * read(Holder.held), lambda: setattr(Holder, "held", other)


def hidden_class_attribute() -> Case:
    class Holder:
        w = 1.0

    holder = Holder()
    return lambda x: x * holder.w, lambda: setattr(holder, "w", 2.0)


def class_attribute_model() -> Case:
    class Trainer:
        model = layer(0)

        def __call__(self, x: Any) -> Any:
            return self.model(x)

    return Trainer(), lambda: setattr(Trainer, "model", layer(1))


def nested_class() -> Case:
    class Outer:
        class Inner:
            w = 1.0

    return lambda x: x * Outer.Inner.w, lambda: setattr(Outer.Inner, "w", 2.0)


def metaclass_property() -> Case:
    held = Settings()

    class Meta(type):
        @property
        def w(cls) -> float:
            return held.w

    class Holder(metaclass=Meta):
        pass

    return lambda x: x * Holder.w, lambda: setattr(held, "w", 2.0)


def cached_property() -> Case:
    class Holder:
        base = 1.0

        @functools.cached_property
        def w(self) -> float:
            return self.base * 2

    def change() -> None:
        holder.base = 3.0
        del holder.__dict__["w"]

    holder = Holder()
    return lambda x: x * holder.w, change


def called_by_syntax(name: str) -> Case:
    class Holder:
        def __init__(self) -> None:
            self.inside = {"w": 1.0}

        def __getitem__(self, key: str) -> float:
            return self.inside[key]

        def __rmul__(self, other: Any) -> Any:
            return other * self.inside["w"]

        def __iter__(self) -> Any:
            return iter(self.inside.values())

        def __len__(self) -> int:
            return int(self.inside["w"])

        def __enter__(self) -> float:
            return self.inside["w"]

        def __exit__(self, *error: object) -> None:
            pass

        def __get__(self, instance: Any, owner: Any = None) -> float:
            return self.inside["w"]

    class Attributes:
        def __init__(self, inside: dict[str, float]) -> None:
            self.inside = inside

        def __getattr__(self, name: str) -> float:
            return self.inside[name]

    holder = Holder()
    attributes = Attributes(holder.inside)

    class Owner:
        w = holder

    owner = Owner()

    def entered(x: Any) -> Any:
        with holder as w:
            return x * w

    read = {
        "getitem": lambda x: x * holder["w"],
        "rmul": lambda x: x * holder,
        "iter": lambda x: sum(x * w for w in holder),
        "len": lambda x: x * len(holder),
        "enter": entered,
        "get": lambda x: x * owner.w,
        "getattr": lambda x: x * attributes.w,
    }
    return read[name], lambda: holder.inside.update(w=2.0)


def read_as_a_whole(name: str) -> Case:
    @dataclasses.dataclass
    class Weights:
        first: float = 1.0
        second: float = 2.0

    held = Weights()
    read = {
        "vars": lambda x: sum(x * w for w in vars(held).values()),
        "dict": lambda x: sum(x * w for w in held.__dict__.values()),
        "asdict": lambda x: sum(x * w for w in dataclasses.asdict(held).values()),
    }
    return read[name], lambda: setattr(held, "second", 3.0)


def attribute_getter() -> Case:
    held, get = Settings(), operator.attrgetter("w")
    return lambda x: x * get(held), lambda: setattr(held, "w", 2.0)


def container(held: Any, key: Any) -> Case:
    return lambda x: x * float(held[key]), lambda: operator.setitem(held, key, 2)


def mapping_proxy() -> Case:
    inside = {"w": 1.0}
    held = types.MappingProxyType(inside)
    return lambda x: x * held["w"], lambda: inside.update(w=2.0)


def attribute_of_a_dict() -> Case:
    class Dict(dict[str, float]):
        w = 1.0

    held = Dict()
    return lambda x: x * held.w, lambda: setattr(held, "w", 2.0)


def attribute_of_a_function() -> Case:
    def scaled(x: Any) -> Any:
        return x * scaled.w

    scaled.w = 1.0
    return scaled, lambda: setattr(scaled, "w", 2.0)


CASES = {
    "SimpleNamespace": lambda: namespace(types.SimpleNamespace),
    "argparse.Namespace": lambda: namespace(argparse.Namespace),
    "SimpleNamespace, model": lambda: namespace_model(types.SimpleNamespace),
    "argparse.Namespace, model": lambda: namespace_model(argparse.Namespace),
    "class attribute, object": lambda: class_attribute(Settings(), Settings(2.0), lambda held: held.w),
    "class attribute, np.float32": lambda: class_attribute(np.float32(1), np.float32(2), float),
    "class attribute, set": lambda: class_attribute({1.0}, {2.0}, sum),
    "class attribute, hidden later": hidden_class_attribute,
    "class attribute, model": class_attribute_model,
    "nested class": nested_class,
    "property of a metaclass": metaclass_property,
    "cached_property": cached_property,
    **{
        f"__{name}__": functools.partial(called_by_syntax, name)
        for name in ("getitem", "rmul", "iter", "len", "enter", "get", "getattr")
    },
    **{name: functools.partial(read_as_a_whole, name) for name in ("vars", "dict", "asdict")},
    "attrgetter": attribute_getter,
    "UserDict": lambda: container(collections.UserDict(w=1), "w"),
    "UserList": lambda: container(collections.UserList([1]), 0),
    "ChainMap": lambda: container(collections.ChainMap({"w": 1}), "w"),
    "bytearray": lambda: container(bytearray(b"\1"), 0),
    "array.array": lambda: container(array.array("d", [1.0]), 0),
    "MappingProxyType": mapping_proxy,
    "attribute of a dict": attribute_of_a_dict,
    "attribute of a function": attribute_of_a_function,
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_is_seen(case: str) -> None:
    function, change = CASES[case]()
    compiled = tn.compile(function, machine="program")
    for _ in range(4):
        np.testing.assert_array_equal(compiled(X).numpy(), function(X).numpy())
    before = function(X).numpy()
    change()
    assert not np.array_equal(function(X).numpy(), before)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(X).numpy(), function(X).numpy())


@pytest.mark.parametrize("kind", [types.SimpleNamespace, argparse.Namespace])
def test_frozen_through_a_namespace(kind: Any) -> None:
    held = kind(model=layer(0))
    held.optimizer = optim.SGD(held.model.parameters(), lr=0.1)

    @tn.compile(machine="program")
    def step(x: Any) -> Any:
        held.optimizer.zero_grad()
        loss = (held.model(x) ** 2).sum()
        loss.backward()
        held.optimizer.step()
        return loss

    for _ in range(4):
        step(X)
    held.model.weight.requires_grad_(False)
    weight, bias = held.model.weight.numpy().copy(), held.model.bias.numpy().copy()
    step(X)
    np.testing.assert_array_equal(held.model.weight.numpy(), weight)
    assert (held.model.bias.numpy() != bias).all()


def test_a_module_imported_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings_of_a_test.py").write_text("w = 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    @tn.compile(machine="program")
    def whole(x: Any) -> Any:
        import settings_of_a_test

        return x * settings_of_a_test.w

    @tn.compile(machine="program")
    def part(x: Any) -> Any:
        from settings_of_a_test import w

        return x * w

    for _ in range(4):
        whole(X), part(X)
    sys.modules["settings_of_a_test"].w = 2.0
    assert whole(X).tolist() == part(X).tolist() == [2.0, 4.0, 6.0]


# ------------------------------------------------------------------------------------- objects as arguments


def held_by(kind: str, i: int) -> Any:
    return {
        "model": lambda: layer(i),
        "settings": lambda: Settings(float(i)),
        "function": lambda: (tn.sin, tn.cos, tn.tanh)[i],
        "method": lambda: layer(i).forward,
        "namespace": lambda: types.SimpleNamespace(w=float(i)),
    }[kind]()


@pytest.mark.parametrize("kind", ["model", "settings", "function", "method", "namespace"])
@pytest.mark.parametrize("keyword", [False, True])
def test_another_object_as_argument(kind: str, keyword: bool) -> None:
    def plain(x: Any, held: Any) -> Any:
        return held(x) if callable(held) else x * held.w

    compiled = tn.compile(plain, machine="program")
    objects = [held_by(kind, i) for i in range(3)]
    for _ in range(5):
        for held in objects:
            found = compiled(X, held=held) if keyword else compiled(X, held)
            np.testing.assert_array_equal(found.numpy(), plain(X, held).numpy())
    assert len(compiled.specialisations) == 3


def test_batches_that_are_objects() -> None:
    batches = [types.SimpleNamespace(x=X * i, y=tn.zeros(3)) for i in range(3)]
    compiled = tn.compile(lambda batch: ((batch.x - batch.y) ** 2).sum(), machine="program")
    for _ in range(4):
        assert [compiled(batch).item() for batch in batches] == [0.0, 14.0, 56.0]


# ------------------------------------------------------------------------------------- what cannot be seen


@pytest.mark.parametrize("made", [lambda: iter([1.0] * 9), lambda: (1.0 for _ in range(9)), itertools.count])
def test_iterators_are_refused(made: Callable[[], Any]) -> None:
    held = made()
    step = tn.compile(lambda x: x * next(held), machine="program")
    with pytest.raises(TraceError, match=r"held is an iterator .* give it next\(...\) as an argument"):
        step(X)


def test_objects_of_other_packages_are_told_of() -> None:
    """One warning for each, whoever made it; none for what is followed."""
    atoms = pytest.importorskip("ase").Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    step = tn.compile(lambda x: x * tn.tensor(atoms.positions).sum(), machine="program")
    with pytest.warns(UserWarning, match=r"reaches atoms \(ase.atoms.Atoms\).* as an argument"):
        step(X)
    settings, generator = Settings(), np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            step(X)
        tn.compile(lambda x: x * settings.w if generator else x, machine="program")(X)


def test_strange() -> None:
    pandas = pytest.importorskip("pandas")
    assert reach.is_strange(pandas.DataFrame())
    assert not reach.is_strange(Settings())
    assert not reach.is_strange(np.random.default_rng(0))


def test_an_attribute_that_raises() -> None:
    class Config:
        def __init__(self) -> None:
            self.inside = {"w": 2.0}

        def __getattr__(self, name: str) -> float:
            return self.__dict__["inside"][name]  # KeyError, not AttributeError

    config = Config()
    step = tn.compile(lambda x: x * config.w, machine="program")
    assert [step(X).tolist() for _ in range(4)] == [[2.0, 4.0, 6.0]] * 4


# --------------------------------------------------------------------------------------------- whose a file is


def test_code_beside_a_virtual_environment_is_the_users(tmp_path: Path) -> None:
    """A project in the folder of a virtual environment, or in one whose name begins like that folder's."""
    script = (
        "import tinynn as tn\n"
        "w = 1.0\n"
        "f = tn.compile(lambda x: x * w, machine='program')\n"
        "for _ in range(4): f(tn.ones(2))\n"
        "w = 5.0\n"
        "assert f(tn.ones(2)).tolist() == [5.0, 5.0], f(tn.ones(2))\n"
    )
    environment = tmp_path / "ml"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    paths = [str(Path(tn.__file__).parents[1]), str(Path(np.__file__).parents[1])]
    for folder in (environment / "src", tmp_path / "ml-project"):
        folder.mkdir()
        (folder / "train.py").write_text(script)
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        subprocess.run([python, folder / "train.py"], check=True, env=variables)
