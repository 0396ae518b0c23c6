"""Molecular dynamics with a fitted network: malonaldehyde in ASE, and its proton that hops.

A calculator makes every tool of ASE a tool of the network. Here, with the fit of `malonaldehyde.py`, whose file is in
the output folder (or with one that is trained on the spot):

* relaxation by BFGS: the minimum of the network against that of GFN2-xTB;
* NVE dynamics, velocity Verlet at 0.25 fs: the total energy must stay, since forces are its exact gradient;
* Langevin dynamics at 500 K. ASE's default, fixcm=True, takes the random force of the centre of mass away from all
  atoms after each step and overheats small molecules (syllabus, "ASE"); fixcm=False keeps the temperature of the bath;
* the enol proton between the two oxygen atoms, q = r(O1 H) - r(O2 H): its histogram against that of the data. (Both
  sides are alike; how long it was on which is chance, after so few hops. So q and -q are counted together.)

    python examples/md_with_a_fit.py                about two minutes
    python examples/md_with_a_fit.py --quick        some seconds
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices are multiplied faster by one thread

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from _example import BLUE, DATA, GREY, ORANGE, RED, Report, parser, start
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from tqdm import tqdm

import tinynn
from tinynn.potentials import Calculator, Configurations, InverseDistances, MolecularNetwork, Potential, System, fit

BATH = 500.0  # K, the temperature of the data


def load() -> tuple[Configurations, Any]:
    """The frames, and the minimum of the reference method."""
    with np.load(DATA / "malonaldehyde.npz") as file:
        system = System(file["numbers"].tolist())
        return Configurations(system, file["positions"], file["energy"], file["forces"]), file["positions_min"]


def potential_of(data: Configurations, options: Any) -> Any:
    """The fit that malonaldehyde.py has saved; if there is none, one of some seconds of training."""
    path = options.out / "malonaldehyde.safetensors"
    if path.exists():
        print(f"the potential is that of {path}")
        return Potential.load(path)
    tinynn.manual_seed(options.seed)
    potential = MolecularNetwork(InverseDistances(9), hidden=(64, 64))
    epochs = 100 if options.quick else 400
    print(fit(potential, data[:2700], epochs=epochs, seed=options.seed, compile=options.compile, progress=True))
    return potential


def proton_coordinate(positions: Any) -> Any:
    """r(O1 H) - r(O2 H) of positions (..., 9, 3), in Å, for the hydrogen atom (5) between the oxygen atoms (3, 4)."""
    to_first, to_second = (np.linalg.norm(positions[..., o, :] - positions[..., 5, :], axis=-1) for o in (3, 4))
    return to_first - to_second


def run(dynamics: Any, atoms: Atoms, steps: int, every: int, title: str) -> dict[str, Any]:
    """Let time pass; every some steps, note energies in eV, the temperature in K, and positions."""
    kinetic, total, positions = [], [], []

    def note() -> None:
        kinetic.append(atoms.get_kinetic_energy())
        total.append(atoms.get_total_energy())
        positions.append(atoms.get_positions())
        bar.update(every)

    dynamics.attach(note, interval=every)
    begin = time.perf_counter()
    with tqdm(total=steps, desc=title, ncols=100) as bar:
        dynamics.run(steps)
    seconds = time.perf_counter() - begin
    print(f"{title}: {1e3 * seconds / steps:.2f} ms per step")
    temperature = np.array(kinetic) / (1.5 * len(atoms) * units.kB)  # no degree of freedom is taken away
    ps = dynamics.dt / (1e3 * units.fs) * every * np.arange(len(total))
    return {"ps": ps, "total": np.array(total), "temperature": temperature, "positions": np.array(positions)}


def at(positions: Any, potential: Any, temperature: float, rng: Any) -> Atoms:
    """A molecule at the given positions, with velocities drawn from Maxwell's and Boltzmann's distribution."""
    numbers = potential.systems[0].numbers
    atoms = Atoms(numbers=numbers, positions=positions, calculator=Calculator(potential, on_extrapolation="ignore"))
    width = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(width[:, None] * rng.standard_normal((len(atoms), 3)))
    return atoms


def langevin(atoms: Atoms, fixcm: bool, steps: int, rng: Any) -> dict[str, Any]:
    """Dynamics in a bath of 500 K, 0.5 fs per step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ASE has come to warn of fixcm=True itself
        dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=BATH, friction=0.02 / units.fs, fixcm=fixcm, rng=rng)
    return run(dynamics, atoms, steps, 10, f"Langevin, fixcm={fixcm}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report, (data, minimum) = start(options), Report(__file__, options), load()
    potential, rng = potential_of(data, options), np.random.default_rng(options.seed)
    frames = data.groups[0].positions
    part = 0.02 if options.quick else 1.0

    atoms = at(frames[0], potential, 0.0, rng)
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=300)
    distances = [x.get_all_distances()[np.triu_indices(9, 1)] for x in (atoms, Atoms(atoms.numbers, minimum))]
    report.number(17, "energy of the relaxed molecule above the data's minimum", 1e3 * atoms.get_potential_energy(),
                  None, "meV")  # fmt: skip
    report.number(17, "... its distances against theirs, root mean square",
                  np.sqrt(np.mean((np.sort(distances[0]) - np.sort(distances[1])) ** 2)), "<= 0.02", "Å")  # fmt: skip

    atoms = at(frames[0], potential, BATH, rng)
    nve = run(VelocityVerlet(atoms, 0.25 * units.fs), atoms, int(40_000 * part), 20, "NVE")
    nve["error"] = 1e3 * (nve["total"] - nve["total"][0]) / len(atoms)
    drift = np.polyfit(nve["ps"], nve["error"], 1)[0]
    report.number(17, f"NVE, 0.25 fs, {nve['ps'][-1]:.3g} ps: drift", abs(drift), "<= 0.1", "meV/atom/ps", "<= 5")
    report.number(17, "... fluctuation of the total energy", nve["error"].std(), None, "meV/atom")

    baths = {}
    for fixcm in (False, True):
        baths[fixcm] = langevin(at(frames[0], potential, BATH, rng), fixcm, int(80_000 * part), rng)
        baths[fixcm]["mean"] = mean = baths[fixcm]["temperature"][len(baths[fixcm]["ps"]) // 10 :].mean()
        if fixcm:
            report.number(17, "Langevin, fixcm=True: mean temperature (too hot)", mean, "> 530", "K", quick="> 0")
        else:
            report.number(17, "Langevin, fixcm=False: |mean temperature - 500 K|", abs(mean - BATH), "<= 20", "K")

    q_data, q = proton_coordinate(frames), proton_coordinate(baths[False]["positions"])
    bins = np.linspace(-2.0, 2.0, 41)
    (p, _), (p_data, _) = (np.histogram(np.abs(values), bins, density=True) for values in (q, q_data))
    report.number(17, "proton: common area of the histograms of |q|", np.minimum(p, p_data).sum() * np.diff(bins)[0],
                  ">= 0.85", quick=">= 0")  # fmt: skip
    hops = np.count_nonzero(np.diff(np.sign(q)))
    report.number(17, f"... changes of sides in {baths[False]['ps'][-1]:.3g} ps", hops)

    report.picture(draw(plt, nve, baths, q, q_data, hops))
    return report.finish()


def draw(plt: Any, nve: Any, baths: Any, q: Any, q_data: Any, hops: int) -> Any:
    """Total energy in NVE dynamics; mean temperature in a bath; where the proton is."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    left.plot(nve["ps"], nve["error"], color=BLUE, lw=0.5)
    left.axhline(0.0, color=GREY, lw=0.8)
    left.set(xlabel="time (ps)", ylabel="total energy − that at the start (meV/atom)", title="NVE keeps the energy")
    reach = 1.3 * np.abs(nve["error"]).max()
    left.set_ylim(-reach, reach)

    for fixcm, color in ((True, RED), (False, BLUE)):
        temperature, ps = baths[fixcm]["temperature"], baths[fixcm]["ps"]
        mean = np.cumsum(temperature) / np.arange(1, len(temperature) + 1)
        middle.plot(ps, mean, color=color, lw=1.2, label=f"fixcm={fixcm}: {baths[fixcm]['mean']:.0f} K")
    middle.axhline(BATH, color=GREY, lw=0.8, ls="--")
    middle.set(xlabel="time (ps)", ylabel="mean temperature until then (K)", title="Langevin bath of 500 K")
    middle.legend()

    bins = np.linspace(-2.0, 2.0, 61)
    q_data, q = (np.concatenate([values, -values]) for values in (q_data, q))  # both sides are alike
    right.hist(q_data, bins, density=True, color=ORANGE, alpha=0.5, label="data, GFN2-xTB")
    right.hist(q, bins, density=True, histtype="step", color=BLUE, lw=1.3, label="dynamics on the network")
    right.set(xlabel=r"$r(\mathrm{O_1H}) - r(\mathrm{O_2H})$ (Å)", ylabel="density (1/Å)")
    right.set_title(f"where the proton is (mirrored; {hops} hops)")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0))
    right.set_ylim(top=1.35 * right.get_ylim()[1])
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
