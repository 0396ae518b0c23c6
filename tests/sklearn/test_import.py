"""What is needed, and what is said where it is missing; the benchmark runs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport tinynn\ntinynn.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "ImportError: tinynn.sklearn needs scikit-learn 1.6 or newer: pip install 'tinynn[sklearn]'" in done.stderr


def test_importing_tinynn_brings_no_scikit_learn() -> None:
    code = "import sys, tinynn; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_the_benchmark_fits_both(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "numbers.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "sklearn_mlp.py"), "--quick", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert [row["case"] for row in results] == ["iris", "cancer", "digits", "digits-200", "friedman", "large"]
    for row in results:
        for framework in ("tinynn", "sklearn"):
            assert row["seconds"][framework][0] > 0
            assert all(math.isfinite(score) for score in row["scores"][framework])
