"""Atoms that talk to their neighbours: a message-passing network learns the forces in malonaldehyde.

Row 7 of the syllabus. Every atom i carries a row of numbers h_i, at first nothing but its element. In each round
it hears from all other atoms j, over edges that know the distance r_ij alone, and changes its mind:

    m_i = Σ_j M(h_i, h_j, e_ij),      M = silu(A h_i + B h_j + C e_ij + a),      e_ij = Gaussians of r_ij
    h_i ← U(h_i, m_i) = h_i + MLP([h_i, m_i])
    E = Σ_i R(h_i),                   F = -dE/dx                                   (`tinynn.grad`)

Sums over atoms and distances: nothing depends on the names of the atoms, nor on where the molecule lies. After
no round the atoms know only their element, and E is a constant. After one, each knows its distances to the
others; after two, it has heard of theirs as well, which is to know angles.

Source: Gilmer, Schoenholz, Riley, Vinyals and Dahl, "Neural message passing for quantum chemistry", ICML 2017,
equations (1) to (3). Data: 3000 frames of malonaldehyde, C3H4O2, at 500 K; the last 300 are the test.

    python examples/message_passing.py                two minutes
    python examples/message_passing.py --quick        some seconds
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from _example import BLUE, DATA, GREY, ORANGE, RED, Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn import nn, optim
from tinynn.data import DataLoader, TensorDataset

WIDTH, GAUSSIANS = 24, 20
ELEMENTS, TRAIN = (1, 6, 8), 2700


class Round(nn.Module):
    """One round of messages: M and U, with weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.from_i = nn.Linear(WIDTH, WIDTH)
        self.from_j = nn.Linear(WIDTH, WIDTH, bias=False)
        self.from_edge = nn.Linear(GAUSSIANS, WIDTH, bias=False)
        self.update = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, h: Any, edges: Any, others: Any) -> Any:
        """h (n, atoms, WIDTH), edges (n, atoms, atoms, GAUSSIANS); ``others`` is 0 for j = i, which is no message."""
        messages = nn.functional.silu(self.from_i(h)[:, :, None] + self.from_j(h)[:, None] + self.from_edge(edges))
        m = (messages * others).sum(axis=2)
        return h + self.update(tinynn.concatenate([h, m], axis=-1))


class MessagePassing(nn.Module):
    """Energies of molecules, in units of the network, from positions (n, atoms, 3)."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.start = nn.Embedding(len(ELEMENTS), WIDTH)
        self.rounds = nn.ModuleList([Round() for _ in range(rounds)])
        self.readout = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))
        self.centres = np.linspace(0.8, 5.0, GAUSSIANS)

    def forward(self, x: Any, numbers: Any) -> Any:
        n, atoms, _ = x.shape
        others = 1.0 - np.eye(atoms)[:, :, None]
        d = x[:, :, None] - x[:, None]
        r = tinynn.sqrt((d * d).sum(axis=-1) + np.eye(atoms))  # 1 for j = i: the slope of a root at 0 is infinite
        edges = tinynn.exp(-(((r[..., None] - self.centres) / 0.25) ** 2))
        h = tinynn.broadcast_to(self.start(np.searchsorted(ELEMENTS, numbers)), (n, atoms, WIDTH))
        for one_round in self.rounds:
            h = one_round(h, edges, others)
        return self.readout(h).reshape(n, atoms).sum(axis=1)


def energy_and_forces(model: Any, x: Any, numbers: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """E (n,) and F = -dE/dx (n, atoms, 3). Without messages, E does not depend on x, and F is 0."""
    x = x.detach().requires_grad_()
    energy = model(x, numbers)
    slope = tinynn.grad(energy.sum(), x, create_graph=create_graph, allow_unused=True)
    return energy, tinynn.zeros(*x.shape) if slope is None else -slope


# ------------------------------------------------------------------------------------------------- training


def load() -> dict[str, Any]:
    """The frames in order, 2700 to learn from and 300 for the test; energies in units of their deviation."""
    with np.load(DATA / "malonaldehyde.npz") as file:
        data = {name: file[name] for name in ("numbers", "positions", "energy", "forces")}
    data["mean"], data["unit"] = data["energy"][:TRAIN].mean(), data["energy"][:TRAIN].std()
    return data


def fit(data: dict[str, Any], rounds: int, epochs: int, seed: int, compiled: bool = True) -> Any:
    """Train a network with some rounds of messages on energies and forces; the rate falls along a cosine."""
    tinynn.manual_seed(seed)
    model, numbers, unit = MessagePassing(rounds), data["numbers"], data["unit"]
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=1e-5)

    def step(x: Any, energy: Any, forces: Any) -> Any:
        optimizer.zero_grad()
        energy_fit, forces_fit = energy_and_forces(model, x, numbers, create_graph=True)
        loss = nn.functional.mse_loss(energy_fit, energy) + nn.functional.mse_loss(forces_fit, forces)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    targets = (data["energy"] - data["mean"]) / unit, data["forces"] / unit
    train = TensorDataset(*(array[:TRAIN] for array in (data["positions"], *targets)))
    loader = DataLoader(train, batch_size=16, shuffle=True, drop_last=True, seed=seed)
    for _ in tqdm(range(epochs), desc=f"{rounds} rounds of messages", bar_format="{desc} |{bar:30}| {elapsed}"):
        for batch in loader:
            step(*batch)
        schedule.step()
    return model


def errors(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Energies (eV) and forces (eV/Å) of the test frames, and their mean absolute errors in meV and meV/Å."""
    energy, forces = energy_and_forces(model, tinynn.tensor(data["positions"][TRAIN:]), data["numbers"])
    energy = energy.detach().numpy() * data["unit"] + data["mean"]
    forces = forces.detach().numpy() * data["unit"]
    return {
        "energy": energy,
        "forces": forces,
        "energy MAE": 1e3 * float(np.abs(energy - data["energy"][TRAIN:]).mean()),
        "force MAE": 1e3 * float(np.abs(forces - data["forces"][TRAIN:]).mean()),
    }


# --------------------------------------------------------------------------------------------------- checks


def invariance(model: Any, x: Any, numbers: Any, rng: Any) -> dict[str, float]:
    """Largest change of energies and forces of positions x when the molecule is renamed, turned, or moved."""
    order = rng.permutation(len(numbers))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    shift = rng.uniform(-10.0, 10.0, size=3)
    changes = {  # positions, elements, and what the forces must have become
        "permutation": (x[:, order], numbers[order], lambda f: f[:, order]),
        "rotation": (x @ turn, numbers, lambda f: f @ turn),
        "translation": (x + shift, numbers, lambda f: f),
    }
    energy, forces = (t.detach().numpy() for t in energy_and_forces(model, tinynn.tensor(x), numbers))
    worst = {}
    for name, (y, elements, expected) in changes.items():
        e, f = (t.detach().numpy() for t in energy_and_forces(model, tinynn.tensor(y), elements))
        worst[name] = float(max(np.abs(e - energy).max(), np.abs(f - expected(forces)).max()))
    return worst


def gradient_error(model: Any, x: Any, numbers: Any, h: float = 1e-4) -> float:
    """Largest difference of the forces on one molecule (atoms, 3) from central differences, in parts of the largest."""
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    with tinynn.no_grad():
        up, down = (model(tinynn.tensor(x + s * steps), numbers).numpy() for s in (1.0, -1.0))
    _, forces = energy_and_forces(model, tinynn.tensor(x[None]), numbers)
    slope = (up - down).reshape(x.shape) / (2 * h)
    forces = forces.detach().numpy()[0]
    return float(np.abs(forces + slope).max() / np.abs(forces).max())


# -------------------------------------------------------------------------------------------------- the run


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report = start(options), Report(__file__, options)
    data = load()
    results, epochs = {}, 4 if options.quick else 100
    for rounds in (0, 2) if options.quick else (0, 1, 2, 3):
        model = fit(data, rounds, epochs, options.seed, options.compile)
        results[rounds] = errors(model, data)
        for what, unit in (("energy", "meV"), ("force", "meV/Å")):
            report.number(7, f"{what} MAE, {rounds} rounds", results[rounds][f"{what} MAE"], None, unit)

    most = max(results)
    ratio = results[most]["energy MAE"] / results[0]["energy MAE"]
    report.number(7, f"energy MAE, {most} rounds of messages / none", ratio, "< 0.1", quick="< 1")
    rng = np.random.default_rng(options.seed)
    for name, change in invariance(model, data["positions"][-50:], data["numbers"], rng).items():
        report.number(7, f"change of energies and forces by a {name}", change, "<= 1e-12", quick="<= 1e-12")
    error = gradient_error(model, data["positions"][-1], data["numbers"])
    report.number(7, "forces against -dE/dx by differences", error, "<= 1e-6", quick="<= 1e-6")
    report.picture(draw(plt, data, results))
    return report.finish()


def draw(plt: Any, data: dict[str, Any], results: dict[int, dict[str, Any]]) -> Any:
    """Energies fitted against energies, for each number of rounds; errors against the number of rounds."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    energy, last = data["energy"][TRAIN:], max(results)
    for rounds, color in {0: GREY, 1: ORANGE, last: BLUE}.items():
        if rounds in results:
            label = "no messages" if rounds == 0 else f"{rounds} round{'s' if rounds > 1 else ''} of messages"
            axes[0].plot(energy, results[rounds]["energy"], ".", color=color, ms=5, label=label)
    low, high = energy.min(), energy.max()
    axes[0].plot([low, high], [low, high], color="0.3", lw=0.8, zorder=0)
    axes[0].set(xlabel="energy, GFN2-xTB (eV)", ylabel="energy, network (eV)", title="300 frames that it has not seen")
    axes[0].legend(markerscale=2)
    for what, unit, color in (("energy", "meV", BLUE), ("force", "meV/Å", RED)):
        values = [result[f"{what} MAE"] for result in results.values()]
        axes[1].semilogy(list(results), values, "o-", color=color)
        beside = (list(results)[1], values[1])
        axes[1].annotate(f"{what} ({unit})", beside, (8, 8), textcoords="offset points", color=color)
    axes[1].set(xlabel="rounds of messages", ylabel="mean absolute error", title="what messages are good for")
    axes[1].set_xticks(list(results))
    axes[1].set_yticks(ticks := [5, 10, 20, 50, 100, 200, 500], [str(tick) for tick in ticks])
    axes[1].minorticks_off()
    axes[1].grid(axis="y", color="0.92")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
