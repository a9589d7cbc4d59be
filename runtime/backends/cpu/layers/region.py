"""ROIPooling, PSROIPooling and ROIAlign on compiled kernels.

What pixels each part covers is laid out by the functions of the portable kernels, so
that both round alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.ops import region as ops
from netspec.ops.base import count
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.simd import f32, i32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import PreparedKernel
from runtime.layers._regions import (
    Bins,
    align_shares,
    maximum_bins,
    mean_bins,
    read_regions,
)
from runtime.layers.base import OpT

ZERO: Any = np.float32(0)
NOBODY = -1  # the winner of an empty part

# channels, height, width: of the features. items: int64 (regions,), their images.
# edges: int64 (regions, 2 pooled_h + 2 pooled_w): the first row of every part, the row
# behind its last, and the same of columns.
PARTS = "items edges regions channels height width pooled_h pooled_w "


@kernel("x y won workspace " + PARTS)
def maximum(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the maximum of every part, 0 for an empty one.

    The rows of a part are brought to one row of maxima first, of all columns.

    Fields, beside those of `PARTS`:
        x: (images, channels, height, width).
        y: (regions, channels, pooled_h, pooled_w).
        won: int32 like y, gets the pixel of the plane that had the maximum, -1 for
            none; or 0 where nobody asks.
        workspace: (parts, 2, width): the maximum of each column, and int32 its row.
    """
    a = carray(record, 1)[0]
    ph, pw, w = a.pooled_h, a.pooled_w, a.width
    line, at = (
        f32(a.workspace + 8 * thread * w),
        i32(a.workspace + 8 * thread * w + 4 * w),
    )
    rows = a.regions * a.channels
    for q in range(rows * part // parts, rows * (part + 1) // parts):
        r, c = q // a.channels, q % a.channels
        plane = i64(a.items)[r] * a.channels + c
        y, won = f32(a.y + 4 * q * ph * pw), i32(a.won + 4 * q * ph * pw)
        edges = i64(a.edges + 16 * r * (ph + pw))
        first, behind = edges[2 * ph], edges[2 * ph + 2 * pw - 1]
        for i in range(ph):
            top, bottom = edges[i], edges[ph + i]
            if top < bottom:
                start = f32(a.x + 4 * (plane * a.height + top) * w)
                for column in range(first, behind):
                    line[column] = start[column]
                    at[column] = np.int32(top)
            for row in range(top + 1, bottom):
                values, here = f32(a.x + 4 * (plane * a.height + row) * w), row
                for column in range(first, behind):
                    value, best = values[column], line[column]
                    larger = (value > best) | (value != value)  # NaN is the maximum
                    line[column] = value if larger else best
                    at[column] = np.int32(here) if larger else at[column]
            for j in range(pw):
                left, right = edges[2 * ph + j], edges[2 * ph + pw + j]
                best, place = ZERO, NOBODY
                if top < bottom and left < right:
                    best, place = line[left], left
                    for column in range(left + 1, right):
                        value = line[column]
                        earlier = value == best and at[column] < at[place]
                        if value > best or earlier or (value != value and best == best):
                            best, place = value, column
                    place += w * at[place]
                y[i * pw + j] = best
                if a.won != 0:
                    won[i * pw + j] = np.int32(place)


@kernel("dx dy won items regions images channels plane pooled")
def maximum_gradient(record: Any, part: int, parts: int) -> None:
    """Add every dy to the dx of the pixel that won.

    Fields:
        dx: (images, channels, plane).
        dy, won: (regions, channels, pooled), won of int32.
        items: int64 (regions,), their images.
    """
    a = carray(record, 1)[0]
    planes, items = a.images * a.channels, i64(a.items)
    for p in range(planes * part // parts, planes * (part + 1) // parts):
        n, c = p // a.channels, p % a.channels
        dx = f32(a.dx + 4 * p * a.plane)
        for at in range(a.plane):
            dx[at] = ZERO
        for r in range(a.regions):
            if items[r] == n:
                offset = 4 * (r * a.channels + c) * a.pooled
                dy, won = f32(a.dy + offset), i32(a.won + offset)
                for k in range(a.pooled):
                    if won[k] >= 0:
                        dx[won[k]] += dy[k]


@kernel("x y outputs " + PARTS)
def mean(record: Any, part: int, parts: int) -> None:
    """Compute the mean of every part over its own channel, 0 for an empty one.

    Fields, beside those of `PARTS`:
        x: (images, channels, height, width), channels = outputs pooled_h pooled_w.
        y: (regions, outputs, pooled_h, pooled_w).
    """
    a = carray(record, 1)[0]
    ph, pw = a.pooled_h, a.pooled_w
    rows = a.regions * a.outputs
    for q in range(rows * part // parts, rows * (part + 1) // parts):
        r, d = q // a.outputs, q % a.outputs
        y = f32(a.y + 4 * q * ph * pw)
        edges = i64(a.edges + 16 * r * (ph + pw))
        for i in range(ph):
            top, bottom = edges[i], edges[ph + i]
            for j in range(pw):
                left, right = edges[2 * ph + j], edges[2 * ph + pw + j]
                channel = (d * ph + i) * pw + j
                plane = i64(a.items)[r] * a.channels + channel
                x = f32(a.x + 4 * plane * a.height * a.width)
                total = ZERO
                for row in range(top, bottom):
                    for at in range(row * a.width + left, row * a.width + right):
                        total += x[at]
                pixels = (bottom - top) * (right - left)
                if top < bottom and left < right:
                    y[i * pw + j] = total / np.float32(pixels)
                else:
                    y[i * pw + j] = ZERO


@kernel("dx dy outputs images " + PARTS)
def mean_gradient(record: Any, part: int, parts: int) -> None:
    """Spread every dy over the pixels of its part; for the fields see `mean`."""
    a = carray(record, 1)[0]
    ph, pw = a.pooled_h, a.pooled_w
    planes, items = a.images * a.channels, i64(a.items)
    for p in range(planes * part // parts, planes * (part + 1) // parts):
        n, c = p // a.channels, p % a.channels
        i, j = c // pw % ph, c % pw
        d = c // (ph * pw)
        dx = f32(a.dx + 4 * p * a.height * a.width)
        for at in range(a.height * a.width):
            dx[at] = ZERO
        for r in range(a.regions):
            if items[r] != n:
                continue
            edges = i64(a.edges + 16 * r * (ph + pw))
            top, bottom = edges[i], edges[ph + i]
            left, right = edges[2 * ph + j], edges[2 * ph + pw + j]
            if top < bottom and left < right:
                dy = f32(a.dy)[((r * a.outputs + d) * ph + i) * pw + j]
                share = dy / np.float32((bottom - top) * (right - left))
                for row in range(top, bottom):
                    for at in range(row * a.width + left, row * a.width + right):
                        dx[at] += share


@kernel("x y down along workspace " + PARTS)
def align(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = down x along of every region and channel.

    Fields, beside those of `PARTS`, whose edges are where shares are not 0:
        x: (images, channels, height, width).
        y: (regions, channels, pooled_h, pooled_w).
        down: (regions, pooled_h, height).
        along: (regions, pooled_w, width).
        workspace: (parts, width), a row for each thread.
    """
    a = carray(record, 1)[0]
    ph, pw, w = a.pooled_h, a.pooled_w, a.width
    line = f32(a.workspace + 4 * thread * w)
    rows = a.regions * a.channels
    for q in range(rows * part // parts, rows * (part + 1) // parts):
        r, c = q // a.channels, q % a.channels
        plane = i64(a.items)[r] * a.channels + c
        x = f32(a.x + 4 * plane * a.height * w)
        y = f32(a.y + 4 * q * ph * pw)
        edges = i64(a.edges + 16 * r * (ph + pw))
        for i in range(ph):
            down = f32(a.down + 4 * (r * ph + i) * a.height)
            for column in range(w):
                line[column] = ZERO
            for row in range(edges[i], edges[ph + i]):
                share = down[row]
                for column in range(w):
                    line[column] += share * x[row * w + column]
            for j in range(pw):
                along = f32(a.along + 4 * (r * pw + j) * w)
                total = ZERO
                for column in range(edges[2 * ph + j], edges[2 * ph + pw + j]):
                    total += along[column] * line[column]
                y[i * pw + j] = total


@kernel("dx dy down along workspace images " + PARTS)
def align_gradient(record: Any, part: int, parts: int, thread: int) -> None:
    """Give every dy to the pixels of its samples; for the fields see `align`."""
    a = carray(record, 1)[0]
    ph, pw, w = a.pooled_h, a.pooled_w, a.width
    line = f32(a.workspace + 4 * thread * w)
    planes, items = a.images * a.channels, i64(a.items)
    for p in range(planes * part // parts, planes * (part + 1) // parts):
        n, c = p // a.channels, p % a.channels
        dx = f32(a.dx + 4 * p * a.height * w)
        for at in range(a.height * w):
            dx[at] = ZERO
        for r in range(a.regions):
            if items[r] != n:
                continue
            dy = f32(a.dy + 4 * (r * a.channels + c) * ph * pw)
            edges = i64(a.edges + 16 * r * (ph + pw))
            for i in range(ph):
                for column in range(w):
                    line[column] = ZERO
                for j in range(pw):
                    along = f32(a.along + 4 * (r * pw + j) * w)
                    for column in range(edges[2 * ph + j], edges[2 * ph + pw + j]):
                        line[column] += along[column] * dy[i * pw + j]
                down = f32(a.down + 4 * (r * ph + i) * a.height)
                for row in range(edges[i], edges[ph + i]):
                    share = down[row]
                    for column in range(w):
                        dx[row * w + column] += share * line[column]


class _Regions(PreparedKernel[OpT]):
    """What all have in common: where the parts are laid out."""

    op: Any

    def setup(self) -> None:
        """Make room for the parts of all regions."""
        (images, channels, height, width), regions = self.op.bottoms
        h, w = self.op.pooled_h, self.op.pooled_w
        self._items = np.zeros(regions[0], np.int64)
        self._edges = np.zeros((regions[0], 2 * (h + w)), np.int64)
        self._images = images
        self._parts = {
            "items": self._items,
            "edges": self._edges,
            "regions": regions[0],
            "channels": channels,
            "height": height,
            "width": width,
            "pooled_h": h,
            "pooled_w": w,
            "serial": few(max(count(self.op.tops[0]), count(self.op.bottoms[0]))),
        }

    def _keep(self, items: np.ndarray, *edges: np.ndarray) -> None:
        self._items[...] = items
        np.concatenate(edges, axis=1, out=self._edges)

    def _keep_bins(self, bins: Bins) -> None:
        self._keep(bins.items, bins.top, bins.bottom, bins.left, bins.right)


class ROIPooling(_Regions[ops.ROIPooling]):
    """The maximum of every part of a region; see the portable kernel."""

    options = ("pooled_h", "pooled_w", "spatial_scale", "pad_ratio")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the places of the maxima where they are needed, and for rows."""
        size = self.backend.threads * 2 * self.op.bottoms[0][3]
        specs = {"line": ArraySpec((size,))}
        if any(self.node.propagate):
            specs["won"] = ArraySpec(self.op.tops[0], "int32", life="saved")
        return specs

    def prepare(self) -> None:
        """Lay the parts out."""
        self._keep_bins(maximum_bins(self.op, self.bottoms[1]))

    def prepare_gradient(self) -> None:
        """Read the images of the regions."""
        self._items[...] = read_regions(self.op, self.bottoms[1])[0]

    def own_calls(self) -> list[Call]:
        """Return the call that computes y."""
        more = {"won": self.work.get("won", 0), "workspace": self.work["line"]}
        return [maximum(x=self.x, y=self.y, **more, **self._parts)]

    def gradient_calls(self) -> list[Call]:
        """Return the call that computes dx."""
        shape = self.op.tops[0]
        return [
            maximum_gradient(
                dx=self.dx,
                dy=self.dy,
                won=self.work["won"],
                items=self._items,
                regions=shape[0],
                images=self._images,
                channels=shape[1],
                plane=count(self.op.bottoms[0], 2),
                pooled=count(shape, 2),
                serial=self._parts["serial"],
            )
        ]


class PSROIPooling(_Regions[ops.PSROIPooling]):
    """The mean of every part of a region; see the portable kernel."""

    options = ("pooled_h", "pooled_w", "spatial_scale", "output_dim", "group_size")

    def prepare(self) -> None:
        """Lay the parts out."""
        self._keep_bins(mean_bins(self.op, self.bottoms[1]))

    def own_calls(self) -> list[Call]:
        """Return the call that computes y."""
        outputs = self.op.output_dim
        return [mean(x=self.x, y=self.y, outputs=outputs, **self._parts)]

    def gradient_calls(self) -> list[Call]:
        """Return the call that computes dx."""
        sizes = {"outputs": self.op.output_dim, "images": self._images}
        return [mean_gradient(dx=self.dx, dy=self.dy, **sizes, **self._parts)]


class ROIAlign(_Regions[ops.ROIAlign]):
    """The mean of samples of every part of a region; see the portable kernel."""

    options = ("pooled_h", "pooled_w", "spatial_scale", "sampling_ratio")

    @classmethod
    def suits(cls, op: ops.ROIAlign) -> bool:
        """Whether it is the mean."""
        return op.sampling_ratio is not None

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for a row of pixels for each thread."""
        size = self.backend.threads * self.op.bottoms[0][3]
        return {"line": ArraySpec((size,))}

    def setup(self) -> None:
        """Make room for what every pixel counts."""
        super().setup()
        regions, (_, _, h, w) = self.op.bottoms[1][0], self.op.bottoms[0]
        self._shares = {
            "down": np.zeros((regions, self.op.pooled_h, h), np.float32),
            "along": np.zeros((regions, self.op.pooled_w, w), np.float32),
        }

    def prepare(self) -> None:
        """Lay the samples out."""
        items, (down, along) = align_shares(self.op, self.bottoms[1])
        self._shares["down"][...], self._shares["along"][...] = down, along
        self._keep(items, *_extent(down), *_extent(along))

    def own_calls(self) -> list[Call]:
        """Return the call that computes y."""
        shared = {**self._shares, "workspace": self.work["line"]}
        return [align(x=self.x, y=self.y, **shared, **self._parts)]

    def gradient_calls(self) -> list[Call]:
        """Return the call that computes dx."""
        shared = {**self._shares, "workspace": self.work["line"]}
        sizes = {"images": self._images}
        return [
            align_gradient(dx=self.dx, dy=self.dy, **sizes, **shared, **self._parts)
        ]


def _extent(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first place that is not 0 of every row, and that behind the last.

    Shapes: (R, P, size) -> (R, P), (R, P).
    """
    if not shares.size:
        none = np.zeros(shares.shape[:2], np.int64)
        return none, none
    there = shares != 0
    last = shares.shape[2] - there[:, :, ::-1].argmax(axis=2)
    return there.argmax(axis=2), np.where(there.any(axis=2), last, 0)
