"""Tests run scripts on two ranks of this machine; without mpi4py or mpiexec they are skipped, with the reason."""

from __future__ import annotations

import importlib.util
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import tinynn
from tinynn.distributed.launch import find_mpiexec, launch

ROOT = Path(tinynn.__file__).parents[1]


def why_no_mpi() -> str | None:
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed (pip install 'tinynn[mpi]')"
    if find_mpiexec() is None:
        return "there is no mpiexec (pip install mpich)"
    return None


needs_mpi = pytest.mark.skipif(why_no_mpi() is not None, reason=str(why_no_mpi()))


@pytest.fixture
def on_two_ranks(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run lines of Python on two ranks, with a limit of time: a hang is a failure."""

    def run(code: str, *arguments: str, ranks: int = 2) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(code), "utf-8")
        more = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        return launch(
            [str(script), *arguments], ranks, more,
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run
