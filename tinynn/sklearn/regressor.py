"""Regression by a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from tinynn.data import StandardScaler
from tinynn.sklearn.base import Array, NeuralEstimator
from tinynn.sklearn.building import build_loss


class NeuralRegressor(MultiOutputMixin, RegressorMixin, NeuralEstimator):
    """A network that predicts numbers.

    Parameters
    ----------
    network : sizes of the hidden layers; or a Module, of which each fit trains a copy from the weights it has; or
        a function of (n_features, n_outputs) that returns a Module (`Factory` makes its settings searchable)
    activation : between hidden layers: the name of a layer of `tinynn.nn` such as "tanh", "gelu", or its class
    optimizer : "adam", "adamw", "sgd" (with momentum 0.9), "rmsprop", "lbfgs" (all samples at once, 20
        iterations per epoch), or a function of (parameters, lr=..., weight_decay=...)
    lr : learning rate; None for the optimizer's own
    schedule : None, "cosine" (the rate falls to 0 along a cosine), or a function of (optimizer, epochs)
    weight_decay : as in the optimizer
    batch_size : samples in a batch; None for all; "auto" is 32, or all where there are less than 64
    max_epochs : the most passes over the data
    early_stopping : hold out ``validation_fraction`` of the samples, stop by their loss, and keep the weights of
        the best epoch. ``fit(..., validation=(X, y))`` does the same with samples of yours
    validation_fraction : how many to hold out
    patience : stop after this many epochs in which the loss (of the validation set, if there is one) has not
        fallen by ``tol``; None: never
    tol : see there
    loss : "mse", "mae", "huber", or a function of (outputs, targets)
    scale_inputs : True brings each feature to mean 0 and deviation 1, "common" divides all by one deviation
        (curves, images), False leaves them as they are
    scale_targets : bring targets to mean 0 and deviation 1 for training; predictions are scaled back
    random_state : of weights, batches, the held-out part, dropout
    dtype : "float64" or "float32"
    compile : run the training step as one compiled program: True, False, or "auto", for 400 steps or more
    threads : for BLAS and Numba while fitting; one is fastest for small networks, and right where several fits
        run at once. None leaves them as they are
    warm_start : whether another `fit` goes on from the weights of the last
    verbose : print about twenty lines per fit

    Attributes
    ----------
    network_ : the trained Module, in evaluation mode; its inputs and outputs are scaled
    loss_curve_ : mean training loss of each epoch, before the updates, in scaled units
    validation_loss_curve_, validation_scores_ : the same for the validation set; r2 (if there is one)
    best_epoch_, best_loss_ : where the loss that counted was lowest; epochs count from 1
    n_iter_ : number of epochs
    input_scaling_, target_scaling_ : means and deviations
    n_features_in_ : number of features

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.sklearn import NeuralRegressor
    >>> x = np.linspace(-3, 3, 50)[:, None]
    >>> y = np.sin(x[:, 0])
    >>> model = NeuralRegressor((16, 16), "tanh", optimizer="lbfgs", max_epochs=20, random_state=0).fit(x, y)
    >>> model.score(x, y) > 0.999
    True
    """

    _numeric = True

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
        loss: Any = "mse",
        scale_inputs: bool | str = True,
        scale_targets: bool = True,
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
        self.scale_inputs = scale_inputs
        self.scale_targets = scale_targets
        self.random_state = random_state
        self.dtype = dtype
        self.compile = compile
        self.threads = threads
        self.warm_start = warm_start
        self.verbose = verbose

    def predict(self, X: Any) -> Array:
        """Predicted targets, of the shape that ``y`` had: (n_samples,) or (n_samples, n_outputs)."""
        raw = self._raw(X)
        values = self.target_scaling_.inverse_transform(raw)
        return values[:, 0] if self._one_dimensional else values

    def _targets(self, y: Any, first: bool) -> Array:
        values = np.asarray(y, self._dtype)
        if first:
            self._one_dimensional = values.ndim == 1
        values = values.reshape(len(values), -1)
        if not first and values.shape[1] != self._n_targets:
            raise ValueError(
                f"y has {values.shape[1]} outputs per sample, and the network was made for {self._n_targets}"
            )
        return values

    def _n_outputs(self, targets: Array) -> int:
        return targets.shape[1]

    def _build(self, x: Array, targets: Array, weights: Array | None) -> None:
        scaling = StandardScaler(targets.shape[1:]).to(targets.dtype.name)
        self._n_targets = targets.shape[1]
        self.target_scaling_ = scaling.fit(targets, weights) if self.scale_targets else scaling
        super()._build(x, targets, weights)

    def _scaled_targets(self, targets: Array) -> Array:
        return self.target_scaling_.transform(targets)

    def _score_of(self, targets: Array) -> Callable[[Array], float]:
        """r2, the mean over the outputs; 0 for an output that is constant."""
        spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
        scale = np.where(spread > 0, spread, np.inf)
        return lambda outputs: float(np.mean((1.0 - ((outputs - targets) ** 2).sum(axis=0) / scale) * (spread > 0)))

    def _loss_function(self) -> Any:
        return build_loss(self.loss)
