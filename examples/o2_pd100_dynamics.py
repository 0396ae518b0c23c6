"""Oxygen flies onto Pd(100): trajectories on the network's energy surface, and how many molecules dissociate.

Row 45 of the syllabus. The potential is the one that pes_o2_pd100.py saves in the output folder (without it, one is
trained for half a minute). Molecules come down from 4.6 Å above the surface, at random places over the cell, their axes
in random directions, rotating or not; the metal is frozen. Newton's equations are solved by velocity Verlet,

    v ← v + F Δt / 2m,      x ← x + v Δt,      F = F(x),      v ← v + F Δt / 2m,

for all molecules at once, because ``potential.predict`` takes positions (n, 2, 3). The same trajectory by ASE's own
`VelocityVerlet`, with the calculator, is equal to rounding. A molecule has dissociated when its atoms are 2.4 Å apart;
it is reflected when it is back above where it came from; the rest are at the surface still, after 1 ps. The sticking
curve is the share of molecules that dissociate, against their translational energy.

    python examples/o2_pd100_dynamics.py                two to three minutes
    python examples/o2_pd100_dynamics.py --quick        some seconds
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices of 64 x 64 are multiplied faster by one thread

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from _example import BLUE, GREEN, GREY, ORANGE, RED, Report, parser, start
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from pes_o2_pd100 import new_potential, read
from tqdm import tqdm

import tinynn
from tinynn.potentials import Calculator, Potential, fit

MASS = 15.999  # of an oxygen atom, in atomic units; with Å and eV, the unit of time is Å √(u/eV) = 10.18 fs
START, BROKEN = 4.6, 2.4  # height of the molecules at first, and the bond length from which on it is broken; Å
REFLECTED, AT_SURFACE, DISSOCIATED = range(3)


def potential_of(options: Any) -> Any:
    """The potential that pes_o2_pd100.py has saved; if there is none, one of half a minute of training."""
    path = options.out / "o2_pd100.safetensors"
    if path.exists():
        print(f"the potential is that of {path}")
        return Potential.load(path)
    data, _ = read()
    tinynn.manual_seed(options.seed)
    potential = new_potential([64, 64])
    length: dict[str, Any] = {"epochs": 20} if options.quick else {"seconds": 30.0}
    data = data[::4] if options.quick else data
    print(fit(potential, data, seed=options.seed, compile=options.compile, progress=True, **length))
    return potential


# ------------------------------------------------------------------------------------------------ trajectories


class Flight(NamedTuple):
    """How n molecules flew.

    Attributes
    ----------
    fate : (n,) REFLECTED, AT_SURFACE or DISSOCIATED
    fs : (steps + 1,) times
    positions : (steps + 1, n, 2, 3) in Å, and total energies (steps + 1, n) in eV; NaN when a flight is over
    outside : (n,) bool, whether the network had to extrapolate somewhere
    """

    fate: Any
    fs: Any
    positions: Any
    total: Any
    outside: Any


def arriving(potential: Any, energy: Any, rotation: float, rng: Any) -> tuple[Any, Any]:
    """Positions and velocities (n, 2, 3) of molecules of given translational (n,) and rotational energies, in eV."""
    n, a = len(energy), potential.systems[0].cell[0, 0] / 2  # two surface atoms in the cell
    axis, other = rng.standard_normal((2, n, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turn = np.cross(axis, other)
    turn /= np.linalg.norm(turn, axis=1, keepdims=True)

    bonds = np.linspace(1.1, 1.4, 61)
    flat = np.zeros((61, 2, 3))
    flat[:, 0, 0], flat[:, 1, 0], flat[:, :, 2] = -bonds / 2, bonds / 2, START
    bond = bonds[potential.predict(flat, forces=False, warn=False).energy.argmin()]

    center = np.column_stack([rng.uniform(0.0, a, (n, 2)), np.full(n, START)])
    x = np.stack([center - 0.5 * bond * axis, center + 0.5 * bond * axis], axis=1)
    v = np.zeros((n, 2, 3))
    v[:, :, 2] = -np.sqrt(energy / MASS)[:, None]  # E = 2 · m v² / 2
    v += np.sqrt(rotation / MASS) * np.stack([-turn, turn], axis=1)
    return x, v


def fly(potential: Any, x: Any, v: Any, femtoseconds: float, dt: float, stop: bool = True, title: str = "") -> Flight:
    """Velocity Verlet for n molecules at once, ``dt`` in fs; with ``stop``, those that are done are let go."""
    steps, h, n = round(femtoseconds / dt), dt * units.fs, len(x)
    positions, total = np.full((steps + 1, n, 2, 3), np.nan), np.full((steps + 1, n), np.nan)
    fate, outside, flying = np.full(n, AT_SURFACE), np.zeros(n, bool), np.arange(n)
    x, v = x.copy(), v.copy()
    energy, forces, _ = potential.predict(x, warn=False)
    for step in tqdm(range(steps + 1), desc=title, ncols=100, disable=not title):
        positions[step, flying] = x
        total[step, flying] = energy + 0.5 * MASS * (v**2).sum(axis=(1, 2))
        if stop:
            dissociated = np.linalg.norm(x[:, 1] - x[:, 0], axis=1) > BROKEN
            reflected = (x[:, :, 2].mean(axis=1) > START) & (v[:, :, 2].mean(axis=1) > 0.0)
            fate[flying[dissociated]], fate[flying[reflected]] = DISSOCIATED, REFLECTED
            go_on = ~(dissociated | reflected)
            x, v, forces, flying = x[go_on], v[go_on], forces[go_on], flying[go_on]
        if step == steps or not len(flying):
            break
        v += 0.5 * h / MASS * forces
        x += h * v
        energy, forces, beyond = potential.predict(x, warn=False)
        outside[flying] |= beyond > 0
        v += 0.5 * h / MASS * forces
    return Flight(fate, dt * np.arange(steps + 1), positions, total, outside)


def difference_from_ase(potential: Any, x: Any, v: Any, steps: int, dt: float) -> float:
    """Largest distance (Å) of one molecule's positions from those by ASE's own dynamics, after some steps."""
    atoms = Atoms("O2", x, calculator=Calculator(potential, on_extrapolation="ignore"))
    atoms.set_masses([MASS, MASS])
    atoms.set_velocities(v)
    VelocityVerlet(atoms, dt * units.fs).run(steps)
    ours = fly(potential, x[None], v[None], steps * dt, dt, stop=False)
    return float(np.abs(ours.positions[-1, 0] - atoms.positions).max())


def drift(flight: Flight) -> Any:
    """Slope of the total energy of each molecule against time, in meV per atom and ps."""
    return 0.5e6 * np.polyfit(flight.fs, flight.total, 1)[0]


# -------------------------------------------------------------------------------------------------- the run


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report = start(options), Report(__file__, options)
    potential, rng = potential_of(options), np.random.default_rng(options.seed)

    x, v = arriving(potential, np.full(20, 0.1), 0.05, rng)
    steady = fly(potential, x[:2] if options.quick else x, v[:2] if options.quick else v,
                 100.0 if options.quick else 1000.0, 0.25, stop=False, title="energy conservation")  # fmt: skip
    slopes = np.abs(drift(steady))
    ps = steady.fs[-1] / 1e3
    report.number(45, f"NVE at 0.25 fs, {ps:.1f} ps, {len(slopes)} molecules: drift, median", np.median(slopes),
                  "<= 0.1", "meV/atom/ps", "<= 100")  # fmt: skip
    report.number(45, "... total energy, largest deviation", 1e3 * np.abs(steady.total - steady.total[0]).max(),
                  None, "meV")  # fmt: skip
    difference = difference_from_ase(potential, x[0], v[0], 100 if options.quick else 400, 0.5)
    report.number(45, "trajectory by ASE's VelocityVerlet: difference", difference, "<= 1e-8", "Å", "<= 1e-6")

    energies = np.array([0.1, 0.8] if options.quick else [0.03, 0.1, 0.2, 0.4, 0.8, 1.6])
    each, time = (8, 150.0) if options.quick else (120, 1000.0)
    curves, flights = {}, {}
    for rotation in (0.0, 0.1):
        x, v = arriving(potential, np.repeat(energies, each), rotation, rng)
        flights[rotation] = fly(potential, x, v, time, 1.0, title=f"rotational energy {rotation} eV")
        curves[rotation] = flights[rotation].fate.reshape(len(energies), each)
        how = "rotating" if rotation else "not rotating"
        for energy, fates in zip(energies, curves[rotation]):
            share = 100 * np.mean(fates == DISSOCIATED)
            report.number(45, f"dissociated within 1 ps, {energy:g} eV, {how}", share, None, "%")
    outside = np.concatenate([flight.outside for flight in flights.values()])
    report.number(45, "trajectories that leave the range of the training", 100 * outside.mean(), None, "%")

    report.picture(draw(plt, energies, curves, flights[0.0], steady))
    return report.finish()


def draw(plt: Any, energies: Any, curves: Any, flight: Flight, steady: Flight) -> Any:
    """Trajectories in the plane of bond length and height; the sticking curve; the total energy."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11.5, 3.6), layout="constrained")
    names = {REFLECTED: "reflected", AT_SURFACE: "at the surface", DISSOCIATED: "dissociated"}
    colors = {REFLECTED: RED, AT_SURFACE: ORANGE, DISSOCIATED: BLUE}
    for fate, name in names.items():
        chosen = np.flatnonzero(flight.fate == fate)
        for number, molecule in enumerate(chosen[np.linspace(0, len(chosen) - 1, min(4, len(chosen))).astype(int)]):
            height = flight.positions[:, molecule, :, 2].mean(axis=1)
            end = np.flatnonzero(np.isfinite(height))[-1]
            left.plot(flight.fs, height, color=colors[fate], lw=0.9, label=None if number else name)
            left.plot(flight.fs[end], height[end], "o", color=colors[fate], ms=4)
    left.axhline(START, color=GREY, lw=0.8, ls="--")
    left.set(xlabel="time (fs)", ylabel="height of the centre (Å)", title="twelve molecules", ylim=(0.0, START + 0.3))
    left.legend(loc="upper right", bbox_to_anchor=(1.0, 0.92))

    for (rotation, fates), color in zip(curves.items(), (BLUE, GREEN)):
        for kind, style in ((DISSOCIATED, "o-"), (REFLECTED, "s:")):
            share = np.mean(fates == kind, axis=1)
            error = np.sqrt(share * (1.0 - share) / fates.shape[1])
            label = f"{names[kind]}, {'not rotating' if rotation == 0.0 else 'rotating'}"
            middle.errorbar(energies, 100 * share, 100 * error, fmt=style, color=color, ms=5, capsize=2, label=label)
    middle.set(xscale="log", xlabel="translational energy (eV)", ylabel="share of the molecules (%)", ylim=(-3, 103))
    middle.set_xticks(energies, [f"{energy:g}" for energy in energies])
    middle.minorticks_off()
    middle.set_title("sticking curve, after 1 ps")
    middle.legend(loc="center left", fontsize=9)

    error = 500.0 * (steady.total - steady.total[0])[:, :3]  # of three molecules; eV -> meV per atom
    right.plot(steady.fs[::4], error[::4], lw=0.6, color=BLUE, alpha=0.6)
    right.axhline(0.0, color=GREY, lw=0.8)
    right.set(xlabel="time (fs)", ylabel="total energy − that at the start (meV/atom)", title="NVE keeps the energy")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
