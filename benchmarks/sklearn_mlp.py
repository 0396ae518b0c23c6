"""A whole fit of `tinynn.sklearn` beside scikit-learn's own multi-layer perceptrons, at equal settings.

64-64 ReLU, Adam with a rate of 1e-3, the same batch size, the same number of epochs, no penalty, no early
stopping, float64, one thread, inputs and targets scaled beforehand. The two draw their random numbers in
ways of their own, so what must agree is the score on held-out samples, in the mean over rounds with different
seeds; where it does not, the row is void. Each library has a process of its own; the first fit there
includes what it loads and compiles.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from typing import Any

import _common as common

common.PACKAGES["sklearn"] = "sklearn"
FRAMEWORKS = ("tinynn", "sklearn")
BAR = 1.0  # scikit-learn's time over tinynn's, at least

# name: (title, batch size, epochs, how far mean scores may be apart)
CASES = {
    "iris": ("iris: 4 features, 100 samples, 3 classes", 32, 200, 0.05),
    "cancer": ("breast cancer: 30 features, 379 samples, 2 classes", 32, 200, 0.03),
    "digits": ("digits: 64 features, 1198 samples, 10 classes", 32, 50, 0.02),
    "digits-200": ("digits, scikit-learn's default batch", 200, 100, 0.02),
    "friedman": ("Friedman 1: 10 features, 1333 samples, regression", 32, 100, 0.03),
    "large": ("20 features, 20,000 samples, 5 classes", 128, 10, 0.02),
}
SEED = 0


def load(case: str) -> Any:
    """Training inputs, test inputs, training targets, test targets."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    if case == "friedman":
        x, y = datasets.make_friedman1(2000, noise=0.5, random_state=SEED)
        y = (y - y.mean()) / y.std()
    elif case == "large":
        x, y = datasets.make_classification(30_000, 20, n_informative=12, n_classes=5, random_state=SEED)
    else:
        name = {"cancer": "breast_cancer", "digits-200": "digits"}.get(case, case)
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=1 / 3, random_state=SEED)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(x_test), y, y_test


def build(framework: str, case: str, epochs: int, seed: int) -> Any:
    """An unfitted estimator."""
    _, batch, _, _ = CASES[case]
    regression = case == "friedman"
    if framework == "tinynn":
        from tinynn.sklearn import NeuralClassifier, NeuralRegressor

        extra = {"scale_targets": False} if regression else {}
        return (NeuralRegressor if regression else NeuralClassifier)(
            (64, 64), optimizer="adam", lr=1e-3, batch_size=batch, max_epochs=epochs, patience=None,
            scale_inputs=False, random_state=seed, **extra,
        )  # fmt: skip
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return (MLPRegressor if regression else MLPClassifier)(
        hidden_layer_sizes=(64, 64), solver="adam", learning_rate_init=1e-3, alpha=0.0, batch_size=batch,
        max_iter=epochs, tol=0.0, n_iter_no_change=10**9, random_state=seed,
    )  # fmt: skip


def _round(framework: str, case: str, epochs: int, seed: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")  # scikit-learn: "maximum iterations reached"
    x, x_test, y, y_test = load(case)
    model = build(framework, case, epochs, seed)
    start = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    score = model.score(x_test, y_test)
    return {"seconds": seconds, "predict": time.perf_counter() - start, "score": score, "loss": model.loss_curve_[-1]}


def measure(options: Any, workers: dict[str, common.Worker]) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Rows of the table, and all numbers."""
    rows, numbers = [], []
    for case, (title, batch, epochs, apart) in CASES.items():
        epochs = 5 if options.quick else epochs
        timings, first = common.Timings(), {}
        scores: dict[str, list[float]] = {}
        for i in range(-1, options.rounds):
            common.progress(f"{title}: round {i + 1} of {options.rounds}")
            for framework, worker in workers.items():
                answer = worker.ask("round", case=case, epochs=epochs, seed=SEED + max(i, 0))
                if i < 0:
                    first[framework] = answer["seconds"]
                    continue
                timings.add(framework, answer["seconds"])
                scores.setdefault(framework, []).append(answer["score"])
        means = {framework: statistics.mean(values) for framework, values in scores.items()}
        void = not options.quick and len(means) > 1 and max(means.values()) - min(means.values()) > apart
        rows.append(
            [
                f"{title}; batch {batch}, {epochs} epochs",
                *(f"{common.duration(timings.median(f))} ({common.duration(first[f])})" for f in options.frameworks),
                "VOID" if void else common.spread(timings.ratios("sklearn")),
                "VOID" if void else common.verdict(timings.ratio("sklearn"), BAR),
                " / ".join(f"{means[f]:.3f}" for f in options.frameworks),
            ]
        )
        numbers.append({"case": case, "first": first, "seconds": timings.rounds, "scores": scores, "void": void})
    return rows, numbers


def main(argv: list[str] | None = None) -> None:
    parser = common.arguments(__doc__ or "", FRAMEWORKS)
    options = common.parse(parser, argv)
    if options.worker:
        common.load(options.worker)
        common.serve({"round": lambda **question: _round(options.worker, **question)})
        return
    with common.workers(__file__, options.frameworks) as workers:
        rows, numbers = measure(options, workers)
    header = ["fit", *(f"{f} (first fit)" for f in options.frameworks), "sklearn / tinynn", f"≥ {BAR:g}", "test scores"]
    text = (
        f"Time of a fit, one thread, median of {options.rounds} rounds in turn; the ratio as median "
        "(smallest–largest).\n\n" + common.table(header, rows)
    )
    common.report("sklearn_mlp", "Fits of scikit-learn estimators", text, numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
