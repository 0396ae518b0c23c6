"""From an estimator's settings to a network, an optimizer, a schedule and a loss."""

from __future__ import annotations

import copy
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinynn import nn, optim
from tinynn.nn import functional as F
from tinynn.nn.module import Module
from tinynn.optim import lr_scheduler
from tinynn.random import Generator, default_generator

_one_at_a_time = threading.RLock()


@contextmanager
def random_numbers_from(stream: Generator) -> Iterator[None]:
    """Let tinynn's default random numbers come from ``stream`` inside the block, and go on as before after it.

    Threads of one process wait for each other here, as they share these random numbers.
    """
    with _one_at_a_time:
        before = default_generator.state_dict()
        default_generator.load_state_dict(stream.state_dict())
        try:
            yield
        finally:
            stream.load_state_dict(default_generator.state_dict())
            default_generator.load_state_dict(before)


class Factory:
    """A function that builds a network, with settings that a search may vary.

    Parameters
    ----------
    function : called as ``function(n_features, n_outputs, **settings)``, gives a Module
    settings : keyword arguments for it

    Examples
    --------
    >>> from tinynn import nn
    >>> from tinynn.sklearn import Factory, NeuralClassifier
    >>> def one_layer(n_features, n_outputs, width):
    ...     return nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_outputs))
    >>> model = NeuralClassifier(Factory(one_layer, width=16))
    >>> model.set_params(network__width=8).network
    Factory(one_layer, width=8)
    """

    def __init__(self, function: Callable[..., Module], **settings: Any) -> None:
        self.function = function
        self.settings = settings

    def __call__(self, n_features: int, n_outputs: int) -> Module:
        return self.function(n_features, n_outputs, **self.settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The function and the settings, for `sklearn.base.clone` and searches."""
        return {"function": self.function, **self.settings}

    def set_params(self, **params: Any) -> Factory:
        """Other settings. Returns the factory itself.

        Raises
        ------
        ValueError
            If the function does not take one of them.
        """
        known = inspect.signature(self.function).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
        for name, value in params.items():
            if name == "function":
                self.function = value
            elif takes_all or name in known:
                self.settings[name] = value
            else:
                raise ValueError(f"{self!r} has no setting {name!r}; the function takes {', '.join(known)}")
        return self

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"Factory({', '.join([name, *(f'{key}={value!r}' for key, value in self.settings.items())])})"


# ------------------------------------------------------------------------------------------------- the network


def build_network(network: Any, activation: Any, n_features: int, n_outputs: int, dtype: str) -> Module:
    """A network of its own for one fit: built with random weights, or a copy of the Module given.

    Raises
    ------
    TypeError, ValueError
        If ``network`` is neither a Module, nor a callable that gives one, nor layer sizes of at least 1.
    """
    if isinstance(network, Module):
        built = copy.deepcopy(network)
    elif callable(network):
        built = network(n_features, n_outputs)
        if not isinstance(built, Module):
            raise TypeError(f"network: {network!r} must return a Module, and returned {type(built).__name__}")
    else:
        built = _layers(network, activation, n_features, n_outputs)
    return built.to(dtype)


def _layers(sizes: Any, activation: Any, n_features: int, n_outputs: int) -> Module:
    """Linear layers with activations between them."""
    sizes = (sizes,) if isinstance(sizes, int) else sizes
    if not isinstance(sizes, Sequence) or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            f"network: sizes of hidden layers are positive integers, as in network=(64, 64); got {sizes!r}. A Module, "
            "or a function of (n_features, n_outputs) that returns one, is the other way"
        )
    make = activation_class(activation)
    layers: list[Module] = []
    for n_in, n_out in itertools.pairwise((n_features, *sizes, n_outputs)):
        layers += [nn.Linear(n_in, n_out), make()]
    return nn.Sequential(*layers[:-1])


def activation_class(activation: Any) -> Callable[[], Module]:
    """The layer of an activation's name (that of `tinynn.nn`, in any case, or scikit-learn's); callables are kept.

    Raises
    ------
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> activation_class("tanh").__name__, activation_class("LeakyReLU").__name__
    ('Tanh', 'LeakyReLU')
    """
    if isinstance(activation, Module):
        return lambda: copy.deepcopy(activation)
    if callable(activation):
        return activation
    found = {name.lower(): kind for name, kind in vars(nn).items() if _is_activation(kind)}
    found |= {"logistic": found["sigmoid"], "identity": nn.Identity}
    name = str(activation).lower().replace("_", "")
    if name not in found:
        raise ValueError(f"activation: {activation!r} is none of {', '.join(sorted(found))}; a class will do as well")
    return found[name]


def _is_activation(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Module) and kind.__module__.endswith("activations")


# ----------------------------------------------------------------------------------- optimizer, schedule, loss

_OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "rmsprop": optim.RMSprop}


def build_optimizer(optimizer: Any, network: Module, lr: float | None, weight_decay: float) -> optim.Optimizer:
    """The optimizer of a name, or what ``optimizer(parameters, lr=..., weight_decay=...)`` returns.

    A factory is given ``lr`` and ``weight_decay`` only where they are not None and not 0.

    Raises
    ------
    TypeError, ValueError
        If there is no optimizer of the name, or the factory returns something else.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("network: it has no parameters that require a gradient; there is nothing to train")
    settings: dict[str, Any] = {} if lr is None else {"lr": lr}
    if optimizer == "lbfgs":
        return optim.LBFGS(parameters, line_search_fn="strong_wolfe", **settings)  # decays by the loss: training.py
    if weight_decay:
        settings["weight_decay"] = weight_decay
    if isinstance(optimizer, str):
        if optimizer.lower() not in _OPTIMIZERS:
            raise ValueError(
                f"optimizer: {optimizer!r} is none of {', '.join(_OPTIMIZERS)}, lbfgs; or give a callable, as in "
                "optimizer=functools.partial(optim.SGD, momentum=0.9)"
            )
        if optimizer.lower() == "sgd":
            settings = {"lr": 1e-2, "momentum": 0.9} | settings
        return _OPTIMIZERS[optimizer.lower()](parameters, **settings)
    built = optimizer(parameters, **settings)
    if not isinstance(built, optim.Optimizer):
        raise TypeError(f"optimizer: {optimizer!r} must return an optimizer, and returned {type(built).__name__}")
    return built


def build_schedule(schedule: Any, optimizer: optim.Optimizer, epochs: int) -> Any:
    """What steps once per epoch: None for a constant rate, "cosine", or ``schedule(optimizer, epochs)``.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    if schedule is None or schedule == "constant":
        return None
    if schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    if callable(schedule):
        return schedule(optimizer, epochs)
    raise ValueError(f"schedule: {schedule!r} is none of None, 'constant', 'cosine', a function of (optimizer, epochs)")


_REGRESSION_LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


def build_loss(loss: Any, known: dict[str, Any] | None = None) -> Callable[[Any, Any], Any]:
    """A function of outputs and targets that gives a loss per sample, or, if a loss of yours is so, its mean.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    losses = _REGRESSION_LOSSES if known is None else known
    if isinstance(loss, str) and loss in losses:
        function = losses[loss]
        return lambda outputs, targets: function(outputs, targets, reduction="none")
    if callable(loss):
        return loss
    raise ValueError(f"loss: {loss!r} is none of {', '.join(losses)}, and no function of (outputs, targets)")
