"""Local response normalization on compiled kernels.

The gradient computes s anew: that takes less time than to write it in one pass and to
read it in the other, and no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.lrn import LRN as LrnOp  # noqa: N811
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.simd import copy, f32
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.cpu.machine.sliding import total
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
ROOMS = 5  # parts of a workspace
PIXELS = 2 * LANES  # treated at a time, all their channels

# A thread keeps squares, or other terms, with zeros around them: `half` rows of PIXELS
# before and after the channels, or a border of `half` around a plane.
#
#   taps: elements of a window
#   offsets: int64 (taps,), bytes from the first element of a window to tap t
#   half: half a window, without its middle
#   workspace, workspace_bytes: that of all threads, and the bytes of each
#   room: floats of each of the ROOMS parts of a workspace
#   x, y: (images, channels, pixels) across channels, (planes, height, width) within
#   share: alpha / n, what a sum is multiplied by
SUMS = "taps offsets half workspace workspace_bytes room "
ACROSS = "x y images channels pixels " + SUMS
WITHIN = "x y planes height width " + SUMS
NUMBERS = "share k beta"


@outlined
def _powers(sums: int, powers: int, n: int, share: Any, k: Any, beta: Any) -> None:
    """Turn sums into s = k + share sum, and compute s ** -beta.

    The usual exponents are made of square roots; each has a loop of its own, as a loop
    with a choice in it would not use vectors.

    Args:
        sums: address of the sums, overwritten by s.
        powers: address of the results.
        n: how many there are.
        share: float32, alpha / n of the layer.
        k: float32, of the layer.
        beta: float32, of the layer.
    """
    s, power = f32(sums), f32(powers)
    for i in range(n):
        s[i] = k + share * s[i]
    if beta == np.float32(0.75):
        for i in range(n):
            root = ONE / np.sqrt(s[i])
            power[i] = root * np.sqrt(root)
    elif beta == np.float32(0.5):
        for i in range(n):
            power[i] = ONE / np.sqrt(s[i])
    else:
        for i in range(n):
            power[i] = s[i] ** (-beta)


@helper
def _clear(address: int, count: int) -> None:
    values = f32(address)
    for i in range(count):
        values[i] = ZERO


@kernel(ACROSS, NUMBERS)
def across(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = x / s^beta with windows of channels."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    workspace = a.workspace + thread * a.workspace_bytes
    _clear(workspace, a.room)
    terms = f32(workspace + 4 * a.half * PIXELS)
    window = workspace + 4 * a.room
    power = f32(window + 4 * PIXELS)
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
                total(here, a.offsets, a.taps, window + 4 * j)
            _powers(window, window + 4 * PIXELS, PIXELS, share, k, beta)
            for j in range(n):
                y[c * a.pixels + j] = x[c * a.pixels + j] * power[j]


@kernel("dx dy " + ACROSS, NUMBERS)
def across_gradient(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute dx with windows of channels; dx and dy may be the same."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    factor = np.float32(2) * share * beta
    workspace = a.workspace + thread * a.workspace_bytes
    others = workspace + 4 * a.room
    _clear(workspace, 2 * a.room)
    terms = f32(workspace + 4 * a.half * PIXELS)
    products = f32(others + 4 * a.half * PIXELS)
    kept = f32(others + 4 * a.room)
    window_at = others + 8 * a.room
    window, power = f32(window_at), f32(window_at + 4 * PIXELS)
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
                total(here, a.offsets, a.taps, window_at + 4 * j)
            _powers(window_at, window_at + 4 * PIXELS, PIXELS, share, k, beta)
            for j in range(n):
                here, there = c * PIXELS + j, c * a.pixels + j
                straight = dy[there] * power[j]
                kept[here] = straight
                products[here] = straight * x[there] / window[j]
        for c in range(a.channels):
            for j in range(0, PIXELS, LANES):
                here = others + 4 * (c * PIXELS + j)
                total(here, a.offsets, a.taps, window_at + 4 * j)
            for j in range(n):
                there = c * a.pixels + j
                dx[there] = kept[c * PIXELS + j] - factor * x[there] * window[j]


@helper
def _sum_windows(a: Any, source: int, target: int) -> None:
    """Sum over the squares around all pixels of a plane with its border."""
    for q in range(0, a.height * (a.width + 2 * a.half), LANES):
        total(source + 4 * q, a.offsets, a.taps, target + 4 * q)


@kernel(WITHIN, NUMBERS)
def within(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = x / s^beta with squares of pixels."""
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    pitch = a.width + 2 * a.half
    workspace = a.workspace + thread * a.workspace_bytes
    sums, powers = workspace + 4 * a.room, workspace + 8 * a.room
    _clear(workspace, a.room)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, terms = f32(a.x + row), f32(workspace + 4 * (i + a.half) * pitch)
            for j in range(a.width):
                terms[j + a.half] = x[j] * x[j]
        _sum_windows(a, workspace, sums)
        _powers(sums, powers, a.height * pitch, share, k, beta)
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            x, y, power = f32(a.x + row), f32(a.y + row), f32(powers + 4 * i * pitch)
            for j in range(a.width):
                y[j] = x[j] * power[j]


@kernel("dx dy " + WITHIN, NUMBERS)
def within_gradient(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute dx with squares of pixels; dx and dy may be the same.

    x and dy are copied between borders of zeros first, so that all pixels of a plane
    are one run.
    """
    a = carray(record, 1)[0]
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    factor = np.float32(2) * share * beta
    pitch = a.width + 2 * a.half
    corner = a.half * pitch + a.half  # where the first pixel lies
    pixels = a.height * pitch
    workspace = a.workspace + thread * a.workspace_bytes
    terms_at, sums_at, kept_at = (
        workspace,
        workspace + 4 * a.room,
        workspace + 8 * a.room,
    )
    x_at, dy_at = workspace + 12 * a.room, workspace + 16 * a.room
    _clear(workspace, 5 * a.room)
    terms, all_x = f32(terms_at), f32(x_at)
    window, kept = f32(sums_at), f32(kept_at)
    x, dy, products = (
        f32(x_at + 4 * corner),
        f32(dy_at + 4 * corner),
        f32(terms_at + 4 * corner),
    )
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.height):
            row, put = 4 * (p * a.height + i) * a.width, 4 * (corner + i * pitch)
            copy(x_at + put, a.x + row, a.width)
            copy(dy_at + put, a.dy + row, a.width)
        for i in range(a.room):
            terms[i] = all_x[i] * all_x[i]
        _sum_windows(a, terms_at, sums_at)
        _powers(sums_at, kept_at, pixels, share, k, beta)
        for i in range(pixels):
            kept[i] *= dy[i]
        for i in range(pixels):
            products[i] = kept[i] * x[i] / window[i]
        _sum_windows(a, terms_at, sums_at)
        for i in range(pixels):
            kept[i] -= factor * x[i] * window[i]
        for i in range(a.height):
            row = 4 * (p * a.height + i) * a.width
            copy(a.dx + row, kept_at + 4 * i * pitch, a.width)


class LRN(LayerKernel[LrnOp]):
    """Divide every value by a power of the energy around it."""

    options = ("local_size", "alpha", "beta", "k", "norm_region")

    @property
    def _across(self) -> bool:
        return self.op.norm_region == "ACROSS_CHANNELS"

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for room for squares, products, their windows and what is kept."""
        _, c, h, w = self.op.bottoms[0]
        half = self.op.local_size // 2
        if self._across:
            room = (c + 2 * half + 2) * PIXELS
        else:
            room = (h + 2 * half) * (w + 2 * half) + LANES
        self._room = round_up(room, LANES)
        return {"workspace": ArraySpec((self.backend.threads * ROOMS * self._room,))}

    def setup(self) -> None:
        """Write the sizes down."""
        op = self.op
        n, c, h, w = op.bottoms[0]
        size = op.local_size
        self._arguments: dict[str, Any] = {
            "x": self.x,
            "y": self.y,
            "half": size // 2,
            "workspace": self.work["workspace"],
            "workspace_bytes": 4 * ROOMS * self._room,
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
