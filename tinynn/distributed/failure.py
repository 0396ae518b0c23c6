"""What happens when a rank fails. Left alone, MPI would wait for it forever.

* An exception that nobody caught is printed, with the number of the rank, and ends all ranks.
* A rank that ends says so to the others. One that then waits for it, because it had more batches, say, raises an
  error that names it, and so ends the run as well.
* A process that dies without a word (a crash, a kill) is noticed by mpiexec itself.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

_END = 7  # the tag of the message "I have ended"
_guard: Guard | None = None


class Guard:
    """Watches over one process of the run."""

    def __init__(self, MPI: Any) -> None:
        self._MPI = MPI
        self._comm = MPI.COMM_WORLD.Dup()
        self.rank, self.size = int(self._comm.Get_rank()), int(self._comm.Get_size())
        self.exchanges = 0  # begun by this rank
        self._ended: dict[int, int] = {}  # rank -> how many exchanges it had taken part in
        self._before = sys.excepthook
        if self.size > 1:
            sys.excepthook = self._fail
            atexit.register(self._end)  # runs before MPI's own end, which was registered earlier

    def check(self, what: str) -> None:
        """Look whether a rank that this one waits for has ended.

        One that has taken part in as many exchanges is not waited for: only its last words are still on their way.

        Raises
        ------
        RuntimeError
            If so.
        """
        status = self._MPI.Status()
        while self._comm.Iprobe(source=self._MPI.ANY_SOURCE, tag=_END, status=status):
            word = np.zeros(1, np.int64)
            self._comm.Recv(word, source=status.Get_source(), tag=_END)
            self._ended[status.Get_source()] = int(word[0])
        for rank, exchanges in self._ended.items():
            if exchanges < self.exchanges:
                raise RuntimeError(
                    f"rank {self.rank} waits in {what}, but rank {rank} has ended: the ranks must make the same number "
                    "of steps. Did each have as many batches (DistributedSampler sees to that), and does nothing that "
                    "exchanges stand behind `if get_rank() == 0`?"
                )

    def _fail(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            while trace is not None and trace.tb_next is not None and _is_ours(trace.tb_frame.f_code.co_filename):
                trace = trace.tb_next
            text = f"rank {self.rank} of {self.size} failed, which ends the run:\n"
            if self._before is sys.__excepthook__:
                text += "".join(traceback.format_exception(kind, error, trace))
            sys.stderr.write(text)  # at once: other ranks may be writing as well
            if self._before is not sys.__excepthook__:
                self._before(kind, error, trace)
            sys.stderr.flush()
        time.sleep(0.2)  # mpiexec kills its children at once, and what they have printed may be on its way
        self._MPI.COMM_WORLD.Abort(1)

    def _end(self) -> None:
        """Say to all that this rank has ended, and wait until all have, as MPI's own end would, but idly."""
        if self._MPI.Is_finalized():
            return
        word = np.array([self.exchanges])
        others = [rank for rank in range(self.size) if rank != self.rank]
        requests = [self._comm.Isend(word, dest=rank, tag=_END) for rank in others]
        still = [rank for rank in others if rank not in self._ended]
        words = np.zeros((len(still), 1), np.int64)
        requests += [self._comm.Irecv(words[i], source=rank, tag=_END) for i, rank in enumerate(still)]
        while not self._MPI.Request.Testall(requests):
            time.sleep(0.005)


def _is_ours(filename: str) -> bool:
    """Whether code stands between the start of Python and the user's script."""
    return "runpy" in filename or filename == str(Path(__file__).with_name("rank.py"))


def guard(MPI: Any) -> Guard:
    """The guard of this process; there is one, however often groups are made."""
    global _guard
    if _guard is None:
        _guard = Guard(MPI)
    return _guard
