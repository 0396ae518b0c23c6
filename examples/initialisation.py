"""How a deep network begins: initialisation, batch norm and dropout, seen in what every layer passes on.

* Xavier's initialisation, both of them (row 34). The course prints b = 0, W ~ U[−1/√n, 1/√n], n the length of the
  previous layer: the *standard* one in Glorot and Bengio (2010), `nn.init.standard_uniform_`. It shrinks the variance
  to a third from layer to layer. Their own, normalised one, U[−√6/√(n_in + n_out), √6/√(n_in + n_out)],
  `nn.init.xavier_uniform_`, keeps it.
* Batch norm, algorithm 1 of Ioffe and Szegedy, arXiv:1502.03167 (row 33): whatever comes in, each channel goes out with
  mean β and standard deviation γ. Its gradient in training is that of the formula; larger learning rates become usable.
* Dropout (Srivastava et al., 2014), the inverted kind (row 36): what is kept is divided by 1 − p, so the mean stays,
  and nothing happens in evaluation. A network that is shown some wrong labels learns fewer of them by heart.

Data: the 8×8 digits of scikit-learn.

    python examples/initialisation.py
"""

from __future__ import annotations

import math

import numpy as np
from _example import Report, parser, start
from _initialisation_pictures import draw
from tqdm import tqdm

import tinynn
from tinynn import nn, optim

DEPTH, WIDTH = 10, 256
USABLE = 0.9  # test accuracy from which on a learning rate counts as usable


def deep_network(initialise, activation, norm=False):
    """Ten layers of 256, without biases that would hide what the weights do (b = 0)."""
    layers = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH)
        initialise(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, *([nn.BatchNorm1d(WIDTH)] if norm else []), activation()]
    return nn.Sequential(*layers)


@tinynn.no_grad
def activations(network, kind):
    """What each layer passes on, for 500 random inputs of mean 0 and variance 1."""
    x, found = tinynn.randn(500, WIDTH), []
    for layer in network:
        x = layer(x)
        if isinstance(layer, kind):
            found.append(x.numpy())
    return found


def initialisations(report):
    """Row 34: bounds of the weights, the variance from layer to layer, and histograms."""
    xavier, standard = nn.init.xavier_uniform_, nn.init.standard_uniform_
    bounds = {"standard": (standard, 1 / math.sqrt(WIDTH)), "normalised": (xavier, math.sqrt(6 / (2 * WIDTH)))}
    for name, (initialise, bound) in bounds.items():
        weight = tinynn.zeros(WIDTH, WIDTH)
        initialise(weight)
        largest = np.abs(weight.numpy()).max() / bound
        report.number(34, f"Xavier, {name}: largest |weight| / bound", largest, "<= 1", quick="<= 1")
        variances = [x.var() for x in activations(deep_network(initialise, nn.Identity), nn.Identity)]
        factor = (variances[-1] / variances[0]) ** (1 / (DEPTH - 1))
        report.number(34, f"Xavier, {name}: variance factor per linear layer", factor)
        wrong = abs(factor / {"standard": 1 / 3, "normalised": 1}[name] - 1)
        theory = {"standard": "1/3", "normalised": "1"}[name]
        report.number(34, f"   its relative deviation from {theory}", wrong, "<= 0.05", quick="<= 0.05")

    def too_large(weight):
        nn.init.normal_(weight, std=0.3)

    networks = {
        "N(0, 0.3²)": deep_network(too_large, nn.Tanh),
        "Xavier, standard": deep_network(standard, nn.Tanh),
        "Xavier, normalised": deep_network(xavier, nn.Tanh),
        "standard, batch norm": deep_network(standard, nn.Tanh, norm=True),
    }
    return {name: activations(network, nn.Tanh) for name, network in networks.items()}


def batch_norm_by_its_formula(report):
    """Row 33: mean and standard deviation of the output, and the gradient of a training pass."""
    layer = nn.BatchNorm1d(5, eps=1e-12)
    beta, gamma = tinynn.randn(5), 1 + tinynn.rand(5)
    layer.bias.assign_(beta)
    layer.weight.assign_(gamma)
    x = 3 + 10 * tinynn.randn(64, 5)
    out = layer(x).detach().numpy()
    wrong = np.abs(out.mean(axis=0) - beta.numpy()).max()
    report.number(33, "batch norm: mean - β", wrong, "<= 1e-12", quick="<= 1e-12")
    wrong = np.abs(out.std(axis=0) - gamma.numpy()).max()
    report.number(33, "batch norm: standard deviation - γ", wrong, "<= 1e-9", quick="<= 1e-9")

    weights = tinynn.randn(64, 5)

    def loss(x):
        return (weights * tinynn.tanh(layer(x))).sum()

    slope, h = tinynn.func.grad(loss)(x).numpy(), 1e-4
    wrong = 0.0
    for i, j in ((0, 0), (10, 2), (63, 4)):
        up, down = x.numpy().copy(), x.numpy().copy()
        up[i, j] += h
        down[i, j] -= h
        difference = (loss(tinynn.tensor(up)).item() - loss(tinynn.tensor(down)).item()) / (2 * h)
        wrong = max(wrong, abs(difference - slope[i, j]))
    report.number(33, "batch norm: gradient in training - finite difference", wrong, "<= 1e-7", quick="<= 1e-7")


def digits():
    """Images within −1 ... 1 with their labels, for training (1344, whole batches of 32) and for the test (453)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order] / 8 - 1, labels[order]
    return (images[:1344], labels[:1344]), (images[1344:], labels[1344:])


def train(model, optimizer, data, epochs, compiled, after_epoch=None):
    """Batches of 32, in a new order every epoch."""
    loss_of = nn.CrossEntropyLoss()

    def step(images, labels):
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    images, labels = data
    for epoch in range(epochs):
        model.train()
        if compiled:
            step.epoch(images, labels, batch_size=32, shuffle=True, seed=0, number=epoch)
        else:
            order = np.random.default_rng(epoch).permutation(len(images))
            for rows in order.reshape(-1, 32):
                step(tinynn.tensor(images[rows]), tinynn.tensor(labels[rows]))
        model.eval()
        if after_epoch is not None:
            after_epoch()


@tinynn.no_grad
def loss_and_accuracy(model, data):
    images, labels = tinynn.tensor(data[0]), tinynn.tensor(data[1])
    out = model(images)
    return nn.functional.cross_entropy(out, labels).item(), (out.argmax(1) == labels).numpy().mean()


def learning_rates(report, seed, compiled):
    """Row 33: test accuracy after ten epochs of plain gradient descent, against the learning rate."""
    training, test = digits()
    rates = (0.1, 0.3, 1.0, 1.5) if report.options.quick else tuple(np.geomspace(0.003, 10, 15).round(4))
    found = {}
    for norm in (False, True):
        accuracies = []
        for rate in tqdm(rates, f"batch norm: {norm}", leave=False):
            tinynn.manual_seed(seed)
            layers, n = [], 64
            for _ in range(4):
                layers += [nn.Linear(n, 64), *([nn.BatchNorm1d(64)] if norm else []), nn.ReLU()]
            model = nn.Sequential(*layers, nn.Linear(64, 10))
            with np.errstate(all="ignore"):  # too large a rate diverges
                train(model, optim.SGD(model.parameters(), lr=rate), training, 10, compiled)
                accuracies.append(loss_and_accuracy(model, test)[1])
        found[norm] = np.array(accuracies)
    largest = [max(np.array(rates)[found[norm] >= USABLE], default=0.0) for norm in (False, True)]
    report.number(33, "largest usable learning rate without batch norm", largest[0])
    report.number(33, "largest usable learning rate with batch norm", largest[1])
    report.number(33, "   their ratio", largest[1] / largest[0], ">= 3", quick=">= 3")
    report.number(33, "best accuracy with - without", max(found[True]) - max(found[False]), ">= 0", quick=">= 0")
    return np.array(rates), found


def dropout(report, seed, compiled):
    """Row 36: the mean is kept; a network with dropout learns fewer wrong labels by heart."""
    ones = tinynn.ones(1_000_000)
    layer = nn.Dropout(0.5)
    report.number(
        36, "dropout of ones, p = 0.5: |mean − 1|", abs(layer(ones).mean().item() - 1), "<= 0.005", quick="<= 0.005"
    )
    change = np.abs((layer.eval()(ones) - ones).numpy()).max()
    report.number(36, "dropout in evaluation: change", change, "== 0", quick="== 0")

    (images, labels), test = digits()
    images, truth = images[:384], labels[:384]
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(384) < 0.2, (truth + rng.integers(1, 10, 384)) % 10, truth)  # a fifth is wrong
    wrong, curves, by_heart = labels != truth, {}, {}
    for p in (0.0, 0.5):
        tinynn.manual_seed(seed)
        layers = []
        for n in (64, 256):
            layers += [nn.Linear(n, 256), nn.ReLU(), nn.Dropout(p)]
        model, losses = nn.Sequential(*layers, nn.Linear(256, 10)), []

        def note(model=model, losses=losses):
            losses.append([loss_and_accuracy(model, data) for data in ((images, labels), test)])

        epochs = 60 if report.options.quick else 100
        train(model, optim.Adam(model.parameters(), lr=1e-3), (images, labels), epochs, compiled, note)
        curves[p] = np.array(losses)
        by_heart[p] = loss_and_accuracy(model, (images[wrong], labels[wrong]))[1]
        name = f"dropout {p}: " if p else "no dropout: "
        report.number(36, name + "wrong labels learnt by heart", by_heart[p])
        report.number(36, name + "test accuracy", curves[p][-1, 1, 1])
        report.number(36, name + "test loss", curves[p][-1, 1, 0])
    report.number(
        36, "test loss with / without dropout", curves[0.5][-1, 1, 0] / curves[0.0][-1, 1, 0], "<= 0.8", quick="<= 0.9"
    )
    report.number(36, "wrong labels by heart, with - without", by_heart[0.5] - by_heart[0.0], "< 0", quick="< 0")
    return curves


def main(arguments=None):
    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt, report = start(options), Report(__file__, options)
    tinynn.manual_seed(options.seed)
    layers = initialisations(report)
    batch_norm_by_its_formula(report)
    rates = learning_rates(report, options.seed, options.compile)
    curves = dropout(report, options.seed, options.compile)
    report.picture(draw(plt, layers, rates, USABLE, curves))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
