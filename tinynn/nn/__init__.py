"""Layers, activations and losses, with PyTorch's names and state-dict layouts."""

from __future__ import annotations

from tinynn.nn import functional, init, utils
from tinynn.nn.activations import (
    ELU,
    GELU,
    SELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinynn.nn.containers import Flatten, Identity, ModuleDict, ModuleList, Sequential
from tinynn.nn.convolution import Conv2d
from tinynn.nn.dropout import Dropout
from tinynn.nn.embedding import Embedding
from tinynn.nn.linear import Linear
from tinynn.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
)
from tinynn.nn.module import Module
from tinynn.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm
from tinynn.nn.parameter import Parameter
from tinynn.nn.pooling import AvgPool2d, MaxPool2d

__all__ = [
    "Module", "Parameter", "Sequential", "ModuleList", "ModuleDict", "Identity", "Flatten",
    "Linear", "Conv2d", "MaxPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "LayerNorm",
    "Dropout", "Embedding",
    "ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softplus", "Softmax",
    "LogSoftmax",
    "MSELoss", "L1Loss", "HuberLoss", "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss",
    "KLDivLoss",
    "functional", "init", "utils",
]  # fmt: skip
