"""Layers, activations and losses, with PyTorch's names and state-dict layouts."""

from __future__ import annotations

from tinynn.nn import functional, init, utils
from tinynn.nn.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
)
from tinynn.nn.containers import Flatten, Identity, ModuleDict, ModuleList, Sequential
from tinynn.nn.convolution import Conv1d, Conv2d
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
from tinynn.nn.piecewise_activations import Hardshrink, Hardtanh, PReLU, ReLU6, RReLU, Softshrink, Threshold
from tinynn.nn.pooling import AdaptiveAvgPool1d, AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d

__all__ = [
    "Module", "Parameter", "Sequential", "ModuleList", "ModuleDict", "Identity", "Flatten",
    "Linear", "Conv1d", "Conv2d", "MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d",
    "BatchNorm1d", "BatchNorm2d", "LayerNorm", "Dropout", "Embedding",
    "ReLU", "LeakyReLU", "PReLU", "RReLU", "ReLU6", "ELU", "CELU", "SELU", "GELU", "SiLU", "Softplus", "Sigmoid",
    "LogSigmoid", "Tanh", "Tanhshrink", "Softsign", "Hardtanh", "Threshold", "Softshrink", "Hardshrink", "Softmax",
    "Softmin", "LogSoftmax",
    "MSELoss", "L1Loss", "HuberLoss", "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss",
    "KLDivLoss",
    "functional", "init", "utils",
]  # fmt: skip
