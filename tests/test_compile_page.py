"""docs/compile.md: its code runs, prints what the page shows, and its tables hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tinynn import nn, optim
from tinynn.compiler.errors import TraceError

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "compile.md").read_text("utf-8")


def test_the_page_shows_what_its_code_prints() -> None:
    spec = spec_from_file_location("printed", DOCS / "printed.py")
    assert spec is not None
    assert spec.loader is not None
    printed = module_from_spec(spec)
    spec.loader.exec_module(printed)
    shown = _blocks(PAGE)
    assert len(shown) > 15
    with tn.use("numba"):
        now = _blocks(printed.run(PAGE))
    for old, new in zip(shown, now, strict=True):
        assert new == old, "write the page anew: python docs/printed.py docs/compile.md"


def test_the_driver_is_as_shown() -> None:
    (shown,) = re.findall(r"```text\n(.*?)```", _section("The driver"), re.DOTALL)
    source = (DOCS.parent / "tinynn" / "kernels" / "driver_loops.py").read_text("utf-8")
    assert textwrap.indent(shown, "    ") in source


def _blocks(page: str) -> list[str]:
    return re.findall(r"```\w+\n.*?```", page, re.DOTALL)


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _first_code() -> str:
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]


@pytest.mark.parametrize("way", ["", "NUMBA_DISABLE_JIT"])
def test_the_script_gives_the_same_loss_as_plain_python(way: str, tmp_path: Path) -> None:
    """Printed kernels run by Python itself, as the page says."""
    script = tmp_path / "train.py"
    code = _first_code().replace("range(500)", "range(6)")
    assert code != _first_code()
    eager = code.replace("@tinynn.compile\n", "")
    script.write_text(f"{code}print(repr(loss.item()))\n", "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent), **({way: "1"} if way else {})}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    names: dict[str, Any] = {}
    exec(eager, names)
    assert float(done.stdout) == pytest.approx(names["loss"].item(), rel=1e-9)


# ------------------------------------------------------------------------------------ what cannot be compiled


def _rows() -> list[tuple[str, str]]:
    found = []
    for line in re.findall(r"^\| (`.*) \|$", _section("What cannot be compiled"), re.MULTILINE):
        bad, good = line.split(" | ")
        found.append((re.findall("`([^`]+)`", bad)[0], re.findall("`([^`]+)`", good)[0]))
    return found


def _function(body: str) -> Any:
    tn.manual_seed(0)
    model = nn.Linear(3, 1)
    model.calls = 0
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    weight = tn.ones(3, requires_grad=True)
    names = {"tinynn": tn, "np": np, "model": model, "optimizer": optimizer, "weight": weight, "outside": 2 * weight}
    names |= {"rate": optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9), "__name__": "__main__"}
    lines = "\n".join(f"    {line.strip()}" for line in body.split(";"))
    exec(compile(f"def function(x):\n{lines}\n", "rows.py", "exec"), names)
    return names["function"]


INPUTS = [tn.tensor(x) for x in np.random.default_rng(0).standard_normal((5, 3))]


@pytest.mark.parametrize("bad", [bad for bad, _ in _rows()])
def test_what_the_page_says_cannot_be_compiled_is_refused(bad: str) -> None:
    compiled = tn.compile(_function(bad))
    with pytest.raises(TraceError):
        _ = [compiled(x) for x in INPUTS[:2]]


@pytest.mark.parametrize("good", [good for _, good in _rows()])
def test_what_the_page_says_to_write_instead_compiles(good: str) -> None:
    wanted = [_results(_function(good), x) for x in INPUTS] if "randn" not in good else None
    compiled = tn.compile(_function(good))
    got = [_results(compiled, x) for x in INPUTS]
    assert compiled.specialisations[0].stage == 2
    if wanted is not None:
        for all_wanted, all_got in zip(wanted, got, strict=True):
            for a, b in zip(all_wanted, all_got, strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def _results(function: Any, x: Any) -> list[Any]:
    result = function(x)
    return [y.detach().numpy() for y in (result if isinstance(result, tuple) else (result,))]


# ----------------------------------------------------------------------------------- what nobody can see


def test_python_runs_in_the_first_two_calls_only(capsys: pytest.CaptureFixture[str]) -> None:
    @tn.compile
    def double(x: Any) -> Any:
        print("here")
        return x * 2

    for x in INPUTS:
        double(x)
    assert capsys.readouterr().out == "here\n" * 2


def test_a_raw_array_that_happens_to_be_the_same_is_frozen() -> None:
    scaled = tn.compile(lambda x: x * float(x.array.max()))
    one, two = tn.tensor([1.0, 0.5]), tn.tensor([4.0, 0.5])
    assert [scaled(x).tolist() for x in (one, one, two)][2] == [4.0, 0.5]  # and not times 4


def test_gradients_that_the_step_used_are_gone_and_detached_parameters_stay_behind() -> None:
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = model.weight.detach()

    @tn.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    for x in INPUTS:
        step(x)
    assert model.weight.grad is None
    assert before.tolist() != model.weight.tolist()
    assert model.weight.detach().tolist() == model.weight.tolist()
