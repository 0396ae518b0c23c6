"""Files that are cut off, altered or foreign raise a CheckpointError; they never give wrong numbers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.io import CheckpointError, load, save

STATE = {"weight": np.arange(12.0).reshape(3, 4), "bias": np.ones(3, np.float32), "epoch": 3, "name": "run"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "state.safetensors"
    save(path, STATE)
    return path.read_bytes()


def written(folder, content):
    path = folder / "copy.safetensors"
    path.write_bytes(content)
    return path


def test_a_file_cut_off_at_any_byte(whole, tmp_path):
    for length in range(len(whole)):
        path = written(tmp_path, whole[:length])
        with pytest.raises(CheckpointError, match=r"copy\.safetensors"):
            load(path)


@given(data=st.data())
def test_one_altered_byte_is_noticed_or_harmless(whole, tmp_path_factory, data):
    position = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(0, 255))
    content = bytearray(whole)
    content[position] = value
    path = written(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        state = load(path)
    except CheckpointError:
        return
    # Spaces that pad the header may be other white space.
    assert state.keys() == STATE.keys()
    assert all(np.array_equal(state[key], STATE[key]) for key in STATE)


def test_an_altered_weight_is_noticed(whole, tmp_path):
    content = bytearray(whole)
    content[-20] ^= 1
    with pytest.raises(CheckpointError, match="checksum"):
        load(written(tmp_path, bytes(content)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abc", "not a safetensors file"),
        (b"epoch,loss\n1,0.5\n", "not a safetensors file"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"PK\x03\x04" + bytes(100), "torch.save"),
        (bytes(1000), "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{]", "damaged"),
        ((10**6).to_bytes(8, "little") + b'{"a":', "cut off"),
    ],
    ids=["empty", "short", "text", "pickle", "zip", "zeros", "no JSON", "header cut off"],
)
def test_other_files(tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        load(written(tmp_path, content))


def test_a_file_cut_off_in_its_arrays_says_so(whole, tmp_path):
    with pytest.raises(CheckpointError, match=f"cut off: it has {len(whole) - 5} bytes"):
        load(written(tmp_path, whole[:-5]))


def test_a_file_with_something_behind_it_says_so(whole, tmp_path):
    with pytest.raises(CheckpointError, match="longer"):
        load(written(tmp_path, whole + b"more"))


def test_dtypes_that_numpy_lacks_are_named(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    with pytest.raises(CheckpointError, match="BF16"):
        load(written(tmp_path, content))
