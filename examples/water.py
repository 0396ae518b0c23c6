"""Water by coupled cluster: frequencies as second derivatives of a network, and a committee that knows its limits.

"Water" in the syllabus: 1000 geometries of H2O at 1500 K with energies and forces by CCSD/cc-pVDZ. A network sees the
three inverse distances and learns energies and forces. Then

* the molecule is relaxed, with ASE;
* its harmonic frequencies are found twice: from the Hessian H = d²E/dx², which `tinynn.func.hessian` takes through
  network and descriptor, and from finite differences of forces, by ASE. They are the roots of the eigenvalues of
  H_ij / √(m_i m_j);
* a committee of networks, that have learnt from less data, says of each test geometry how far its members are apart,
  which is compared with how far they are off.

    python examples/water.py                one to two minutes
    python examples/water.py --quick        some seconds
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices are multiplied faster by one thread

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from _example import BLUE, DATA, GREEN, GREY, ORANGE, Report, parser, start
from ase import Atoms, units
from ase.optimize import BFGS
from ase.vibrations import Vibrations

import tinynn
from tinynn.potentials import Calculator, Committee, Configurations, InverseDistances, MolecularNetwork, System, fit

TRAIN, TEST = slice(0, 800), slice(800, 1000)  # in order: blocks of the trajectory

# The minimum of CCSD/cc-pVDZ itself (PySCF, differences of analytic gradients at ±0.003 Å).
CCSD_GEOMETRY = (0.9644, 102.21)  # bond length in Å, angle in degrees
CCSD_FREQUENCIES = np.array([1697.6, 3849.2, 3953.8])  # 1/cm
MODES = ("bending", "symmetric stretch", "antisymmetric stretch")


def load() -> Configurations:
    """All geometries, in the order of the trajectory that they were taken from."""
    with np.load(DATA / "h2o_ccsd.npz") as file:
        return Configurations(System("OHH"), file["positions"], file["energy"], file["forces"])


def network() -> MolecularNetwork:
    """1/r_OH, 1/r_OH', 1/r_HH -> 40 -> 40 -> energy."""
    return MolecularNetwork(InverseDistances(3), hidden=(40, 40))


def relaxed(potential: Any) -> Atoms:
    """The molecule where the network's forces vanish."""
    atoms = Atoms("OHH", [[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]])
    atoms.calc = Calculator(potential)
    BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
    return atoms


def geometry(atoms: Atoms) -> tuple[float, float]:
    """Bond length in Å and angle in degrees."""
    return atoms.get_distance(0, 1), atoms.get_angle(1, 0, 2)


def hessian(potential: Any, positions: Any) -> Any:
    """d²E/dx² (3 atoms, 3 atoms) in eV/Å² of positions (atoms, 3), through network and descriptor."""

    def energy(x: Any) -> Any:
        features = potential.descriptor(x.reshape((1, *positions.shape)))
        return potential.scale * potential.networks["molecule"](potential.ranges["molecule"](features)).sum()

    return tinynn.func.hessian(energy)(tinynn.tensor(positions.ravel())).detach().numpy()


def frequencies(H: Any, masses: Any) -> Any:
    """Wavenumbers in 1/cm of the harmonic vibrations, lowest first; imaginary ones are given as negative.

    H in eV/Å², masses in atomic units; the first six of a molecule are translations and rotations, and nearly zero.
    """
    m = np.repeat(masses, 3)
    squares = np.linalg.eigvalsh(H / np.sqrt(np.outer(m, m)))  # ω², in eV / (Å² u)
    omega = np.sign(squares) * np.sqrt(np.abs(squares))  # in ASE's unit of time, 1 / (Å √(u/eV))
    return omega * units._hbar / units._e * units.second / units.invcm


def frequencies_by_differences(atoms: Atoms, delta: float) -> Any:
    """The same by ASE, from forces at positions that are displaced by ±delta (Å)."""
    with tempfile.TemporaryDirectory() as folder:
        vibrations = Vibrations(atoms, name=f"{folder}/water", delta=delta)
        vibrations.run()
        found = vibrations.get_frequencies()
    return np.sort(np.where(np.abs(found.imag) > found.real, -np.abs(found.imag), found.real))


def against_spread(committee: Committee, test: Configurations) -> tuple[Any, Any]:
    """For every atom of the test set: the spread of the force vector, and its error, in eV/Å."""
    (group,) = test.groups
    _, forces, _ = committee.predict(group.positions, warn=False)
    spread = committee.spread(group.positions).forces
    return spread.ravel(), np.linalg.norm(forces - group.forces, axis=-1).ravel()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report, data = start(options), Report(__file__, options), load()

    tinynn.manual_seed(options.seed)
    potential = network()
    length: dict[str, Any] = {"epochs": 60} if options.quick else {"seconds": 30.0}
    settings: dict[str, Any] = {"lr": 4e-3, "compile": options.compile}
    print(fit(potential, data[TRAIN], progress=True, **length, **settings))
    potential.save(options.out / "water.safetensors")
    (group,) = data[TEST].groups
    energy, forces, _ = potential.predict(group.positions, warn=False)
    what = "inverse distances, energies and forces, 30 s"
    report.number(17, f"{what}: energy MAE", 1e3 * np.abs(energy - group.energy).mean(), "<= 0.6", "meV", "<= 30")
    report.number(17, "... force MAE", 1e3 * np.abs(forces - group.forces).mean(), "<= 13", "meV/Å", "<= 300")

    atoms = relaxed(potential)
    for name, value, exact, unit in zip(("bond length", "angle"), geometry(atoms), CCSD_GEOMETRY, ("Å", "°")):
        report.number(17, f"relaxed: {name} (CCSD: {exact})", value, None, unit)
    by_hessian = frequencies(hessian(potential, atoms.positions), atoms.get_masses())
    by_differences = frequencies_by_differences(atoms, delta=0.001)
    for name, value, exact in zip(MODES, by_hessian[6:], CCSD_FREQUENCIES):
        report.number(17, f"harmonic frequency by the Hessian, {name} (CCSD: {exact})", value, None, "1/cm")
    difference = np.abs(by_hessian - by_differences)[6:].max()
    report.number(17, "largest difference from finite differences of ASE", difference, "<= 0.5", "1/cm", "<= 0.5")
    error = np.abs(by_hessian[6:] - CCSD_FREQUENCIES).max()
    report.number(17, "largest difference from CCSD", error, "<= 5", "1/cm")

    few = data[TRAIN][::10]
    epochs = 20 if options.quick else 400
    committee = Committee.trained(network, few, members=3 if options.quick else 6, epochs=epochs, **settings)
    spread, error = against_spread(committee, data[TEST])
    correlation = np.corrcoef(np.log(spread), np.log(error))[0, 1]
    what = f"{len(committee)} networks that know 80 geometries: force error"
    report.number(17, f"{what}, median over atoms", 1e3 * np.median(error), None, "meV/Å")
    report.number(17, "... correlation of spread and error (logarithms)", correlation, "> 0.3", quick="> 0")

    report.picture(draw(plt, by_hessian[6:], by_differences[6:], spread, error))
    return report.finish()


def draw(plt: Any, by_hessian: Any, by_differences: Any, spread: Any, error: Any) -> Any:
    """Errors of the frequencies; errors of forces against the spread of the committee."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.axhline(0.0, color=GREY, lw=1)
    place = np.arange(3)
    left.bar(place - 0.2, by_hessian - CCSD_FREQUENCIES, 0.36, color=BLUE, label="Hessian of the network")
    left.bar(place + 0.2, by_differences - CCSD_FREQUENCIES, 0.36, color=ORANGE, label="differences of forces")
    names = [f"{mode.replace(' ', chr(10))}\n{exact:.0f}" for mode, exact in zip(MODES, CCSD_FREQUENCIES)]
    left.set_xticks(place, names)
    left.set(ylabel="network − CCSD (1/cm)", title="harmonic frequencies (1/cm)")
    reach = 1.6 * np.abs([by_hessian - CCSD_FREQUENCIES, by_differences - CCSD_FREQUENCIES]).max()
    left.set_ylim(-reach, reach)
    left.legend(loc="upper center")

    order = np.argsort(spread)
    bins = np.array_split(order, 12)
    mean = [[np.sqrt(np.mean(array[rows] ** 2)) for rows in bins] for array in (spread, error)]
    right.loglog(spread, error, ".", color=GREY, ms=3, alpha=0.5, label="atoms of the test set")
    right.loglog(*mean, "o-", color=GREEN, label="root mean square of 50 atoms each")
    limits = spread.min(), spread.max()
    right.loglog(limits, limits, color="0.3", lw=0.8, ls="--", label="equal")
    right.set(xlabel="spread of the members' forces (eV/Å)", ylabel="error of their mean (eV/Å)")
    right.set_title("committee: where they disagree they are wrong")
    right.set_ylim(bottom=error.min() / 15)  # room for the legend
    right.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
