"""Rosenblatt's perceptron, by its learning algorithm."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Array = NDArray[Any]
BLOCK = 64  # points whose side is looked up together


class Perceptron(ClassifierMixin, BaseEstimator):
    """h(x) = sign(w·x) with x0 = 1, learnt by adding and subtracting points (Rosenblatt, Psychol. Rev. 65 (1958) 386)::

        w·x < 0  and x is of P (y = +1):  w <- w + x
        w·x >= 0 and x is of N (y = -1):  w <- w - x        that is, w <- w + y x

    until no point is on the wrong side. If some w separates P and N, with margin γ, that takes no more than
    (R/γ)² updates from w = 0, R being the longest x (Novikoff, 1962). If none does, it never ends: then
    ``max_epochs`` ends it, and the best weights that stood at the end of an epoch are kept (the "pocket" of
    Gallant, IEEE Trans. Neural Netw. 1 (1990) 179).

    More than two classes: one perceptron for each against all others, and the largest w·x/|w| wins.

    Parameters
    ----------
    order : "passes" (all points once, in random order, before any comes again) or "random" (each pick is any
        point; as many picks as there are points count as an epoch)
    max_epochs : when to give up
    fit_intercept : whether there is an x0 = 1
    start : deviation of the random first weights; with 0, w starts from 0
    pocket : keep the best weights; else the last
    random_state : of first weights and picks

    Attributes
    ----------
    coef_ : (1 or n_classes, n_features): w without w0
    intercept_ : (1 or n_classes,): w0
    errors_ : for each perceptron, how many points were wrong at the start and after each epoch
    n_updates_ : for each perceptron, how many times a point was added or subtracted
    n_iter_ : epochs, the most of any perceptron
    converged_ : whether the training points of every perceptron are on the right side
    classes_, n_features_in_ : as in scikit-learn

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.sklearn import Perceptron
    >>> x = np.array([[2.0, 1.0], [1.0, 3.0], [-1.0, -1.0], [0.0, -2.0]])
    >>> model = Perceptron(random_state=0).fit(x, ["P", "P", "N", "N"])
    >>> model.predict(x).tolist(), model.converged_
    (['P', 'P', 'N', 'N'], True)
    """

    def __init__(
        self,
        *,
        order: str = "passes",
        max_epochs: int = 1000,
        fit_intercept: bool = True,
        start: float = 0.0,
        pocket: bool = True,
        random_state: Any = None,
    ) -> None:
        self.order = order
        self.max_epochs = max_epochs
        self.fit_intercept = fit_intercept
        self.start = start
        self.pocket = pocket
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from points (n_samples, n_features) and labels (n_samples,).

        Raises
        ------
        ValueError
            If a setting is unfit, or there is only one class.
        """
        if self.order not in ("passes", "random"):
            raise ValueError(f"order: 'passes' or 'random', not {self.order!r}")
        if isinstance(self.max_epochs, bool) or not isinstance(self.max_epochs, int) or self.max_epochs < 1:
            raise ValueError(f"max_epochs: a positive integer, not {self.max_epochs!r}")
        x, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, {self.classes_[0]!r}; there is nothing to separate")
        x = np.column_stack([np.full(len(x), float(self.fit_intercept)), x])
        rng = check_random_state(self.random_state)
        positive = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        runs = [self._learn(x, y == label, rng) for label in positive]
        weights = np.array([w for w, _, _ in runs])
        self.coef_, self.intercept_ = weights[:, 1:], weights[:, 0] * float(self.fit_intercept)
        self.errors_ = [errors for _, errors, _ in runs]
        self.n_updates_ = [updates for _, _, updates in runs]
        self.n_iter_ = max(1, *(len(errors) - 1 for errors in self.errors_))
        self.converged_ = all(min(errors) == 0 for errors in self.errors_)
        return self

    def _learn(self, x: Array, in_p: Array, rng: np.random.RandomState) -> tuple[Array, list[int], int]:
        """Weights, the numbers of wrong points, and the number of updates."""
        n = len(x)
        w = np.asarray(rng.normal(scale=self.start, size=x.shape[1]))
        errors = [_wrong(w, x, in_p)]
        best, updates = w, 0
        for _ in range(self.max_epochs):
            if errors[-1] == 0:
                break
            picks = rng.permutation(n) if self.order == "passes" else rng.randint(n, size=n)
            w, count = epoch(w, x[picks], in_p[picks])
            updates += count
            errors.append(_wrong(w, x, in_p))
            if errors[-1] <= min(errors):
                best = w
        return best if self.pocket else w, errors, updates

    def decision_function(self, X: Any) -> Array:
        """w·x for two classes, (n_samples,); distances w·x/|w| for more, (n_samples, n_classes)."""
        check_is_fitted(self)
        scores = validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_
        if len(self.classes_) == 2:
            return scores[:, 0]
        length = np.sqrt((self.coef_**2).sum(axis=1) + self.intercept_**2)
        return scores / np.where(length > 0, length, 1.0)

    def predict(self, X: Any) -> Array:
        """The second class where w·x >= 0, the first where not; of more classes the one with the largest distance."""
        scores = self.decision_function(X)
        return self.classes_[(scores >= 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]


def _wrong(w: Array, x: Array, in_p: Array) -> int:
    return int(np.count_nonzero((x @ w >= 0) != in_p))


def epoch(w: Array, x: Array, in_p: Array) -> tuple[Array, int]:
    """Go through the points once; the new weights and the number of updates.

    As long as nothing is wrong w stays, so the sides of some points are looked up together.

    Examples
    --------
    >>> import numpy as np
    >>> epoch(np.array([-2.0, 1.0]), np.array([[1.0, 1.0], [1.0, -3.0]]), np.array([True, False]))
    (array([-1.,  2.]), 1)
    """
    updates, at = 0, 0
    while at < len(x):
        part = slice(at, at + BLOCK)
        wrong = np.flatnonzero((x[part] @ w >= 0) != in_p[part])
        if len(wrong) == 0:
            at += BLOCK
            continue
        k = at + int(wrong[0])
        w = w + x[k] if in_p[k] else w - x[k]
        updates += 1
        at = k + 1
    return w, updates
