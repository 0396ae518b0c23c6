"""Can it learn a handful of samples by heart? The first test of a model, its loss and its optimizer together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.creation import tensor
from tinynn.modes import no_grad
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn.nn.module import Module
    from tinynn.optim import Optimizer

_LARGE = 100.0  # numbers of this size want scaling
_FALLING = 0.99  # of what it was a tenth of the updates ago: the loss is still on its way


@dataclass(frozen=True, repr=False)
class Overfit:
    """What `overfit_batch` found; true if the samples were memorised.

    Attributes
    ----------
    memorised : whether the loss reached the target
    losses : before each update, and after the last one
    target : the loss that counts as memorised
    hints : what may stand in the way, the surest first
    """

    memorised: bool
    losses: list[float]
    target: float
    hints: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.memorised

    def __repr__(self) -> str:
        count = len(self.losses) - 1
        line = (
            f"{'memorised' if self.memorised else 'NOT memorised'}: the loss went from {self.losses[0]:.3g} to "
            f"{self.losses[-1]:.3g} in {count} update{'s' * (count != 1)} (target {self.target:.3g})"
        )
        return "\n".join([line, *(f"  - {hint}" for hint in self.hints)])


def overfit_batch(
    model: Module,
    loss_fn: Callable[[Any, Any], Any],
    inputs: Any,
    targets: Any,
    optimizer: Callable[[Any], Optimizer] | None = None,
    *,
    steps: int = 1000,
    tolerance: float = 1e-3,
    target: float | None = None,
) -> Overfit:
    """Train a copy of the model on a few samples until it knows them by heart, and say what may be wrong if it fails.

    A model that cannot memorise ten samples will not learn from ten thousand: something is wrong with the model, the
    loss, the optimizer or the data, and with ten samples it is found within a second. Besides the loss, this looks at
    what usually stands in the way: samples that contradict each other, numbers that are not finite or not scaled,
    parameters that no gradient reaches or that the optimizer does not move, outputs that are the same for all
    samples, dropout, a loss that explodes or has not stopped falling. The model itself stays as it is.

    Parameters
    ----------
    model : a module, in training or in evaluation mode
    loss_fn : takes outputs and targets, returns a scalar
    inputs : array or tensor of shape (n, ...), or a tuple of them for a model with several inputs
    targets : array or tensor of shape (n, ...)
    optimizer : a function from parameters to an optimizer, such as ``lambda p: optim.SGD(p, lr=0.1)``; by default
        Adam with a learning rate of 0.01
    steps : the most steps of the optimizer
    tolerance : memorised is a loss of ``tolerance`` times the first one ...
    target : ... or this loss, for losses whose lowest value is not zero

    Returns
    -------
    Overfit
        True in an ``if`` or ``assert`` when memorised; printed, it is a line and the hints.

    Raises
    ------
    ValueError
        If there are no samples, their numbers differ, the loss is not a scalar, or a setting is out of its range.
    TypeError
        If ``optimizer`` does not return an optimizer.

    Examples
    --------
    >>> import numpy as np
    >>> import tinynn
    >>> from tinynn import debug, nn
    >>> _ = tinynn.manual_seed(0)
    >>> x = np.linspace(-1, 1, 8).reshape(-1, 1)
    >>> model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1))
    >>> assert debug.overfit_batch(model, nn.MSELoss(), x, x**2)
    >>> x[1] = x[0]
    >>> debug.overfit_batch(model, nn.MSELoss(), x, np.arange(8.0).reshape(-1, 1) / 8)
    NOT memorised: the loss went from 0.33 to 0.00099... in 1000 updates (target 0.00033)
      - samples 0 and 1 have the same inputs and different targets: no function of these inputs can learn both
    """
    from tinynn.optim import Adam, Optimizer

    if steps < 1:
        raise ValueError(f"overfit_batch: steps must be at least 1, got {steps}")
    if target is None and not 0 < tolerance < 1:
        raise ValueError(f"overfit_batch: tolerance is a share of the first loss, between 0 and 1, got {tolerance}")
    xs = [_constant(x) for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
    y = _constant(targets)
    _check_lengths(xs, y)
    model = copy.deepcopy(model)
    parameters = dict(model.named_parameters())
    chosen = Adam(parameters.values(), lr=1e-2) if optimizer is None else optimizer(list(parameters.values()))
    if not isinstance(chosen, Optimizer):
        raise TypeError(
            "overfit_batch: optimizer is a function that makes one for the copy of the model, such as "
            f"lambda parameters: optim.SGD(parameters, lr=0.1); it returned a {type(chosen).__name__}"
        )
    about_gradients: list[str] = []

    def closure() -> Tensor:
        chosen.zero_grad()
        loss = _loss(model, loss_fn, xs, y)
        loss.backward()
        if len(losses) == 1:
            about_gradients[:] = _about_gradients(parameters)
        return loss

    def current() -> float:
        with no_grad():
            return float(_loss(model, loss_fn, xs, y))

    start = {name: _values(p) for name, p in parameters.items()}
    with np.errstate(all="ignore"):  # numbers that are not finite are reported below
        was_flat = _same_for_all(model, xs, y)
        losses = [current()]
        goal = tolerance * losses[0] if target is None else target
        moved = True
        while True:
            memorised = losses[-1] <= goal and current() <= goal  # twice: dropout may have been lucky once
            if memorised or not moved or not math.isfinite(losses[-1]) or len(losses) > steps:
                break
            chosen.step(closure)
            losses.append(current())
            if len(losses) == 2:
                moved = any(not np.array_equal(start[name], _values(p)) for name, p in parameters.items())
        is_flat = was_flat and _same_for_all(model, xs, y)
    if memorised:
        return Overfit(True, losses, goal, tuple(about_gradients))
    about_losses = _about_losses(losses) if moved else ["the first step of the optimizer changed no parameter"]
    hints = [*_about_data(xs, y), *about_losses, *about_gradients, *_about_dropout(model)]
    if is_flat:
        hints.append("the outputs are the same for all samples, before and after: nothing of the inputs arrives there")
    return Overfit(False, losses, goal, tuple(hints))


def _constant(data: Any) -> Tensor:
    """The data as a tensor outside of any graph."""
    return data.detach() if isinstance(data, Tensor) else tensor(data)


def _values(t: Tensor) -> np.ndarray[Any, Any]:
    return t.detach().numpy().copy()


def _check_lengths(xs: list[Tensor], y: Tensor) -> None:
    shapes = [x.shape for x in [*xs, y]]
    if any(not shape or shape[0] == 0 for shape in shapes):
        raise ValueError(f"overfit_batch: inputs and targets need at least one sample, shape (n, ...), got {shapes}")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"overfit_batch: inputs and targets differ in the number of samples, with shapes {shapes}")


def _loss(model: Module, loss_fn: Callable[[Any, Any], Any], xs: list[Tensor], y: Tensor) -> Tensor:
    loss = loss_fn(model(*xs), y)
    if not isinstance(loss, Tensor) or loss.size != 1:
        got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"overfit_batch: loss_fn must return a scalar tensor, but it returned {got}; take the mean")
    return loss


# ------------------------------------------------------------------------------------------------- the hints


def _about_data(xs: list[Tensor], y: Tensor) -> Iterator[str]:
    arrays = [_values(t) for t in [*xs, y]]
    for name, array in zip(["the inputs"] * len(xs) + ["the targets"], arrays):
        if array.dtype.kind != "f":
            continue
        bad = ~np.isfinite(array)
        if bad.any():
            yield f"{name} have {bad.sum()} NaN or infinite values, the first in sample {int(np.argwhere(bad)[0][0])}"
        elif (largest := float(np.abs(array).max())) > _LARGE:
            yield f"{name} go up to {largest:.3g}: scale them (tinynn.data.StandardScaler)"
    rows = [[array[k].tobytes() for array in arrays] for k in range(len(arrays[0]))]
    first_with: dict[tuple[bytes, ...], int] = {}
    for k, (*inputs, wanted) in enumerate(rows):
        earlier = first_with.setdefault(tuple(inputs), k)
        if rows[earlier][-1] != wanted:
            yield (
                f"samples {earlier} and {k} have the same inputs and different targets: no function of these inputs "
                "can learn both"
            )
            break


def _about_losses(losses: list[float]) -> Iterator[str]:
    if not math.isfinite(losses[0]):
        yield f"the loss is {losses[0]} before the first update; tinynn.debug.detect_anomaly() finds the line"
    elif not math.isfinite(losses[-1]) or losses[-1] > 10 * abs(losses[0]):
        yield f"the loss exploded (after {len(losses) - 1} updates): try a tenth of the learning rate"
    elif losses[-1] < _FALLING * losses[len(losses) * 9 // 10]:
        yield "the loss is still falling: try more steps, or a higher learning rate"


def _about_gradients(parameters: dict[str, Any]) -> Iterator[str]:
    """What the first backward pass has left: no gradient at all, or only zeros."""
    frozen = [name for name, p in parameters.items() if not p.requires_grad]
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    none = [name for name, p in trained.items() if p.grad is None]
    zero = [name for name, p in trained.items() if p.grad is not None and not _values(p.grad).any()]
    for names, what in (
        (frozen, "frozen (requires_grad is False)"),
        (none, "reached by no gradient: not used in the output, or cut off by detach() or no_grad()"),
        (zero, "given a gradient of zeros: dead activations above, or inputs of zero"),
    ):
        if names:
            yield f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {what}"


def _about_dropout(model: Module) -> Iterator[str]:
    from tinynn.nn import Dropout

    active = [name for name, part in model.named_modules() if isinstance(part, Dropout) and part.training]
    if active:
        yield f"dropout is on ({_listed(active)}): without it (model.eval()) memorising is easier"


def _same_for_all(model: Module, xs: list[Tensor], y: Tensor) -> bool:
    """Whether all samples get the same output, although their targets differ."""
    with no_grad(), np.errstate(all="ignore"):
        output = model(*xs)
    if not isinstance(output, Tensor) or output.shape[:1] != y.shape[:1] or not np.isfinite(_values(output)).all():
        return False
    values, wanted = _values(output), _values(y)
    differ = np.ptp(values, axis=0).max() > 1e-6 * max(1.0, float(np.abs(values).max()))
    return bool(not differ and np.ptp(wanted, axis=0).any())


def _listed(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


__all__ = ["Overfit", "overfit_batch"]
