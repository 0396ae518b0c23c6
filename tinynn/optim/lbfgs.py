"""L-BFGS: Newton's method with a Hessian guessed from the last few steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinynn import graph, modes
from tinynn.backends.dispatch import namespace_of
from tinynn.changes import changes
from tinynn.optim.checks import check_count, check_number
from tinynn.optim.line_search import Point, strong_wolfe
from tinynn.optim.optimizer import Closure, Optimizer
from tinynn.tensor import Tensor

_LEAST_CURVATURE = 1e-10  # y.s of a pair that is worth remembering


class LBFGS(Optimizer):
    """Limited-memory BFGS (Liu & Nocedal, Math. Program. 45 (1989) 503; Nocedal & Wright, algorithm 7.4)::

        d = -H g,   x <- x + t d

    H, a guess at the inverse Hessian, is never written out: the product H g is computed from the last
    ``history_size`` pairs s = change of x, y = change of g. For small problems without noise: the whole data
    set in every step, hundreds to a hundred thousand parameters. One ``step`` does up to ``max_iter``
    iterations, and calls the closure for every evaluation.

    Parameters
    ----------
    params : iterable of leaf tensors, or of pairs (name, tensor); one group only
    lr : step length t, and the first one that a line search tries
    max_iter : iterations in one step
    max_eval : evaluations of the closure in one step, by default 5/4 of max_iter (a line search in progress
        is finished)
    tolerance_grad : stop when no component of the gradient is larger
    tolerance_change : stop when the parameters or the loss change by less, or are about to; further steps then
        stop at once. These bounds are absolute: multiply a loss that is small by its units (hartree**2) by
        1e6, or so
    history_size : how many pairs are remembered
    line_search_fn : ``"strong_wolfe"``, or None for steps of fixed length

    Raises
    ------
    ValueError
        If a setting is out of its range, there is more than one parameter group, or a parameter is unfit.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([-1.2, 1.0], requires_grad=True)
    >>> optimizer = tinynn.optim.LBFGS([x], max_iter=100, line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> first_loss = optimizer.step(closure)
    >>> closure().item() < 1e-8
    True
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_count("LBFGS", "max_iter", max_iter, least=1)
        settings = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, settings)

    def check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "tolerance_grad", "tolerance_change"):
            check_number("LBFGS", name, group[name], least=0.0)
        for name in ("max_iter", "max_eval", "history_size"):
            check_count("LBFGS", name, group[name], least=1)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: line_search_fn must be 'strong_wolfe' or None, got {group['line_search_fn']!r}")

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Set the parameters; there can be one group only, because all of them move along one direction."""
        if self.param_groups:
            raise ValueError("LBFGS: all parameters are one vector, so there can be one parameter group only")
        super().add_param_group(group)

    @property
    def _params(self) -> list[Tensor]:
        return [p for p in self.param_groups[0]["params"] if p.requires_grad]

    def step(self, closure: Closure | None = None, keep_grad: bool = False) -> Any:
        """Do up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : sets the gradients to None, computes the loss, calls ``backward()`` and returns the loss
        keep_grad : as in the other optimizers

        Returns
        -------
        the loss that the closure returned first, before any change
        """
        modes.refuse(
            "LBFGS.step(), which decides by values how often the loss is computed,",
            "it cannot be compiled; compile the closure's loss, or use Adam",
        )
        if closure is None:
            raise TypeError(
                "LBFGS.step needs a closure that can compute the loss several times: "
                "def closure(): optimizer.zero_grad(); loss = ...; loss.backward(); return loss"
            )
        group = self.param_groups[0]
        self.check(group)
        changes.bump()
        memory = self.state[self._params[0]]
        first_loss = self._evaluate(closure)
        loss, g = float(first_loss), self._flat_gradient()
        evaluations, moved = 1, 0
        while _largest(g) > group["tolerance_grad"] and moved < group["max_iter"] and evaluations < group["max_eval"]:
            moved += 1
            first = memory.get("step", 0) == 0
            d = self._direction(g, memory, group["history_size"])
            memory.update(direction=Tensor(d), length=0.0, last_gradient=Tensor(g))
            slope = float(g @ d)
            if slope > -group["tolerance_change"]:
                break
            t = (min(1.0, 1.0 / float(abs(g).sum())) if first else 1.0) * float(group["lr"])
            before, last = loss, moved == group["max_iter"]
            t, loss, new_g, count = self._move(closure, d, t, Point(0.0, loss, slope, g), last)
            evaluations += count
            memory.update(step=memory["step"] + 1, length=t)
            g = new_g
            if t * _largest(d) <= group["tolerance_change"] or (
                count and abs(loss - before) < group["tolerance_change"]
            ):
                break
        for p in self._params:
            if isinstance(p.node, graph.Leaf):
                p.node.consumed = not keep_grad
        return first_loss

    def _direction(self, g: Any, memory: dict[str, Any], history_size: int) -> Any:
        """-H g, after the last step has been remembered; its scale is y.s/y.y (algorithm 7.4, two loops)."""
        if memory.get("step", 0) == 0:
            memory.update(step=0, old_steps=[], old_changes=[], scale=1.0)
            return -g
        steps, changes = memory["old_steps"], memory["old_changes"]
        s = memory["length"] * memory["direction"].array
        y = g - memory["last_gradient"].array
        curvature = float(y @ s)
        if curvature > _LEAST_CURVATURE:
            steps.append(Tensor(s))
            changes.append(Tensor(y))
            memory["scale"] = curvature / float(y @ y)
        del steps[:-history_size], changes[:-history_size]
        d = -g
        weights = []
        for s, y in zip(reversed(steps), reversed(changes), strict=True):
            s, y = s.array, y.array
            weight = float(s @ d) / float(y @ s)
            weights.append(weight)
            d = d - weight * y
        d = memory["scale"] * d
        for s, y, weight in zip(steps, changes, reversed(weights), strict=True):
            s, y = s.array, y.array
            d = d + (weight - float(y @ d) / float(y @ s)) * s
        return d

    def _move(self, closure: Closure, d: Any, t: float, start: Point, last: bool) -> tuple[float, float, Any, int]:
        """Go along ``d``: the step length, the loss and the gradient there, and the number of evaluations."""
        group = self.param_groups[0]
        x = self._flat_values()
        if group["line_search_fn"] is None:
            self._assign(x + t * d)
            if last:  # the next step begins by evaluating here
                return t, start.value, start.gradient, 0
            return t, float(self._evaluate(closure)), self._flat_gradient(), 1

        def evaluate(length: float) -> Point:
            self._assign(x + length * d)
            value = float(self._evaluate(closure))
            gradient = self._flat_gradient()
            return Point(length, value, float(gradient @ d), gradient)

        shortest = float(group["tolerance_change"]) / max(_largest(d), np.finfo(np.float64).tiny)
        found, count = strong_wolfe(evaluate, start, t, shortest)
        self._assign(x + found.t * d)
        return found.t, found.value, found.gradient, count

    # ------------------------------------------------------------------------ all parameters as one vector

    def _evaluate(self, closure: Closure) -> Any:
        with modes.enable_grad():
            loss = closure()
        if loss is None:
            raise TypeError("LBFGS.step: the closure returned None; it must return the loss")
        for p in self._params:  # a closure that forgets zero_grad() is told so at its next call
            if isinstance(p.node, graph.Leaf):
                p.node.consumed = True
        return loss

    def _flat_values(self) -> Any:
        arrays = [p.array.reshape(-1) for p in self._params]
        return namespace_of(arrays).concatenate(arrays)

    def _flat_gradient(self) -> Any:
        arrays = [(0.0 * p.array if p._grad is None else p._grad.array).reshape(-1) for p in self._params]
        return namespace_of(arrays).concatenate(arrays)

    def _assign(self, values: Any) -> None:
        start = 0
        for p in self._params:
            part = values[start : start + p.size].reshape(p.shape)
            start += p.size
            if p.ndim == 0 or not p.array.flags.c_contiguous or not getattr(p.array.flags, "writeable", True):
                p.array = part.astype(p.dtype)[()]
                continue
            graph.note_edit(p.node, "LBFGS.step()")
            p.array[...] = part

    def _loaded(self, number: Any, p: Tensor, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the saved history, which must fit all parameters together."""
        where = "LBFGS.load_state_dict: the state"
        size, dtype = sum(q.size for q in self._params), np.result_type(*[q.dtype for q in self._params])
        names = {"step", "direction", "length", "last_gradient", "old_steps", "old_changes", "scale"}
        if entry and set(entry) - names:
            raise ValueError(f"{where} has {sorted(set(entry) - names)}; it is of another optimizer")
        loaded = dict(entry)
        for name in ("direction", "last_gradient", "old_steps", "old_changes"):
            if name not in entry:
                continue
            value = entry[name]
            vectors = list(value) if isinstance(value, (list, tuple)) else [value]
            for v in vectors:
                if tuple(v.shape) != (size,):
                    raise ValueError(
                        f"{where}: {name} has vectors of shape {tuple(v.shape)}, the parameters make {(size,)}"
                    )
            copies = [Tensor(v.array.astype(dtype)) for v in vectors]
            loaded[name] = copies if isinstance(value, (list, tuple)) else copies[0]
        return loaded


def _largest(vector: Any) -> float:
    """The largest absolute component; infinity for NaN, so that loops go on to where the error shows."""
    largest = float(abs(vector).max())
    return math.inf if math.isnan(largest) else largest
