"""Handwritten digits, and what every layer of a network makes of them (row 46).

A small relative of LeNet (6058 parameters: two convolutions, each followed by down-sampling, and two full layers)
learns scikit-learn's 8×8 digits, and so does an MLP 64-64-10. Both are tested by 5-fold cross-validation: five times
they learn from four fifths of the 1797 digits, with other first weights, and are asked about the rest.

The picture shows the input, the maps of every layer and the network's two best guesses for a digit of the test part.
With ``--draw`` a window opens in which to draw digits with the mouse, and the layers follow the pen. (Those who wrote
the digits of the data set put a bar through their sevens, and so should you.)

    python examples/digits.py
    python examples/digits.py --draw

Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Proc. IEEE 86, 2278 (1998).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from _digits import LeNet, accuracy, folds, load_digits, made, mlp, probabilities, train
from _digits_pictures import LayersPicture, draw_mistakes
from _example import Report, parser, start
from tqdm import tqdm


def cross_validated(kind: Any, epochs: int, divisions: list[Any], seed: int, compiled: bool) -> list[Any]:
    """A network for each division, from other first weights."""
    return [
        train(made(kind, seed + number), train_data, epochs, seed, compiled)
        for number, (train_data, _) in enumerate(tqdm(divisions, desc=kind.__name__, leave=False))
    ]


def among_first_two(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of digits that are the first or the second guess."""
    best = np.argsort(probabilities(model, images), axis=1)[:, -2:]
    return float(np.mean((best == labels[:, None]).any(axis=1)))


def hesitant(model: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A digit that the network gets right, but is sure of to 70 % only."""
    chances = probabilities(model, images)
    first = np.where(chances.argmax(axis=1) == labels, chances.max(axis=1), np.inf)
    return images[np.abs(first - 0.7).argmin(), 0]


def main(arguments: Sequence[str] | None = None) -> int:
    made_parser = parser(__doc__, compiles=True)
    made_parser.add_argument("--draw", action="store_true", help="open a window to draw digits in")
    options = made_parser.parse_args(arguments)
    options.show = options.show or options.draw
    plt = start(options)
    report = Report(__file__, options)

    divisions = list(folds(load_digits(), options.seed))
    if options.quick or options.draw:
        divisions = divisions[:1]
    epochs = 12 if options.quick else 40

    begin = time.perf_counter()
    mlps = cross_validated(mlp, epochs, divisions, options.seed, options.compile)
    between = time.perf_counter()
    lenets = cross_validated(LeNet, epochs, divisions, options.seed, options.compile)
    end = time.perf_counter()

    mlp_scores, scores = (
        [accuracy(model, test) for model, (_, test) in zip(models, divisions, strict=True)] for models in (mlps, lenets)
    )
    lenet = lenets[-1]
    how = f"mean of {len(divisions)} test parts"
    report.number(46, f"MLP 64-64-10: test accuracy, {how}", np.mean(mlp_scores), ">= 0.97", quick=">= 0.92")
    report.number(46, f"LeNet, {lenet.num_parameters()} parameters: test accuracy, {how}", np.mean(scores), ">= 0.975",
                  quick=">= 0.92")  # fmt: skip
    report.number(46, "LeNet: standard deviation between the test parts", np.std(scores))
    images, labels = divisions[-1][1]
    report.number(46, "LeNet: first or second guess is right", among_first_two(lenet, images, labels), ">= 0.98",
                  quick=">= 0.96")  # fmt: skip
    report.number(46, "time to train the MLP once", (between - begin) / len(divisions), unit="s")
    report.number(46, "time to train the LeNet once", (end - between) / len(divisions), unit="s")

    figure = plt.figure(figsize=(8.2, 8.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.9, 1))
    LayersPicture(top, lenet).show(hesitant(lenet, images, labels))
    bottom.suptitle("digits that were taken for others", fontsize=10)
    draw_mistakes(bottom, [(model, *test) for model, (_, test) in zip(lenets, divisions, strict=True)])
    report.picture(figure)
    if options.draw:
        from _digits_window import DrawingWindow

        plt.close("all")
        window = DrawingWindow(plt, lenet, images)
        plt.show()
        del window
        return 0
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
