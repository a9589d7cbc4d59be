"""Local response normalization on compiled kernels.

The gradient computes s anew: that takes less time than to write it in one pass and to
read it in the other, and no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray

from netspec.ops.lrn import LRN as LrnOp  # noqa: N811
from runtime.backends.cpu.compiled import Call, helper, kernel
from runtime.backends.cpu.kernel import CompiledKernel, few
from runtime.backends.cpu.simd import LANES, f32
from runtime.layers.base import ArraySpec

ZERO = np.float32(0)
ONE = np.float32(1)
PIXELS = 2 * LANES  # treated at a time, all their channels

ACROSS = "x y images channels pixels size workspace workspace_bytes "
WITHIN = "x y planes height width size workspace workspace_bytes "
NUMBERS = "share k beta"


@helper
def _inverse_power(s: float, beta: float) -> float:
    """Return s ** -beta; the usual exponents are made of square roots."""
    if beta == np.float32(0.75):
        root = ONE / np.sqrt(s)
        return root * np.sqrt(root)
    if beta == np.float32(0.5):
        return ONE / np.sqrt(s)
    return s ** (-beta)


@helper
def _sum_channels(values: Any, out: Any, channels: int, size: int, n: int) -> None:
    """Sum over centred windows of `size` rows of n values; rows are PIXELS apart."""
    for c in range(channels):
        low, high = max(0, c - size // 2), min(channels, c + size // 2 + 1)
        for j in range(n):
            out[c * PIXELS + j] = values[low * PIXELS + j]
        for other in range(low + 1, high):
            for j in range(n):
                out[c * PIXELS + j] += values[other * PIXELS + j]


@helper
def _squares(x: Any, values: Any, channels: int, step: int, n: int) -> None:
    for c in range(channels):
        for j in range(n):
            value = x[c * step + j]
            values[c * PIXELS + j] = value * value


@kernel(ACROSS, NUMBERS)
def across(record: Any, part: int, parts: int) -> None:
    """Compute y = x / s^beta with windows of channels."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    values = f32(a.workspace + part * a.workspace_bytes)
    sums = f32(a.workspace + part * a.workspace_bytes + 4 * a.channels * PIXELS)
    blocks = (a.pixels + PIXELS - 1) // PIXELS
    units = a.images * blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = unit % blocks * PIXELS
        n = min(PIXELS, a.pixels - start)
        at = 4 * (unit // blocks * a.channels * a.pixels + start)
        x, y = f32(a.x + at), f32(a.y + at)
        _squares(x, values, a.channels, a.pixels, n)
        _sum_channels(values, sums, a.channels, a.size, n)
        for c in range(a.channels):
            for j in range(n):
                s = k + share * sums[c * PIXELS + j]
                y[c * a.pixels + j] = x[c * a.pixels + j] * _inverse_power(s, beta)


@kernel("dx dy " + ACROSS, NUMBERS)
def across_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx with windows of channels; dx and dy may be the same."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    factor = np.float32(2) * share * beta
    workspace = a.workspace + part * a.workspace_bytes
    values = f32(workspace)
    sums = f32(workspace + 4 * a.channels * PIXELS)
    kept = f32(workspace + 8 * a.channels * PIXELS)
    blocks = (a.pixels + PIXELS - 1) // PIXELS
    units = a.images * blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = unit % blocks * PIXELS
        n = min(PIXELS, a.pixels - start)
        at = 4 * (unit // blocks * a.channels * a.pixels + start)
        x, dx, dy = f32(a.x + at), f32(a.dx + at), f32(a.dy + at)
        _squares(x, values, a.channels, a.pixels, n)
        _sum_channels(values, sums, a.channels, a.size, n)
        for c in range(a.channels):
            for j in range(n):
                here, there = c * PIXELS + j, c * a.pixels + j
                s = k + share * sums[here]
                straight = dy[there] * _inverse_power(s, beta)
                kept[here] = straight
                values[here] = straight * x[there] / s
        _sum_channels(values, sums, a.channels, a.size, n)
        for c in range(a.channels):
            for j in range(n):
                here, there = c * PIXELS + j, c * a.pixels + j
                dx[there] = kept[here] - factor * x[there] * sums[here]


@helper
def _sum_square(
    values: Any, rows: Any, out: Any, height: int, width: int, size: int
) -> None:
    """Sum over centred squares, along the rows first; `rows` is room for that."""
    half = size // 2
    for i in range(height):
        at = i * width
        for j in range(width):
            rows[at + j] = values[at + j]
        for shift in range(1, min(half, width - 1) + 1):
            for j in range(width - shift):
                rows[at + j] += values[at + j + shift]
            for j in range(shift, width):
                rows[at + j] += values[at + j - shift]
    for i in range(height):
        at = i * width
        for j in range(width):
            out[at + j] = rows[at + j]
        for other in range(max(0, i - half), min(height, i + half + 1)):
            if other != i:
                for j in range(width):
                    out[at + j] += rows[other * width + j]


@kernel(WITHIN, NUMBERS)
def within(record: Any, part: int, parts: int) -> None:
    """Compute y = x / s^beta with squares of pixels."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    plane = a.height * a.width
    workspace = a.workspace + part * a.workspace_bytes
    values, rows = f32(workspace), f32(workspace + 4 * plane)
    sums = f32(workspace + 8 * plane)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        x, y = f32(a.x + 4 * p * plane), f32(a.y + 4 * p * plane)
        for i in range(plane):
            values[i] = x[i] * x[i]
        _sum_square(values, rows, sums, a.height, a.width, a.size)
        for i in range(plane):
            y[i] = x[i] * _inverse_power(k + share * sums[i], beta)


@kernel("dx dy " + WITHIN, NUMBERS)
def within_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx with squares of pixels; dx and dy may be the same."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    factor = np.float32(2) * share * beta
    plane = a.height * a.width
    workspace = a.workspace + part * a.workspace_bytes
    values, rows = f32(workspace), f32(workspace + 4 * plane)
    sums, kept = f32(workspace + 8 * plane), f32(workspace + 12 * plane)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        at = 4 * p * plane
        x, dx, dy = f32(a.x + at), f32(a.dx + at), f32(a.dy + at)
        for i in range(plane):
            values[i] = x[i] * x[i]
        _sum_square(values, rows, sums, a.height, a.width, a.size)
        for i in range(plane):
            s = k + share * sums[i]
            kept[i] = dy[i] * _inverse_power(s, beta)
            values[i] = kept[i] * x[i] / s
        _sum_square(values, rows, sums, a.height, a.width, a.size)
        for i in range(plane):
            dx[i] = kept[i] - factor * x[i] * sums[i]


class LRN(CompiledKernel[LrnOp]):
    """Divide every value by a power of the energy around it."""

    @property
    def _across(self) -> bool:
        return self.op.norm_region == "ACROSS_CHANNELS"

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for a few blocks for every thread."""
        _, c, h, w = self.op.bottoms[0]
        self._block = 4 * (c * PIXELS if self._across else h * w)
        return {
            "workspace": ArraySpec((self.backend.threads * 4 * self._block,), "uint8")
        }

    def setup(self) -> None:
        """Write the geometry down."""
        op = self.op
        n, c, h, w = op.bottoms[0]
        self._arguments: dict[str, Any] = {
            "x": self.x,
            "y": self.y,
            "size": op.local_size,
            "workspace": self.work["workspace"],
            "workspace_bytes": 4 * self._block,
            "beta": op.beta,
            "serial": few(self.x.size),
        }
        if self._across:
            self._arguments |= {
                "images": n,
                "channels": c,
                "pixels": h * w,
                "share": op.alpha / op.local_size,
                "k": op.k,
            }
        else:
            self._arguments |= {
                "planes": n * c,
                "height": h,
                "width": w,
                "share": op.alpha / op.local_size**2,
                "k": 1.0,
            }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        run = across if self._across else within
        return [run(**self._arguments)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        run = across_gradient if self._across else within_gradient
        return [run(dx=self.dx, dy=self.dy, **self._arguments)]
