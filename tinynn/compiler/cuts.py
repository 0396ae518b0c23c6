"""How one row is cut along the batch: every operand goes on by one sample when the row does, or is the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinynn.compiler.rows import Loop, Multiply, Row
from tinynn.compiler.views import View

if TYPE_CHECKING:
    from tinynn.compiler.plan import Buffer

LARGE_PRODUCT = 1 << 26  # multiply-adds from which on threads share a product, if the ...
LARGE_MATRIX = 1 << 14  # ... matrix that is no batch has so many elements


@dataclass(frozen=True)
class Cut:
    """Along which axis each operand of a row is cut. None: an input is read whole, an output is a partial result.

    ``axis`` is the one of a loop's space.
    """

    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    axis: int | None = None

    @property
    def reduces(self) -> bool:
        return None in self.outputs


def follows(view: View, axis: int, length: int, size: int) -> bool:
    """Whether a view on a buffer of ``size`` elements goes through its ``length`` samples along an axis, in order.

    An axis may also count several elements of each sample, as rows of ``x.reshape(batch * time, features)`` do.
    """
    if size % length or view.shape[axis] % length or view.offset < 0 or min(view.strides) < 0:
        return False
    sample, per_sample = size // length, view.shape[axis] // length
    if per_sample * view.strides[axis] != sample:
        return False
    lengths = [per_sample if i == axis else n for i, n in enumerate(view.shape)]
    return view.offset + sum((n - 1) * stride for n, stride in zip(lengths, view.strides, strict=True)) < sample


class Cutter:
    """Cuts rows along batches of one length."""

    def __init__(self, length: int, buffers: dict[int, Buffer]) -> None:
        self.length, self.buffers = length, buffers

    def cut(self, row: Row, made: set[int]) -> Cut | None:
        """How a row can be cut; ``made`` are the buffers that the run has written so far, sample by sample."""
        if any(self.buffers[view.base].kind != "inner" for view in row.outputs):
            return None  # states are written in place: once
        if {view.base for view in row.outputs} & {view.base for view in row.inputs}:
            return None
        if isinstance(row, Multiply):
            return self._cut_product(row, made)
        if isinstance(row, Loop) and 0 not in row.space:
            for axis, n in enumerate(row.space):
                if n % self.length == 0 and (cut := self._cut_loop(row, axis, made)) is not None:
                    return cut
        return None

    def _cut_loop(self, row: Loop, axis: int, made: set[int]) -> Cut | None:
        inputs = (axis,) * len(row.inputs)  # those that stand still along it go on by nothing
        outputs = tuple(
            None if kind and not view.strides[axis] else axis
            for kind, view in zip(row.reductions, row.outputs, strict=True)
        )
        return self._checked(row, Cut(inputs, outputs, axis), made)

    def _cut_product(self, row: Multiply, made: set[int]) -> Cut | None:
        m, n, k = row.sizes
        large = m * n * k >= LARGE_PRODUCT
        sums = len(row.outputs) - 1
        if m and m % self.length == 0 and not (large and n * k >= LARGE_MATRIX):
            factors = (None,) * row.has_bias + (0,) * row.has_times
            cut = self._checked(row, Cut((0, None, *factors), (0,) * (1 + sums)), made)
            if cut is not None:
                return cut
        plain = m * n > 0 and not row.has_bias and not row.has_times
        if plain and k and k % self.length == 0 and not (large and m * n >= LARGE_MATRIX):
            return self._checked(row, Cut((1, 0), (None,) * (1 + sums)), made)
        return None

    def _checked(self, row: Row, cut: Cut, made: set[int]) -> Cut | None:
        """The cut, if samples are what the run has made so far, and what others of it will read."""
        for view, axis in zip(row.inputs, cut.inputs, strict=True):
            if view.base in made and (axis is None or not self._goes_by_samples(view, axis)):
                return None
        for view, axis in zip(row.outputs, cut.outputs, strict=True):
            if axis is not None and not self._goes_by_samples(view, axis):
                return None
        return cut

    def _goes_by_samples(self, view: View, axis: int) -> bool:
        return follows(view, axis, self.length, self.buffers[view.base].size)
