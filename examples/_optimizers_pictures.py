"""The pictures of optimizers.py, one of them moving: matplotlib only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _example import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

STYLES = tuple(zip((BLACK, BLUE, SKY, ORANGE, GREEN, RED), np.linspace(2.9, 1.0, 6), strict=True))  # thin on thick
FRAMES = {  # x from, to, y from, to; where the minimum is
    "Beale": ((-0.6, 4.2), (-1.4, 1.9), (3.0, 0.5)),
    "Rosenbrock": ((-1.7, 1.7), (-0.4, 1.9), (1.0, 1.0)),
    "Long valley": ((-1.5, 10.0), (-1.3, 1.3), (0.0, 0.0)),
    "Saddle": ((-1.3, 1.3), (-0.35, 1.8), None),
}


def landscape(ax: Any, name: str, f: Any) -> None:
    """Contours of the function."""
    (x0, x1), (y0, y1), minimum = FRAMES[name]
    x, y = np.meshgrid(np.linspace(x0, x1, 161), np.linspace(y0, y1, 121))
    z = f(np.stack([x, y]))
    if name == "Saddle":
        levels = np.linspace(-3, 1.6, 10)
    else:
        levels = np.geomspace(1e-3 * z.max(), 0.5 * z.max(), 9)
    ax.contour(x, y, z, levels, colors="0.8", linewidths=0.7, zorder=0)
    if minimum is not None:
        ax.plot(*minimum, marker="*", ms=13, color=PURPLE, mec="none", zorder=1)
    ax.set(xlim=(x0, x1), ylim=(y0, y1), title=name)


def draw(plt: Any, functions: dict[str, Any], names: list[str], paths: dict[Any, Any], counts: dict[Any, Any]) -> Any:
    """Trajectories on the four functions, and below them the value against the step."""
    figure, axes = plt.subplots(2, 4, figsize=(10.4, 5.2), dpi=88, layout="constrained")
    for (title, f), above, below in zip(functions.items(), *axes, strict=True):
        landscape(above, title, f)
        for name, (colour, width) in zip(names, STYLES, strict=True):
            path = paths[f, name]
            steps = np.unique(np.geomspace(1, len(path), 400).astype(int))
            path = path[steps - 1]
            above.plot(*path.T, color=colour, lw=width, label=name)
            values = f(path.T)
            if title == "Saddle":
                below.semilogx(steps, values, color=colour, lw=width)
            else:
                below.loglog(steps, values, color=colour, lw=width)
        above.plot(*paths[f, names[0]][0], "o", color=BLACK, ms=5)
        below.set(xlabel="step", xlim=(1, 3e4))
        if title == "Saddle":
            below.set_ylim(-1.2, 1.2)
            below.axhline(-1, color=GREY, lw=0.8, ls=":")
        else:
            below.set_ylim(1e-7, 1e3)
            below.axhline(1e-6, color=GREY, lw=0.8, ls=":")
    axes[0, 0].set_ylabel("y")
    for ax in axes[0]:
        ax.set_xlabel("x")
    axes[1, 0].set_ylabel("f(x, y)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure


def animate(
    plt: Any, functions: dict[str, Any], names: list[str], paths: dict[Any, Any], target: Path, frames: int
) -> Path:
    """The first steps of the race, faster and faster, as a GIF."""
    from matplotlib.animation import FuncAnimation, PillowWriter

    shown = ("Beale", "Long valley", "Saddle")
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.9), layout="constrained")
    moments = np.unique(np.geomspace(1, 4000, frames).astype(int))
    lines = []
    for title, ax in zip(shown, axes, strict=True):
        landscape(ax, title, functions[title])
        ax.set(xticks=[], yticks=[])
        for name, (colour, width) in zip(names, STYLES, strict=True):
            (line,) = ax.plot([], [], color=colour, lw=width, label=name)
            (head,) = ax.plot([], [], "o", color=colour, ms=6)
            lines.append((line, head, paths[functions[title], name]))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    text = figure.suptitle("step 0", fontsize=10)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # settled once, not for every frame

    def frame(step: int) -> list[Any]:
        for line, head, path in lines:
            line.set_data(*path[: step + 1].T)
            head.set_data(*path[min(step, len(path) - 1)][:, None])
        text.set_text(f"step {step}")
        return []

    moving = FuncAnimation(figure, frame, frames=[0, *moments, *[moments[-1]] * (frames // 5)])
    moving.save(target, PillowWriter(fps=10), dpi=80)
    plt.close(figure)
    return target
