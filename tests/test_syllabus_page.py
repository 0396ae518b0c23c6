"""The syllabus: all 48 rows, written from runs in full that held their bars."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("syllabus_page", ROOT / "docs" / "syllabus_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_those_of_the_runs(page: ModuleType) -> None:
    for path, text in page.pages().items():
        assert path.read_text("utf-8").rstrip("\n") == text.rstrip("\n"), "write it anew: python docs/syllabus_page.py"


def test_every_row_has_its_example_and_its_numbers(page: ModuleType) -> None:
    assert list(page.ROWS) == list(range(1, 49))
    found = page.records()
    for row, (_, title, scripts) in page.ROWS.items():
        assert scripts or row in page.CITED, title
        for name in scripts:
            assert (ROOT / "examples" / f"{name}.py").exists(), name
        if scripts and row not in page.NOTES:
            assert any(n["row"] == row for name in page.scripts_of(row, found) for n in found[name]["numbers"]), row


def test_every_example_is_in_the_gallery(page: ModuleType) -> None:
    found = page.records()
    assert set(found) == {path.stem for path in (ROOT / "examples").glob("[!_]*.py")}
    for record in found.values():
        assert not record["quick"], f"{record['script']}: run it in full"
        for picture in record["pictures"]:
            assert (page.GALLERY / picture).stat().st_size < 1_100_000, picture
