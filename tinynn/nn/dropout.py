"""Dropout."""

from __future__ import annotations

from tinynn.nn import functional as F
from tinynn.nn.module import Module
from tinynn.random import Generator
from tinynn.tensor import Tensor


class Dropout(Module):
    """In training, out = x/(1 - p) where the element is kept, else 0; in evaluation, out = x.

    Each element is dropped with probability p, by itself. Dividing by 1 - p keeps the mean, so that
    evaluation needs no correction (Srivastava et al., JMLR 15 (2014)). The mask follows from the generator's
    seed and counter.

    Parameters
    ----------
    p : probability of dropping
    inplace : accepted, so that PyTorch code runs; nothing is ever overwritten
    generator : where the mask comes from; `tinynn.manual_seed` seeds the default one

    Shapes: any; the output has the same.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1].

    Examples
    --------
    >>> import tinynn
    >>> layer = tinynn.nn.Dropout(0.5)
    >>> sorted(set(layer(tinynn.ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(tinynn.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, generator: Generator | None = None) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p must be a probability, 0 <= p <= 1, not {p}")
        self.p = p
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements, in training."""
        return F.dropout(x, self.p, self.training, self.generator)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}"
