"""Linear regression on the numbers of atoms, and the flat line that it gives for H2 (rows 8 and 9 of the syllabus).

A molecule is described by how many atoms of each element it has: water is (H 2, C 0, N 0, O 1, ...). The model

    E ≈ w·n + b

has one energy per element, w, and is fitted to total energies (GFN2-xTB, of the closed-shell molecules of the G2
set) by least squares, w = (XᵀX)⁻¹Xᵀy; descent arrives at the same weights. The mean absolute error
is 20 kcal/mol: a fifth of a bond, from a model that knows no bonds.

Leave-one-out: each molecule is predicted by a fit to all others. That needs no other fits: its residual grows by the
factor 1/(1 - h), h the diagonal of the hat matrix X (XᵀX)⁻¹ Xᵀ (Allen's PRESS, 1974).

What the counts cannot see is geometry. Isomers have equal counts, so that no function of them, linear or not, can tell
one from another. H2 is (2, 0, ...) at every bond length, so its energy is a flat line; a network
that is given R draws the curve.

    python examples/element_counts.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from _example import DATA, Report, parser, start

import tinynn
from tinynn import nn, optim

KCAL = 23.060548  # kcal/mol per eV
HARTREE = 27.211386  # eV


def load(elements: str = "") -> tuple[list[str], list[str], Any, Any]:
    """Names, elements, counts (molecules, elements) and energies in eV; of molecules of ``elements`` only, if given."""
    with np.load(DATA / "g2_gfn2.npz") as file:
        names, symbols, counts, energy = (file[key] for key in ("names", "elements", "counts", "energy"))
    allowed = np.isin(symbols, elements.split()) if elements else np.ones(len(symbols), bool)
    rows = counts[:, ~allowed].sum(axis=1) == 0
    return names[rows].tolist(), symbols[allowed].tolist(), counts[rows][:, allowed], energy[rows]


def design(counts: Any) -> Any:
    """X: the counts, and a column of ones for b."""
    return np.column_stack([counts, np.ones(len(counts))])


def least_squares(x: Any, y: Any) -> Any:
    """w = (XᵀX)⁻¹Xᵀy: the normal equations."""
    return np.linalg.solve(x.T @ x, x.T @ y)


def leave_one_out(x: Any, y: Any) -> Any:
    """The residual of each molecule when it takes no part in the fit: (y - Xw) / (1 - h)."""
    hat = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
    return (y - x @ least_squares(x, y)) / (1 - hat)


def by_descent(x: Any, y: Any, steps: int = 500) -> Any:
    """The same weights by L-BFGS on `nn.Linear`, from the loss and its gradient; energies count from their mean."""
    model = nn.Linear(x.shape[1] - 1, 1)
    inputs, targets = tinynn.tensor(x[:, :-1]), tinynn.tensor((y - y.mean())[:, None])
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    return np.append(model.weight.detach().numpy()[0], model.bias.item() + y.mean())


def isomers(names: list[str], counts: Any, energy: Any) -> list[tuple[list[str], Any]]:
    """Molecules with the same counts, and their energies above the lowest of them."""
    groups: dict[bytes, list[int]] = {}
    for row, n in enumerate(counts):
        groups.setdefault(n.tobytes(), []).append(row)
    return [([names[i] for i in rows], energy[rows] - energy[rows].min()) for rows in groups.values() if len(rows) > 1]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    import h2_curve
    from _element_counts_pictures import draw

    report = Report(__file__, options)

    # Row 8: the course has 19 kcal/mol for the 130 000 molecules of QM9, which are of H, C, N, O and F too.
    names, elements, counts, energy = load("H C N O F")
    x = design(counts)
    w = least_squares(x, energy)
    residuals, left_out = energy - x @ w, leave_one_out(x, energy)
    print(f"{len(names)} molecules; energy per atom in eV: {dict(zip(elements, w.round(2).tolist()))}, b = {w[-1]:.2f}")
    maes = {
        "H, C, N, O, F: mean absolute error": (KCAL * np.abs(residuals).mean(), 21.2),
        "H, C, N, O, F: leave-one-out": (KCAL * np.abs(left_out).mean(), 23.4),
    }
    _, _, all_counts, all_energies = load()
    x_all = design(all_counts)
    all_residuals = all_energies - x_all @ least_squares(x_all, all_energies)
    maes["13 elements, 118 molecules: mean absolute error"] = KCAL * np.abs(all_residuals).mean(), 23.2
    for what, (mae, known) in maes.items():
        report.number(8, what, round(mae, 1), f"== {known}", "kcal/mol", f"== {known}")
    difference = np.abs(by_descent(x, energy) - w).max()
    report.number(8, "normal equations against L-BFGS: largest difference of w", difference, "<= 1e-6", "eV", "<= 1e-6")
    within = np.concatenate([KCAL * np.abs(e - np.median(e)) for _, e in isomers(names, counts, energy)])
    report.number(8, "isomers: mean error of the best function of counts", within.mean(), None, "kcal/mol")

    # Row 9: H2 at 120 bond lengths. Its energy in this model, shifted so that H2 of GFN2 is at the bottom of the curve.
    points = h2_curve.load()
    h2 = names.index("H2")
    same_counts = np.tile(x[h2], (len(points["r"]), 1))
    flat = same_counts @ w - energy[h2] + HARTREE * points["e"].min()
    report.number(9, "H2, counts: change of E with R", np.ptp(flat), "== 0", "eV", "== 0")
    error = np.sqrt(np.mean((flat - HARTREE * points["e"][:, 0])[points["r"][:, 0] > 1] ** 2))
    report.number(9, "H2, counts: RMSE beyond R = 1 a0", KCAL * error, None, "kcal/mol")
    network = h2_curve.learn_with_lbfgs(points, options.seed, 400, options.compile)
    curve = HARTREE * h2_curve.energy_and_slope(network, points["r"])[0]
    error = np.sqrt(np.mean((curve - HARTREE * points["e"])[points["test"]] ** 2))
    report.number(9, "H2, network: RMSE at all test points", KCAL * error, "<= 0.05", "kcal/mol", "<= 0.05")

    report.picture(draw(plt, names, counts, KCAL * residuals, points, flat, network))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
