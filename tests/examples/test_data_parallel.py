"""Data-parallel training: the script starts its ranks, and they agree with one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tinynn.distributed import find_mpiexec

SCRIPT = Path(__file__).parents[2] / "examples" / "data_parallel.py"
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or find_mpiexec() is None,
    reason="needs mpi4py and mpiexec (pip install 'tinynn[mpi]' mpich)",
)


@pytest.mark.parametrize("kind", ["--compile", "--no-compile"])
def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str], kind: str) -> None:
    printed = run_script(kind)
    assert "steps taken by each rank" in printed
    assert "84 " in printed  # 4 epochs of 21 batches


def test_batches_that_cannot_be_shared_out_are_refused(
    run_script: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError, match="5 does not divide the batch of 24"):
        run_script("--ranks", "5")
