"""The numbers of optimizers that change from step to step: computed for many steps ahead, and counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL = 8  # bytes for an optimizer's scalar
AHEAD = 128  # steps for which the scalars are computed at once


class StepCounter:
    """Parameters of an optimizer that share their scalars and their step number."""

    def __init__(self, optimizer: Any, part: Any) -> None:
        self.optimizer = optimizer
        self.group, self.states, self.scalars = part.group, part.states, part.scalars
        self.t = 0
        self.turn, self.turns = 0, 1  # which of how many steps of these parameters in one run

    @staticmethod
    def number(counters: Sequence[StepCounter]) -> None:
        """Say which turn each has, where a function calls ``optimizer.step()`` more than once."""
        of_state = defaultdict(list)
        for counter in counters:
            of_state[id(counter.states[0])].append(counter)
        for several in of_state.values():
            for i, counter in enumerate(several):
                counter.turn, counter.turns = i, len(several)


class StepNumbers:
    """The part of a machine that knows in which step it is.

    A learning rate's bias corrections follow from the step number. They are computed for many steps at once, by the
    optimizer's own formula, as rows of bytes that a step copies to where the kernels read them.
    """

    fixed: NDArray[Any]  # the machine's memory, with a cell for each scalar at its beginning
    _steps: Sequence[StepCounter]
    _own_scalars: dict[int, int]  # id of a scalar's tensor -> the number of its cell
    _ahead: NDArray[Any]
    _horizon: int
    _started: list[int]  # step numbers when the scalars were computed
    left: int  # steps for which they are there

    def look_ahead(self, count: int | None = None) -> None:
        """Compute the optimizers' scalars for the next ``count`` steps; for more and more while no setting changes."""
        if count is None:
            count = self._horizon
            self._horizon = min(2 * self._horizon, AHEAD)
        self.left = count
        if not self._steps:
            return
        width = len(self._own_scalars) * CELL
        self._ahead = np.zeros((count, width), np.uint8)
        for counted in self._steps:
            first, turns = counted.states[0]["step"] + counted.turn + 1, counted.turns
            counted.t = first - turns
            rows = counted.optimizer.scalars_ahead(counted.group, first, (count - 1) * turns + 1)
            for scalar, column in zip(counted.scalars, rows, strict=True):
                at = self._own_scalars[id(scalar)] * CELL
                self._ahead[:, at : at + scalar.dtype.itemsize].view(scalar.dtype)[:, 0] = (
                    column[::turns] if np.ndim(column) else column
                )
        self._started = [counted.t for counted in self._steps]
        self._point_to_scalars(self._ahead.ctypes.data, width, self.fixed.ctypes.data)

    def _point_to_scalars(self, address: int, nbytes: int, cells: int) -> None:
        """Let each step copy the next row of scalars to where the rows read them."""
        self._turn = 0

    def _next_scalars(self) -> None:
        """What a step of a machine that runs in Python begins with."""
        if self._steps:
            self.fixed[: self._ahead.shape[1]] = self._ahead[self._turn]
            self._turn += 1

    def _steps_taken(self, start: int) -> int:
        """How many rows of scalars were used since `look_ahead`."""
        return self._turn

    def _take_step(self) -> None:
        """Run the rows, and count the step; after an exception the step numbers are as the rows have left them."""
        try:
            self.left -= 1
            self._run_rows()
            for counted in self._steps:
                counted.t = t = counted.t + counted.turns
                for state in counted.states:
                    state["step"] = t
        except BaseException:
            self.recount()
            raise

    def _run_rows(self) -> None:
        raise NotImplementedError

    def recount(self) -> None:
        """After an exception: step numbers as they are."""
        if self._started:
            taken = self._steps_taken(self._ahead.ctypes.data)
            for counted, t in zip(self._steps, self._started, strict=True):
                for state in counted.states:
                    state["step"] = t + taken * counted.turns
        self.left = 0

    @contextmanager
    def counted(self, count: int) -> Iterator[None]:
        """A block in which ``count`` steps are taken at once."""
        self.look_ahead(count)
        try:
            yield
        finally:
            self.recount()
