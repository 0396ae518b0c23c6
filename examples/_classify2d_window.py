"""A window in which points are set with the mouse, while the network that tells them apart trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _classify2d_pictures import COLOURS, SIDE, Planes
from _example import GREY

import tinynn

MOST = 512  # points; the step is compiled for so many, and class -100 stands for "none"
CLASSES = len(COLOURS)
HELP = (
    "click: a point of the chosen class      right click: remove one      1 2 3: choose the class\n"
    "c, s, t, r: circle, spiral, three arms, random      x: no points      n: new network      space: pause"
)


class LiveWindow:
    """Keeps the points, trains a little at every tick of a timer, and shows what the network says.

    Parameters
    ----------
    network : gives a new network for a number of classes
    training_step : makes the function of points and labels that takes a step
    sets : by key, functions of (n, generator) that give points to begin with
    """

    def __init__(
        self, plt: Any, network: Callable, training_step: Callable, sets: dict[str, Callable], seed: int = 0
    ) -> None:
        for name in [name for name in plt.rcParams if name.startswith("keymap.") and name != "keymap.quit"]:
            plt.rcParams[name] = []  # matplotlib's own keys
        self.plt, self.network, self.training_step, self.sets = plt, network, training_step, sets
        self.rng = np.random.default_rng(seed)
        self.points, self.labels = np.zeros((0, 2)), np.zeros(0, int)
        self.chosen = 0
        self.paused = False
        self.steps = 0
        self.figure = plt.figure(figsize=(10, 5.8), layout="constrained")
        self.figure.supxlabel(HELP, fontsize=9, color=GREY)
        self.planes = Planes(self.figure, (self.points, self.labels))
        self.title = self.figure.suptitle("0 steps", fontsize=10)
        self.new_network()
        self.key_of("s")
        self.figure.canvas.draw()
        self.figure.set_layout_engine("none")  # everything has its place: drawing gets twice as fast
        self.figure.canvas.mpl_connect("button_press_event", self.clicked)
        self.figure.canvas.mpl_connect("key_press_event", lambda event: self.key_of(event.key))
        self.timer = self.figure.canvas.new_timer(interval=40)
        self.timer.add_callback(self.tick)

    def run(self) -> None:
        """Open the window, until it is closed."""
        self.timer.start()
        self.plt.show()
        self.timer.stop()

    def new_network(self) -> None:
        """Begin again, with other weights."""
        tinynn.manual_seed(int(self.rng.integers(2**31)))
        self.model = self.network(CLASSES)
        self.step = self.training_step(self.model)
        self.planes.basis = None
        self.steps = 0

    def clicked(self, event: Any) -> None:
        """Set a point, or remove the nearest."""
        if event.inaxes is not self.planes.plane:
            return
        at = np.array([event.xdata, event.ydata])
        if event.button == 1 and len(self.points) < MOST:
            self.set_points(np.vstack([self.points, at]), np.append(self.labels, self.chosen))
        elif event.button == 3 and len(self.points):
            nearest = np.argmin(np.sum((self.points - at) ** 2, axis=1))
            self.set_points(np.delete(self.points, nearest, axis=0), np.delete(self.labels, nearest))

    def key_of(self, key: str | None) -> None:
        """Do what the key says; see `HELP`."""
        if key in self.sets:
            self.set_points(*self.sets[key](200, self.rng))
        elif key in [str(i + 1) for i in range(CLASSES)]:
            self.chosen = int(key) - 1
        elif key == "x":
            self.set_points(np.zeros((0, 2)), np.zeros(0, int))
        elif key == "n":
            self.new_network()
        elif key == " ":
            self.paused = not self.paused
        self.update()

    def set_points(self, points: np.ndarray, labels: np.ndarray) -> None:
        """These points from now on. The arrays that the step gets are always of one size."""
        self.points, self.labels = np.clip(points, -SIDE, SIDE), labels
        at, of = np.zeros((MOST, 2)), np.full(MOST, -100)
        at[: len(points)], of[: len(points)] = self.points, labels
        self.given = tinynn.tensor(at), tinynn.tensor(of)
        self.planes.set_points(self.points, self.labels)
        self.update()

    def tick(self) -> None:
        """Train a little, and show it."""
        if self.paused or not len(self.points):
            return
        for _ in range(10):
            loss = self.step(*self.given)
        self.steps += 10
        self.update(f"{self.steps} steps, loss {loss.item():.3f}")

    def update(self, text: str | None = None) -> None:
        """Draw again."""
        self.planes.show(self.model)
        if text is not None:
            self.title.set_text(text)
        self.planes.plane.set_title(f"points of class {self.chosen + 1}", color=COLOURS[self.chosen], fontsize=10)
        self.figure.canvas.draw_idle()
