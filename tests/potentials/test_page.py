"""docs/potentials.md: its code runs, from the file to the dynamics, and prints what the page shows."""

from __future__ import annotations

import re
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "potentials.md").read_text("utf-8")


def test_the_page_shows_what_its_code_prints(tmp_path, monkeypatch):
    pytest.importorskip("ase")
    pytest.importorskip("numba")
    spec = spec_from_file_location("printed", ROOT / "docs" / "printed.py")
    printed = module_from_spec(spec)
    spec.loader.exec_module(printed)
    (tmp_path / "examples" / "data").mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "data" / "h2o_ccsd.npz", tmp_path / "examples" / "data")
    monkeypatch.chdir(tmp_path)
    shown, now = (re.findall(r"```\w+\n.*?```", page, re.DOTALL) for page in (PAGE, printed.run(PAGE)))
    assert len(shown) > 15
    for old, new in zip(shown, now, strict=True):
        assert new == old, "write the page anew: python docs/printed.py docs/potentials.md"
