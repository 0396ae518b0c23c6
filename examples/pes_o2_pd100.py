"""The potential-energy surface of O2 on Pd(100), fitted to energies and forces by a small neural network.

Behler and Parrinello's atomic networks (Phys. Rev. Lett. 98, 146401, 2007) for the dissociation of oxygen on
a frozen surface, after Behler, Lorenz and Reuter (J. Chem. Phys. 127, 014705, 2007). Each oxygen atom is described by
42 symmetry functions G of its surroundings; one network turns them into its share of the energy:

    E = sum over atoms of net(G_atom),        F = -dE/dx = -sum over atoms and functions of dE/dG · dG/dx.

dG/dx is computed once. dE/dG comes from differentiating the network, so forces in the loss are derivatives already,
and `loss.backward()` takes derivatives of derivatives. G knows distances and angles only: the fit has the full
symmetry of the surface without having to learn it. `tinynn.compile` makes one program of a training step.

Row 44 of the syllabus. A committee of networks, trained more briefly, shows where the data say little: there its
members disagree.

    python examples/pes_o2_pd100.py                  a minute of training, then errors, checks and pictures
    python examples/pes_o2_pd100.py --seconds 180    three minutes
    python examples/pes_o2_pd100.py --quick          a few seconds, to see that it works

The potential is saved beside the pictures; o2_pd100_dynamics.py takes it from there.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices are multiplied faster by one thread

import argparse
import time
from typing import Any

import _surface  # beside this script: checks and pictures
import numpy as np
from _example import DATA, Report, parser, start

import tinynn
from tinynn import optim, potentials
from tinynn.data import random_split
from tinynn.potentials import G2, G5, AtomicNetwork, Configurations, System

REGIONS = ("entrance channel", "interaction", "dissociated")
BARS = {60: ("<= 50", "<= 195"), 180: ("<= 40", "<= 165")}  # meV and meV/Å, after so many seconds of training
EAGER_BARS = ("<= 85", "<= 290")  # after a minute, step by step


def oxygen_environment() -> potentials.SymmetryFunctions:
    """42 functions: shells of palladium and of oxygen around an atom, angles between pairs of neighbours."""
    shells_of_pd = [G2("Pd", eta=2.0, shift=r, cutoff=6.0) for r in np.linspace(1.2, 5.0, 10)]
    shells_of_o = [G2("O", eta=2.0, shift=r, cutoff=6.0) for r in np.linspace(0.9, 4.2, 8)]
    angles = [
        G5(pair, eta=eta, zeta=zeta, lambda_=sign, cutoff=5.0)
        for pair in (("Pd", "Pd"), ("O", "Pd"))
        for eta in (0.01, 0.2)
        for zeta in (1.0, 4.0, 16.0)
        for sign in (1.0, -1.0)
    ]
    return potentials.SymmetryFunctions(shells_of_pd + shells_of_o + angles)


def read() -> tuple[Configurations, dict[str, Any]]:
    """Read the data: 6000 configurations of two oxygen atoms above eight palladium atoms that stand still."""
    with np.load(DATA / "o2_pd100.npz") as file:
        data = {name: file[name] for name in file.files}
    system = System(
        ["O", "O"], cell=data["cell"], pbc=(True, True, False),
        frozen_numbers=["Pd"] * len(data["pd_positions"]), frozen_positions=data["pd_positions"],
    )  # fmt: skip
    return Configurations(system, data["o_positions"], data["energy"], data["o_forces"]), data


def new_potential(hidden: list[int]) -> AtomicNetwork:
    """A potential with first weights, by the seed that was set."""
    return AtomicNetwork(oxygen_environment(), elements=["O"], hidden=hidden, activation="SiLU")


def train(train_set: Configurations, validation: Configurations, options: argparse.Namespace) -> Any:
    """Fit the potential; returns it with its history.

    AdamW is Adam with weight decay: weights that no data hold shrink, and extrapolation is less wild.
    """
    tinynn.manual_seed(options.seed)
    potential = new_potential(options.hidden)
    print(potential)
    history = potentials.fit(
        potential, train_set, validation=validation, loss=potentials.EnergyForceLoss(1.0, options.force_weight),
        seconds=None if options.epochs else options.seconds, epochs=options.epochs,
        batch_size=options.batch_size, lr=options.lr, optimizer=optim.AdamW, seed=options.seed,
        compile=options.compile, dtype=options.dtype, progress=True,
    )  # fmt: skip
    last = history.rows[-1]
    kind = "compiled" if options.compile else "eager"
    print(f"{history}\n{last.steps} {kind} steps, {last.steps / last.seconds:.0f} per second with validation")
    return potential, history


def rmse(fitted: Any, reference: Any) -> float:
    """Root of the mean square error, in thousandths (eV -> meV)."""
    return 1e3 * float(np.sqrt(np.mean((fitted - reference) ** 2)))


def report_errors(report: Report, potential: potentials.Potential, test: Any, data: dict[str, Any]) -> None:
    """Errors on configurations that were not trained on: all, by region, and where the network extrapolates."""
    options = report.options
    bars = BARS.get(int(options.seconds), BARS[60]) if options.compile else EAGER_BARS
    energy, forces = data["energy"][test], data["o_forces"][test]
    found = potential.predict(data["o_positions"][test], warn=False)
    report.number(44, "test: energy RMSE", rmse(found.energy, energy), bars[0], "meV", quick="<= 300")
    report.number(44, "test: force RMSE", rmse(found.forces, forces), bars[1], "meV/Å", quick="<= 900")
    parts = {name: data["region"][test] == number for number, name in enumerate(REGIONS)}
    parts["within the range of training"] = found.outside == 0
    for name, part in parts.items():
        text = f"test, {name} ({np.count_nonzero(part)})"
        report.number(44, f"{text}: energy RMSE", rmse(found.energy[part], energy[part]), unit="meV")
        report.number(44, f"{text}: force RMSE", rmse(found.forces[part], forces[part]), unit="meV/Å")
    report.number(44, "spread of the data, energies", 1e3 * energy.std(), unit="meV")
    report.number(44, "spread of the data, forces", 1e3 * forces.std(), unit="meV/Å")


def report_checks(report: Report, potential: potentials.Potential, test: Any, data: dict[str, Any]) -> None:
    """What must hold exactly: symmetry, forces = -∇E, and the file that is saved."""
    o2 = data["o_positions"][test]
    symmetry = _surface.symmetry_error(potential, o2[:100], float(data["lattice_1x1"]))
    report.number(44, "p4mm, lattice translations, exchange: energies equal to", symmetry, "<= 1e-10", "eV", "<= 1e-10")
    gradient = _surface.gradient_error(potential, o2[:20])
    report.number(44, "forces against differences of the energy", gradient, "<= 1e-4", "eV/Å", "<= 1e-4")
    path = report.options.out / "o2_pd100.safetensors"
    potential.save(path)
    again = potentials.Potential.load(path).predict(o2, warn=False).forces
    change = np.abs(again - potential.predict(o2, warn=False).forces).max()
    report.number(44, "forces after saving and loading: equal to", change, "<= 1e-12", "eV/Å", "<= 1e-12")
    print(f"saved {path}")


def report_committee(report: Report, train_set: Configurations, test: Any, data: dict[str, Any]) -> Any:
    """Train a committee, and compare the spread of its members with the error of their mean."""
    options = report.options
    committee = potentials.Committee.trained(
        lambda: new_potential(options.hidden), train_set, options.members, seed=options.seed + 100, validation=0.05,
        seconds=None if options.epochs else options.seconds / 6, epochs=options.epochs and -(-options.epochs // 6),
        batch_size=options.batch_size, lr=options.lr, optimizer=optim.AdamW, compile=options.compile,
        progress=True,
    )  # fmt: skip
    o2 = data["o_positions"][test]
    found, spread = committee.predict(o2, warn=False), committee.spread(o2)
    error = np.linalg.norm(found.forces - data["o_forces"][test], axis=-1).ravel()
    order = [np.argsort(np.argsort(x)) for x in (error, spread.forces.ravel())]
    rank = float(np.corrcoef(*order)[0, 1])
    name = f"committee of {len(committee)}, each a sixth of the time"
    report.number(44, f"{name}: energy RMSE", rmse(found.energy, data["energy"][test]), unit="meV")
    report.number(44, f"{name}: force RMSE", rmse(found.forces, data["o_forces"][test]), unit="meV/Å")
    report.number(44, "rank correlation of force error and spread", rank, ">= 0.4", quick=">= 0.2")
    return _surface.error_against_spread(error, spread.forces.ravel())


def main(arguments: list[str] | None = None) -> int:
    made = parser(__doc__, compiles=True)
    made.set_defaults(seed=1)
    made.add_argument("--seconds", type=float, default=60.0, help="time for training (default %(default)s)")
    made.add_argument("--epochs", type=int, help="instead of --seconds: the same result in every run")
    made.add_argument("--hidden", type=int, nargs="+", default=[96, 96], help="widths of the hidden layers")
    made.add_argument("--lr", type=float, default=2e-3, help="highest learning rate (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--force-weight", type=float, default=1.0, help="of forces in the loss, in Å²")
    made.add_argument("--dtype", default="float32", help="of training (default %(default)s)")
    made.add_argument("--members", type=int, default=4, help="of the committee; 0 for none (default %(default)s)")
    options = made.parse_args(arguments)
    if options.seconds <= 0 or (options.epochs is not None and options.epochs <= 0):
        made.error("--seconds and --epochs must be positive")
    if options.quick:
        options.epochs, options.members = options.epochs or 30, min(options.members, 3)
    start(options)
    report = Report(__file__, options)
    configurations, data = read()
    print(configurations)

    # The division is the same for every --seed. The test part is not looked at before the network is done.
    parts = random_split(range(len(configurations)), [5400, 200, 400], seed=0)
    train_set, validation, test = (np.array(part.indices) for part in parts)
    functions = oxygen_environment()
    functions.compute(data["o_positions"][:1], configurations.systems[0])  # compiles, or loads what was compiled
    before = time.perf_counter()
    functions.compute(data["o_positions"], configurations.systems[0])
    seconds = time.perf_counter() - before
    report.number(44, "42 symmetry functions of 6000 configurations, with Jacobians", seconds, "<= 5", "s")

    potential, history = train(configurations[train_set], configurations[validation], options)
    report_errors(report, potential, test, data)
    report_checks(report, potential, test, data)
    report.picture(_surface.parity(potential, data, test), "parity")
    report.picture(_surface.elbow(potential, data), "elbow")
    report.picture(_surface.learning_curve(history), "learning_curve")
    if options.members:
        report.picture(report_committee(report, configurations[train_set], test, data), "committee")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
