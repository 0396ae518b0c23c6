"""The main example runs, learns the surface well below the spread of the data, and leaves its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinynn.potentials import Potential

SCRIPT = Path(__file__).parents[2] / "examples" / "pes_o2_pd100.py"
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_it_learns_and_leaves_its_files(run_script, tmp_path):
    printed = run_script()
    assert "compiled steps" in printed
    assert "per second" in printed
    names = {p.name for p in (tmp_path / "pictures").iterdir()}
    assert {f"pes_o2_pd100_{part}.png" for part in ("parity", "elbow", "learning_curve", "committee")} < names
    with np.load(SCRIPT.parent / "data" / "o2_pd100.npz") as data:
        o2, reference = data["o_positions"][:50], data["energy"][:50]
    potential = Potential.load(tmp_path / "pictures" / "o2_pd100.safetensors")
    found = potential.predict(o2, warn=False)
    assert found.forces.shape == (50, 2, 3)
    assert np.abs(found.energy - reference).mean() < 0.2 * reference.std()


def test_compiled_or_not_it_learns_the_same(example, tmp_path, capsys):
    errors, states = {}, []
    for kind in ("compile", "no-compile"):
        out = tmp_path / kind
        options = ["--quick", "--epochs", "2", "--members", "0", "--dtype", "float64", f"--{kind}", "--out", str(out)]
        example.main(options)
        numbers = json.loads((out / "pes_o2_pd100.json").read_text())["numbers"]
        errors[kind] = {n["what"]: n["value"] for n in numbers if "RMSE" in n["what"]}
        states.append(Potential.load(out / "o2_pd100.safetensors").state_dict())
    printed = capsys.readouterr().out
    assert "336 compiled steps" in printed
    assert "336 eager steps" in printed
    for name, value in errors["compile"].items():
        assert value == pytest.approx(errors["no-compile"][name], rel=1e-5)
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
