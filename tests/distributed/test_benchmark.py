"""benchmarks/data_parallel.py runs, and finds the same losses on one rank and on two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT, needs_mpi


@needs_mpi
def test_one_rank_and_two_agree(tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    script = ROOT / "benchmarks" / "data_parallel.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--cases", "small", "--json", str(out)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "VOID" not in done.stdout
    rows = json.loads(out.read_text("utf-8"))["results"]
    assert [(row["case"], row["mode"]) for row in rows] == [("small", "eager"), ("small", "compiled")]
    for row in rows:
        assert row["losses apart"] <= 1e-12
        assert row["one rank"][0] > 0
        assert row["two ranks"][0] > 0
