"""The code that the README shows runs, and does what it says."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tinynn import nn

README = Path(__file__).parents[1] / "README.md"


def test_the_dozen_lines_train_a_network():
    code, compiled, _ = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "__main__"}
    exec(code, names)
    assert names["loss"].item() < 0.01
    assert names["force"].shape == names["r"].shape
    for p in names["model"].parameters():  # train anew, as one program
        p.assign_(p * 0.9)
    before = nn.functional.mse_loss(names["model"](names["r"]), names["energy"]).item()
    exec(compiled, names)
    assert names["loss"].item() < 0.1 * before
    assert "compiled by" in names["step"].explain()


def test_the_lines_from_a_data_file_to_dynamics(tmp_path, monkeypatch):
    ase = pytest.importorskip("ase", reason="ASE is not installed (pip install 'tinynn[potentials]')")
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    with np.load(README.parent / "examples" / "data" / "malonaldehyde.npz") as data:
        frames = [ase.Atoms(data["numbers"], x) for x in data["positions"][:60]]
        for atoms, energy, forces in zip(frames, data["energy"], data["forces"]):
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    write(tmp_path / "molecules.extxyz", frames)
    monkeypatch.chdir(tmp_path)
    *_, code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "__main__"}
    exec(code.replace("seconds=60", "epochs=40, progress=False"), names)
    assert abs(names["atoms"].get_potential_energy() - frames[0].get_potential_energy()) < 1.0
    assert (tmp_path / "molecules.safetensors").exists()


def test_the_table_of_compiled_steps_is_that_of_the_measurements():
    spec = importlib.util.spec_from_file_location("speed_table", README.parent / "docs" / "speed_table.py")
    speed_table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(speed_table)
    made_up = {"title": "a step", "seconds": {"torch": [3e-4], "tinynn-compiled": [3e-6, 2.5e-6, 3e-6]}, "void": []}
    assert speed_table.table({"results": [made_up]}).endswith("| a step | 3.00 µs | – | 300 µs | – | – | 100 |\n")
    if not speed_table.RESULTS.exists():
        pytest.skip("benchmarks/results/compiled_steps.json is not there: python benchmarks/compiled_steps.py")
    record = json.loads(speed_table.RESULTS.read_text("utf-8"))
    readme = README.read_text("utf-8")
    assert speed_table.with_table(readme, record) == readme, "write it anew: python docs/speed_table.py"


def test_files_that_the_readme_names_exist():
    for path in re.findall(r"\]\(((?:docs|examples)/[^)]*)\)|`((?:examples|docs)/[\w./]+)`", README.read_text("utf-8")):
        assert (README.parent / (path[0] or path[1])).exists()
