"""An observer that sees to it that float32 stays float32."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tinynn import modes


class OnlyFloat32:
    """Watches every operation and every gradient, and refuses float64."""

    def applied(self, op, inputs, result, *_):
        assert result.dtype != np.float64, f"{op} gave float64"

    def differentiated(self, node, i, gradient):
        assert gradient.dtype == np.float32, f"gradient {i} of {node} is {gradient.dtype}"

    def __getattr__(self, name):  # other events are of no interest
        return lambda *args: None


@pytest.fixture
def only_float32() -> contextlib.AbstractContextManager:
    return lambda: modes.observed_by(OnlyFloat32())
