"""Digits: the script, the network's shape, and the window, to which a mouse is sent that draws."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynn

SCRIPT = Path(__file__).parents[2] / "examples" / "digits.py"
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> np.ndarray:
    t = np.radians(np.linspace(start, stop, 16))
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


# how one would draw them, in a square of side 1, y upwards
STROKES = {
    0: [arc(0.5, 0.5, 0.25, 0.4, 90, 450)],
    2: [np.vstack([arc(0.5, 0.68, 0.22, 0.22, 160, -30), [[0.3, 0.1], [0.75, 0.1]]])],
    3: [np.vstack([arc(0.47, 0.7, 0.22, 0.2, 150, -90), arc(0.47, 0.3, 0.25, 0.2, 90, -150)])],
    4: [np.array([[0.45, 0.9], [0.25, 0.4], [0.75, 0.4]]), np.array([[0.6, 0.6], [0.6, 0.1]])],
    5: [np.array([[0.7, 0.9], [0.38, 0.9], [0.33, 0.55]]),
        np.vstack([[[0.33, 0.55]], arc(0.48, 0.34, 0.24, 0.24, 110, -150)])],
    6: [np.vstack([[[0.6, 0.9], [0.45, 0.75]], arc(0.5, 0.3, 0.2, 0.2, 160, 520)])],
    7: [np.array([[0.28, 0.88], [0.72, 0.88], [0.42, 0.1]]), np.array([[0.35, 0.5], [0.72, 0.5]])],
    9: [np.vstack([arc(0.5, 0.68, 0.2, 0.2, 0, 360), [[0.7, 0.68], [0.6, 0.1]]])],
}  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import _digits
        import _digits_window  # noqa: F401
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return _digits


@pytest.fixture(scope="module")
def lenet(digits: ModuleType) -> Any:
    data, _ = next(digits.folds(digits.load_digits(), 1))
    return digits.train(digits.made(digits.LeNet, 0), data, 25, 0)


@pytest.fixture
def window(digits: ModuleType, lenet: Any) -> Any:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    from _digits_window import DrawingWindow

    _, (images, _) = next(digits.folds(digits.load_digits(), 1))
    window = DrawingWindow(plt, lenet, images)
    window.figure.canvas.draw_idle = lambda: None  # Agg would draw at once, and at every event
    yield window
    plt.close("all")


def send(window: Any, kind: str, point: np.ndarray, button: int = 1) -> None:
    """A mouse event at a place in the canvas, as a window would send it."""
    from matplotlib.backend_bases import MouseEvent

    x, y = window.canvas.transData.transform(point)
    canvas = window.figure.canvas
    canvas.callbacks.process(kind, MouseEvent(kind, canvas, x, y, button))


def draw(window: Any, strokes: list[np.ndarray]) -> None:
    for stroke in strokes:
        send(window, "button_press_event", stroke[0])
        for point in stroke[1:]:
            send(window, "motion_notify_event", point)
        send(window, "button_release_event", stroke[-1])


def press(window: Any, key: str) -> None:
    from matplotlib.backend_bases import KeyEvent

    canvas = window.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def title(window: Any) -> str:
    return window.picture.guesses.get_text()


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    printed = run_script("--seed", "2")
    assert "LeNet, 6058 parameters" in printed


def test_layers_are_as_described(digits: ModuleType) -> None:
    model = digits.made(digits.LeNet, 0)
    assert model.num_parameters() == 6058
    assert digits.mlp().num_parameters() == 4810
    maps = model.maps(tinynn.zeros(2, 1, 8, 8).to("float32"))
    assert [m.shape for m in maps] == [(2, 1, 8, 8), (2, 8, 8, 8), (2, 8, 4, 4), (2, 16, 4, 4), (2, 16, 2, 2)]
    assert len(maps) == len(digits.MAPS)


def test_every_digit_is_tested_once(digits: ModuleType) -> None:
    images, labels = digits.load_digits()
    tested = np.concatenate([test[0] for _, test in digits.folds((images, labels), 3)])
    assert len(tested) == len(images) == 1797
    assert len(np.unique(tested.reshape(1797, -1), axis=0)) == len(np.unique(images.reshape(1797, -1), axis=0))
    for (train, _), (test, _) in digits.folds((images, labels), 3):
        assert len(train) + len(test) == 1797


def test_compiled_or_not_it_learns_the_same(digits: ModuleType) -> None:
    data, test = next(digits.folds(digits.load_digits(), 0))
    few = data[0][:320], data[1][:320]
    chances = [
        digits.probabilities(digits.train(digits.made(digits.mlp, 0), few, 3, 0, compiled), test[0])
        for compiled in (True, False)
    ]
    np.testing.assert_allclose(*chances, atol=1e-3)


def test_drawings_have_the_size_of_the_data(digits: ModuleType) -> None:
    from _digits_window import as_digit

    images, _ = digits.load_digits()
    for strokes in STROKES.values():
        image = as_digit(strokes)
        assert image.shape == (8, 8)
        assert image.min() >= 0
        assert image.max() <= 1
        assert image[0].max() > 0.2
        assert image[-1].max() > 0.2
        assert 0.6 * images.mean() < image.mean() < 1.5 * images.mean()
        moved = [7.0 + 30.0 * stroke for stroke in strokes]
        np.testing.assert_allclose(as_digit(moved), image, atol=0.13)  # wherever, and however large
    dot = as_digit([np.array([[0.5, 0.5]])])
    assert dot.sum() > 0
    assert np.isfinite(dot).all()


def test_what_is_drawn_with_the_mouse_is_told(window: Any) -> None:
    right = 0
    for digit, strokes in STROKES.items():
        press(window, "c")
        draw(window, strokes)
        assert len(window.strokes) == len(strokes)
        assert len(window.canvas.lines) == len(strokes)
        right += title(window).startswith(f"first guess {digit} ")
    assert right >= 7, right


def test_the_layers_follow_the_pen(window: Any) -> None:
    before = window.picture.maps["convolution 2"].get_array().copy()
    send(window, "button_press_event", np.array([0.3, 0.8]))
    send(window, "motion_notify_event", np.array([0.6, 0.8]))
    first = window.picture.input.get_array().copy()
    send(window, "motion_notify_event", np.array([0.4, 0.1]))
    assert np.abs(window.picture.input.get_array() - first).max() > 0.2
    assert not np.ma.allequal(window.picture.maps["convolution 2"].get_array(), before)
    heights = [bar.get_height() for bar in window.picture.bars]
    assert sum(heights) == pytest.approx(1.0, abs=1e-5)
    first, second = np.argsort(heights)[:-3:-1]
    assert title(window).startswith(f"first guess {first} ")
    assert f"second {second} " in title(window)


def test_maps_stand_side_by_side(digits: ModuleType) -> None:
    from _digits_pictures import side_by_side

    for count, size in ((8, 8), (8, 4), (16, 4), (16, 2)):
        maps = np.arange(count * size * size, dtype=float).reshape(count, size, size)
        picture = side_by_side(maps)
        assert picture.shape == (2 * 38, count // 2 * 38)
        assert np.unique(picture[np.isfinite(picture)]).tolist() == maps.reshape(-1).tolist()
        assert picture[3, 3] == 0
        assert picture[38 + 3, 3] == maps[count // 2, 0, 0]


def test_other_buttons_and_places_draw_nothing(window: Any) -> None:
    send(window, "motion_notify_event", np.array([0.5, 0.5]))  # the pen is up
    send(window, "button_press_event", np.array([0.5, 0.5]), button=3)
    send(window, "button_press_event", np.array([1.4, 0.5]))  # beside the canvas
    assert window.strokes == []
    send(window, "button_press_event", np.array([0.5, 0.5]))
    send(window, "motion_notify_event", np.array([3.0, 0.5]))
    assert len(window.strokes[0]) == 1


def test_keys(window: Any) -> None:
    draw(window, STROKES[4])
    press(window, "n")
    assert window.strokes == []
    shown = window.picture.input.get_array().copy()
    press(window, "n")
    assert np.abs(window.picture.input.get_array() - shown).max() > 0
    press(window, "c")
    assert window.picture.input.get_array().max() == 0
    assert len(window.canvas.lines) == 0
    window.figure.canvas.draw()
