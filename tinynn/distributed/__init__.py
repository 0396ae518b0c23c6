"""Data-parallel training: every process, a *rank*, has the whole model and a part of each batch.

::

    from tinynn import distributed
    from tinynn.distributed import DistributedSampler

    distributed.init_process_group()
    distributed.broadcast_parameters(model)                       # all start alike ...
    optimizer = distributed.DistributedOptimizer(optimizer)       # ... and step by the same gradient
    loader = DataLoader(data, batch_size=16, sampler=DistributedSampler(data))

and ``python -m tinynn.distributed -n 2 train.py`` (or ``mpiexec -n 2 python train.py``) instead of ``python train.py``.

How the files hang together::

    group               the ranks of this run: who am I, how many are we; sums, broadcasts, and the like
      mpi                 over MPI (mpi4py), any machine or cluster; arrays on a GPU go through the memory of the host
      nccl                arrays on GPUs directly, over NCCL (CuPy)
      failure             a rank that fails, or ends while others still wait for it, ends the run
    gradients           one sum over all ranks of one flat array, eagerly and inside of a compiled step; the optimizer
    model               everybody starts with the same parameters; buffers (batch norm); are we still alike?
    sampler             which samples are mine
    launch, __main__    start the ranks
"""

from tinynn.distributed.gradients import DistributedOptimizer, all_reduce_gradients
from tinynn.distributed.group import (
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    destroy_process_group,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_initialized,
)
from tinynn.distributed.launch import find_mpiexec, launch
from tinynn.distributed.model import average_buffers, broadcast_parameters, check_same_parameters
from tinynn.distributed.sampler import DistributedSampler

__all__ = [
    "init_process_group", "get_rank", "get_world_size", "is_available", "is_initialized", "destroy_process_group",
    "DistributedSampler", "DistributedOptimizer", "broadcast_parameters", "all_reduce_gradients", "average_buffers",
    "check_same_parameters", "all_reduce", "broadcast", "all_gather_object", "barrier", "launch", "find_mpiexec",
]  # fmt: skip
