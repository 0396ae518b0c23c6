"""docs/sklearn.md: its code runs, and its table has every setting with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

PAGE = (Path(__file__).parents[2] / "docs" / "sklearn.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    from joblib.externals.loky import get_reusable_executor

    names: dict[str, Any] = {}
    try:
        for block in CODE:
            if "dask" not in block:  # test_searches.py has that
                exec(compile(block, "docs/sklearn.md", "exec"), names)
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    printed = capsys.readouterr().out.splitlines()
    assert float(printed[0]) >= 0.97
    assert float(printed[1]) < 1e-2
    assert set(names["search"].best_params_) == {"neuralclassifier__lr", "neuralclassifier__network"}
    assert names["scores"].mean() > 0.3


def test_the_table_has_every_setting() -> None:
    from tinynn.sklearn import NeuralClassifier, NeuralRegressor

    table = PAGE.split("## Settings")[1].split("In a script")[0]
    for kind in (NeuralClassifier, NeuralRegressor):
        for name in kind().get_params(deep=False):
            assert f"`{name}" in table or name in ("loss", "verbose"), name
