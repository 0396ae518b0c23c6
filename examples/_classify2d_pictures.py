"""The plane with its regions, the plane as the last hidden layer has bent it, and both as an animation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _example import BLUE, GREEN, ORANGE
from matplotlib.collections import LineCollection

import tinynn

COLOURS = (BLUE, ORANGE, GREEN)
SIDE, LINES = 1.15, 13  # half the side of the plane that is drawn; lines of the grid in each direction
FINE = 110  # pixels of the regions, and points of a line
PALETTE = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in COLOURS])


class Planes:
    """Two panels that show a network: `show` brings them up to date, `set_points` changes the points."""

    def __init__(self, figure: Any, data: tuple[np.ndarray, np.ndarray]) -> None:
        self.plane, self.hidden = figure.subplots(1, 2)
        for ax in (self.plane, self.hidden):
            ax.set(xticks=[], yticks=[])
            ax.spines[["left", "bottom"]].set_visible(False)
            ax.set_box_aspect(1)
        self.plane.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
        self.plane.set_title("plane", fontsize=9)
        self.hidden.set_title("as the last hidden layer sees it", fontsize=9)
        line = np.linspace(-SIDE, SIDE, FINE)
        self.pixels = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        across = np.stack(np.meshgrid(line, np.linspace(-SIDE, SIDE, LINES)), axis=-1)  # (line, point, 2)
        self.grid = np.concatenate([across, across[..., ::-1]])
        self.regions = [
            ax.imshow(np.ones((FINE, FINE, 3)), extent=(-SIDE, SIDE, -SIDE, SIDE), origin="lower", aspect="auto")
            for ax in (self.plane, self.hidden)
        ]
        self.lines = LineCollection([], colors="#909090", linewidths=0.6, zorder=1)
        self.hidden.add_collection(self.lines)
        self.dots = [
            ax.scatter([], [], s=11, edgecolors="white", linewidths=0.4, zorder=3) for ax in (self.plane, self.hidden)
        ]
        self.basis: np.ndarray | None = None
        self.set_points(*data)

    def set_points(self, points: np.ndarray, labels: np.ndarray) -> None:
        """Other points from now on."""
        self.points = points
        self.dots[0].set_offsets(points)
        for dots in self.dots:
            dots.set_facecolors(PALETTE[labels])

    def show(self, model: Any) -> None:
        """Draw what the network says of the plane, and how it bends it."""
        last = model[len(model) - 1]
        weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
        self.regions[0].set_data(pale(hidden_of(model, self.pixels) @ weight.T + bias))

        bent = hidden_of(model, self.grid.reshape(-1, 2))
        centre = bent.mean(axis=0)
        self.basis = deciding_directions(weight, bent - centre, self.basis)
        curves = ((bent - centre) @ self.basis).reshape(self.grid.shape)
        self.lines.set_segments(list(curves))
        self.dots[1].set_offsets((hidden_of(model, self.points) - centre) @ self.basis)

        # Across the directions that are drawn, the logits do not change (up to a number that all of them share).
        far = 1.08 * np.abs(curves).max(axis=(0, 1))
        seen = self.pixels / SIDE * far
        self.regions[1].set_data(pale(seen @ (weight @ self.basis).T + weight @ centre + bias))
        self.regions[1].set_extent((-far[0], far[0], -far[1], far[1]))
        self.hidden.set(xlim=(-far[0], far[0]), ylim=(-far[1], far[1]))


def pale(logits: np.ndarray) -> np.ndarray:
    """Colours mixed by the probabilities of the classes, in steps of a quarter, as an image."""
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances = np.round(4 * chances / chances.sum(axis=1, keepdims=True))
    mixed = chances @ PALETTE[: chances.shape[1]] / np.maximum(chances.sum(axis=1, keepdims=True), 1)
    return 1 - 0.4 * (1 - mixed.reshape(FINE, FINE, 3))


@tinynn.no_grad
def hidden_of(model: Any, points: np.ndarray) -> np.ndarray:
    """The activations of the last hidden layer."""
    *layers, _ = model
    values = tinynn.tensor(points)
    for layer in layers:
        values = layer(values)
    return values.numpy()


def deciding_directions(weight: np.ndarray, activations: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Two orthonormal directions (n, 2) in the space of the last hidden layer.

    Three classes differ by two combinations of the activations: these two. Two classes differ by one; the other
    direction is the one, across it, in which the activations spread most. Both are turned such that they go on from
    those of the picture before.
    """
    if len(weight) == 2:
        u = weight[1] - weight[0]
        u = u[:, None] / np.linalg.norm(u)
        rest = activations - activations @ u @ u.T
        v = np.random.default_rng(0).standard_normal((len(u), 1)) if before is None else before[:, 1:]
        for _ in range(200 if before is None else 5):  # the power method
            v = rest.T @ (rest @ v)
            v /= np.linalg.norm(v)
        return np.hstack([u, v])
    basis = np.linalg.svd(weight - weight.mean(axis=0))[2][:2].T
    if before is None:
        return basis
    left, _, right = np.linalg.svd(basis.T @ before)  # the rotation that comes nearest to the basis before
    return basis @ left @ right


def save_animation(plt: Any, path: Path, data: Any, moments: list[int], train: Callable[[Any], Any]) -> None:
    """A GIF of the training: a picture at each of the moments (step numbers)."""
    from matplotlib.animation import PillowWriter

    figure = plt.figure(figsize=(5.6, 3.1), dpi=72, layout="constrained")
    planes = Planes(figure, data)
    title = figure.suptitle("0 steps", fontsize=10)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # nothing moves from now on but the network
    writer = PillowWriter(fps=8)

    def on_step(number: int, model: Any) -> None:
        if number in (0, *moments):
            planes.show(model)
            title.set_text(f"{number} steps")
            writer.grab_frame()

    with writer.saving(figure, str(path), dpi=72):
        model, _ = train(on_step)
        on_step(moments[-1], model)
        for _ in range(8):  # stand still at the end
            writer.grab_frame()
    plt.close(figure)


def shrink(path: Path) -> None:
    """Write a picture again with 96 colours, which nobody can tell from all, in a third of the bytes."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
