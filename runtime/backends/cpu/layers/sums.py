"""The gradient of a sum below a ReLU and a Split, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.layers.elementwise import start_of
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.vectors import (
    passing,
    spread,
    vadd,
    vload,
    vload_first,
    vstore,
    vstore_first,
)

ZERO: Any = np.float32(0)


@kernel("y a b p q r count")
def gated_sum(record: Any, part: int, parts: int) -> None:
    """Compute p = q = r = a + b where y is positive, else 0.

    Fields:
        y: (count,), or 0 where all of it passes.
        a, b: (count,); b may be 0, for none.
        p, q, r: (count,), or 0 for none; they may be y, a or b.
    """
    at = carray(record, 1)[0]
    always = 1 if at.y == 0 else 0
    y = at.a if at.y == 0 else at.y
    high = start_of(part + 1, parts, at.count)
    low = start_of(part, parts, at.count)
    whole = high - (high - low) % LANES
    none = spread(ZERO)
    for i in range(4 * low, 4 * whole, 4 * LANES):
        value = vload(at.a + i)
        if at.b != 0:
            value = vadd(value, vload(at.b + i))
        value = passing(value, vload(y + i), always)
        vstore(value, at.p + i)
        if at.q != 0:
            vstore(value, at.q + i)
        if at.r != 0:
            vstore(value, at.r + i)
    if whole < high:
        i, left = 4 * whole, high - whole
        value = vload_first(at.a + i, left, none)
        if at.b != 0:
            value = vadd(value, vload_first(at.b + i, left, none))
        value = passing(value, vload_first(y + i, left, none), always)
        vstore_first(value, at.p + i, left)
        if at.q != 0:
            vstore_first(value, at.q + i, left)
        if at.r != 0:
            vstore_first(value, at.r + i, left)


def sum_gradient(
    y: Array | None, sources: Sequence[Array], written: Sequence[Array]
) -> Call:
    """Return the call that writes the sum of one or two gradients, where y passes it.

    written: up to three arrays, which may be those that are read.
    """
    a, b = (*sources, 0)[:2]
    p, q, r = (*written, 0, 0)[:3]
    return gated_sum(
        y=0 if y is None else y,
        a=a,
        b=b,
        p=p,
        q=q,
        r=r,
        count=written[0].size,
        serial=few(written[0].size),
    )
