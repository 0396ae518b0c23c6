"""A plan as text: one line per row, with its operation, shapes, bytes, flops, and the user's line.

Of rows that go through a batch in parts, those of the first part stand for all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinynn.compiler.rows import Loop, Multiply, Row

if TYPE_CHECKING:
    from tinynn.compiler.plan import Plan
    from tinynn.compiler.views import View


def as_table(plan: Plan) -> str:
    """The rows of a plan as a table for people."""
    header = ("row", "work", "shape", "reads", "writes", "bytes", "flops", "operations", "made at")
    lines: list[Sequence[str]] = [header]
    for number, row in enumerate(plan.rows):
        if row.part[0] > 0:
            continue
        lines.append(
            (
                str(number),
                _kind(row),
                _shape(row),
                " ".join(_name(view) for view in row.inputs),
                " ".join(_name(view) for view in row.outputs),
                f"{row.traffic(plan):,}",
                f"{row.flops:,}",
                row.title,
                _line(row),
            )
        )
    widths = [min(max(len(line[k]) for line in lines), 44) for k in range(len(header))]
    right = {"row", "bytes", "flops"}
    text = []
    for line in lines:
        cells = []
        for name, cell, width in zip(header, line, widths, strict=True):
            cell = cell if len(cell) <= width else cell[: width - 3] + "..."
            cells.append(cell.rjust(width) if name in right else cell.ljust(width))
        text.append("  ".join(cells).rstrip())
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def _kind(row: Row) -> str:
    parts = f" x {row.part[1]}" if row.part[1] > 1 else ", again" if row.again else ""
    if isinstance(row, Loop):
        kinds = sorted({kind for kind in row.reductions if kind})
        return "loop" + (" " + ", ".join(kinds) if kinds else "") + parts
    return ("product" if isinstance(row, Multiply) else "call") + parts


def _shape(row: Row) -> str:
    if isinstance(row, Loop):
        return "x".join(map(str, row.space)) or "1"
    if isinstance(row, Multiply):
        m, n, k = row.sizes
        return f"{m}x{k} @ {k}x{n}"
    return "x".join(map(str, row.outputs[0].shape)) or "1"


def _name(view: View) -> str:
    return f"%{view.base}"


def _line(row: Row) -> str:
    """The user's line of the first operation, without the directories."""
    return next((os.path.basename(line) for _, line in row.origins if line), "")
