"""Which machine runs a program; and the plainest of them, which plans nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tinynn.backends import select
from tinynn.changes import changes
from tinynn.compiler.program import Program
from tinynn.tensor import Tensor

KINDS = ("auto", "numba", "numpy", "cupy", "program")


@dataclass(frozen=True)
class Options:
    """What `tinynn.compile` is told besides the function; see there."""

    machine: str = "auto"
    max_specialisations: int = 8
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.machine not in KINDS:
            raise ValueError(f"compile: machine must be one of {', '.join(KINDS[:-1])}, not {self.machine!r}")
        if not isinstance(self.max_specialisations, int) or self.max_specialisations < 1:
            raise ValueError(
                f"compile: max_specialisations must be a positive integer, not {self.max_specialisations!r}"
            )
        if not isinstance(self.recompute, bool):
            raise TypeError(f"compile: recompute must be True or False, not {self.recompute!r}")


class ProgramMachine:
    """The plainest machine: `Program.run`, instruction by instruction in NumPy."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.copied = [False] * len(program.arguments)

    def run(self, arrays: list[Any]) -> Any:
        """The result for arguments with these arrays; assignments are carried out."""
        before = changes.count
        absent = [t._grad is None for t, _ in self.program.grads_out]
        done = 0
        try:
            for step in self.program.steps:
                step.renew()
                done += 1
            result = self.program.run(*map(Tensor, arrays))
        except BaseException:
            for step in self.program.steps[:done]:
                step.undo()
            raise
        # the machine's own assignments replace no array behind its back, but gradients come and go
        changes.count = before
        if absent != [t._grad is None for t, _ in self.program.grads_out]:
            changes.bump()
        return result

    def relink(self) -> None:
        """Arrays are looked up at every run."""

    def refresh(self) -> None:
        """So are single numbers and settings."""

    def recount(self) -> None:
        """`run` puts step numbers back itself."""

    def inline(self, arguments: Sequence[str]) -> None:
        """`run` stays a function."""
        return

    def can_run_batches(self) -> bool:
        """One step at a time."""
        return False

    @property
    def plan(self) -> str:
        return str(self.program)

    @property
    def source(self) -> str:
        return str(self.program)

    @property
    def memory_report(self) -> str:
        return "not planned: every array is allocated when it is computed"


def machine_for(program: Program, options: Options) -> Any:
    """The machine that the options ask for; "program" (for tests) plans nothing."""
    kind, recompute = options.machine, options.recompute
    if kind == "program":
        return ProgramMachine(program)
    if kind == "auto" and any(tensor.device != "cpu" for tensor in program.state.values()):
        kind = "cupy"
    if kind == "cupy":
        from tinynn.compiler.cuda_machine import CudaMachine

        return CudaMachine(program, recompute=recompute)
    if kind == "numba" and find_spec("numba") is None:
        raise ImportError('compile: machine="numba" needs Numba: pip install numba; machine="numpy" needs nothing')
    if kind == "numba" or (kind == "auto" and select.backend() != "numpy" and find_spec("numba") is not None):
        from tinynn.compiler.numba_machine import NumbaMachine

        try:
            return NumbaMachine(program, recompute)
        except NotImplementedError:  # a row that there is no kernel for
            if kind == "numba":
                raise
    from tinynn.compiler.interpret import Interpreter

    return Interpreter(program, recompute)
