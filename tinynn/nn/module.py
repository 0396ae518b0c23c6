"""Module: parameters, buffers and submodules under the names of attributes.

A module's own attributes are its registry. Whatever is assigned to ``self`` and is a `Parameter` or a
`Module` is found again by looking through ``vars(self)``, in the order of assignment, which is the same in
every run. There is no second book to keep, and ``self.weight`` is an ordinary attribute. Only buffers need a
note: a plain tensor becomes one by `Module.register_buffer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from tinynn import modes
from tinynn.backends import convert
from tinynn.changes import CountedDict, changes
from tinynn.creation import zeros_like
from tinynn.nn.hooks import RemovableHook
from tinynn.nn.parameter import Parameter
from tinynn.nn.state import IncompatibleKeys, convert_all, count_text, load, still_to_learn
from tinynn.tensor import Tensor


class Module:
    """Base class of layers, losses and whole networks.

    A subclass calls ``super().__init__()`` first, assigns its parameters and submodules to ``self``, and
    computes in ``forward``, which is run by calling the module.

    Attributes
    ----------
    training : True in training, False in evaluation; `train` and `eval` set it. Dropout and batch norm look
        at it.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, n):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(tinynn.ones(n))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = Scale(2)
    >>> model(tinynn.tensor([3.0, 4.0]))
    tensor([3., 4.], op=Mul)
    >>> [name for name, _ in model.named_parameters()]
    ['factor']
    """

    # There is no __getattr__ here, on purpose: it would make every look-up of an attribute slower.
    training: bool = True
    learns_buffers: ClassVar[tuple[str, ...]] = ()  # buffers that are None until fitted; loading may fill them
    _persistent: Mapping[str, bool] = MappingProxyType({})  # the buffers' names, and whether state_dict() has them
    _hooks: tuple[dict[int, Any], dict[int, Any]] | None = None  # before and after forward, once there are any

    def __init__(self) -> None:
        if modes.mode.recorder is not None:
            modes.mode.recorder.made(self)
        self.__dict__.update(training=True, _persistent={}, _hooks=None)

    # ------------------------------------------------------------------------------------------------ calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None:
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs, *self._hooks)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; each subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method: define forward(self, ...)")

    def _call_with_hooks(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], before: dict[int, Any], after: dict[int, Any]
    ) -> Any:
        for pre_hook in list(before.values()):
            changed = pre_hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook in list(after.values()):
            changed = hook(self, args, output)
            output = output if changed is None else changed
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> RemovableHook:
        """Call ``hook(module, args, output)`` after each forward pass; a value it returns is the output.

        Examples
        --------
        >>> import tinynn
        >>> from tinynn import nn
        >>> layer = nn.ReLU()
        >>> handle = layer.register_forward_hook(lambda module, args, output: print(output.shape))
        >>> _ = layer(tinynn.ones(2, 3))
        (2, 3)
        >>> handle.remove()
        """
        return RemovableHook(self._hook_lists()[1], hook)

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple[Any, ...]], Any]) -> RemovableHook:
        """Call ``hook(module, args)`` before each forward pass; a value it returns is the input."""
        return RemovableHook(self._hook_lists()[0], hook)

    def _hook_lists(self) -> tuple[dict[int, Any], dict[int, Any]]:
        if self._hooks is None:
            self._hooks = (CountedDict(), CountedDict())
        return self._hooks

    # ------------------------------------------------------------------------------------------- registration

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if modes.mode.recorder is not None:
            modes.mode.recorder.attribute_set(self, name, value)
        if isinstance(value, (Parameter, Module)):
            self._buffer_names(name).pop(name, None)
        elif value is not None:
            if isinstance(own.get(name), (Parameter, Module)):
                kind = "parameter" if isinstance(own[name], Parameter) else "submodule"
                raise TypeError(
                    f"{type(self).__name__}.{name} is a {kind}; it cannot be replaced by a "
                    f"{type(value).__name__}"
                    + (f". To overwrite its values use {name}.assign_(value)" if kind == "parameter" else "")
                )
            if name in self._persistent and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a buffer: a tensor or None, not a {type(value).__name__}"
                )
        object.__setattr__(self, name, value)
        changes.bump()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        changes.bump()
        self._buffer_names(name).pop(name, None)

    def _buffer_names(self, name: str) -> dict[str, bool]:
        if not isinstance(self._persistent, dict):
            raise AttributeError(
                f"{type(self).__name__}: {name!r} is assigned before super().__init__() was called; make "
                "that the first line of __init__"
            )
        return self._persistent

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter under a name that is computed; ``self.name = parameter`` does the same."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(
                f"register_parameter: {name!r} must be a Parameter or None, not a {type(parameter).__name__}"
            )
        self._check_free(name)
        setattr(self, name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained, such as a running mean.

        Parameters
        ----------
        name : the attribute's name
        tensor : the buffer, or None for none
        persistent : whether `state_dict` has it

        Raises
        ------
        TypeError
            If ``tensor`` is something else.
        KeyError
            If the name is taken, empty, or has a dot.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name!r} must be a tensor or None, not a {type(tensor).__name__}")
        if name not in self._persistent:
            self._check_free(name)
        self._buffer_names(name)[name] = persistent
        object.__setattr__(self, name, tensor)
        changes.bump()

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name that is computed; ``self.name = module`` does the same."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} must be a Module or None, not a {type(module).__name__}")
        self._check_free(name)
        setattr(self, name, module)

    register_module = add_module

    def _check_free(self, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{name!r} cannot name a part of a module: a string without dots is needed")
        if not isinstance(getattr(self, name, None), (Parameter, Module, type(None))):
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already")

    # ---------------------------------------------------------------------------------------- what is in here

    def _members(self) -> Iterable[tuple[str, Any]]:
        """Name and value of everything that may be a parameter, a buffer or a submodule, in order."""
        return self.__dict__.items()

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return ((name, value) for name, value in self._members() if isinstance(value, Parameter))

    def _own_buffers(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, self.__dict__[name]) for name in self._persistent if self.__dict__[name] is not None)

    def _own_modules(self) -> Iterator[tuple[str, Module]]:
        return ((name, value) for name, value in self._members() if isinstance(value, Module))

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their dotted names; this one's is ``prefix``. Parents first."""
        return self._walk(prefix, set() if remove_duplicate else None)

    def _walk(self, prefix: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield prefix, self
        for name, module in self._own_modules():
            yield from module._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The submodules of this module with their names, each once."""
        seen: set[int] = set()
        for name, module in self._own_modules():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The submodules of this module, each once."""
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted names; one that is shared comes once, under its first name."""
        return self._named(Module._own_parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, each once, in an order that is the same in every run.

        Examples
        --------
        >>> from tinynn import nn
        >>> [p.shape for p in nn.Linear(2, 3).parameters()]
        [(3, 2), (3,)]
        """
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their dotted names."""
        return self._named(Module._own_buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(self, own: Callable[[Module], Iterator[Any]], prefix: str, recurse: bool, unique: bool) -> Iterator[Any]:
        modules = self.named_modules(prefix, unique) if recurse else iter([(prefix, self)])
        seen: set[int] = set()
        for path, module in modules:
            for name, tensor in own(module):
                if not unique or id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    def num_parameters(self, trainable_only: bool = False) -> int:
        """How many numbers the parameters hold; shared ones count once.

        Examples
        --------
        >>> from tinynn import nn
        >>> nn.Sequential(nn.Linear(1, 20), nn.GELU(), nn.Linear(20, 1)).num_parameters()
        61
        """
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # ------------------------------------------------------------------------------------ changing everything

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function(module)`` for every module below, then for this one. Returns the module."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below to training (or to evaluation). Returns the module itself."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, not {mode!r}")
        for module in self.modules():
            if module.training is not mode:
                modes.refuse("train() or eval(), where it changes something,", "call it outside, before")
                object.__setattr__(module, "training", mode)
                changes.bump()
        return self

    def eval(self) -> Self:
        """Switch this module and all below to evaluation: no dropout, batch norm by running statistics."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters: ``grad`` becomes None, or zeros where ``set_to_none`` is False."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none else zeros_like(parameter)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for the gradients of all parameters, or freeze them. Returns the module itself."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, target: Any) -> Self:
        """Change the dtype of the floating-point parameters and buffers, or move all to another device.

        The `Parameter` objects stay the same, so that an optimizer that holds them goes on; their arrays (and
        gradients) are replaced. Integer buffers keep their dtype.

        Parameters
        ----------
        target : a floating dtype (``"float32"``) or a device (``"cpu"``, ``"cupy"``)

        Raises
        ------
        TypeError
            If it is neither, or a dtype that is not floating.

        Examples
        --------
        >>> from tinynn import nn
        >>> nn.Linear(2, 3).to("float32").weight.dtype
        dtype('float32')
        """
        convert_all([*self.parameters(), *self.buffers()], target)
        return self

    # ------------------------------------------------------------------------------------------- saved states

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Copies of all parameters and persistent buffers by their dotted names, which are PyTorch's.

        Returns
        -------
        dict from name to a tensor outside any graph. They are copies: training on does not change them.
        `tinynn.save` takes the dict. A shared parameter is there under each of its names.

        Examples
        --------
        >>> from tinynn import nn
        >>> list(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict())
        ['0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var',
        '1.num_batches_tracked']
        """
        modes.refuse("state_dict()", "save states outside of the compiled function")
        return {name: Tensor(convert.copied(tensor.array, None)) for name, tensor in self._state(prefix)}

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(prefix.rstrip("."), remove_duplicate=False):
            at = f"{path}." if path else ""
            for name, parameter in module._own_parameters():
                yield at + name, parameter
            for name, buffer in module._own_buffers():
                if module._persistent[name]:
                    yield at + name, buffer

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Overwrite all parameters and persistent buffers with the values of ``state``, in their dtypes.

        Everything is checked first: after an error the module is as it was.

        Parameters
        ----------
        state : dict from name to tensor or array, as `state_dict` makes it, or as PyTorch does
        strict : refuse missing and unexpected names; otherwise they are left alone and returned

        Raises
        ------
        ValueError
            If names are missing or unexpected (with ``strict``), or a value has the wrong shape or is no
            array of numbers. The message lists all of them.
        TypeError
            If ``state`` is no dict.

        Examples
        --------
        >>> from tinynn import nn
        >>> a, b = nn.Linear(2, 3), nn.Linear(2, 3)
        >>> b.load_state_dict(a.state_dict())
        IncompatibleKeys(missing_keys=[], unexpected_keys=[])
        """
        learnt = still_to_learn(self, state)
        own = {**dict(self._state()), **{key: buffer for key, (_, _, buffer) in learnt.items()}}
        result = load(own, state, strict, type(self).__name__)
        for module, name, buffer in learnt.values():
            setattr(module, name, buffer)
        return result

    # ----------------------------------------------------------------------------------------------- printing

    def extra_repr(self) -> str:
        """What stands between the parentheses in ``repr``: the settings."""
        return ""

    def __repr__(self) -> str:
        name, settings, count = type(self).__name__, self.extra_repr(), count_text(self)
        lines = [f"  ({key}): " + repr(module).replace("\n", "\n  ") for key, module in self._own_modules()]
        if not lines:
            return f"{name}({settings}){count}"
        return "\n".join([f"{name}({settings}", *lines, f"){count}"])
