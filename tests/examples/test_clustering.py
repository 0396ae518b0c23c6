"""Principal components, purity, the autoencoder's bottleneck."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynn

pytest.importorskip("sklearn")

SCRIPT = Path(__file__).parents[2] / "examples" / "clustering.py"


def test_short_form(run_script: Callable[..., str]) -> None:
    assert "k-means of the autoencoder: purity" in run_script()


def test_principal_components_are_scikit_learns(example: ModuleType) -> None:
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).standard_normal((40, 6)) * [5, 3, 1, 1, 1, 1]
    points, error = example.principal_components(x)
    reference = PCA(2).fit(x)
    np.testing.assert_allclose(abs(points), abs(reference.transform(x)), rtol=1e-9)
    back = reference.inverse_transform(reference.transform(x))
    assert error == pytest.approx(np.mean((x - back) ** 2), rel=1e-9)


def test_purity(example: ModuleType) -> None:
    clusters, labels = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 2])
    assert example.purity(clusters, labels) == pytest.approx(5 / 6)
    assert example.purity(labels, labels) == 1.0


def test_a_linear_autoencoder_finds_the_plane_of_the_components(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((126, 5)) * [4, 3, 0.5, 0.5, 0.5]
    x -= x.mean(axis=0)
    tinynn.manual_seed(0)
    losses = example.train(*example.autoencoder(5, linear=True), x, 300, 1e-2)
    assert losses[-1] == pytest.approx(example.principal_components(x)[1], rel=2e-3)


def test_everything_passes_the_bottleneck(example: ModuleType) -> None:
    encoder, decoder = example.autoencoder(20, hidden=8)
    latent = encoder(tinynn.randn(3, 20))
    assert latent.shape == (3, 2)
    assert decoder(latent).shape == (3, 20)


def test_compiled_or_not_it_learns(example: ModuleType) -> None:
    x = np.random.default_rng(0).standard_normal((126, 10))
    for compiled in (False, True):
        tinynn.manual_seed(0)
        losses = example.train(*example.autoencoder(10, 16), x, 30, 1e-2, compiled)
        assert losses[-1] < 0.95 * losses[0]
