"""First values of parameters. All functions overwrite the tensor that they get, and return it.

What keeps a signal's size from layer to layer depends on how many inputs each output adds up, ``fan_in``, and
how many outputs each input feeds, ``fan_out``; for a kernel both count its places. With variance 1/fan_in
(LeCun), 2/(fan_in + fan_out) (Glorot & Bengio) or 2/fan_in (He et al., for ReLU) the size neither dies out
nor explodes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.random import Generator, rand, randn
from tinynn.tensor import Tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much to scale weights in front of a nonlinearity, so that it keeps the signal's size.

    =====================================  =============================================
    linear, conv2d, identity, sigmoid      1
    tanh                                   5/3
    relu                                   sqrt(2)
    leaky_relu                             sqrt(2/(1 + slope**2)), slope 0.01 by default
    selu                                   3/4
    =====================================  =============================================

    Parameters
    ----------
    nonlinearity : one of the names above
    param : the slope of leaky_relu

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> from tinynn.nn import init
    >>> init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: nonlinearity {nonlinearity!r} is not one of leaky_relu, {', '.join(_GAINS)}")
    return _GAINS[nonlinearity]


_GAINS = {
    "linear": 1.0, "conv2d": 1.0, "identity": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def fans(tensor: Tensor) -> tuple[int, int]:
    """fan_in and fan_out of a weight of shape (out, in) or (out, in, kernel height, ...).

    Raises
    ------
    ValueError
        If the tensor has less than two axes.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.fans(tinynn.zeros(8, 3, 5, 5))
    (75, 200)
    """
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(
            f"fan_in and fan_out need a weight with two axes or more (out, in, ...), not one of shape {shape}"
        )
    places = math.prod(shape[2:])
    return shape[1] * places, shape[0] * places


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [a, b).

    Examples
    --------
    >>> import tinynn
    >>> t = tinynn.nn.init.uniform_(tinynn.zeros(100), 2.0, 3.0)
    >>> bool((t >= 2.0).all() & (t < 3.0).all())
    True
    """
    if not a <= b:
        raise ValueError(f"uniform_: the lower end a={a} is above the upper end b={b}")
    return tensor.assign_(rand(tensor.shape, generator=generator, dtype=tensor.dtype) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal numbers with the mean and standard deviation given.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.normal_(tinynn.zeros(3), mean=5.0, std=0.0)
    tensor([5., 5., 5.])
    """
    if std < 0.0:
        raise ValueError(f"normal_: the standard deviation std={std} must not be negative")
    return tensor.assign_(randn(tensor.shape, generator=generator, dtype=tensor.dtype) * std + mean)


def constant_(tensor: Tensor, value: float) -> Tensor:
    """One value everywhere.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.constant_(tinynn.zeros(2), 7.0)
    tensor([7., 7.])
    """
    return tensor.assign_(np.full(tensor.shape, value, tensor.dtype))


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.zeros_(tinynn.ones(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.ones_(tinynn.zeros(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def standard_uniform_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """U[-1/sqrt(n), 1/sqrt(n)) with n = fan_in: variance 1/(3 n).

    The "standard initialisation" of Glorot & Bengio (AISTATS 2010, equation 1), which courses often print
    under the name of Xavier; their own proposal is `xavier_uniform_`. It is the default of `Linear` and
    `Conv2d`, as in PyTorch.

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.nn.init.standard_uniform_(tinynn.zeros(50, 100))
    >>> bool((abs(w) <= 0.1).all())
    True
    """
    bound = 1.0 / math.sqrt(max(fans(tensor)[0], 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """U[-a, a) with a = gain sqrt(6/(fan_in + fan_out)).

    The "normalised initialisation" of Glorot & Bengio (AISTATS 2010, equation 16).

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.nn.init.xavier_uniform_(tinynn.zeros(20, 40))
    >>> bool((abs(w) <= 0.1**0.5).all())
    True
    """
    bound = gain * math.sqrt(6.0 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal numbers with standard deviation gain sqrt(2/(fan_in + fan_out)) (Glorot & Bengio, AISTATS 2010).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.xavier_normal_(tinynn.zeros(2, 2), gain=0.0)
    tensor([[0., 0.],
            [0., 0.]])
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(sum(fans(tensor)), 1)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """U[-b, b) with b = gain sqrt(3/fan) (He et al., arXiv:1502.01852, equations 10 and 14).

    Parameters
    ----------
    tensor : the weight
    a : slope of leaky_relu; 0 is ReLU
    mode : "fan_in" keeps the size of the signal, "fan_out" that of the gradients
    nonlinearity : see `calculate_gain`

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.nn.init.kaiming_uniform_(tinynn.zeros(50, 600))
    >>> bool((abs(w) <= 0.1).all())
    True
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers with standard deviation gain/sqrt(fan); parameters as in `kaiming_uniform_`.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.nn.init.kaiming_normal_(tinynn.zeros(3, 4)).shape
    (3, 4)
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode must be 'fan_in' or 'fan_out', not {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """gain times a random matrix with orthonormal rows (or columns, where there are fewer).

    Source: Saxe et al., arXiv:1312.6120.

    Axes after the first count as one. The Q of a QR decomposition of normal numbers, with the signs of R's
    diagonal, is distributed evenly over all such matrices (Mezzadri, arXiv:math-ph/0609050).

    Raises
    ------
    ValueError
        If the tensor has less than two axes.

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.nn.init.orthogonal_(tinynn.zeros(3, 5))
    >>> bool((abs(w @ w.T - tinynn.eye(3)) < 1e-12).all())
    True
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: a tensor with two axes or more is needed, not one of shape {tensor.shape}")
    if not tensor.size:
        return tensor
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]
    normal: Any = randn(max(rows, columns), min(rows, columns), generator=generator, dtype="float64").array
    q, r = np.linalg.qr(normal)
    q = q * np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
    return tensor.assign_((gain * (q if rows >= columns else q.T)).reshape(tensor.shape).astype(tensor.dtype))
