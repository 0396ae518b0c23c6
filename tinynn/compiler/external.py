"""Large arrays that are not copied: arguments are read where they lie, results taken as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.compiler.plan import Buffer, Plan
from tinynn.compiler.views import View
from tinynn.kernels.memory import LINE, has_slack

Array = NDArray[Any]
LARGE = 1 << 16  # bytes from which on arguments and results are not copied


def floats(plan: Plan, view: View) -> bool:
    """Whether a call's large output may lie in whatever memory the operation allocates."""
    buffer = plan.buffers[view.base]
    writers = sum(v.base == view.base for row in plan.rows for v in row.outputs)
    return buffer.kind == "inner" and reads_in_place(buffer) and view.is_whole(buffer.size) and writers == 1


def is_fresh(value: Any, target: Array, others: Sequence[Array]) -> bool:
    """Whether what an operation returned can stand in the place of a buffer: it is nobody else's memory."""
    if not isinstance(value, np.ndarray) or value.dtype != target.dtype or not value.flags.c_contiguous:
        return False
    if not value.flags.writeable or not has_slack(value):
        return False
    return not any(np.may_share_memory(value, array) for array in others)


def reads_in_place(buffer: Buffer) -> bool:
    """Pairs of cache lines, so that reading whole vectors (of float32, from int64) does not go beyond the array."""
    return buffer.nbytes >= LARGE and buffer.nbytes % (2 * LINE) == 0
