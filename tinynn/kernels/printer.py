"""Print traced expressions as source: a Python function for Numba, or a CuPy `ElementwiseKernel`.

Both are made to be read. A subexpression used once stands where it is used; one used more often gets a name,
``t1``, ``t2``, ... in the order of computation. A float32 kernel computes in float32 throughout: every
constant is printed as ``real(0.5)``, because in Numba a bare ``0.5`` is a float64 and widens what it touches.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tinynn.kernels.rewrites import in_order, with_shared_gaussians, without_modulus
from tinynn.kernels.symbols import COMPARISONS, LOGIC, Symbol

_RESERVED = re.compile(
    r"t\d+|i|n|T|np|vm|njit|types|real|read|written|read_bool|written_bool|\w+_array|_.*"
    r"|abs|range|exp|expm1|log|log1p|sqrt|sin|cos|tanh|erf|floor|fabs|fmod|pow|copysign|true|false"
    r"|auto|bool|char|const|default|delete|double|do|enum|extern|float|goto|inline|int|long"
    r"|new|operator|private|public|register|short|signed|sizeof|static|struct|switch|template|this|throw"
    r"|typedef|typename|union|unsigned|void|volatile"
)
_LONGEST_EXPRESSION = 88
VECTOR_MATH = ("exp", "expm1", "log", "log1p", "tanh", "erf")
WITH_GAUSSIAN = ("erf_given", "normal_cdf", "one_plus_erf")  # of x and exp(-x**2), or exp(-x**2 / 2)

# Infix operators bind by number, the higher the tighter; a function call or a name binds tightest.
_INFIX = {
    "logical_or": (1, "|"), "logical_and": (2, "&"),
    "greater": (3, ">"), "greater_equal": (3, ">="), "less": (3, "<"), "less_equal": (3, "<="),
    "equal": (3, "=="),     "not_equal": (3, "!="),
    "add": (4, "+"), "subtract": (4, "-"), "multiply": (5, "*"), "divide": (5, "/"),
}  # fmt: skip
_PREFIX, _ATOM = 6, 8


class Language:
    """How one language writes an expression. `templates` are for functions that are not infix operators."""

    def __init__(self, templates: Mapping[str, str], needs_names: Sequence[str], cast: str) -> None:
        self.templates = templates
        self.needs_names = needs_names  # functions whose template uses an operand twice: operands are named first
        self.cast = cast

    def constant(self, value: float | bool | str | None) -> str:
        raise NotImplementedError


class NumbaLanguage(Language):
    def constant(self, value: float | bool | str | None) -> str:
        if isinstance(value, bool):
            return repr(value)
        assert isinstance(value, float)
        return f"real({value!r})" if math.isfinite(value) else f"real({'-' * (value < 0)}np.{abs(value)!s})"


class CudaLanguage(Language):
    def constant(self, value: float | bool | str | None) -> str:
        if isinstance(value, bool):
            return repr(value).lower()
        assert isinstance(value, float)
        if math.isfinite(value):
            return f"T({value!r})"
        # The macros INFINITY and NAN need headers that the run-time compiler does not have.
        bits = "0x7ff8000000000000LL" if math.isnan(value) else "0x7ff0000000000000LL"
        return f"T({'-' * (value < 0)}__longlong_as_double({bits}))"


NUMBA = NumbaLanguage(
    {
        **{name: f"vm.{name}({{0}})" for name in VECTOR_MATH},
        **{name: f"np.{name}({{0}})" for name in ("sqrt", "sin", "cos", "floor", "isnan")},
        **{name: f"np.{name}({{0}}, {{1}})" for name in ("maximum", "minimum")},
        "absolute": "abs({0})",
        "power": "np.power({0}, {1})",
        "floor_divide": "({0} // {1})",
        "remainder": "({0} % {1})",
        "sign": "np.sign({0})",
        "negative": "-{0}",
        "logical_not": "(not {0})",
        "where": "({1} if {0} else {2})",
        **{name: f"vm.{name}({{0}}, {{1}})" for name in WITH_GAUSSIAN},
    },
    needs_names=("where",),
    cast="real({0})",
)
CUDA = CudaLanguage(
    {
        # CUDA C++ overloads these for float and double: T decides.
        **{name: f"{name}({{0}})" for name in (*VECTOR_MATH, "sqrt", "sin", "cos", "floor")},
        "absolute": "fabs({0})",
        "power": "pow({0}, {1})",
        "fmod": "fmod({0}, {1})",
        "copysign": "copysign({0}, {1})",
        "maximum": "({0} > {1} || {0} != {0} ? {0} : {1})",
        "minimum": "({0} < {1} || {0} != {0} ? {0} : {1})",
        "sign": "({0} != {0} ? {0} : T(({0} > T(0.0)) - ({0} < T(0.0))))",
        "isnan": "({0} != {0})",
        "negative": "-{0}",
        "logical_not": "(!{0})",
        "where": "({0} ? {1} : {2})",
    },
    needs_names=("where", "maximum", "minimum", "sign", "isnan"),
    cast="T({0})",
)


class Lines(NamedTuple):
    """A printed expression: ``(name, whether bool, text)`` in order, then the text of each output."""

    named: list[tuple[str, bool, str]]
    outputs: list[str]
    functions: set[str]


def print_lines(outputs: Sequence[Symbol], language: Language) -> Lines:
    """Print expressions: a line for each subexpression that is used more than once, or gets long."""
    order = list(in_order(outputs))
    uses = Counter(id(used) for users in (*(node.operands for node in order), outputs) for used in users)
    lines = Lines([], [], set())
    text: dict[int, tuple[str, int]] = {}  # node -> its text and how tightly that binds

    def name(node: Symbol) -> None:
        content, binding = text[id(node)]
        if binding < _ATOM or "(" in content:
            lines.named.append((f"t{len(lines.named) + 1}", node.is_bool, _unwrapped(content)))
            text[id(node)] = lines.named[-1][0], _ATOM

    for node in order:
        if node.function in language.needs_names:
            for operand in node.operands:
                if not operand.is_constant:
                    name(operand)
        text[id(node)] = _text(node, text, language)
        lines.functions.add(node.function)
        if node.operands and (uses[id(node)] > 1 or len(text[id(node)][0]) > _LONGEST_EXPRESSION):
            name(node)
    for output in outputs:
        content = text[id(output)][0]
        lines.outputs.append(_unwrapped(content))
    return lines


def _text(node: Symbol, text: Mapping[int, tuple[str, int]], language: Language) -> tuple[str, int]:
    if node.function == "variable":
        return str(node.value), _ATOM
    if node.function == "constant":
        return language.constant(node.value), _ATOM
    function, operands = node.function, node.operands
    # A truth value among real operands counts as 0 or 1. Comparing two truth values, or choosing between
    # them, needs no cast.
    as_real = not node.is_bool or (function in COMPARISONS and not all(o.is_bool for o in operands))

    def operand(k: int, binding: int) -> str:
        content, own = text[id(operands[k])]
        choice = function == "where" and k == 0
        if operands[k].is_bool and as_real and not choice and function not in LOGIC:
            return language.cast.format(_unwrapped(content))
        return content if own >= binding else f"({content})"

    if function in _INFIX:
        level, sign = _INFIX[function]
        # Python's & and | bind tighter than comparisons, and its comparisons chain: all of these get
        # brackets.
        left, right = (level, level + 1) if not node.is_bool else (_ATOM if function in LOGIC else level + 1,) * 2
        return f"{operand(0, left)} {sign} {operand(1, right)}", level
    if function == "negative":
        return language.templates[function].format(operand(0, _PREFIX + 1)), _PREFIX
    # Between the brackets and commas of a call nothing needs brackets; a template that reuses its operands
    # names them.
    tight = _ATOM if function in (*language.needs_names, "logical_not", "floor_divide", "remainder") else 0
    arguments = [operand(k, tight) for k in range(len(operands))]
    if not tight:
        arguments = [_unwrapped(argument) for argument in arguments]
    return language.templates[function].format(*arguments), _ATOM


def _unwrapped(content: str) -> str:
    """Without one pair of brackets around the whole."""
    if not (content.startswith("(") and content.endswith(")")):
        return content
    depth = 0
    for position, character in enumerate(content):
        depth += (character == "(") - (character == ")")
        if depth == 0 and position < len(content) - 1:
            return content
    return content[1:-1]


def _check(names: Sequence[str]) -> None:
    for name in names:
        if not name.isidentifier() or _RESERVED.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name an input, a scalar or an output of a kernel: "
                "the printed source has another use for it"
            )


def numba_source(
    name: str,
    inputs: Sequence[str],
    scalars: Sequence[str],
    outputs: Mapping[str, Symbol],
    comment: str = "",
    dtype: str = "float64",
    bools: Sequence[str] = (),
) -> str:
    """Print an elementwise kernel as the source of a Python module with one function for Numba.

    The function takes the output arrays, the input arrays, then the scalars. An output with the name of an
    input is written over it, and stands in the signature once, as an output.

    Parameters
    ----------
    name : str
        The function's name.
    inputs, scalars : sequence of str
        The variables of the expressions that are arrays, and those that are plain floats.
    outputs : mapping of str to Symbol
        What is computed, by name.
    comment : str
        The docstring: the operation and its formula.
    dtype : {"float64", "float32"}
        The arrays' precision, in which everything is computed.
    bools : sequence of str
        Those of the inputs whose arrays are of dtype bool. An output that is a truth value has dtype bool.

    Examples
    --------
    >>> x = Symbol.variable("x")
    >>> print(numba_source("twice", ["x"], [], {"out": 2.0 * x}, "out = 2 x", "float32"))
    import numpy as np
    from numba import njit, types
    <BLANKLINE>
    real = np.float32
    read = types.Array(types.float32, 1, "C", readonly=True)
    written = types.Array(types.float32, 1, "C")
    <BLANKLINE>
    <BLANKLINE>
    @njit(
        (written, read),
        cache=True, nogil=True, error_model="numpy", fastmath={"contract"},
    )
    def twice(out_array, x_array):
        \"\"\"out = 2 x\"\"\"
        n = out_array.size
        if x_array.size != n:
            raise ValueError("the arrays differ in size")
        for i in range(n):
            x = x_array[i]
            out_array[i] = real(2.0) * x
    <BLANKLINE>
    """
    _check([*inputs, *scalars, *outputs])
    lines = print_lines(with_shared_gaussians(list(outputs.values())), NUMBA)
    read_only = [v for v in inputs if v not in outputs]
    arrays = [*outputs, *read_only]
    kinds = ["written_bool" if symbol.is_bool else "written" for symbol in outputs.values()]
    kinds += ["read_bool" if v in bools else "read" for v in read_only]
    kinds += ["types.float64"] * len(scalars)
    arguments = ", ".join([*(f"{v}_array" for v in arrays), *scalars])

    text = ["import numpy as np", "from numba import njit, types"]
    if lines.functions & {*VECTOR_MATH, *WITH_GAUSSIAN}:
        text += ["", "import tinynn.kernels.vectormath as vm"]
    text += ["", f"real = np.{dtype}"]
    for kind in dict.fromkeys(("read", "written", *kinds)):
        if kind.startswith(("read", "written")):
            element = "boolean" if kind.endswith("bool") else dtype
            text.append(f'{kind} = types.Array(types.{element}, 1, "C"{", readonly=True" * kind.startswith("read")})')
    text += ["", ""]
    signature = ", ".join(kinds) + "," * (len(kinds) == 1)
    options = 'cache=True, nogil=True, error_model="numpy", fastmath={"contract"}'
    text += ["@njit(", f"    ({signature}),", f"    {options},", ")"]
    text += [f"def {name}({arguments}):"]
    text += [f"    {line}".rstrip() for line in docstring(comment or f"{name} of every element").splitlines()]
    text += [f"    n = {arrays[0]}_array.size"]
    if len(arrays) > 1:
        text += [f"    if {' or '.join(f'{v}_array.size != n' for v in arrays[1:])}:"]
        text += ['        raise ValueError("the arrays differ in size")']
    text += [f"    {v} = real({v})" for v in scalars]
    text += ["    for i in range(n):"]
    text += [f"        {v} = {v}_array[i]" for v in inputs]
    text += [f"        {t} = {content}" for t, _, content in lines.named]
    text += [f"        {v}_array[i] = {content}" for v, content in zip(outputs, lines.outputs, strict=True)]
    return "\n".join(text) + "\n"


class CudaSource(NamedTuple):
    """The arguments of `cupy.ElementwiseKernel`: ``in_params``, ``out_params``, ``operation``."""

    in_params: str
    out_params: str
    operation: str


def cuda_source(
    name: str,
    inputs: Sequence[str],
    scalars: Sequence[str],
    outputs: Mapping[str, Symbol],
    comment: str = "",
    bools: Sequence[str] = (),
) -> CudaSource:
    """Print an elementwise kernel as the arguments of `cupy.ElementwiseKernel`, for ``T`` = float, double.

    The parameters are those of `numba_source`. The kernel is called with the inputs, the scalars, then the
    outputs. An output with the name of an input is called ``<name>_out``: pass the same array as input and
    output.

    Examples
    --------
    >>> x = Symbol.variable("x")
    >>> in_params, out_params, operation = cuda_source("twice", ["x"], [], {"out": 2.0 * x}, "out = 2 x")
    >>> in_params, out_params
    ('T x', 'T out')
    >>> print(operation)
    // out = 2 x
    out = T(2.0) * x;
    """
    _check([*inputs, *scalars, *outputs])
    lines = print_lines(without_modulus(list(outputs.values())), CUDA)
    renamed = [f"{v}_out" if v in inputs else v for v in outputs]
    parameters = [f"{'bool' if v in bools else 'T'} {v}" for v in (*inputs, *scalars)]
    results = [f"{'bool' if symbol.is_bool else 'T'} {v}" for v, symbol in zip(renamed, outputs.values(), strict=True)]
    text = [f"// {line}" for line in (comment or name).splitlines()]
    text += [f"const {'bool' if is_bool else 'T'} {t} = {content};" for t, is_bool, content in lines.named]
    text += [f"{v} = {content};" for v, content in zip(renamed, lines.outputs, strict=True)]
    return CudaSource(", ".join(parameters), ", ".join(results), "\n".join(text))


def docstring(comment: str) -> str:
    """A comment as the docstring of a printed function."""
    text = comment.replace("\\", "\\\\").replace('"', "'").strip()
    return f'"""{text}"""' if "\n" not in text else f'"""{text}\n"""'
