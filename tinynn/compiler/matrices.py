"""Products of matrices, of stacks of matrices and vectors, and contractions in einsum's letters, as plain products."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from tinynn.compiler.program import Instruction
from tinynn.compiler.views import Shape, View
from tinynn.compiler.work import Known, Map, Operand, Product, Reduction
from tinynn.ops.linalg import Contract, Linear, MatMul

if TYPE_CHECKING:
    from tinynn.compiler.sort import Sorter

MOST_PRODUCTS = 64  # rows of the table that one operation may become; larger stacks stay a call
MOST_TERMS = 1 << 16  # of stacks that become sums of products instead, whose terms may all be written to memory


def as_products(sorter: Sorter, instruction: Instruction, inputs: list[Operand]) -> Product | View | None:
    """A product, as work or as a view of what work before it makes; None if it has to be a call."""
    op, out = instruction.op, instruction.outputs[0]
    shape, dtype = sorter.types[out]
    if not isinstance(op, (Linear, MatMul, Contract)) or dtype.name not in ("float64", "float32"):
        return None
    if any(sorter.dtype_of(x) not in (dtype.name, "NoneType") for x in inputs) or 0 in shape:
        return None
    if any(isinstance(x, View) and min(x.strides, default=0) < 0 for x in inputs):
        return None  # BLAS knows no negative strides
    # A known operand gets a buffer of its own; until then the views on it have the base -1 or -2.
    a, b = (x if isinstance(x, View) else View.whole(~i, np.shape(x.array)) for i, x in enumerate(inputs[:2]))
    if 0 in (*a.shape, *b.shape):
        return None
    return _Stacks(sorter, instruction, inputs).made(op, a, b)


class _Stacks:
    """The two operands as stacks of matrices, (batch, m, k) and (batch, k, n), and the work of their product."""

    def __init__(self, sorter: Sorter, instruction: Instruction, inputs: list[Operand]) -> None:
        self.sorter, self.inputs, self.made_at = sorter, inputs, instruction.made_at
        self.out = instruction.outputs[0]
        self.shape, self.dtype = sorter.types[self.out][0], sorter.types[self.out][1].name
        self.name = type(instruction.op).__name__

    def made(self, op: Linear | MatMul | Contract, a: View, b: View) -> Product | View | None:
        if isinstance(op, Contract):
            return self._contraction(op, a, b)
        if isinstance(op, Linear):
            b = b.transposed((1, 0))
        a = View(a.base, (1, *a.shape), (0, *a.strides), a.offset) if len(a.shape) == 1 else a
        b = View(b.base, (*b.shape, 1), (*b.strides, 0), b.offset) if len(b.shape) == 1 else b
        if len(b.shape) == 2:  # all rows of a at once
            rows = a if len(a.shape) == 2 else self._reshaped(a, (math.prod(a.shape[:-1]), a.shape[-1]))
            return None if rows is None else self._product(self.out, rows, b, (rows.shape[0], b.shape[1]))
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = a.broadcast((*batch, *a.shape[-2:])), b.broadcast((*batch, *b.shape[-2:]))
        return self._batched(self.out, a, b)

    def _reshaped(self, view: View, shape: Shape) -> View | None:
        """A view in another shape; copied first where that needs it."""
        found = view.reshaped(shape)
        if found is None and view.base >= 0:
            found = self.sorter.copied(view, self.made_at).reshaped(shape)
        return found

    def _contraction(self, op: Contract, a: View, b: View) -> Product | View | None:
        la, lb, lo = op.letters_a, op.letters_b, op.letters_out
        if any(len(set(letters)) < len(letters) for letters in (la, lb, lo)):
            return None
        free = [letter for letter in lo if not (letter in la and letter in lb)]
        if free and free[0] in lb:  # out.T = b.T a.T
            la, lb, a, b = lb, la, b, a
        batch = [letter for letter in lo if letter in la and letter in lb]
        shared = [letter for letter in la if letter in lb and letter not in lo]
        rows, columns = ([letter for letter in lo if letter in own and letter not in batch] for own in (la, lb))
        a = a.transposed([la.index(letter) for letter in (*batch, *rows, *shared)])
        b = b.transposed([lb.index(letter) for letter in (*batch, *shared, *columns)])
        sizes = dict(zip((*batch, *rows, *shared), a.shape, strict=True))
        sizes.update(zip((*batch, *shared, *columns), b.shape, strict=True))
        stack, m, k, n = (math.prod(sizes[letter] for letter in letters) for letters in (batch, rows, shared, columns))
        outer = tuple(sizes[letter] for letter in batch)
        stacked_a, stacked_b = self._merged(a, (*outer, m, k)), self._merged(b, (*outer, k, n))
        if stacked_a is None or stacked_b is None or (stack > MOST_PRODUCTS and stack * m * n * k > MOST_TERMS):
            return None
        order = [*batch, *rows, *columns]
        natural = tuple(sizes[letter] for letter in order)
        out = self.out if order == list(lo) else self.sorter.new(natural, self.dtype)
        made: Product | View | None
        if batch:
            made = self._batched(out, stacked_a, stacked_b)
        else:
            made = self._product(out, stacked_a, stacked_b, (m, n))
        if made is None or out == self.out:
            return made
        if isinstance(made, Product):
            self.sorter.work.append(made)
        return View.whole(out, natural).transposed([order.index(letter) for letter in lo])

    def _merged(self, view: View, shape: Shape) -> View | None:
        """The last axes as two: (batch, one or more, one or more) to (batch, m, k)."""
        sizes, strides, at = [], [], 0
        for n in shape:
            size, stride = 1, 0
            while at < len(view.shape) and size * view.shape[at] <= n and (size < n or view.shape[at] == 1):
                length, step = view.shape[at], view.strides[at]
                if length != 1:
                    if size != 1 and stride != step * length:
                        return self._reshaped(view, shape)
                    size, stride = size * length, step
                at += 1
            sizes.append(size)
            strides.append(stride)
        return View(view.base, tuple(sizes), tuple(strides), view.offset)

    def _batched(self, out: int, a: View, b: View) -> Product | View | None:
        """One product for each matrix of the stacks; sums of products where these are many and small."""
        *batch, m, k = a.shape
        n = b.shape[-1]
        whole = View.whole(out, (*batch, m, n))
        stack = math.prod(batch)
        if stack > MOST_PRODUCTS or (m == n == 1 and stack > 1):
            return None if stack * m * n * k > MOST_TERMS else self._sums(out, a, b)
        for index in itertools.product(*map(range, batch)):
            part_a, part_b, place = a.sliced(index), b.sliced(index), whole.sliced(index)
            assert part_a is not None
            assert part_b is not None
            assert place is not None
            self.sorter.work.append(self._product(out, part_a, part_b, (m, n), place))
        return View.whole(out, self.sorter.types[out][0])

    def _sums(self, out: int, a: View, b: View) -> View | None:
        *batch, m, k = a.shape
        n = b.shape[-1]
        space = (*batch, m, n, k)
        left = View(a.base, (*batch, m, 1, k), (*a.strides[:-1], 0, a.strides[-1]), a.offset)
        columns = b.transposed((*range(len(batch)), len(batch) + 1, len(batch)))
        right = View(b.base, (*batch, 1, n, k), (*columns.strides[:-2], 0, *columns.strides[-2:]), b.offset)
        terms = self.sorter.new(space, self.dtype)
        work = self.sorter.work
        factors = (self._operand(left), self._operand(right))
        work.append(Map(terms, space, self.dtype, factors, lambda x, y: x * y, self.name, self.made_at))
        last = (len(space) - 1,)
        terms_view = View.whole(terms, space)
        work.append(Reduction(out, "sum", (terms_view,), last, 1.0, self.dtype, self.name, self.made_at))
        return View.whole(out, self.sorter.types[out][0])

    def _product(self, out: int, a: View, b: View, shape: Shape, place: View | None = None) -> Product:
        operands = [self._operand(a), self._operand(b), *self.inputs[2:]]
        place = View.whole(out, shape) if place is None else place
        return Product(out, tuple(operands), self.dtype, self.name, self.made_at, place)

    def _operand(self, view: View) -> Operand:
        return view if view.base >= 0 else Known(_viewed(self.inputs[~view.base], view), None)


def _viewed(operand: Operand, view: View) -> np.ndarray:
    """A view of a known array, as an array."""
    assert isinstance(operand, Known)
    flat = np.ascontiguousarray(operand.array).reshape(-1)
    strides = tuple(s * flat.itemsize for s in view.strides)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides))
