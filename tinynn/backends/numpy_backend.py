"""The reference backend: NumPy's own functions, plus the few that NumPy lacks.

A module used as an array namespace: ``numpy_backend.tanh`` is ``numpy.tanh``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

name = "numpy"


def erf(x: Any) -> Any:
    """Error function, by SciPy."""
    return _from_scipy("erf", "erf")(x)


def normal_cdf(x: Any) -> Any:
    """Distribution function of the standard normal distribution, by SciPy."""
    return _from_scipy("normal_cdf", "ndtr")(x)


def _from_scipy(own_name: str, scipy_name: str) -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise ImportError(f"{own_name} (and with it GELU) needs SciPy: pip install scipy") from error
    function = globals()[own_name] = getattr(special, scipy_name)  # the next call goes straight to SciPy
    return function


def scatter_add(out: Any, index: Any, values: Any) -> None:
    """out[index] += values, where an index that comes twice counts twice."""
    np.add.at(out, index, values)


def random_bits(n: int, seed: int, offset: int) -> Any:
    """n words of 32 random bits of the Philox stream (seed, offset)."""
    from tinynn.kernels import philox

    return philox.random_bits(n, seed, offset)


def __getattr__(attribute: str) -> Any:
    value = getattr(np, attribute)
    globals()[attribute] = value  # the next look-up finds it without coming here
    return value
