"""Copies of a tensor in another dtype or on another device; linear, so gradients go back the other way."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.backends import convert
from tinynn.ops.base import Op


class Cast(Op):
    """out = x with another dtype; the cotangent goes back in the dtype of x"""

    linear = True

    def __init__(self, dtype: np.dtype[Any], back: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.back = back

    def forward(self, xp, x):
        return x.astype(self.dtype)

    def grad_x(self, g):
        return apply(Cast(self.back, self.dtype), g)


class Copy(Op):
    """out = x in memory of its own, as a constant"""

    def forward(self, xp, x):
        return convert.copied(x, None)


class Truncate(Op):
    """out = x as integers or bools; no gradient"""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def forward(self, xp, x):
        return x.astype(self.dtype)


class Move(Op):
    """out = x in the memory of another device"""

    linear = True

    def __init__(self, device: str, back: str) -> None:
        self.device = device
        self.back = back

    def forward(self, xp, x):
        return convert.to_device(x, self.device)

    def grad_x(self, g):
        return apply(Move(self.back, self.device), g)


def copied(x: Any) -> Any:
    """A copy of a tensor that is part of a recorded program, outside of the graph."""
    return apply(Copy(), x)


def refuse_mixed(name: str, x: Any, weight: Any) -> None:
    """Refuse an input of another dtype than the layer's parameters, and say what to do.

    Raises
    ------
    TypeError
        If the dtypes differ.
    """
    if x.dtype != weight.dtype:
        raise TypeError(
            f"{name}: x is {x.dtype} and the parameters are {weight.dtype}. Convert the input, "
            f"x.to({str(weight.dtype)!r})"
            + (f", or the model, model.to({str(x.dtype)!r})." if x.dtype.kind == "f" else ".")
        )


def to(x: Any, target: Any) -> Any:
    """The tensor with another dtype or on another device; differentiable.

    Parameters
    ----------
    x : tensor
    target : a dtype (``"float32"``, ``np.float64``), or a device: ``"cpu"``, ``"cupy"`` (``"cuda"``)

    Raises
    ------
    TypeError
        If the target is neither.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.tensor([1.5]).to("float32").dtype
    dtype('float32')
    """
    if isinstance(target, str) and target.split(":")[0] in convert.DEVICES:
        device = convert.DEVICES[target.split(":")[0]]
        here = convert.device_of(x.array).split(":")[0]
        return x if device == here else apply(Move(device, here), x)
    dtype: np.dtype[Any] | None
    try:
        dtype = np.dtype(target)
    except TypeError:
        dtype = None
    if dtype is None or target is None or dtype.kind not in "fiub":
        raise TypeError(
            f"to({target!r}): neither a dtype of real numbers such as 'float32' nor a device: 'cpu' or 'cupy'"
        )
    if dtype == x.dtype:
        return x
    if dtype.kind != "f":
        return apply(Truncate(dtype), x)
    return apply(Cast(dtype, x.dtype), x)
