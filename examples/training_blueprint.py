"""The training loop of PyTorch courses, with its imports changed, on three data sets (rows 12, 43).

Between the two ruled lines stands PyTorch's loop: `train_one_epoch(epoch_index, tb_writer)` line for line as in
its tutorial, and the same with the step as a function, which `tinynn.compile` makes one program. With `torch` in place
of `tinynn` and `torch.utils.data` in place of `tinynn.data`, these lines train with PyTorch, with the same losses.
(A test does that.) Below it are the data:

* a Lennard-Jones curve in 8000 noisy points, by the tutorial's function: the mean loss of every 1000 batches goes to
  TensorBoard (``tensorboard --logdir=runs`` in the folder with the pictures);
* the H2 bond, a regression: learning R·E instead of E halves the error, as the steep wall at small R no longer
  dominates the loss;
* the structure types of metal nanoparticles, a classification.

    python examples/training_blueprint.py
    python examples/training_blueprint.py --no-compile
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from _example import DATA, Report, parser, start

# --------------------------------------------------------------------------------------------- the blueprint
from tinynn import load, no_grad, save
from tinynn.data import DataLoader, TensorDataset
from tinynn.nn import CrossEntropyLoss, Linear, MSELoss, ReLU, Sequential, Tanh


def train_one_epoch(epoch_index, tb_writer):
    """PyTorch's tutorial, line for line; model, optimizer, loss_fn and training_loader are found by name."""
    running_loss = 0.0
    last_loss = 0.0
    for i, data in enumerate(training_loader):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = loss_fn(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        if i % 1000 == 999:
            last_loss = running_loss / 1000  # loss per batch
            print("  batch {} loss: {}".format(i + 1, last_loss))  # noqa: UP032
            tb_x = epoch_index * len(training_loader) + i + 1
            tb_writer.add_scalar("Loss/train", last_loss, tb_x)
            running_loss = 0.0
    return last_loss


def training_step(model, loss_fn, optimizer):
    """The lines in the middle as a function: it updates the model by one batch, and returns the loss before."""

    def step(inputs, labels):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = loss_fn(outputs, labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def train_by_steps(epoch_index, tb_writer, step, loader, report_every):
    """An epoch with such a step; reports the running mean of the loss every ``report_every`` batches."""
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


def train(model, train_loader, val_loader, step, loss_fn, scheduler, epochs, tb_writer, best_path, validate_every=1):
    """Train for some epochs, and leave the model as it was when the validation loss was lowest."""
    best_loss = float("inf")
    for epoch in range(epochs):
        model.train()
        train_by_steps(epoch, tb_writer, step, train_loader, len(train_loader))
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
from tinynn.io import SummaryWriter


class Scalars:
    """Keeps what a TensorBoard writer is given, for the picture: ``series[tag]`` is a list of (step, value)."""

    def __init__(self, writer=None):
        self.series, self.writer = {}, writer

    def add_scalar(self, tag, value, step):
        self.series.setdefault(tag, []).append((step, value))
        if self.writer is not None:
            self.writer.add_scalar(tag, value, step)


def follow_the_tutorial(epochs, writer, seed=0):
    """A Lennard-Jones curve; the four names are global, as in a notebook."""
    global model, optimizer, loss_fn, training_loader
    tinynn.manual_seed(seed)
    r = tinynn.rand(8000, 1) * 1.5 + 1.0
    energy = 4 * (r**-12 - r**-6) + 0.02 * tinynn.randn(8000, 1)
    model = Sequential(Linear(1, 20), Tanh(), Linear(20, 10), Tanh(), Linear(10, 1))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = MSELoss()
    training_loader = DataLoader(TensorDataset(r, energy), batch_size=4, shuffle=True)
    return [train_one_epoch(epoch, writer) for epoch in range(epochs)]


def run(model, data, loss_fn, epochs, batch_size, lr, weight_decay, validate_every, options, writer):
    """The blueprint on (training, validation) data; along a cosine, the rate falls to a thousandth."""
    train_loader = DataLoader(TensorDataset(*data[0]), batch_size=batch_size, shuffle=True)
    val_loader = DataLoader(TensorDataset(*data[1]), batch_size=256)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=lr / 1000)
    step, begin = training_step(model, loss_fn, optimizer), time.perf_counter()
    step = tinynn.compile(step) if options.compile else step
    with tempfile.TemporaryDirectory() as folder:
        best = Path(folder) / "best.safetensors"
        train(model, train_loader, val_loader, step, loss_fn, scheduler, epochs, writer, best, validate_every)
    steps, seconds = epochs * len(train_loader), time.perf_counter() - begin
    kind = "compiled" if options.compile else "eager"
    print(f"  {steps} {kind} steps in {seconds:.1f} s, validation included: {steps / seconds:.0f} per second")


def fit_h2(epochs, times_r, options, writer):
    """Fit E(R), or R·E(R), of H2 to every other point; the rest is for validation (20) and test (40)."""
    with np.load(DATA / "h2_fci.npz") as file:
        r, e = file["R"][:, None], (file["energy"] - 2 * file["E_atom"])[:, None]
    rest = np.arange(1, len(r), 2)
    parts = {"train": np.arange(0, len(r), 2), "val": rest[1::3], "test": np.delete(rest, np.s_[1::3])}
    y = r * e if times_r else e
    known = parts["train"]
    centre, width, mean, scale = r[known].mean(), r[known].std(), y[known].mean(), y[known].std()
    tinynn.manual_seed(options.seed)
    model = Sequential(Linear(1, 32), Tanh(), Linear(32, 32), Tanh(), Linear(32, 1))
    data = [((r[rows] - centre) / width, (y[rows] - mean) / scale) for rows in (parts["train"], parts["val"])]
    run(model, data, MSELoss(), epochs, 60, 1e-2, 0.0, 50, options, writer)

    def energy(at):
        with no_grad():
            out = model(tinynn.tensor((at - centre) / width)).numpy() * scale + mean
        return out / at if times_r else out

    error = 1e6 * np.sqrt(np.mean((energy(r) - e)[parts["test"]] ** 2))
    return {"error": float(error), "energy": energy, "r": r, "e": e, "parts": parts}


def fit_structure_types(epochs, options, writer):
    """Tell seven structure types by their curves: 60 % to learn from, 20 % to choose by, 20 % in the vault.

    One mean curve and one width, of the training part alone, bring the data to a common scale. (Dividing each
    distance by its own deviation would blow up the far end of the curves, where there is only noise.)
    """
    with np.load(DATA / "pdf_structures.npz") as file:
        curves, labels, names = file["G"].astype(float), file["label"].astype(np.int64), file["classes"].tolist()
    (x, y), (x_val, y_val), (x_test, y_test) = train_val_test_split(curves, labels, fractions=(0.6, 0.2, 0.2), seed=0)
    mean, scale = x.mean(axis=0), x.std()
    tinynn.manual_seed(options.seed)
    model = Sequential(Linear(186, 64), ReLU(), Linear(64, 64), ReLU(), Linear(64, 7))
    data = [((x - mean) / scale, y), ((x_val - mean) / scale, y_val)]
    run(model, data, CrossEntropyLoss(), epochs, 16, 1e-3, 1e-2, 1, options, writer)
    with no_grad():
        guess = model(tinynn.tensor((x_test - mean) / scale)).numpy().argmax(axis=1)
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (y_test, guess), 1)
    merged = [np.where(c == names.index("octahedral"), names.index("fcc"), c) for c in (guess, y_test)]
    accuracy = {"accuracy": float(np.mean(guess == y_test)), "merged": float(np.mean(merged[0] == merged[1]))}
    return accuracy | {"names": names, "confusion": confusion}


def main(arguments=None):
    made = parser(__doc__, compiles=True)
    made.add_argument("--logdir", type=Path, help="folder for TensorBoard (default: runs in the folder for pictures)")
    options = made.parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)
    writers = {}
    for name in ("lennard_jones", "h2", "h2_times_r", "structure_types"):
        writers[name] = Scalars(SummaryWriter((options.logdir or options.out / "runs") / name))
    print("Lennard-Jones by the tutorial's function, batches of 4, operation by operation")
    means = follow_the_tutorial(1 if options.quick else 5, writers["lennard_jones"], options.seed)
    report.number(12, "Lennard-Jones: mean loss of the last 1000 batches", means[-1], "<= 0.002", "ε²", "<= 0.02")
    epochs = 2000 if options.quick else 13500
    print(f"H2, full CI: 1-32-32-1 tanh, 60 points at once, {epochs} updates with Adam")
    plain, times_r = (
        fit_h2(epochs, times_r, options, writers["h2_times_r" if times_r else "h2"]) for times_r in (False, True)
    )
    report.number(43, "H2, learning E: RMSE at 40 other points", plain["error"], "<= 350", "µEh", "<= 2500")
    report.number(43, "H2, learning R·E: RMSE at 40 other points", times_r["error"], "<= 150", "µEh", "<= 2500")
    epochs = 15 if options.quick else 40
    print(f"Structure types: 186-64-64-7 ReLU, 378 of 630 curves, {epochs} epochs; tested on 126 others")
    types = fit_structure_types(epochs, options, writers["structure_types"])
    report.number(43, "seven types: test accuracy", types["accuracy"], ">= 0.77", quick=">= 0.65")
    report.number(43, "fcc and octahedral as one: test accuracy", types["merged"], ">= 0.91", quick=">= 0.80")
    for scalars in writers.values():
        scalars.writer.close()

    from _training_blueprint_pictures import draw

    report.picture(draw(plt, {name: scalars.series for name, scalars in writers.items()}, plain, times_r, types))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
