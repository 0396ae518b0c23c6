"""Random programs on the machine for GPUs, over memory of the CPU, with its printed kernels compiled by g++."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings

from tests.compiler import emulated
from tests.compiler.numpy_device import PlainDevice
from tests.compiler.strategies import Drawn, programs
from tests.compiler.test_random_programs import check
from tinynn.compiler.cuda_machine import CudaMachine

pytestmark = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not there to run CUDA code on the CPU")
TIMES = int(os.environ.get("TINYNN_EXAMPLES", "1"))


class Emulated(CudaMachine):
    """On memory of the CPU."""

    def __init__(self, program: Any) -> None:
        super().__init__(program, PlainDevice())


@settings(max_examples=8 * TIMES)
@given(programs())
def test_random_programs(program: Drawn) -> None:
    check(program, Emulated)
