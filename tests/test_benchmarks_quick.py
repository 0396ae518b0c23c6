"""The benchmark scripts run, and check what they compute. Nothing is timed: a machine may be busy."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("[!_]*.py"))


def run(script: str, *options: str) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def quick(script: str, folder: Path, *options: str) -> tuple[str, Any]:
    """The page and the numbers of a short run with tinynn alone."""
    out = folder / "numbers.json"
    page = run(script, "--quick", "--frameworks", "tinynn", "--json", str(out), *options)
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["quick"] is True
    assert {"date", "processor", "cores", "Python", "numpy", "numba", "threads"} <= record["machine"].keys()
    assert "failed" not in page
    assert "VOID" not in page
    return page, record["results"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_is_measured(script: str) -> None:
    text = run(script, "--help")
    for option in ("--quick", "--rounds", "--frameworks", "--json"):
        assert option in text


def test_eager_steps_train(tmp_path: Path) -> None:
    page, results = quick("eager_steps.py", tmp_path)
    assert [row["case"] for row in results] == ["gelu-small", "selu-32", "forces", "mnist-mlp", "lenet"]
    for row in results:
        losses = row["losses"]["tinynn"]
        assert all(math.isfinite(loss) for loss in losses)
        assert losses[-1] < losses[0]
        assert row["seconds"]["tinynn"][0] > 0
    assert "not compared" in page


def test_layers_run_and_dropout_is_right(tmp_path: Path) -> None:
    _, results = quick("elementwise_layers.py", tmp_path)
    assert all(row["right"] for row in results)
    assert [row["case"] for row in results] == ["gelu", "layer norm", "batch norm", "dropout"]


def test_operations_have_the_right_gradients(tmp_path: Path) -> None:
    _, results = quick("operation_cost.py", tmp_path)  # a wrong gradient prints VOID
    assert set(results["operations"]) == {"tanh", "add", "mul", "matmul 10×10", "sum", "x[2:7]"}
    assert set(results["additions"]) == {"z = z + x", "z = z + 1.0"}
    assert len(results["budget"]) == 6


def test_memory_is_measured_and_nothing_grows(tmp_path: Path) -> None:
    _, results = quick("memory.py", tmp_path)
    assert results["peaks"][0]["tinynn"]["over warm"] > 0
    assert results["growth"]["tinynn"]["objects"] <= 10


def test_startup_runs(tmp_path: Path) -> None:
    _, results = quick("startup.py", tmp_path)
    assert set(results["imports"]) == {"numpy", "tinynn"}
    assert math.isfinite(results["first steps"][0]["loss"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_peer_that_is_not_installed_is_named(script: str, tmp_path: Path) -> None:
    """An unknown framework is refused; one that is merely missing is said to be missing."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--frameworks", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "'nothing' is none of tinynn, torch" in done.stderr


def test_compiled_steps_agree_with_eager_ones(tmp_path: Path) -> None:
    page, results = quick("compiled_steps.py", tmp_path, "--frameworks", "tinynn,tinynn-compiled,tinynn-epoch")
    assert [row["case"] for row in results] == ["lj-gelu", "mnist-mlp", "lenet", "gelu", "dropout"]
    for row in results:
        assert row["void"] == {}
        for column, losses in row["losses"].items():
            assert len(losses) == len(row["losses"]["tinynn"]), column
        assert row["seconds"]["tinynn"][0] > 0
    assert "the matrix products" not in page  # that line belongs to a case which a quick run leaves out


def test_compiled_scaling_sweeps_every_size(tmp_path: Path) -> None:
    _, results = quick("compiled_scaling.py", tmp_path)
    assert set(results) == {"width", "depth at width 32", "batch"}
    assert [row["size"] for row in results["width"]] == [8, 64]


def test_compiled_memory_is_measured(tmp_path: Path) -> None:
    _, results = quick("compiled_memory.py", tmp_path, "--rounds", "1")
    assert [row["case"] for row in results] == ["wide", "deep"]
    assert all(row["found"]["tinynn"]["first"] >= 0 for row in results)


def test_compiled_startup_counts_from_the_start_of_the_process(tmp_path: Path) -> None:
    _, results = quick("compiled_startup.py", tmp_path)
    first, *_, last = results["starts"][0]["runs"][0]["calls"]
    assert 0 < first < last


def test_symmetry_functions_agree_with_the_formulas(tmp_path: Path) -> None:
    _, results = quick("symmetry_functions.py", tmp_path)
    assert results
