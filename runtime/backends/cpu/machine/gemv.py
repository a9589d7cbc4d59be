"""Products of one row of data, or very few, with weights that are read once.

They take as long as reading the weights does, in the order in which these lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.machine.compiled import carray, kernel
from runtime.backends.cpu.machine.gemm import share
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.panel import ZERO
from runtime.backends.cpu.machine.simd import f32

MOST_ROWS = 4  # of data
COLUMNS = 4096  # of the result that are summed at a time, half a first-level cache
FIELDS = "w bias x y images rows depth"


@kernel(FIELDS + " scale", "floor")
def dot_rows(record: Any, part: int, parts: int) -> None:
    """Compute y[b][r] = max(floor, bias[r] + scale[r] sum over k of x[b][k] w[r][k]).

    Fields:
        w: (rows, depth).
        bias: (rows,), or 0 for none.
        x: (images, depth).
        y: (images, rows).
        scale: (rows,), or 0 for none.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    floor = np.float32(a.floor)
    low, high = share(part, parts, a.rows, 1)
    for row in range(low, high):
        w = f32(a.w + 4 * row * a.depth)
        for image in range(a.images):
            x = f32(a.x + 4 * image * a.depth)
            total = ZERO
            for k in range(a.depth):
                total += x[k] * w[k]
            if a.scale != 0:
                total *= f32(a.scale)[row]
            if a.bias != 0:
                total += f32(a.bias)[row]
            f32(a.y)[image * a.rows + row] = floor if total < floor else total


@kernel(FIELDS, "floor")
def add_rows(record: Any, part: int, parts: int) -> None:
    """Compute y[b][r] = max(floor, bias[r] + sum over k of x[b][k] w[k][r]).

    Fields: those of `dot_rows`, but w: (depth, rows).
    """
    a = carray(record, 1)[0]
    floor = np.float32(a.floor)
    low, high = share(part, parts, a.rows, LANES)
    for first in range(low, high, COLUMNS):
        count = min(COLUMNS, high - first)
        for image in range(a.images):
            y = f32(a.y + 4 * (image * a.rows + first))
            bias = f32(a.bias + 4 * first)
            for j in range(count):
                y[j] = ZERO if a.bias == 0 else bias[j]
        step = 4 * a.rows
        whole = a.depth // 4 * 4
        for k in range(0, whole, 4):
            at = a.w + k * step + 4 * first
            w0, w1, w2 = f32(at), f32(at + step), f32(at + 2 * step)
            w3 = f32(at + 3 * step)
            for image in range(a.images):
                x = f32(a.x + 4 * (image * a.depth + k))
                y = f32(a.y + 4 * (image * a.rows + first))
                x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
                for j in range(count):
                    y[j] += x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
        for k in range(whole, a.depth):
            w = f32(a.w + k * step + 4 * first)
            for image in range(a.images):
                factor = f32(a.x)[image * a.depth + k]
                y = f32(a.y + 4 * (image * a.rows + first))
                for j in range(count):
                    y[j] += factor * w[j]
        for image in range(a.images):
            y = f32(a.y + 4 * (image * a.rows + first))
            for j in range(count):
                y[j] = floor if y[j] < floor else y[j]
