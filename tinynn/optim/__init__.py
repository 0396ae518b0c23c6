"""Optimizers, and schedules of their learning rate: PyTorch's names, arguments and numbers."""

from tinynn.optim import lr_scheduler
from tinynn.optim.adagrad import Adagrad
from tinynn.optim.adam import Adam, AdamW
from tinynn.optim.lbfgs import LBFGS
from tinynn.optim.optimizer import FormulaOptimizer, Optimizer
from tinynn.optim.rmsprop import RMSprop
from tinynn.optim.rule import Rule
from tinynn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "Adagrad",
    "LBFGS",
    "Optimizer",
    "FormulaOptimizer",
    "Rule",
    "lr_scheduler",
]
