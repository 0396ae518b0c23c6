"""Write the README's table of compiled training steps from the committed measurements.

    python docs/speed_table.py

A test holds the README to benchmarks/results/compiled_steps.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results" / "compiled_steps.json"
BEGIN, END = "<!-- compiled steps -->\n", "<!-- end of compiled steps -->\n"
HEADER = (
    "training step",
    "tinynn compiled",
    "whole epoch",
    "PyTorch eager",
    "torch.compile",
    "JAX, best form",
    "ratio",
)


def table(record: dict[str, Any]) -> str:
    """One row per case, times per step; the ratio is of PyTorch eager to a compiled call, and to the whole epoch."""
    rows: list[tuple[str, ...]] = [HEADER, ("---",) * len(HEADER)]
    for case in record["results"]:
        times = {name: median(seconds) for name, seconds in case["seconds"].items() if name not in case["void"]}
        torch, call, epoch = (times.get(name) for name in ("torch", "tinynn-compiled", "tinynn-epoch"))
        jax = min((times[name] for name in ("jax", "jax-scan") if name in times), default=None)
        ratios = [f"{torch / ours:.3g}" for ours in (call, epoch) if torch and ours]
        cells = (call, epoch, torch, times.get("torch-compiled"), jax)
        rows.append((case["title"], *map(duration, cells), " / ".join(ratios) or "–"))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def duration(seconds: float | None) -> str:
    """Three digits, in µs or ms; a dash where there is none."""
    if seconds is None:
        return "–"
    unit, scale = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    digits = max(0, 2 - len(f"{int(seconds * scale)}") + (seconds * scale >= 1))
    return f"{seconds * scale:.{min(digits, 2)}f} {unit}"


def with_table(readme: str, record: dict[str, Any]) -> str:
    """The README with the table of these measurements."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}{table(record)}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    text = with_table(README.read_text("utf-8"), json.loads(RESULTS.read_text("utf-8")))
    README.write_text(text, "utf-8")
