"""The first calls of a step in a fresh process, each with the moment at which its result was there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from . import build
from .cases import Case


def calls(column: str, case: Case) -> dict[str, Any]:
    """Moments of the first calls (on the clock of ``time.time``), losses, and the time spent on compiling."""
    runner = build(column, replace(case, check=8, batches=8))
    moments = runner.moments
    spans = [b - a for a, b in itertools.pairwise(moments)]
    return {"calls": moments[1:], "losses": runner.losses, "compiling": sum(spans[:3]) - 3 * min(spans[3:])}
