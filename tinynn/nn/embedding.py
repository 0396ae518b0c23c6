"""Embedding: a row of numbers for each of a set of things that are named by integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.creation import zeros
from tinynn.nn import functional as F
from tinynn.nn import init
from tinynn.nn.module import Module
from tinynn.nn.parameter import Parameter
from tinynn.random import Generator
from tinynn.tensor import Tensor


class Embedding(Module):
    """out[...] = W[index[...]]: a table of rows that are looked up

    Parameters
    ----------
    num_embeddings : number of rows
    embedding_dim : length of a row
    padding_idx : a row that starts at 0 and gets no gradient
    dtype : of the table; the default dtype if None
    generator : where the first values come from

    Attributes
    ----------
    weight : W, (num_embeddings, embedding_dim), at first standard normal

    Shapes: integers (...) to (..., embedding_dim).

    Raises
    ------
    ValueError
        If a length is not positive, or there is no row ``padding_idx``.
    TypeError
        If the indices are no integers.
    IndexError
        If an index is not in 0 ... num_embeddings - 1.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Embedding(10, 3)(tinynn.tensor([[1, 2], [3, 9]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(
                f"Embedding: num_embeddings={num_embeddings} and embedding_dim={embedding_dim} must be positive"
            )
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx={padding_idx} is none of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = Parameter(zeros(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the table anew from the standard normal distribution; the padding's row is 0."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            row = np.arange(self.num_embeddings)[:, None] == self.padding_idx
            self.weight.assign_(np.where(row, 0.0, self.weight.numpy()))

    def forward(self, indices: Tensor) -> Tensor:
        """Look the rows up."""
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The settings."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
