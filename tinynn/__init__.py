"""tinynn: neural networks from scratch on NumPy, with a reverse-mode autodiff core to read and step through."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinynn.creation import arange, eye, full, linspace, ones, ones_like, tensor, zeros, zeros_like
from tinynn.dtypes import float32, float64, get_default_dtype, int64, set_default_dtype
from tinynn.func import gradients as grad
from tinynn.functional import log_softmax, logsumexp, prod, softmax, std, var
from tinynn.graph import ForgottenZeroGradWarning, GraphError
from tinynn.modes import enable_grad, is_grad_enabled, no_grad
from tinynn.ops import convolution as _convolution
from tinynn.ops import neural as _neural
from tinynn.ops.activations import elu, gelu, leaky_relu, relu, selu, silu, softplus
from tinynn.ops.arithmetic import add, divide, floor_divide, multiply, negative, power, remainder, subtract
from tinynn.ops.comparison import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
)
from tinynn.ops.elementwise import (
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    normal_cdf,
    sigmoid,
    sin,
    sqrt,
    square,
    tanh,
)
from tinynn.ops.indexing import one_hot, scatter_add, take, take_along_axis
from tinynn.ops.joining import concatenate, flip, pad, repeat, roll, split, stack, tile
from tinynn.ops.linalg import dot, einsum, linear, matmul, norm, outer
from tinynn.ops.piecewise import abs, clip, floor, maximum, minimum, sign, stop_gradient, where
from tinynn.ops.reduce import all, any, argmax, argmin, cumsum, max, mean, min, sum
from tinynn.ops.shape import broadcast_to, expand_dims, moveaxis, ravel, reshape, squeeze, swapaxes, transpose
from tinynn.ops.windows import windows
from tinynn.random import Generator, manual_seed, rand, randint, randn, randperm
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn import data, debug, func, nn, optim
    from tinynn.backends.select import backend, use
    from tinynn.compiler.step import compile
    from tinynn.io import load, save

__version__ = "0.1.0"

# Found when first used, so that `import tinynn` costs little more than `import numpy`.
_ROOMS = {"nn", "optim", "data", "debug", "func", "io", "compiler", "potentials", "sklearn", "distributed"}
_LATER = {
    "save": "tinynn.io",
    "load": "tinynn.io",
    "use": "tinynn.backends.select",
    "backend": "tinynn.backends.select",
    "compile": "tinynn.compiler.step",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"tinynn.{name}")
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(
        f"module 'tinynn' has no attribute {name!r}; array functions have NumPy's names (docs/from_pytorch.md)"
    )


__all__ = [
    "ForgottenZeroGradWarning", "Generator", "GraphError", "Tensor", "abs", "add", "all", "any", "arange",
    "argmax", "argmin", "backend", "broadcast_to", "clip", "compile", "concatenate", "cos", "cumsum", "data", "debug",
    "divide", "dot", "einsum", "elu", "enable_grad", "equal", "erf", "exp", "expand_dims", "expm1", "eye",
    "flip", "float32", "float64", "floor", "floor_divide", "full", "func", "gelu", "get_default_dtype", "grad",
    "greater", "greater_equal", "int64", "is_grad_enabled", "leaky_relu", "less", "less_equal", "linear",
    "linspace", "load", "log", "log1p", "log_softmax", "logical_and", "logical_not", "logical_or", "logsumexp",
    "manual_seed", "matmul", "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply", "negative",
    "nn", "no_grad", "norm", "normal_cdf", "not_equal", "one_hot", "ones", "ones_like", "optim", "outer", "pad",
    "power", "prod", "rand", "randint", "randn", "randperm", "ravel", "relu", "remainder", "repeat", "reshape",
    "roll", "save", "scatter_add", "selu", "set_default_dtype", "sigmoid", "sign", "silu", "sin", "softmax",
    "softplus", "split", "sqrt", "square", "squeeze", "stack", "std", "stop_gradient", "subtract", "sum",
    "swapaxes", "take", "take_along_axis", "tanh", "tensor", "tile", "transpose", "use", "var", "where",
    "windows", "zeros", "zeros_like",
]  # fmt: skip

from tinynn.backends.select import activate_default as _activate_default  # noqa: E402

_activate_default()
