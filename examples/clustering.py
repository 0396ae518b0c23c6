"""Structure types without labels: PCA, k-means, and the latent plane of an autoencoder (row 24).

630 pair distribution functions of nanoparticles of seven types, and nobody says which is which. Each curve is brought
to a plane by

* its first two principal components, and
* an autoencoder 186-64-2-64-186: a network that is to give back its input through a bottleneck of two numbers. With
  linear layers it finds the plane of the principal components (Baldi and Hornik, Neural Networks 2 (1989) 53), which is
  checked; with tanh between them it bends that plane, and loses less.

k-means (scikit-learn's) divides the curves, and the points in both planes, into seven clusters. Purity is the share
of particles that are of their cluster's most frequent type; the adjusted Rand index is 1 for the true types and 0 for
a random division. The labels are used for nothing else than these numbers and the colours.

All of it with G(r), and with r in units of each particle's nearest-neighbour distance: in G(r) what differs most
between particles is how large their atoms are, and clusters are clusters of that.

    python examples/clustering.py
"""

from __future__ import annotations

import numpy as np
from _example import Report, parser, start
from structure_types import in_nearest_neighbours, load_curves, merged

import tinynn
from tinynn import nn, optim

BATCH_SIZE = 63


def autoencoder(points, hidden=64, linear=False):
    """The encoder (points to 2) and the decoder (2 to points)."""
    if linear:
        return nn.Linear(points, 2), nn.Linear(2, points)
    encoder = nn.Sequential(nn.Linear(points, hidden), nn.Tanh(), nn.Linear(hidden, 2))
    return encoder, nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, points))


def train(encoder, decoder, x, epochs, lr, compiled=True, seed=0):
    """Minimise the mean of (decoder(encoder(x)) − x)²; the rate falls along a cosine. Losses of all epochs."""
    optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)

    def step(batch):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(decoder(encoder(batch)), batch)
        loss.backward()
        optimizer.step()
        return loss

    fast = tinynn.compile(step) if compiled else step
    losses = []
    for epoch in range(epochs):
        if compiled:
            losses.append(fast.epoch(x, batch_size=BATCH_SIZE, shuffle=True, seed=seed, number=epoch).mean().item())
        else:
            order = np.random.default_rng((seed, epoch)).permutation(len(x)).reshape(-1, BATCH_SIZE)
            losses.append(np.mean([step(tinynn.tensor(x[rows])).item() for rows in order]))
        schedule.step()
    return losses


def principal_components(x, count=2):
    """Coordinates along the directions of largest variance, and the mean squared error without all others."""
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return u[:, :count] * s[:count], float((s[count:] ** 2).sum() / x.size)


def purity(clusters, labels):
    """The share of samples whose label is the most frequent one of their cluster."""
    counts = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(counts, (clusters, labels), 1)
    return counts.max(axis=1).sum() / len(labels)


def main(arguments=None):
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    options = parser(__doc__, compiles=True).parse_args(arguments)
    plt = start(options)
    report = Report(__file__, options)
    r, curves, labels, names = load_curves()
    epochs = 100 if options.quick else 1500
    planes, index = {}, {}
    for kind, values in (("G(r)", curves), ("G(r/d)", in_nearest_neighbours(r, curves))):
        x = ((values - values.mean(axis=0)) / values.std()).astype("float32")
        components, error = principal_components(x.astype(float))
        tinynn.manual_seed(options.seed)
        encoder, decoder = (part.to("float32") for part in autoencoder(x.shape[1]))
        losses = train(encoder, decoder, x, epochs, 3e-3, options.compile, options.seed)
        with tinynn.no_grad():
            latent = encoder(tinynn.tensor(x)).numpy()
        planes[kind] = {"principal components": components, "autoencoder": latent}
        what = f"{kind}, autoencoder: squared error, in units of two principal components'"
        report.number(24, what, losses[-1] / error, "<= 0.7", "", "<= 1.1")
        for where, points in (("curves", x), *planes[kind].items()):
            clusters = KMeans(7, n_init=10, random_state=options.seed).fit_predict(points)
            index[kind, where] = adjusted_rand_score(labels, clusters)
            six = adjusted_rand_score(merged(labels, names), clusters)
            text = f"{kind}, k-means of the {where}"
            report.number(24, f"{text}: purity", purity(clusters, labels))
            report.number(24, f"{text}: adjusted Rand index (one fcc: {six:.2f})", index[kind, where])
    for where in ("curves", "principal components", "autoencoder"):
        gain = index["G(r/d)", where] - index["G(r)", where]
        report.number(24, f"{where}: gain in adjusted Rand index by r/d", gain, ">= 0.1", "", ">= 0.1")

    x = (curves - curves.mean(axis=0)) / curves.std()
    encoder, decoder = autoencoder(x.shape[1], linear=True)
    losses = train(encoder, decoder, x, 60 if options.quick else 300, 1e-2, options.compile, options.seed)
    off = losses[-1] / principal_components(x)[1] - 1
    report.number(24, "linear autoencoder: error above that of two components", 100 * off, "<= 0.1", "%", "<= 5")

    from _clustering_pictures import draw

    report.picture(draw(plt, planes, index, labels, names))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
