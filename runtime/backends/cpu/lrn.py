"""Local response normalization on compiled kernels.

The gradient computes s anew: that takes less time than to write it in one pass and to
read it in the other, and no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.lrn import LRN as LrnOp  # noqa: N811
from runtime.backends.cpu.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.emit import LANES
from runtime.backends.cpu.kernel import CompiledKernel, few, round_up
from runtime.backends.cpu.simd import f32
from runtime.backends.cpu.windows import total
from runtime.layers.base import ArraySpec

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
PIXELS = 2 * LANES  # treated at a time, all their channels

# A thread keeps squares, or other terms, with zeros around them: `half` rows of PIXELS
# before and after the channels, or a border of `half` around a plane. A window is the
# sum of `taps` vectors that lie `offsets` bytes after its first.
SUMS = "taps offsets half workspace workspace_bytes room "
ACROSS = "x y images channels pixels " + SUMS
WITHIN = "x y planes height width " + SUMS
NUMBERS = "share k beta"


@helper
def _inverse_power(s: Any, beta: Any) -> Any:
    """Return s ** -beta; the usual exponents are made of square roots."""
    if beta == np.float32(0.75):
        root = ONE / np.sqrt(s)
        return root * np.sqrt(root)
    if beta == np.float32(0.5):
        return ONE / np.sqrt(s)
    return s ** (-beta)


@helper
def _clear(address: int, count: int) -> None:
    values = f32(address)
    for i in range(count):
        values[i] = ZERO


@kernel(ACROSS, NUMBERS)
def across(record: Any, part: int, parts: int) -> None:
    """Compute y = x / s^beta with windows of channels."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    workspace = a.workspace + part * a.workspace_bytes
    _clear(workspace, a.room)
    terms = f32(workspace + 4 * a.half * PIXELS)
    window = f32(workspace + 4 * a.room)
    blocks = (a.pixels + PIXELS - 1) // PIXELS
    units = a.images * blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = unit % blocks * PIXELS
        n = min(PIXELS, a.pixels - start)
        at = 4 * (unit // blocks * a.channels * a.pixels + start)
        x, y = f32(a.x + at), f32(a.y + at)
        for c in range(a.channels):
            for j in range(n):
                terms[c * PIXELS + j] = x[c * a.pixels + j] * x[c * a.pixels + j]
        for c in range(a.channels):
            for j in range(0, PIXELS, LANES):
                here = workspace + 4 * (c * PIXELS + j)
                total(here, a.offsets, a.taps, workspace + 4 * (a.room + j))
            for j in range(n):
                s = k + share * window[j]
                y[c * a.pixels + j] = x[c * a.pixels + j] * _inverse_power(s, beta)


@kernel("dx dy " + ACROSS, NUMBERS)
def across_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx with windows of channels; dx and dy may be the same."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    factor = np.float32(2) * share * beta
    workspace = a.workspace + part * a.workspace_bytes
    others = workspace + 4 * a.room
    _clear(workspace, 2 * a.room)
    terms = f32(workspace + 4 * a.half * PIXELS)
    products = f32(others + 4 * a.half * PIXELS)
    kept = f32(others + 4 * a.room)
    window = f32(others + 8 * a.room)
    blocks = (a.pixels + PIXELS - 1) // PIXELS
    units = a.images * blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = unit % blocks * PIXELS
        n = min(PIXELS, a.pixels - start)
        at = 4 * (unit // blocks * a.channels * a.pixels + start)
        x, dx, dy = f32(a.x + at), f32(a.dx + at), f32(a.dy + at)
        for c in range(a.channels):
            for j in range(n):
                terms[c * PIXELS + j] = x[c * a.pixels + j] * x[c * a.pixels + j]
        for c in range(a.channels):
            for j in range(0, PIXELS, LANES):
                here = workspace + 4 * (c * PIXELS + j)
                total(here, a.offsets, a.taps, others + 4 * (2 * a.room + j))
            for j in range(n):
                here, there = c * PIXELS + j, c * a.pixels + j
                s = k + share * window[j]
                straight = dy[there] * _inverse_power(s, beta)
                kept[here] = straight
                products[here] = straight * x[there] / s
        for c in range(a.channels):
            for j in range(0, PIXELS, LANES):
                here = others + 4 * (c * PIXELS + j)
                total(here, a.offsets, a.taps, others + 4 * (2 * a.room + j))
            for j in range(n):
                there = c * a.pixels + j
                dx[there] = kept[c * PIXELS + j] - factor * x[there] * window[j]


@helper
def _sum_windows(a: Any, source: int, target: int) -> None:
    """Sum over the squares around all pixels of a plane with its border."""
    for q in range(0, a.height * (a.width + 2 * a.half), LANES):
        total(source + 4 * q, a.offsets, a.taps, target + 4 * q)


@kernel(WITHIN, NUMBERS)
def within(record: Any, part: int, parts: int) -> None:
    """Compute y = x / s^beta with squares of pixels."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    pitch = a.width + 2 * a.half
    workspace = a.workspace + part * a.workspace_bytes
    sums = workspace + 4 * a.room
    _clear(workspace, a.room)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, terms = f32(a.x + row), f32(workspace + 4 * (i + a.half) * pitch)
            for j in range(a.width):
                terms[j + a.half] = x[j] * x[j]
        _sum_windows(a, workspace, sums)
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, y, window = f32(a.x + row), f32(a.y + row), f32(sums + 4 * i * pitch)
            for j in range(a.width):
                y[j] = x[j] * _inverse_power(k + share * window[j], beta)


@kernel("dx dy " + WITHIN, NUMBERS)
def within_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx with squares of pixels; dx and dy may be the same."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    factor = np.float32(2) * share * beta
    pitch = a.width + 2 * a.half
    workspace = a.workspace + part * a.workspace_bytes
    others = workspace + 4 * a.room
    sums, kept = others + 4 * a.room, others + 8 * a.room
    _clear(workspace, 2 * a.room)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, terms = f32(a.x + row), f32(workspace + 4 * (i + a.half) * pitch)
            for j in range(a.width):
                terms[j + a.half] = x[j] * x[j]
        _sum_windows(a, workspace, sums)
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, dy, window = f32(a.x + row), f32(a.dy + row), f32(sums + 4 * i * pitch)
            products = f32(others + 4 * (i + a.half) * pitch)
            straight = f32(kept + 4 * i * pitch)
            for j in range(a.width):
                s = k + share * window[j]
                straight[j] = dy[j] * _inverse_power(s, beta)
                products[j + a.half] = straight[j] * x[j] / s
        _sum_windows(a, others, sums)
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, dx, window = f32(a.x + row), f32(a.dx + row), f32(sums + 4 * i * pitch)
            straight = f32(kept + 4 * i * pitch)
            for j in range(a.width):
                dx[j] = straight[j] - factor * x[j] * window[j]


class LRN(CompiledKernel[LrnOp]):
    """Divide every value by a power of the energy around it."""

    @property
    def _across(self) -> bool:
        return self.op.norm_region == "ACROSS_CHANNELS"

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for room for squares, products, their windows and what is kept."""
        _, c, h, w = self.op.bottoms[0]
        half = self.op.local_size // 2
        if self._across:
            room = (c + 2 * half) * PIXELS
        else:
            room = (h + 2 * half) * (w + 2 * half) + LANES
        self._room = round_up(room, LANES)
        return {"workspace": ArraySpec((self.backend.threads * 4 * self._room,))}

    def setup(self) -> None:
        """Write the geometry down."""
        op = self.op
        n, c, h, w = op.bottoms[0]
        size = op.local_size
        self._arguments: dict[str, Any] = {
            "x": self.x,
            "y": self.y,
            "half": size // 2,
            "workspace": self.work["workspace"],
            "workspace_bytes": 16 * self._room,
            "room": self._room,
            "beta": op.beta,
            "serial": few(self.x.size),
        }
        if self._across:
            offsets = np.arange(size) * PIXELS
            self._arguments |= {
                "images": n,
                "channels": c,
                "pixels": h * w,
                "share": op.alpha / size,
                "k": op.k,
            }
        else:
            steps = np.arange(size)
            offsets = (steps[:, None] * (w + 2 * (size // 2)) + steps).ravel()
            self._arguments |= {
                "planes": n * c,
                "height": h,
                "width": w,
                "share": op.alpha / size**2,
                "k": 1.0,
            }
        self._arguments["taps"] = len(offsets)
        self._arguments["offsets"] = (4 * offsets).astype(np.int64)

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
