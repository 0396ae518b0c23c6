"""What two recordings of one function, made on different data, do differently.

What depends on the data only by way of tensors gives the same program twice. A Python number that followed from the
data, a branch, a list that has grown, random numbers of Python or NumPy give another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backends import convert
from tinynn.compiler.program import Instruction, Program, Register
from tinynn.tensor import Tensor

MOST = 5  # differences that are listed


def differences(first: Program, second: Program) -> list[str]:
    """The differences between two programs of one function: a sentence for each, at most a few; empty if none.

    Compared are the operations with their settings and how they hang together, constants bit by bit, which tensors
    are read and written, the random numbers drawn, gradients, and what is returned. Values of arguments and of
    tensors from outside may differ.

    Examples
    --------
    >>> import tinynn
    >>> from tinynn.compiler import record
    >>> scale = iter([0.5, 0.25])
    >>> def f(x):
    ...     return x * next(scale)
    >>> x = tinynn.tensor([1.0])
    >>> text, = differences(record(f, x), record(f, x))
    >>> text[text.index("a Python"):]
    'a Python number 0.5 became part of Mul; in the second run it was 0.25: pass it as an argument, or keep it in a
    tensor'
    """
    return _Comparison(first, second).run()


class _Comparison:
    def __init__(self, first: Program, second: Program) -> None:
        self.first, self.second = first, second
        self.same: dict[int, int] = {}  # register of the first program -> that of the second
        self.found: list[str] = []
        self.roles = _roles(first), _roles(second)

    def run(self) -> list[str]:
        a, b = self.first, self.second
        self._arguments()
        self._draws()
        for t, register in a.grads_in.items():
            if t in b.grads_in:
                self.same[register] = b.grads_in[t]
        for one, other in zip(a.instructions, b.instructions, strict=False):
            if not _same_key(one.op.key(), other.op.key()) or len(one.inputs) != len(other.inputs):
                self._other_operation(one, other)
                return self.found
            for x, y in zip(one.inputs, other.inputs, strict=True):
                self._input(x, y, f"{one.made_at}: ", type(one.op).__name__)
            self.same.update(zip(one.outputs, other.outputs, strict=True))
            for x, y in zip(one.outputs, other.outputs, strict=True):
                if a.types[x] != b.types[y]:
                    self.say(
                        f"{one.made_at}: {type(one.op).__name__} gives {_kind(a.types[x])}; in the second run "
                        f"{_kind(b.types[y])}: shapes must not depend on values"
                    )
            if len(self.found) >= MOST:
                return self.found
        longer, n = (a, len(b.instructions)) if len(a.instructions) > len(b.instructions) else (b, len(a.instructions))
        if len(longer.instructions) > n:
            extra = longer.instructions[n]
            self.say(
                f"{extra.made_at}: {extra.op!r} runs only in the {'first' if longer is a else 'second'} run: a branch "
                "or a loop in Python follows from the data; use tinynn.where, or decide outside of the function"
            )
            return self.found
        self._writes()
        self._result(a.result, b.result, "the result")
        return self.found[:MOST]

    def say(self, text: str) -> None:
        if text not in self.found:
            self.found.append(text)

    # ------------------------------------------------------------------------------------------------ the parts

    def _arguments(self) -> None:
        for i, (x, y) in enumerate(zip(self.first.arguments, self.second.arguments, strict=False)):
            if x is None or y is None:
                if not (x is y and _equal(self.first.statics[i], self.second.statics[i])):
                    self.say(f"argument {i} is not the same number, string or object in both runs")
            else:
                self.same[x] = y
                if self.first.types[x] != self.second.types[y]:
                    self.say(
                        f"argument {i} is {_kind(self.first.types[x])} in the first run, "
                        f"{_kind(self.second.types[y])} in the second"
                    )
        if len(self.first.arguments) != len(self.second.arguments):
            self.say(
                f"{len(self.first.arguments)} arguments in the first run, {len(self.second.arguments)} in the second"
            )

    def _draws(self) -> None:
        for one, other in zip(self.first.draws, self.second.draws, strict=False):
            if one[0] is not other[0] or one[1] != other[1]:
                self.say(
                    "random numbers are drawn from another generator, or another number of them, in the second run"
                )
            self.same[one[2]] = other[2]
        if len(self.first.draws) != len(self.second.draws):
            self.say(
                f"random numbers are drawn {len(self.first.draws)} times in the first run, {len(self.second.draws)} "
                "times in the second"
            )

    def _input(self, x: int, y: int, where: str, user: str) -> None:
        if x in self.same:
            if self.same[x] != y:
                self.say(f"{where}{user} reads the result of another operation in the second run")
            return
        a, b = self.first, self.second
        if x in a.constants and y in b.constants:
            text = _constants_differ(a.constants[x], b.constants[y], user)
            if text:
                self.say(where + text)
        elif x in a.state and y in b.state:
            s, t = a.state[x], b.state[y]
            if s is not t and not self._same_role(s, t):
                text = _constants_differ(s.array, t.array, user)
                if text:
                    self.say(where + text)
        else:
            self.say(f"{where}{user} reads {_origin(a, x)} in the first run, {_origin(b, y)} in the second")
        self.same[x] = y

    def _same_role(self, s: Tensor, t: Tensor) -> bool:
        role = self.roles[0].get(id(s))
        return role is not None and role == self.roles[1].get(id(t))

    def _other_operation(self, one: Instruction, other: Instruction) -> None:
        if type(one.op) is type(other.op) and one.made_at == other.made_at:
            self.say(
                f"{one.made_at}: {one.op!r} in the first run, {other.op!r} in the second: a setting follows from the "
                "data, or was changed; give it as an argument"
            )
            return
        elsewhere = "" if one.made_at == other.made_at else f" (at {other.made_at})"
        self.say(
            f"{one.made_at}: {one.op!r} in the first run, {other.op!r}{elsewhere} in the second: a branch or a loop in "
            "Python follows from the data; use tinynn.where, or decide outside of the function"
        )

    def _writes(self) -> None:
        for what, ours, theirs in (
            ("assigned to", self.first.assignments, self.second.assignments),
            ("given a gradient", self.first.grads_out, self.second.grads_out),
        ):
            # a tensor that the function makes anew at each run is none of the other run's
            there, here = {id(t) for t, _ in theirs}, {id(t) for t, _ in ours}
            mine: Any = [(t, r) for t, r in ours if id(t) in there]
            yours: Any = [(t, r) for t, r in theirs if id(t) in here]
            if len(ours) != len(theirs):
                self.say(f"{len(ours)} tensors are {what} in the first run, {len(theirs)} in the second")
                continue
            for (s, x), (t, y) in zip(mine, yours, strict=False):
                if s is not t or (x is None) != (y is None):
                    self.say(
                        f"{s.describe()} is {what} in the first run; in the second another one, or not in this order"
                    )
                elif x is not None and y is not None:
                    self._input(x, y, f"the value that {s.describe()} is {what}: ", "the program")

    def _result(self, x: Any, y: Any, where: str) -> None:
        if isinstance(x, Register) and isinstance(y, Register):
            self._input(x, y, f"{where}: ", "the function")
        elif type(x) is not type(y):
            self.say(f"{where} is {_word(x)} in the first run, {_word(y)} in the second")
        elif isinstance(x, dict):
            if list(x) != list(y):
                self.say(f"{where} has the keys {list(x)} in the first run, {list(y)} in the second")
            else:
                for key in x:
                    self._result(x[key], y[key], f"{where}[{key!r}]")
        elif isinstance(x, (list, tuple)):
            if len(x) != len(y):
                self.say(f"{where} has {len(x)} parts in the first run, {len(y)} in the second")
            else:
                for i, (p, q) in enumerate(zip(x, y, strict=True)):
                    self._result(p, q, f"{where}[{i}]")
        elif not _equal(x, y):
            self.say(f"{where} is {_word(x)} in the first run, {_word(y)} in the second; return tensors, which are new")


def _roles(program: Program) -> dict[int, Any]:
    """The numbers that an optimizer renews before each run: which of them a tensor holds."""
    return {
        id(scalar): (i, id(step.optimizer), j, k)
        for i, step in enumerate(program.steps)
        for j, part in enumerate(step.parts)
        for k, scalar in enumerate(part.scalars)
    }


def _constants_differ(a: Any, b: Any, user: str) -> str | None:
    if _equal(a, b):
        return None
    advice = "pass it as an argument, or keep it in a tensor"
    numbers = (int, float, bool, np.generic, type(None))
    if isinstance(a, numbers) and isinstance(b, numbers):
        return f"a Python number {a!r} became part of {user}; in the second run it was {b!r}: {advice}"
    if np.shape(a) != np.shape(b):
        return (
            f"an array of shape {np.shape(a)} became part of {user}; in the second run it had {np.shape(b)}: {advice}"
        )
    x, y = np.asarray(convert.to_host(a)), np.asarray(convert.to_host(b))
    where = tuple(int(i) for i in np.argwhere(~((x == y) | ((x != x) & (y != y))))[:1].reshape(-1))
    example = f", for instance at {list(where)}, {x[where]} and {y[where]}" if where else ""
    return (
        f"an array of shape {x.shape} became part of {user}; in the second run it held other numbers{example}: {advice}"
    )


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are the same, bit by bit."""
    if a is b:
        return True
    if isinstance(a, (np.generic, *convert.ARRAYS)) and isinstance(b, (np.generic, *convert.ARRAYS)):
        x, y = np.asarray(convert.to_host(a)), np.asarray(convert.to_host(b))
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    try:
        return bool(a == b)
    except Exception:
        return False


def _same_key(a: Any, b: Any) -> bool:
    """Whether two operations have the same settings; NaN is the same as NaN."""
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(map(_same_key, a, b))
    if isinstance(a, (float, np.floating)) and isinstance(b, (float, np.floating)):
        return _equal(a, b)
    return bool(a == b)


def _origin(program: Program, register: int) -> str:
    if register in program.constants:
        return "a constant"
    if register in program.state:
        return f"{program.state[register].describe()} from outside"
    if register in program.arguments:
        return f"argument {program.arguments.index(register)}"
    return "a result"


def _kind(kind: tuple[tuple[int, ...], Any]) -> str:
    return f"{kind[1]} of shape {kind[0]}"


def _word(value: Any) -> str:
    return "a tensor" if isinstance(value, Register) else f"{value!r}"
