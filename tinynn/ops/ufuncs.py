"""NumPy's functions of elements and the library's functions that take their place for tensors."""

from __future__ import annotations

from tinynn.ops import arithmetic, comparison, elementwise, linalg, piecewise

UFUNCS = {
    "add": arithmetic.add,
    "subtract": arithmetic.subtract,
    "multiply": arithmetic.multiply,
    "divide": arithmetic.divide,
    "floor_divide": arithmetic.floor_divide,
    "remainder": arithmetic.remainder,
    "power": arithmetic.power,
    "negative": arithmetic.negative,
    "matmul": linalg.matmul,
    "equal": comparison.equal,
    "not_equal": comparison.not_equal,
    "less": comparison.less,
    "less_equal": comparison.less_equal,
    "greater": comparison.greater,
    "greater_equal": comparison.greater_equal,
    "absolute": piecewise.abs,
    "exp": elementwise.exp,
    "expm1": elementwise.expm1,
    "log": elementwise.log,
    "log1p": elementwise.log1p,
    "sqrt": elementwise.sqrt,
    "square": elementwise.square,
    "sin": elementwise.sin,
    "cos": elementwise.cos,
    "tanh": elementwise.tanh,
    "sign": piecewise.sign,
    "floor": piecewise.floor,
    "maximum": piecewise.maximum,
    "minimum": piecewise.minimum,
}

# Functions of whole arrays, by the name that they have in both libraries.
ARRAY_FUNCTIONS = {
    "all", "any", "argmax", "argmin", "broadcast_to", "clip", "concatenate", "cumsum", "dot", "einsum",
    "expand_dims", "flip", "matmul", "max", "mean", "min", "moveaxis", "ones_like", "outer", "pad", "prod",
    "ravel", "repeat", "reshape", "roll", "split", "squeeze", "stack", "std", "sum", "swapaxes", "take",
    "take_along_axis", "tile", "transpose", "var", "where", "zeros_like",
}  # fmt: skip
