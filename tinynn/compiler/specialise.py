"""One specialisation: a function compiled for given shapes, values and modules, from its first call to its machine.

1. The first call is an ordinary one that is recorded.
2. So is the second; the two records must be the same, or something was frozen that changes. Then everything is put
   back, the machine does the same step, and its results and all state are compared with the eager ones.
3. From the third call on, the machine runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.backends import convert
from tinynn.backends.memory import return_freed_memory
from tinynn.changes import changes
from tinynn.compiler.arguments import Arguments, check_lines, detached, tensors_in
from tinynn.compiler.choose import Options, machine_for
from tinynn.compiler.differences import differences
from tinynn.compiler.errors import CompileError, TraceError
from tinynn.compiler.guards import Look, difference
from tinynn.compiler.program import Program
from tinynn.compiler.record import record
from tinynn.compiler.state import NUDGES, State, mismatch, nudged
from tinynn.compiler.watch import ERRORS, function_from_source
from tinynn.modes import mode
from tinynn.tensor import Tensor

MISS = object()  # in the place of an argument that was not given
MOST_RESTARTS = 8  # first records that were thrown away as too old


class Specialisation:
    """See the module's text.

    Attributes
    ----------
    stage : how many times it was recorded; 2 when the machine runs
    latest : whether the call before was this one's, too
    reason : why it was made, in words
    look, values, setting : what it was made for: all that the function reaches, marks of the arguments that are no
        arrays, and (gradients recorded or not, backend, default dtype)
    program, machine : the latest record, and what runs it
    broken : what the machine computed wrongly; None if it did not, or has not run yet
    outside : large NumPy arrays from outside of the function, which the program takes as further arguments
    own : ids of the arrays that the program writes to
    fast : the printed method that a call goes through while nothing changes
    changes_seen, settings_seen : the counts of `tinynn.changes` for which that holds
    """

    def __init__(self, look: Look, arguments: Arguments, setting: tuple[Any, ...], reason: str) -> None:
        self.look = look
        self.label = arguments.label
        self.key = arguments.key
        self.values = dict(arguments.values)
        self.reason = reason
        self.stage = 0
        self.latest = False
        self.restarts = 0
        self.calls = 0
        self.broken: str | None = None
        self.program: Program | None = None
        self.machine: Any = None
        self.fast: Callable[..., Any] | None = None
        self.own: set[int] = set()
        self.outside: list[Any] = []
        self.frozen: list[tuple[Any, Any]] = []  # large arrays that are no arguments, and what was in them
        self.changes_seen = -1
        self.settings_seen = -1
        self.setting = setting
        self.recording: bool = setting[0]
        self.unchanged: Callable[[], bool] = bool
        self._arrays: list[Any] = []

    # ------------------------------------------------------------------------------------------- recording

    def record(self, function: Callable[..., Any], arguments: Arguments, options: Options) -> Any:
        """An ordinary call that is recorded; the second time, all the checks. Returns the result."""
        if not self.holds():
            self.stage, self.program = 0, None
        before = self._state(self.look)
        try:
            program, result = self._recorded(function, arguments)
            if self.stage == 1 and self._is_outdated(program):
                self.stage = 0
            if self.stage == 1:
                self._compare_records(program, function, arguments)
                self._verify(program, before, result, arguments, options)
        except BaseException:
            before.restore()
            raise
        self.program = program
        self.stage += 1
        return result

    def _recorded(self, function: Callable[..., Any], arguments: Arguments) -> tuple[Program, Any]:
        leaves = [self._copy_of(t) for t in arguments.leaves]
        results: list[Any] = []

        def run(*given: Tensor) -> Any:
            results.append(arguments.call(function, given))
            return results[0]

        program = record(run, *leaves)
        for tensor, register in program.grads_out:
            if register is None:  # an optimizer has used it: as after a run of the program, it is forgotten
                tensor._grad = None
        changes.bump()
        return program, detached(results[0])

    def _copy_of(self, argument: Tensor) -> Tensor:
        """An argument may lie in the memory of a parameter; the two must not be one register."""
        copy = Tensor(convert.copied(argument.array, None))
        if argument.node is not None and self.recording:
            copy.requires_grad_()
        return copy

    def _is_outdated(self, program: Program) -> bool:
        """Whether the first record is another one because of something that happened between that call and this one.

        Two calls in a row must be the same program. Where calls of other programs lie between them, something may have
        changed that no mark shows, such as where a value kept by a ``cached_property`` came from: then this is
        the first record. Only so many times: what changes again and again follows from data.
        """
        assert self.program is not None
        if self.latest or self.restarts >= MOST_RESTARTS or not differences(self.program, program):
            return False
        self.restarts += 1
        return True

    def _compare_records(self, program: Program, function: Any, arguments: Arguments) -> None:
        assert self.program is not None
        if found := differences(self.program, program):
            text = "\n  ".join(map(str, found[:8]))
            raise TraceError(
                f"{_name(function)} cannot be compiled: two runs of it are not the same program. Something that Python "
                "decides or computes differs between calls: a branch on data, a number drawn or read, a value "
                "that counts up. Pass it as an argument, or compute it with tinynn's functions.\n  " + text
            )
        after = Look(function, arguments.objects)
        if change := difference(self.look.marks, after.marks):
            raise TraceError(
                f"{_name(function)} cannot be compiled: it changes what it depends on while it runs ({change}). "
                "Compiled calls run no Python, so that this would happen no more. Return the value, and change things "
                "outside."
            )

    def _verify(self, program: Program, before: State, result: Any, arguments: Arguments, options: Options) -> None:
        """Let the machine do the step again, and compare. Leaves everything as the eager step left it."""
        self._keep_outside_arrays(program)
        self._arrays = [None]  # the machine is to be linked, and the fast call printed
        self.machine = machine_for(program, options)
        after = self._state(self.look, program, before)
        names = {id(t): path for path, t in self._paths()}
        wanted = [t.array for t in tensors_in(result)]
        machine, got = self._replayed(program, before, arguments)
        wrong = mismatch(after, machine, (wanted, got), names, program.steps)
        for units in NUDGES:  # beyond rounding, or does this step make much of rounding?
            if wrong is None:
                break
            noise = self._replayed(program, before, arguments, units)
            wrong = mismatch(after, machine, (wanted, got), names, program.steps, noise)
        if wrong is not None:
            self.broken = wrong
            raise CompileError(
                f"the compiled program disagrees with the eager step, and will not be used: {wrong}. The state is as "
                "before this call; further calls run eagerly. Please report this."
            )
        after.restore()

    def _replayed(
        self, program: Program, before: State, arguments: Arguments, units: float = 0.0
    ) -> tuple[State, list[Any]]:
        """State and results after the machine has done the step, from arguments and state nudged by ``units``.

        What the state was moved by at the start is taken off again at the end: left is what came of it.
        """
        before.restore()
        given = [nudged(t.array, i, units) for i, t in enumerate(arguments.leaves)]
        kept = before.values() if units else {}
        moved = [t for t in program.state.values() if id(t) in kept and t.array.ndim and t.dtype.kind == "f"]

        def move(i: int, t: Tensor) -> Any:
            start = kept[id(t)][0]
            return nudged(start, len(given) + i, units) - start

        for i, t in enumerate(moved):
            t.array[...] += move(i, t)
        self.machine.relink()
        result = self.machine.run([*given, *self.outside])
        for i, t in enumerate(moved):
            t.array[...] -= move(i, t)
        return self._state(self.look, program, before), [t.array for t in tensors_in(result)]

    def _keep_outside_arrays(self, program: Program) -> None:
        """Large NumPy arrays that the function reaches become arguments: no call could compare their contents."""
        self.outside = []
        for register, value in program.sources.items():
            for array in self.look.arrays:
                if _place(value) == _place(array):  # equal contents may be a coincidence
                    del program.constants[register]
                    program.arguments.append(register)
                    program.statics.append(None)
                    self.outside.append(array)
                    break
        program.sources = {}
        others = [array for array in self.look.arrays if not any(array is x for x in self.outside)]
        self.frozen = [(array, array.copy()) for array in others]  # what was computed of them is part of the program

    def _state(self, look: Look, program: Program | None = None, restored: State | None = None) -> State:
        tensors = [*look.tensors]
        for known in (self.program, program):
            if known is not None:
                tensors += [*known.state.values(), *(t for t, _ in known.assignments)]
                tensors += [*known.grads_in, *known.grads_absent, *(t for t, _ in known.grads_out)]
        return State(tensors, look.optimizers, look.generators, restored)

    def _paths(self) -> list[tuple[str, Tensor]]:
        by_id = {mark[0]: path for path, mark in self.look.marks.items() if isinstance(mark, tuple) and mark}
        return [(by_id.get(id(t), ""), t) for t in self.look.tensors]

    # --------------------------------------------------------------------------------------------- running

    def link(self, arguments: Arguments, lock: Any) -> bool:
        """Make ready for running without further looks, until something changes. False: it must be recorded anew."""
        program = self.program
        assert program is not None
        if not self.holds() or not self.thawed():
            return False
        touched = [*program.state.values(), *(t for t, _ in program.assignments)]
        arrays = [t.array for t in touched if t.array.ndim]
        moved = len(arrays) != len(self._arrays) or any(a is not b for a, b in zip(arrays, self._arrays, strict=True))
        if moved:
            self.machine.relink()
            moved_to = [t.array for t in touched if t.array.ndim]  # a machine may move them
            if any(x is not y for x, y in zip(arrays, moved_to, strict=True)):
                changes.bump()  # other programs must look where they are now
            self._arrays = arrays = moved_to
            if self.fast is None:  # the first run: what recording and comparing took is not asked for again
                return_freed_memory()
        else:
            self.machine.refresh()
        changes.runner = self
        self.settings_seen = changes.settings
        if moved or not self.unchanged():
            self.unchanged = self.look.watch.compiled()
            # views are known by the array that they look into
            self.own = {id(a) if a.base is None else id(a.base) for a in arrays if isinstance(a, np.ndarray)}
            self.fast = self._printed(arguments, lock)
        return True

    def thawed(self) -> bool:
        """Whether large NumPy arrays that something was computed of hold what they held."""
        return all(now.tobytes() == then.tobytes() for now, then in self.frozen)

    def renew(self) -> bool:
        """Look at the optimizers' settings again. False: they ask for another formula."""
        if not self.holds():
            return False
        self.machine.refresh()
        self.settings_seen = changes.settings
        return True

    def _printed(self, arguments: Arguments, lock: Any) -> Callable[..., Any]:
        """All that a call does around the machine while nothing changes, as one method; carefully if something did."""
        assert self.program is not None
        lines, names = check_lines(arguments.leaves, self.recording, self.machine.copied)
        condition, watched = self.look.watch.expression()
        names |= watched | {
            "own": self.own, "MISS": MISS, "changes": changes, "mode": mode, "lock": lock, "spec": self,
            "run": self.machine.run, "refresh": self.machine.refresh,
        }  # fmt: skip
        given = [f"x{i}" for i in range(len(arguments.leaves))]
        taken, outside = [f"a{i}" for i in range(len(given))], [f"outside{i}" for i in range(len(self.outside))]
        names |= dict(zip(outside, self.outside, strict=True))
        plain = [f"return run(({''.join(f'{a}, ' for a in [*taken, *outside])}))"]
        work, more = self.machine.inline([*taken, *outside]) or (plain, {})
        names |= more | {"recount": self.machine.recount}
        body = [
            f"def __call__({', '.join(['self', *(f'{x}=MISS' for x in given), '/', '*more'])}, **named):",
            "    if changes.count != spec.changes_seen or more or named:",
            f"        return {self._carefully(given)}",
            *(f"    {line}".replace("return MISS", f"return {self._carefully(given)}") for line in lines),
            "    try:",
            f"        if not ({condition}): return {self._carefully(given)}",
            f"    except {ERRORS}: return {self._carefully(given)}",
            *([f"    if not spec.thawed(): return {self._carefully(given)}"] if self.frozen else []),
            f"    if mode.observer is not None or mode.recording is not {self.recording}:",
            f"        return {self._carefully(given)}",
            "    if changes.settings != spec.settings_seen:",
            "        with lock: holds = spec.renew()",
            f"        if not holds: return {self._carefully(given)}",
            "    with lock:",
            "        if changes.runner is not spec:",
            "            refresh()",
            "            changes.runner = spec",
            "        spec.calls += 1",
            "        try:",
            *(f"            {line}" for line in work),
            "        except BaseException:",
            "            recount()",
            "            changes.bump()",
            "            raise",
        ]
        return function_from_source("__call__", "\n".join(body), names)

    def _carefully(self, given: list[str]) -> str:
        """The text of a careful call: arguments that were left out do not count."""
        return f"self._carefully(tuple(x for x in ({''.join(f'{x}, ' for x in given)}*more,) if x is not MISS), named)"

    def run(self, arguments: Arguments) -> Any:
        """One step by the machine, the careful way."""
        assert self.program is not None
        arrays = [t.array for t in arguments.leaves]
        bases = [getattr(a, "base", None) for a in arrays]
        arrays = [a.copy() if id(a if b is None else b) in self.own else a for a, b in zip(arrays, bases, strict=True)]
        try:
            return self.machine.run([*arrays, *self.outside])
        except BaseException:
            changes.bump()
            raise

    def still_fits(self, arguments: Arguments, setting: tuple[Any, ...]) -> bool:
        """Whether nothing has changed since the last run: some ns per name, where a look takes µs."""
        seen = changes.count == self.changes_seen and self.stage == 2 and self.broken is None
        if not seen or self.setting != setting or self.key != arguments.key:
            return False
        if changes.settings != self.settings_seen and not self.holds():  # another formula: another key
            return False
        given = [value for _, value in arguments.objects]
        return all(x is y for x, y in zip(given, self.look.given, strict=True)) and self.unchanged()

    def holds(self) -> bool:
        """Whether the optimizers still ask for the formulas that were recorded."""
        return self.program is None or all(step.holds() for step in self.program.steps)

    def settle(self, count: int) -> None:
        """After a careful run: from now on, the count ``count`` means that nothing has changed."""
        assert self.program is not None
        self.changes_seen = count
        if not self.program.fits_gradients():  # this run gave gradients, or took them: another program's turn
            changes.bump()

    def fits_gradients(self) -> bool:
        """Whether gradients are there, and absent, as the program wants them."""
        return self.program is None or self.program.fits_gradients()

    def __str__(self) -> str:
        count = len(self.program.instructions) if self.program is not None else 0
        stages = ("not recorded", "recorded once", f"compiled by {type(self.machine).__name__}")
        text = f"{self.label or 'no arrays'}: {count} instructions, {stages[self.stage]}, {self.calls} calls"
        text += f"; made because {self.reason}"
        return text + (f"; NOT USED: {self.broken}" if self.broken else "")


def _place(array: Any) -> tuple[Any, ...]:
    """Where an array lies, and how it is read."""
    return array.ctypes.data, array.shape, array.strides, array.dtype


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or type(function).__name__
