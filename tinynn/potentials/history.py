"""`History`: how errors went down in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Row(NamedTuple):
    """One validation.

    Attributes
    ----------
    epoch, steps : how many there had been
    seconds : since the beginning of training
    lr : learning rate
    loss : mean over the training batches since the last row, in scaled units
    energy_rmse, force_rmse : on the validation set, in eV and eV/Å; NaN for forces that are not learnt
    """

    epoch: int
    steps: int
    seconds: float
    lr: float
    loss: float
    energy_rmse: float
    force_rmse: float


class History:
    """The validations of a training, in order, and which of them had the weights that were kept.

    Examples
    --------
    >>> history = History()
    >>> history.append(Row(1, 100, 0.5, 1e-3, 0.9, 0.120, 0.300))
    >>> history.append(Row(2, 200, 1.0, 1e-3, 0.5, 0.080, 0.200))
    >>> history.best_row.energy_rmse, history["epoch"]
    (0.08, array([1, 2]))
    >>> print(history)
    2 epochs, 200 steps in 1.0 s; best after epoch 2: 80.0 meV, 200.0 meV/Å on the validation set
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.best = 0
        self.stopped_early = False

    def append(self, row: Row, best: bool = True) -> None:
        """Note a validation, and whether it was the best so far."""
        self.rows.append(row)
        if best:
            self.best = len(self.rows) - 1

    @property
    def best_row(self) -> Row:
        """The validation whose weights were kept."""
        return self.rows[self.best]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column as an array; the columns are the attributes of `Row`."""
        if name not in Row._fields:
            raise KeyError(f"there is no column {name!r}; there are {', '.join(Row._fields)}")
        return np.array([getattr(row, name) for row in self.rows])

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        """Return the number of validations."""
        return len(self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return "nothing was trained yet"
        last, best = self.rows[-1], self.best_row
        forces = "" if np.isnan(best.force_rmse) else f", {1e3 * best.force_rmse:.1f} meV/Å"
        return (
            f"{last.epoch} epochs, {last.steps} steps in {last.seconds:.1f} s; best after epoch {best.epoch}: "
            f"{1e3 * best.energy_rmse:.1f} meV{forces} on the validation set"
        )
