"""Points in a plane: the script, its pictures' geometry, and the window, to which mouse and keys are sent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "classify2d.py"
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def module() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import _classify2d_window  # noqa: F401
        import classify2d
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return classify2d


@pytest.fixture
def window(module: ModuleType) -> Any:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    from _classify2d_window import LiveWindow

    sets = {"c": module.circle, "s": module.spiral, "t": module.three_arms, "r": module.random_points}
    with mpl.rc_context():
        window = LiveWindow(plt, module.network, module.training_step, sets, seed=0)
        window.figure.canvas.draw_idle = lambda: None  # Agg would draw at once, and at every event
        yield window
    plt.close("all")


def click(window: Any, x: float, y: float, button: int = 1) -> None:
    from matplotlib.backend_bases import MouseEvent

    canvas = window.figure.canvas
    place = window.planes.plane.transData.transform((x, y))
    canvas.callbacks.process("button_press_event", MouseEvent("button_press_event", canvas, *place, button))


def press(window: Any, key: str) -> None:
    from matplotlib.backend_bases import KeyEvent

    canvas = window.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    run_script("--seed", "1")


def test_points_are_as_described(module: ModuleType) -> None:
    rng = np.random.default_rng(0)
    points, labels = module.circle(1000, rng)
    r = np.hypot(*points.T)
    assert r[labels == 0].max() <= 0.5
    assert r[labels == 1].min() >= 0.65
    for arms in (2, 3):
        points, labels = module.spiral(900, rng, arms)
        assert np.bincount(labels).tolist() == [900 // arms] * arms
        assert np.abs(points).max() < 1.1
        turned = points[labels == 0] @ np.array(
            [
                [np.cos(2 * np.pi / arms), np.sin(2 * np.pi / arms)],
                [-np.sin(2 * np.pi / arms), np.cos(2 * np.pi / arms)],
            ]
        )
        nearest = np.linalg.norm(turned[:, None] - points[labels == 1], axis=-1).min(axis=1)
        assert np.median(nearest) < 0.05  # one arm turned is the next


@pytest.mark.parametrize("arms", [2, 3])
def test_spirals_reach_the_bar(module: ModuleType, arms: int) -> None:
    rng = np.random.default_rng(7)
    model, _ = module.fit(module.spiral(200 * arms, rng, arms), 1500, 7, compiled=True)
    assert model.num_parameters() == 2 * 32 + 32 + 32 * 32 + 32 + 32 * arms + arms
    assert module.accuracy(model, module.spiral(3000, rng, arms)) >= 0.99


def test_compiled_or_not_it_learns_the_same(module: ModuleType) -> None:
    data = module.spiral(60, np.random.default_rng(0))
    models = [module.fit(data, 40, 0, compiled)[0] for compiled in (True, False)]
    for p, q in zip(*(model.parameters() for model in models)):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_directions_that_are_drawn_decide(module: ModuleType, classes: int) -> None:
    """What the network says of a hidden vector follows from its two coordinates in the picture."""
    from _classify2d_pictures import deciding_directions

    rng = np.random.default_rng(0)
    weight, hidden = rng.standard_normal((classes, 32)), rng.standard_normal((50, 32))
    before = None
    for _ in range(3):
        basis = deciding_directions(weight, hidden, before)
        np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-9)
        full, drawn = hidden @ weight.T, hidden @ basis @ (weight @ basis).T
        np.testing.assert_allclose(full - full[:, :1], drawn - drawn[:, :1], atol=1e-9)
        if before is not None:
            np.testing.assert_allclose(basis, before, atol=0.02)  # the same network: nothing turns
        before = basis


def test_points_are_set_and_removed_with_the_mouse(window: Any) -> None:
    press(window, "x")
    assert len(window.points) == 0
    window.tick()  # nothing to learn
    click(window, 0.5, 0.25)
    press(window, "3")
    click(window, -0.5, 0.75)
    click(window, -0.6, 0.7)
    np.testing.assert_allclose(window.points, [[0.5, 0.25], [-0.5, 0.75], [-0.6, 0.7]], atol=0.01)
    assert window.labels.tolist() == [0, 2, 2]
    click(window, 0.4, 0.2, button=3)
    assert window.labels.tolist() == [2, 2]
    click(window, 9.0, 9.0)
    assert len(window.points) == 2
    np.testing.assert_allclose(window.planes.dots[0].get_offsets(), window.points)


def test_regions_change_while_it_trains_and_follow_new_points(window: Any) -> None:
    press(window, "t")
    shown = window.planes.regions[0].get_array().copy()
    for _ in range(80):
        window.tick()
    assert window.steps == 800
    assert "800 steps, loss 0.0" in window.figure.get_suptitle()
    trained = window.planes.regions[0].get_array().copy()
    assert np.abs(trained - shown).max() > 0.2
    assert len(window.step.specialisations) == 1  # other points are no other program
    press(window, "x")
    for x in (-0.8, -0.7, 0.7, 0.8):
        press(window, "1" if x < 0 else "2")
        for y in (-0.5, 0.0, 0.5):
            click(window, x, y)
    for _ in range(60):
        window.tick()
    assert len(window.step.specialisations) == 1
    from _classify2d_pictures import FINE, PALETTE

    colours = window.planes.regions[0].get_array()
    for column, label in ((FINE // 6, 0), (FINE - FINE // 6, 1)):
        np.testing.assert_allclose(colours[FINE // 2, column], 1 - 0.4 * (1 - PALETTE[label]), atol=0.05)


def test_pause_and_a_new_network(window: Any) -> None:
    for _ in range(3):
        window.tick()
    press(window, " ")
    window.tick()
    assert window.steps == 30
    press(window, " ")
    press(window, "n")
    assert window.steps == 0
    window.tick()
    assert window.steps == 10
    window.figure.canvas.draw()


def test_the_window_is_opened_by_the_script(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.setenv("MPLBACKEND", "Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.get_fignums())))
    assert module.main(["--live", "--out", str(tmp_path)]) == 0
    assert shown == [1]
    plt.close("all")
