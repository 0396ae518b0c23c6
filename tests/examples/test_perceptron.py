"""The perceptron learning algorithm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "perceptron.py"


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str]) -> None:
    assert "XOR: fewest wrong points after any of 100 epochs" in run_script()


def test_a_wrong_point_of_p_is_added_and_one_of_n_subtracted(example: ModuleType) -> None:
    """From w = (-2, 1): x = (1, 1) of P has w·x = -1 and is added; then nothing is wrong."""
    run = example.perceptron(
        np.array([[1.0, 1.0]]), np.array([[1.0, -3.0]]), np.array([-2.0, 1.0]), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(run.w, [-1.0, 2.0])
    assert (run.updates, run.converged) == (1, True)
    # From w = 0, w·x = 0 is right for P and wrong for N: only N can move it.
    run = example.perceptron(np.array([[1.0, 1.0]]), np.array([[1.0, -3.0]]), np.zeros(2), np.random.default_rng(0))
    np.testing.assert_array_equal(run.w, [-1.0, 3.0])
    assert (run.updates, run.converged) == (1, True)


def test_nothing_happens_where_all_is_right(example: ModuleType) -> None:
    start = np.array([0.0, 1.0])
    run = example.perceptron(np.array([[1.0, 2.0]]), np.array([[1.0, -2.0]]), start, np.random.default_rng(0))
    assert (run.updates, run.picks, run.epochs, run.converged) == (0, 0, 0, True)
    np.testing.assert_array_equal(run.w, start)


@pytest.mark.parametrize("seed", range(10))
def test_separable_points_are_learnt_within_novikoffs_bound(example: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, n = example.two_clouds(30, rng)
    for start in (np.zeros(3), 5.0 * rng.standard_normal(3)):
        run = example.perceptron(p, n, start, rng, max_epochs=20_000)
        assert run.converged
        assert (p @ run.w >= 0).all()
        assert (n @ run.w < 0).all()
        assert run.updates <= example.novikoff_bound(p, n, start)


def test_the_bound_of_two_points(example: ModuleType) -> None:
    """z = ±(1, 1) mirrored at w0 = 0: the widest margin is 1 along w1, and R² = 2."""
    p, n = np.array([[1.0, 1.0]]), np.array([[1.0, -1.0]])
    np.testing.assert_allclose(example.widest_margin(np.vstack([p, -n])), [0.0, 1.0], atol=1e-12)
    assert example.novikoff_bound(p, n) == pytest.approx(2.0)
    assert example.novikoff_bound(p, n, np.zeros(2)) == pytest.approx(2.0)
    assert example.novikoff_bound(p, n, np.array([0.0, -5.0])) == pytest.approx(12.0)  # k - 5 <= sqrt(25 + 2k)


def test_xor_is_never_learnt(example: ModuleType) -> None:
    x = example.with_ones(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    run = example.perceptron(x[:2], x[2:], np.ones(3), np.random.default_rng(1), max_epochs=200)
    assert not run.converged
    assert len(run.errors) == 200
    assert min(run.errors) >= 1


def test_the_division_of_the_real_data_is_fixed_and_leaks_nothing(example: ModuleType) -> None:
    x, y, x_test, y_test = example.load_pair("fcc", "bcc")
    assert (x.shape, x_test.shape) == ((135, 187), (45, 187))
    assert y.sum() + y_test.sum() == 90
    assert not {row.tobytes() for row in x} & {row.tobytes() for row in x_test}
    np.testing.assert_array_equal(x, example.load_pair("fcc", "bcc")[0])


def test_fcc_and_bcc_are_told_apart(example: ModuleType) -> None:
    run, accuracy = example.learn_pair("fcc", "bcc", 30)
    assert run.converged
    assert run.epochs <= 30
    assert accuracy >= 0.97


def test_the_estimator_is_the_same_algorithm(example: ModuleType) -> None:
    pytest.importorskip("sklearn")
    from tinynn.sklearn.perceptron import epoch

    x, y, _, _ = example.load_pair("fcc", "hcp")
    w, run = np.zeros(x.shape[1]), None
    for number in (1, 2, 3):
        order = np.random.default_rng(number).permutation(len(x))
        w, _ = epoch(w, x[order], y[order])

        class Given:
            """Hands the perceptron of the example the same order."""

            def permutation(self, n: int, number: int = number) -> np.ndarray:
                back = np.argsort(np.concatenate([np.flatnonzero(y), np.flatnonzero(~y)]))
                return back[np.random.default_rng(number).permutation(n)]

        run = example.perceptron(x[y], x[~y], np.zeros(x.shape[1]) if run is None else run.w, Given(), 1, True)
        np.testing.assert_array_equal(run.w, w)
