"""Structure types: the division, the vault, the coordinate, the networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynn

pytest.importorskip("sklearn")

SCRIPT = Path(__file__).parents[2] / "examples" / "structure_types.py"


def test_short_form(run_script: Callable[..., str]) -> None:
    assert "CNN, r in nearest neighbours: accuracy" in run_script()


def test_the_division_has_a_fixed_seed_and_leaks_nothing(example: ModuleType) -> None:
    _, curves, labels, _ = example.load_curves()
    parts, vault = example.divide(curves, labels, 3)
    again, _ = example.divide(curves, labels, 3)
    other, _ = example.divide(curves, labels, 4)
    assert {name: len(x) for name, (x, _) in parts.items()} == {"train": 378, "val": 126, "known": 535}
    for name, (x, y) in parts.items():
        np.testing.assert_array_equal(x, again[name][0])
        np.testing.assert_array_equal(y, again[name][1])
        assert (x != other[name][0]).any()
    rows = {name: {row.tobytes() for row in x} for name, (x, _) in parts.items()}
    inside = {row.tobytes() for row in vault.open()[0]}
    assert len(inside) == 95
    assert not inside & rows["known"]
    assert not rows["train"] & rows["val"]
    assert rows["train"] | rows["val"] < rows["known"]


def test_the_vault_opens_once(example: ModuleType) -> None:
    vault = example.Vault(np.ones(3), np.zeros(3))
    assert len(vault.open()) == 2
    with pytest.raises(RuntimeError, match="the vault was opened before"):
        vault.open()


def test_networks_scale_by_what_they_are_trained_on(example: ModuleType) -> None:
    options = example.parser("", compiles=True).parse_args(["--quick", "--no-compile"])
    _, curves, labels, _ = example.load_curves()
    model = example.models(options, 0.0, 0)["MLP"].fit(curves[:100], labels[:100])
    np.testing.assert_allclose(model.input_scaling_.mean, curves[:100].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.input_scaling_.scale, (curves[:100] - curves[:100].mean(axis=0)).std(), rtol=1e-5)


def test_first_peaks_are_at_the_nearest_neighbours(example: ModuleType) -> None:
    r, curves, _, _ = example.load_curves()
    reduced = example.in_nearest_neighbours(r, curves)
    peaks = r[reduced[:, r < 3.6].argmax(axis=1)]
    assert np.abs(peaks - 2.75).max() < 0.06  # the grid has steps of 0.1
    shifted = example.in_nearest_neighbours(r, np.array([np.interp(r / 1.05, r, curve) for curve in curves]))
    inside = r < 14
    difference = np.sqrt(np.mean((shifted - reduced)[:, inside] ** 2))
    assert difference < 0.35 * reduced.std()  # what interpolating twice costs
    assert difference < 0.35 * np.sqrt(np.mean((curves - reduced)[:, inside] ** 2))


def test_networks_are_those_of_the_course(example: ModuleType) -> None:
    mlp, cnn = example.mlp(186, 7, 0.1), example.cnn(186, 7, 0.1)
    assert mlp.num_parameters() == 187 * 64 + 65 * 64 + 65 * 7
    assert [tuple(p.shape) for p in cnn.parameters() if p.ndim == 3] == [(16, 1, 9), (32, 16, 9), (32, 32, 9)]
    x = tinynn.randn(4, 186)
    for network in (mlp, cnn):
        assert network(x).shape == (4, 7)
        network.eval()
        np.testing.assert_array_equal(network(x).detach().numpy(), network(x).detach().numpy())  # no noise
    noise = example.Noise(0.5)
    assert 0.4 < float((noise(x) - x).std()) < 0.6


def test_octahedral_and_fcc_as_one(example: ModuleType) -> None:
    names = ["sc", "fcc", "octahedral"]
    assert example.merged(np.array([0, 1, 2]), names).tolist() == [0, 1, 1]
