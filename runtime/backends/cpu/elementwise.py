"""Compiled kernels of layers that treat every element for itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from runtime.backends.cpu.compiled import kernel
from runtime.backends.cpu.simd import f32


@kernel("y count", "value")
def fill(record: Any, part: int, parts: int) -> None:
    """Set every element to one value."""
    a = carray(record, 1)[0]
    y, value = f32(a.y), np.float32(a.value)
    for i in range(a.count * part // parts, a.count * (part + 1) // parts):
        y[i] = value
