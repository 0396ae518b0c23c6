"""Derivatives held against finite differences, in random directions, in both modes and to second order.

For a function f, a direction v of its input and a direction u of its output, the number u . J v can be had
in three ways, which must agree:

* finite differences of f along v, then the product with u;
* forward mode: J v, then the product with u;
* reverse mode: u J, then the product with v.

A random direction meets every entry of the Jacobian at once: a wrong entry stays hidden only by chance of
measure zero. Where the numbers differ, the check goes on to find the element to blame, one unit vector at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynn import func
from tinynn.tensor import Tensor

Array = np.ndarray[Any, Any]


class GradcheckError(AssertionError):
    """A derivative does not agree with finite differences, or the two modes disagree."""


def gradcheck(
    function: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    forward_mode: bool = True,
    directions: int = 2,
    step: float = 1e-4,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
) -> bool:
    """Check reverse mode and forward mode of ``function`` against central differences.

    The differences are of fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, so that in float64 they
    are good to about ten digits. All is done in float64.

    Parameters
    ----------
    function : takes tensors, returns a tensor or a tuple of them
    inputs : arrays or tensors; those of floating-point numbers are differentiated, the rest is handed on
    order : 2 checks second derivatives too (see `gradgradcheck`)
    forward_mode : check `tinynn.func.jvp` as well
    directions : how many random directions are tried for each input
    step : h; stay further than 2 h away from corners
    rtol, atol : allowed error: ``atol + rtol * size`` with the size of the numbers compared
    seed : of the random directions

    Returns
    -------
    True, so that it can stand in an ``assert``.

    Raises
    ------
    GradcheckError
        Naming the input, the element, what was expected and what came.
    TypeError
        If no input is of floating-point numbers.

    Examples
    --------
    >>> import tinynn
    >>> x, y = tinynn.tensor([0.5, 2.0]), tinynn.tensor(0.3)
    >>> tinynn.debug.gradcheck(lambda x, y: (x * y).tanh(), x, y, order=2)
    True
    """
    problem = _Problem(function, inputs, rtol, atol, step)
    generator = np.random.default_rng(seed)
    for i in problem.differentiable:
        for _ in range(directions):
            v = generator.standard_normal(problem.inputs[i].shape)
            problem.compare_along(i, v, generator, forward_mode)
    if order > 1:
        gradgradcheck(
            function,
            *inputs,
            forward_mode=forward_mode,
            directions=directions,
            step=step,
            rtol=rtol,
            atol=atol,
            seed=seed + 1,
        )
    return True


def gradgradcheck(function: Callable[..., Any], *inputs: Any, seed: int = 0, **options: Any) -> bool:
    """Check second derivatives: `gradcheck` of (inputs, u) -> u J, the reverse mode of ``function`` itself.

    Takes the options of `gradcheck`. The cotangents u are inputs like the others, so that the dependence of
    the gradient formulas on what comes from above is checked as well.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.debug.gradgradcheck(lambda x: x**3, tinynn.tensor([0.5, 2.0]))
    True
    """
    problem = _Problem(function, inputs)
    generator = np.random.default_rng(seed)
    cotangents = [generator.standard_normal(out.shape) for out in problem.run(problem.inputs)]
    count = len(problem.inputs)

    def pullback(*arguments: Any) -> tuple[Any, ...]:
        outputs = _as_tuple(function(*arguments[:count]))
        chosen = [arguments[i] for i in problem.differentiable]
        pairs = [(y, u) for y, u in zip(outputs, arguments[count:], strict=True) if y.node is not None]
        if not pairs:
            return tuple(x * 0.0 for x in chosen)
        outs, seeds = zip(*pairs, strict=True)
        found = func.gradients(outs, chosen, seeds, create_graph=True, allow_unused=True)
        return tuple(x * 0.0 if g is None else g for x, g in zip(chosen, found, strict=True))

    try:
        return gradcheck(pullback, *inputs, *cotangents, seed=seed, **options)
    except GradcheckError as error:
        raise GradcheckError(
            "second order: in the function (inputs, cotangents of the outputs) -> gradients, with the "
            f"cotangents numbered from {count} on: {error}"
        ) from None


class _Problem:
    """A function with its inputs in float64, and the three ways to its derivatives."""

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        rtol: float = 0.0,
        atol: float = 0.0,
        step: float = 0.0,
    ) -> None:
        self.function = function
        self.inputs = [_to_float64(x) for x in inputs]
        self.differentiable = [
            i for i, x in enumerate(self.inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        ]
        self.rtol, self.atol, self.step = rtol, atol, step
        if not self.differentiable:
            raise TypeError("gradcheck: no input is of floating-point numbers, there is nothing to differentiate")

    def run(self, inputs: Sequence[Any]) -> list[Array]:
        """The values of the function."""
        # recorded all the same: the function may differentiate inside
        outputs = self.function(*[_leaf(x) if i in self.differentiable else x for i, x in enumerate(inputs)])
        return [np.asarray(_array_of(y), dtype=np.float64) for y in _as_tuple(outputs)]

    def reverse(self, cotangents: Sequence[Any]) -> list[Array]:
        """u J for each differentiable input."""
        arguments = [_leaf(x) if i in self.differentiable else x for i, x in enumerate(self.inputs)]
        outputs = _as_tuple(self.function(*arguments))
        chosen = [arguments[i] for i in self.differentiable]
        pairs = [(y, Tensor(u)) for y, u in zip(outputs, cotangents, strict=True) if y.node is not None]
        if not pairs:
            return [np.zeros(x.shape) for x in chosen]
        outs, seeds = zip(*pairs, strict=True)
        found = func.gradients(outs, chosen, seeds, allow_unused=True)
        return [np.zeros(x.shape) if g is None else np.asarray(g.array) for x, g in zip(chosen, found, strict=True)]

    def forward(self, i: int, v: Array) -> list[Array]:
        """J v, by forward accumulation."""

        def of_one(x: Any) -> tuple[Any, ...]:
            arguments = [_leaf(y) if k in self.differentiable else y for k, y in enumerate(self.inputs)]
            arguments[i] = x
            return _as_tuple(self.function(*arguments))

        return [np.asarray(t.array) for t in func.jvp(of_one, (Tensor(self.inputs[i]),), (Tensor(v),))[1]]

    def differences(self, i: int, v: Array) -> list[Array]:
        """J v, by central differences of fourth order."""

        def moved(by: float) -> list[Array]:
            inputs = list(self.inputs)
            inputs[i] = self.inputs[i] + by * v
            return self.run(inputs)

        h = self.step / max(1.0, float(np.abs(v).max(initial=0.0)))
        near, far = zip(moved(h), moved(-h), strict=True), zip(moved(2 * h), moved(-2 * h), strict=True)
        return [(8 * (a - b) - (c - d)) / (12 * h) for (a, b), (c, d) in zip(near, far, strict=True)]

    def compare_along(self, i: int, v: Array, generator: np.random.Generator, forward_mode: bool) -> None:
        """Hold the three ways against each other for one input and one direction."""
        expected = self.differences(i, v)
        cotangents = [generator.standard_normal(e.shape) for e in expected]
        gradient = self.reverse(cotangents)[self.differentiable.index(i)]
        if gradient.shape != v.shape:
            raise GradcheckError(
                f"reverse mode: the gradient of input {i} has shape {gradient.shape}, the input {v.shape}"
            )
        products = [u * e for u, e in zip(cotangents, expected, strict=True)]
        wanted, got = sum(float(p.sum()) for p in products), float((gradient * v).sum())
        # sums of terms that cancel are as uncertain as their largest terms
        size = max([float(np.abs(p).sum()) for p in products] + [float(np.abs(gradient * v).sum())])
        if not abs(wanted - got) <= self.atol + self.rtol * size:
            raise GradcheckError(self._blame(i, cotangents, gradient, wanted, got))
        if forward_mode:
            for k, (e, t) in enumerate(zip(expected, self.forward(i, v), strict=True)):
                if e.shape != t.shape:
                    raise GradcheckError(
                        f"forward mode, input {i}: the tangent of output {k} has shape {t.shape}, the output {e.shape}"
                    )
                wrong = ~self._close(e, t)
                if wrong.any():
                    where = tuple(int(n) for n in np.argwhere(wrong)[0])
                    raise GradcheckError(
                        f"forward mode, along a random direction of input {i} (shape {v.shape}): "
                        f"element {where} of output {k} moves by {e[where]:.10g} (finite differences), "
                        f"but jvp gave {t[where]:.10g}; "
                        f"{int(wrong.sum())} of {wrong.size} elements are wrong"
                    )

    def _blame(self, i: int, cotangents: list[Any], gradient: Array, wanted: float, got: float) -> str:
        """Which element of the gradient is wrong: one unit vector after the other, up to a thousand."""
        text = (
            f"reverse mode, input {i} (shape {gradient.shape}): along a random direction "
            f"expected {wanted:.10g}, got {got:.10g}"
        )
        for where in list(np.ndindex(gradient.shape))[:1000]:
            unit = np.zeros(gradient.shape)
            unit[where] = 1.0
            columns = self.differences(i, unit)
            e = sum(float((u * c).sum()) for u, c in zip(cotangents, columns, strict=True))
            if not self._close(np.asarray(e), np.asarray(gradient[where])):
                found = f"{e:.10g} (finite differences), but is {gradient[where]:.10g}"
                return f"{text}; element {where} should be {found}"
        return text

    def _close(self, expected: Array, got: Array) -> Array:
        scale = max(float(np.abs(expected).max(initial=0.0)), float(np.abs(got).max(initial=0.0)))
        return np.abs(expected - got) <= self.atol + self.rtol * scale


def _to_float64(x: Any) -> Any:
    """Floating-point arrays and tensors as float64 arrays of their own; everything else as it is."""
    array = x.array if isinstance(x, Tensor) else x
    if isinstance(array, float) or getattr(getattr(array, "dtype", None), "kind", "") == "f":
        return np.array(array, dtype=np.float64)
    return x


def _leaf(x: Array) -> Tensor:
    return Tensor(x.copy()).requires_grad_()


def _array_of(y: Any) -> Any:
    if not isinstance(y, Tensor):
        raise TypeError(f"gradcheck: the function must return tensors, not {type(y).__name__}")
    return y.array


def _as_tuple(outputs: Any) -> tuple[Any, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
