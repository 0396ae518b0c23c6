"""The training loop that every course on deep learning shows, written once and used on two data sets.

The part between the two ruled lines knows only the names that its three imports bring. It is PyTorch's loop:
with `torch` in place of `tinynn` and `torch.utils.data` in place of `tinynn.data`, the same lines train with
PyTorch. (A test runs them with both, and compares the losses.) Below it are the data: the H2 bond (a
regression) and the structure types of metal nanoparticles (a classification).

With `tinynn.compile`, the function that updates the model runs as one program, with the same result.

    python examples/training_blueprint.py
    python examples/training_blueprint.py --data h2 --no-compile
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# --------------------------------------------------------------------------------------------- the blueprint
from tinynn import load, no_grad, save
from tinynn.data import DataLoader, TensorDataset
from tinynn.nn import CrossEntropyLoss, Linear, MSELoss, ReLU, Sequential, Tanh


def training_step(model, loss_fn, optimizer):
    """The function that updates the model by one batch, and returns the loss before."""

    def step(inputs, labels):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = loss_fn(outputs, labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def train_one_epoch(epoch_index, tb_writer, step, loader, report_every):
    """Update the model once per batch; report the running mean of the loss every ``report_every`` batches."""
    running_loss, last_mean = 0.0, 0.0
    for i, (inputs, labels) in enumerate(loader, start=1):
        loss = step(inputs, labels)
        running_loss += loss.item()
        if i % report_every == 0:
            last_mean = running_loss / report_every
            tb_writer.add_scalar("Loss/train", last_mean, epoch_index * len(loader) + i)
            running_loss = 0.0
    return last_mean


def validation_loss(model, loader, loss_fn):
    """The mean loss over a data set, with the model in evaluation mode and nothing recorded."""
    model.eval()
    total, count = 0.0, 0
    with no_grad():
        for inputs, labels in loader:
            total += loss_fn(model(inputs), labels).item() * len(labels)
            count += len(labels)
    return total / count


def train(
    model,
    train_loader,
    val_loader,
    loss_fn,
    optimizer,
    scheduler,
    epochs,
    tb_writer,
    best_path,
    report_every,
    validate_every=1,
    compiler=None,
):
    """Train for some epochs, and leave the model as it was when the validation loss was lowest."""
    step = training_step(model, loss_fn, optimizer)
    if compiler is not None:
        step = compiler(step)
    best_loss = float("inf")
    for epoch in range(epochs):
        model.train()
        train_one_epoch(epoch, tb_writer, step, train_loader, report_every)
        scheduler.step()
        if (epoch + 1) % validate_every:
            continue
        loss = validation_loss(model, val_loader, loss_fn)
        tb_writer.add_scalar("Loss/val", loss, (epoch + 1) * len(train_loader))
        if loss < best_loss:
            best_loss = loss
            save(model.state_dict(), best_path)
    model.load_state_dict(load(best_path))
    return best_loss


# ---------------------------------------------------------------------------------- the end of the blueprint

import tinynn
from tinynn import optim
from tinynn.data import train_val_test_split

DATA = Path(__file__).parent / "data"
MISSED: list[str] = []


class Scalars:
    """Keeps what a TensorBoard writer would be given: ``series[tag]`` is a list of (step, value)."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[int, float]]] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.series.setdefault(tag, []).append((step, value))


def check(what: str, value: float, bar: str, right: bool) -> None:
    """Print a number beside its bar."""
    if not right:
        MISSED.append(what)
    print(f"  {what:<58} {value:>8.4g}   {bar:<12} {'OK' if right else 'MISSED'}")


def run(
    model: Any,
    data: Sequence[tuple[Any, Any]],
    loss_fn: Any,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    validate_every: int,
    compiled: bool,
) -> Scalars:
    """The blueprint on (training, validation) data; along a cosine, the rate falls to a thousandth."""
    train_loader = DataLoader(TensorDataset(*data[0]), batch_size=batch_size, shuffle=True)
    val_loader = DataLoader(TensorDataset(*data[1]), batch_size=256)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=lr / 1000)
    writer, start = Scalars(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(
            model, train_loader, val_loader, loss_fn, optimizer, scheduler, epochs, writer,
            Path(folder) / "best.safetensors", report_every=len(train_loader), validate_every=validate_every,
            compiler=tinynn.compile if compiled else None,
        )  # fmt: skip
    steps, seconds = epochs * len(train_loader), time.perf_counter() - start
    kind = "compiled" if compiled else "eager"
    print(f"  {steps} {kind} steps in {seconds:.1f} s, validation included: {steps / seconds:.0f} per second")
    return writer


# ----------------------------------------------------------------------------------- regression: the H2 bond


def fit_h2(epochs: int, times_r: bool, seed: int = 0, compiled: bool = True) -> dict[str, Any]:
    """Fit E(R), or R·E(R), of H2 to every other point; the rest is for validation (20) and test (40)."""
    with np.load(DATA / "h2_fci.npz") as file:
        r, e = file["R"][:, None], (file["energy"] - 2 * file["E_atom"])[:, None]
    rest = np.arange(1, len(r), 2)
    parts = {"train": np.arange(0, len(r), 2), "val": rest[1::3], "test": np.delete(rest, np.s_[1::3])}
    y = r * e if times_r else e
    known = parts["train"]
    centre, width, mean, scale = r[known].mean(), r[known].std(), y[known].mean(), y[known].std()
    tinynn.manual_seed(seed)
    model = Sequential(Linear(1, 32), Tanh(), Linear(32, 32), Tanh(), Linear(32, 1))
    data = [((r[rows] - centre) / width, (y[rows] - mean) / scale) for rows in (parts["train"], parts["val"])]
    writer = run(
        model, data, MSELoss(), epochs,
        batch_size=60, lr=1e-2, weight_decay=0.0, validate_every=50, compiled=compiled,
    )  # fmt: skip

    def energy(at: Any) -> Any:
        with no_grad():
            out = model(tinynn.tensor((at - centre) / width)).numpy() * scale + mean
        return out / at if times_r else out

    error = 1e6 * np.sqrt(np.mean((energy(r) - e)[parts["test"]] ** 2))
    return {"writer": writer, "error": float(error), "energy": energy, "r": r, "e": e, "parts": parts}


# --------------------------------------------------------------------------- classification: structure types


def fit_structure_types(epochs: int, seed: int = 0, compiled: bool = True) -> dict[str, Any]:
    """Tell seven structure types by their curves: 60 % to learn from, 20 % to choose by, 20 % in the vault.

    One mean curve and one width, of the training part alone, bring the data to a common scale. (Dividing each
    distance by its own deviation would blow up the far end of the curves, where there is only noise.)
    """
    with np.load(DATA / "pdf_structures.npz") as file:
        curves, labels, names = (
            file["G"].astype(float),
            file["label"].astype(np.int64),
            file["classes"].tolist(),
        )
    (x, y), (x_val, y_val), vault = train_val_test_split(curves, labels, fractions=(0.6, 0.2, 0.2), seed=0)
    mean, scale = x.mean(axis=0), x.std()
    tinynn.manual_seed(seed)
    model = Sequential(Linear(186, 64), ReLU(), Linear(64, 64), ReLU(), Linear(64, 7))
    data = [((x - mean) / scale, y), ((x_val - mean) / scale, y_val)]
    writer = run(
        model, data, CrossEntropyLoss(), epochs,
        batch_size=16, lr=1e-3, weight_decay=1e-2, validate_every=1, compiled=compiled,
    )  # fmt: skip

    x_test, y_test = vault
    with no_grad():
        guess = model(tinynn.tensor((x_test - mean) / scale)).numpy().argmax(axis=1)
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (y_test, guess), 1)
    merged = [np.where(c == names.index("octahedral"), names.index("fcc"), c) for c in (guess, y_test)]
    return {
        "writer": writer, "names": names, "confusion": confusion,
        "accuracy": float(np.mean(guess == y_test)), "merged": float(np.mean(merged[0] == merged[1])),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    import matplotlib
    import matplotlib.pyplot as plt
    from _pictures import draw_confusion, draw_h2, draw_loss

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", choices=["h2", "types", "both"], default="both", help="which data set (default: both)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order of batches")
    parser.add_argument("--quick", action="store_true", help="train briefly, with bars to match")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True,
        help="run the training step as one compiled program (the default), or operation by operation",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture (default: out)")
    parser.add_argument("--show", action="store_true", help="open the picture in a window as well")
    options = parser.parse_args(arguments)
    MISSED.clear()
    if not options.show:
        matplotlib.use("Agg")
    rows = ["h2", "types"] if options.data == "both" else [options.data]
    figure, axes = plt.subplots(len(rows), 2, figsize=(13, 5 * len(rows)), layout="constrained", squeeze=False)
    if "h2" in rows:
        epochs = 2000 if options.quick else 13500
        print(f"H2, full CI: 1-32-32-1 tanh, 60 points at once, {epochs} updates with Adam; tested on 40 others")
        plain, times_r = (fit_h2(epochs, times_r, options.seed, options.compile) for times_r in (False, True))
        for name, fit, bar in (("E", plain, 350), ("R·E", times_r, 150)):
            bar = 2500 if options.quick else bar
            check(f"learning {name}: test RMSE / µEh", fit["error"], f"<= {bar}", fit["error"] <= bar)
        draw_loss(axes[0, 0], times_r["writer"], "H2, learning R·E: mean squared error")
        draw_h2(axes[0, 1], plain, times_r)
    if "types" in rows:
        epochs = 15 if options.quick else 40
        print(f"Structure types: 186-64-64-7 ReLU, 378 of 630 curves, {epochs} epochs; tested on 126 others")
        types = fit_structure_types(epochs, options.seed, options.compile)
        bars = (0.65, 0.80) if options.quick else (0.77, 0.91)
        check("seven types: test accuracy", types["accuracy"], f">= {bars[0]}", types["accuracy"] >= bars[0])
        check(
            "fcc and octahedral as one: test accuracy",
            types["merged"],
            f">= {bars[1]}",
            types["merged"] >= bars[1],
        )
        draw_loss(axes[-1, 0], types["writer"], "Structure types: cross-entropy")
        draw_confusion(axes[-1, 1], types)

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "training_blueprint.png"
    figure.savefig(path, dpi=110)
    print(f"\nwrote {path}")
    if options.show:
        plt.show()
    plt.close(figure)
    print("every number as expected" if not MISSED else f"MISSED: {', '.join(MISSED)}")
    return 1 if MISSED else 0


if __name__ == "__main__":
    raise SystemExit(main())
