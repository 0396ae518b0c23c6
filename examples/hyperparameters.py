"""Choosing hyperparameters for structure types of nanoparticles: 45 networks, one test (rows 4, 6, 14, 15).

The grid of the course, depth {2, 3, 4} × width {32, 64, 128} × learning rate {1e-5, 5e-5, 1e-4, 5e-4, 1e-3}: all 45 are
trained on 60 % of the data and compared on another 20 % (row 14). Beside it a random search with a third of the runs,
and the question whether a few epochs would have shown the same winner (row 6; what to do before a search is in
overfit_a_batch.py). Five folds say how much the choice of the validation part matters, and a learning curve what more
data would bring (row 15). At the very end the winner, trained on the 80 %, meets the vault: one number.

Each run leaves Loss/train, Loss/val and its hyperparameters for TensorBoard (row 4):

    python examples/hyperparameters.py
    tensorboard --logdir=examples/output/runs
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from _example import DATA, Report, parser, start
from tqdm import tqdm

from tinynn.data import train_val_test_split
from tinynn.io import SummaryWriter
from tinynn.sklearn import NeuralClassifier

DEPTHS = (2, 3, 4)
WIDTHS = (32, 64, 128)
LEARNING_RATES = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3)
BATCH_SIZE = 16
WEIGHT_DECAY = 1e-2
EPOCHS = 60
SCREENING_EPOCHS = 10
RANDOM_RUNS = 15  # of the random search: a third of the grid


def load_data(seed=0):
    """Curves and types: 60 % to train, 20 % to choose by, 20 % in the vault."""
    with np.load(DATA / "pdf_structures.npz") as data:
        curves, labels = data["G"].astype(float), data["label"].astype(np.int64)
    return train_val_test_split(curves, labels, fractions=(0.6, 0.2, 0.2), seed=seed)


def network(depth, width, lr, epochs, options, **more):
    """A classifier with such a network; inputs are scaled by the mean and the deviation of what it is trained on."""
    settings = {"batch_size": BATCH_SIZE, "weight_decay": WEIGHT_DECAY, "patience": None, "scale_inputs": "common"}
    settings |= {"dtype": "float32", "compile": options.compile, "random_state": options.seed} | more
    return NeuralClassifier((width,) * depth, optimizer="adamw", lr=lr, max_epochs=epochs, **settings)


def run_folder(logdir, depth, width, lr):
    """Where TensorBoard finds a run."""
    return logdir / f"depth{depth}_width{width}_lr{lr:.0e}"


def grid_search(train, val, grid, epochs, options):
    """Train each combination; its lowest validation loss, and that after a few epochs. Logs for TensorBoard."""
    results = {}
    for depth, width, lr in tqdm(grid, desc="grid", unit="run"):
        model = network(depth, width, lr, epochs, options).fit(*train, validation=val)
        run = run_folder(options.logdir, depth, width, lr)
        with SummaryWriter(run) as writer:
            for epoch in range(model.n_iter_):
                writer.add_scalar("Loss/train", model.loss_curve_[epoch], epoch + 1)
                writer.add_scalar("Loss/val", model.validation_loss_curve_[epoch], epoch + 1)
            settings = {"depth": depth, "width": width, "lr": lr}
            writer.add_hparams(settings, {"best/val": model.best_loss_}, run_name=".")
        results[depth, width, lr] = model
    return results


def random_search(train, val, epochs, runs, options):
    """The lowest validation losses of rates and sizes drawn between and beyond those of the grid."""
    from scipy.stats import loguniform
    from sklearn.model_selection import ParameterSampler

    sizes = [(width,) * depth for depth in (1, 2, 3, 4) for width in (16, 32, 64, 128, 256)]
    drawn = ParameterSampler({"lr": loguniform(1e-5, 1e-2), "network": sizes}, runs, random_state=options.seed)
    model = network(2, 32, 1e-3, epochs, options)
    fits = (model.set_params(**setting).fit(*train, validation=val) for setting in tqdm(list(drawn), desc="random"))
    return np.array([fit.best_loss_ for fit in fits])


def main(arguments=None):
    from sklearn.model_selection import ShuffleSplit, cross_val_score, learning_curve

    made = parser(__doc__, compiles=True)
    made.add_argument("--logdir", type=Path, help="folder for TensorBoard (default: runs in the folder for pictures)")
    options = made.parse_args(arguments)
    options.logdir = options.logdir or options.out / "runs" / "hyperparameters"
    plt = start(options)
    report = Report(__file__, options)
    train, val, vault = load_data()

    epochs, screening = (12, 4) if options.quick else (EPOCHS, SCREENING_EPOCHS)
    grid = list(itertools.product(DEPTHS, WIDTHS, LEARNING_RATES))
    grid = grid[2::7] if options.quick else grid
    results = grid_search(train, val, grid, epochs, options)
    losses = {key: model.best_loss_ for key, model in results.items()}
    best = min(losses, key=losses.get)
    ranked = sorted(losses, key=losses.get)
    print("\n  depth  width       lr   validation loss  accuracy   best epoch")
    for depth, width, lr in ranked[:8]:
        model = results[depth, width, lr]
        accuracy = model.validation_scores_[model.best_epoch_ - 1]
        print(f"  {depth:5} {width:6} {lr:8.0e} {model.best_loss_:17.3f} {accuracy:9.3f} {model.best_epoch_:12}")
    report.number(14, "combinations", len(results), "== 45", "", "== 7")
    with_events = sum(any(run_folder(options.logdir, *key).glob("*tfevents*")) for key in grid)
    report.number(4, "runs with event files for TensorBoard", with_events, "== 45", "", "== 7")
    report.number(14, "lowest validation loss of the grid", losses[best], "<= 0.5", "", "<= 1.6")

    few = {key: min(model.validation_loss_curve_[:screening]) for key, model in results.items()}
    short_list = sorted(few, key=few.get)[: max(1, len(few) // 5)]
    report.number(6, f"best of the fifth that leads after {screening} epochs, in units of the best",
                  min(losses[key] for key in short_list) / losses[best], "<= 1.15", "", "<= 1.5")  # fmt: skip
    runs = 3 if options.quick else RANDOM_RUNS
    search = random_search(train, val, epochs, runs, options)
    report.number(14, f"random search, {runs} runs: lowest validation loss", search.min(), "<= 0.5", "", "<= 2")

    x, y = (np.concatenate(both) for both in zip(train, val))
    winner = network(*best, results[best].best_epoch_, options)
    folds = cross_val_score(winner, x, y, cv=3 if options.quick else 5)
    report.number(15, f"{len(folds)} folds: accuracy of the winner", folds.mean(), ">= 0.75", "", ">= 0.3")
    report.number(15, f"{len(folds)} folds: standard deviation", folds.std(ddof=1), "<= 0.06", "", "<= 0.15")
    splits = ShuffleSplit(1 if options.quick else 5, test_size=100, random_state=options.seed)
    sizes = (50, 100, 200, 400)
    model = network(*best, epochs, options)
    _, _, scores = learning_curve(model, x, y, train_sizes=sizes, cv=splits, shuffle=True, random_state=options.seed)
    errors = 1 - scores
    slope = np.polyfit(np.log(sizes), np.log(errors.mean(axis=1)), 1)[0]
    report.number(15, "learning curve: slope on log–log axes", slope, "<= -0.3", "", "<= 0")

    test = winner.fit(x, y).score(*vault)
    report.number(14, "the vault, opened once: accuracy of the winner", test, ">= 0.80", "", ">= 0.3")

    from _hyperparameters_pictures import draw

    report.picture(draw(plt, results, best, few, search, (sizes, errors)))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
