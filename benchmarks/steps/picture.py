"""Pictures of `compiled_scaling.py`: time per step against a size, one line per framework."""

from __future__ import annotations

import json
import statistics
from typing import Any

import _common as common

# our own columns in strong colours, in front; peers in pairs of related colours
LOOKS: dict[str, tuple[str, str, str, float]] = {
    "tinynn-epoch": ("tinynn, compiled epoch", "#b40426", "-", 2.4),
    "tinynn-compiled": ("tinynn, compiled step", "#e8590c", "-", 2.4),
    "tinynn": ("tinynn, eager", "#e8a33d", "--", 1.6),
    "torch": ("PyTorch, eager", "#1f4e9c", "-", 1.6),
    "torch-fused": ("PyTorch, fused Adam", "#1f4e9c", "--", 1.2),
    "torch-compiled": ("torch.compile", "#4a90d9", "-", 1.6),
    "jax": ("JAX, jit", "#2b8a3e", "-", 1.6),
    "jax-scan": ("JAX, scan", "#74b816", "-", 1.6),
    "sklearn": ("scikit-learn", "#868e96", "-", 1.2),
    "mygrad": ("MyGrad", "#9c36b5", "-", 1.2),
    "autograd": ("HIPS autograd", "#ae3ec9", "--", 1.2),
    "tinygrad": ("tinygrad", "#5f3dc4", ":", 1.6),
}
AXES = {
    "width": "width w of 8-w-w-w-1, batch 32",
    "depth at width 32": "hidden layers of 32, batch 32",
    "depth at width 64": "hidden layers of 64, batch 32",
    "batch": "batch of 8-32-32-32-1",
}


def from_results() -> None:
    """Draw what was saved."""
    record = json.loads((common.RESULTS / "compiled_scaling.json").read_text(encoding="utf-8"))
    draw(record["results"])


def draw(numbers: dict[str, Any]) -> None:
    """One picture per sweep, beside the results."""
    for what, rows in numbers.items():
        _picture(what, rows)


def _picture(what: str, rows: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.6, 5.2), constrained_layout=True)
    for column, (label, colour, style, width) in LOOKS.items():
        points = [
            (row["size"], statistics.median(row["seconds"][column]) * 1e6)
            for row in rows
            if column in row["seconds"] and column not in row["void"]
        ]
        if not points:
            continue
        x, y = zip(*points)
        front = 3 if column.startswith("tinynn") else 2
        axes.plot(x, y, style, color=colour, lw=width, label=label, marker="o", ms=3.5, zorder=front)
    axes.set_xscale("log", base=2 if what in ("width", "batch") else 10)
    axes.set_yscale("log")
    sizes = [row["size"] for row in rows]
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda i: -float(handles[i].get_ydata()[0]))  # as the lines begin
    legend = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False, "fontsize": 9}
    axes.legend([handles[i] for i in order], [labels[i] for i in order], **legend)
    axes.set_xlabel(AXES.get(what, what))
    axes.set_ylabel("time of one training step, µs")
    axes.set_title("One training step, tanh, Adam, float32, one thread", fontsize=11)
    axes.grid(True, which="major", color="#e9ecef", lw=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(common.RESULTS / f"compiled_{what.replace(' ', '_')}.png", dpi=140)
    plt.close(figure)
