"""Two ranks against one process with the joined batches: `two_ranks.py` under mpiexec, once, and each of its checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import ROOT, launch, needs_mpi

SCRIPT = Path(__file__).with_name("two_ranks.py")
CHECKS = re.findall(r"^def (check_\w+)", SCRIPT.read_text("utf-8"), re.MULTILINE)

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def printed() -> str:
    more = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = launch([str(SCRIPT)], 2, more, capture_output=True, text=True, timeout=300, check=False)
    return f"{done.stdout}\n{done.stderr}\nexit status {done.returncode}"


@pytest.mark.parametrize("check", CHECKS)
def test_on_two_ranks(printed: str, check: str) -> None:
    assert f"passed {check}\n" in printed, printed


def test_it_ended_well(printed: str) -> None:
    assert len(CHECKS) > 10
    assert printed.endswith("exit status 0")
