"""A window to draw a digit in with the mouse, and to see what every layer makes of it while it is drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from _digits_pictures import LayersPicture
from _example import BLUE, GREY

FINE, PEN = 32, 2.2  # the bitmap from which the 8×8 pixels are counted, and the radius of the pen in its pixels
NARROW, WIDE = 16, 22  # between these many columns are the digits of the data set


def as_digit(strokes: list[np.ndarray]) -> np.ndarray:
    """A drawing as the data set has them: (8, 8), within 0 ... 1.

    Parameters
    ----------
    strokes : arrays (points, 2) of x (to the right) and y (up), of any size anywhere

    Returns
    -------
    The drawing fills the height of a bitmap of 32×32, is drawn there with a round pen, stretched (at most to the
    double) or squeezed to the width of a digit, and the ink is counted in blocks of 4×4.
    """
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = np.maximum(high - low, 1e-9)
    scale = (FINE - 2 * PEN) / max(height, width / 3)
    columns = width * scale + 2 * PEN
    stretch = min(np.clip(columns, NARROW, WIDE) / columns, 2.0)
    x, y = np.meshgrid((np.arange(FINE) + 0.5 - FINE / 2) / stretch, FINE / 2 - np.arange(FINE) - 0.5)
    pixels = np.stack([x, y], axis=-1)
    ink = np.zeros((FINE, FINE), bool)
    for stroke in strokes:
        path = (stroke - (low + high) / 2) * scale
        for a, b in pairwise(path if len(path) > 1 else path[[0, 0]]):
            ink |= distance_to_segment(pixels, a, b) <= PEN
    return ink.reshape(8, 4, 8, 4).mean(axis=(1, 3)).astype(np.float32)


def distance_to_segment(pixels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From every pixel to the nearest point of the line from a to b."""
    along = b - a
    t = np.clip((pixels - a) @ along / max(along @ along, 1e-12), 0.0, 1.0)
    return np.linalg.norm(pixels - (a + t[..., None] * along), axis=-1)


class DrawingWindow:
    """Left: where to draw. Right: the layers, and the two best guesses, at every move of the mouse."""

    def __init__(self, plt: Any, model: Any, examples: np.ndarray) -> None:
        self.model, self.examples = model, examples
        self.strokes: list[np.ndarray] = []
        self.drawing = False
        self.number = 0
        self.figure = plt.figure(figsize=(13, 6.2), layout="constrained")
        left, right = self.figure.subfigures(1, 2, width_ratios=(1, 2.1))
        self.canvas = left.subplots()
        self.canvas.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        self.canvas.spines[["top", "right"]].set_visible(True)
        self.canvas.set_title("draw a digit, as large as you can")
        self.canvas.set_xlabel("c: clear      n: a digit of the test set", color=GREY)
        self.lines: list[Any] = []
        self.picture = LayersPicture(right, model)
        for event, handler in (
            ("button_press_event", self.pressed),
            ("motion_notify_event", self.moved),
            ("button_release_event", self.released),
            ("key_press_event", self.key),
        ):
            self.figure.canvas.mpl_connect(event, handler)
        self.next_example()
        self.figure.canvas.draw()
        self.figure.set_layout_engine("none")  # everything has its place: drawing gets twice as fast

    def pressed(self, event: Any) -> None:
        """The pen goes down."""
        if event.inaxes is not self.canvas or event.button != 1:
            return
        if not self.strokes:
            self.clear()
        self.drawing = True
        self.strokes.append(np.array([[event.xdata, event.ydata]]))
        self.lines += self.canvas.plot(*self.strokes[-1].T, color=BLUE, lw=9, solid_capstyle="round", marker="")
        self.look()

    def moved(self, event: Any) -> None:
        """The pen draws."""
        if not self.drawing or event.inaxes is not self.canvas:
            return
        self.strokes[-1] = np.vstack([self.strokes[-1], [event.xdata, event.ydata]])
        self.lines[-1].set_data(*self.strokes[-1].T)
        self.look()

    def released(self, event: Any) -> None:
        """The pen goes up."""
        self.drawing = False

    def key(self, event: Any) -> None:
        """c clears, n shows a digit of the test set."""
        if event.key == "c":
            self.clear()
            self.picture.show(np.zeros((8, 8), np.float32))
        elif event.key == "n":
            self.next_example()
        self.figure.canvas.draw_idle()

    def clear(self) -> None:
        """An empty sheet."""
        for line in self.lines:
            line.remove()
        self.strokes, self.lines, self.drawing = [], [], False

    def next_example(self) -> None:
        """Show a digit of the test set in place of a drawing."""
        self.clear()
        self.picture.show(self.examples[self.number % len(self.examples), 0])
        self.number += 1

    def look(self) -> None:
        """Show the network what is drawn so far."""
        self.picture.show(as_digit(self.strokes))
        self.figure.canvas.draw_idle()
