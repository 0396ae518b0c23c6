"""The CuPy backend: the same ops on the GPU.

Used as an array namespace, this module is CuPy plus the few functions that it keeps elsewhere. Elementwise ops run as
one CUDA kernel each, printed from the op's own formulas; everything else runs the op's formulas on CuPy arrays. CuPy is
imported when the first array is moved.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinynn.backends import convert, dispatch
from tinynn.backends.formulas import FUNCTIONS, formula_of
from tinynn.ops.base import Op

name = "cupy"


@functools.cache
def require() -> Any:
    """Import CuPy, find a device, and make CuPy arrays known to the engine.

    Raises
    ------
    ImportError
        If CuPy is not installed.
    RuntimeError
        If there is no CUDA device.
    """
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            "the cupy backend needs CuPy: pip install 'tinynn[cuda12]' or 'tinynn[cuda13]', to match the CUDA driver"
        ) from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"CuPy is installed, but finds no CUDA device: {error}") from error
    if not devices:
        raise RuntimeError("CuPy is installed, but there is no CUDA device")
    register(cupy.ndarray)
    return cupy


def register(array_type: type) -> None:
    """Enter the type of GPU arrays into the engine's tables."""
    import sys

    dispatch.NAMESPACES[array_type] = sys.modules[__name__]
    dispatch.PLAIN_TYPES.add(array_type)
    dispatch.FORWARD_KERNELS[array_type] = dict.fromkeys(FUNCTIONS, elementwise_forward)
    dispatch.GRADIENT_KERNELS[array_type] = dict.fromkeys(FUNCTIONS, elementwise_gradient)
    convert.ARRAYS = (np.ndarray, array_type)


def asarray(array: Any) -> Any:
    """A NumPy or CuPy array in the memory of the current device."""
    return require().asarray(array)


# ----------------------------------------------------------------------------------- what CuPy keeps elsewhere


def erf(x: Any) -> Any:
    """Error function."""
    from cupyx.scipy.special import erf as function

    return function(x)


def normal_cdf(x: Any) -> Any:
    """Distribution function of the standard normal distribution."""
    from cupyx.scipy.special import ndtr

    return ndtr(x)


def scatter_add(out: Any, index: Any, values: Any) -> None:
    """out[index] += values, where an index that comes twice counts twice."""
    import cupyx

    cupyx.scatter_add(out, index, values)


@functools.cache
def _philox() -> Any:
    from tinynn.kernels.philox import CUDA_SOURCE

    return require().RawKernel(CUDA_SOURCE, "philox_bits")


def random_bits(n: int, seed: int, offset: int) -> Any:
    """n words of 32 random bits of the Philox stream (seed, offset): the same as on the CPU."""
    cupy = require()
    out = cupy.empty(n, cupy.uint32)
    threads, blocks = 256, -(-n // 4)
    if n:
        _philox()((-(-blocks // threads),), (threads,), (out, np.uint64(n), np.uint64(seed), np.uint64(offset)))
    return out


def __getattr__(attribute: str) -> Any:
    try:
        cupy = require()
    except (ImportError, RuntimeError) as error:  # a tool looks at this module where there is no GPU
        raise AttributeError(f"{attribute}: {error}") from error
    value = getattr(cupy, attribute)
    globals()[attribute] = value  # the next look-up finds it without coming here
    return value


# -------------------------------------------------------------------------------------------- printed kernels


@functools.cache
def _printed(key: tuple[Any, ...], gradient: int | None) -> Any:
    """The CUDA kernel of an op's forward formula, or of the gradient by one input."""
    from tinynn.kernels.printer import cuda_source
    from tinynn.kernels.symbols import trace

    label, function, inputs, output, comment = formula_of(key, gradient)
    (result,) = trace(function, inputs)
    in_params, out_params, operation = cuda_source(label, inputs, [], {output: result}, comment)
    return require().ElementwiseKernel(in_params, out_params, operation, label)


def elementwise_forward(op: Op, x: Any) -> Any:
    """Forward kernel of a function of one array."""
    if x.dtype.kind != "f":
        return None
    return _printed(op.key(), None)(x)


def elementwise_gradient(op: Op, g: Any, saved: Mapping[str, Any], parents: Sequence[Any]) -> Any:
    """Gradient kernel of a function of one array."""
    rule = op.rules[0]
    assert rule is not None
    values = [saved[label] for label in rule[1]]
    if any(v.dtype != g.dtype for v in values):
        return None
    return (_printed(op.key(), 0)(g, *values),)
