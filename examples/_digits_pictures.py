"""Pictures for the digits: what every layer makes of one, the guesses, and those that were taken for others."""

from __future__ import annotations

from typing import Any

import numpy as np
from _digits import MAPS, probabilities
from _example import BLUE, GREY, ORANGE

import tinynn


class LayersPicture:
    """Input, feature maps of every layer, and the ten probabilities, in a figure; `show` draws another digit."""

    def __init__(self, figure: Any, model: Any) -> None:
        self.model = model
        self.figure = figure
        rows = figure.subfigures(3, 1, height_ratios=(1.35, 1, 1))
        top = rows[0].subplots(1, 2, width_ratios=(1, 2.6))
        self.input = top[0].imshow(np.zeros((8, 8)), cmap="gray_r", vmin=0, vmax=1)
        top[0].set(xticks=[], yticks=[])
        top[0].set_title("input, 8×8")
        self.bars = top[1].bar(range(10), np.zeros(10), color=GREY)
        top[1].set(xticks=range(10), yticks=[0, 0.5, 1], ylim=(0, 1), ylabel="probability")
        self.guesses = top[1].set_title("")
        axes = (*rows[1].subplots(1, 2), *rows[2].subplots(1, 2))
        self.maps = {}
        for ax, name, count, size in zip(axes, MAPS[1:], (8, 8, 16, 16), (8, 4, 4, 2), strict=True):
            ax.set_title(f"{name}: {count} maps of {size}×{size}", fontsize=10)
            ax.set_axis_off()
            self.maps[name] = ax.imshow(side_by_side(np.zeros((count, size, size))), cmap="viridis")

    def show(self, image: np.ndarray) -> tuple[int, int]:
        """Draw what the layers make of an image (8, 8). Returns the first and the second guess."""
        images = image[None, None].astype(np.float32)
        with tinynn.no_grad():
            maps = self.model.maps(tinynn.tensor(images))
        self.input.set_data(image)
        for name, values in zip(MAPS[1:], maps[1:], strict=True):
            picture = side_by_side(values.numpy()[0])
            self.maps[name].set_data(picture)
            self.maps[name].set_clim(0, max(float(np.nanmax(picture)), 1e-6))
        chances = probabilities(self.model, images)[0]
        first, second = (int(i) for i in np.argsort(chances)[:-3:-1])
        for digit, (bar, chance) in enumerate(zip(self.bars, chances, strict=True)):
            bar.set_height(chance)
            bar.set_color(BLUE if digit == first else ORANGE if digit == second else GREY)
        self.guesses.set_text(
            f"first guess {first} ({100 * chances[first]:.0f} %), second {second} ({100 * chances[second]:.0f} %)"
        )
        return first, second


def side_by_side(maps: np.ndarray) -> np.ndarray:
    """Maps (count, size, size) in two rows, as one image; NaN in the gaps between them is drawn as nothing."""
    count, size, _ = maps.shape
    fine = 8 // size * 4  # so that the gaps are equally wide in all layers
    maps = maps.repeat(fine, axis=1).repeat(fine, axis=2)
    padded = np.pad(maps, ((0, 0), (3, 3), (3, 3)), constant_values=np.nan)
    return np.vstack([np.hstack(list(row)) for row in padded.reshape(2, count // 2, *padded.shape[1:])])


def draw_mistakes(figure: Any, tests: list[tuple[Any, np.ndarray, np.ndarray]]) -> None:
    """The first few digits that networks took for others; ``tests`` are networks, images and labels."""
    axes = figure.subplots(2, 8)
    panels = iter(axes.flat)
    for ax in axes.flat:
        ax.set_axis_off()
    for model, images, labels in tests:
        guesses = probabilities(model, images).argmax(axis=1)
        for i, ax in zip(np.flatnonzero(guesses != labels), panels):
            ax.imshow(images[i, 0], cmap="gray_r", vmin=0, vmax=1)
            ax.set_title(f"{labels[i]}, taken for {guesses[i]}", fontsize=8)
