"""What fused operations are made of: their formulas in plain operations, and when to use them.

A rule looks at an instruction and returns a formula with the registers of its inputs, or None to leave it alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.compiler.program import Instruction
from tinynn.ops import elementwise, piecewise, reduce
from tinynn.ops.comparison import equal, less, logical_and, logical_not, not_equal
from tinynn.ops.convolution import AvgPool2d, Conv2d, MaxPool2d
from tinynn.ops.gradient_of import GradientOf
from tinynn.ops.indexing import ARRAY, Gather, Scatter, Slice
from tinynn.ops.joining import Flip
from tinynn.ops.neural import BatchNorm, Dropout, Keep, LayerNorm, SoftmaxCrossEntropy
from tinynn.ops.piecewise import Where, where
from tinynn.ops.reduce import All, Some
from tinynn.ops.shape import expand_dims, reshape
from tinynn.ops.transfer import Cast

if TYPE_CHECKING:
    from tinynn.compiler.expand import Expander

Formula = Callable[..., Any]
Rule = Callable[["Expander", Instruction], tuple[Formula, tuple[int, ...]] | None]

# Elements from which on norms and losses keep their kernels, which go through memory less often, with threads. On one
# thread the loops are faster up to a million elements (float32, rows of 64: 226 against 369 us at 262144).
LARGEST = 1 << 18
MOST_CLASSES = 512  # classes up to which a label is found by comparison with all of them
_KERNELS = (Conv2d, MaxPool2d, AvgPool2d)  # whose gradients are not written out
_SMALL = {np.dtype(np.int32), np.dtype(np.uint8)}  # dtypes of indices that are read as int64
_BEYOND = 1 << 40  # an index that is out of range of anything


def _when_small(formula: Callable[[Any], Formula]) -> Rule:
    """The formula, unless the first input is large."""

    def rule(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
        if expander.size(instruction.inputs[0]) > LARGEST or expander.size(instruction.inputs[0]) == 0:
            return None
        return formula(instruction.op), instruction.inputs

    return rule


# ---------------------------------------------------------------------------------------------- norms, losses


def _layer_norm(op: LayerNorm) -> Formula:
    def formula(x: Any, weight: Any, bias: Any) -> Any:
        mean = reduce.mean(x, axis=1, keepdims=True)
        centred = x - mean
        rstd = 1.0 / elementwise.sqrt(reduce.mean(centred * centred, axis=1, keepdims=True) + op.eps)
        out = centred * rstd
        out = out if weight is None else out * weight
        return out if bias is None else out + bias, mean, rstd

    return formula


def _batch_norm(op: BatchNorm) -> Formula:
    def formula(x: Any, weight: Any, bias: Any) -> Any:
        mean = reduce.mean(x, axis=(0, 2), keepdims=True)
        centred = x - mean
        variance = reduce.mean(centred * centred, axis=(0, 2), keepdims=True)
        rstd = 1.0 / elementwise.sqrt(variance + op.eps)
        out = centred * rstd
        out = out if weight is None else out * expand_dims(weight, 1)
        return out if bias is None else out + expand_dims(bias, 1), mean, variance, rstd

    return formula


def _cross_entropy(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    logits = instruction.inputs[0]
    classes = expander.types[logits][0][1]
    if not 0 < expander.size(logits) <= LARGEST or classes > MOST_CLASSES:
        return None

    def formula(x: Any, labels: Any) -> Any:
        m = reduce.max(x, axis=1, keepdims=True)
        m = where(less(piecewise.abs(m), np.inf), m, 0.0)
        log_sum = elementwise.log(reduce.sum(elementwise.exp(x - m), axis=1, keepdims=True))
        return reshape(log_sum + (m - _picked(x, labels, classes)), (-1,)), log_sum + m

    return formula, instruction.inputs


def _is_label(labels: Any, classes: int, dtype: Any) -> Any:
    """Where row i has its label, a bool (rows, classes). As numbers of the loop: exact for classes below 2**24."""
    number = labels.astype(dtype)
    number = where(less(number, 0.0), number + float(classes), number)  # -1 is the last one
    return equal(expand_dims(number, 1), np.arange(classes, dtype=dtype))


def _picked(x: Any, labels: Any, classes: int) -> Any:
    """x[i, labels[i]] as (rows, 1); NaN where there is no such class, as a program cannot raise."""
    number = expand_dims(labels.astype(x.dtype), 1)
    there = logical_and(less(-classes - 0.5, number), less(number, classes - 0.5))
    picked = reduce.sum(where(_is_label(labels, classes, x.dtype), x, 0.0), axis=1, keepdims=True)
    return where(there, picked, np.nan)


def _gradient(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    """The op's own gradient formulas, one for each input that is asked for."""
    op: Any = instruction.op
    large = max(map(expander.size, instruction.inputs)) > LARGEST
    if isinstance(op.op, _KERNELS) or large or expander.size(instruction.inputs[0]) == 0:
        return None
    if isinstance(op.op, SoftmaxCrossEntropy):
        logits = instruction.inputs[1 + op.names.index("logits")]
        if expander.types[logits][0][1] > MOST_CLASSES:
            return None

    def formula(g: Any, *arrays: Any) -> Any:
        saved = {**dict(zip(op.names, arrays, strict=True)), **dict(op.fixed)}
        rules = op.op.rules
        found = [rules[i][0](op.op, g, **{name: saved[name] for name in rules[i][1]}) for i in op.wanted]
        return tuple(found)

    return formula, instruction.inputs


def _dropout(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    """Forward and backward ask for the same mask: it is drawn once."""
    p = instruction.op.p  # type: ignore[attr-defined]

    def formula(x: Any, position: Any) -> Any:
        return where(apply(Keep(p, tuple(x.shape)), position), x * (1.0 / (1.0 - p)), 0.0)

    return formula, instruction.inputs


# ----------------------------------------------------------------------------------------- picking and placing


def _gather(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    """Picks by several index arrays: by comparison where each row has one, else by one index into all elements."""
    op: Any = instruction.op
    x, *indices = instruction.inputs
    shape = expander.types[x][0]
    if _has_small_integers(expander, indices):
        return lambda x, *indices: apply(op, x, *map(_as_int64, indices)), instruction.inputs
    if not _is_by_arrays(expander, op.pattern, indices):
        return None
    k = len(indices)
    if _picks_one_per_row(expander, shape, instruction.inputs[1:]):

        def one_per_row(x: Any, _: Any, labels: Any) -> Any:
            return reshape(_picked(x, labels, shape[1]), (-1,))

        return one_per_row, instruction.inputs

    def formula(x: Any, *indices: Any) -> Any:
        flat = reshape(x, (math.prod(shape[:k]), *shape[k:]))
        return apply(Gather((ARRAY,)), flat, _linear(indices, shape))

    return formula, instruction.inputs


def _scatter(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    op: Any = instruction.op
    x, *indices = instruction.inputs
    if _has_small_integers(expander, indices):
        return lambda x, *indices: apply(op, x, *map(_as_int64, indices)), instruction.inputs
    if not _is_by_arrays(expander, op.pattern, indices):
        return None
    k, shape = len(indices), op.shape
    if _picks_one_per_row(expander, shape, instruction.inputs[1:]) and len(expander.types[x][0]) == 1:

        def one_per_row(x: Any, _: Any, labels: Any) -> Any:
            return where(_is_label(labels, shape[1], x.dtype), expand_dims(x, 1), 0.0)

        return one_per_row, instruction.inputs

    def formula(x: Any, *indices: Any) -> Any:
        flat = (math.prod(shape[:k]), *shape[k:])
        return reshape(apply(Scatter((ARRAY,), flat), x, _linear(indices, shape)), shape)

    return formula, instruction.inputs


def _has_small_integers(expander: Expander, indices: list[int]) -> bool:
    kinds = {expander.types[i][1] for i in indices}
    return bool(kinds & _SMALL) and kinds <= {*_SMALL, np.dtype(np.int64)}


def _as_int64(index: Any) -> Any:
    return index if index.dtype == np.int64 else index.astype(np.int64)


def _is_by_arrays(expander: Expander, pattern: tuple[Any, ...], indices: list[int]) -> bool:
    """Whether several int64 arrays index the first axes."""
    arrays = all(part is ARRAY for part in pattern) and len(pattern) > 1
    return arrays and all(expander.types[i][1] == np.int64 for i in indices)


def _picks_one_per_row(expander: Expander, shape: tuple[int, ...], indices: tuple[int, ...]) -> bool:
    """Whether the elements are x[0, label[0]], x[1, label[1]], ... of a matrix with few columns."""
    if len(shape) != 2 or len(indices) != 2 or shape[1] > MOST_CLASSES or 0 in shape:
        return False
    rows = expander.constants.get(indices[0])
    if rows is None or expander.types[indices[1]][0] != shape[:1]:
        return False
    return bool(np.array_equal(rows, np.arange(shape[0])))


def _linear(indices: Any, shape: tuple[int, ...]) -> Any:
    """One index into the first axes together. What is out of range in one of them is out of range of all."""
    total = None
    for k, index in enumerate(indices):
        n, stride = shape[k], math.prod(shape[k + 1 : len(indices)])
        index = index if hasattr(index, "node") else np.asarray(index)
        index = where(less(index, 0), index + n, index)
        inside = logical_and(logical_not(less(index, 0)), less(index, n))
        part = where(inside, index * stride, _BEYOND)
        total = part if total is None else total + part
    return total


# ------------------------------------------------------------------------------------------------ odds and ends


def _flip(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    """A slice with steps of -1, which is a view."""
    axes = instruction.op.axis  # type: ignore[attr-defined]
    ndim = len(expander.types[instruction.inputs[0]][0])
    index = tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(ndim))
    return lambda x: apply(Slice(index), x), instruction.inputs


def _cast(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    """The choice between two integers as a number is the choice between two numbers, and fits into a loop."""
    maker = expander.makers.get(instruction.inputs[0])
    if maker is None or not isinstance(maker.op, Where) or expander.types[instruction.inputs[0]][1] != np.int64:
        return None
    dtype = instruction.op.dtype  # type: ignore[attr-defined]

    def number(x: Any) -> Any:
        return float(x) if isinstance(x, int) else x.astype(dtype)

    shape = expander.types[instruction.inputs[0]][0]
    if shape not in (expander.types[r][0] for r in maker.inputs[1:]):  # a number has no dtype of its own
        return None
    return lambda condition, a, b: where(condition, number(a), number(b)), maker.inputs


def _some(expander: Expander, instruction: Instruction) -> tuple[Formula, tuple[int, ...]] | None:
    """Any element: the largest of 0 and 1; all elements: the smallest."""
    op: Any = instruction.op
    x = instruction.inputs[0]
    dtype = expander.types[x][1]
    if dtype.kind not in "bf" or expander.size(x) == 0:
        return None
    extreme = reduce.max if isinstance(op, Some) else reduce.min

    def formula(x: Any) -> Any:
        true = x if dtype.kind == "b" else not_equal(x, 0.0)
        numbers = true.astype(dtype if dtype.kind == "f" else _real_type(expander))
        return less(0.5, extreme(numbers, op.axis, op.keepdims))

    return formula, instruction.inputs


def _real_type(expander: Expander) -> Any:
    """The dtype that the program computes in."""
    kinds = {dtype for _, dtype in expander.program.types.values() if dtype in (np.float32, np.float64)}
    return np.dtype(np.float32) if kinds == {np.dtype(np.float32)} else np.dtype(np.float64)


FORMULAS: dict[type, Rule] = {
    LayerNorm: _when_small(_layer_norm),
    BatchNorm: _when_small(_batch_norm),
    SoftmaxCrossEntropy: _cross_entropy,
    GradientOf: _gradient,
    Dropout: _dropout,
    Gather: _gather,
    Scatter: _scatter,
    Flip: _flip,
    Cast: _cast,
    Some: _some,
    All: _some,
}
