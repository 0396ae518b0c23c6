"""Symmetry functions with their derivatives: time per configuration, next to dscribe's.

* ``o2_pd100``: the 6000 configurations of O2 on Pd(100) in ``examples/data``, the 42 functions of
  ``examples/pes_o2_pd100.py``, with the Jacobian by the positions of both oxygen atoms. The bar is 5 s for all.
* ``crystal``: one periodic cell of 2048 palladium atoms with 20 functions of each, and forces: the derivatives
  contracted with those of an energy by the functions, which is what a potential needs of them.

In the same run the values (and derivatives) of a sample are compared with the plain NumPy formulas, and, where it is
installed, with dscribe 2.1; a row in which they differ is VOID. dscribe has all functions for all species and pairs of
them, so it computes more features than are asked for, and derivatives of these functions by central differences only.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

common.PACKAGES["dscribe"] = "dscribe"
DATA = Path(__file__).resolve().parent.parent / "examples" / "data" / "o2_pd100.npz"
RADIAL = {"Pd": np.linspace(1.2, 5.0, 10), "O": np.linspace(1.0, 4.5, 8)}  # shifts; eta = 4, cutoff 6
ANGLES = list(itertools.product((0.01, 0.2), (1.0, 4.0, 16.0), (1.0, -1.0)))  # eta, zeta, lambda; cutoff 5
BAR = 5.0  # seconds for all configurations, values and Jacobian
TOLERANCE = 1e-10


def crystal(cubes: int) -> tuple[Any, Any]:
    """Positions and cell of an fcc crystal, shaken."""
    corners = np.array(list(itertools.product(range(cubes), repeat=3)))
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = 3.9 * (corners[:, None] + basis).reshape(-1, 3)
    return positions + np.random.default_rng(0).normal(0.0, 0.1, positions.shape), np.eye(3) * 3.9 * cubes


# ------------------------------------------------------------------------------------------------- in the workers


class Tinynn:
    """What is measured of this library."""

    def __init__(self) -> None:
        from tinynn.potentials import G2, G5, SymmetryFunctions

        radial = [G2(s, 4.0, shift, 6.0) for s, shifts in RADIAL.items() for shift in shifts]
        pairs = ("Pd", "Pd"), ("O", "Pd")
        angular = [G5(pair, eta, zeta, sign, 5.0) for pair in pairs for eta, zeta, sign in ANGLES]
        self.o2 = SymmetryFunctions(radial + angular)
        metal = [G2("Pd", 4.0, shift, 6.0) for shift in RADIAL["Pd"][:8]]
        self.metal = SymmetryFunctions(metal + [G5(("Pd", "Pd"), *angle, 5.0) for angle in ANGLES])

    def surface(self, count: int) -> tuple[Any, Any]:
        from tinynn.potentials import System

        with np.load(DATA) as data:
            slab = data["pd_positions"]
            system = System("OO", data["cell"], True, ["Pd"] * len(slab), slab)
            return data["o_positions"][:count], system

    def time_o2_pd100(self, count: int, seconds: float) -> dict[str, float]:
        x, system = self.surface(count)
        return {
            "values": common.best_time(lambda: self.o2.values(x, system), seconds) / len(x),
            "derivatives": common.best_time(lambda: self.o2.compute(x, system), seconds) / len(x),
        }

    def sample_o2_pd100(self, count: int) -> dict[str, Any]:
        x, system = self.surface(6000)
        x = x[:: len(x) // count][:count]
        values, jacobian = self.o2.compute(x, system)
        plain, plain_jacobian = self.o2.compute(x, system, backend="numpy")
        error = max(abs(values - plain).max(), abs(jacobian - plain_jacobian).max())
        return {"values": values.ravel().tolist(), "error": float(error)}

    def time_crystal(self, cubes: int, seconds: float) -> dict[str, float]:
        import tinynn
        from tinynn.potentials import System

        positions, cell = crystal(cubes)
        system = System(["Pd"] * len(positions), cell, True)
        x = tinynn.tensor(positions[None], requires_grad=True)

        def forces() -> None:
            tinynn.grad((self.metal(x, system) ** 2).sum(), x)

        return {
            "values": common.best_time(lambda: self.metal.values(positions[None], system), seconds),
            "derivatives": common.best_time(forces, seconds),
        }

    def sample_crystal(self, cubes: int) -> dict[str, Any]:
        import tinynn
        from tinynn.potentials import System

        positions, cell = crystal(cubes)
        system, some = System(["Pd"] * len(positions), cell, True), [0, 1, len(positions) - 1]
        plain, jacobian = self.metal.compute(positions[None], system, centers=some, backend="numpy")
        x = tinynn.tensor(positions[None], requires_grad=True)
        values = self.metal(x, system, centers=some)
        slopes = tinynn.grad((values**2).sum(), x).numpy()
        expected = np.einsum("ncf,ncfax->nax", 2.0 * plain, jacobian)
        error = max(abs(values.detach().numpy() - plain).max(), abs(slopes - expected).max())
        return {"values": plain.ravel().tolist(), "error": float(error)}


class Dscribe:
    """The same of dscribe: two descriptors, as there are two cutoffs."""

    def __init__(self) -> None:
        from dscribe.descriptors import ACSF

        shifts = [[4.0, shift] for shift in (*RADIAL["Pd"], *RADIAL["O"])]
        angles = [[*angle] for angle in ANGLES]
        both = {"species": ["O", "Pd"], "periodic": True}
        metal = {"species": ["Pd"], "periodic": True}
        self.o2 = ACSF(r_cut=6.0, g2_params=shifts, **both), ACSF(r_cut=5.0, g5_params=angles, **both)
        self.metal = ACSF(r_cut=6.0, g2_params=shifts[:8], **metal), ACSF(r_cut=5.0, g5_params=angles, **metal)

    def surface(self, count: int) -> list[Any]:
        from ase import Atoms

        with np.load(DATA) as data:
            slab, cell, o2 = data["pd_positions"], data["cell"], data["o_positions"]
        symbols = ["O", "O", *["Pd"] * len(slab)]
        chosen = o2[:: len(o2) // count][:count]
        return [Atoms(symbols, np.concatenate([x, slab]), cell=cell, pbc=True) for x in chosen]

    def time_o2_pd100(self, count: int, seconds: float) -> dict[str, float]:
        atoms = self.surface(min(count, 40))
        oxygen = [[0, 1]] * len(atoms)

        def values() -> None:
            for acsf in self.o2:
                acsf.create(atoms, centers=oxygen)

        def derivatives() -> None:
            for acsf in self.o2:
                acsf.derivatives(atoms, centers=oxygen, include=oxygen, method="numerical", attach=True)

        return {
            "values": common.best_time(values, seconds) / len(atoms),
            "derivatives": common.best_time(derivatives, seconds) / len(atoms),
        }

    def sample_o2_pd100(self, count: int) -> dict[str, Any]:
        rows = []
        for atoms in self.surface(count):
            radial, angular = (acsf.create(atoms, centers=[0, 1]) for acsf in self.o2)
            o, pd = radial[:, 1:19], radial[:, 20:38]  # of each species G1, then 18 of G2
            o_pd, pd_pd = angular[:, 14:26], angular[:, 26:38]  # after two G1 and the pair O-O
            rows.append(np.concatenate([pd[:, :10], o[:, 10:], pd_pd, o_pd], axis=1))
        return {"values": np.array(rows).ravel().tolist()}

    def time_crystal(self, cubes: int, seconds: float) -> dict[str, float | None]:
        atoms = self._crystal(cubes)

        def values() -> None:
            for acsf in self.metal:
                acsf.create(atoms)

        return {"values": common.best_time(values, seconds), "derivatives": None}

    def sample_crystal(self, cubes: int) -> dict[str, Any]:
        atoms = self._crystal(cubes)
        some = [0, 1, len(atoms) - 1]
        radial, angular = (acsf.create(atoms, centers=some) for acsf in self.metal)
        return {"values": np.concatenate([radial[:, 1:], angular[:, 1:]], axis=1).ravel().tolist()}

    def _crystal(self, cubes: int) -> Any:
        from ase import Atoms

        positions, cell = crystal(cubes)
        return Atoms(["Pd"] * len(positions), positions, cell=cell, pbc=True)


def tasks(framework: str) -> dict[str, Any]:
    """The questions that a worker answers."""
    common.load(framework)
    worker = {"tinynn": Tinynn, "dscribe": Dscribe}[framework]()
    return {name: getattr(worker, name) for name in dir(worker) if name.startswith(("time_", "sample_"))}


# --------------------------------------------------------------------------------------------------- the tables


def measure(case: str, size: int, sample: int, options: Any, workers: dict[str, Any]) -> dict[str, Any]:
    """Times by what is computed and framework, and the largest differences."""
    common.progress(case)
    samples = {name: worker.ask(f"sample_{case}", **_size(case, sample)) for name, worker in workers.items()}
    found: dict[str, Any] = {"case": case, "size": size, "against the plain formulas": samples["tinynn"]["error"]}
    if "dscribe" in samples:
        theirs, ours = (np.array(samples[name]["values"]) for name in ("dscribe", "tinynn"))
        found["against dscribe"] = float(abs(theirs - ours).max())
    errors = [found[key] for key in found if key.startswith("against")]
    found["right"] = all(error <= TOLERANCE * max(1.0, np.abs(samples["tinynn"]["values"]).max()) for error in errors)
    times = {what: common.Timings() for what in ("values", "derivatives")}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            answer = worker.ask(f"time_{case}", **_size(case, size), seconds=options.seconds)
            for what, seconds in answer.items():
                if seconds is not None:
                    times[what].add(name, seconds)
    found["seconds"] = {what: {name: times[what].median(name) for name in workers} for what in times}
    found["ratio"] = {what: times[what].ratio("dscribe") for what in times}
    return found


def _size(case: str, size: int) -> dict[str, int]:
    return {"count" if case == "o2_pd100" else "cubes": size}


def main(argv: list[str] | None = None) -> None:
    parser = common.arguments(__doc__ or "", frameworks=("tinynn", "dscribe"), rounds=5)
    parser.add_argument("--seconds", type=float, default=None, help="measuring time per number (default 2)")
    options = common.parse(parser, argv)
    if options.worker:
        common.serve(tasks(options.worker))
        return
    options.seconds = options.seconds or (0.1 if options.quick else 2.0)
    options.frameworks = ["tinynn", *[name for name in options.frameworks if name != "tinynn"]]
    sizes = {"o2_pd100": (300, 3) if options.quick else (6000, 20), "crystal": (4, 4) if options.quick else (8, 8)}
    with common.workers(__file__, options.frameworks) as workers:
        numbers = [measure(case, *size, options, workers) for case, size in sizes.items()]
    rows = []
    for found, per in zip(numbers, ("configuration", f"cell of {4 * sizes['crystal'][0] ** 3} atoms"), strict=True):
        for what, title in (("values", "values"), ("derivatives", "values and derivatives")):
            seconds, ratio = found["seconds"][what], found["ratio"][what]
            rows.append([
                found["case"], f"{title}, per {per}", common.duration(seconds["tinynn"]),
                common.duration(seconds.get("dscribe")), f"{ratio:.1f}" if ratio else "–",
                "agree" if found["right"] else "VOID",
            ])  # fmt: skip
    surface = numbers[0]
    total = 6000 * surface["seconds"]["derivatives"]["tinynn"]
    surface["seconds for all 6000"] = total
    text = (
        common.table(["case", "what", "tinynn", "dscribe", "times faster", "results"], rows)
        + f"\n\nAll 6000 configurations of O2 on Pd(100), 42 functions with Jacobians: {common.duration(total)}; bar "
        f"{BAR:g} s: {common.verdict(total, BAR, at_least=False)}.\n\nLargest difference in a sample: "
        + "; ".join(
            f"{found['case']} {key} {found[key]:.1e}" for found in numbers for key in found if key.startswith("against")
        )
        + ".\n"
    )
    common.report("symmetry_functions", "Symmetry functions", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
