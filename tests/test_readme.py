"""The code that the README shows runs, and does what it says."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_dozen_lines_train_a_network():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["loss"].item() < 0.01
    assert names["force"].shape == names["r"].shape


def test_files_that_the_readme_names_exist():
    for path in re.findall(r"\]\(((?:docs|examples)/[^)]*)\)|`((?:examples|docs)/[\w./]+)`", README.read_text("utf-8")):
        assert (README.parent / (path[0] or path[1])).exists()
