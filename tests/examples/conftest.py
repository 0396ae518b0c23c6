"""What the tests of the examples share: the script as a module, and as a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest) -> ModuleType:
    """The script that the test module names ``SCRIPT``, imported."""
    script: Path = request.module.SCRIPT
    if str(script.parent) not in sys.path:  # as for a script: what it imports from beside it is found
        sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location(f"example_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_script(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Run ``SCRIPT`` in its short form: every number must be as expected, and the picture be there. What it printed."""

    def run(*options: str) -> str:
        script: Path = request.module.SCRIPT
        environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(script.parents[1])}
        done = subprocess.run(
            [sys.executable, str(script), "--quick", *options, "--out", "pictures"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "every number as expected" in done.stdout
        assert "MISSED" not in done.stdout
        pictures = list((tmp_path / "pictures").glob(f"{script.stem}*.png"))
        assert pictures
        assert all(picture.stat().st_size > 8_000 for picture in pictures)
        return done.stdout

    return run
