"""Whether gradients are plain numbers, looked at behind the pass that computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.backends.cpu.layers.elementwise import start_of
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.simd import i32, i64
from runtime.backends.cpu.machine.sizes import few

# The bits of 2^48. No sum of squares of smaller numbers is infinite in float32.
PLAIN = (127 + 48) << 23
MAGNITUDE: Any = np.int32(0x7FFFFFFF)  # the bits of a float32 but its sign


@kernel("g step count found")
def look(record: Any, part: int, parts: int) -> None:
    """Set found[0] if any of some numbers is none, or is 2^48 or more.

    Fields:
        g: float32, looked at in every `step`-th element.
        count: of the elements that are looked at.
        found: int64 (1,).
    """
    a = carray(record, 1)[0]
    bits = i32(a.g)
    largest = np.int32(0)
    low, high = start_of(part, parts, a.count), start_of(part + 1, parts, a.count)
    if a.step == 1:
        for i in range(low, high):
            largest = max(largest, bits[i] & MAGNITUDE)
    else:
        for i in range(low, high):
            largest = max(largest, bits[i * a.step] & MAGNITUDE)
    if largest >= PLAIN:
        i64(a.found)[0] = 1


def looks(arrays: Sequence[np.ndarray], found: np.ndarray) -> list[Call]:
    """Return calls that look at arrays of one axis each.

    found: int64 (1,), which they set but never clear.
    """
    return [
        look(
            g=array.__array_interface__["data"][0],
            step=array.strides[0] // array.itemsize,
            count=array.size,
            found=found,
            serial=few(array.size),
        )
        for array in arrays
        if array.size
    ]
