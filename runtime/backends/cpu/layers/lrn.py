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
from runtime.backends.cpu.layers.lrn_runs import (
    PIXELS,
    gradient_any,
    gradient_roots,
    normalize_any,
    normalize_roots,
    powers_any,
    powers_roots,
)
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.simd import copy, f32
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.cpu.machine.sliding import total
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ROOMS = 5  # parts of a workspace within channels, and 2 across them
ROOTS = 0.75  # the exponent that is made of square roots

# Within channels a thread keeps squares, or other terms, with a border of `half` zeros
# around a plane; across channels, in the gradient, two terms of every pixel of a run.
#
#   half: half a window, without its middle
#   workspace, workspace_bytes: that of all threads, and the bytes of each
#   room: floats of each part of a workspace
#   x, y: (images, channels, pixels) across channels, (planes, height, width) within
#   taps: elements of a window within channels
#   offsets: int64 (taps,), bytes from the first element of a window to tap t
#   share: alpha / n, what a sum is multiplied by
SUMS = "half workspace workspace_bytes room "
ACROSS = "x y images channels pixels " + SUMS
WITHIN = "x y planes height width taps offsets " + SUMS
NUMBERS = "share k beta"


@outlined
def _powers(sums: int, powers: int, n: int, share: Any, k: Any, beta: Any) -> None:
    """Turn `n` sums, and a part of a vector more, into s, and compute s ** -beta."""
    vectors = (n + LANES - 1) // LANES
    if beta == np.float32(ROOTS):
        powers_roots(sums, powers, vectors, share, k, beta)
    else:
        powers_any(sums, powers, vectors, share, k, beta)


@helper
def _clear(address: int, count: int) -> None:
    values = f32(address)
    for i in range(count):
        values[i] = ZERO


@helper
def _across(normalize: Any, a: Any, part: int, parts: int) -> None:
    """Compute y = x / s^beta with windows of channels."""
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    runs = (a.pixels + PIXELS - 1) // PIXELS
    units = a.images * runs
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = unit % runs * PIXELS
        n = min(PIXELS, a.pixels - start)
        at = 4 * (unit // runs * a.channels * a.pixels + start)
        step = 4 * a.pixels
        normalize(a.x + at, a.y + at, step, a.channels, n, a.half, share, k, beta)


@helper
def _across_gradient(gradient: Any, a: Any, part: int, parts: int, thread: int) -> None:
    """Compute dx with windows of channels; dx and dy may be the same."""
    share, k, beta = np.float32(a.share), np.float32(a.k), np.float32(a.beta)
    straight = a.workspace + thread * a.workspace_bytes
    products = straight + 4 * a.room
    runs = (a.pixels + PIXELS - 1) // PIXELS
    units = a.images * runs
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = unit % runs * PIXELS
        n = min(PIXELS, a.pixels - start)
        at = 4 * (unit // runs * a.channels * a.pixels + start)
        images = (a.x + at, a.dy + at, a.dx + at, 4 * a.pixels, a.channels, n, a.half)
        gradient(*images, straight, products, share, k, beta)


@kernel(ACROSS, NUMBERS)
def across_roots(record: Any, part: int, parts: int) -> None:
    """Normalize across channels with beta = 0.75."""
    _across(normalize_roots, carray(record, 1)[0], part, parts)


@kernel(ACROSS, NUMBERS)
def across_any(record: Any, part: int, parts: int) -> None:
    """Normalize across channels."""
    _across(normalize_any, carray(record, 1)[0], part, parts)


@kernel("dx dy " + ACROSS, NUMBERS)
def across_gradient_roots(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the gradient across channels with beta = 0.75."""
    _across_gradient(gradient_roots, carray(record, 1)[0], part, parts, thread)


@kernel("dx dy " + ACROSS, NUMBERS)
def across_gradient_any(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the gradient across channels."""
    _across_gradient(gradient_any, carray(record, 1)[0], part, parts, thread)


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
        rooms = ROOMS
        if self._across:
            room, rooms = c * PIXELS, 2 if any(self.node.propagate) else 0
        else:
            # A vector more: powers are computed of whole ones.
            room = (h + 2 * half) * (w + 2 * half) + LANES
        self._room = round_up(room, LANES)
        self._bytes = 4 * rooms * self._room
        if not rooms:
            return {}
        return {"workspace": ArraySpec((self.backend.threads * self._bytes,), "uint8")}

    def setup(self) -> None:
        """Write the sizes down."""
        op = self.op
        n, c, h, w = op.bottoms[0]
        size = op.local_size
        self._arguments: dict[str, Any] = {
            "x": self.x,
            "y": self.y,
            "half": size // 2,
            "workspace": self.work.get("workspace", 0),
            "workspace_bytes": self._bytes,
            "room": self._room,
            "beta": op.beta,
            "serial": few(self.x.size),
        }
        if self._across:
            self._arguments |= {
                "images": n,
                "channels": c,
                "pixels": h * w,
                "units": n * -(-h * w // PIXELS),
                "share": op.alpha / size,
                "k": op.k,
            }
        else:
            steps = np.arange(size)
            offsets = (steps[:, None] * (w + 2 * (size // 2)) + steps).ravel()
            self._arguments |= {
                "planes": n * c,
                "units": n * c,
                "height": h,
                "width": w,
                "share": op.alpha / size**2,
                "k": 1.0,
                "taps": len(offsets),
                "offsets": (4 * offsets).astype(np.int64),
            }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        run = within
        if self._across:
            run = across_roots if self.op.beta == ROOTS else across_any
        return [run(**self._arguments)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        run = within_gradient
        if self._across:
            roots = self.op.beta == ROOTS
            run = across_gradient_roots if roots else across_gradient_any
        return [run(dx=self.dx, dy=self.dy, **self._arguments)]
