"""The training loop of the estimators: epochs by a compiled step, a validation set, stopping, best weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinynn
from tinynn import optim
from tinynn.compiler.errors import CompileError
from tinynn.data.sampler import permutation
from tinynn.nn.module import Module
from tinynn.tensor import Tensor

WORTH_COMPILING = 400  # steps: from there on compiling one pays, as a rule
TOGETHER = 64  # batches in one call of the compiled code, at least, where nothing has to happen in between
Array = NDArray[Any]
Loss = Callable[[Any, Any], Any]


@dataclass
class History:
    """What a training run was like, epoch by epoch."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; 0 where nothing was compared
    best_loss: float = math.inf


@dataclass(frozen=True)
class Validation:
    """Samples that are not trained on, and how outputs for them are scored (r2 or accuracy)."""

    x: Array
    y: Array
    score: Callable[[Array], float]


class Trainer:
    """A network, its optimizer, and the step that updates it by a batch.

    Parameters
    ----------
    network, optimizer : as `building` makes them
    loss : of outputs and targets, a value per sample (and per output), or their mean
    weight_decay : for L-BFGS, which has none of its own
    batch_size : samples in a batch
    compiled : whether a step is one compiled program
    seed : of the order of the samples
    """

    def __init__(
        self,
        network: Module,
        optimizer: optim.Optimizer,
        loss: Loss,
        weight_decay: float,
        batch_size: int,
        compiled: bool,
        seed: int,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.seed = seed
        self.epochs = 0
        # The same parameters and buffers, in evaluation mode: to look at the model without touching it.
        self.evaluated = copy.deepcopy(network, {id(t): t for t in (*network.parameters(), *network.buffers())}).eval()
        self.step = _step(network, optimizer, loss, weight_decay, compiled)
        self.loss = loss
        self.compiled = compiled
        self._recorded = False
        self._rest = np.arange(0)  # samples of the last epoch that did not fill a batch

    def run(self, arrays: tuple[Array, ...], count: int, finish: bool = False) -> list[float]:
        """Go ``count`` times over inputs, targets (and weights); the mean loss of each time, before the updates.

        Samples come in a random order, then in another, and batches run on from one epoch into the next, so that
        all of them have one size (and one compiled step). ``finish`` makes a smaller batch of what is left at the
        end, which otherwise waits for the next call.
        """
        n, size = len(arrays[0]), self.batch_size
        if size >= n:
            batch = [Tensor(a) for a in arrays]
            return [self._one(*batch) for _ in range(count)]
        orders = [permutation(n, self.seed, self.epochs + k) for k in range(count)]
        stream = np.concatenate([self._rest, *orders])
        batches = len(stream) // size
        ends = size * np.arange(1, batches + 1) - len(self._rest) - 1
        of_epoch = ends // n  # a batch counts where its last sample is from
        used, self._rest, self.epochs = stream[: batches * size], stream[batches * size :], self.epochs + count
        parts = used.reshape(batches, size)
        alone = batches if not self.compiled else 0 if self._recorded else min(2, batches)  # two steps are recorded
        losses = np.array([self._one(*(a[part] for a in arrays)) for part in parts[:alone]])
        self._recorded = self._recorded or alone == 2
        if batches > alone:
            rest = self.step.epoch(*(a[used[alone * size :]] for a in arrays), batch_size=size)
            losses = np.concatenate([losses, rest.numpy()])
        if finish and len(self._rest) > 1:  # batch norm cannot take a single sample
            self._one(*(a[self._rest] for a in arrays))
            self._rest = self._rest[:0]
        return [float(losses[of_epoch == k].mean()) for k in range(count)]

    def _one(self, *batch: Any) -> float:
        """Update the network by a batch; the loss.

        After a CompileError (the program disagreed with the eager step) all is as before, and further calls of the
        step run eagerly, with a warning.
        """
        tensors = [Tensor(a) if isinstance(a, np.ndarray) else a for a in batch]
        try:
            return float(self.step(*tensors).item())
        except CompileError:
            return float(self.step(*tensors).item())

    def outputs(self, x: Array) -> Array:
        """What the network, in evaluation, makes of inputs."""
        return evaluate(self.evaluated, x)

    def validate(self, held_out: Validation) -> tuple[float, float]:
        """Mean loss and score on a validation set."""
        outputs = self.outputs(held_out.x)
        with tinynn.no_grad():
            loss = self.loss(Tensor(outputs), Tensor(held_out.y)).mean()
        return float(loss.item()), held_out.score(outputs)


def evaluate(network: Module, x: Array, rows: int = 4096) -> Array:
    """Outputs for inputs, some thousand rows at a time."""
    with tinynn.no_grad():
        parts = [network(Tensor(x[i : i + rows])).numpy() for i in range(0, max(len(x), 1), rows)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _step(network: Module, optimizer: optim.Optimizer, loss: Loss, weight_decay: float, compiled: bool) -> Any:
    """A function of (inputs, targets) or (inputs, targets, weights): updates the network, and returns the loss."""

    def mean_loss(x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        losses = loss(network(x), y)
        if losses.ndim > 1:
            losses = losses.reshape(len(x), -1).mean(axis=1)
        if weights is None:
            return losses.mean()
        if losses.ndim == 0:
            raise ValueError(
                'loss: with sample weights it must return a loss per sample; use reduction="none" where it has one'
            )
        return (losses * weights).mean()

    if isinstance(optimizer, optim.LBFGS):

        def evaluated(x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
            optimizer.zero_grad()
            value = mean_loss(x, y, weights)
            if weight_decay:
                squares = [(p * p).sum() for p in network.parameters() if p.requires_grad]
                value = value + 0.5 * weight_decay * sum(squares[1:], squares[0])
            value.backward()
            return value

        closure = tinynn.compile(evaluated) if compiled else evaluated
        return lambda *batch: optimizer.step(lambda: closure(*batch))

    def step(x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        optimizer.zero_grad()
        value = mean_loss(x, y, weights)
        value.backward()
        optimizer.step()
        return value

    return tinynn.compile(step) if compiled else step


def train(
    trainer: Trainer,
    arrays: tuple[Array, ...],
    held_out: Validation | None,
    max_epochs: int,
    patience: int | None,
    tol: float,
    schedule: Any,
    report: Callable[[str], None] | None,
    finish: bool = False,
) -> History:
    """Train until the loss that counts has not fallen by ``tol`` for ``patience`` epochs, or for ``max_epochs``.

    With a validation set its loss counts, and the network is left with the weights of its best epoch; otherwise
    the training loss counts, and the weights are the last. Several short epochs are one call of the compiled
    code if nothing has to happen between them; then it is noticed some epochs later that training should end.

    Raises
    ------
    ValueError
        If the loss is NaN or infinite.
    """
    history, waited, best_state = History(), 0, None
    trainer.network.train()
    together = 1
    if held_out is None and schedule is None and trainer.compiled:
        together = max(1, TOGETHER * trainer.batch_size // len(arrays[0]))
    start, told = time.perf_counter(), 0
    while len(history.loss) < max_epochs:
        latest = trainer.run(arrays, min(together, max_epochs - len(history.loss)), finish)
        history.loss += latest
        number = len(history.loss)
        if held_out is not None:
            value, score = trainer.validate(held_out)
            history.validation_loss.append(value)
            history.validation_scores.append(score)
            latest = [value]
        for k, value in enumerate(latest, number - len(latest) + 1):
            if not math.isfinite(value):
                raise ValueError(
                    f"the loss became {value} in epoch {k}: the learning rate lr is too large, or the inputs have "
                    "very different sizes (scale_inputs=True)"
                )
            waited = 0 if value < history.best_loss - tol else waited + 1
            if value < history.best_loss:
                history.best_epoch, history.best_loss = k, value
        if held_out is not None and history.best_epoch == number:
            best_state = trainer.network.state_dict()
        stop = patience is not None and waited >= patience
        if report is not None and (stop or number - told >= max(1, max_epochs // 20)):
            told = number
            seen = f", validation {latest[-1]:.4g}" if held_out is not None else ""
            seconds = time.perf_counter() - start
            report(f"epoch {number} of {max_epochs}: loss {history.loss[-1]:.4g}{seen}, {seconds:.1f} s")
        if stop:
            break
        if schedule is not None:
            schedule.step()
    if best_state is not None:
        trainer.network.load_state_dict(best_state)
    return history
