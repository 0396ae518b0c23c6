"""Where an operand lies: a window on a buffer. Reshapes, transposes and slices move no data, they are views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


def contiguous_strides(shape: Shape) -> tuple[int, ...]:
    """Steps between neighbours along each axis, in elements, of an array in row-major order.

    Examples
    --------
    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


@dataclass(frozen=True)
class View:
    """Elements of the buffer ``base``: the one at (i, j, ...) lies at ``offset + i strides[0] + j strides[1] + ...``.

    Examples
    --------
    >>> x = View.whole(1, (2, 3))
    >>> x.transposed((1, 0))
    %1(3, 2) by (1, 3)
    """

    base: int
    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    @staticmethod
    def whole(base: int, shape: Shape) -> View:
        """All of a buffer."""
        return View(base, shape, contiguous_strides(shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def squeezed(self) -> View:
        """Without the axes of length 1."""
        kept = [i for i, n in enumerate(self.shape) if n != 1]
        if len(kept) == len(self.shape):
            return self
        return View(self.base, tuple(self.shape[i] for i in kept), tuple(self.strides[i] for i in kept), self.offset)

    def is_whole(self, size: int) -> bool:
        """Whether it is a buffer of ``size`` elements in order."""
        view = self.squeezed()
        return self.offset == 0 and view.size == size and view.strides == contiguous_strides(view.shape)

    def is_contiguous(self) -> bool:
        """Whether its elements lie side by side, in order."""
        view = self.squeezed()
        return view.strides == contiguous_strides(view.shape)

    def broadcast(self, shape: Shape) -> View:
        """Repeated to a larger shape by NumPy's rule: by strides of zero."""
        extra = len(shape) - len(self.shape)
        strides = [0] * extra
        for n, wanted, stride in zip(self.shape, shape[extra:], self.strides, strict=True):
            strides.append(0 if n == 1 and wanted != 1 else stride)
        return View(self.base, shape, tuple(strides), self.offset)

    def transposed(self, axes: Sequence[int]) -> View:
        """The axes in another order."""
        return View(self.base, tuple(self.shape[i] for i in axes), tuple(self.strides[i] for i in axes), self.offset)

    def reshaped(self, shape: Shape) -> View | None:
        """The same elements in the same order in another shape; None where that needs a copy."""
        if math.prod(shape) != self.size:
            raise ValueError(f"a view of shape {self.shape} cannot be reshaped to {shape}")
        if self.size == 0 or self.is_contiguous():
            return View(self.base, shape, contiguous_strides(shape), self.offset)
        runs: list[tuple[int, int]] = []  # (length, step) of axes that go on as if they were one
        for n, stride in zip(self.shape, self.strides, strict=True):
            if n == 1:
                continue
            if runs and runs[-1][1] == n * stride:
                runs[-1] = runs[-1][0] * n, stride
            else:
                runs.append((n, stride))
        strides: list[int] = []
        left, step = 1, 0  # of the current run, from behind
        for n in reversed(shape):
            if n != 1 and left == 1:
                left, step = runs.pop()
            if left % n:
                return None
            strides.append(step if n != 1 else 1)
            left, step = left // n, step * n
        return View(self.base, shape, tuple(reversed(strides)), self.offset)

    def sliced(self, index: tuple[Any, ...]) -> View | None:
        """``x[index]`` for numbers, slices, None and an ellipsis; None (the answer) for what is no view."""
        if any(not (i is None or i is Ellipsis or isinstance(i, (int, slice))) for i in index):
            return None
        named = sum(i is not None and i is not Ellipsis for i in index)
        rest = [slice(None)] * (len(self.shape) - named)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            index = (*index[:at], *rest, *index[at + 1 :])
        else:
            index = (*index, *rest)
        shape, strides, offset, axis = [], [], self.offset, 0
        for i in index:
            if i is None:
                shape.append(1)
                strides.append(1)
                continue
            n, stride = self.shape[axis], self.strides[axis]
            axis += 1
            if isinstance(i, int):
                offset += (i % n) * stride
                continue
            start, stop, step = i.indices(n)
            length = len(range(start, stop, step))
            shape.append(length)
            strides.append(step * stride)
            offset += start * stride if length else 0
        return View(self.base, tuple(shape), tuple(strides), offset)

    def in_three(self, axis: int, split: int) -> View | None:
        """The axes before ``axis``, those from there before ``split``, and the rest, each joined to one; None: a copy.

        Examples
        --------
        >>> View.whole(1, (2, 3, 4, 5)).in_three(1, 2)
        %1(2, 3, 20)
        """
        shape: Shape = ()
        strides: tuple[int, ...] = ()
        for i, j in ((0, axis), (axis, split), (split, len(self.shape))):
            size, stride = 1, 0
            for n, step in reversed(list(zip(self.shape[i:j], self.strides[i:j], strict=True))):
                if n != 1 and size != 1 and step != stride * size:
                    return None
                size, stride = size * n, step if size == 1 and n != 1 else stride
            shape, strides = (*shape, size), (*strides, stride)
        return View(self.base, shape, strides, self.offset)

    def __repr__(self) -> str:
        where = f"+{self.offset}" if self.offset else ""
        steps = "" if self.strides == contiguous_strides(self.shape) else f" by {self.strides}"
        return f"%{self.base}{where}{self.shape}{steps}"
