"""The table of activation functions: its formulas, and PyTorch's values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "activations.py"
OF_THE_COURSE = """
ReLU RReLU LeakyReLU PReLU Softplus ELU CELU SELU GELU ReLU6 Sigmoid Tanh Softsign Hardtanh Threshold Tanhshrink
Softshrink Hardshrink LogSigmoid Softmin Softmax LogSoftmax
"""


def test_short_form(run_script: Callable[..., str]) -> None:
    printed = run_script()
    for name in OF_THE_COURSE.split():
        assert f"  {name}" in printed


@pytest.mark.peers
def test_values_and_derivatives_are_pytorchs(example: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-8, 8, 161), [1e4, -1e4, 1e15, -1e15]])
    for name, (module, *_) in example.FUNCTIONS.items():
        kind = type(module).__name__
        settings = {"LeakyReLU": (0.1,), "Threshold": (1, 0), "CELU": (2,), "Softshrink": (1,), "Hardshrink": (1,)}
        theirs = getattr(torch.nn, kind)(*((-1,) if "max" in kind or "min" in kind else settings.get(kind, ())))
        t = torch.tensor(x, requires_grad=True)
        if kind in ("Softmax", "Softmin", "LogSoftmax"):
            y = theirs(torch.nn.functional.pad(t[:, None], (0, 2)))[:, 0]
        else:
            y = theirs.double().eval()(t)
        (slope,) = torch.autograd.grad(y.sum(), t)
        for ours, other in zip(example.curve(module, x), (y.detach(), slope), strict=True):
            # PyTorch's softplus is x above 20, and its sigmoid's derivative loses digits
            np.testing.assert_allclose(ours, other.numpy(), rtol=1e-12, atol=3e-9 if kind == "Softplus" else 1e-12,
                                       err_msg=name)  # fmt: skip
