"""Potentials as files: everything comes back in another process, and files that are no potentials say why."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

import tinynn
from tests.potentials.models import O2_ON_PD, WATER, functions, on_the_slab, scaled_potential, shaken
from tinynn.io.checkpoint import CheckpointError
from tinynn.potentials import G2, AtomicNetwork, Cosine, MolecularNetwork, Polynomial, Potential, SymmetryFunctions


@pytest.fixture
def saved(tmp_path):
    potential, path = scaled_potential(), tmp_path / "o2.safetensors"
    potential.tolerance = 0.3
    potential.save(path)
    return potential, path


def test_it_comes_back(saved):
    potential, path = saved
    back = Potential.load(path)
    assert type(back) is AtomicNetwork
    assert back.systems == potential.systems == (O2_ON_PD,)
    assert back.descriptors == potential.descriptors
    assert back.tolerance == 0.3
    assert repr(back) == repr(potential)
    for name, value in potential.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[name], value)
    x = on_the_slab(30, seed=9)
    one, other = (p.predict(x, warn=False) for p in (potential, back))
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a, b)


def test_in_a_fresh_process(saved, tmp_path):
    potential, path = saved
    x = on_the_slab(5, seed=9)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy as np\n"
        "from tinynn.potentials import Potential\n"
        "found = Potential.load(sys.argv[1]).predict(np.load(sys.argv[2]), warn=False)\n"
        "np.save(sys.argv[3], np.concatenate([found.energy, found.forces.ravel(), found.outside]))\n"
    )
    files = [str(path), str(tmp_path / "x.npy"), str(tmp_path / "out.npy")]
    subprocess.run([sys.executable, "-c", code, *files], check=True, timeout=300)
    found = potential.predict(x, warn=False)
    expected = np.concatenate([found.energy, found.forces.ravel(), found.outside])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-12)


@pytest.mark.parametrize("cutoff", [Cosine(), Polynomial(gamma=3.0)])
def test_descriptors_for_each_element_and_cutoff_functions(tmp_path, cutoff):
    given = {
        "O": SymmetryFunctions([G2("H", eta=1.0, shift=0.5, cutoff=4.0)], cutoff),
        "H": functions("H", "O"),
    }
    potential = AtomicNetwork(given, ["O", "H"], (4,), "Tanh", environment=["C"])
    potential.save(tmp_path / "p.safetensors")
    back = AtomicNetwork.load(tmp_path / "p.safetensors")
    assert back.descriptors == given
    assert back.environment == ("C",)
    assert back.activation == "Tanh"
    x = shaken(WATER, 2)
    np.testing.assert_array_equal(back.predict(x, WATER).forces, potential.predict(x, WATER).forces)


def test_a_shared_descriptor_is_written_once(saved, tmp_path):
    potential = AtomicNetwork(functions("H", "O"), ["H", "O"])
    potential.save(tmp_path / "p.safetensors")
    document = tinynn.load(tmp_path / "p.safetensors")
    assert document["descriptor"]["class"] == "SymmetryFunctions"
    assert AtomicNetwork.load(tmp_path / "p.safetensors").one_descriptor


def test_the_file_says_in_plain_text_what_it_is(saved):
    _, path = saved
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    tree = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["tinynn.tree"])
    found = dict(tree[1])
    assert found["format"] == "tinynn potential"
    assert found["version"] == 1
    assert dict(found["units"][1]) == {"length": "Å", "energy": "eV", "forces": "eV/Å"}
    assert dict(found["settings"][1])["hidden"] == ["list", [8, 8]]


def test_other_files_say_why(saved, tmp_path):
    _, path = saved
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Potential.load(tmp_path / "nowhere.safetensors")
    text = tmp_path / "notes.txt"
    text.write_text("not a potential")
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        Potential.load(text)
    weights = tmp_path / "weights.safetensors"
    tinynn.save(weights, {"weight": np.zeros(3)})
    with pytest.raises(CheckpointError, match=r"holds no potential: its keys are \['weight'\]"):
        Potential.load(weights)
    tinynn.save(weights, [1, 2])
    with pytest.raises(CheckpointError, match="holds no potential: it is a list"):
        Potential.load(weights)
    with pytest.raises(TypeError, match=r"holds a AtomicNetwork, not a MolecularNetwork"):
        MolecularNetwork.load(path)


def test_damaged_files(saved, tmp_path):
    _, path = saved
    raw = path.read_bytes()
    for size in (0, 7, 100, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(CheckpointError):
            Potential.load(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(8, len(raw), 60):
        changed = bytearray(raw)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            Potential.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"version 2 of the format; this tinynn .* reads versions up to 1"),
        ({"version": None}, "is not complete, or was changed: its version"),
        ({"class": "Transformer"}, "a 'Transformer', which this version of tinynn does not know"),
        ({"units": {"length": "bohr"}}, "its units are"),
        ({"descriptor": {"class": "SOAP"}}, "its descriptor is a 'SOAP'"),
        ({"descriptor": {"class": "fit"}}, "its descriptor is a 'fit'"),
        ({"settings": {"elements": ["O"], "hidden": [9, 9]}}, "is not complete, or was changed"),
        ({"settings": {"elements": ["O"], "colour": "red"}}, "is not complete, or was changed"),
        ({"systems": [{"numbers": [8]}]}, "is not complete, or was changed"),
        ({"state": {}}, "is not complete, or was changed"),
    ],
)
def test_files_that_were_written_by_something_else(saved, change, message):
    _, path = saved
    tinynn.save(path, {**tinynn.load(path), **change})
    with pytest.raises(CheckpointError, match=message):
        Potential.load(path)


def test_a_failed_save_leaves_the_file_that_was_there(saved, monkeypatch):
    potential, path = saved
    before = path.read_bytes()

    class Own(AtomicNetwork):
        pass

    with pytest.raises(TypeError, match=r"cannot save a Own: .*tinynn\.save"):
        Own(functions("O", "Pd"), ["O"]).save(path)

    class Strange:
        def __len__(self):
            return 3

    with pytest.raises(TypeError, match=r"cannot save a potential with a Strange: .*settings\(\)"):
        AtomicNetwork(Strange(), ["O"]).save(path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        potential.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
