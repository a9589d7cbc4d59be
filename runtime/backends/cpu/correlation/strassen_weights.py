"""The sums of weights that Strassen's algorithm multiplies, see `strassen_code`.

Each row of w is divided by a power of 2 near its largest value, which results are
multiplied with: else the rounding of large rows would be that of small ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.correlation.pointwise_code import WIDE
from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.simd import f32, i32

PRODUCTS = 7
ONE: Any = np.float32(1)
INFINITE, ONES = 0x7F800000, 0x3F800000  # bits of infinity, and of 1


@helper
def _near(value: np.float32, at: int) -> np.float32:
    """Return the power of 2 that is at most `value`; 1 where there is none.

    at: address of a float that may be written over.
    """
    f32(at)[0] = value
    bits = i32(at)[0] & INFINITE
    # The least and the largest have no inverse that is as exact.
    if bits < 1 << 24 or bits > INFINITE - (2 << 23):
        bits = ONES
    i32(at)[0] = bits
    return f32(at)[0]


@kernel(
    "w bias scale packed factors rows channels pairs blocks row_stride channel_stride "
    "first"
)
def pack_strassen(record: Any, part: int, parts: int) -> None:
    """Bring sums of weights into the order in which `strassen` reads them.

    Rows past the end are zeros.

    Fields:
        w: the weights; the strides are described at `Correlation`.
        bias: (rows,), or 0 for none.
        scale: (rows,), what to multiply the weights of a row with, or 0.
        packed: (pairs, PRODUCTS, channels / 2, WIDE): A11, A12, S2, S3, -A22, S1, S4;
            then (2, channels / 2, WIDE) of the block without partner.
        factors: (blocks, 2, 2, WIDE): for the upper and the lower block of a pair,
            what to multiply results with, and biases.
        channels: even.
        pairs, blocks: see `strassen`.
        row_stride, channel_stride: elements of w.
        first: the element of w that row 0 and channel 0 take.
    """
    a = carray(record, 1)[0]
    w, half = f32(a.w), a.channels // 2
    size = half * WIDE
    for block in range(a.blocks * part // parts, a.blocks * (part + 1) // parts):
        factors_at = a.factors + 16 * WIDE * block
        for i in range(2 * WIDE):
            row = 2 * WIDE * block + i
            side = i // WIDE
            at = factors_at + 8 * WIDE * side + 4 * (i - side * WIDE)
            largest, bias, scale = ZERO, ZERO, ONE
            if row < a.rows:
                scale = f32(a.scale)[row] if a.scale != 0 else ONE
                bias = f32(a.bias)[row] if a.bias != 0 else ZERO
                for c in range(a.channels):
                    value = w[a.first + row * a.row_stride + c * a.channel_stride]
                    largest = max(largest, abs(value * scale))
            _near(largest, at)
            f32(at + 4 * WIDE)[0] = bias
        target = f32(a.packed + 4 * PRODUCTS * size * min(block, a.pairs))
        upper, lower = f32(factors_at), f32(factors_at + 8 * WIDE)
        for c in range(half):
            for i in range(WIDE):
                row = 2 * WIDE * block + i
                at = a.first + row * a.row_stride + c * a.channel_stride
                across = half * a.channel_stride
                a11 = a12 = a21 = a22 = ZERO
                if row < a.rows:
                    scale = f32(a.scale)[row] if a.scale != 0 else ONE
                    a11 = w[at] * scale / upper[i]
                    a12 = w[at + across] * scale / upper[i]
                if row + WIDE < a.rows:
                    scale = f32(a.scale)[row + WIDE] if a.scale != 0 else ONE
                    at += WIDE * a.row_stride
                    a21 = w[at] * scale / lower[i]
                    a22 = w[at + across] * scale / lower[i]
                put = c * WIDE + i
                target[put] = a11
                target[put + size] = a12
                if block < a.pairs:
                    s1 = a21 + a22
                    s2 = s1 - a11
                    target[put + 2 * size] = s2
                    target[put + 3 * size] = a11 - a21
                    target[put + 4 * size] = -a22
                    target[put + 5 * size] = s1
                    target[put + 6 * size] = a12 - s2
