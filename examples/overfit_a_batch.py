"""Good practice before a long training: four checks that take seconds (row 6 of the syllabus).

1. Memorise a few points. A network, its loss and its optimizer must learn eight molecules by heart
   (`tinynn.debug.overfit_batch`); six ways to get it wrong, and what the check says of each.
2. Fake simple data. With targets that are a simple function of the inputs, the validation error must become small; if
   not, the error is in the program. With shuffled targets it must stay at the spread of the data; if not, the
   validation data leak into the training.
3. Check the descriptors. The energy of a molecule does not change when it is moved, rotated, or equal atoms are
   exchanged. Do the inputs? And are there molecules with equal inputs and other energies?
4. Screen on a few epochs: try many settings briefly, and train only the best quarter to the end.

The data are geometries and energies of malonaldehyde.

    python examples/overfit_a_batch.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from _example import DATA, Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn import nn, optim
from tinynn.data import StandardScaler
from tinynn.debug import Overfit, overfit_batch

FIRST, SECOND = np.triu_indices(9, 1)  # the 36 pairs of atoms


def load(count: int) -> tuple[Any, Any, Any]:
    """Positions (count, 9, 3) in Å, energies (count, 1) in eV, and atomic numbers; in random order."""
    with np.load(DATA / "malonaldehyde.npz") as file:
        order = np.random.default_rng(0).permutation(len(file["energy"]))[:count]
        return file["positions"][order], file["energy"][order, None], file["numbers"]


def cartesian(positions: Any) -> Any:
    return positions.reshape(len(positions), -1)


def inverse_distances(positions: Any) -> Any:
    return 1.0 / np.linalg.norm(positions[:, FIRST] - positions[:, SECOND], axis=-1)


def sorted_distances(positions: Any) -> Any:
    return np.sort(inverse_distances(positions), axis=-1)


def network(act: type[nn.Module] = nn.Tanh, width: int = 32, inputs: int = 36) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 1))


# --------------------------------------------------------------------------------------- 1. memorise a batch


def memorise(seed: int) -> dict[str, Overfit]:
    """The check on eight molecules: as it should be, and with six mistakes."""
    positions, energy, _ = load(8)
    x = StandardScaler().fit_transform(inverse_distances(positions))
    y = StandardScaler().fit_transform(energy)
    counts = np.tile([3.0, 4.0, 2.0], (8, 1))  # C, H, O: the same in all geometries

    def check(model: nn.Module, x: Any = x, optimizer: Any = None) -> Overfit:
        return overfit_batch(model, nn.MSELoss(), x, y, optimizer, steps=500)

    def sgd(lr: float) -> Callable[[Any], optim.Optimizer]:
        return lambda parameters: optim.SGD(parameters, lr=lr)

    tinynn.manual_seed(seed)
    dead, plain = network(nn.ReLU), network()
    dead[0].bias.assign_(np.full(32, -30.0))
    dropout = nn.Sequential(*plain[:4], nn.Dropout(0.3), plain[4])
    return {
        "right": check(network()),
        "counts as inputs": check(network(inputs=3), counts),
        "distances in pm, not scaled": check(network(), 100 / inverse_distances(positions)),
        "learning rate too high": check(network(), optimizer=sgd(3.0)),
        "learning rate too low": check(network(), optimizer=sgd(1e-4)),
        "dead ReLUs": check(dead),
        "dropout on": check(dropout),
    }


# ---------------------------------------------------------------------------------------------- 2. fake data


class Training:
    """A network on training data in batches of 20, epoch by epoch, with the errors on validation data."""

    def __init__(
        self, train: Any, validation: Any, width: int, lr: float, act: type[nn.Module], compiled: bool
    ) -> None:
        x, y = train
        self.scale_x, self.scale_y = StandardScaler().fit(x), StandardScaler().fit(y)
        self.data = [tinynn.tensor(a) for a in (self.scale_x.transform(x), self.scale_y.transform(y))]
        self.model, self.validation, self.epochs = network(act, width), validation, 0
        optimizer = optim.Adam(self.model.parameters(), lr=lr)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        self.step = tinynn.compile(step) if compiled else step

    def train(self, epochs: int) -> float:
        """Train for some more epochs; the root mean square error on the validation data."""
        for number in range(self.epochs, self.epochs + epochs):
            if hasattr(self.step, "epoch"):
                self.step.epoch(*self.data, batch_size=20, shuffle=True, seed=0, number=number)
                continue
            order = np.random.default_rng(number).permutation(len(self.data[0]))
            for rows in np.array_split(order, len(order) // 20):
                self.step(*(values[rows] for values in self.data))
        self.epochs += epochs
        return self.error(*self.validation)

    def error(self, x: Any, y: Any) -> float:
        with tinynn.no_grad():
            guess = self.scale_y.inverse_transform(self.model(self.scale_x(tinynn.tensor(x)))).numpy()
        return float(np.sqrt(np.mean((guess - y) ** 2)))


def fake_and_shuffled(seed: int, epochs: int, compiled: bool) -> dict[str, tuple[float, float]]:
    """For real, fake and shuffled targets: errors on training and validation data, in units of the targets' spread."""
    positions, energy, _ = load(2500)
    x, rng = inverse_distances(positions), np.random.default_rng(seed)
    bent = np.sin(StandardScaler().fit_transform(x) @ rng.standard_normal((36, 1)) / 6)
    targets = {"real": energy, "fake": bent, "shuffled": rng.permutation(energy)}
    errors = {}
    for kind, y in targets.items():
        tinynn.manual_seed(seed)
        known, held_out = (x[:2000], y[:2000]), (x[2000:], y[2000:])
        training = Training(known, held_out, 32, 3e-3, nn.Tanh, compiled)
        at_end = training.train(epochs)
        errors[kind] = training.error(*known) / y.std(), at_end / y.std()
    return errors


# -------------------------------------------------------------------------------------------- 3. descriptors


def changes(descriptor: Callable[[Any], Any], seed: int) -> dict[str, float]:
    """How much the inputs change, in units of their size, when the energy does not."""
    positions, _, numbers = load(100)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    exchanged = np.arange(9)
    h = np.flatnonzero(numbers == 1)
    exchanged[h] = np.roll(h, 1)
    moved = {
        "moved": positions + rng.standard_normal(3),
        "rotated": positions @ rotation.T,
        "H exchanged": positions[:, exchanged],
    }
    before = descriptor(positions)
    return {
        name: float(np.abs(descriptor(after) - before).max() / np.abs(before).max()) for name, after in moved.items()
    }


# ---------------------------------------------------------------------------------------------- 4. screening


def screen(seed: int, few: int, many: int, settings: Sequence[Any], compiled: bool) -> Any:
    """Validation error of each setting after few and after many epochs, in meV."""
    positions, energy, _ = load(1500)
    x, errors = inverse_distances(positions), []
    for width, lr, act in tqdm(settings, "settings", leave=False):
        tinynn.manual_seed(seed)
        training = Training((x[:1000], energy[:1000]), (x[1000:], energy[1000:]), width, lr, act, compiled)
        errors.append([1e3 * training.train(few), 1e3 * training.train(many - few)])
    return np.array(errors)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    from _overfit_a_batch_pictures import draw

    report, quick = Report(__file__, options), options.quick

    checks = memorise(options.seed)
    for name, result in checks.items():
        print(f"{name}: {result}")
    report.number(
        6, "eight molecules: updates until memorised", len(checks["right"].losses) - 1, "<= 200", "", "<= 200"
    )
    noticed = sum(not result and len(result.hints) > 0 for result in checks.values())
    report.number(6, "mistakes noticed, of six", noticed, "== 6", "", "== 6")

    errors = fake_and_shuffled(options.seed, 10 if quick else 100, options.compile)
    for kind, bar, short in (("fake", "<= 0.15", "<= 0.4"), ("shuffled", ">= 0.9", ">= 0.9"), ("real", None, None)):
        report.number(6, f"{kind} targets: validation error / spread", errors[kind][1], bar, "", short)
    report.number(6, "shuffled targets: training error / spread", errors["shuffled"][0])

    descriptors = {"Cartesian": cartesian, "1 / distances": inverse_distances, "sorted": sorted_distances}
    changed = {name: changes(descriptor, options.seed) for name, descriptor in descriptors.items()}
    report.number(
        6, "Cartesian coordinates: change when rotated", changed["Cartesian"]["rotated"], ">= 0.1", "", ">= 0.1"
    )
    worst = max(changed["1 / distances"][how] for how in ("moved", "rotated"))
    report.number(6, "inverse distances: change when moved or rotated", worst, "<= 1e-12", "", "<= 1e-12")
    value = changed["1 / distances"]["H exchanged"]
    report.number(6, "inverse distances: change when H atoms are exchanged", value, ">= 0.1", "", ">= 0.1")
    value = max(changed["sorted"].values())
    report.number(6, "sorted inverse distances: largest of the three changes", value, "<= 1e-12", "", "<= 1e-12")

    few, many = (3, 20) if quick else (10, 150)
    rates = (1e-4, 1e-3, 1e-2) if quick else (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    settings = [*product((8, 32) if quick else (8, 16, 32), rates, (nn.Tanh, nn.ReLU))]
    screened = screen(options.seed, few, many, settings, options.compile)
    best = np.argsort(screened[:, 0])[: len(settings) // 4]
    cost = (few * len(settings) + (many - few) * len(best)) / (many * len(settings))
    report.number(6, f"{len(settings)} settings: epochs of the screening / of all", cost, "<= 0.35", "", "<= 0.45")
    ratio = screened[best, 1].min() / screened[:, 1].min()
    report.number(6, "best of the quarter that was kept / best of all", ratio, "<= 1.1", "", "<= 1.5")

    report.picture(draw(plt, checks, errors, changed, screened, best, (few, many)))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
