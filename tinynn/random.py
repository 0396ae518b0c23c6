"""Random numbers from counters (Philox): the n-th number of a seed is the same everywhere and in every mode.

A `Generator` is a seed and a counter. Drawing encrypts counter, counter + 1, ... under the seed (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC11), so that a dropout mask is the same eagerly and compiled, on the
CPU and on the GPU. Nothing here touches NumPy's global state.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.autodiff import apply
from tinynn.backends import convert, numpy_backend
from tinynn.creation import lengths
from tinynn.dtypes import get_default_dtype
from tinynn.kernels import philox
from tinynn.modes import mode
from tinynn.ops.draw import Draw
from tinynn.ops.transfer import to
from tinynn.tensor import Tensor

Shape = int | tuple[int, ...]


_reserving = threading.Lock()  # two threads must not draw the same numbers


class Generator:
    """A stream of random numbers: a seed, and a counter that says how far it has been used.

    Parameters
    ----------
    seed : int, 0 <= seed < 2**64

    Examples
    --------
    >>> import tinynn
    >>> a, b = tinynn.Generator(7), tinynn.Generator(7)
    >>> bool((tinynn.rand(3, generator=a) == tinynn.rand(3, generator=b)).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        if mode.recorder is not None:
            mode.recorder.made(self)
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of another seed."""
        if mode.recorder is not None:
            mode.recorder.reseeding(self, "manual_seed()")
        seed = int(seed)
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in 0 ... 2**64 - 1, not {seed}")
        self.seed = seed
        self.offset = 0
        return self

    def reserve(self, blocks: int) -> int:
        """Take ``blocks`` of four 32-bit words from the stream; returns the counter of the first."""
        with _reserving:
            start = self.offset
            self.offset = (start + blocks) % 2**64
        return start

    def position(self, blocks: int) -> NDArray[np.uint64]:
        """Take ``blocks`` from the stream; returns [seed, counter of the first], the input of random operations."""
        place = np.array((self.seed, self.reserve(blocks)), np.uint64)
        if mode.recorder is not None:
            mode.recorder.drawn(self, blocks, place)
        return place

    def next_seed(self) -> int:
        """A fresh seed for another generator (63 bits), drawn from this one."""
        if mode.recorder is not None:
            mode.recorder.reseeding(self, "drawing a seed (for a generator, a DataLoader, a split)")
        words = philox.random_bits(2, self.seed, self.reserve(1))
        return (int(words[0]) << 32 | int(words[1])) >> 1

    def state_dict(self) -> dict[str, int]:
        """Seed and counter."""
        return {"seed": self.seed, "offset": self.offset}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a saved generator stood."""
        self.manual_seed(state["seed"])
        self.offset = int(state["offset"])

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, offset={self.offset})"


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the generator that is used where none is given.

    Examples
    --------
    >>> import tinynn
    >>> _ = tinynn.manual_seed(0)
    >>> a = tinynn.rand(2)
    >>> _ = tinynn.manual_seed(0)
    >>> bool((a == tinynn.rand(2)).all())
    True
    """
    return default_generator.manual_seed(seed)


def rand(*shape: Any, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform numbers in [0, 1).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.rand(2, 3, generator=tinynn.Generator(0)).shape
    (2, 3)
    """
    return _draw("uniform", lengths(shape), generator, dtype, requires_grad)


def randn(*shape: Any, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Standard normal numbers.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.randn(2, 3, generator=tinynn.Generator(0)).shape
    (2, 3)
    """
    return _draw("normal", lengths(shape), generator, dtype, requires_grad)


def _draw(kind: str, shape: tuple[int, ...], generator: Generator | None, dtype: Any, requires_grad: bool) -> Tensor:
    generator = generator or default_generator
    dtype = np.dtype(dtype or get_default_dtype())
    result = _drawn(Draw(kind, shape, dtype), generator)
    return result.requires_grad_() if requires_grad else result


def _drawn(op: Draw, generator: Generator) -> Tensor:
    """New random numbers; in a recorded program an operation, whose input is the position in the stream."""
    position = generator.position(op.blocks())
    if mode.recorder is not None:
        return to(apply(op, Tensor(position)), convert.default_device)
    return Tensor(convert.placed(op.forward(numpy_backend, position)))


def randint(low: int, high: int | None = None, shape: Shape = (), generator: Generator | None = None) -> Tensor:
    """Integers in low ... high - 1 (0 ... low - 1 if ``high`` is None).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.randint(0, 10, (2, 3), generator=tinynn.Generator(0)).shape
    (2, 3)
    """
    if high is None:
        low, high = 0, low
    generator = generator or default_generator
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return _drawn(Draw("integers", shape, np.dtype(np.int64), low, high), generator)


def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """The numbers 0 ... n - 1 in random order.

    Examples
    --------
    >>> import tinynn
    >>> sorted(tinynn.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    generator = generator or default_generator
    return _drawn(Draw("permutation", (n,), np.dtype(np.int64)), generator)
