"""Parameter: a tensor that a module trains."""

from __future__ import annotations

from typing import Any

from tinynn.creation import tensor
from tinynn.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module trains: it wants a gradient, and `nn.Module` lists it.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(tensor(data).array)
        if requires_grad:
            self.requires_grad_()
