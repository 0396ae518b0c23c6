"""Training steps as users of each framework write them: one small module per framework.

``build(column, case)`` of a module gives a `Runner`; `COLUMNS` says which module makes which column of
the tables. A module imports its framework inside ``build``, so that a process holds one framework only.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from .cases import Absent, Case, Runner

__all__ = ["COLUMNS", "Absent", "Case", "Column", "Runner", "build"]


@dataclass(frozen=True)
class Column:
    """A column of the tables: the package it needs, the module here that builds its steps, and what it is."""

    package: str
    module: str
    what: str


COLUMNS: dict[str, Column] = {
    "tinynn": Column("tinynn", "same_lines", "tinynn, eagerly"),
    "torch": Column("torch", "same_lines", "PyTorch as it comes, eagerly"),
    "torch-fused": Column("torch", "same_lines", "PyTorch, eagerly, with its fused optimizer (`fused=True`)"),
    "torch-foreach": Column("torch", "same_lines", "PyTorch, eagerly, with `foreach=True`"),
    "tinynn-compiled": Column("tinynn", "same_lines", "`tinynn.compile`, one call per step"),
    "tinynn-recompute": Column("tinynn", "same_lines", "`tinynn.compile(step, recompute=True)`, one call per step"),
    "tinynn-epoch": Column("tinynn", "same_lines", "`tinynn.compile`, one call of `step.epoch` per epoch"),
    "torch-compiled": Column("torch", "torch_compiled", "`torch.compile` on the whole step (forward, backward, Adam)"),
    "jax": Column("jax", "jax_steps", "`jax.jit` on the whole step, buffers donated, awaited once per 4 ms"),
    "jax-scan": Column("jax", "jax_steps", "`jax.lax.scan` of that step over the batches of an epoch"),
    "sklearn": Column("sklearn", "sklearn_steps", "scikit-learn's `MLPRegressor`/`MLPClassifier`, `partial_fit`"),
    "mygrad": Column("mygrad", "mygrad_steps", "MyGrad, the optimizer in NumPy"),
    "autograd": Column("autograd", "autograd_steps", "HIPS autograd, the optimizer in NumPy on one flat vector"),
    "tinygrad": Column("tinygrad", "tinygrad_steps", "tinygrad under `TinyJit`, on the CPU"),
}


def build(column: str, case: Case) -> Runner:
    """The training step of a case in one framework.

    Raises
    ------
    Absent
        If the framework has not what the case needs; the text says what.
    """
    module = importlib.import_module(f".{COLUMNS[column].module}", __name__)
    return module.build(column, case)
