"""Save and load nested states in the safetensors format; no pickle anywhere.

A checkpoint is an ordinary safetensors file. Its arrays are named by their place, ``model.0.weight``, so that
any reader of the format finds them; its metadata hold, as JSON,

* ``tinynn.tree``: the nesting (dicts, lists, tuples), the plain values, and at each array's place its name;
* ``tinynn.crc32``: a checksum over that text and all arrays, which the format itself doesn't have.

Loading runs no code from the file: the worst that a forged file can do is to hold wrong numbers.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from tinynn.tensor import Tensor

TREE, CRC = "tinynn.tree", "tinynn.crc32"
DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)


class CheckpointError(ValueError):
    """A file is no checkpoint, or a damaged one; the message names the file and says what is wrong."""


def save(path: str | os.PathLike[str], state: Any) -> None:
    """Write a nested state to a safetensors file.

    The file appears complete or not at all: it is written under a temporary name in the same folder, forced
    to the disk and renamed, so that an interrupted run leaves the previous checkpoint as it was.

    Parameters
    ----------
    path : str or path-like
        Where to write; usually ends in ``.safetensors``. An existing file is replaced.
    state : nested dicts, lists and tuples
        of Tensors, NumPy arrays and scalars, and Python numbers, strings, bools and None. Dict keys are
        strings or integers. ``state_dict()`` of modules and optimizers is of this kind. The two arguments may
        also come in PyTorch's order, ``save(state, path)``.

    Raises
    ------
    TypeError
        Something else in `state`; the message says where. Nothing has been written then.
    ValueError
        A dict or list that contains itself.
    FileNotFoundError, IsADirectoryError
        The folder doesn't exist, or `path` is one.

    Notes
    -----
    Values, dtypes, nesting and key order come back exactly. A Tensor comes back as a Tensor without gradient
    or graph, a dict subclass as a dict, an array on the GPU on the CPU. An array that appears in several
    places is stored once, and is one object again after loading.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> folder = tempfile.mkdtemp()
    >>> path = os.path.join(folder, "run.safetensors")
    >>> save(path, {"model": {"0.weight": np.ones((2, 3))}, "epoch": 7, "losses": [0.5, 0.25]})
    >>> state = load(path)
    >>> state["model"]["0.weight"].shape, state["epoch"], state["losses"]
    ((2, 3), 7, [0.5, 0.25])
    """
    if isinstance(state, str | os.PathLike) and not isinstance(path, str | os.PathLike):
        path, state = state, path
    target = _checked_target(path)
    encoder = _Encoder()
    tree = json.dumps(encoder.encode(state, "state", ()), separators=(",", ":"))
    arrays = encoder.arrays
    _write(target, arrays, {TREE: tree, CRC: f"{_checksum(tree, arrays):08x}"})


def load(path: str | os.PathLike[str]) -> Any:
    """Read what :func:`save` has written.

    Parameters
    ----------
    path : str or path-like
        A checkpoint, or any safetensors file of NumPy's dtypes: without the structure of a checkpoint, it
        comes back as a flat dict of Tensors. So weights written by ``safetensors.torch.save_file`` can be
        read.

    Returns
    -------
    The state, with Tensors and arrays in CPU memory.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        The file is empty, cut off, damaged or of another format. It is a ValueError.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "notes.txt"
    >>> _ = path.write_text("not a checkpoint")
    >>> load(path)
    Traceback (most recent call last):
    ...
    tinynn.io.checkpoint.CheckpointError: ...notes.txt' is not a safetensors file...
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"cannot load {name!r}: there is no such file (working directory: {os.getcwd()})")
    if os.path.isdir(name):
        raise IsADirectoryError(f"cannot load {name!r}: it is a folder; name the file in it")
    arrays, metadata = _read(name)
    if TREE not in metadata and CRC not in metadata:
        return {key: Tensor(array) for key, array in arrays.items()}
    tree = metadata.get(TREE, "")
    if metadata.get(CRC) != f"{_checksum(tree, arrays):08x}":
        raise CheckpointError(f"{name!r} is damaged: its contents do not match its checksum; use an earlier copy")
    return _Decoder(arrays).decode(json.loads(tree))


# ------------------------------------------------------------------------------------------------- structure


class _Encoder:
    """Turns a state into JSON, and collects its arrays.

    A plain value stands for itself; everything else is a list whose first entry says what follows:
    ``["dict", [[key, value], ...]]``, ``["list", [...]]``, ``["tuple", [...]]``, ``["tensor", name]``,
    ``["array", name]``, ``["scalar", name]``.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._name_of: dict[tuple[Any, ...], str] = {}
        # A key holds an address, which is a name only as long as the memory belongs to that array.
        self._alive: list[np.ndarray] = []

    def encode(self, value: Any, place: str, path: tuple[str, ...], outside: tuple[int, ...] = ()) -> Any:
        if isinstance(value, Tensor):
            return ["tensor", self._store(value.detach().numpy(), place, path)]
        if isinstance(value, np.ndarray):
            return ["array", self._store(value, place, path)]
        if isinstance(value, np.generic):
            return ["scalar", self._store(np.asarray(value), place, path)]
        if type(value) in (type(None), bool, int, float, str):
            return value
        if not isinstance(value, dict | list) and type(value) is not tuple:
            raise TypeError(_unsupported(value, place))
        if id(value) in outside:
            raise ValueError(f"save: {place} contains itself")
        outside = (*outside, id(value))
        if not isinstance(value, dict):
            entries = [self.encode(v, f"{place}[{i}]", (*path, str(i)), outside) for i, v in enumerate(value)]
            return ["tuple" if isinstance(value, tuple) else "list", entries]
        pairs = []
        for key, entry in value.items():
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise TypeError(f"save: the key {key!r} in {place} is a {type(key).__name__}; use strings or integers")
            pairs.append([key, self.encode(entry, f"{place}[{key!r}]", (*path, str(key)), outside)])
        return ["dict", pairs]

    def _store(self, array: np.ndarray, place: str, path: tuple[str, ...]) -> str:
        if array.dtype.name not in DTYPES:
            raise TypeError(
                f"save: {place} is an array of dtype {array.dtype}; the format holds booleans, integers and "
                "real floats up to 64 bits; store a complex array as its real and imaginary part, and text "
                "as a list of strings"
            )
        memory = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        if memory not in self._name_of:
            name = base = ".".join(path).encode("utf-8", "replace").decode() or "value"
            number = 1
            # {"a": {"b": x}, "a.b": y}: the names would be equal. "__metadata__" is a word of the format
            # itself.
            while name in self.arrays or name == "__metadata__":
                number += 1
                name = f"{base}#{number}"
            self._alive.append(array)
            self.arrays[name] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
            self._name_of[memory] = name
        return self._name_of[memory]


class _Decoder:
    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.tensors: dict[str, Tensor] = {}

    def decode(self, node: Any) -> Any:
        if not isinstance(node, list):
            return node
        kind, content = node
        match kind:
            case "dict":
                return {key: self.decode(value) for key, value in content}
            case "list":
                return [self.decode(value) for value in content]
            case "tuple":
                return tuple(self.decode(value) for value in content)
            case "tensor":
                if content not in self.tensors:
                    self.tensors[content] = Tensor(self.arrays[content])
                return self.tensors[content]
            case "array":
                return self.arrays[content]
            case "scalar":
                return self.arrays[content][()]
        raise CheckpointError(
            f"the checkpoint holds an entry of kind {kind!r}; it was written by a newer version of tinynn"
        )


def _unsupported(value: Any, place: str) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    way_out = "save its state_dict()" if hasattr(value, "state_dict") else "turn it into these first"
    return (
        f"save: {place} is a {name}; a checkpoint holds dicts, lists and tuples of Tensors, arrays, numbers, "
        f"strings, bools and None: {way_out}"
    )


def _checksum(tree: str, arrays: Mapping[str, np.ndarray]) -> int:
    crc = zlib.crc32(tree.encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return crc


# ------------------------------------------------------------------------------------------------------ files


def _checked_target(path: Any) -> str:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"save: path must be a string or path-like, got {type(path).__name__}; call save(path, state)")
    name = os.fspath(path)
    # Through a symbolic link, so that it stays one and points to the new contents.
    target = os.path.realpath(name)
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(f"cannot save to {name!r}: it is a folder; name a file in it")
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"cannot save to {name!r}: the folder {folder!r} does not exist; create it with "
            "os.makedirs(folder, exist_ok=True)"
        )
    return target


def _write(target: str, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    from safetensors.numpy import save_file

    temporary = f"{target}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        save_file(arrays, temporary, metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, os.stat(target).st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(temporary)
        raise
    _sync_folder(os.path.dirname(target))


def _sync_folder(folder: str) -> None:
    """Force the renaming itself to the disk, where folders can be opened (not on Windows)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{name!r} {_diagnosis(name)} ({error})") from None
    return arrays, metadata


def _diagnosis(name: str) -> str:
    """Say in words what is wrong with a file that could not be read."""
    size = os.path.getsize(name)
    with open(name, "rb") as file:
        start = file.read(1 << 20)
    if size == 0:
        return "is empty: nothing was ever written, or the disk was full"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            "is not a safetensors file: it looks like a pickle or a zip archive (torch.save, numpy.savez), "
            "which tinynn does not load; convert it with safetensors.torch.save_file or "
            "safetensors.numpy.save_file"
        )
    header = int.from_bytes(start[:8], "little")
    if size < 8 or start[8:9] not in (b"{", b""):
        return "is not a safetensors file"
    if 8 + header > size:
        return f"is cut off: it has {size} bytes, its header alone should have {header}"
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        with open(name, "rb") as file:
            file.seek(8)
            entries = json.loads(file.read(header))
        end = max(entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__")
        if 8 + header + end != size:
            longer = "longer" if size > 8 + header + end else "cut off"
            return f"is {longer}: it has {size} bytes where its header announces {8 + header + end}"
        dtypes = {entry["dtype"] for key, entry in entries.items() if key != "__metadata__"}
        return f"cannot be read as NumPy arrays; its dtypes are {sorted(dtypes)}"
    return "is damaged: its header cannot be read"
