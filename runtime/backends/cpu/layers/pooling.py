"""Pooling on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.pooling import Pooling as PoolingOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.pooling_halves import spread_maxima
from runtime.backends.cpu.layers.pooling_windows import has_kernel, pool
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.planes import keep_plane
from runtime.backends.cpu.machine.simd import copy, f32, i64, u8
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.cpu.machine.sliding import NO_WINNER, greatest, total
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
MOST_TAPS = NO_WINNER  # positions of a window that a byte can tell apart

# planes: of all images; the rest is of one plane, in elements.
WINDOWS = (
    "planes height width out_height out_width kernel_height kernel_width "
    "row_stride column_stride row_pad column_pad "
)
# What kernels for particular windows are told of them, and of the call.
PLANE_SIZES = (
    "planes",
    "height",
    "width",
    "out_height",
    "out_width",
    "serial",
    "units",
)
# Where a thread keeps a padded plane, and puts its results.
#
#   kept_height, kept_width: of a part of a kept plane; see `keep_plane`
#   taps: elements of a window
#   offsets: int64 (taps,), bytes from the first element of a window to tap t, in the
#       kept plane
#   workspace, workspace_bytes: that of all threads, and the bytes of each
#   results_at: where a thread's workspace has the results, a row of windows of length
#       kept_width after the other
KEPT = "kept_height kept_width taps offsets workspace workspace_bytes results_at "


@kernel("x y won start " + WINDOWS + KEPT, "padding")
def maximum(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the maximum of every window.

    Fields, beside those of `WINDOWS` and `KEPT`:
        x: (planes, height, width).
        y: (planes, out_height, out_width).
        won: uint8 like y, gets the number of the tap that had the maximum, `NO_WINNER`
            for NaN; or 0 where nobody asks.
        start: uint8 (out_height, kept_width), the first tap that is no padding.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    kept = a.workspace + thread * a.workspace_bytes
    best = kept + a.results_at
    won = best + 4 * (a.out_height * a.kept_width + LANES)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        keep_plane(a, a.x + 4 * p * plane, kept, a.kept_height, a.kept_width)
        for q in range(0, a.out_height * a.kept_width, LANES):
            greatest(
                kept + 4 * q, a.offsets, a.taps, a.start + q, best + 4 * q, won + q
            )
        for i in range(a.out_height):
            at = p * out_plane + i * a.out_width
            copy(a.y + 4 * at, best + 4 * i * a.kept_width, a.out_width)
            if a.won != 0:
                winners, kept_winners = u8(won + i * a.kept_width), u8(a.won + at)
                for j in range(a.out_width):
                    kept_winners[j] = winners[j]


@kernel("x y shares " + WINDOWS + KEPT, "padding")
def average(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the average of every window.

    Fields, beside those of `WINDOWS` and `KEPT`:
        x: (planes, height, width).
        y: (planes, out_height, out_width).
        shares: (out_height, out_width), 1 / (elements that the window counts).
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    kept = a.workspace + thread * a.workspace_bytes
    sums = kept + a.results_at
    shares = f32(a.shares)
    padded = a.row_pad > 0 or a.column_pad > 0
    whole = a.taps == plane and out_plane == 1 and not padded
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        if whole:
            x, result = f32(a.x + 4 * p * plane), ZERO
            for i in range(plane):
                result += x[i]
            f32(a.y)[p] = result * shares[0]
            continue
        keep_plane(a, a.x + 4 * p * plane, kept, a.kept_height, a.kept_width)
        for q in range(0, a.out_height * a.kept_width, LANES):
            total(kept + 4 * q, a.offsets, a.taps, sums + 4 * q)
        for i in range(a.out_height):
            y = f32(a.y + 4 * (p * out_plane + i * a.out_width))
            row = f32(sums + 4 * i * a.kept_width)
            for j in range(a.out_width):
                y[j] = row[j] * shares[i * a.out_width + j]


@kernel("dx dy won offsets " + WINDOWS)
def maximum_gradient(record: Any, part: int, parts: int) -> None:
    """Add every dy to the dx of the element that won.

    Fields, beside those of `WINDOWS`:
        dx: (planes, height, width).
        dy: (planes, out_height, out_width).
        won: uint8 like dy, what `maximum` found.
        offsets: int64 (taps,), elements of a plane from the first one of a window to
            tap t.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    offsets = i64(a.offsets)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        dx = f32(a.dx + 4 * p * plane)
        for i in range(plane):
            dx[i] = ZERO
        for i in range(a.out_height):
            at = p * out_plane + i * a.out_width
            dy, won = f32(a.dy + 4 * at), u8(a.won + at)
            first = (i * a.row_stride - a.row_pad) * a.width - a.column_pad
            for j in range(a.out_width):
                if won[j] != NO_WINNER:
                    dx[first + offsets[won[j]]] += dy[j]
                first += a.column_stride


@kernel("dx dy shares workspace workspace_bytes " + WINDOWS)
def average_gradient(record: Any, part: int, parts: int, thread: int) -> None:
    """Add every dy, divided by the size of its window, to the window's elements.

    The windows of a row are spread over a row of the workspace, which is then added to
    every row that they cover.

    Fields, beside those of `WINDOWS`:
        dx: (planes, height, width).
        dy, shares: as y and shares of `average`.
        workspace, workspace_bytes: that of all threads, and the bytes of each: a row.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    shares = f32(a.shares)
    spread = f32(a.workspace + thread * a.workspace_bytes)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        dx, dy = f32(a.dx + 4 * p * plane), f32(a.dy + 4 * p * out_plane)
        for i in range(plane):
            dx[i] = ZERO
        for i in range(a.out_height):
            for column in range(a.width):
                spread[column] = ZERO
            for j in range(a.out_width):
                left = j * a.column_stride - a.column_pad
                share = dy[i * a.out_width + j] * shares[i * a.out_width + j]
                for column in range(max(0, left), min(a.width, left + a.kernel_width)):
                    spread[column] += share
            top = i * a.row_stride - a.row_pad
            for row in range(max(0, top), min(a.height, top + a.kernel_height)):
                target = f32(a.dx + 4 * (p * plane + row * a.width))
                for column in range(a.width):
                    target[column] += spread[column]


class Pooling(LayerKernel[PoolingOp]):
    """The maximum or the average of every window; see the portable kernel."""

    # The last two are in the kernel and in the shape of the top.
    options = ("pool", "kernel", "stride", "pad", "global_pooling", "round_mode")

    @classmethod
    def suits(cls, op: PoolingOp) -> bool:
        """Whether no mask is wanted, and every maximum has a winner, in a byte."""
        if len(op.tops) > 1:
            return False
        if op.pool == "MAX":
            return count(op.kernel) <= MOST_TAPS and _sees_something(op)
        return op.pool == "AVE"

    @property
    def skips(self) -> bool:
        """Whether there may be other memory between images of y."""
        return has_kernel(self.op)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the winners where a gradient needs them, and for padded planes."""
        self._is_usual = has_kernel(self.op)
        self._lay_out()
        specs = {}
        gradient = self.op.pool == "AVE" and any(self.node.propagate)
        if not self._is_usual or gradient:
            total = self.backend.threads * self._bytes
            specs["workspace"] = ArraySpec((total,), "uint8")
        if self.op.pool == "MAX" and any(self.node.propagate):
            # As long as `spread_maxima` reads.
            winners = count(self.op.tops[0]) + LANES
            specs["won"] = ArraySpec((winners,), "uint8", life="saved")
        return specs

    def _lay_out(self) -> None:
        """Decide how padded planes are kept."""
        op = self.op
        (sh, sw), (kh, kw), (oh, ow) = op.stride, op.kernel, op.tops[0][2:]
        self._rows, self._columns = oh + (kh - 1) // sh, ow + (kw - 1) // sw
        i, j = np.divmod(np.arange(kh * kw), kw)
        part = i % sh * sw + j % sw
        row = part * self._rows + i // sh
        self._offsets = (4 * (row * self._columns + j // sw)).astype(np.int64)
        kept = sh * sw * self._rows * self._columns + LANES
        results = oh * self._columns + LANES
        self._results_at = round_up(4 * kept, VECTOR_BYTES)
        needed = max(self._results_at + 5 * results, 4 * op.bottoms[0][3])
        self._bytes = round_up(needed, 64)

    def setup(self) -> None:
        """Write the sizes down."""
        op = self.op
        (n, c, h, w), (_, _, oh, ow) = op.bottoms[0], op.tops[0]
        (kh, kw), (sh, sw), (ph, pw) = op.kernel, op.stride, op.pad
        self._windows = {
            "planes": n * c,
            "units": n * c,
            "height": h,
            "width": w,
            "out_height": oh,
            "out_width": ow,
            "kernel_height": kh,
            "kernel_width": kw,
            "row_stride": sh,
            "column_stride": sw,
            "row_pad": ph,
            "column_pad": pw,
            "serial": few(n * c * h * w),
        }
        self._workspace = {
            "workspace": self.work.get("workspace", 0),
            "workspace_bytes": self._bytes,
        }
        self._kept = {
            "kept_height": self._rows,
            "kept_width": self._columns,
            "taps": kh * kw,
            "offsets": self._offsets,
            "results_at": self._results_at,
            **self._workspace,
        }
        top, left = np.arange(oh) * sh - ph, np.arange(self._columns) * sw - pw
        if op.pool == "MAX":
            first = np.maximum(-top, 0)[:, None] * kw + np.maximum(-left, 0)
            self._start = np.zeros(first.size + LANES, np.uint8)
            self._start[: first.size] = first.ravel() % (MOST_TAPS + 1)
        else:
            # With padding, a window counts the padding but nothing beyond it.
            rows = np.clip(h + ph - top, 1, kh)
            columns = np.clip(w + pw - left[:ow], 1, kw)
            self._shares = (1 / np.outer(rows, columns)).astype(np.float32)

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        if self._is_usual:
            return [self._usual_call()]
        shape = {"x": self.x, "y": self.y, **self._windows, **self._kept}
        if self.op.pool == "AVE":
            return [average(shares=self._shares, padding=0, **shape)]
        won = self.work.get("won", 0)
        return [maximum(won=won, start=self._start, padding=float("-inf"), **shape)]

    def _usual_call(self) -> Call:
        """Compute y with the kernel for these windows."""
        height, width = self.y.shape[2:]
        kept: np.ndarray
        if self.op.pool == "MAX":
            starts = self._start[: height * self._columns]
            kept = starts.reshape(height, self._columns)[:, :width]
        else:
            kept = self._shares
        sizes = {name: self._windows[name] for name in PLANE_SIZES}
        won = self.work.get("won")
        return pool(self.op, kept, won, x=self.x, y=self.y, **sizes)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        shape = {"dx": self.dx, "dy": self.dy, **self._windows}
        if self.op.pool == "AVE":
            return [average_gradient(shares=self._shares, **self._workspace, **shape)]
        if self._spreads:
            sizes = {name: self._windows[name] for name in PLANE_SIZES}
            won = self.work["won"]
            return [spread_maxima(dx=self.dx, dy=self.dy, won=won, **sizes)]
        i, j = np.divmod(np.arange(count(self.op.kernel)), self.op.kernel[1])
        return [
            maximum_gradient(
                won=self.work["won"],
                offsets=np.ascontiguousarray(i * self.x.shape[3] + j, np.int64),
                **shape,
            )
        ]

    @property
    def _spreads(self) -> bool:
        """Whether windows are neighbours, and rows of them fill vectors by half."""
        op = self.op
        plain = op.kernel == op.stride == (2, 2) and op.pad == (0, 0)
        return plain and 2 * op.tops[0][3] >= LANES


def _sees_something(op: PoolingOp) -> bool:
    """Whether no window lies beyond the image, as the last may with wide strides."""
    axes = zip(op.bottoms[0][2:], op.tops[0][2:], op.stride, op.pad, strict=True)
    return all((out - 1) * stride - pad < size for size, out, stride, pad in axes)
