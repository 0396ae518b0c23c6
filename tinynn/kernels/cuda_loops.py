"""Elementwise and reduction loops as CUDA kernels, printed from the same expressions as the loops for the CPU.

A kernel knows its expressions and how operands walk, and takes sizes, strides and addresses as arguments, so that one
kernel serves all shapes. Of the loops, those over which nothing is reduced come first ("kept"), then the others.

A map gives every point to one thread. A reduction gives every result to a few lanes of a block; each lane adds up
every so-manieth term, and the lanes' sums are then joined in pairs. Where there are more terms than one block should
add, they are cut into parts, whose results a second launch adds. How many lanes and parts there are follows from the
sizes alone, and nothing is added atomically, so that every run, on any device, adds in the same order.

Examples
--------
>>> a0, a1 = Symbol.variable("a0"), Symbol.variable("a1")
>>> loop = CudaLoop("float32", 1, 0, (Operand(("1",)), Operand(("",))), (a0 * a1,), (Operand(("1",)),), ("",), (-1,))
>>> print(cuda_loop_source(loop))
typedef float T;
typedef int I;  // of indices
<BLANKLINE>
extern "C" __global__ void map_1d(const T* p0, const T* p1, T* p2, I n0, I kept)
{
    for (I k = (I)blockIdx.x * blockDim.x + threadIdx.x; k < kept; k += (I)blockDim.x * gridDim.x) {
        const I i0 = k;
        const T a0 = p0[i0];
        const T a1 = p1[0];
        p2[i0] = a0 * a1;
    }
}
<BLANKLINE>
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinynn.kernels.printer import CUDA, CudaLanguage, print_lines
from tinynn.kernels.rewrites import in_order, with_shared_gaussians, without_modulus
from tinynn.kernels.symbols import Symbol

__all__ = ["CTYPES", "THREADS", "CudaLoop", "Operand", "cuda_loop_source", "parameters"]

THREADS = 256  # in a block, at most
CTYPES = {
    "float64": "double", "float32": "float", "int64": "long long", "int32": "int", "int16": "short",
    "int8": "signed char", "uint64": "unsigned long long", "uint32": "unsigned int", "uint16": "unsigned short",
    "uint8": "unsigned char", "bool": "bool",
}  # fmt: skip

# erf near -1 without cancellation. What the CPU kernels share with a Gaussian, erf of CUDA computes by itself.
_LANGUAGE = CudaLanguage(
    {
        **CUDA.templates,
        "erf_given": "erf({0})",
        "normal_cdf": "(T(0.5) * erfc(({0}) * T(-0.70710678118654752)))",
        "one_plus_erf": "erfc(-{0})",
    },
    CUDA.needs_names,
    CUDA.cast,
)
_START = {
    "sum": "T(0.0)",
    "max": "T(-__longlong_as_double(0x7ff0000000000000LL))",
    "min": "T(__longlong_as_double(0x7ff0000000000000LL))",
}
# The largest and smallest of two, and NaN if one is NaN, as NumPy's.
_JOIN = {
    "sum": "{0} + {1}",
    "max": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "min": "{0} < {1} || {0} != {0} ? {0} : {1}",
}


@dataclass(frozen=True)
class Operand:
    """How an operand walks over the loops.

    Attributes
    ----------
    steps : for each loop ``""`` if it stands still, ``"1"`` if it moves to the next element, ``"s"`` for a stride
        known at run time
    dtype : of its elements, by NumPy's name; ``""`` for the loop's
    """

    steps: tuple[str, ...]
    dtype: str = ""


@dataclass(frozen=True, eq=False)
class CudaLoop:
    """The structure of a kernel; two are equal if their texts are.

    Attributes
    ----------
    dtype : in which everything is computed: "float32", "float64", or "int64"
    kept, reduced : how many loops there are of either kind
    inputs : the variables ``a0, a1, ...`` of the expressions
    expressions, outputs, kinds : for each output what is stored, where, and "" (at every point) or "sum", "max",
        "min" over the reduced loops, along which the output then stands still
    inout : for each output the input over which it is written, or -1
    wide : whether indices need 64 bits
    """

    dtype: str
    kept: int
    reduced: int
    inputs: tuple[Operand, ...]
    expressions: tuple[Symbol, ...]
    outputs: tuple[Operand, ...]
    kinds: tuple[str, ...]
    inout: tuple[int, ...]
    wide: bool = False

    @property
    def name(self) -> str:
        """Of the kernel."""
        if not self.reduced:
            return f"map_{self.kept}d"
        return "_".join([*dict.fromkeys(kind for kind in self.kinds if kind), f"{self.kept}d_{self.reduced}d"])

    @property
    def operands(self) -> list[Operand]:
        """Those that have a pointer: the inputs, then the outputs that are written over none."""
        return [*self.inputs, *(o for o, over in zip(self.outputs, self.inout, strict=True) if over < 0)]

    @property
    def reductions(self) -> list[int]:
        """The numbers of the outputs that are reduced."""
        return [number for number, kind in enumerate(self.kinds) if kind]


def parameters(loop: CudaLoop) -> list[tuple[str, str]]:
    """The kernel's parameters in order, as (C type, name).

    First a pointer for each operand, then their run-time strides, the lengths of the loops, and the number of points
    (or of results). A reduction also takes how many terms there are and how many a block adds; which side of a
    block are the lanes; and for each reduced output the distance between the results of two parts, and its factor.
    """
    written = set(loop.inout)
    found = []
    for number, operand in enumerate(loop.operands):
        const = "const " if number < len(loop.inputs) and number not in written else ""
        found.append((f"{const}{CTYPES[operand.dtype] if operand.dtype else 'T'}*", f"p{number}"))
    for number, operand in enumerate(loop.operands):
        found += [("I", f"p{number}_s{axis}") for axis, step in enumerate(operand.steps) if step == "s"]
    found += [("I", f"n{axis}") for axis in range(loop.kept + loop.reduced)]
    found.append(("I", "kept"))
    if loop.reduced:
        found += [("I", "terms"), ("I", "per_block"), ("int", "across")]
        for number in loop.reductions:
            found += [("I", f"part{number}"), ("T", f"scale{number}")]
    return found


def cuda_loop_source(loop: CudaLoop) -> str:
    """The kernel's text, for NVRTC or nvcc."""
    return _Printer(loop).source()


class _Printer:
    def __init__(self, loop: CudaLoop) -> None:
        self.loop = loop
        self.outer: list[str] = []  # statements that depend on the kept loops alone
        self.inner: list[str] = []  # and on all
        self.pointers = self._pointers()

    def _pointers(self) -> list[int]:
        """For each output the number of its pointer."""
        fresh = len(self.loop.inputs)
        numbers = []
        for over in self.loop.inout:
            numbers.append(over if over >= 0 else fresh)
            fresh += over < 0
        return numbers

    def source(self) -> str:
        loop = self.loop
        arguments = [f"{ctype} {name}" for ctype, name in parameters(loop)]
        text = [
            f"typedef {CTYPES[loop.dtype]} T;", f"typedef {'long long' if loop.wide else 'int'} I;  // of indices", "",
        ]  # fmt: skip
        text += [*_folded(f'extern "C" __global__ void {loop.name}(', arguments), "{"]
        self._statements()
        text += self._reduction() if loop.reduced else self._map()
        return "\n".join([*text, "}"]) + "\n"

    # -------------------------------------------------------------------------------------------- the formulas

    def _statements(self) -> None:
        """Reads, named subexpressions and stores, each as early as it can be."""
        loop = self.loop
        expressions = without_modulus(with_shared_gaussians(list(loop.expressions)))
        used = {str(v.value): v for v in in_order(expressions) if v.function == "variable"}
        inside: set[str] = set()  # names that are known inside the reduced loops only
        for number, operand in enumerate(loop.inputs):
            variable = used.get(f"a{number}")
            if variable is None:
                continue
            element = f"p{number}[{_index(number, operand)}]"
            if variable.is_bool and operand.dtype != "bool":
                element = f"{element} != 0"
            elif not variable.is_bool and operand.dtype:
                element = f"T({element})"
            self._add(operand, f"const {'bool' if variable.is_bool else 'T'} a{number} = {element};", inside)
        lines = print_lines(expressions, _LANGUAGE)
        for label, is_bool, content in lines.named:
            deep = not inside.isdisjoint(re.findall(r"\b[at]\d+\b", content))
            if deep:
                inside.add(label)
            statement = f"const {'bool' if is_bool else 'T'} {label} = {content};"
            (self.inner if deep else self.outer).append(statement)
        for number, content in enumerate(lines.outputs):
            self._output(number, content, expressions[number].is_bool)

    def _add(self, operand: Operand, statement: str, inside: set[str]) -> None:
        if any(operand.steps[self.loop.kept :]):
            inside.add(re.findall(r"\ba\d+\b", statement)[0])
            self.inner.append(statement)
        else:
            self.outer.append(statement)

    def _output(self, number: int, content: str, is_bool: bool) -> None:
        loop, operand, pointer = self.loop, self.loop.outputs[number], self.pointers[number]
        kind = loop.kinds[number]
        if kind:
            value = f"T({content})" if is_bool else content
            if kind != "sum":
                self.inner.append(f"const T value{number} = {value};")
                value = f"value{number}"
            joined = f"{kind}{number} += {value};"
            if kind != "sum":
                joined = f"{kind}{number} = {_JOIN[kind].format(f'{kind}{number}', value)};"
            self.inner.append(joined)
            return
        if is_bool and operand.dtype != "bool":
            content = f"T({content})"
        if operand.dtype:
            content = f"({CTYPES[operand.dtype]})({content})"
        self.inner.append(f"p{pointer}[{_index(pointer, operand)}] = {content};")

    # --------------------------------------------------------------------------------------------- the loops

    def _map(self) -> list[str]:
        loop = self.loop
        text = ["for (I k = (I)blockIdx.x * blockDim.x + threadIdx.x; k < kept; k += (I)blockDim.x * gridDim.x) {"]
        body = [*_indices("k", range(loop.kept)), *self.outer, *self.inner]
        return [f"    {line}" for line in [*text, *(f"    {line}" for line in body), "}"]]

    def _reduction(self) -> list[str]:
        loop, reductions = self.loop, self.loop.reductions
        sums = [f"{loop.kinds[number]}{number}" for number in reductions]
        text = [
            "// the lanes of a result are the threads along x, or those along y",
            "const int lane = across ? threadIdx.y : threadIdx.x, lanes = across ? blockDim.y : blockDim.x;",
            "const int place = across ? threadIdx.x : threadIdx.y, places = across ? blockDim.x : blockDim.y;",
            "const I k = (I)blockIdx.x * places + place;",
            "const I first = (I)blockIdx.y * per_block;",
            "const I last = first + per_block < terms ? first + per_block : terms;",
            *(f"T {name} = {_START[loop.kinds[number]]};" for name, number in zip(sums, reductions, strict=True)),
            "if (k < kept) {",
            *(f"    {line}" for line in [*_indices("k", range(loop.kept)), *self.outer]),
            "    for (I r = first + lane; r < last; r += lanes) {",
            *(f"        {line}" for line in _indices("r", range(loop.kept, loop.kept + loop.reduced))),
            *(f"        {line}" for line in self.inner),
            "    }",
            "}",
            "// join the lanes' results in pairs",
        ]
        text += [f"__shared__ T {name}_of[{THREADS}];" for name in sums]
        text += [f"{name}_of[lane * places + place] = {name};" for name in sums]
        text += ["for (int half = lanes / 2; half > 0; half /= 2) {", "    __syncthreads();", "    if (lane < half) {"]
        for name, number in zip(sums, reductions, strict=True):
            one, other = f"{name}_of[lane * places + place]", f"{name}_of[(lane + half) * places + place]"
            if loop.kinds[number] == "sum":
                text.append(f"        {one} += {other};")
            else:
                text.append(f"        const T one{number} = {one}, other{number} = {other};")
                text.append(f"        {one} = {_JOIN[loop.kinds[number]].format(f'one{number}', f'other{number}')};")
        text += ["    }", "}", "if (lane == 0 && k < kept) {"]
        text += [f"    {line}" for line in _indices("k", range(loop.kept))]
        for name, number in zip(sums, reductions, strict=True):
            pointer = self.pointers[number]
            index = _index(pointer, loop.outputs[number])
            where = f"(I)blockIdx.y * part{number}" + (f" + {index}" if index != "0" else "")
            text.append(f"    p{pointer}[{where}] = scale{number} * {name}_of[place];")
        return [f"    {line}" for line in [*text, "}"]]


def _index(number: int, operand: Operand) -> str:
    """Where an operand's element is."""
    steps = []
    for axis, step in enumerate(operand.steps):
        if step:
            steps.append(f"i{axis}" if step == "1" else f"i{axis} * p{number}_s{axis}")
    return " + ".join(steps) or "0"


def _indices(counter: str, axes: Sequence[int]) -> list[str]:
    """Take a number apart into the indices of nested loops, the last of which runs fastest."""
    if len(axes) <= 1:
        return [f"const I i{axis} = {counter};" for axis in axes]
    lines = []
    rest = counter
    for axis in reversed(axes[1:]):
        lines.append(f"const I i{axis} = {rest} % n{axis};")
        rest = f"{rest} / n{axis}" if rest == counter else f"rest{axis + 1} / n{axis}"
        lines.append(f"const I rest{axis} = {rest};")
        rest = f"rest{axis}"
    return [*lines, f"const I i{axes[0]} = {rest};"]


def _folded(head: str, arguments: Sequence[str], width: int = 110) -> list[str]:
    """A function's head, in several lines where it is long."""
    whole = f"{head}{', '.join(arguments)})"
    if len(whole) <= width:
        return [whole]
    lines, line = [head], "    "
    for argument in arguments:
        if len(line) + len(argument) > width:
            lines.append(line.rstrip())
            line = "    "
        line += f"{argument}, "
    return [*lines, line.rstrip(", ") + ")"]


def key(loop: CudaLoop) -> tuple[Any, ...]:
    """What tells two loops apart; expressions are one object if they are equal."""
    return (
        loop.dtype, loop.kept, loop.reduced, loop.inputs, tuple(map(id, loop.expressions)), loop.outputs, loop.kinds,
        loop.inout, loop.wide,
    )  # fmt: skip
