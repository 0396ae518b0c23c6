"""Which backend computes: `use`, the environment variable TINYNN_BACKEND, and the default.

``numpy``: the reference; every line can be stepped through. ``numba``: large arrays go through compiled kernels.
``cupy``: new tensors are made on the GPU. The choice holds for the whole process.
"""

from __future__ import annotations

import importlib.util
import os
from types import TracebackType

import numpy as np

from tinynn.backends import convert, dispatch
from tinynn.backends.memory import keep_freed_memory
from tinynn.changes import changes

BACKENDS = ("numpy", "numba", "cupy")
_active = "numpy"


def backend() -> str:
    """The name of the backend in use.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.backend() in ("numpy", "numba", "cupy")
    True
    """
    return _active


class use:
    """Choose the backend, for good or (in a ``with`` statement) for a block.

    Parameters
    ----------
    name : ``"numpy"``, ``"numba"`` or ``"cupy"``

    Raises
    ------
    ValueError
        If there is no backend of that name.
    ImportError
        If its package is not installed; the message names the extra to install.

    Examples
    --------
    >>> import tinynn
    >>> with tinynn.use("numpy"):
    ...     tinynn.backend()
    'numpy'
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"use({name!r}): the backends are {', '.join(BACKENDS)}")
        if name == "numba" and importlib.util.find_spec("numba") is None:
            raise ImportError("the numba backend needs Numba: pip install numba")
        self._before = _active
        _activate(name)

    def __enter__(self) -> str:
        return _active

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _activate(self._before)


def _activate(name: str) -> None:
    global _active
    if name == "cupy":
        from tinynn.backends import cupy_backend

        cupy_backend.require()
    if name == "numpy":
        dispatch.FORWARD_KERNELS[np.ndarray] = {}
        dispatch.GRADIENT_KERNELS[np.ndarray] = {}
    else:
        from tinynn.backends import numba_backend

        dispatch.FORWARD_KERNELS[np.ndarray] = numba_backend.FORWARD
        dispatch.GRADIENT_KERNELS[np.ndarray] = numba_backend.GRADIENT
    convert.default_device = "cuda" if name == "cupy" else "cpu"
    if name != _active:
        changes.bump()
    _active = name


def activate_default() -> None:
    """Take TINYNN_BACKEND, or numba. Whether Numba is there is found out when its first kernel is asked for."""
    name = os.environ.get("TINYNN_BACKEND", "numba")
    if name not in BACKENDS:
        raise ValueError(f"the environment variable TINYNN_BACKEND is {name!r}; the backends are {', '.join(BACKENDS)}")
    keep_freed_memory()
    _activate(name)


def numba_missing() -> None:
    """Fall back to the reference backend for good, and say so once."""
    dispatch.warn_once(
        "Numba is not installed: large arrays are computed by NumPy, which is slower. pip install numba, or silence "
        "this with tinynn.use('numpy').",
        UserWarning,
    )
    _activate("numpy")
