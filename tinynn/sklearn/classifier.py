"""Classification by a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from tinynn.nn import functional as F
from tinynn.sklearn.base import Array, NeuralEstimator
from tinynn.sklearn.building import build_loss


class NeuralClassifier(ClassifierMixin, NeuralEstimator):
    """A network that predicts classes: one of two or more, or any number of them at once.

    Several labels at once are given as a matrix of 0 and 1, (n_samples, n_classes).

    Parameters
    ----------
    network : as in `NeuralRegressor`; its outputs are logits, one per class
    activation, optimizer, lr, schedule, weight_decay, batch_size, max_epochs : as in `NeuralRegressor`
    early_stopping, validation_fraction, patience, tol, scale_inputs, random_state : as in `NeuralRegressor`
    dtype, compile, threads, warm_start, verbose : as in `NeuralRegressor`
    loss : "cross_entropy", or a function of (logits, numbers of classes)
    class_weight : None, "balanced" (rare classes count as much as frequent ones), or a dict from label to weight

    Attributes
    ----------
    classes_ : the labels, sorted
    validation_scores_ : accuracy on the validation set after each epoch
    network_, loss_curve_, validation_loss_curve_, best_epoch_, best_loss_ : as in `NeuralRegressor`
    n_iter_, input_scaling_, n_features_in_ : as in `NeuralRegressor`

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from tinynn.sklearn import NeuralClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> model = NeuralClassifier((16,), "tanh", lr=1e-2, random_state=0).fit(x, y)
    >>> model.score(x, y) > 0.95
    True
    >>> model.predict_proba(x[:1]).shape
    (1, 3)
    """

    classes_: Array

    def __init__(
        self,
        network: Any = (64, 64),
        activation: Any = "relu",
        *,
        optimizer: Any = "adam",
        lr: float | None = None,
        schedule: Any = None,
        weight_decay: float = 0.0,
        batch_size: int | str | None = "auto",
        max_epochs: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int | None = 20,
        tol: float = 1e-4,
        loss: Any = "cross_entropy",
        class_weight: Any = None,
        scale_inputs: bool | str = True,
        random_state: Any = None,
        dtype: str = "float64",
        compile: bool | str = "auto",
        threads: int | None = 1,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.network = network
        self.activation = activation
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.loss = loss
        self.class_weight = class_weight
        self.scale_inputs = scale_inputs
        self.random_state = random_state
        self.dtype = dtype
        self.compile = compile
        self.threads = threads
        self.warm_start = warm_start
        self.verbose = verbose

    # ------------------------------------------------------------------------------------------- predicting

    def decision_function(self, X: Any) -> Array:
        """Logits (n_samples, n_classes); for two classes how much larger the second is, (n_samples,)."""
        logits = self._raw(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 and not self._multilabel else logits

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, (n_samples, n_classes): softmax, or sigmoid for several labels at once."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the probabilities, exact also where these are too small for a float."""
        logits = self._raw(X)
        if self._multilabel:
            return -np.logaddexp(0.0, -logits)
        shifted = logits - logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Array:
        """The class with the largest logit, (n_samples,); or 0 and 1 for each of several labels."""
        logits = self._raw(X)
        return (logits > 0).astype(self._label_dtype) if self._multilabel else self.classes_[logits.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---------------------------------------------------------------------------------------------- fitting

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch on these samples, and go on from there at the next call.

        Parameters
        ----------
        X, y, sample_weight : as in `fit`
        classes : all labels there will ever be; needed at the first call, as a batch need not have them all
        """
        if not hasattr(self, "classes_") and np.ndim(y) == 1:
            if classes is None:
                raise ValueError("partial_fit: the first call needs classes, all labels that there will be")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"partial_fit: classes are {self.classes_} since the first call, and now {classes}")
        if self.class_weight == "balanced":
            raise ValueError('partial_fit: class_weight="balanced" needs all samples at once; give weights in a dict')
        return super().partial_fit(X, y, sample_weight)

    def _targets(self, y: Any, first: bool) -> Array:
        y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        check_classification_targets(y)
        multilabel = type_of_target(y) == "multilabel-indicator"
        if not multilabel:
            y = column_or_1d(y, warn=True)
        if first:
            self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y)
        if first or not hasattr(self, "_multilabel"):
            self._multilabel, self._label_dtype = multilabel, y.dtype
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError(f"y: the network was made for {len(self.classes_)} classes, in another form")
        if multilabel:
            return y.astype(self._dtype)
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[numbers] != y
        if np.any(unknown):
            raise ValueError(
                f"y has labels that are none of the classes {self.classes_} of the first fit: {np.unique(y[unknown])}"
            )
        return numbers

    def _n_outputs(self, targets: Array) -> int:
        return len(self.classes_)

    def _weights(self, x: Array, targets: Array, sample_weight: Any) -> Array | None:
        weights = super()._weights(x, targets, sample_weight)
        if self.class_weight is None:
            return weights
        if self._multilabel:
            raise ValueError("class_weight: not for several labels at once; use sample_weight")
        of_class = compute_sample_weight(self.class_weight, self.classes_[targets]).astype(self._dtype)
        return of_class if weights is None else of_class * weights

    def _strata(self, targets: Array) -> Array | None:
        return None if self._multilabel else targets

    def _scaled_targets(self, targets: Array) -> Array:
        return targets

    def _score_of(self, targets: Array) -> Callable[[Array], float]:
        if self._multilabel:
            return lambda outputs: float(np.mean(np.all((outputs > 0) == targets, axis=1)))
        return lambda outputs: float(np.mean(outputs.argmax(axis=1) == targets))

    def _loss_function(self) -> Any:
        function = F.binary_cross_entropy_with_logits if self._multilabel else F.cross_entropy
        return build_loss(self.loss, {"cross_entropy": function})
