"""Elementwise and reduction loops of any rank as kernels that are called by address: what they are, not their text.

A `LoopSpec` says how operands walk over nested loops, what is computed at every point, and which results are summed
on the way. Sizes, addresses and strides are run-time words (`row_words`), so one compiled kernel serves all
shapes. The Python source is printed by `tinynn.kernels.loop_source`, compiled by Numba, and kept on disk.

Examples
--------
The sum of every row of a matrix, doubled:

>>> import numpy as np
>>> a0 = Symbol.variable("a0")
>>> spec = LoopSpec("float64", 2, (Access((1, 1)),), (2.0 * a0,), (Access((1, 0)),), ("sum",), (-1,))
>>> x, out = np.arange(6.0).reshape(2, 3), np.empty(2)
>>> kernel = compile_loop(spec)
>>> words = row_words(spec, (2, 3), [(x.ctypes.data, (3, 1)), (out.ctypes.data, (1, 0))], kernel.address)
>>> from tinynn.kernels.native import drive
>>> drive(np.array(words), 1)
>>> out
array([ 6., 24.])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn.kernels.rewrites import in_order
from tinynn.kernels.symbols import COMPARISONS, LOGIC, Symbol

__all__ = [
    "Access",
    "CompiledKernel",
    "LoopSpec",
    "Unsupported",
    "compile_loop",
    "evaluate",
    "joined_axes",
    "row_words",
    "supported",
]

_HIGHEST_RANK = 5
OTHER_KINDS = ("float64", "float32", "int32", "uint8")  # dtypes that a loop reads as numbers of its own
_KINDS = ("real", "bool", "int", *OTHER_KINDS)
_REDUCTIONS = ("", "sum", "max", "min")


class Unsupported(NotImplementedError):
    """A loop that cannot be compiled as one kernel; `supported` tells beforehand."""


@dataclass(frozen=True)
class Access:
    """How an operand walks over the loops.

    Attributes
    ----------
    axes : tuple of int
        For each loop, outermost first: 0 if the operand does not move along it, 1 if it does. The innermost may
        also be 2: it moves by a stride known at run time, while 1 means from one element to the next.
    kind : {"real", "bool", "int", "float64", "float32", "int32", "uint8"}
        Elements of the loop's dtype, truth values, or int64 and others (which are computed with as numbers of the
        loop's dtype).
    """

    axes: tuple[int, ...]
    kind: str = "real"


@dataclass(frozen=True, eq=False)
class LoopSpec:
    """The structure of a loop nest; two specifications are equal if their kernels are the same.

    Attributes
    ----------
    dtype : {"float64", "float32", "int64"}
        In which everything is computed. In int64: sums, differences, products, choices and comparisons; no reductions.
    rank : int
        The number of nested loops, 1 to 5.
    inputs, outputs : tuple of Access
        The inputs are the variables ``a0, a1, ...`` of the expressions.
    expressions : tuple of Symbol
        One for each output.
    reductions : tuple of {"", "sum", "max", "min"}
        For each output: stored at every point, or reduced over the loops along which it does not move.
    inout : tuple of int
        For each output: the input over which it is written, or -1.
    scales : tuple of float
        For each output the factor for a finished sum; empty if all are 1.
    streamed : tuple of int
        The outputs of a flat loop that are written past the caches. They begin at multiples of 64 bytes.
    """

    dtype: str
    rank: int
    inputs: tuple[Access, ...]
    expressions: tuple[Symbol, ...]
    outputs: tuple[Access, ...]
    reductions: tuple[str, ...]
    inout: tuple[int, ...]
    scales: tuple[float, ...] = ()
    streamed: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells two specifications apart. Equal expressions are one object as long as one of them lives."""
        same = tuple(map(id, self.expressions))
        scales = tuple(map(repr, self.scales)) if any(s != 1.0 for s in self.scales) else ()
        rest = self.outputs, self.reductions, self.inout, scales, self.streamed
        return self.dtype, self.rank, self.inputs, same, *rest

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, LoopSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def is_flat(self) -> bool:
        """One loop without reductions in which all operands step from element to element or stand still."""
        accesses = (*self.inputs, *self.outputs)
        return self.rank == 1 and not any(self.reductions) and all(a.axes[0] in (0, 1) for a in accesses)

    @property
    def lanes(self) -> int:
        """The elements in 64 bytes. The size of a flat loop is a multiple of it."""
        return 64 // np.dtype(self.dtype).itemsize

    @property
    def operands(self) -> tuple[Access, ...]:
        """The operands that have words in a row: the inputs, then the outputs that are written over none."""
        return (*self.inputs, *(o for o, over in zip(self.outputs, self.inout) if over < 0))


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel in memory: its address goes into word 0 of a row."""

    name: str
    source: str
    spec: Any
    address: int
    function: Any = field(repr=False)  # keeps the machine code alive


_compiled: dict[LoopSpec, CompiledKernel] = {}


def compile_loop(spec: LoopSpec, comment: str = "") -> CompiledKernel:
    """Compile a loop, or load what an earlier run compiled. The same specification gives the same kernel.

    Parameters
    ----------
    spec : LoopSpec
    comment : str
        What the loop computes, for the docstring of the printed source (the first one, if a kernel is asked for
        again).

    Raises
    ------
    Unsupported
        If the combination of accesses and reductions does not fit one loop nest.
    """
    compiled = _compiled.get(spec)
    if compiled is None:
        why_not = _obstacle(spec)
        if why_not:
            raise Unsupported(why_not)
        from tinynn.kernels.kernel_sources import printed_kernel
        from tinynn.kernels.loop_source import loop_source

        name = "flat_loop" if spec.is_flat else f"loop_{spec.rank}d"
        name += "".join(f"_{r}" for r in dict.fromkeys(spec.reductions) if r)
        source = loop_source(spec, name, comment)
        function = printed_kernel(source, name)
        compiled = _compiled[spec] = CompiledKernel(name, source, spec, function.address, function)
    return compiled


def supported(spec: LoopSpec) -> bool:
    """Whether `compile_loop` takes the specification."""
    return _obstacle(spec) is None


def _obstacle(spec: LoopSpec) -> str | None:
    """What keeps a specification from being compiled, in words."""
    if spec.dtype not in ("float64", "float32", "int64"):
        return f"loops compute in float64 or float32, or in int64, not in {spec.dtype}"
    if spec.dtype == "int64" and any(spec.reductions):
        return "loops over int64 have no reductions"
    if not 1 <= spec.rank <= _HIGHEST_RANK:
        return f"loops of rank 1 to {_HIGHEST_RANK} are compiled, got rank {spec.rank}"
    counts = {len(spec.expressions), len(spec.outputs), len(spec.reductions), len(spec.inout)}
    if counts != {len(spec.outputs)} or not spec.outputs or len(spec.scales) not in (0, len(spec.outputs)):
        return "a loop has one expression, access, reduction, inout and scale for each of its outputs, at least one"
    for access in (*spec.inputs, *spec.outputs):
        *outer, inner = access.axes or (3,)
        if len(access.axes) != spec.rank or inner not in (0, 1, 2) or not set(outer) <= {0, 1}:
            return f"{access} does not say for each of {spec.rank} loops 0 or 1 (the innermost also 2)"
        if access.kind not in _KINDS:
            return f"operands are of the kinds {', '.join(_KINDS)}, got {access.kind!r}"
    for k, (output, reduction, over) in enumerate(zip(spec.outputs, spec.reductions, spec.inout)):
        if reduction not in _REDUCTIONS:
            return f"output {k}: there is no reduction {reduction!r}"
        if not reduction and 0 in output.axes:
            return f"output {k} is stored at every point, but does not move along all loops: {output.axes}"
        if spec.scales and spec.scales[k] != 1.0 and reduction != "sum":
            return f"output {k}: only sums are scaled"
        if over >= 0:
            if over >= len(spec.inputs) or spec.inputs[over] != output or over in spec.inout[:k]:
                return f"output {k} cannot be written over input {over}: they walk differently, or another output does"
            if reduction and accumulates_in_memory(output.axes):
                return f"output {k} is summed up in memory, which cannot be an input's"
    for k in spec.streamed:
        if not spec.is_flat or spec.inout[k] >= 0 or spec.outputs[k].kind != "real":
            return f"output {k} cannot be written past the caches: that is for new {spec.dtype} arrays of flat loops"
    known = {f"a{k}" for k in range(len(spec.inputs))}
    for node in in_order(spec.expressions):
        if node.function == "variable" and node.value not in known:
            return f"the variables of a loop are a0, a1, ... for its {len(known)} inputs, got {node.value}"
    return None


def accumulates_in_memory(axes: Sequence[int]) -> bool:
    """Whether a reduction's partial results stand in its output: where a reduced loop is outside a kept one."""
    return 0 in axes and any(axes[list(axes).index(0) :])


def row_words(
    spec: LoopSpec, sizes: Sequence[int], operands: Sequence[tuple[int, Sequence[int]]], address: int = 0
) -> list[int]:
    """The words of a row for a loop's kernel.

    Parameters
    ----------
    spec : LoopSpec
    sizes : sequence of int
        Of the loops, outermost first. A flat loop's size must be a multiple of `LoopSpec.lanes`.
    operands : sequence of (address, strides)
        The inputs, then the outputs that are written over none: the address in bytes, and the stride in elements
        along every loop (those along which the operand does not move, or moves by 1, are not looked at).
    address : int
        The kernel's, if it is known already.

    Returns
    -------
    list of int
        The kernel's address, the number of words, the sizes, and for each operand its address, then its strides.
    """
    if len(sizes) != spec.rank or len(operands) != len(spec.operands):
        raise ValueError(
            f"the loop has {spec.rank} sizes and {len(spec.operands)} operands, got {len(sizes)} and {len(operands)}"
        )
    if spec.is_flat and sizes[0] % spec.lanes:
        raise ValueError(
            f"the size of a flat {spec.dtype} loop is a multiple of {spec.lanes}, got {sizes[0]}; round it up, "
            "buffers have room for that"
        )
    words = [address, 0, *map(int, sizes)]
    for access, (start, strides) in zip(spec.operands, operands):
        words += [int(start), *(int(strides[axis]) for axis in stride_axes(access))]
    words[1] = len(words)
    return words


def joined_axes(space: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Join neighbouring axes along which every operand goes on as if they were one.

    Examples
    --------
    >>> joined_axes((2, 3, 4), [(12, 4, 1), (0, 0, 1)])
    ([6, 4], [[4, 1], [0, 1]])
    """
    sizes: list[int] = []
    joined: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(space):
        if sizes and all(j[-1] == s[axis] * n for j, s in zip(joined, strides, strict=True)):
            sizes[-1] *= n
            for j, s in zip(joined, strides, strict=True):
                j[-1] = s[axis]
        else:
            sizes.append(n)
            for j, s in zip(joined, strides, strict=True):
                j.append(s[axis])
    return sizes, joined


def stride_axes(access: Access) -> list[int]:
    """The loops for which a row holds an operand's stride."""
    last = len(access.axes) - 1
    return [axis for axis, moves in enumerate(access.axes) if moves and (axis, moves) != (last, 1)]


def evaluate(expressions: Sequence[Symbol], values: Mapping[str, Any], dtype: Any = None) -> list[Any]:
    """The values of expressions by NumPy, one function call for each node: slow, and easy to believe.

    Parameters
    ----------
    expressions : sequence of Symbol
    values : mapping of str to array
        The variables.
    dtype : dtype, optional
        In which is computed; by default what the real variables promote to, or float64 if there are none.

    Examples
    --------
    >>> x = Symbol.variable("x")
    >>> evaluate([x * x, x > 1.0], {"x": np.array([1.0, 2.0])})
    [array([1., 4.]), array([False,  True])]
    """
    if dtype is None:
        real = [a.dtype for a in map(np.asarray, values.values()) if a.dtype.kind == "f"]
        dtype = np.result_type(*real) if real else np.float64
    real_type = np.dtype(dtype).type

    def as_real(value: Any) -> Any:
        return np.asarray(value).astype(real_type, copy=False)[()]

    done: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for node in in_order(expressions):
            if node.function == "variable":
                value = np.asarray(values[str(node.value)])[()]
                done[id(node)] = value != 0 if node.is_bool else as_real(value)
            elif node.function == "constant":
                done[id(node)] = np.bool_(node.value) if node.is_bool else real_type(node.value)
            else:
                operands = [done[id(o)] for o in node.operands]
                if node.function not in (*LOGIC, "where") and not (
                    node.function in COMPARISONS and all(o.is_bool for o in node.operands)
                ):
                    operands = list(map(as_real, operands))
                elif node.function == "where" and not node.is_bool:
                    operands[1:] = map(as_real, operands[1:])
                done[id(node)] = _numpy_function(node.function)(*operands)
    return [done[id(expression)] for expression in expressions]


def _numpy_function(name: str) -> Any:
    if name in ("erf", "erf_given", "normal_cdf", "one_plus_erf"):
        from scipy.special import erf, erfc

        with_tail = {"normal_cdf": lambda x, _: 0.5 * erfc(-np.sqrt(0.5) * x), "one_plus_erf": lambda x, _: erfc(-x)}
        return with_tail.get(name, lambda x, *_: erf(x))
    return getattr(np, name)
