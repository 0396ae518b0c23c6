"""Record one run of a function, the walk back and the assignments included, as a list of instructions.

Every operation passes `tinynn.autodiff.apply`, so recording is appending to a list there. While it is on,
the walk back runs the gradient formulas on Tensors too, and optimizers step by their formulas, so that
forward, backward and update land in one list. Each array gets a number, its *register*, when it is first
seen:

* an argument of the function: given anew at every run;
* what an instruction computed;
* the array of a tensor from outside (a parameter, a moment): its `state`, read anew at every run, and written
  back at the end of the run where the function assigned to it;
* the gradient that a leaf has at the beginning;
* a position in a stream of random numbers, reserved anew at every run;
* anything else is a constant.

What Python does beside that happens once, when recording. Where the library can see that it depends on
values, or would have to happen at each run, it raises a `TraceError`. Python's own choices and numbers can be
seen by recording twice: see `tinynn.compiler.differences`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from tinynn import graph, modes
from tinynn.backends import convert, dispatch
from tinynn.compiler.errors import TraceError
from tinynn.compiler.program import Instruction, Program, Register, mapped
from tinynn.graph import Leaf, Node
from tinynn.ops.base import Op
from tinynn.ops.indexing import Gather, Scatter
from tinynn.ops.transfer import Cast, Truncate
from tinynn.tensor import Tensor

_NOTHING = object()


class _Recorder:
    """The observer: gives numbers to arrays, appends, and refuses."""

    wants_tensors = True

    def __init__(self) -> None:
        self.program = Program()
        self.registers: dict[int, int] = {}  # id of an array -> its register
        self.seen: dict[int, Any] = {}  # by its id, a weak reference to an array, or a number: no id means two things
        self.fixed: set[int] = set()  # registers that are the same in every run
        self.sharing: dict[int, list[Any]] = {}  # id of what owns memory -> weak references to the arrays in it
        self.stale: dict[int, str] = {}  # id of a view of an overwritten array -> what happened
        self.overwritten: dict[int, list[Any]] = {}  # id of what owns memory -> arrays in it that were written to
        self.own: dict[int, Any] = {}  # modules and generators made while recording
        self.given: dict[int, Tensor] = {}  # tensors that stand for arguments
        self.refused: TraceError | None = None  # raised again at the end, if the function went on
        self.given_leaves: set[int] = set()  # ids of those whose gradient the caller asks for
        self.gradients: dict[int, tuple[Tensor, Any, bool]] = {}  # leaf, gradient at the beginning, was it looked at
        self.first = Node(Op(), (), {}, ()).number  # later nodes are made by the function
        self.count = 0

    # ----------------------------------------------------------------------------------------------- registers

    def new(self, array: Any) -> int:
        """A register for an array that was just made (or has just got new contents)."""
        self.count += 1
        self.registers[id(array)] = self.count
        if isinstance(array, convert.ARRAYS) and id(array) not in self.seen:
            self.sharing.setdefault(_owner(array), []).append(weakref.ref(array))
        self._see(array)
        self.stale.pop(id(array), None)
        self.program.types[self.count] = _type(array)
        return self.count

    def _see(self, array: Any) -> None:
        """Remember what an id stands for. Arrays are not kept alive by that, and forgotten when they die."""
        key = id(array)
        if isinstance(array, convert.ARRAYS):
            self.seen[key] = weakref.ref(array, lambda _: self._forget(key))
        else:
            self.seen[key] = array

    def _forget(self, key: int) -> None:
        for table in (self.seen, self.registers, self.stale):
            table.pop(key, None)

    def known(self, array: Any) -> int | None:
        """The register of an array. Python numbers and None are shared objects: their identity says nothing."""
        if not isinstance(array, (np.generic, *convert.ARRAYS)):
            return None
        if id(array) in self.stale:
            self.forbid(
                f"using a view of a tensor that was overwritten since ({self.stale[id(array)]})",
                "take a copy before, with clone(), or the view after",
            )
        return self.registers.get(id(array))

    def of(self, value: Any) -> int:
        """The register of an input."""
        if not isinstance(value, Tensor):
            known = self.known(value)
            return known if known is not None else self.constant(
                value if value.__class__ in dispatch.PLAIN_TYPES else dispatch.as_operand(value)
            )  # fmt: skip
        _separate(value)
        known = self.known(value.array)
        if known is not None:
            return known
        if value.node is not None and not isinstance(value.node, Leaf) and value.node.number < self.first:
            self.forbid(
                f"using {value.describe()} that was computed outside of the function and wants a gradient",
                "compute it inside, or detach() it",
            )
        if any(dispatch.same_memory(value.array, array) for array in self.overwritten.get(_owner(value.array), ())):
            self.forbid(
                f"using {value.describe()} that shares memory with a tensor overwritten before", "use one of them"
            )
        register = self.new(value.array)
        self.program.state[register] = value
        return register

    def constant(self, value: Any) -> int:
        register = self.new(value)
        # a copy: the array may be written to later
        self.program.constants[register] = value.copy() if isinstance(value, convert.ARRAYS) else value
        if value.__class__ is np.ndarray:
            self.program.sources[register] = value
        self.fixed.add(register)
        return register

    # ------------------------------------------------------------------------------------------ what it is told

    def applied(self, op: Op, inputs: tuple[Any, ...], result: Tensor, derived: Sequence[Any]) -> None:
        sources = tuple(self.of(x) for x in inputs)
        fixed = self.fixed.issuperset(sources)
        if isinstance(op, (Gather, Scatter)) and not fixed:
            for register in sources[1:]:
                if self.program.types[register][1].kind == "b" and register not in self.fixed:
                    self.forbid(
                        "picking elements by a mask, whose number depends on values,",
                        "use tinynn.where(mask, x, 0), which keeps the shape",
                    )
        _separate(result)
        if any(isinstance(x, Tensor) and x.node is None and result.array is x.array for x in inputs):
            # detach() hands on the array itself: the two are told apart, as assign_() gives the one a new array
            result.array = result.array.view() if result.array.ndim else np.array(result.array)[()]
        targets = tuple(self.new(array) for array in (result.array, *derived))
        if fixed:
            self.fixed.update(targets)
        self.program.instructions.append(Instruction(op, sources, targets, graph.user_line()))

    def differentiated(self, node: Node, i: int, gradient: Any) -> None:
        if node.number < self.first:
            self.forbid("backward() through operations from outside of the function", "compute the loss inside")

    def created(self, tensor: Tensor) -> None:
        _separate(tensor)
        if self.known(tensor.array) is None:
            self.constant(tensor.array)

    def assigned(self, tensor: Tensor, value: Any) -> None:
        register = self.of(value)
        dtype = tensor.dtype
        if self.program.types[register][1] != dtype or self.program.types[register][0] != tensor.shape:
            if register in self.program.constants and not isinstance(value, Tensor):
                register = self.constant(np.broadcast_to(np.asarray(value, dtype), tensor.shape)[()])
            else:
                old = self.program.types[register][1]
                op = Cast(dtype, old) if dtype.kind == "f" else Truncate(dtype)
                self.count += 1
                self.program.types[self.count] = tensor.shape, dtype
                self.program.instructions.append(Instruction(op, (register,), (self.count,), graph.user_line()))
                register = self.count
        _separate(tensor)
        array = tensor.array
        if isinstance(tensor.node, Leaf) and isinstance(array, convert.ARRAYS):  # written to in place: views see it
            where = f"{tensor.describe()}, at {graph.user_line()}"
            for reference in self.sharing.get(_owner(array), ()):
                other = reference()
                if other is not None and other is not array and dispatch.same_memory(other, array):
                    self.stale[id(other)] = where
            self.overwritten.setdefault(_owner(array), []).append(array)
        # Whoever reads the tensor from now on reads this value, wherever its array lies.
        self.registers[id(array)] = register
        self._see(array)
        self.stale.pop(id(array), None)
        self.program.assignments.append((tensor, register))

    def drawn(self, generator: Any, blocks: int, position: Any) -> None:
        if id(generator) in self.own:  # made anew, with this seed, at each run
            self.constant(position)
        else:
            self.program.draws.append((generator, blocks, self.new(position)))

    def made(self, thing: Any) -> None:
        self.own[id(thing)] = thing

    def stepped(self, step: Any) -> None:
        self.program.steps.append(step)

    # ------------------------------------------------------------------------------------------------ gradients

    def gradient_read(self, tensor: Tensor) -> None:
        if self._is_outside(tensor) and id(tensor) not in self.gradients:
            before = tensor._grad
            self.gradients[id(tensor)] = tensor, before, True
            if before is None:
                self.program.grads_absent.append(tensor)
            else:
                _separate(before)
                known = self.known(before.array)
                self.program.grads_in[tensor] = self.new(before.array) if known is None else known

    def gradient_written(self, tensor: Tensor) -> None:
        if self._is_outside(tensor):
            self.gradients.setdefault(id(tensor), (tensor, tensor._grad, False))

    def _is_outside(self, tensor: Tensor) -> bool:
        """Whether a leaf lives on after the function, so that its gradient is part of what the function does."""
        if id(tensor) in self.given_leaves:
            self.forbid(
                "adding to the gradient of an argument",
                "give detach() of it, if its gradient is not meant; else use tinynn.grad(loss, argument), and "
                "return that",
            )
        return isinstance(tensor.node, Leaf) and tensor.node.number < self.first

    def finish_gradients(self) -> None:
        """Note which gradients the function leaves behind."""
        for tensor, before, looked_at in self.gradients.values():
            after = tensor._grad
            if after is before and (after is not None or looked_at):
                continue  # one that is not there, and was not asked for, is forgotten: it may be there in another run
            forgotten = after is None or (not looked_at and getattr(tensor.node, "consumed", False))
            self.program.grads_out.append((tensor, None if forgotten or after is None else self.of(after)))

    # ------------------------------------------------------------------------------------------------- refusals

    def forbid(self, what: str, advice: str) -> NoReturn:
        self.refused = TraceError(f"{graph.user_line()}: {what} cannot be part of a compiled function: {advice}")
        raise self.refused

    def reading(self, tensor: Tensor, what: str) -> None:
        _separate(tensor)
        if self.known(tensor.array) in self.fixed:
            return
        hints = {
            "bool": "use tinynn.where(condition, a, b), or decide outside of the function",
            "print": "return the tensor, and print it outside",
            ".nump": "compute with tinynn's functions, or return the tensor and go on outside",
            "int()": "use the tensor itself as an index, or give the number as an argument",
        }
        otherwise = "keep it a tensor, or return it and look at it outside"
        advice = next((hint for start, hint in hints.items() if what.startswith(start)), otherwise)
        self.forbid(f"{what} of {tensor.describe()}, whose value is another one in each run,", advice)

    def assigning(self, tensor: Tensor) -> None:
        if id(tensor) in self.given:
            self.forbid("assign_() to an argument", "return the new value")
        if tensor.node is None or tensor.is_leaf:
            register = self.known(tensor.array) if isinstance(tensor.array, convert.ARRAYS) else None
            if register is not None and tensor.node is None and self._is_computed(register) and not any(
                tensor is t for t, _ in self.program.assignments
            ):  # fmt: skip
                self.forbid(f"assign_() to {tensor.describe()} that was computed", "use the new value itself")

    def _is_computed(self, register: int) -> bool:
        return register not in self.program.state and register not in self.program.constants

    def reseeding(self, generator: Any, what: str) -> None:
        if id(generator) not in self.own:
            self.forbid(f"{what}, which would happen once and not at each run,", "do it before")

    def attribute_set(self, owner: Any, name: str, value: Any) -> None:
        if id(owner) not in self.own and getattr(owner, name, _NOTHING) is not value:
            self.forbid(
                f"setting {type(owner).__name__}.{name}, which would happen once and not at each run,",
                "keep numbers that change in a buffer and use assign_(), or return them",
            )

    def requires_grad_set(self, tensor: Tensor, value: bool) -> None:
        outside = isinstance(tensor.node, Leaf) and tensor.node.number < self.first
        if not value and outside:
            self.forbid("freezing a tensor", "do it outside, before; detach() leaves a tensor out of the gradient")
        if value and tensor.node is None and any(tensor is t for t in self.program.state.values()):
            self.forbid("requires_grad_() of a tensor from outside", "do it outside, before")


def _separate(tensor: Tensor) -> None:
    """Give a bool without axes an array of its own: NumPy has one True and one False for all."""
    if tensor.array.__class__ is np.bool_:
        tensor.array = np.array(tensor.array)


def _owner(array: Any) -> int:
    """What owns the memory of an array that may be a view of a view."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return id(array)


def _type(array: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if hasattr(array, "dtype"):
        return tuple(array.shape), array.dtype
    return np.shape(array), np.dtype(object) if array is None else np.asarray(array).dtype


def record(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Program:
    """Run the function once, and note what it does.

    Parameters
    ----------
    function : computes with the library's operations on Tensors; may call ``backward()`` and
        ``optimizer.step()``
    arguments, keywords : tensors and arrays to record with, also in nested tuples, lists and dicts; the function gets
        all of them as tensors. Their shapes and dtypes hold for all runs. Other arguments are part of the program

    Returns
    -------
    The program. Its ``run`` takes new arguments and returns what the function would return, as constants.

    Raises
    ------
    TraceError
        If the function does what a program cannot repeat: looks at values, sets learning rates, ...

    Notes
    -----
    The run that is recorded is a real one: parameters are updated by it, random numbers used.
    What Python does besides is as it was in that run: numbers, choices, attributes of objects, the random numbers of
    Python and NumPy, and what is computed with ``tensor.array``, which nobody can see. Labels and indices are not
    looked at in later runs: they must be in range.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.compiler import record
    >>> w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> def slope(x):
    ...     return tinynn.grad((w * x).tanh().sum(), w)
    >>> program = record(slope, tinynn.tensor([0.0, 0.0]))
    >>> len(program.instructions) > 3
    True
    >>> program.run(tinynn.tensor([0.0, 1.0]))
    tensor([0.        , 0.07065082])
    """
    modes.refuse("recording", "record outside")
    recorder = _Recorder()
    program = recorder.program

    def given(value: Any) -> Any:
        if not isinstance(value, (Tensor, *convert.ARRAYS)):
            program.arguments.append(None)
            program.statics.append(value)
            return value
        array = value.array if isinstance(value, Tensor) else value
        # an array object of its own: the same one may be given twice, or be a parameter's
        fresh = Tensor(array.view() if isinstance(array, convert.ARRAYS) and array.ndim else np.array(array)[()])
        _separate(fresh)
        program.arguments.append(recorder.new(fresh.array))
        program.statics.append(None)
        recorder.given[id(fresh)] = fresh
        if isinstance(value, Tensor) and value.node is not None:
            if not value.is_leaf:
                raise TraceError(
                    f"an argument is {value.describe()}, the result of {type(value.node.op).__name__} that wants a "
                    "gradient; detach() it, or compute it inside of the function"
                )
            fresh.requires_grad_()
            recorder.given_leaves.add(id(fresh))
        return fresh

    args, kwargs = mapped((arguments, keywords), given, object)
    settings = [(holder, holder.settings()) for holder in modes.holders_of_settings]
    with modes.observed_by(recorder):
        result = function(*args, **kwargs)
        if recorder.refused is not None:  # the function has caught it, and gone on in another way
            raise recorder.refused
        program.result = mapped(result, lambda tensor: Register(recorder.of(tensor)), Tensor)
        recorder.finish_gradients()
    recorder.seen.clear()  # from here on arrays die unobserved
    for holder, before in settings:
        _check_settings(holder, before)
    return program


def _check_settings(holder: Any, before: list[dict[str, Any]]) -> None:
    """A learning rate that the function sets would be set once, and not at each run."""
    for i, (old, new) in enumerate(zip(before, holder.settings(), strict=True)):
        for name in new:
            if name not in old or old[name] != new[name]:
                raise TraceError(
                    f"the function sets {type(holder).__name__}.param_groups[{i}][{name!r}] from {old.get(name)!r} to "
                    f"{new[name]!r}, which would happen once and not at each run: do it between calls"
                )
