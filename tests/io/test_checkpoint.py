"""tinynn.save and tinynn.load: what goes in comes out; what cannot go in is refused before any writing."""

from __future__ import annotations

import collections
import math
import os
import stat
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynn
from tinynn.io import CheckpointError, load, save
from tinynn.tensor import Tensor


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def assert_same(a, b):
    """Equal in type, structure, dtype, shape and every bit."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b):
            assert_same(left, right)
    elif isinstance(a, Tensor):
        assert_same(a.numpy(), b.numpy())
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, float) and math.isnan(a):
        assert math.isnan(b)
    else:
        assert a == b


ARRAYS = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    for dtype in (np.bool_, np.int8, np.int64, np.uint16, np.float16, np.float32, np.float64)
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    ARRAYS,
    ARRAYS.map(Tensor),
    ARRAYS.filter(lambda a: a.size == 1).map(lambda a: a.reshape(-1)[0]),
)
KEYS = st.one_of(st.text(max_size=6), st.integers(-5, 5), st.sampled_from(["a", "b", "a.b", "__metadata__", "a.b#2"]))
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


@given(state=STATES)
def test_every_state_comes_back_as_it_was(tmp_path_factory, state):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save(path, state)
    assert_same(load(path), state)


def test_the_state_of_a_run(path):
    state = {
        "model": {"0.weight": tinynn.tensor([[1.0, 2.0]]), "0.bias": tinynn.tensor([0.5])},
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": np.zeros(2)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}],
        },
        "best": None,
        "done": False,
        "note": "π",
    }
    save(path, state)
    assert_same(load(path), state)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12.0)[::-2],
        np.broadcast_to(np.float32(2.5), (3, 2)),
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.arange(6.0).astype(">f8"),
    ],
    ids=["transposed", "backwards", "broadcast", "Fortran", "big-endian"],
)
def test_memory_layout_does_not_matter(path, array):
    save(path, [array])
    (again,) = load(path)
    assert again.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(again, array)


def test_special_floats_and_big_integers(path):
    state = [math.inf, -math.inf, math.nan, -0.0, 5e-324, 2**200, 0.1]
    save(path, state)
    again = load(path)
    assert_same(again, state)
    assert math.copysign(1.0, again[3]) == -1.0


def test_a_shared_array_is_stored_once_and_shared_again(path):
    weight = Tensor(np.random.default_rng(0).normal(size=(100, 100)))
    save(path, {"encoder": weight, "decoder": weight, "view": weight.numpy()})
    assert os.path.getsize(path) < 1.1 * weight.numpy().nbytes
    again = load(path)
    assert again["encoder"] is again["decoder"]
    assert np.shares_memory(again["encoder"].array, again["view"])


def test_equal_arrays_in_different_places_stay_apart(path):
    save(path, [np.zeros(3), np.zeros(3)])
    a, b = load(path)
    assert not np.shares_memory(a, b)


def test_temporary_copies_are_not_mistaken_for_one_array(path):
    # Each gradient-free copy may be made at the address of the one before it.
    state = [Tensor(np.full(4, float(i))) for i in range(50)]
    save(path, state)
    assert [t.tolist()[0] for t in load(path)] == list(range(50))


def test_gradients_and_graphs_stay_behind(path):
    w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    save(path, {"w": w, "product": w * 3.0})
    again = load(path)
    assert not again["w"].requires_grad
    assert again["product"].tolist() == [3.0, 6.0]


def test_a_loaded_tensor_can_be_trained(path):
    save(path, {"w": tinynn.tensor([1.0, 2.0])})
    w = load(path)["w"].requires_grad_()
    (w * w).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_an_ordered_dict_comes_back_as_a_dict_in_order(path):
    save(path, collections.OrderedDict([("b", 1), ("a", 2)]))
    assert list(load(path).items()) == [("b", 1), ("a", 2)]


def test_the_arrays_have_readable_names_for_other_readers(path):
    from safetensors.numpy import load_file

    save(path, {"model": {"0.weight": np.ones(2)}, "history": [np.zeros(1)]})
    assert sorted(load_file(path)) == ["history.0", "model.0.weight"]


def test_a_safetensors_file_of_others_is_a_flat_dict(path):
    from safetensors.numpy import save_file

    save_file({"fc.weight": np.eye(2, dtype=np.float32)}, path, {"format": "pt"})
    state = load(path)
    assert isinstance(state["fc.weight"], Tensor)
    assert state["fc.weight"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_both_orders_of_arguments(path):
    save({"epoch": 1}, path)
    assert load(str(path)) == {"epoch": 1}
    with pytest.raises(TypeError, match=r"save\(path, state\)"):
        save({"epoch": 1}, {"epoch": 2})


class Custom:
    pass


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"a": [0, {"b": Custom()}]}, TypeError, r"state\['a'\]\[1\]\['b'\] is a .*Custom"),
        ({"f": len}, TypeError, r"state\['f'\] is a builtin_function"),
        ({"s": {1, 2}}, TypeError, r"state\['s'\] is a set"),
        ({"z": np.array([1j])}, TypeError, "complex128"),
        ({"o": np.array([None])}, TypeError, "object"),
        ({"t": np.array(["a"])}, TypeError, "list of strings"),
        ({"d": np.datetime64("2026-01-01")}, TypeError, "datetime64"),
        ({1.5: 0}, TypeError, "key 1.5"),
        ({None: 0}, TypeError, "key None"),
        ({True: 0}, TypeError, "key True"),
        ({"x": b"bytes"}, TypeError, "bytes"),
        (collections.namedtuple("Point", "x")(1), TypeError, "Point"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, state, error, message):
    path = tmp_path / "state.safetensors"
    save(path, "before")
    with pytest.raises(error, match=message):
        save(path, state)
    assert load(path) == "before"
    assert os.listdir(tmp_path) == ["state.safetensors"]


def test_a_module_is_told_to_give_its_state_dict(path):
    class Model:
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match="state_dict"):
        save(path, {"model": Model()})


def test_a_dict_within_itself(path):
    state = {"name": "loop"}
    state["again"] = [state]
    with pytest.raises(ValueError, match=r"state\['again'\]\[0\] contains itself"):
        save(path, state)


def test_the_same_dict_twice_is_no_loop(path):
    inner = {"lr": 0.1}
    save(path, [inner, inner])
    assert load(path) == [{"lr": 0.1}, {"lr": 0.1}]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="makedirs"):
        save(tmp_path / "runs" / "a.safetensors", {})
    assert os.listdir(tmp_path) == []


def test_folders_are_no_files(tmp_path):
    with pytest.raises(IsADirectoryError):
        save(tmp_path, {})
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load(tmp_path / "nothing.safetensors")


def test_an_interrupted_write_leaves_the_old_file_and_no_other(path, monkeypatch):
    save(path, {"epoch": 1})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        save(path, {"epoch": 2})
    monkeypatch.undo()
    assert load(path) == {"epoch": 1}
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions and links")
def test_permissions_and_links_are_kept(tmp_path):
    real, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    save(real, 1)
    real.chmod(0o640)
    link.symlink_to(real)
    save(link, 2)
    assert link.is_symlink()
    assert load(real) == 2
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_the_error_is_a_value_error():
    assert issubclass(CheckpointError, ValueError)
