"""Containers of modules, and the layers without any mathematics, Flatten and Identity."""

from __future__ import annotations

import itertools
import math
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from operator import index
from typing import Any, Self, overload

from tinynn.changes import CountedDict
from tinynn.nn.module import Module
from tinynn.ops.shape import reshape
from tinynn.tensor import Tensor


class _Container(Module):
    """A module that keeps submodules in a dict of its own, so that running through them is cheap."""

    _layers: dict[str, Module]

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_layers"] = CountedDict()

    def _members(self) -> Iterable[tuple[str, Any]]:
        return itertools.chain(super()._members(), self._layers.items())

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module) and "_layers" in self.__dict__:
            self._layers[name] = value
        elif name in self.__dict__.get("_layers", ()):
            raise TypeError(
                f"{type(self).__name__}.{name} is a submodule; it cannot be replaced by a {type(value).__name__}"
            )
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        layers = self.__dict__.get("_layers", {})
        if name in layers:
            return layers[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if name in self._layers:
            del self._layers[name]
        else:
            super().__delattr__(name)

    def _checked(self, module: Any) -> Module:
        if not isinstance(module, Module):
            hint = f"; write {module.__name__}()" if isinstance(module, type) and issubclass(module, Module) else ""
            raise TypeError(f"{type(self).__name__} holds modules, not {module!r}{hint}")
        return module

    def __len__(self) -> int:
        return len(self._layers)


class _Numbered(_Container):
    """What `Sequential` and `ModuleList` have in common: the names are 0, 1, 2, ... and the order counts."""

    def append(self, module: Module) -> Self:
        """Add a module at the end. Returns the container itself."""
        self._layers[str(len(self))] = self._checked(module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end. Returns the container itself."""
        for module in [self._checked(module) for module in modules]:
            self.append(module)
        return self

    def insert(self, position: int, module: Module) -> Self:
        """Add a module before ``position``. Returns the container itself."""
        modules = list(self)
        modules.insert(position, self._checked(module))
        self._put_in_order(modules)
        return self

    def _name_at(self, position: int) -> str:
        i = index(position)
        if not -len(self) <= i < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} modules; {i} is out of range")
        return list(self._layers)[i]

    @overload
    def __getitem__(self, position: slice) -> Self: ...
    @overload
    def __getitem__(self, position: int) -> Module: ...
    def __getitem__(self, position: int | slice) -> Module:
        if isinstance(position, slice):
            part = type(self)()
            names = list(self._layers)[position]
            part._layers.update((name, self._layers[name]) for name in names)
            return part._renumbered() if all(name.isdecimal() for name in names) else part
        return self._layers[self._name_at(position)]

    def __setitem__(self, position: int, module: Module) -> None:
        self._layers[self._name_at(position)] = self._checked(module)

    def __delitem__(self, position: int | slice) -> None:
        names = list(self._layers)[position] if isinstance(position, slice) else [self._name_at(position)]
        for name in names:
            del self._layers[name]
        if all(name.isdecimal() for name in self._layers):
            self._renumbered()

    def _renumbered(self) -> Self:
        self._put_in_order(self._layers.values())
        return self

    def _put_in_order(self, modules: Iterable[Module]) -> None:
        self.__dict__["_layers"] = layers = CountedDict()
        layers.update({str(i): module for i, module in enumerate(modules)})

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers.values())


class Sequential(_Numbered):
    """Modules one after the other: each gets the output of the one before.

    Parameters
    ----------
    *layers : modules, or a single dict from names to modules

    Raises
    ------
    TypeError
        If something else than a module is given.

    Examples
    --------
    >>> from tinynn import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> model
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)  # 9 parameters
      (1): Tanh()
      (2): Linear(in_features=3, out_features=1, bias=True)  # 4 parameters
    )  # 13 parameters
    >>> model[0].weight.shape, len(model[:2])
    ((3, 2), 2)
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            for name, layer in layers[0].items():
                self.add_module(name, self._checked(layer))
        else:
            self.extend(layers)

    def forward(self, x: Any) -> Any:
        """Run through all modules in order."""
        for layer in self._layers.values():
            x = layer(x)
        return x


class ModuleList(_Numbered):
    """A list whose modules are registered; it computes nothing itself.

    Examples
    --------
    >>> from tinynn import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), layers.num_parameters()
    (3, 60)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a list does not say how its modules follow each other."""
        raise NotImplementedError("a ModuleList cannot be called; loop over it, or use Sequential")


class ModuleDict(_Container):
    """A dict whose modules are registered; it computes nothing itself.

    Examples
    --------
    >>> from tinynn import nn
    >>> heads = nn.ModuleDict({"energy": nn.Linear(8, 1), "charge": nn.Linear(8, 1)})
    >>> list(heads), heads["energy"].out_features
    (['energy', 'charge'], 1)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for name, module in dict(modules).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        return self._layers[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, self._checked(module))

    def __delitem__(self, name: str) -> None:
        del self._layers[name]

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._layers.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._layers.values()

    def items(self) -> ItemsView[str, Module]:
        """Names and modules."""
        return self._layers.items()


class Identity(Module):
    """out = x. Takes any arguments, to stand in for another layer.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Identity()(tinynn.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one; by default all but the batch's.

    Shapes: (N, C, H, W) to (N, C H W).

    Raises
    ------
    IndexError
        If there is no such axis.
    ValueError
        If ``start_dim`` comes after ``end_dim``.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Flatten()(tinynn.zeros(8, 3, 5, 5)).shape
    (8, 75)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with fewer axes."""
        shape = tuple(x.shape)
        n = len(shape)
        for name, dim in (("start_dim", self.start_dim), ("end_dim", self.end_dim)):
            if not -n <= dim < n:
                raise IndexError(f"Flatten: {name}={dim} is no axis of an input of shape {shape}")
        first, last = self.start_dim % n, self.end_dim % n
        if first > last:
            raise ValueError(f"Flatten: start_dim={self.start_dim} comes after end_dim={self.end_dim} in shape {shape}")
        return reshape(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))

    def extra_repr(self) -> str:
        """The settings."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
