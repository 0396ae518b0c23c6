"""`fit`: train a potential on energies and forces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinynn
from tinynn import optim
from tinynn.data.sampler import permutation
from tinynn.potentials.described import Table, rows_of, table_of
from tinynn.potentials.history import History, Row
from tinynn.potentials.loss import EnergyForceLoss
from tinynn.potentials.pacing import Bar, Clock, schedule
from tinynn.potentials.potential import CHUNK, Potential
from tinynn.potentials.training_sets import check_settings, sets_of
from tinynn.tensor import Tensor


def fit(
    potential: Potential,
    data: Any,
    energy: Any = None,
    forces: Any = None,
    *,
    system: Any = None,
    validation: Any = 0.1,
    loss: EnergyForceLoss | None = None,
    epochs: int | None = None,
    seconds: float | None = None,
    batch_size: int = 32,
    lr: float = 4e-3,
    optimizer: Callable[..., Any] = optim.Adam,
    patience: int | None = None,
    keep_scaling: bool = False,
    seed: int = 0,
    dtype: str = "float32",
    compile: bool = True,
    progress: bool = False,
) -> History:
    """Train a potential, and leave it with the weights that were best on the validation set.

    Features and Jacobians are computed once. The scales of features and energies, the elements' offsets and the range
    of the features are taken from the training part. Then minibatches follow each other in random order; the learning
    rate rises for a hundredth of the training and falls along a cosine to zero.

    Parameters
    ----------
    potential : `Potential`
        Its networks begin from where they are.
    data : `Configurations`, or positions (n, atoms, 3) in Å
        Or `Described` configurations.
    energy, forces : (n,) in eV, and (n, atoms, 3) in eV/Å
        If ``data`` are positions.
    system : `System`
        If ``data`` are positions.
    validation : a fraction, another set like ``data``, a tuple (positions, energy, forces), or None
        Configurations that are not trained on; a fraction is taken out of ``data`` at random. With None the errors
        are those of training, and the last weights are kept.
    loss : `EnergyForceLoss`, optional
        By default energies and forces have the same weight. With a force weight of zero, energies alone are learnt.
    epochs, seconds : one of them says how long
        In seconds, the time to compile the step counts as well.
    batch_size : configurations in a minibatch; the last ones of an epoch that do not fill one are left out of it
    lr : the highest learning rate
    optimizer : called with the parameters and ``lr=``
    patience : int, optional
        Stop when the validation set has not become better for so many epochs.
    keep_scaling : leave scales, offsets and ranges as they are, to go on with a potential that was trained before
    seed : of the order of minibatches, and of the validation part
    dtype : of training; predictions are in float64 in any case
    compile : make one program of a training step (`tinynn.compile`); the numbers are the same without, to rounding
    progress : show a bar, where tqdm is installed

    Returns
    -------
    `History`

    Raises
    ------
    ValueError
        For data that do not fit together or to the potential. Nothing was changed then.
    FloatingPointError
        If the loss becomes infinite or NaN. The potential has the best weights until then.

    Examples
    --------
    >>> import numpy as np
    >>> import tinynn
    >>> from tinynn.potentials import AtomicNetwork, Configurations, G2, SymmetryFunctions, System
    >>> _ = tinynn.manual_seed(0)
    >>> r = np.linspace(0.9, 2.5, 60)
    >>> x, f = np.zeros((60, 2, 3)), np.zeros((60, 2, 3))
    >>> x[:, 1, 2] = r
    >>> morse = 5.0 * ((1.0 - np.exp(-2.0 * (r - 1.2))) ** 2 - 1.0)
    >>> f[:, 0, 2] = 20.0 * np.exp(-2.0 * (r - 1.2)) * (1.0 - np.exp(-2.0 * (r - 1.2)))
    >>> f[:, 1] = -f[:, 0]
    >>> data = Configurations(System("OO"), x, morse, f)
    >>> shells = SymmetryFunctions([G2("O", eta=4.0, shift=s) for s in (0.8, 1.2, 1.6, 2.0, 2.4)])
    >>> potential = AtomicNetwork(shells, elements=["O"], hidden=(16, 16))
    >>> history = fit(potential, data, epochs=100, lr=1e-2, compile=False)
    >>> bool(history.best_row.energy_rmse < 0.1 * morse.std())
    True
    """
    loss = EnergyForceLoss() if loss is None else loss
    check_settings(epochs, seconds, batch_size, lr, patience, dtype)
    if keep_scaling and not potential.systems:
        raise ValueError("fit: keep_scaling=True, but the potential has no scales yet; it was never fitted")
    train_set, validation_set = sets_of(potential, data, energy, forces, system, validation, loss, seed, dtype)
    groups = [(g.system, f.values, g.energy) for g, f in zip(train_set.configurations.groups, train_set.features)]
    if keep_scaling:
        potential.systems = tuple(dict.fromkeys([*potential.systems, *(system for system, _, _ in groups)]))
    else:
        potential.fit_scaling(groups)
    train_table, validation_table = (
        table_of(potential, one, dtype, loss.force_weight > 0.0, loss.per_atom) for one in (train_set, validation_set)
    )
    training = potential.training
    potential.networks.to(dtype)
    try:
        run = _Training(potential, loss, train_table, validation_table, optimizer, lr, batch_size, seed, compile)
        return run.train(epochs, seconds, patience, validation is not None, progress)
    finally:
        potential.networks.to("float64")
        potential.train(training)


class _Training:
    """A training under way."""

    def __init__(
        self,
        potential: Potential,
        loss: EnergyForceLoss,
        table: Table,
        validation: Table,
        optimizer: Callable[..., Any],
        lr: float,
        batch_size: int,
        seed: int,
        compile: bool,
    ) -> None:
        self.potential, self.loss, self.table, self.validation = potential, loss, table, validation
        self.optimizer = optimizer(potential.networks.parameters(), lr=lr)
        self.lr, self.seed = lr, seed
        self.batch = min(batch_size, len(table))
        self.per_epoch = len(table) // self.batch
        step = training_step(potential, loss, self.optimizer, vars(table))
        self.step = tinynn.compile(step) if compile else step
        self.compiled = compile
        self.stream = self._batches()

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        """Minibatches without end, each epoch in an order of its own."""
        for epoch in count():
            order = permutation(len(self.table), self.seed, epoch)
            yield from order[: self.per_epoch * self.batch].reshape(-1, self.batch)

    def _run(self, steps: int) -> float:
        """Make some steps; the mean loss."""
        batches = np.stack(list(islice(self.stream, steps)))
        if self.compiled:
            losses = self.step.epoch(Tensor(batches.reshape(-1)), batch_size=self.batch).numpy()
        else:
            losses = [self.step(Tensor(batch)).item() for batch in batches]
        return float(np.mean(losses))

    def train(
        self, epochs: int | None, seconds: float | None, patience: int | None, keep_best: bool, progress: bool
    ) -> History:
        history, clock = History(), Clock(epochs and epochs * self.per_epoch, seconds)
        best_score, best_weights = math.inf, self.potential.networks.state_dict()
        losses: list[tuple[float, int]] = []
        self.potential.train()
        bar = Bar(progress)
        try:
            while clock.done < 1.0:
                rate = self.lr * schedule(clock.middle)
                self.optimizer.param_groups[0]["lr"] = rate
                losses.append((self._run(clock.at_once), clock.at_once))
                clock.tick()
                if not clock.validation_due:
                    continue
                energy_rmse, force_rmse = errors(self.potential, self.validation)
                means, weights = zip(*losses)
                loss = float(np.average(means, weights=weights))
                epoch = clock.steps // self.per_epoch
                row = Row(epoch, clock.steps, clock.now, rate, loss, energy_rmse, force_rmse)
                clock.validated()
                score = self.loss.score(energy_rmse, None if math.isnan(force_rmse) else force_rmse)
                if not math.isfinite(loss) or not math.isfinite(score):
                    raise FloatingPointError(
                        f"the loss is {loss} after {clock.steps} steps; choose a smaller lr than {self.lr:g}, "
                        "or look for outliers in the data"
                    )
                better = score < best_score or not keep_best
                history.append(row, better)
                losses = []
                if better:
                    best_score, best_weights = score, self.potential.networks.state_dict()
                bar.show(clock.done, row)
                if patience is not None and clock.steps - history.best_row.steps >= patience * self.per_epoch:
                    history.stopped_early = True
                    break
        finally:
            bar.close()
            self.potential.networks.load_state_dict(best_weights)
        return history


def training_step(potential: Potential, loss: EnergyForceLoss, optimizer: Any, columns: dict[str, Any]) -> Any:
    """Make the function that updates the networks by the configurations ``i`` of a table, and returns the loss before.

    The rows are taken within the step, so that a compiled one is called with indices alone.
    """

    def step(i: Any) -> Any:
        batch = rows_of(columns, i)
        optimizer.zero_grad()
        value = batch_loss(potential, loss, batch)
        value.backward()
        optimizer.step()
        return value

    return step


def batch_loss(potential: Potential, loss: EnergyForceLoss, batch: Table) -> Any:
    """Compute the loss of a batch; each configuration counts once, however many atoms it has."""
    if batch.jacobian is None:
        energy, forces, reference = potential(batch.values, None, batch.mask), None, None
    else:
        energy, forces = potential(batch.values, batch.jacobian, batch.mask)
        reference = batch.forces
        if batch.force_factor is not None:
            forces, reference = forces * batch.force_factor, reference * batch.force_factor
    if batch.energy_factor is not None:
        return loss(energy * batch.energy_factor, forces, batch.energy * batch.energy_factor, reference)
    return loss(energy, forces, batch.energy, reference)


def errors(potential: Potential, table: Table) -> tuple[float, float]:
    """Return root mean square errors of energies (eV) and forces (eV/Å); NaN for forces that are not learnt."""
    sums = np.zeros(3)
    training = potential.training
    potential.eval()
    for rows in _chunks(len(table)):
        part = rows_of(vars(table), Tensor(rows))
        if part.jacobian is None:
            with tinynn.no_grad():
                energy = potential(part.values, None, part.mask)
        else:
            energy, forces = potential(part.values, part.jacobian, part.mask)
            wrong = forces.detach().numpy().astype(np.float64) - part.forces.numpy()  # type: ignore[union-attr]
            if part.force_factor is not None:
                wrong *= part.force_factor.numpy()
            sums[1:] += (wrong**2).sum(), wrong.size
        sums[0] += ((energy.detach().numpy().astype(np.float64) - part.energy.numpy()) ** 2).sum()
    potential.train(training)
    scale = float(potential.scale.item())
    force = math.sqrt(sums[1] / sums[2]) * scale if sums[2] else math.nan
    return math.sqrt(sums[0] / len(table)) * scale, force


def _chunks(n: int) -> Iterator[Any]:
    for k in range(0, n, CHUNK):
        yield np.arange(k, min(k + CHUNK, n))
