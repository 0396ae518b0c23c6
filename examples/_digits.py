"""The 8×8 digits of scikit-learn, and the two networks that learn them; shared by three scripts.

1797 handwritten digits from the UCI repository (Alpaydin & Kaynak, 1998): bitmaps of 32×32, of which each pixel here
counts the ink in a block of 4×4 (0 ... 16, scaled to 0 ... 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinynn
from tinynn import nn, optim
from tinynn.data import KFold
from tinynn.data.sampler import permutation

MAPS = ("input", "convolution 1", "down-sampling 1", "convolution 2", "down-sampling 2")
BATCH = 32
Data = tuple[np.ndarray, np.ndarray]


def load_digits() -> Data:
    """Images (1797, 1, 8, 8) within 0 ... 1, and their labels."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    return (images / 16).reshape(-1, 1, 8, 8).astype(np.float32), labels


def folds(data: Data, seed: int = 0) -> Iterator[tuple[Data, Data]]:
    """Five divisions into four fifths to learn from and one for the test: every digit is tested once."""
    images, labels = data
    for train, test in KFold(5, shuffle=True, seed=seed).split(images):
        yield (images[train], labels[train]), (images[test], labels[test])


class LeNet(nn.Module):
    """Two convolutions with down-sampling, then two full layers, after LeCun et al. (1998): 6058 parameters.

    ======================  ==========  ===========
    layer                   output      parameters
    ======================  ==========  ===========
    convolution 1, 3×3      8 × 8 × 8            80
    down-sampling 1         8 × 4 × 4
    convolution 2, 3×3      16 × 4 × 4         1168
    down-sampling 2         16 × 2 × 2
    full                    64                 4160
    full                    10                  650
    ======================  ==========  ===========
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(1, 8, kernel_size=3, padding=1)
        self.convolution2 = nn.Conv2d(8, 16, kernel_size=3, padding=1)
        self.down = nn.MaxPool2d(2)
        self.full1 = nn.Linear(64, 64)
        self.full2 = nn.Linear(64, 10)

    def maps(self, images: Any) -> list[Any]:
        """The images as they are, and what each of the first layers makes of them; in the order of `MAPS`."""
        maps1 = self.convolution1(images).relu()
        small1 = self.down(maps1)
        maps2 = self.convolution2(small1).relu()
        return [images, maps1, small1, maps2, self.down(maps2)]

    def forward(self, images: Any) -> Any:
        features = self.maps(images)[-1].reshape(len(images), 64)
        return self.full2(self.full1(features).relu())


def mlp() -> nn.Module:
    """64-64-10 with ReLU: 4810 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def made(kind: Any, seed: int) -> nn.Module:
    """A new network in single precision."""
    tinynn.manual_seed(seed)
    return kind().to("float32")


def train(model: nn.Module, data: Data, epochs: int, seed: int, compiled: bool = True, lr: float = 3e-3) -> nn.Module:
    """Fit with Adam and a rate that falls along a cosine. Returns the model, ready for use.

    Labels are smoothed (Szegedy et al., 2016): to be sure to 91 % is as good as it gets. Networks that are asked for
    100 % go on growing their weights when every digit is learnt, and tell one new digit in a hundred less.
    """
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=lr / 100)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    for epoch in range(epochs):
        run_epoch(step, data, seed, epoch)
        schedule.step()
    return model.eval()


def run_epoch(step: Any, data: Data, seed: int, epoch: int) -> None:
    """All batches of an epoch, in an order of its own; the few digits that make no whole batch wait for the next."""
    images, labels = data
    if hasattr(step, "epoch"):  # compiled: all batches in one call
        step.epoch(images, labels, batch_size=BATCH, shuffle=True, seed=seed, number=epoch, drop_last=True)
        return
    order = permutation(len(images), seed, epoch)
    for start in range(0, len(images) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        step(tinynn.tensor(images[rows]), tinynn.tensor(labels[rows]))


@tinynn.no_grad
def probabilities(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """What the network believes of each image: ten numbers that add up to one."""
    return tinynn.softmax(model(tinynn.tensor(images)), axis=1).numpy()


def accuracy(model: nn.Module, data: Data) -> float:
    """The share of digits that are told right."""
    images, labels = data
    return float(np.mean(probabilities(model, images).argmax(axis=1) == labels))
