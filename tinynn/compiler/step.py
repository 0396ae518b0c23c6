"""The decorator: a function that is recorded, compiled, checked, and from then on run by a machine.

What a call does, from the fastest way to the slowest:

* nothing has changed since the last call, which the counter `tinynn.changes` and one printed comparison say, and the
  arguments have the shapes and dtypes of last time: the machine runs. That takes less than a microsecond around it;
* otherwise everything that the function depends on is looked at (`guards.Look`), and the key made of it finds the
  program that was compiled for it;
* there is none: the function is recorded, twice, and compiled (`specialise`);
* there are too many already: the function runs as it is.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Hashable
from typing import Any

from tinynn.backends import select
from tinynn.changes import changes
from tinynn.compiler import epoch
from tinynn.compiler.arguments import Arguments, detached
from tinynn.compiler.choose import Options
from tinynn.compiler.errors import suspended
from tinynn.compiler.guards import Look, difference
from tinynn.compiler.specialise import Specialisation
from tinynn.dtypes import get_default_dtype
from tinynn.modes import mode
from tinynn.tensor import Tensor

MOST_VALUES = 8  # of one Python argument
MANY_PROGRAMS = 10  # a warning is in order
MOST_PROGRAMS = 64  # in all
MOST_OBJECTS = 8  # without a __dict__, for a compiled method


class CompiledFunction:
    """What `tinynn.compile` returns. Called like the function that it was made of.

    Attributes
    ----------
    function : the original
    specialisations : one for each combination of shapes, values and modules that was met
    program, plan, source, memory : of the one used last
    """

    def __new__(cls, *_: Any) -> CompiledFunction:
        return super().__new__(type("CompiledFunction", (CompiledFunction,), {}))

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._title = getattr(function, "__qualname__", "function")
        self.options = options
        self._table: dict[Hashable, list[Specialisation]] = {}
        self._current: Specialisation | None = None
        self._values: dict[str, set[Hashable]] = {}
        self._shapes: set[Hashable] = set()
        self._warned: set[str] = set()
        self._known_names: set[str] = set()
        self._of_objects: dict[int, CompiledFunction] = {}  # methods of objects without a __dict__, by id
        self._lock = threading.Lock()
        try:
            self._names = tuple(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            self._names = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._carefully(args, kwargs)

    # ------------------------------------------------------------------------------------ the careful way

    def _carefully(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if mode.observer is not None:  # inside another function that is being recorded: becomes part of it
            return self.function(*args, **kwargs)
        arguments = Arguments(args, kwargs, self._names)
        if mode.recording:
            arguments.check_leaves()
        with self._lock:
            found = self._specialisation(arguments)
            if not isinstance(found, str):
                found.calls += 1
                found.latest, self._current = self._current is found, found
                if found.stage < 2:
                    return found.record(self.function, arguments, self.options)
                return self._run(found, arguments)
        return self._eagerly(args, kwargs, found.split(":")[0], found)

    def _specialisation(self, arguments: Arguments) -> Specialisation | str:
        """The one for this call, perhaps a new one; or why there is none."""
        setting = (mode.recording, select.backend(), get_default_dtype().str)
        if self._current is not None and self._current.still_fits(arguments, setting):
            return self._current
        for one in self.specialisations:  # another shape, say, but nothing else has changed
            if one.still_fits(arguments, setting) and one.fits_gradients():
                return one
        look = Look(self.function, arguments.objects, self._known_names)
        self._known_names = look.names
        key = (arguments.key, setting, tuple(look.marks.items()))
        known = self._table.get(key, [])
        found = next((one for one in known if one.fits_gradients()), None)
        if found is None:
            if text := self._too_many(arguments):
                return text
            gradients = "gradients are there that were not, or the other way round"
            reason = gradients if known else self._reason(look, arguments, setting)
            found = Specialisation(look, arguments, setting, reason)
            self._table.setdefault(key, []).append(found)
            if len(self._table) == MANY_PROGRAMS:
                warnings.warn(
                    f"{self._title} was recorded for {MANY_PROGRAMS} programs by now, the last one because {reason}; "
                    "each is compiled in its second call, and pays only if it is called often. explain() lists them",
                    UserWarning,
                    stacklevel=4,
                )
        elif found.broken:
            return f"mismatch: {found.broken}"
        found.look = look
        self._warn_of(look.strange)
        return found

    def _warn_of(self, strange: dict[str, str]) -> None:
        """Say once what the compiled function will go on taking for what it was."""
        for path, kind in strange.items():
            if path not in self._warned:
                self._warned.add(path)
                warnings.warn(
                    f"{self._title} reaches {path} ({kind}). What it reads from there is compiled as it is now, and "
                    "what it does there is not repeated: give it what changes as an argument",
                    UserWarning,
                    stacklevel=5,
                )

    def _run(self, found: Specialisation, arguments: Arguments) -> Any:
        if not found.link(arguments, self._lock):
            found.stage = 0  # the optimizer goes by another formula now
            found.reason = "an optimizer's formula changed, or a large NumPy array from outside"
            found.program = None
            return found.record(self.function, arguments, self.options)
        count = changes.count
        result = found.run(arguments)
        found.settle(count)
        self._install(found, arguments)
        return result

    def _install(self, found: Specialisation, arguments: Arguments) -> None:
        """From now on a call goes the fast way first. Each compiled function is of a class of its own for that."""
        kind: Any = type(self)
        kind.__call__ = found.fast if found.fast is not None and arguments.plain else CompiledFunction.__call__

    # ------------------------------------------------------------------------------------- when not to compile

    def _too_many(self, arguments: Arguments) -> str | None:
        for path, value in arguments.values.items():
            values = self._values.setdefault(path, set())
            if value not in values and len(values) >= MOST_VALUES:
                return (
                    f"values of {path}: the Python value {path!r} was different in more than {MOST_VALUES} calls, and "
                    "each would be a program of its own. Pass it as a tensor: tinynn.tensor(value)"
                )
            values.add(value)
        shapes = tuple(arguments.shapes)
        if shapes not in self._shapes and len(self._shapes) >= self.options.max_specialisations:
            return (
                f"shapes: there are programs for {len(self._shapes)} combinations of shapes and dtypes already "
                "(max_specialisations); use batches of one shape, or drop_last"
            )
        self._shapes.add(shapes)
        if len(self._table) >= MOST_PROGRAMS:
            last = self.specialisations[-1]
            return (
                f"programs: something else than the arguments changes again and again ({last.reason}), and each time "
                "would be a program of its own. Pass it as a tensor"
            )
        return None

    def _eagerly(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, text: str) -> Any:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(f"{self._title} runs eagerly, not compiled: {text}.", UserWarning, stacklevel=4)
        return detached(self.function(*args, **kwargs))

    def _reason(self, look: Look, arguments: Arguments, setting: tuple[Hashable, ...]) -> str:
        if not self._table:
            return "it is the first"
        other = self.specialisations[-1]
        for words, old, new in zip(("gradients are recorded", "backend", "default dtype"), other.setting, setting):
            if old != new:
                return f"{words}: {old} before, {new} now"
        if text := difference(other.look.marks, look.marks):
            return text
        if arguments.label != other.label:
            return f"shapes were {other.label}, are {arguments.label}"
        if text := difference(other.values, arguments.values):
            return text
        return "the arguments are of other kinds"

    # --------------------------------------------------------------------------------------- looking at it

    @property
    def specialisations(self) -> list[Specialisation]:
        return [one for several in self._table.values() for one in several]

    def _of_latest(self, what: str) -> Any:
        found = self._current
        if found is None or found.program is None:
            raise AttributeError("nothing is compiled yet: call the function twice, with its arguments")
        if what == "program":
            return found.program
        if found.machine is None:
            raise AttributeError("this was called once with such arguments; it is compiled in the second call")
        return getattr(found.machine, what)

    @property
    def program(self) -> Any:
        return self._of_latest("program")

    @property
    def plan(self) -> Any:
        return self._of_latest("plan")

    @property
    def source(self) -> Any:
        return self._of_latest("source")

    @property
    def memory(self) -> Any:
        return self._of_latest("memory_report")

    def explain(self) -> str:
        """What was compiled, for which arguments, and why anew: one line per program."""
        if not self._table:
            return f"{self._title}: nothing is compiled yet: call it first"
        found = self.specialisations
        return "\n".join([f"{self._title}: {len(found)} programs", *(f"  {one}" for one in found)])

    def epoch(
        self,
        *arrays: Any,
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        number: int = 0,
        **others: Any,
    ) -> Any:
        """Call the function on all minibatches of the arrays.

        Parameters
        ----------
        arrays : tensors or arrays whose first axes have one length; their batches are the function's arguments, by
            position
        batch_size : rows in a batch; the last batch is smaller where the length is no multiple
        shuffle : in the random order of ``DataLoader(..., shuffle=True, seed=seed)`` in its epoch ``number``
        seed : of the order; drawn from the default generator if None
        drop_last : leave out a last batch that would be smaller
        number : of the epoch: with one seed, each number is an order of its own

        Returns
        -------
        What the function returns, in the same structure: each tensor in it with a first axis for the batches, or, if
        the last batch is smaller and so is the tensor (one value per row), a list of the batches' tensors. Anything
        else once if it is the same in all batches, or a list.
        """
        if others:
            raise TypeError(
                f"epoch has no setting {', '.join(others)}: arrays are given by position, as in "
                "step.epoch(x, y, batch_size=32); settings are batch_size, shuffle, seed, drop_last and number"
            )
        return epoch.run(self, arrays, batch_size, shuffle, seed, drop_last, number)

    def _whole_epoch(self, batch: list[Tensor], tensors: list[Tensor], order: Any, count: int) -> Any:
        """Some equal batches at once, where a machine is compiled for them that can; None where not."""
        if mode.observer is not None:
            return None
        arguments = Arguments(tuple(batch), {}, self._names)
        with self._lock:
            found = self._specialisation(arguments)
            if isinstance(found, str) or found.stage < 2 or found.outside:
                return None
            if not found.link(arguments, self._lock) or not found.machine.can_run_batches():
                return None
            found.calls += count
            self._current = found
            before = changes.count
            try:
                results = found.machine.run_batches([t.array for t in tensors], order, len(order) // count, count)
            except BaseException:
                changes.bump()
                raise
            found.settle(before)
            self._install(found, arguments)
            return results

    # ------------------------------------------------------------------------------------------ as a method

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        kept: Any = getattr(instance, "__dict__", None)
        if kept is None:
            return self._of_object(instance, owner)
        found = kept.get(name := self.function.__name__)
        if found is not None and (
            not isinstance(found, CompiledFunction) or getattr(found.function, "__self__", instance) is instance
        ):
            return found
        # there is none yet, or it came here with a copy.copy() of another object
        kept[name] = bound = CompiledFunction(self.function.__get__(instance, owner), self.options)
        return bound

    def _of_object(self, instance: Any, owner: Any) -> CompiledFunction:
        """Of an object with ``__slots__``, which has no place for it: kept here, with the object, for the latest few.

        Weak references would not free it sooner: what is compiled refers to it. And not all such objects have any.
        """
        found = self._of_objects.pop(id(instance), None)
        if found is None:
            if len(self._of_objects) >= MOST_OBJECTS:
                del self._of_objects[next(iter(self._of_objects))]
            found = CompiledFunction(self.function.__get__(instance, owner), self.options)
        self._of_objects[id(instance)] = found  # as the latest
        return found

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.function.__name__] = value

    def __delete__(self, instance: Any) -> None:
        del instance.__dict__[self.function.__name__]

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        """Compiled for nothing yet; of a method, for the copy of its object."""
        return CompiledFunction(copy.deepcopy(self.function, memo), self.options)

    def __copy__(self) -> CompiledFunction:
        return CompiledFunction(self.function, self.options)

    def __reduce__(self) -> Any:
        owner, name = getattr(self.function, "__self__", None), getattr(self.function, "__name__", "")
        if isinstance(getattr(type(owner), name, None), CompiledFunction):  # a method: its object has it, compiled anew
            return getattr, (owner, name)
        raise TypeError("a compiled function cannot be pickled; pickle the function, and compile it after loading")

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"<compiled {name}, {len(self.specialisations)} programs>"


def compile(
    function: Callable[..., Any] | None = None,
    *,
    machine: str = "auto",
    max_specialisations: int = 8,
    recompute: bool = False,
) -> Any:
    """Compile a training step, or any other function of tensors, into one program.

    Parameters
    ----------
    function : computes with the library's operations; may call ``zero_grad()``, ``backward()``, ``step()`` of
        optimizers, `tinynn.grad`, and return tensors in any structure
    machine : ``"auto"``, ``"numba"``, ``"numpy"`` or ``"cupy"``: what runs the program
    max_specialisations : programs for that many combinations of shapes; others run eagerly
    recompute : compute activations again for the way back (checkpointing, rematerialisation): of n equal layers about
        2 √n are in memory at once, for up to one more way forward of time. Results stay the same to the last bit

    Returns
    -------
    A function that is called in the same way. Its first two calls are ordinary ones, which are recorded and
    compared; from the third on, no Python of the function runs any more. Results are copies outside any graph.

    Raises
    ------
    TraceError
        In the first or second call, if Python looks at values, or decides otherwise in the second call. Everything
        that tensors, optimizers and generators hold is then as before the call.
    CompileError
        In the second call, if the program does not compute what the function computes.

    Notes
    -----
    Python side effects (printing, counting, appending to a list) happen in recorded calls only; those that change
    what the function itself depends on raise a TraceError.

    Parameters and moments move once, to where they lie side by side: a ``detach()`` or ``numpy()`` of a parameter made
    before goes on showing the old array. Labels and indices out of range raise in the recorded calls, and give NaN in
    later ones. One compiled function may be called from several threads; two that train the same parameters must not
    run at the same time, as eager steps must not.

    A method is compiled for each object, which keeps what was compiled in its ``__dict__``. Of objects that have none
    (with ``__slots__``), the method's latest eight are remembered, and kept alive; others are compiled anew.

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.tensor([1.0, 2.0])
    >>> @tinynn.compile
    ... def energy(x):
    ...     return (w * x * x).sum()
    >>> [energy(tinynn.tensor([1.0, float(i)])).item() for i in range(4)]
    [1.0, 3.0, 9.0, 19.0]
    """
    options = Options(machine, max_specialisations, recompute)
    if function is None:
        return functools.partial(compile, **dataclasses.asdict(options))
    if isinstance(function, CompiledFunction):
        function = function.function
    if not callable(function):
        raise TypeError(f"compile: a function is needed, not a {type(function).__name__}")
    if kind := suspended(function):
        raise TypeError(
            f"compile: {getattr(function, '__qualname__', type(function).__name__)} is {kind}, whose body does not run "
            "when it is called; compile a function of tensors that it calls"
        )
    return CompiledFunction(function, options)
