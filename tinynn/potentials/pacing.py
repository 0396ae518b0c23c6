"""How a training goes on: the clock, the learning rate, and the bar of progress."""

from __future__ import annotations

import math
import time
from typing import Any

from tinynn.potentials.history import Row

VALIDATIONS = 200  # about so many in a training


def schedule(done: float) -> float:
    """Return the factor of the learning rate when a fraction of the training is done.

    Examples
    --------
    >>> [round(schedule(x), 3) for x in (0.0, 0.01, 0.5, 1.0)]
    [0.1, 1.0, 0.5, 0.0]
    """
    return min(1.0, 0.1 + 90.0 * done) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


class Clock:
    """How far a training is, by steps or by seconds, and how many steps to make at once."""

    def __init__(self, total: int | None, seconds: float | None) -> None:
        self.total, self.seconds = total, seconds
        self.start = time.perf_counter()
        self.now = self.validated_at = self.validation_took = 0.0
        self.steps = 0
        self.at_once = 16 if total is None else max(1, total // VALIDATIONS)

    @property
    def done(self) -> float:
        """The fraction that is over, by the last `tick`."""
        return self.steps / self.total if self.total else self.now / self.seconds  # type: ignore[operator]

    @property
    def middle(self) -> float:
        """The fraction that will be over in the middle of the next steps."""
        return (self.steps + 0.5 * self.at_once) / self.total if self.total else self.done

    def tick(self) -> None:
        """Count the steps that were made."""
        before, self.now = self.now, time.perf_counter() - self.start
        self.steps += self.at_once
        if self.total is not None:
            self.at_once = min(self.at_once, max(self.total - self.steps, 1))
        else:
            wanted = self.at_once * self.seconds / VALIDATIONS / (self.now - before)  # type: ignore[operator]
            self.at_once = round(min(max(wanted, 1.0), 4.0 * self.at_once))

    @property
    def validation_due(self) -> bool:
        """Whether it is time to look at the validation set, which should take a twentieth of the time at most."""
        if self.total is not None or self.done >= 1.0:
            return True
        return self.now - self.validated_at > max(0.99 * self.seconds / VALIDATIONS, 20 * self.validation_took)  # type: ignore[operator]

    def validated(self) -> None:
        """Note how long the validation took."""
        self.validated_at = time.perf_counter() - self.start
        self.validation_took = self.validated_at - self.now


class Bar:
    """A bar of progress, where tqdm is installed and it is wanted."""

    def __init__(self, wanted: bool) -> None:
        self.bar: Any = None
        if wanted:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=100, desc="training", bar_format="{desc} {percentage:3.0f}% |{bar:30}|{postfix}")

    def show(self, done: float, row: Row) -> None:
        if self.bar is not None:
            forces = "" if math.isnan(row.force_rmse) else f", {1e3 * row.force_rmse:.0f} meV/Å"
            self.bar.n = round(100 * min(done, 1.0))
            self.bar.set_postfix_str(f"{row.steps} steps, validation {1e3 * row.energy_rmse:.1f} meV{forces}")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
