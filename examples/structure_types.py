"""Which structure has a nanoparticle? Seven types from pair distribution functions (rows 18, 19, 20, 22, 24).

The data are divided 60–20–20 with a fixed seed, and scaled by the statistics of the training part; the last part lies
in a vault until the end (row 18). A choice, how much noise to add to inputs while training, is made by the validation
part. Then all but 95 curves of the vault train

* a perceptron for each type against all others, and one for each of the 21 pairs (row 19),
* softmax regression, the logistic regression of many classes (row 22),
* a random forest (scikit-learn's), a network 186-64-64-7 (row 24), and a one-dimensional convolutional network with
  16, 32 and 32 channels, batch norm, and dropout of 0.3 (row 20),

and all of that for several divisions, as 95 curves alone decide little. Fcc and octahedral particles are cut from the
same lattice: a part of that pair cannot be told apart, so the accuracy with both as one type is printed as well.

At the end the same once more, with each curve drawn against r in units of the particle's own nearest-neighbour
distance, the place of its first peak. What the convolutional network had to learn, that all peaks move together, is
then in the data, and a linear model is as good as any network: look at descriptors before you look for architectures.

    python examples/structure_types.py
"""

from __future__ import annotations

import itertools

import numpy as np
from _example import DATA, Report, parser, start
from tqdm import tqdm

import tinynn
from tinynn import nn
from tinynn.data import train_val_test_split
from tinynn.sklearn import Factory, NeuralClassifier, Perceptron

# ----------------------------------------------------------------------------------------------------- the data


class Vault:
    """Test data behind a door that opens once."""

    def __init__(self, *arrays):
        self._arrays = arrays

    def open(self):
        if self._arrays is None:
            raise RuntimeError("the vault was opened before: what was chosen since then was chosen by the test data")
        arrays, self._arrays = self._arrays, None
        return arrays


def divide(curves, labels, division):
    """Training (60 %) and validation part (20 %), a vault with the last 95, and all rows that are not in the vault."""
    rows = np.arange(len(labels))
    train, val, last = train_val_test_split(rows, fractions=(0.6, 0.2, 0.2), seed=division)
    vault, known = last[-95:], np.concatenate([train, val, last[:-95]])
    parts = {"train": train, "val": val, "known": known}
    return {name: (curves[rows], labels[rows]) for name, rows in parts.items()}, Vault(curves[vault], labels[vault])


def load_curves():
    with np.load(DATA / "pdf_structures.npz") as data:
        return data["r"], data["G"].astype(float), data["label"].astype(np.int64), data["classes"].tolist()


def in_nearest_neighbours(r, curves, unit=2.75):
    """G(r · d / unit), d being the place of the first peak (the top of a parabola through its highest points)."""
    near = np.flatnonzero(r < 3.6)
    top = curves[:, near].argmax(axis=1).clip(1)
    left, peak, right = (curves[np.arange(len(curves)), top + k] for k in (-1, 0, 1))
    place = r[top] + 0.5 * (r[1] - r[0]) * (left - right) / (left - 2 * peak + right)
    return np.array([np.interp(r * d / unit, r, curve) for d, curve in zip(place, curves, strict=True)])


# --------------------------------------------------------------------------------------------------- the models


class Noise(nn.Module):
    """Adds normal noise to inputs, in training: a curve with other noise is still the same particle."""

    def __init__(self, deviation):
        super().__init__()
        self.deviation = deviation

    def forward(self, x):
        return x + self.deviation * tinynn.randn(*x.shape, dtype=x.dtype) if self.training else x


class OneChannel(nn.Module):
    """(batch, points) to (batch, 1, points)."""

    def forward(self, x):
        return x.reshape(x.shape[0], 1, x.shape[1])


def mlp(points, types, noise):
    """186-64-64-7."""
    layers = [nn.Linear(points, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, types)]
    return nn.Sequential(Noise(noise), *layers)


def cnn(points, types, noise):
    """Three times convolution, batch norm, ReLU and the larger of two neighbours; then dropout and one linear layer."""
    layers, before = [Noise(noise), OneChannel()], 1
    for channels in (16, 32, 32):
        layers += [nn.Conv1d(before, channels, 9, padding=4), nn.BatchNorm1d(channels), nn.ReLU(), nn.MaxPool1d(2)]
        before, points = channels, points // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(before * points, types))


def models(options, noise, seed):
    """Unfitted estimators by name. Networks scale by the mean curve and one deviation of what they are trained on."""
    from sklearn.ensemble import RandomForestClassifier

    def network(layers, lr, epochs, batch_size):
        return NeuralClassifier(
            layers, optimizer="adamw", lr=lr, weight_decay=1e-2, schedule="cosine", batch_size=batch_size,
            max_epochs=max(1, epochs // 6) if options.quick else epochs, patience=None, scale_inputs="common",
            dtype="float32", compile=options.compile, random_state=seed,
        )  # fmt: skip

    return {
        "perceptron": Perceptron(max_epochs=20 if options.quick else 100, random_state=seed),
        "softmax regression": network((), 1e-2, 100, 32),
        "random forest": RandomForestClassifier(50 if options.quick else 300, random_state=seed),
        "MLP": network(Factory(mlp, noise=noise), 2e-3, 60, 16),
        "CNN": network(Factory(cnn, noise=noise / 2), 2e-3, 60, 32),
    }


def choose_noise(train, val, options, levels=(0.0, 0.1, 0.2)):
    """The noise with which the MLP has the highest validation accuracy, and all accuracies."""
    accuracy = {level: models(options, level, options.seed)["MLP"].fit(*train).score(*val) for level in levels}
    return max(accuracy, key=accuracy.get), accuracy


# ------------------------------------------------------------------------------------------------- the comparison


def merged(labels, names):
    """Octahedral particles are fcc ones of another shape: both as one type."""
    return np.where(labels == names.index("octahedral"), names.index("fcc"), labels)


def compare(curves, labels, names, noise, divisions, options, what):
    """Accuracies (divisions, 2: seven types, six types) of all models, and the summed confusions of each."""
    found = {}
    for division in tqdm(divisions, desc=what, unit="division"):
        parts, vault = divide(curves, labels, division)
        x, y = vault.open()
        for name, model in models(options, noise, division).items():
            guess = model.fit(*parts["known"]).predict(x)
            accuracies, confusion = found.setdefault(name, ([], np.zeros((7, 7), int)))
            accuracies.append((np.mean(guess == y), np.mean(merged(guess, names) == merged(y, names))))
            np.add.at(confusion, (y, guess), 1)
    return {name: (np.array(accuracies), confusion) for name, (accuracies, confusion) in found.items()}


def perceptron_pairs(curves, labels, names, options):
    """Test accuracy of a perceptron for each pair of types, and how many pairs it has learnt without an error."""
    parts, vault = divide(curves, labels, options.seed)
    (x, y), (x_test, y_test) = parts["known"], vault.open()
    table, learnt = np.full((7, 7), np.nan), 0
    for i, j in itertools.combinations(range(7), 2):
        rows, test = np.isin(y, (i, j)), np.isin(y_test, (i, j))
        model = Perceptron(max_epochs=50 if options.quick else 3000, random_state=options.seed).fit(x[rows], y[rows])
        table[i, j] = table[j, i] = model.score(x_test[test], y_test[test])
        learnt += model.converged_
    return table, learnt


def main(arguments=None):
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)
    r, curves, labels, names = load_curves()

    parts, _ = divide(curves, labels, options.seed)
    sizes = [len(parts[name][0]) for name in ("train", "val", "known")]
    report.number(18, "curves to train with, of 630", sizes[0], "== 378", quick="== 378")
    report.number(18, "curves to choose by", sizes[1], "== 126", quick="== 126")
    noise, accuracy = choose_noise(parts["train"], parts["val"], options)
    print("  validation accuracy by noise:", ", ".join(f"{level}: {value:.3f}" for level, value in accuracy.items()))
    report.number(18, "noise chosen by the validation part, in units of G's deviation", noise)

    table, learnt = perceptron_pairs(curves, labels, names, options)
    report.number(19, "perceptron, 21 pairs: learnt without an error", learnt, ">= 19", quick=">= 10")
    report.number(19, "perceptron, fcc–bcc: accuracy", table[names.index("fcc"), names.index("bcc")], ">= 0.97", "",
                  ">= 0.9")  # fmt: skip
    divisions = range(options.seed, options.seed + (1 if options.quick else 6))
    of_r = compare(curves, labels, names, noise, divisions, options, "G(r)")
    reduced = compare(in_nearest_neighbours(r, curves), labels, names, noise, divisions, options, "G(r/d)")
    bars = {"MLP": (">= 0.83", ">= 0.6"), "CNN": (">= 0.88", ">= 0.6"), "softmax regression": (">= 0.55", ">= 0.4")}
    rows = {"perceptron": 19, "softmax regression": 22, "random forest": 20, "MLP": 24, "CNN": 20}
    for name, (accuracies, _) in of_r.items():
        bar, quick = bars.get(name, (None, None))
        mean, (deviation, _) = accuracies.mean(axis=0), accuracies.std(axis=0)
        report.number(
            rows[name], f"{name}: accuracy (± {deviation:.3f} of {len(divisions)} divisions)", mean[0], bar, "", quick
        )
        bar, quick = (">= 0.98", ">= 0.7") if name == "CNN" else (None, None)
        report.number(rows[name], f"{name}: fcc and octahedral as one", mean[1], bar, "", quick)
    for name, (accuracies, _) in reduced.items():
        bar = ">= 0.90" if name in ("softmax regression", "MLP", "CNN") else None
        report.number(rows[name], f"{name}, r in nearest neighbours: accuracy", accuracies[:, 0].mean(), bar)

    from _structure_types_pictures import draw_accuracies, draw_confusions

    both = curves, in_nearest_neighbours(r, curves)
    report.picture(draw_accuracies(plt, r, *both, labels, names, of_r, reduced))
    report.picture(draw_confusions(plt, of_r["CNN"][1], table, names), "confusion")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
