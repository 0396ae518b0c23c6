"""The worked example with three inputs: its numbers, its gradients, its picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynn

SCRIPT = Path(__file__).parents[2] / "examples" / "forward_propagation.py"


def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., None]) -> None:
    run_script("--seed", "3")


def test_loops_give_the_numbers_of_the_course(example: ModuleType) -> None:
    (z1, h), (z2, o) = example.by_loops(example.X, [example.W1, example.W2])
    np.testing.assert_allclose(z1, [-1.9, 3.1, -0.4], atol=1e-12)
    np.testing.assert_allclose(h, [0.1301, 0.9569, 0.4013], atol=5e-5)
    np.testing.assert_allclose(z2, [-0.6374, 1.7595], atol=5e-5)
    np.testing.assert_allclose(o, [0.3458, 0.8531], atol=5e-5)


def test_a_bias_of_a_tenth(example: ModuleType) -> None:
    (z1, h), (_, o) = example.by_loops(example.X, [example.W1, example.W2], 0.1)
    np.testing.assert_allclose(z1, [-1.8, 3.2, -0.3], atol=1e-12)
    np.testing.assert_allclose(h, [0.1419, 0.9608, 0.4256], atol=5e-5)
    np.testing.assert_allclose(o, [0.3449, 0.8712], atol=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_loops_matrices_and_layers_agree(example: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [rng.standard_normal((5, 3)), rng.standard_normal((4, 5)), rng.standard_normal((2, 4))]
    x = rng.standard_normal(3)
    by_loops = example.by_loops(x, layers, 0.3)[-1][1]
    by_nn = example.as_model(layers, 0.3)(tinynn.tensor(x)).detach().numpy()
    np.testing.assert_allclose(example.by_matrices(x, layers, 0.3)[-1][1], by_loops, rtol=1e-14)
    np.testing.assert_allclose(by_nn, by_loops, rtol=1e-14)


def test_the_way_back_by_hand_by_tinynn_and_by_differences(example: ModuleType) -> None:
    lines = example.backward_line_by_line()
    assert [line["name"] for line in lines] == ["o", "z2", "b2", "W2", "h", "z1", "b1", "W1", "x"]
    for line in lines:
        np.testing.assert_allclose(line["automatic"], line["by_hand"], atol=1e-15)
        np.testing.assert_allclose(line["automatic"], line["numerical"], atol=1e-9)


def test_layers_have_no_way_back_and_cycles_no_end(example: ModuleType) -> None:
    assert example.longest_way(example.layered_graph((3, 3, 2))) == 2
    assert example.layered_graph((3, 3, 2)).sum() == 3 * 3 + 3 * 2
    assert example.longest_way(np.array([[0, 1], [1, 0]])) == np.inf
    m = example.random_graph(13, 18, np.random.default_rng(0))
    assert (m.shape, m.sum(), np.trace(m)) == ((13, 13), 18, 0)
    assert (m != m.T).any()


def test_any_architecture_can_be_drawn(example: ModuleType) -> None:
    ax = pytest.importorskip("matplotlib.figure").Figure().subplots()
    sizes = [6, 32, 32, 1]
    weights = [np.ones((m, n)) for n, m in itertools.pairwise(sizes)]
    example.plot_network(ax, [np.zeros(n) for n in sizes], weights, titles=["in", "", "", "out"])
    assert len(ax.patches) == sum(sizes)
    assert len(ax.lines) == sum(w.size for w in weights)
    assert [text.get_text() for text in ax.texts] == ["in", "", "", "out"]  # too many numbers to print
