"""The race of the optimizers: steps are PyTorch's, updates those of the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "optimizers.py"


def test_short_form(run_script: Callable[..., str], tmp_path: Path) -> None:
    run_script()
    assert 10_000 < (tmp_path / "pictures" / "optimizers.gif").stat().st_size < 1_000_000


def test_the_moving_picture_in_the_gallery_is_small() -> None:
    assert (SCRIPT.parents[1] / "docs" / "gallery" / "optimizers.gif").stat().st_size < 1_000_000


@pytest.mark.parametrize("name", ["momentum", "RMSProp"])
def test_compiled_and_stepped_through_take_the_same_path(example: ModuleType, name: str) -> None:
    f, make = example.beale, example.OPTIMIZERS[name]
    fast, _ = example.descend(f, example.STARTS[f], make, 2000, 1e-6)
    slow, arrived = example.descend(f, example.STARTS[f], make, 2000, 1e-6, compiled=False)
    assert arrived
    assert len(fast) == len(slow)
    assert math.isclose(abs(fast - slow).max(), 0.0, abs_tol=1e-9)


@pytest.mark.peers
@pytest.mark.parametrize("place", range(6))
def test_the_table_is_pytorchs(example: ModuleType, place: int) -> None:
    torch = pytest.importorskip("torch")
    names = ("SGD", "SGD", "SGD", "Adagrad", "RMSprop", "Adam")
    settings = ({"lr": 1e-3}, {"lr": 1e-3, "momentum": 0.9}, {"lr": 1e-3, "momentum": 0.9, "nesterov": True},
                {"lr": 0.1}, {"lr": 0.01}, {"lr": 0.01})  # fmt: skip
    for f, counts in example.PYTORCH.items():
        if counts[place] is None or counts[place] > 2000:  # the others take as many steps, and minutes
            continue
        p = torch.tensor(example.STARTS[f], dtype=torch.float64, requires_grad=True)
        optimizer = getattr(torch.optim, names[place])([p], **settings[place])
        for step in range(counts[place] + 1):
            optimizer.zero_grad()
            loss = f(p)
            assert (loss.item() < 1e-6) == (step == counts[place])
            loss.backward()
            optimizer.step()
