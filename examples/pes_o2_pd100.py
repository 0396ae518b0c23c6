"""The potential-energy surface of O2 on Pd(100), fitted to energies and forces by a small neural network.

Behler and Parrinello's atomic networks (Phys. Rev. Lett. 98, 146401, 2007) for the dissociation of oxygen on
a frozen surface, after Behler, Lorenz and Reuter (J. Chem. Phys. 127, 014705, 2007). Each oxygen atom is
described by 42 symmetry functions G of its surroundings; one network turns them into its share of the energy:

    E = sum over atoms of net(G_atom),        F = -dE/dx = -sum over atoms and functions of dE/dG · dG/dx.

dG/dx is computed once. dE/dG comes from differentiating the network (`tinynn.grad`), so forces in the loss
are derivatives already, and `loss.backward()` takes derivatives of derivatives. G knows distances and angles
only: the fit has the full symmetry of the surface without having to learn it.

    python examples/pes_o2_pd100.py                  a minute of training, then errors, checks and pictures
    python examples/pes_o2_pd100.py --quick          a few seconds, to see that it works
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices of 64 x 64 are multiplied faster by one thread

import argparse
import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import _surface  # beside this script: checks and pictures
import numpy as np
from tqdm import tqdm

import tinynn
from tinynn import nn, optim
from tinynn.data import DataLoader, StandardScaler, TensorDataset, train_val_test_split
from tinynn.potentials import G2, G5, SymmetryFunctions

HERE = Path(__file__).resolve().parent
REGIONS = ("entrance channel", "interaction", "dissociated")
GOAL = (85.0, 290.0)  # meV and meV/Å on the test set, after a minute on one thread

# ------------------------------------------------------------------------------- what the network gets to see


def oxygen_environment() -> SymmetryFunctions:
    """42 functions: shells of palladium and of oxygen around an atom, angles between pairs of neighbours."""
    shells_of_pd = [G2("Pd", eta=4.0, shift=r, cutoff=6.0) for r in np.linspace(1.2, 5.0, 10)]
    shells_of_o = [G2("O", eta=4.0, shift=r, cutoff=6.0) for r in np.linspace(1.0, 4.5, 8)]
    angles = [
        G5(pair, eta=eta, zeta=zeta, lambda_=sign, cutoff=5.0)
        for pair in (("Pd", "Pd"), ("O", "Pd"))
        for eta in (0.01, 0.2)
        for zeta in (1.0, 4.0, 16.0)
        for sign in (1.0, -1.0)
    ]
    return SymmetryFunctions(shells_of_pd + shells_of_o + angles)


class Surface(nn.Module):
    """The fitted surface: scaled symmetry functions -> network -> energy (eV) and forces (eV/Å).

    Parameters
    ----------
    slab : cell (3, 3) and positions (8, 3) of the frozen palladium atoms
    hidden : widths of the hidden layers
    """

    def __init__(self, slab: tuple[Any, Any], hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.environment = oxygen_environment()
        self.slab = {"cell": slab[0], "frozen_positions": slab[1], "frozen_species": ["Pd"] * len(slab[1])}
        widths = (len(self.environment), *hidden)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        self.features = StandardScaler(len(self.environment))
        self.energy = StandardScaler(())

    def describe(self, positions: Any) -> tuple[Any, Any]:
        """Symmetry functions (n, 2, 42) of positions (n, 2, 3), and their derivatives (n, 2, 42, 2, 3)."""
        return self.environment.compute(positions, ["O", "O"], **self.slab)

    def scaled(self, values: Any, jacobian: Any) -> tuple[Any, Any]:
        """What `forward` takes: scaled by the features' standard deviations, the Jacobian as (n, 84, 6)."""
        by_feature = self.features.scale.numpy()[:, None, None]
        return self.features.transform(values), (jacobian / by_feature).reshape(len(values), -1, 6)

    def forward(self, features: Any, jacobian: Any) -> tuple[Any, Any]:
        """Energies (n,) and forces (n, 6); the unit of energy is its standard deviation."""
        n = len(features)
        g = features.reshape((2 * n, -1)).requires_grad_()  # both atoms of all molecules in one batch
        shares = self.net(g)
        slopes = tinynn.grad(shares.sum(), g, create_graph=self.training)  # of each share by its own atom's features
        forces = -(slopes.reshape((n, 1, -1)) @ jacobian)
        return shares.reshape((n, 2)).sum(axis=1), forces.reshape((n, 6))

    def predict(self, positions: Any) -> tuple[Any, Any]:
        """Energies (n,) in eV and forces (n, 2, 3) in eV/Å of oxygen positions (n, 2, 3), as arrays."""
        return self.predict_scaled(*self.scaled(*self.describe(positions)))

    def predict_scaled(self, features: Any, jacobian: Any) -> tuple[Any, Any]:
        """The same of features and Jacobian that were computed before."""
        self.eval()
        parts = [
            self(tinynn.tensor(features[k : k + 500]), tinynn.tensor(jacobian[k : k + 500]))
            for k in range(0, len(features), 500)
        ]
        energy = np.concatenate([e.detach().numpy() for e, _ in parts])
        forces = np.concatenate([f.detach().numpy() for _, f in parts]).reshape(-1, 2, 3)
        return self.energy.inverse_transform(energy), forces * self.energy.scale.item()


# ------------------------------------------------------------------------------------------------- training


def train(model: Surface, train_set: Any, validate: Any, args: argparse.Namespace) -> list[tuple[float, ...]]:
    """Fit the network and leave it with its best weights by validation. Returns a row per epoch."""
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True, seed=args.seed)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    loss_fn = nn.MSELoss()

    def step(features: Any, jacobian: Any, energy: Any, forces: Any) -> Any:
        """Update the network once; the loss before."""
        optimizer.zero_grad()
        energy_fit, forces_fit = model(features, jacobian)
        loss = loss_fn(energy_fit, energy) + args.force_weight * loss_fn(forces_fit, forces)
        loss.backward()
        optimizer.step()
        return loss

    if args.compile:
        step = tinynn.compile(step)
    history: list[tuple[float, ...]] = []
    best_score, best_weights, steps, in_steps = math.inf, {}, 0, 0.0
    start = time.perf_counter()

    def part_done() -> float:
        done = len(history) / args.epochs if args.epochs else (time.perf_counter() - start) / args.seconds
        return min(done, 1.0)

    def cosine(epoch: int) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * part_done()))

    schedule = optim.lr_scheduler.LambdaLR(optimizer, cosine)
    bar = tqdm(total=100, desc="training", bar_format="{desc} {percentage:3.0f}% |{bar:30}|{postfix}")
    while part_done() < 1.0:
        model.train()
        running_loss = 0.0
        before = time.perf_counter()
        for features, jacobian, energy, forces in loader:
            running_loss += step(features, jacobian, energy, forces).item()
        in_steps += time.perf_counter() - before
        steps += len(loader)

        energy_rmse, force_rmse = validate()
        score = energy_rmse**2 + args.force_weight * force_rmse**2
        if score < best_score:
            best_score = score
            best_weights = {name: value.clone() for name, value in model.net.state_dict().items()}
        history.append((time.perf_counter() - start, running_loss / len(loader), energy_rmse, force_rmse))
        schedule.step()
        bar.n = round(100 * part_done())
        bar.set_postfix_str(f"{steps} steps, validation {energy_rmse:.0f} meV, {force_rmse:.0f} meV/Å")
    bar.close()
    model.net.load_state_dict(best_weights)
    seconds = time.perf_counter() - start
    kind = "compiled" if args.compile else "eager"
    print(f"{steps} {kind} steps ({len(history)} epochs) in {seconds:.1f} s, {steps / in_steps:.0f} steps per second")
    return history


def rmse(fit: Any, reference: Any) -> float:
    """Root of the mean square error, in thousandths (eV -> meV)."""
    return 1e3 * float(np.sqrt(np.mean((fit - reference) ** 2)))


def outside_range(features: Any, train_part: Any, tolerance: float = 0.1) -> Any:
    """Which configurations have a feature beyond its range in training, by a tenth of its standard deviation.

    There the network extrapolates, and nothing holds its error down.
    """
    seen = features[train_part].reshape(-1, features.shape[-1])
    beyond = np.maximum(seen.min(axis=0) - features, features - seen.max(axis=0))
    return beyond.max(axis=(1, 2)) > tolerance


def report(data: dict[str, Any], test: Any, outside: Any, errors: Any) -> tuple[float, float]:
    """Print the errors on the test set, by region, beside the goal. Returns those of the whole test set."""
    parts = {name: test[data["region"][test] == number] for number, name in enumerate(REGIONS)}
    parts |= {"all": test, "all within training range": test[~outside[test]]}
    print(f"\n{'RMSE on the test set':<28}{'number':>8}{'energy, meV':>14}{'forces, meV/Å':>16}")
    for name, part in parts.items():
        print("{:<28}{:>8}{:>14.1f}{:>16.1f}".format(name, len(part), *errors(part)))
    spread = 1e3 * data["energy"][test].std(), 1e3 * data["o_forces"][test].std()
    print("{:<36}{:>14.0f}{:>16.0f}".format("spread of the data", *spread))
    print("{:<36}{:>14.0f}{:>16.0f}".format("goal (all, 60 s on one thread)", *GOAL))
    return errors(test)


# ---------------------------------------------------------------------------------------------------- the run


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for training (default %(default)s)")
    parser.add_argument("--epochs", type=int, help="instead of --seconds: the same result in every run")
    parser.add_argument("--quick", action="store_true", help="train for 4 seconds")
    parser.add_argument("--seed", type=int, default=1, help="of initial weights and batches (default %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE / "output", help="folder for pictures and weights")
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64], help="widths of the hidden layers")
    parser.add_argument("--lr", type=float, default=5e-3, help="Adam's learning rate at the start")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the training step as one compiled program; off, it can be stepped through",
    )
    parser.add_argument("--force-weight", type=float, default=1.0, help="of forces in the loss, in Å²")
    args = parser.parse_args(argv)
    if args.quick:
        args.seconds = min(args.seconds, 4.0)
    if args.seconds <= 0 or (args.epochs is not None and args.epochs <= 0):
        parser.error("--seconds and --epochs must be positive")
    return args


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Run the example; returns the test errors."""
    args = arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    tinynn.manual_seed(args.seed)
    with np.load(HERE / "data" / "o2_pd100.npz") as file:
        data = {name: file[name] for name in file.files}

    model = Surface((data["cell"], data["pd_positions"]), tuple(args.hidden))
    start = time.perf_counter()
    values, jacobian = model.describe(data["o_positions"])
    seconds = time.perf_counter() - start
    print(f"{len(values)} configurations, {model.environment} with derivatives: {seconds:.1f} s")

    # The division is the same for every --seed. The test part is not looked at before the network is done.
    n = len(values)
    fractions = (5000 / n, 400 / n, 600 / n)
    train_part, validation, test = train_val_test_split(np.arange(n), fractions=fractions, seed=0)
    print(f"{len(train_part)} for training, {len(validation)} for validation, {len(test)} for the test")

    model.features.fit(values[train_part].reshape(-1, len(model.environment)))
    model.energy.fit(data["energy"][train_part])
    features, jacobian = model.scaled(values, jacobian)
    energy = model.energy.transform(data["energy"])
    forces = data["o_forces"].reshape(-1, 6) / model.energy.scale.item()
    train_set = TensorDataset(*(array[train_part] for array in (features, jacobian, energy, forces)))

    def errors(part: Any) -> tuple[float, float]:
        energy_fit, forces_fit = model.predict_scaled(features[part], jacobian[part])
        return rmse(energy_fit, data["energy"][part]), rmse(forces_fit, data["o_forces"][part])

    print(model.net)
    history = train(model, train_set, lambda: errors(validation), args)
    tinynn.save(model.state_dict(), args.out / "o2_pd100.safetensors")
    total = report(data, test, outside_range(features, train_part), errors)

    symmetry = _surface.symmetry_error(model, data, test[:100])
    gradient = _surface.gradient_error(model, data["o_positions"][test[:20]])
    print(f"\nsymmetry (p4mm, lattice translation, exchange of the atoms): energies equal to {symmetry:.1e} eV")
    print(f"forces against central differences of the energy: {gradient:.1e} eV/Å")
    for path in _surface.draw(model, data, test, history, args.out):
        print(f"saved {path}")
    return {"energy": total[0], "forces": total[1], "symmetry": symmetry, "gradient": gradient}


if __name__ == "__main__":
    main()
