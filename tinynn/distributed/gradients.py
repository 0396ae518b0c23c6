"""The gradient of the joined batch: a mean over the ranks, of all parameters in one exchange.

With equal batches on R ranks, the gradient of the mean loss over all of them is the mean of the ranks' gradients::

    ∂/∂w (1/(R n) Σ_r Σ_i loss_ri) = (1/R) Σ_r ∂/∂w (1/n Σ_i loss_ri)

An exchange costs some ten microseconds, whatever it carries; so the gradients of all layers travel as one flat array.

In a compiled step the exchange is one instruction, which runs in Python between the stretch of the table that computes
the gradients and the one that updates the parameters.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

from tinynn import modes
from tinynn.autodiff import apply
from tinynn.distributed import group as groups
from tinynn.modes import no_grad
from tinynn.ops.base import Op
from tinynn.ops.joining import concatenate
from tinynn.ops.shape import reshape
from tinynn.optim.optimizer import Optimizer
from tinynn.tensor import Tensor

_TICKETS = 4096  # their sum over thousands of ranks is exact in float32


class MeanOverRanks(Op):
    """out = (Σ_r n_r x_r) / (Σ_r n_r), with x_r of rank r, and n_r the weight of its batch

    Two more numbers travel with x: n_r, and a *ticket* that says which step this is and which parameters have
    gradients. Where tickets differ, the ranks are not doing the same, and that is an error.

    A program that was compiled is tried out, from the state before the step that was recorded. Others must not notice:
    then, the op answers what it was answered in that step, for an x that may have moved:
    out + n (x - x_recorded) / Σ_r n_r.
    """

    linear = True

    def __init__(self, group: groups.Group, samples: float, clock: Clock, absent: tuple[int, ...]) -> None:
        self.group = group
        self.samples = samples
        self.clock = clock
        self.absent = absent
        self.asked = False  # whether this call comes from Python, and not from a machine that runs a program
        self.recorded: tuple[int, Any, Any, float] | None = None  # step number, x, out, Σ n

    def forward(self, xp, x):
        step = self.clock.step()
        if self.recorded is not None and not self.asked:
            recorded_step, old, out, total = self.recorded
            if step == recorded_step:
                return out + (x - old) * (self.samples / total)
            self.recorded = None  # from now on it is no trial any more
        ticket = zlib.crc32(repr((step, self.absent)).encode()) % _TICKETS
        packed = xp.empty(x.size + 2, dtype=x.dtype)
        packed[:-2] = x
        packed[:-2] *= self.samples
        packed[-2], packed[-1] = self.samples, ticket
        packed = self.group.all_reduce(packed, "sum")
        total, tickets = float(packed[-2]), float(packed[-1])
        if tickets != ticket * self.group.size:
            raise RuntimeError(
                f"rank {self.group.rank} of {self.group.size} is at step {step + 1}"
                + (f", where {len(self.absent)} parameters have no gradient" if self.absent else "")
                + ", and others are not: they are at another step, or other parameters have gradients there. All ranks "
                "must make the same steps, from the same state (an optimizer's state that was loaded is loaded by all)"
            )
        out = packed[:-2] / total
        if self.asked and modes.mode.recorder is not None:
            self.recorded = step, x.copy(), out, total
        self.asked = False
        return out

    def key(self) -> tuple[Any, ...]:
        return type(self), id(self.group), self.samples, self.absent

    def __repr__(self) -> str:
        return f"MeanOverRanks({self.group.size})"


class Clock:
    """The step number of an optimizer: the same on all ranks while they do the same."""

    def __init__(self, optimizer: Optimizer | None, parameter: Tensor) -> None:
        self._optimizer, self._parameter = optimizer, parameter

    def step(self) -> int:
        if self._optimizer is None or self._parameter not in self._optimizer.state:
            return 0
        return int(self._optimizer.state[self._parameter].get("step", 0))


def all_reduce_gradients(owner: Any, samples: float = 1.0) -> None:
    """Replace the gradients by their mean over all ranks, in one exchange. Called by all of them, after ``backward()``.

    Parameters
    ----------
    owner : the optimizer, or a Module, or an iterable of parameters
        Whose gradients; those that are None on all ranks stay so. In a function that is compiled, the optimizer.
    samples : float
        The weight of this rank's gradient in the mean: how many samples its loss is the mean of, where the ranks'
        batches differ in size.

    Raises
    ------
    RuntimeError
        If the ranks are at different steps, or a parameter has a gradient on some of them only.
    ValueError
        For a weight that is not positive.

    Notes
    -----
    `DistributedOptimizer` makes this call in ``step()``. Make it yourself, and step by the plain optimizer, if
    something comes in between, such as clipping the gradient's norm.
    """
    if not samples > 0:
        raise ValueError(f"all_reduce_gradients: samples must be positive, not {samples!r}")
    optimizer = owner if isinstance(owner, Optimizer) else None
    if optimizer is None:
        modes.refuse(
            "all_reduce_gradients() of a model,",
            "give it the optimizer, whose step number tells the runs of the program from its trial",
        )
    for tensors in _trainable(owner):
        _average(tensors, float(samples), optimizer)


def _average(params: list[Tensor], samples: float, optimizer: Optimizer | None) -> None:
    """One exchange for parameters of one dtype on one device."""
    group = groups.current()
    present = [p for p in params if p.grad is not None]
    if group.size == 1:
        return
    absent = tuple(i for i, p in enumerate(params) if p.grad is None)
    with no_grad():
        # Those without a gradient take part with zeros: then all ranks send as much, and the tickets tell.
        parts = [reshape(p * 0.0 if p.grad is None else p.grad.detach(), -1) for p in params]
        op = MeanOverRanks(group, samples, Clock(optimizer, present[0] if present else params[0]), absent)
        op.asked = True
        mean = apply(op, concatenate(parts) if len(parts) > 1 else parts[0])
        end = 0
        for p in params:
            start, end = end, end + p.size
            if p.grad is not None:
                p.grad = reshape(mean[start:end], p.shape)


def _trainable(owner: Any) -> list[list[Tensor]]:
    """The parameters that want gradients, by dtype and device, in an order that all ranks share."""
    tensors: Iterable[Tensor]
    if isinstance(owner, Optimizer):
        tensors = [p for settings in owner.param_groups for p in settings["params"]]
    else:
        tensors = owner.parameters() if hasattr(owner, "parameters") else list(owner)
    kinds: dict[Any, list[Tensor]] = {}
    for p in tensors:
        if p.requires_grad:
            kinds.setdefault((p.dtype.name, p.device.split(":")[0]), []).append(p)
    return list(kinds.values())


def DistributedOptimizer(optimizer: Optimizer) -> Any:
    """Let an optimizer step by the mean of all ranks' gradients.

    Parameters
    ----------
    optimizer : any of `tinynn.optim`

    Returns
    -------
    The same optimizer, whose ``step()`` calls `all_reduce_gradients` first. With a closure (L-BFGS), each loss that the
    closure returns is averaged too, so that all ranks decide alike.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> import tinynn
    >>> model = tinynn.nn.Linear(2, 1)
    >>> optimizer = DistributedOptimizer(tinynn.optim.Adam(model.parameters(), lr=1e-3))
    >>> type(optimizer).__name__
    'DistributedAdam'
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"DistributedOptimizer: an optimizer of tinynn.optim, not a {type(optimizer).__name__}")
    if not isinstance(optimizer, _AveragesFirst):
        kind = type(optimizer)
        # Of a class of its own, so that schedules, checkpoints and compiled steps take it for what it is.
        optimizer.__class__ = type(f"Distributed{kind.__name__}", (_AveragesFirst, kind), {"__doc__": kind.__doc__})
    return optimizer


class _AveragesFirst(Optimizer):
    """What stands before an optimizer's own ``step()``."""

    def step(self, closure: Callable[[], Any] | None = None, keep_grad: bool = False) -> Any:
        if closure is None:
            all_reduce_gradients(self)
            return super().step(keep_grad=keep_grad)  # type: ignore[safe-super]

        def averaged() -> Any:
            loss = closure()
            all_reduce_gradients(self)
            return loss if loss is None else groups.all_reduce(loss, "mean")

        return super().step(averaged, keep_grad)  # type: ignore[safe-super]
