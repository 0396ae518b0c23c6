"""Products: matrices, dot and outer products, einsum, and the linear layer's x @ W.T + b."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.autodiff import apply
from tinynn.ops.base import Op
from tinynn.ops.elementwise import root
from tinynn.ops.reduce import sum
from tinynn.ops.shape import expand_dims, reshape, transpose, with_shape
from tinynn.ops.transfer import refuse_mixed


class MatMul(Op):
    """out = a @ b,   dL/da = g @ b.T,   dL/db = a.T @ g   (over leading axes, which broadcast)"""

    broadcasts = True

    def forward(self, xp, a, b):
        return a @ b

    def grad_a(self, g, *, b):
        return g @ b.swapaxes(-1, -2)

    def grad_b(self, g, *, a):
        return a.swapaxes(-1, -2) @ g

    def tangent(self, tangents, *, a=None, b=None):
        """Forward mode: d(a @ b) = da @ b + a @ db."""
        da, db = tangents
        if db is None:
            return da @ b
        return a @ db if da is None else da @ b + a @ db


class Linear(Op):
    """out = x @ W.T + b,   dL/dx = g @ W,   dL/dW = g.T @ x,   dL/db = sum of g over the batch"""

    def forward(self, xp, x, weight, bias):
        out = x @ weight.T
        if bias is not None:
            out += bias
        return out

    def grad_x(self, g, *, weight):
        return g @ weight

    def grad_weight(self, g, *, x):
        return _rows(g).T @ _rows(x)

    def grad_bias(self, g):
        return _rows(g).sum(axis=0)

    def tangent(self, tangents, *, x=None, weight=None):
        """Forward mode: dx @ W.T + x @ dW.T + db."""
        dx, d_weight, d_bias = tangents
        total = 0.0
        if dx is not None:
            total = total + dx @ weight.T
        if d_weight is not None:
            total = total + x @ d_weight.T
        return total if d_bias is None else total + d_bias


class Contract(Op):
    """out = sum over shared indices of a times b, written in einsum's letters

    Every letter of an input stands in the other input or in the output, so a gradient is again such a sum:
    dL/da is the contraction of g with b.
    """

    def __init__(self, a: str, b: str, out: str) -> None:
        self.letters_a, self.letters_b, self.letters_out = a, b, out

    def forward(self, xp, a, b):
        return xp.einsum(f"{self.letters_a},{self.letters_b}->{self.letters_out}", a, b, optimize=True)

    def grad_a(self, g, *, b):
        return apply(Contract(self.letters_out, self.letters_b, self.letters_a), g, b)

    def grad_b(self, g, *, a):
        return apply(Contract(self.letters_a, self.letters_out, self.letters_b), a, g)

    def tangent(self, tangents, *, a=None, b=None):
        """Forward mode: the product rule."""
        da, db = tangents
        if db is None:
            return apply(self, da, b)
        return apply(self, a, db) if da is None else apply(self, da, b) + apply(self, a, db)


class Diagonal(Op):
    """out = the elements where two axes of equal length have the same index, as a last axis"""

    linear = True

    def __init__(self, axis1: int, axis2: int) -> None:
        self.axis1, self.axis2 = axis1, axis2

    def forward(self, xp, x):
        return xp.diagonal(x, 0, self.axis1, self.axis2).copy()

    def grad_x(self, g, *, x_shape):
        n = x_shape[self.axis1]
        order = [i for i in range(len(x_shape)) if i not in (self.axis1, self.axis2)]
        full = expand_dims(g, len(order)) * np.eye(n, dtype=g.dtype)
        order += [self.axis1, self.axis2]
        return transpose(full, tuple(order.index(i) for i in range(len(order))))


def _rows(x: Any) -> Any:
    """All leading axes as one."""
    return x if len(x.shape) == 2 else x.reshape((-1, x.shape[-1]))


_MATMUL, _LINEAR = MatMul(), Linear()


def matmul(a: Any, b: Any) -> Any:
    """Matrix product over the last two axes; leading axes broadcast; vectors as in NumPy.

    Raises
    ------
    ValueError
        If the last length of ``a`` is not the last-but-one of ``b``, or an input has no axis.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.matmul(tinynn.tensor([[1.0, 2.0]]), tinynn.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    a, b = with_shape(a), with_shape(b)
    if not a.shape or not b.shape:
        raise ValueError(
            f"matmul: inputs of shape {tuple(a.shape)} and {tuple(b.shape)}; use * for products with a number"
        )
    if a.shape[-1] != b.shape[max(len(b.shape) - 2, 0)]:
        raise ValueError(
            f"matmul: a of shape {tuple(a.shape)} and b of shape {tuple(b.shape)} do not fit: the last length of a, "
            f"{a.shape[-1]}, must be the {'last but one' if len(b.shape) > 1 else 'only'} length of b, "
            f"{b.shape[max(len(b.shape) - 2, 0)]}"
        )
    if len(a.shape) > 1 and len(b.shape) > 1:
        return apply(_MATMUL, a, b)
    rows = expand_dims(a, 0) if len(a.shape) == 1 else a
    columns = expand_dims(b, 1) if len(b.shape) == 1 else b
    out = apply(_MATMUL, rows, columns)
    shape = out.shape
    if len(b.shape) == 1:
        shape = shape[:-1]
    if len(a.shape) == 1:
        shape = shape[:-2] if len(b.shape) == 1 else shape[:-2] + shape[-1:]
    return reshape(out, shape)


def rmatmul(b: Any, a: Any) -> Any:
    """a @ b"""
    return matmul(a, b)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x @ weight.T + bias: the linear layer.

    Parameters
    ----------
    x : (..., in_features)
    weight : (out_features, in_features)
    bias : (out_features,) or None

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If the dtypes of ``x`` and ``weight`` differ.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.linear(tinynn.tensor([[1.0, 2.0]]), tinynn.tensor([[3.0, 4.0]]), tinynn.tensor([0.5]))
    tensor([[11.5]])
    """
    x = with_shape(x)
    if not x.shape or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: the last axis of x must be in_features = {weight.shape[1]}, but x has shape {tuple(x.shape)} "
            f"(weight has shape {tuple(weight.shape)}: out_features, in_features)"
        )
    if x.dtype != weight.dtype:
        refuse_mixed("linear", x, weight)
    if len(x.shape) == 1:
        return apply(_LINEAR, reshape(x, (1, -1)), weight, bias).reshape((-1,))
    return apply(_LINEAR, x, weight, bias)


def dot(a: Any, b: Any) -> Any:
    """Sum of products over the last axis of ``a`` and the last-but-one (or only) axis of ``b``, as NumPy's.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.dot(tinynn.tensor([1.0, 2.0]), tinynn.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a, b = with_shape(a), with_shape(b)
    if not a.shape or not b.shape:
        return a * b
    if len(b.shape) <= 2:
        return matmul(a, b)
    letters_a = "".join(map(chr, range(97, 97 + len(a.shape))))
    letters_b = list(map(chr, range(97 + len(a.shape), 97 + len(a.shape) + len(b.shape))))
    letters_b[-2] = letters_a[-1]
    out = letters_a[:-1] + "".join(letter for i, letter in enumerate(letters_b) if i != len(letters_b) - 2)
    return einsum(f"{letters_a},{''.join(letters_b)}->{out}", a, b)


def outer(a: Any, b: Any) -> Any:
    """Every product of an element of ``a`` with one of ``b`` (both flattened).

    Examples
    --------
    >>> import tinynn
    >>> tinynn.outer(tinynn.tensor([1.0, 2.0]), tinynn.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's sum convention, as NumPy's: letters name axes; those not in the output are summed over.

    Three or more operands are contracted in pairs, in the order of `numpy.einsum_path`.

    Parameters
    ----------
    subscripts : such as ``"ij,jk->ik"``; without an arrow the output has the letters that stand once, sorted.
        The dots of NumPy's form with an ellipsis are not supported: name the axes.
    operands : one tensor per group of letters

    Raises
    ------
    ValueError
        If the letters do not fit the operands, or one letter stands for two lengths.

    Examples
    --------
    >>> import tinynn
    >>> a = tinynn.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tinynn.einsum("ij,j->i", a, tinynn.tensor([1.0, 1.0]))
    tensor([3., 7.])
    >>> tinynn.einsum("ii", a)
    tensor(5.)
    """
    terms, out = _parse(subscripts, operands)
    work = [_simplify(x, letters) for x, letters in zip(map(with_shape, operands), terms, strict=True)]
    order: list[tuple[int, ...]] = [(0, 1)] if len(work) == 2 else []
    if len(work) > 2:
        shapes = [np.broadcast_to(np.empty((), bool), x.shape) for x, _ in work]
        order = np.einsum_path(",".join(t for _, t in work) + "->" + out, *shapes)[0][1:]
        order = [pair for group in order for pair in [tuple(group)]]
    for group in order:
        while len(group) > 1:  # a path may name three at once: take the last two first
            x, a = work.pop(max(group[-2:]))
            y, b = work.pop(min(group[-2:]))
            others = set(out).union(*[letters for _, letters in work])
            work.append(_pair(y, b, x, a, others))
            group = (*group[:-2], len(work) - 1)
    x, letters = work[0]
    kept = [i for i, letter in enumerate(letters) if letter not in out]
    if kept:
        x = sum(x, axis=tuple(kept))
        letters = "".join(letter for letter in letters if letter in out)
    order_of_axes = tuple(letters.index(letter) for letter in out)
    return transpose(x, order_of_axes) if order_of_axes != tuple(range(len(out))) else x


def _parse(subscripts: str, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    text = subscripts.replace(" ", "")
    if "." in text:
        raise ValueError(f"einsum: {subscripts!r} has an ellipsis; name the axes instead")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if not arrow:
        out = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    if len(terms) != len(operands):
        raise ValueError(f"einsum: {subscripts!r} names {len(terms)} operands, but {len(operands)} were given")
    lengths: dict[str, int] = {}
    for k, (letters, x) in enumerate(zip(terms, operands, strict=True)):
        shape = np.shape(x) if not hasattr(x, "shape") else tuple(x.shape)
        if len(letters) != len(shape) or not (letters.isalpha() or letters == ""):
            raise ValueError(f"einsum: {letters!r} in {subscripts!r} does not fit operand {k} of shape {shape}")
        for letter, n in zip(letters, shape, strict=True):
            if lengths.setdefault(letter, n) != n:
                raise ValueError(
                    f"einsum: {letter!r} in {subscripts!r} stands for lengths {lengths[letter]} and {n} (operand {k})"
                )
    for letter in out:
        if letter not in lengths or out.count(letter) > 1:
            raise ValueError(f"einsum: {letter!r} in the output of {subscripts!r} is not in an input, or stands twice")
    return terms, out


def _simplify(x: Any, letters: str) -> tuple[Any, str]:
    """Take the diagonal of axes with the same letter."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            i, j = letters.index(letter), letters.rindex(letter)
            x = apply(Diagonal(i, j), x)
            letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + letter
    return x, letters


def _pair(x: Any, a: str, y: Any, b: str, others: set[str]) -> tuple[Any, str]:
    """Contract two operands; letters that nobody else needs are summed over."""
    lone_a = tuple(i for i, letter in enumerate(a) if letter not in b and letter not in others)
    lone_b = tuple(i for i, letter in enumerate(b) if letter not in a and letter not in others)
    if lone_a:
        x, a = sum(x, axis=lone_a), "".join(letter for i, letter in enumerate(a) if i not in lone_a)
    if lone_b:
        y, b = sum(y, axis=lone_b), "".join(letter for i, letter in enumerate(b) if i not in lone_b)
    out = "".join(letter for letter in dict.fromkeys(a + b) if letter in others)
    return apply(Contract(a, b, out), x, y), out


def norm(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """Euclidean length, sqrt(sum of squares), over ``axis``; its derivative at 0 is taken as 0.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([0.0, 0.0], requires_grad=True)
    >>> tinynn.norm(x).backward()
    >>> x.grad
    tensor([0., 0.])
    """
    x = with_shape(x)
    return root(sum(x * x, axis=axis, keepdims=keepdims))
