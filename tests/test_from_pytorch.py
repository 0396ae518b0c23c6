"""docs/from_pytorch.md, row by row: what it says to write runs, and gives what PyTorch gives for what it replaces."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import nn

PAGE = (Path(__file__).parents[1] / "docs" / "from_pytorch.md").read_text("utf-8")
X, Y, INDEX = np.array([[0.5, 2.0, 1.0], [3.0, 0.25, 4.0]]), np.ones((2, 3)), np.array([0, 2])
ELSEWHERE = ("cuda", "cupy")  # need a GPU


def rows(section: str) -> list[tuple[str, str]]:
    """The code in the first and in the last column of a table, one pair per expression."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = []
    for line in re.findall(r"^\| (`.*) \|$", text, re.MULTILINE):
        cells = line.split(" | ")
        theirs, ours = (re.findall(r"`([^`]+)`", cell) for cell in (cells[0], cells[-1]))
        found += list(zip(theirs, ours, strict=False))
    assert found
    return [row for row in found if not any(word in part for word in ELSEWHERE for part in row)]


def ours(code: str, **more: Any) -> Any:
    names = {
        "tinynn": tinynn,
        "np": np,
        "nn": nn,
        "x": tinynn.tensor(X),
        "y": tinynn.tensor(Y),
        "i": tinynn.tensor(INDEX),
    }
    names |= {"a": X, "p": nn.Parameter(tinynn.tensor([1.0, 2.0])), "f": lambda t: (t**3).sum()}
    names |= {"model": nn.Linear(3, 2), "value": np.zeros(2), **more}
    if re.match(r"\S+ = ", code):
        exec(code, names)
        return None
    return eval(code, names)


def test_the_table_of_what_is_here_is_complete() -> None:
    text = PAGE.split("\n## What is here\n")[1].split("\n## ")[0]
    lines = dict(re.findall(r"^\| (\w[\w, ]*) \| (`.*`) \|$", text, re.MULTILINE))
    optimizers = re.findall(r"`(\w+)`", lines.pop("optimizers"))
    listed = [name for names in lines.values() for name in re.findall(r"`(\w+)`", names)]
    assert sorted(listed) == sorted(set(nn.__all__) - {"functional", "init", "utils"})
    assert set(optimizers) == set(tinynn.optim.__all__) - {"Optimizer", "FormulaOptimizer", "Rule", "lr_scheduler"}


@pytest.mark.parametrize(("theirs", "code"), rows("Same name, another meaning"))
def test_a_name_with_another_meaning(theirs: str, code: str) -> None:
    before = tinynn.get_default_dtype()
    try:
        ours(code)
    finally:
        tinynn.set_default_dtype(before)


@pytest.mark.parametrize(("theirs", "code"), [*rows("Array functions"), *rows("Tensors")])
def test_an_array_function_runs(theirs: str, code: str) -> None:
    assert ours(code) is not None


@pytest.mark.parametrize(("theirs", "code"), rows("Changing values"))
def test_values_change(theirs: str, code: str) -> None:
    p = nn.Parameter(tinynn.tensor([1.0, 2.0]))
    (p * p).sum().backward()
    ours(code, p=p)
    assert code.startswith("x") or p.grad is None or not np.array_equal(p.numpy(), [1.0, 2.0])


def test_derivatives() -> None:
    codes = [code for _, code in rows("Derivatives")]
    p = tinynn.tensor([1.0, 2.0], requires_grad=True)
    assert ours(codes[0], p=p).tolist() == [3.0, 12.0]
    assert ours(codes[1], x=p.detach()).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert ours(codes[2])
    with ours(codes[3]), ours(next(code for code in codes if "no_grad" in code)):
        assert not (p * p).requires_grad


def test_models_and_training(tmp_path: Path) -> None:
    from tinynn.data import DataLoader
    from tinynn.optim import SGD

    model = nn.Linear(3, 2)
    model.weight.requires_grad_(False)
    for _, code in rows("Models and training"):
        if code.startswith(("import", "from")):
            exec(code, {})
        else:
            more = {"model": model, "step": model.forward, "DataLoader": DataLoader, "SGD": SGD, "d": [1.0, 2.0]}
            ours(code, **more, path=tmp_path / "w.safetensors")


@pytest.mark.peers
@pytest.mark.parametrize(("theirs", "code"), [*rows("Array functions"), *rows("Tensors")])
def test_pytorch_gives_the_same(theirs: str, code: str) -> None:
    torch = pytest.importorskip("torch")
    if "like" in theirs or "empty" in theirs:
        pytest.skip("random, or whatever was there")
    names = {"torch": torch, "x": torch.tensor(X), "y": torch.tensor(Y), "i": torch.tensor(INDEX), "a": X}
    expected, given = eval(theirs, names), ours(code)
    if isinstance(expected, torch.dtype):
        assert str(expected) == f"torch.{given}"
    elif isinstance(expected, (tuple, list)):
        assert [part.tolist() for part in expected] == [part.tolist() for part in given]
    else:
        assert np.shape(expected) == np.shape(given)
        np.testing.assert_allclose(np.asarray(expected), np.asarray(given), rtol=1e-12)


@pytest.mark.peers
def test_names_with_another_meaning_differ_as_said() -> None:
    torch = pytest.importorskip("torch")
    x, t = tinynn.tensor(X), torch.tensor(X)
    pairs: list[tuple[Any, Any]] = [
        (x.swapaxes(0, 1), t.transpose(0, 1)),
        (x.argmax(1), t.max(1).indices),
        (x.std(ddof=1), t.std()),
        (tinynn.tile(x, (2, 1)), t.repeat(2, 1)),
        (tinynn.one_hot(tinynn.tensor(INDEX), 3).to("int64"), torch.nn.functional.one_hot(torch.tensor(INDEX), 3)),
    ]
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12)
    assert x.transpose(0, 1).shape == x.shape != tuple(t.transpose(0, 1).shape)
    assert len(torch.split(t, 1)) == len(tinynn.split(x, x.shape[0])) == 2 != len(tinynn.split(x, 1))
    assert isinstance(x.max(1), tinynn.Tensor)
    assert isinstance(torch.equal(t, t), bool)
    assert isinstance(t.size, types.BuiltinMethodType)
    assert torch.Tensor([1, 2]).is_floating_point()


@pytest.mark.peers
def test_weights_go_both_ways() -> None:
    torch = pytest.importorskip("torch")
    first, second = re.findall(r"^(?:torch_)?model\.load.*$", PAGE, re.MULTILINE)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    torch_model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).double()
    x = np.random.default_rng(0).normal(size=(5, 3))
    for line in (first, second):
        for q in (model if line is second else torch_model).parameters():
            with torch.no_grad():
                _ = q.assign_(q * 0.5) if line is second else q.mul_(0.5)
        exec(line, {"model": model, "torch_model": torch_model, "torch": torch})
        a, b = model(tinynn.tensor(x)), torch_model(torch.tensor(x))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
