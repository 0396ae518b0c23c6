"""What a network dreams of: images that it takes for a 0, a 1, ..., a 9 (row 47).

A network's gradient by its weights makes it learn; that by its *input* tells how to change an image so that it looks
more like a three, to the network. From grey noise, x goes uphill (with Adam) on

    log p(digit | x) + w log p(x),      log p(x) = -1/2 (x - m)ᵀ C⁻¹ (x - m) + const.

The second term says what drawings look like, whatever digit they show: m and C are mean and covariance of all images,
and the labels have no part in it. Without it (w = 0) the network is as sure, but others hardly see a digit: the second
row. A network of another kind, which the dreams were not made for, is asked what it takes them for.

    python examples/dream.py

After D. Erhan et al., "Visualizing higher-layer features of a deep network" (2009), and A. Mordvintsev et al.,
"Inceptionism: going deeper into neural networks" (2015), the origin of DeepDream; the prior is that of A. Nguyen et
al., "Plug & play generative networks" (2017), in its simplest form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from _digits import LeNet, folds, load_digits, made, mlp, probabilities, train
from _example import Report, parser, start

import tinynn
from tinynn import nn, optim


def drawings(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean m and the inverse of the covariance C of images, as vectors of 64."""
    x = images.reshape(-1, 64).astype(float)
    covariance = np.cov(x.T) + 1e-3 * np.eye(64)  # some pixels are never touched by the pen
    return x.mean(axis=0).astype(np.float32), np.linalg.inv(covariance).astype(np.float32)


def dream(model: Any, prior: Any, w: float, steps: int, seed: int, compiled: bool) -> tuple[np.ndarray, list[float]]:
    """Ten images, one for each digit, and how their mean log p grew on the way."""
    mean, precision = map(tinynn.tensor, prior)
    x = nn.Parameter(np.random.default_rng(seed).uniform(0.3, 0.7, (10, 64)).astype(np.float32))
    digits = tinynn.arange(10)
    optimizer = optim.Adam([x], lr=0.02)
    model.requires_grad_(False)  # the weights stay; the image moves

    def step() -> Any:
        optimizer.zero_grad()
        log_p = -nn.functional.cross_entropy(model(x.reshape(10, 1, 8, 8)), digits)
        away = x - mean
        log_drawing = -0.5 * (away @ precision * away).sum(axis=1).mean()
        (-log_p - w * log_drawing).backward()
        optimizer.step()
        x.assign_(x.detach().clip(0.0, 1.0))  # ink is between none and all
        return log_p

    step = tinynn.compile(step) if compiled else step
    path = [step().item() for _ in range(steps)]
    model.requires_grad_(True)
    return x.detach().numpy().reshape(10, 1, 8, 8), path


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)
    epochs, steps = (12, 200) if options.quick else (40, 600)
    (data, _), *_ = folds(load_digits(), options.seed)
    lenet = train(made(LeNet, options.seed), data, epochs, options.seed, options.compile)
    other = train(made(mlp, options.seed + 1), data, epochs, options.seed + 1, options.compile)

    prior = drawings(data[0])
    smooth, path = dream(lenet, prior, 0.01, steps, options.seed, options.compile)
    rough, _ = dream(lenet, prior, 0.0, steps, options.seed, options.compile)
    own = probabilities(lenet, smooth)
    theirs, of_rough = probabilities(other, smooth), probabilities(other, rough)
    right = np.arange(10)
    report.number(47, "dreams that the dreaming network takes for the digit", np.sum(own.argmax(1) == right), ">= 10",
                  quick=">= 9")  # fmt: skip
    report.number(47, "dreams that another network takes for it", np.sum(theirs.argmax(1) == right), ">= 9",
                  quick=">= 7")  # fmt: skip
    report.number(47, "another network's mean probability of the digit", theirs[right, right].mean())
    report.number(47, "the same for dreams without the prior", of_rough[right, right].mean())
    report.number(47, "log p of the digit, at the beginning", path[0])
    report.number(47, "log p of the digit, at the end", path[-1])

    figure, axes = plt.subplots(3, 10, figsize=(8.6, 3.1), layout="constrained")
    images, labels = data
    examples = np.array([images[labels == digit].mean(axis=0) for digit in right])
    rows = (("dream", smooth, theirs), ("without\nprior", rough, of_rough), ("mean of\nthe data", examples, None))
    for row, (name, pictures, chances) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for digit, ax in enumerate(row):
            ax.imshow(pictures[digit, 0], cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[["left", "bottom"]].set_visible(False)
            if chances is not None:
                ax.set_title(f"{100 * chances[digit, digit]:.0f} %", fontsize=9)
    figure.suptitle("what LeNet takes for 0 ... 9, and how sure another network (64-64-10) is of it", fontsize=10)
    report.picture(figure)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
