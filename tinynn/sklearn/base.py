"""What the regressor and the classifier share: settings, checks, and the way from arrays to a trained network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from tinynn import optim
from tinynn.data import StandardScaler
from tinynn.nn.module import Module
from tinynn.random import Generator
from tinynn.sklearn import building, training
from tinynn.sklearn.threads import limited_threads

Array = NDArray[Any]
AUTO_BATCH = 32


class NeuralEstimator(BaseEstimator):
    """The common part; see `NeuralRegressor` and `NeuralClassifier` for the parameters."""

    network: Any
    activation: Any
    optimizer: Any
    lr: float | None
    schedule: Any
    weight_decay: float
    batch_size: int | str | None
    max_epochs: int
    early_stopping: bool
    validation_fraction: float
    patience: int | None
    tol: float
    loss: Any
    scale_inputs: bool | str
    random_state: Any
    dtype: str
    compile: bool | str
    threads: int | None
    warm_start: bool
    verbose: bool

    network_: Module
    loss_curve_: list[float]
    n_iter_: int

    _numeric = False  # targets are numbers

    # --------------------------------------------------------- what a subclass knows about targets and losses

    @abstractmethod
    def _targets(self, y: Any, first: bool) -> Array:
        """Targets as arrays: numbers (n, outputs), or numbers of classes (n,); ``first``: those of a new network."""

    @abstractmethod
    def _n_outputs(self, targets: Array) -> int:
        """How many values the network is to give."""

    @abstractmethod
    def _scaled_targets(self, targets: Array) -> Array:
        """Targets in the units of the network."""

    @abstractmethod
    def _score_of(self, targets: Array) -> Callable[[Array], float]:
        """How outputs for these (scaled) targets are scored."""

    @abstractmethod
    def _loss_function(self) -> Any:
        """A loss of outputs and targets."""

    def _weights(self, x: Array, targets: Array, sample_weight: Any) -> Array | None:
        """Weights per sample; None where all are one."""
        return None if sample_weight is None else _check_sample_weight(sample_weight, x, dtype=self._dtype)

    def _strata(self, targets: Array) -> Array | None:
        """What a validation set should have in equal shares."""
        return None

    # -------------------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> Self:
        """Train on samples.

        Parameters
        ----------
        X : array_like, (n_samples, n_features), or with more axes if the network takes them
        y : array_like, (n_samples,) or, in regression, (n_samples, n_outputs)
        sample_weight : array_like, (n_samples,); how much each sample counts. A sample of weight 0 is left out
        validation : a pair (X, y) of samples for early stopping, in place of a fraction of the training data

        Returns
        -------
        The estimator itself.

        Raises
        ------
        ValueError
            If a setting or the data are unfit, or the loss becomes NaN.
        """
        self._check_settings()
        first = not (self.warm_start and hasattr(self, "network_"))
        x, targets, weights = self._checked(X, y, sample_weight, first, first)
        seeds = self._seeds()
        held_out = None
        if self.early_stopping and validation is None:
            x, targets, weights, held_out = self._held_out(x, targets, weights, seeds[2])
        with building.random_numbers_from(Generator(seeds[0])):
            if first:
                self._build(x, targets, weights)
            if validation is not None:
                x_val, y_val = validation
                x_val = validate_data(self, x_val, dtype=self._dtype, reset=False, allow_nd=True)
                held_out = x_val, self._targets(y_val, False)
            for kept in ("_trainer", "_optimizer_state"):  # of partial_fit
                self.__dict__.pop(kept, None)
            trainer = self._new_trainer(len(x), seeds[1])
            return self._train(x, targets, weights, held_out, self.max_epochs, trainer)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these samples, and go on from there at the next call.

        The first call builds the network, and scales by the samples that it is given.
        """
        self._check_settings()
        first = not hasattr(self, "network_")
        # a classifier is told all classes beforehand
        x, targets, weights = self._checked(X, y, sample_weight, first, first and not hasattr(self, "classes_"))
        if first or not hasattr(self, "_stream"):
            seeds = self._seeds()
            self._stream, self._order_seed = Generator(seeds[0]), seeds[1]
        with building.random_numbers_from(self._stream):
            if first:
                self._build(x, targets, weights)
            if getattr(self, "_trainer", None) is None:
                self._trainer = self._new_trainer(len(x), self._order_seed, compiled=self.compile is True)
                if (state := getattr(self, "_optimizer_state", None)) is not None:
                    self._trainer.optimizer.load_state_dict(state)
                    self._trainer.epochs = self.n_iter_
            kept = getattr(self, "loss_curve_", [])
            self._train(x, targets, weights, None, 1, self._trainer, finish=True)
        self.loss_curve_, self.n_iter_ = [*kept, *self.loss_curve_], len(kept) + 1
        return self

    def _seeds(self) -> list[int]:
        """Three seeds: of weights and masks, of the order of samples, of what is held out."""
        return [int(seed) for seed in check_random_state(self.random_state).randint(2**31 - 1, size=3)]

    def _build(self, x: Array, targets: Array, weights: Array | None) -> None:
        """Statistics of the inputs and a new network, checked on the first sample."""
        if self.scale_inputs is False:
            self.input_scaling_ = StandardScaler(x.shape[1:]).to(x.dtype.name)
        else:
            self.input_scaling_ = StandardScaler().fit(x, weights, common=self.scale_inputs == "common")
        n_outputs = self._n_outputs(targets)
        self.network_ = building.build_network(self.network, self.activation, x.shape[1], n_outputs, self._dtype.name)
        self._check_outputs(n_outputs, training.evaluate(self.network_.eval(), self.input_scaling_.transform(x[:1])))

    def _new_trainer(self, n: int, seed: int, compiled: bool | None = None) -> training.Trainer:
        optimizer = building.build_optimizer(self.optimizer, self.network_, self.lr, self.weight_decay)
        if self.batch_size is None or isinstance(optimizer, optim.LBFGS):
            size = n
        elif self.batch_size == "auto":
            size = n if n < 2 * AUTO_BATCH else AUTO_BATCH
        else:
            size = int(self.batch_size)
        if compiled is None:
            steps = self.max_epochs * -(-n // size) * (20 if isinstance(optimizer, optim.LBFGS) else 1)
            compiled = steps > training.WORTH_COMPILING if self.compile == "auto" else bool(self.compile)
        return training.Trainer(
            self.network_, optimizer, self._loss_function(), self.weight_decay, size, compiled, seed
        )

    def _train(
        self, x: Array, targets: Array, weights: Array | None, held_out: Any, epochs: int, trainer: training.Trainer,
        finish: bool = False,
    ) -> Self:  # fmt: skip
        """Run the training loop, and keep what it found."""
        arrays = [self.input_scaling_.transform(x), self._scaled_targets(targets)]
        if weights is not None:
            arrays.append(weights / weights.mean(dtype=np.float64).astype(weights.dtype))
        validation = None
        if held_out is not None:
            x_val, y_val = held_out
            y_val = self._scaled_targets(y_val)
            validation = training.Validation(self.input_scaling_.transform(x_val), y_val, self._score_of(y_val))
        schedule = building.build_schedule(self.schedule, trainer.optimizer, epochs) if epochs > 1 else None
        if trainer.compiled:
            import numba  # noqa: F401  its threads are limited, too
        with limited_threads(self.threads):
            history = training.train(
                trainer, tuple(arrays), validation, epochs, self.patience, self.tol, schedule,
                print if self.verbose else None, finish,
            )  # fmt: skip
        self.network_.eval()
        self.loss_curve_ = history.loss
        self.n_iter_ = len(history.loss)
        self.best_epoch_, self.best_loss_ = history.best_epoch, history.best_loss
        if validation is not None:
            self.validation_loss_curve_ = history.validation_loss
            self.validation_scores_ = history.validation_scores
        return self

    def _held_out(self, x: Array, targets: Array, weights: Array | None, seed: int) -> Any:
        """Training part and validation part, classes in equal shares if possible."""
        n = len(x)
        count = int(np.ceil(self.validation_fraction * n))
        if not 0 < count < n:
            raise ValueError(
                f"early_stopping: validation_fraction={self.validation_fraction} of {n} samples leaves "
                f"{n - count} for training and {count} for validation; both must be at least 1"
            )
        labels = self._strata(targets)
        if labels is not None:
            counts = np.bincount(labels)
            if counts[counts > 0].min() < 2 or min(count, n - count) < np.count_nonzero(counts):
                labels = None
        train, val = train_test_split(np.arange(n), test_size=count, random_state=seed, stratify=labels)
        return x[train], targets[train], None if weights is None else weights[train], (x[val], targets[val])

    # ------------------------------------------------------------------------------------------- checking

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    def _check_settings(self) -> None:
        if self._dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise ValueError(f"dtype: float32 or float64, not {self.dtype!r}")
        for name in ("max_epochs", "batch_size", "patience", "threads"):
            value = getattr(self, name)
            if (value is None and name != "max_epochs") or (name, value) == ("batch_size", "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name}: a positive integer, not {value!r}")
        if self.scale_inputs not in (True, False, "common"):
            raise ValueError(f"scale_inputs: True, False or 'common', not {self.scale_inputs!r}")
        if self.compile not in (True, False, "auto"):
            raise ValueError(f"compile: True, False or 'auto', not {self.compile!r}")
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(f"validation_fraction: between 0 and 1, not {self.validation_fraction!r}")

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, first: bool, learn: bool
    ) -> tuple[Array, Array, Array | None]:
        """Inputs, targets and weights as arrays, without samples of weight zero.

        ``first``: the number of features is learnt from them; ``learn``: what targets look like, too.
        """
        x, y = validate_data(
            self, X, y, dtype=self._dtype, reset=first, allow_nd=True, multi_output=True, y_numeric=self._numeric
        )
        targets = self._targets(y, learn)
        weights = self._weights(x, targets, sample_weight)
        if weights is not None:
            used = weights != 0
            if not used.any():
                raise ValueError("sample_weight: all weights are zero; at least one sample must count")
            if (weights < 0).any():
                raise ValueError("sample_weight: negative weights are not supported")
            x, targets, weights = x[used], targets[used], weights[used]
        return x, targets, weights

    def _check_outputs(self, n_outputs: int, outputs: Array) -> None:
        if outputs.shape != (1, n_outputs):
            raise ValueError(
                f"network: for one sample it gives an output of shape {outputs.shape}, and the targets need "
                f"(1, {n_outputs})"
            )

    def _raw(self, X: Any) -> Array:
        """Outputs of the network."""
        check_is_fitted(self, "network_")
        x = validate_data(self, X, dtype=self._dtype, reset=False, allow_nd=True)
        return training.evaluate(self.network_, self.input_scaling_.transform(x))

    # ------------------------------------------------------------------------------------------- pickling

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the compiled step; the optimizer's moments go along for `partial_fit`."""
        state = dict(super().__getstate__())
        trainer = state.pop("_trainer", None)
        if trainer is not None:
            state["_optimizer_state"] = trainer.optimizer.state_dict()
        return state
