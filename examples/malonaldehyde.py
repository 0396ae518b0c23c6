"""What a network should see of a molecule: four sets of features, and what forces are worth.

Rows 15 and 17 of the syllabus. Malonaldehyde, C3H4O2: 3000 frames of a trajectory at 500 K (GFN2-xTB). Networks
are trained on N frames that are described by

    Cartesian coordinates    x_1, y_1, z_1, x_2, ...   27 numbers; they change when the molecule turns
    distances                r_12, r_13, ...           36 numbers; they do not
    inverse distances        1/r_12, 1/r_13, ...       36 numbers; most weight on what is near
    symmetry functions       sums over neighbours      60 per atom; nor when equal atoms are exchanged

once on energies alone, and once on energies and forces: loss = mean (E - E')² + mean (F - F')², where F = -dE/dx
comes from differentiating the network. A frame has one energy, but 27 components of forces. On log–log axes a
learning curve is about a straight line, error ~ N^-b: it says how many frames the next digit costs.

The test set are the last 300 frames. They are a block: a frame between two frames of the training would be no test.
Validation, by which the best weights of a training are chosen, are the 200 frames before.

    python examples/malonaldehyde.py                some minutes, of which one is the bar's
    python examples/malonaldehyde.py --quick        some seconds

Sources: J. Behler, J. Chem. Phys. 134, 074106 (2011); S. Chmiela et al., Sci. Adv. 3, e1603015 (2017).
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices are multiplied faster by one thread

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _example import BLUE, DATA, GREEN, GREY, ORANGE, RED, Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn.data import KFold
from tinynn.potentials import (
    G2,
    G5,
    AtomicNetwork,
    Cartesian,
    Configurations,
    Described,
    Distances,
    EnergyForceLoss,
    InverseDistances,
    MolecularNetwork,
    SymmetryFunctions,
    System,
    fit,
)

TRAIN, VALIDATION, TEST = slice(0, 2500), slice(2500, 2700), slice(2700, 3000)
ENERGIES, BOTH = EnergyForceLoss(1.0, 0.0), EnergyForceLoss(1.0, 1.0)


def load() -> Configurations:
    """All frames, in the order of the trajectory."""
    with np.load(DATA / "malonaldehyde.npz") as file:
        system = System(file["numbers"].tolist())
        return Configurations(system, file["positions"], file["energy"], file["forces"])


def surroundings() -> SymmetryFunctions:
    """Shells around an atom for each element, and angles for each pair of elements."""
    shells = [G2(z, eta=4.0, shift=r, cutoff=5.0) for z in "HCO" for r in np.linspace(0.9, 3.7, 8)]
    pairs = [("H", "H"), ("H", "C"), ("H", "O"), ("C", "C"), ("C", "O"), ("O", "O")]
    angles = [
        G5(pair, eta=0.05, zeta=zeta, lambda_=sign, cutoff=5.0)
        for pair in pairs
        for zeta in (1.0, 4.0, 16.0)
        for sign in (1.0, -1.0)
    ]
    return SymmetryFunctions(shells + angles)


FEATURES: dict[str, tuple[Callable[[], Any], str]] = {
    "Cartesian coordinates": (lambda: MolecularNetwork(Cartesian(9), hidden=(64, 64)), RED),
    "distances": (lambda: MolecularNetwork(Distances(9), hidden=(64, 64)), ORANGE),
    "inverse distances": (lambda: MolecularNetwork(InverseDistances(9), hidden=(64, 64)), BLUE),
    "symmetry functions": (lambda: AtomicNetwork(surroundings(), ["H", "C", "O"], hidden=(40, 40)), GREEN),
}


def mae(potential: Any, test: Configurations, forces: bool = True) -> tuple[float, float]:
    """Mean absolute errors, in meV and meV/Å."""
    (group,) = test.groups
    energy, force, _ = potential.predict(group.positions, forces=forces, warn=False)
    of_forces = np.abs(force - group.forces).mean() if forces else np.nan
    return 1e3 * float(np.abs(energy - group.energy).mean()), 1e3 * float(of_forces)


def learning_curve(
    name: str, data: Configurations, loss: EnergyForceLoss, sizes: Sequence[int], steps: int, options: Any
) -> list[float]:
    """Energy errors on the test set after training on N frames, as far apart as there are that many."""
    make, errors = FEATURES[name][0], []
    described = Described(make(), data[:2700], jacobian=loss is BOTH)
    for n in tqdm(sizes, desc=f"{name}, {'energies and forces' if loss is BOTH else 'energies'}", ncols=100):
        tinynn.manual_seed(options.seed)
        potential = make()
        rows = np.linspace(0, 2499, n).astype(int)
        fit(
            potential, described[rows], validation=described[VALIDATION], loss=loss, lr=8e-3 if loss is BOTH else 4e-3,
            epochs=max(1, steps // max(1, n // 32)), seed=options.seed, compile=options.compile,
        )  # fmt: skip
        errors.append(mae(potential, data[TEST], forces=False)[0])
    return errors


def cross_validation(data: Configurations, folds: int, epochs: int, options: Any) -> Any:
    """Energy errors (folds,) on each fold of a network on inverse distances that has seen the others."""
    errors = []
    for known, held in tqdm(KFold(folds).split(range(2500)), total=folds, desc="cross-validation", ncols=100):
        tinynn.manual_seed(options.seed)
        potential = FEATURES["inverse distances"][0]()
        fit(potential, data[known], validation=None, epochs=epochs, seed=options.seed, compile=options.compile)
        errors.append(mae(potential, data[held])[0])
    return np.array(errors)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report, data = start(options), Report(__file__, options), load()
    sizes = (50, 200) if options.quick else (50, 100, 250, 600, 1200, 2500)
    steps = 300 if options.quick else 6000

    tinynn.manual_seed(options.seed)
    best = FEATURES["inverse distances"][0]()
    length: dict[str, Any] = {"epochs": 40} if options.quick else {"seconds": 60.0}
    history = fit(
        best,
        data[TRAIN],
        validation=data[VALIDATION],
        seed=options.seed,
        compile=options.compile,
        progress=True,
        **length,
    )
    print(history)
    best.save(options.out / "malonaldehyde.safetensors")
    energy, forces = mae(best, data[TEST])
    report.number(17, "inverse distances, energies and forces, 60 s: energy MAE", energy, "<= 8", "meV", quick="<= 60")
    report.number(17, "... force MAE", forces, "<= 57", "meV/Å", quick="<= 400")

    curves = {}
    for loss in (ENERGIES,) if options.quick else (ENERGIES, BOTH):
        for name in FEATURES:
            curves[name, loss] = learning_curve(name, data, loss, sizes, steps, options)
            learnt = "energies and forces" if loss is BOTH else "energies"
            report.number(17, f"{name}, {sizes[-1]} {learnt}: energy MAE", curves[name, loss][-1], None, "meV")
    ratio = curves["Cartesian coordinates", ENERGIES][-1] / curves["distances", ENERGIES][-1]
    report.number(17, "Cartesian coordinates / distances, energies", ratio, "> 1", quick="> 0")

    straight = np.corrcoef(np.log(sizes), np.log(curves["inverse distances", ENERGIES]))[0, 1]
    slope = np.polyfit(np.log(sizes), np.log(curves["inverse distances", ENERGIES]), 1)[0]
    report.number(15, "learning curve on log–log axes, inverse distances: slope", slope)
    report.number(15, "... correlation coefficient (-1: a straight line)", straight, "<= -0.95")
    folds = cross_validation(data, 2 if options.quick else 5, 2 if options.quick else 60, options)
    report.number(15, f"{len(folds)}-fold cross-validation: energy MAE, mean of the folds", folds.mean(), None, "meV")
    report.number(15, "... standard deviation of the folds", folds.std(ddof=1), None, "meV")

    report.picture(draw_curves(plt, sizes, curves, data))
    report.picture(draw_parity(plt, best, data), "fit")
    return report.finish()


def draw_curves(plt: Any, sizes: Sequence[int], curves: Any, data: Configurations) -> Any:
    """Test error against the number of frames, on log–log axes; one panel for each loss."""
    losses = list(dict.fromkeys(loss for _, loss in curves))
    of_the_mean = 1e3 * np.abs(data[TEST].energy - data[TRAIN].energy.mean()).mean()
    figure, axes = plt.subplots(1, len(losses), figsize=(4.5 * len(losses), 4.2), sharey=True, layout="constrained")
    for ax, loss in zip(np.atleast_1d(axes), losses):
        for name, (_, color) in FEATURES.items():
            ax.loglog(sizes, curves[name, loss], "o-", color=color, label=name, ms=5)
        ax.axhline(of_the_mean, color=GREY, lw=1, ls="--", label="who knows the mean alone")
        ax.set(xlabel="frames to learn from", title="energies and forces" if loss is BOTH else "energies alone")
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.set_yticks(ticks := [5, 10, 20, 50, 100, 200], [str(tick) for tick in ticks])
        ax.set_ylim(2.5, 400)
        ax.minorticks_off()
        ax.grid(axis="y", color="0.92")
    np.atleast_1d(axes)[0].set(ylabel="mean absolute error of the energy (meV)")
    np.atleast_1d(axes)[0].legend(loc="lower left")
    return figure


def draw_parity(plt: Any, potential: Any, data: Configurations) -> Any:
    """Fit against reference for the test set: energies, and components of forces."""
    (group,) = data[TEST].groups
    energy, forces, _ = potential.predict(group.positions, warn=False)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), layout="constrained")
    pairs = (("energy", "eV", group.energy, energy), ("force", "eV/Å", group.forces.ravel(), forces.ravel()))
    for ax, (what, unit, reference, fitted), error in zip(axes, pairs, mae(potential, data[TEST])):
        low, high = reference.min(), reference.max()
        ax.plot([low, high], [low, high], color="0.6", lw=1, zorder=0)
        ax.plot(reference, fitted, ".", color=BLUE, ms=4 if what == "energy" else 2, alpha=0.6, mew=0)
        ax.set(xlabel=f"{what}, GFN2-xTB ({unit})", ylabel=f"{what}, network ({unit})", aspect="equal")
        ax.set_title(f"{what}: mean absolute error {error:.1f} m{unit}")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
