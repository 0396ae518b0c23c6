"""The ranks of this run, and what they exchange. PyTorch's names (`torch.distributed`), but results are returned."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Protocol

import numpy as np

from tinynn import modes
from tinynn.backends import convert
from tinynn.tensor import Tensor

OPS = ("sum", "mean", "max", "min")
# How launchers tell a process the number of ranks: MPICH and Intel MPI, Open MPI.
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


class Group(Protocol):
    """Some ranks that can exchange raw arrays (NumPy or CuPy) and Python objects. Every rank makes the same calls."""

    rank: int
    size: int

    def all_reduce(self, array: Any, op: str) -> Any: ...  # a new array, on the device of the given one
    def broadcast(self, array: Any, src: int) -> Any: ...
    def all_gather_object(self, value: Any) -> list[Any]: ...
    def barrier(self) -> None: ...


_group: Group | None = None


def init_process_group(backend: str = "mpi") -> None:
    """Join the other ranks of this run. Called once, by all of them, best at the beginning.

    Parameters
    ----------
    backend : ``"mpi"``, or ``"nccl"`` for arrays on GPUs, one per rank, without a way through the host

    Raises
    ------
    ImportError
        If mpi4py (or CuPy with NCCL) is not installed.
    RuntimeError
        If MPI finds one rank where the launcher started several: two MPI libraries are mixed.

    Notes
    -----
    From then on an exception that ends a rank ends all of them, see `tinynn.distributed.failure`. Without a launcher
    there is one rank, and everything works as if nothing were distributed. All functions of this module that
    exchange something join by themselves, over MPI, if nobody has done so before.
    """
    global _group
    modes.refuse("init_process_group()", "do that once, before")
    if backend not in ("mpi", "nccl"):
        raise ValueError(f"init_process_group: backend must be 'mpi' or 'nccl', not {backend!r}")
    if _group is not None:
        raise RuntimeError("init_process_group: the ranks have joined already; destroy_process_group() leaves")
    if backend == "nccl":
        from tinynn.distributed.nccl import NCCLGroup

        found: Group = NCCLGroup()
    else:
        from tinynn.distributed.mpi import MPIGroup

        found = MPIGroup()
    for name in _SIZE_VARIABLES:
        if found.size == 1 and int(os.environ.get(name) or 1) > 1:
            raise RuntimeError(
                f"init_process_group: the launcher started {os.environ[name]} processes ({name}), but MPI sees only "
                "one: mpiexec belongs to another MPI library than mpi4py uses. `python -m tinynn.distributed` takes "
                "the mpiexec that lies beside Python, if there is one"
            )
    _group = found


def destroy_process_group() -> None:
    """Leave the group; `init_process_group` joins again."""
    global _group
    _group = None


def is_available() -> bool:
    """Whether mpi4py is installed."""
    return importlib.util.find_spec("mpi4py") is not None


def is_initialized() -> bool:
    """Whether this process has joined the others."""
    return _group is not None


def current() -> Group:
    """The group that this process is in; joins if it is in none."""
    if _group is None:
        init_process_group()
    assert _group is not None
    return _group


def get_rank() -> int:
    """The number of this process among the ranks: 0 ... get_world_size() - 1.

    Use it for what must happen once: ``if distributed.get_rank() == 0: tinynn.save(...)``.
    """
    return current().rank


def get_world_size() -> int:
    """How many ranks there are."""
    return current().size


def barrier() -> None:
    """Wait until all ranks have come here."""
    modes.refuse("distributed.barrier()", "wait outside of the function")
    current().barrier()


def all_reduce(value: Any, op: str = "sum") -> Any:
    """Combine one value of each rank: all get the result, which is the same to the last bit.

    Parameters
    ----------
    value : Tensor, array or number, of the same shape and dtype everywhere
    op : ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``

    Returns
    -------
    A new Tensor (without graph), array or number. (PyTorch's function overwrites its argument.)

    Raises
    ------
    ValueError
        If there is no such operation.
    TraceError
        In a function that is being compiled: reduce what it returns.

    Examples
    --------
    The loss of an epoch over all ranks::

        loss = distributed.all_reduce(loss, "mean")
    """
    modes.refuse("distributed.all_reduce()", "return the value, and reduce it outside")
    if op not in OPS:
        raise ValueError(f"all_reduce: op must be one of {', '.join(map(repr, OPS))}, not {op!r}")
    array = value.array if isinstance(value, Tensor) else value
    host = np.asarray(array) if not isinstance(array, convert.ARRAYS) else array
    return _as_given(value, current().all_reduce(host, op))


def broadcast(value: Any, src: int = 0) -> Any:
    """The value of rank `src` for all; see `all_reduce` for kinds of values and what is returned.

    Raises
    ------
    ValueError
        If there is no rank `src`.
    """
    modes.refuse("distributed.broadcast()", "do that outside of the function")
    group = current()
    if not 0 <= src < group.size:
        raise ValueError(f"broadcast: src={src}, but the ranks are 0 ... {group.size - 1}")
    array = value.array if isinstance(value, Tensor) else value
    host = np.asarray(array) if not isinstance(array, convert.ARRAYS) else array
    return _as_given(value, group.broadcast(host, src))


def all_gather_object(value: Any) -> list[Any]:
    """The Python objects of all ranks, in the order of the ranks, for everybody. They are pickled on the way."""
    modes.refuse("distributed.all_gather_object()", "do that outside of the function")
    return current().all_gather_object(value)


def _as_given(value: Any, result: Any) -> Any:
    if isinstance(value, Tensor):
        return Tensor(result)
    if isinstance(value, np.generic):
        return result[()]
    return result if isinstance(value, convert.ARRAYS) else result.item()
