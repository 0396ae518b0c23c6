"""What all tests share: fixed seeds, no deadlines, and the reason why a GPU test did not run."""

from __future__ import annotations

import functools

import pytest
from hypothesis import HealthCheck, settings

import tinynn

# A first call compiles a kernel, and the cores may be shared: time says nothing about correctness.
settings.register_profile("tinynn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tinynn")


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_run() -> None:
    tinynn.manual_seed(0)


@functools.cache
def why_no_gpu() -> str | None:
    """Return why GPU tests cannot run here, or None if they can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed (pip install 'tinynn[cuda12]' or 'tinynn[cuda13]')"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # the CUDA driver's errors are CuPy's own classes
        return f"CuPy finds no usable CUDA driver: {error}"
    return None if count else "there is no CUDA device"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and (reason := why_no_gpu()):
            item.add_marker(pytest.mark.skip(reason=reason))
