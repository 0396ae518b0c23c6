"""Random numbers as an operation: a function of the position in a stream, so that a program draws new ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.ops.base import Op


class Draw(Op):
    """out = numbers of the Philox stream ``position`` = [seed, first block], two uint64

    Parameters
    ----------
    kind : "uniform", "normal", "integers" or "permutation"
    shape : of the output
    dtype : of uniform and normal numbers
    low, high : of integers
    """

    def __init__(
        self, kind: str, shape: tuple[int, ...], dtype: np.dtype[Any], low: int | None = None, high: int | None = None
    ) -> None:
        self.kind, self.shape, self.dtype, self.low, self.high = kind, shape, dtype, low, high

    def forward(self, xp, position):
        from tinynn.kernels import philox

        seed, start = int(position[0]), int(position[1])
        n = int(np.prod(self.shape))
        if self.kind == "integers":
            assert self.low is not None
            assert self.high is not None
            return philox.integers(n, self.low, self.high, seed, start).reshape(self.shape)
        if self.kind == "permutation":
            return philox.permutation(n, seed, start)
        return getattr(philox, self.kind)(n, seed, start, self.dtype).reshape(self.shape)

    def blocks(self) -> int:
        """How many blocks of the stream the draw uses."""
        from tinynn.kernels import philox

        return philox.blocks_consumed(self.kind, int(np.prod(self.shape)), self.dtype)
