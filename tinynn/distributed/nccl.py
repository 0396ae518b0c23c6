"""Exchange between GPUs over NCCL, by CuPy's binding. What lies on the host, and Python objects, go over MPI.

Not run on several GPUs by its authors: the tests put a stand-in with NCCL's calls in its place.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinynn.distributed.mpi import MPIGroup

_LOCAL_RANK_VARIABLES = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")


class NCCLGroup(MPIGroup):
    """As `MPIGroup`, but arrays on GPUs stay there. Each rank takes a GPU of its own."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import cupy
            from cupy.cuda import nccl
        except ImportError as error:
            raise ImportError(
                "init_process_group('nccl') needs CuPy (pip install 'tinynn[cuda12]' or 'tinynn[cuda13]') and NCCL "
                f"(pip install nvidia-nccl-cu12 or -cu13): {error}"
            ) from error
        if not nccl.available:
            raise ImportError(
                "init_process_group('nccl'): CuPy finds no NCCL; pip install nvidia-nccl-cu12 (or -cu13), or take "
                "backend='mpi', which copies through the host"
            )
        devices = cupy.cuda.runtime.getDeviceCount()
        local = local_rank(self.rank)
        if local >= devices:
            raise RuntimeError(
                f"init_process_group('nccl'): rank {self.rank} is number {local} on this machine, which has {devices} "
                "GPUs; NCCL needs one for each rank. backend='mpi' lets several ranks share a GPU"
            )
        cupy.cuda.Device(local).use()
        self._cupy, self._nccl = cupy, nccl
        self._types = {
            "float64": nccl.NCCL_FLOAT64, "float32": nccl.NCCL_FLOAT32, "int64": nccl.NCCL_INT64,
            "int32": nccl.NCCL_INT32,
        }  # fmt: skip
        self._nccl_reductions = {
            "sum": nccl.NCCL_SUM, "mean": nccl.NCCL_SUM, "max": nccl.NCCL_MAX, "min": nccl.NCCL_MIN,
        }  # fmt: skip
        identity = self.all_gather_object(nccl.get_unique_id() if self.rank == 0 else None)[0]
        self._gpus = nccl.NcclCommunicator(self.size, identity, self.rank)

    def all_reduce(self, array: Any, op: str) -> Any:
        if not self._stays(array):
            return super().all_reduce(array, op)
        mine = self._cupy.ascontiguousarray(array)
        total = self._cupy.empty_like(mine)
        self._gpus.allReduce(
            mine.data.ptr, total.data.ptr, mine.size, self._types[mine.dtype.name], self._nccl_reductions[op],
            self._cupy.cuda.get_current_stream().ptr,
        )  # fmt: skip
        return total / self.size if op == "mean" else total

    def broadcast(self, array: Any, src: int) -> Any:
        if not self._stays(array):
            return super().broadcast(array, src)
        buffer = self._cupy.ascontiguousarray(array).copy()
        self._gpus.bcast(
            buffer.data.ptr, buffer.size, self._types[buffer.dtype.name], src,
            self._cupy.cuda.get_current_stream().ptr,
        )  # fmt: skip
        return buffer

    def _stays(self, array: Any) -> bool:
        return not isinstance(array, np.ndarray | np.generic) and array.dtype.name in self._types and array.size > 0


def local_rank(rank: int) -> int:
    """The number of this process among those on its machine, as the launcher says."""
    for name in _LOCAL_RANK_VARIABLES:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return rank
