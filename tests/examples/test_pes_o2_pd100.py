"""The main example runs, learns the surface well below the spread of the data, and leaves its files."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynn

EXAMPLES = Path(__file__).parents[2] / "examples"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


@pytest.fixture(scope="module")
def example():
    """Import the script as Python runs it: with its folder on the path."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        spec = importlib.util.spec_from_file_location("pes_o2_pd100", EXAMPLES / "pes_o2_pd100.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def quick_run(example, tmp_path_factory):
    out = tmp_path_factory.mktemp("pes")
    return example.main(["--quick", "--out", str(out)]), out


def test_it_learns(quick_run):
    errors, _ = quick_run
    with np.load(EXAMPLES / "data" / "o2_pd100.npz") as data:
        spread = 1e3 * data["energy"].std(), 1e3 * data["o_forces"].std()
    assert errors["energy"] < 0.3 * spread[0]
    assert errors["forces"] < 0.3 * spread[1]


def test_the_fit_has_the_symmetry_of_the_surface_and_forces_are_its_gradient(quick_run):
    errors, _ = quick_run
    assert errors["symmetry"] < 1e-10
    assert errors["gradient"] < 1e-4


def test_files(quick_run, example):
    _, out = quick_run
    for name in ("parity", "elbow", "learning_curve"):
        assert (out / f"pes_o2_pd100_{name}.png").stat().st_size > 20_000
    with np.load(EXAMPLES / "data" / "o2_pd100.npz") as data:
        model = example.Surface((data["cell"], data["pd_positions"]), (64, 64))
        o2, reference = data["o_positions"][:50], data["energy"][:50]
    model.load_state_dict(tinynn.load(out / "o2_pd100.safetensors"))
    energy, forces = model.predict(o2)
    assert forces.shape == (50, 2, 3)
    assert np.abs(energy - reference).mean() < 0.5 * reference.std()


def test_compiled_or_not_it_learns_the_same(example, tmp_path, capsys):
    errors = {}
    for kind in ("compile", "no-compile"):
        errors[kind] = example.main(["--epochs", "2", f"--{kind}", "--out", str(tmp_path / kind)])
    printed = capsys.readouterr().out
    assert "312 compiled steps (2 epochs)" in printed
    assert "312 eager steps (2 epochs)" in printed
    assert "steps per second" in printed
    for name in ("energy", "forces"):
        assert errors["compile"][name] == pytest.approx(errors["no-compile"][name], rel=1e-5)
    states = [tinynn.load(tmp_path / kind / "o2_pd100.safetensors") for kind in errors]
    for key, value in states[0].items():
        np.testing.assert_allclose(value.numpy(), states[1][key].numpy(), rtol=1e-5, atol=1e-7)


def test_42_functions_as_described(example):
    functions = example.oxygen_environment().functions
    kinds = [(type(f).__name__, f.neighbor if hasattr(f, "neighbor") else f.neighbors) for f in functions]
    assert kinds.count(("G2", "Pd")) == 10
    assert kinds.count(("G2", "O")) == 8
    assert kinds.count(("G5", ("Pd", "Pd"))) == 12
    assert kinds.count(("G5", ("O", "Pd"))) == 12
    assert len(functions) == 42


def test_bad_time_is_refused(example, capsys):
    with pytest.raises(SystemExit):
        example.main(["--seconds", "0"])
    assert "--seconds and --epochs must be positive" in capsys.readouterr().err
