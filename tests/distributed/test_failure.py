"""A rank that fails, ends early, or does something else than the others: the run ends with an error, not a hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tinynn.distributed.launch import find_mpiexec

from .conftest import ROOT, needs_mpi

pytestmark = needs_mpi

TRAINING = """
    import os, sys, time
    import tinynn
    from tinynn import distributed, nn, optim

    rank = distributed.get_rank()
    tinynn.manual_seed(0)
    model = nn.Linear(3, 1)
    distributed.broadcast_parameters(model)
    optimizer = distributed.DistributedOptimizer(optim.Adam(model.parameters(), lr=0.01))

    def step(x=None):
        optimizer.zero_grad()
        model(tinynn.ones(4, 3) if x is None else x).sum().backward()
        optimizer.step()
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("if rank == 1: raise ValueError('no data on this machine')", "ValueError: no data on this machine"),
        ("if rank == 1: step(tinynn.ones(4, 5))", "rank 1 of 2 failed, which ends the run:"),
        ("if rank == 1: sys.exit(3)", "rank 0 waits in an all-reduce, but rank 1 has ended"),
        ("if rank == 0: step()", "rank 0 waits in an all-reduce, but rank 1 has ended"),
        ("if rank == 0: distributed.barrier()", "rank 0 waits in a barrier, but rank 1 has ended"),
        ("if rank == 0: optimizer.load_state_dict({'state': {}, 'param_groups': "
         "optimizer.state_dict()['param_groups']})", "of 2 is at step"),
        ("if rank == 1: model.bias.requires_grad_(False)", "failed"),
        ("if rank == 1: optimizer.step()", "rank 1 waits in an all-reduce, but rank 0 has ended"),
    ],
    ids=["raises", "in a step", "exits", "too many steps", "a barrier alone", "another state", "frozen", "one more"],
)  # fmt: skip
def test_the_run_ends_with_the_error(on_two_ranks: Callable, what: str, message: str) -> None:
    lines = f"""
    for _ in range(3):
        step()
    {what}
    for _ in range(3):
        step()
    """
    if what.startswith(("if rank == 0: step", "if rank == 0: distributed")):
        lines = f"""
    for _ in range(3):
        step()
    {what}
    """
    done = on_two_ranks(TRAINING + lines)
    assert done.returncode != 0
    assert message in done.stderr, done.stderr


def test_an_error_before_a_rank_joins(on_two_ranks: Callable) -> None:
    done = on_two_ranks(
        """
        import os
        if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1":
            raise FileNotFoundError("data.npz")
        from tinynn import distributed
        distributed.barrier()
        """
    )
    assert done.returncode != 0
    assert "rank 1 of 2 failed, which ends the run:" in done.stderr
    assert "FileNotFoundError: data.npz" in done.stderr
    assert "runpy" not in done.stderr  # the traceback begins in the script


def test_a_rank_that_is_killed(on_two_ranks: Callable) -> None:
    done = on_two_ranks(TRAINING + "\n    if rank == 1: os.kill(os.getpid(), 9)\n    step()\n")
    assert done.returncode != 0


def test_with_bare_mpiexec_as_well(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tinynn import distributed\n"
        "distributed.init_process_group()\n"
        "if distributed.get_rank() == 1:\n"
        "    raise ValueError('only here')\n"
        "distributed.barrier()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    done = subprocess.run(
        [str(find_mpiexec()), "-n", "2", sys.executable, str(script)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "rank 1 of 2 failed" in done.stderr
    assert "ValueError: only here" in done.stderr


def test_a_rank_may_work_on_when_the_others_have_ended(on_two_ranks: Callable) -> None:
    done = on_two_ranks(TRAINING + "\n    step()\n    if rank == 0:\n        time.sleep(1)\n        print('written')\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written") == 1
    assert not done.stderr


def test_the_exit_status_is_handed_on(on_two_ranks: Callable) -> None:
    done = on_two_ranks(TRAINING + "\n    step()\n    sys.exit(4 if rank == 0 else 0)\n")
    assert done.returncode == 4


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("value = 7")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, beside\n"
        "from tinynn import distributed\n"
        "if __name__ == '__main__':\n"
        "    ranks = distributed.all_gather_object((distributed.get_rank(), beside.value, sys.argv))\n"
        "    if distributed.get_rank() == 0:\n"
        "        print(ranks)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tinynn.distributed", "-n", "3", str(script), "--epochs", "-n", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = [(rank, 7, [str(script), "--epochs", "-n", "2"]) for rank in range(3)]
    assert done.stdout.strip() == str(wanted)
