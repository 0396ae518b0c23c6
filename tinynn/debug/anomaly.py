"""Stop at the first NaN or infinity, in the line of the user's program that made it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np

from tinynn import graph, modes
from tinynn.backends.dispatch import describe
from tinynn.graph import Node
from tinynn.ops.base import Op
from tinynn.tensor import Tensor


class AnomalyError(FloatingPointError):
    """An operation or a gradient formula produced a NaN or an infinity."""


class detect_anomaly:
    """Watch every operation and every gradient in a block, and raise at the first number that is not finite.

    Nodes recorded inside remember the user's line (``node.made_at``), so that a backward error names the
    line of the forward pass. The error's traceback ends in the user's own frame: a debugger (``python -m
    pdb``, ``pytest --pdb``) opens there, with the variables that went in. Costs about one more pass over
    each array.

    Parameters
    ----------
    infinities : also stop at infinities (masks of -inf, as in attention, need ``infinities=False``)

    Raises
    ------
    AnomalyError
        In the block, naming the operation, the shapes, and the line.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor([1.0, 0.0], requires_grad=True)
    >>> with tinynn.debug.detect_anomaly():
    ...     y = tinynn.sqrt(x).sum()  # fine: sqrt(0) is 0
    ...     y.backward()
    Traceback (most recent call last):
    ...
    tinynn.debug.anomaly.AnomalyError: backward: Sqrt.grad_x produced 1 inf ...
    """

    def __init__(self, infinities: bool = True) -> None:
        self.infinities = infinities
        self._entered: list[Any] = []

    def __enter__(self) -> detect_anomaly:
        block = modes.observed_by(_Watch(self.infinities))
        self._entered.append((block, np.errstate(all="ignore")))  # we say it better than NumPy's warnings
        for context in self._entered[-1]:
            context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block, errstate = self._entered.pop()
        errstate.__exit__(None, None, None)
        # The block is left in good order; the error passes on by itself afterwards.
        block.__exit__(None, None, None)
        if isinstance(error, AnomalyError) and trace is not None:
            _end_in_user_frame(trace)


class _Watch:
    """The observer behind `detect_anomaly`."""

    wants_tensors = False

    def __init__(self, infinities: bool) -> None:
        self.infinities = infinities

    def applied(self, op: Op, inputs: tuple[Any, ...], result: Tensor, derived: Any = ()) -> None:
        made_at = graph.user_line()
        if result.node is not None:
            result.node.made_at = made_at
        if trouble := self._trouble(result.array):
            arrays = [getattr(x, "array", x) for x in inputs]
            names = (*op.inputs, *[op.inputs[-1]] * len(arrays))
            given = ", ".join(
                f"{name} {describe(array)}" + (f" (has {bad} already)" if (bad := self._trouble(array)) else "")
                for name, array in zip(names, arrays, strict=False)
            )
            raise AnomalyError(
                f"forward: {op!r} produced {trouble} in its output of shape {result.shape}; inputs: {given}; "
                f"at {made_at}"
            )

    def differentiated(self, node: Node, i: int, gradient: Any) -> None:
        if trouble := self._trouble(getattr(gradient, "array", gradient)):
            op = node.op
            name = op.inputs[min(i, len(op.inputs) - 1)]
            saved = ", ".join(f"{key} {describe(getattr(a, 'array', a))}" for key, a in (node.saved or {}).items())
            where = (
                f"the operation was recorded at {node.made_at}"
                if node.made_at
                else ("the operation was recorded outside detect_anomaly(), so its line is not known")
            )
            raise AnomalyError(
                f"backward: {type(op).__name__}.grad_{name} produced {trouble} in the gradient of "
                f"its input {i}, of shape {tuple(gradient.shape)}; "
                f"output shape {node.shape}; saved: {saved or 'nothing'}; {where}"
            )

    def assigned(self, tensor: Tensor, value: Any) -> None:
        if trouble := self._trouble(tensor.array):
            raise AnomalyError(f"assign_: {trouble} in the new value of {tensor.describe()}; at {graph.user_line()}")

    def _trouble(self, array: Any) -> str:
        """``"2 nan, 1 inf"``, or an empty string."""
        kind = getattr(getattr(array, "dtype", None), "kind", "f" if isinstance(array, float) else "")
        if kind != "f" or np.isfinite(array).all():
            return ""
        nans, infs = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        parts = [f"{nans} nan"] * bool(nans) + [f"{infs} inf"] * bool(infs and self.infinities)
        return f"{' and '.join(parts)} among {np.size(array)} numbers" if parts else ""


def _end_in_user_frame(trace: TracebackType) -> None:
    """Cut the library's frames off the end of a traceback."""
    last = trace
    step: TracebackType | None = trace
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith(graph.PACKAGE):
            last = step
        step = step.tb_next
    last.tb_next = None
