"""What a recorded function depends on besides its arguments, and how to see that it changed.

A compiled step repeats what Python decided when it was recorded: which layers there were, which of them trained,
the value of a setting, the function behind a name. `Look` walks through everything that the function can reach:

* its closure, its defaults, the globals that its code names, ``self`` of a method;
* from there: modules with their parameters and attributes, optimizers, generators, lists and dicts, objects and
  user functions (whose own closure and globals follow).

and notes a *mark* for each: the value of a number, a string or a flag; the identity of anything else. Marks are part
of the key under which a compiled program is kept. The walk takes some ten microseconds. Between calls,
`tinynn.changes` says whether one is needed for modules, tensors and optimizers; what that cannot see (names rebound,
lists and objects edited) is compared at every call by `Watch`, which is printed as one expression of ``is``.
"""

from __future__ import annotations

import array
import functools
import operator
import sys
import types
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from tinynn.changes import CountedDict
from tinynn.compiler.errors import TraceError
from tinynn.compiler.reach import (
    MAPPINGS,
    READ_AS_A_WHOLE,
    SYNTAX,
    file_of,
    global_names,
    imported,
    is_iterator,
    is_strange,
    is_users,
    names_in,
)
from tinynn.compiler.watch import Watch, items_of
from tinynn.graph import PACKAGE
from tinynn.random import Generator, default_generator
from tinynn.tensor import Tensor

SIMPLE = (bool, int, float, complex, str, bytes, type(None))
MOST_ITEMS = 1000  # of a list or dict that is looked through
MOST_BYTES = 4096  # of a NumPy array whose contents are compared
DEEPEST = 60
_BYTES = (bytearray, array.array)
_HELD = (
    *SIMPLE, *_BYTES, *MAPPINGS, list, tuple, dict, set, frozenset, deque, Tensor, np.ndarray, np.generic, Generator,
    types.SimpleNamespace, types.FunctionType,
)  # fmt: skip
_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)


def value_mark(value: Any) -> Hashable:
    """A simple value with its type: 1, 1.0 and True are three."""
    return type(value).__name__, repr(value) if isinstance(value, (float, complex)) else value


class Look:
    """One walk through all that a function reaches.

    Attributes
    ----------
    marks : path -> what must stay as it is, e.g. ``{"model.0.training": ("bool", True), ...}``
    tensors, arrays, modules, optimizers, generators : what was met on the way, each once
    strange : path -> class of what nobody can see change
    watch : what `tinynn.changes` does not see
    given : the arguments that are objects

    Raises
    ------
    TraceError
        If an iterator is met: the function would go on in it, and a compiled one does not.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: Iterable[tuple[str, Any]] = (), names: Iterable[str] = ()
    ) -> None:
        arguments = list(arguments)
        self.given = [value for _, value in arguments]
        self.names = set(names)  # that the code uses, as far as known from an earlier look
        known = -1
        while known != len(self.names):  # those met late decide which attributes are looked at
            known = len(self.names)
            self.marks: dict[str, Hashable] = {}
            self.tensors: list[Tensor] = []
            self.arrays: list[np.ndarray[Any, Any]] = []  # the large ones
            self.modules: list[Any] = []
            self.optimizers: list[Any] = []
            self.generators: list[Generator] = [default_generator]
            self.strange: dict[str, str] = {}
            self.kept: list[Any] = []  # marks hold ids: what they belong to must stay alive
            self.watch = Watch()
            self._seen: dict[int, str] = {}
            self._visit("", function, 0)
            for name, value in arguments:
                self._visit(name, value, 0)

    # ------------------------------------------------------------------------------------------- one object

    def _visit(self, path: str, value: Any, depth: int) -> None:
        kind = type(value)
        if kind in SIMPLE:
            self.marks[path] = value_mark(value)
            return
        if isinstance(value, np.generic):
            self.marks[path] = value.dtype.str, value.tobytes()
            return
        if id(value) in self._seen or depth > DEEPEST:
            self.marks[path] = "same as", self._seen.get(id(value), id(value))
            return
        self._seen[id(value)] = path
        self.kept.append(value)
        if isinstance(value, Tensor):
            self._tensor(path, value)
        elif isinstance(value, _class_of("tinynn.nn.module", "Module")):
            self._module(path, value, depth)
        elif isinstance(value, _class_of("tinynn.optim.optimizer", "Optimizer")):
            self._optimizer(path, value)
        elif isinstance(value, types.FunctionType):
            self._function(path, value, depth)
        elif isinstance(value, types.MethodType):
            self._visit(f"{path}.__self__", value.__self__, depth + 1)
            self._visit(f"{path}.__func__" if path else path, value.__func__, depth)
        elif isinstance(value, functools.partial):
            for name, part in (("func", value.func), ("args", value.args), ("keywords", value.keywords)):
                self._visit(f"{path}.{name}", part, depth + 1)
        elif isinstance(value, Generator):
            self.marks[path] = "generator", id(value)
            if value is not default_generator:
                self.generators.append(value)
        elif isinstance(value, np.ndarray):
            self._array(path, value)
        elif isinstance(value, types.ModuleType):
            self.marks[path] = "module", value.__name__
            if is_users(getattr(value, "__file__", None) or PACKAGE):
                self._attributes(path, vars(value), depth)
        elif isinstance(value, _BYTES):
            self.marks[path] = type(value).__name__, id(value), bytes(value)
            self.watch.contents(value)
        elif isinstance(value, MAPPINGS):
            self.marks[path] = type(value).__name__, id(value)
            for name in ("data", "maps"):  # what the containers of `collections` are made of
                self._visit(f"{path}.{name}", getattr(value, name, None), depth + 1)
            if isinstance(value, types.MappingProxyType):
                self._container(path, value, depth)
        elif isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            self._container(path, value, depth)
        elif isinstance(value, type):
            self.marks[path] = "class", id(value)
            if is_users(file_of(value)):
                self._class(path, value, depth)
        elif is_iterator(value):
            raise TraceError(
                f"{path} is an iterator ({type(value).__name__}). A compiled function runs no Python, so it could not "
                "go on in it: give it next(...) as an argument"
            )
        else:
            self._object(path, value, depth)

    def _tensor(self, path: str, tensor: Tensor) -> None:
        self.tensors.append(tensor)
        self.marks[path] = id(tensor), tensor.shape, tensor.dtype.str, tensor.requires_grad, tensor.device

    def _array(self, path: str, array: np.ndarray[Any, Any]) -> None:
        small = array.nbytes <= MOST_BYTES and array.dtype != object
        self.marks[path] = id(array), array.shape, array.dtype.str, array.tobytes() if small else None
        if small:
            self.watch.contents(array)
        else:
            self.arrays.append(array)

    def _module(self, path: str, module: Any, depth: int) -> None:
        self.modules.append(module)
        kind = type(module)
        self.marks[path] = "module", id(module), id(kind)
        if module._hooks is not None:
            for i, hooks in enumerate(module._hooks):
                for key, hook in hooks.items():
                    self._visit(f"{path}.hook {i}.{key}", hook, depth + 1)
        for name, value in vars(module).items():
            if name not in ("_persistent", "_hooks", "_layers"):
                self._visit(f"{path}.{name}", value, depth + 1)
        for name, value in getattr(module, "_layers", {}).items():
            self._visit(f"{path}.{name}", value, depth + 1)
        if is_users(file_of(kind)):
            self._class(f"{path}.__class__", kind, depth)

    def _optimizer(self, path: str, optimizer: Any) -> None:
        """Settings are read at every step; only what asks for another formula counts."""
        self.optimizers.append(optimizer)
        rules: tuple[int, ...] = ()
        if isinstance(optimizer, _class_of("tinynn.optim.optimizer", "FormulaOptimizer")):
            optimizer._check_settings()
            rules = tuple(map(id, optimizer._rules))
        self.marks[path] = "optimizer", id(optimizer), id(optimizer.state), rules
        params = [p for group in optimizer.param_groups for p in group["params"]]
        entries = [dict.get(optimizer.state, p, {}) for p in params]  # which does not count as a change
        steps = [entry.get("step", 0) for entry in entries]
        # parameters that have taken equally many steps share the numbers of their formula
        self.marks[f"{path}.step numbers"] = tuple(steps.index(step) for step in steps)
        for i, p in enumerate(params):
            if id(p) not in self._seen:
                self._visit(f"{path}.params.{i}", p, 0)

    def _function(self, path: str, function: types.FunctionType, depth: int) -> None:
        code = function.__code__
        self.marks[path or "code"] = "code", id(code)
        self.kept.append(code)
        where = f"{path}." if path else ""
        for i, default in enumerate(function.__defaults__ or ()):
            self._visit(f"{where}default {i}", default, depth + 1)
        for name, default in (function.__kwdefaults__ or {}).items():
            self._visit(f"{where}default {name}", default, depth + 1)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # still empty: a name that is bound later
                self.marks[where + name] = "empty"
                continue
            self.watch.attribute(cell, "cell_contents")
            self._visit(where + name, value, depth + 1)
        if not is_users(code.co_filename):
            return
        self.names |= names_in(code)
        self._attributes(path, vars(function), depth)
        for name in sorted(imported(code)):
            if name in sys.modules:  # not yet: it will be at the next look
                self._visit(f"{where}{name}", sys.modules[name], depth + 1)
        names = global_names(code)
        mentioned = [name for name in sorted(names) if name in function.__globals__]
        self.watch.items(function.__globals__, mentioned)
        for name in mentioned:
            self._visit(where + name, function.__globals__[name], depth + 1)
        for name in sorted(names - set(mentioned)):  # a name of the builtins may be hidden later
            self.marks.setdefault(f"{where}{name}", "not a global")

    def _container(self, path: str, value: Any, depth: int) -> None:
        self.marks[path] = type(value).__name__, len(value)
        if len(value) > MOST_ITEMS:
            self.marks[path] = type(value).__name__, id(value), tuple(map(id, held := items_of(value)))
            self.kept.append(held)
            self.watch.same(value)
            return
        if isinstance(value, (set, frozenset)):
            self.watch.same(value)
            for item in value:
                self._visit(f"{path}.{item!r}", item, depth + 1)
            return
        keys: Any = list(value) if isinstance(value, (dict, types.MappingProxyType)) else range(len(value))
        if isinstance(value, (list, dict, deque, types.MappingProxyType)) and not isinstance(value, CountedDict):
            self.watch.items(value, keys, complete=True)
        for key in keys:
            self._visit(f"{path}.{key}", value[key], depth + 1)
        kind = type(value)
        if is_users(file_of(kind)):  # a class made of a list or a dict
            self._attributes(path, getattr(value, "__dict__", {}), depth)
            self._class(f"{path}.__class__", kind, depth)

    def _attributes(self, path: str, attributes: Any, depth: int) -> None:
        """Those that the code can have meant: an attribute that it never names may change."""
        whole = not READ_AS_A_WHOLE.isdisjoint(self.names)
        mentioned = [name for name in attributes if whole or name in self.names]
        self.watch.items(attributes, mentioned)
        self.watch.size(attributes)  # a new one may hide one of the class
        for name in mentioned:
            self._visit(f"{path}.{name}", attributes[name], depth + 1)

    def _class(self, path: str, kind: type, depth: int) -> None:
        """Methods and attributes of a user's class and its bases, as far as they are named, or called by syntax."""
        for base in (*kind.__mro__, *type.mro(type(kind))):
            if not is_users(file_of(base)):
                continue
            for name, value in vars(base).items():
                if name not in self.names and name not in SYNTAX and name != "forward":
                    continue
                if isinstance(value, _DESCRIPTORS):
                    continue
                if isinstance(value, property):
                    value = value.fget
                elif isinstance(value, functools.cached_property):
                    value = value.func
                elif isinstance(value, (staticmethod, classmethod)):
                    value = value.__func__
                self.watch.items(vars(base), [name])
                self._visit(f"{path}.{name}", value, depth + 1)

    def _object(self, path: str, value: Any, depth: int) -> None:
        kind = type(value)
        self.marks[path] = "object", id(value)
        if is_strange(value):
            self.strange[path] = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(value, types.BuiltinFunctionType):
            if not isinstance(value.__self__, (type(None), types.ModuleType)):  # of a method of a list or dict
                self._visit(f"{path}.__self__", value.__self__, depth + 1)
            return
        if isinstance(value, operator.attrgetter):
            self.names |= {part for name in value.__reduce__()[1] for part in name.split(".")}
            return
        attributes = getattr(value, "__dict__", {}) if kind.__module__ != "builtins" else {}
        inner = attributes.get("__wrapped__")
        if isinstance(inner, types.FunctionType):
            self._visit(f"{path}.__wrapped__", inner, depth + 1)
        if not is_users(file_of(kind)) and not isinstance(value, types.SimpleNamespace):
            self._attributes_of_library(path, kind, attributes, depth)
            return
        self._attributes(path, attributes, depth)
        for base in kind.__mro__:
            for name in getattr(base, "__slots__", ()):
                if name in self.names and hasattr(value, name):
                    self.watch.attribute(value, name)
                    self._visit(f"{path}.{name}", getattr(value, name), depth + 1)
        self._class(f"{path}.__class__", kind, depth)

    def _attributes_of_library(self, path: str, kind: type, attributes: dict[str, Any], depth: int) -> None:
        """What code of the user names in an object of another library, as far as such things are known.

        Objects of this library are looked through for what learns: their own code, which names it, is not looked at.
        """
        module, optimizer = _class_of("tinynn.nn.module", "Module"), _class_of("tinynn.optim.optimizer", "Optimizer")
        learns = (Tensor, Generator, module, optimizer)
        ours = kind.__module__.startswith("tinynn.")
        simple = [
            name
            for name, held in attributes.items()
            if (name in self.names and (isinstance(held, _HELD) or is_users(file_of(type(held)))))
            or ((ours or name in self.names) and isinstance(held, learns))
        ]
        self.watch.items(attributes, simple)
        for name in simple:
            self._visit(f"{path}.{name}", attributes[name], depth + 1)


def _class_of(module: str, name: str) -> Any:
    """A class of a floor above this one, if anybody has imported it."""
    return getattr(sys.modules.get(module), name, ())


def difference(old: dict[str, Hashable], new: dict[str, Hashable]) -> str | None:
    """The first thing that changed, in words; None if nothing did.

    Examples
    --------
    >>> difference({"model.training": ("bool", True)}, {"model.training": ("bool", False)})
    'model.training was True and is False'
    """
    for path, mark in new.items():
        if path not in old:
            return f"{path} is new"
        if old[path] != mark:
            before = old[path]
            pair = isinstance(mark, tuple) and isinstance(before, tuple) and len(mark) == len(before) == 2
            if pair and mark[0] in ("bool", "int", "float", "str", "NoneType"):  # type: ignore[index]
                return f"{path} was {before[1]} and is {mark[1]}"  # type: ignore[index]
            return f"{path} has changed"
    for path in old:
        if path not in new:
            return f"{path} is gone"
    return None
