"""Parts of images on compiled kernels: Crop, and Im2col, which writes windows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.convolution import Im2col as Im2colOp
from netspec.ops.selection import Crop as CropOp
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.simd import copy, f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
AXES = 4

# items, channels, height, width: of the large blob; part_...: of the part of it that
# starts at the offsets.
_PART = (
    "items channels height width part_items part_channels part_height part_width "
    "item channel row column"
)


@kernel("x y " + _PART)
def cut_out(record: Any, part: int, parts: int) -> None:
    """Copy a part of x to y; see `_PART`."""
    a = carray(record, 1)[0]
    planes = a.part_items * a.part_channels
    for plane in range(planes * part // parts, planes * (part + 1) // parts):
        item = a.item + plane // a.part_channels
        channel = a.channel + plane % a.part_channels
        first = ((item * a.channels + channel) * a.height + a.row) * a.width + a.column
        x, y = a.x + 4 * first, a.y + 4 * plane * a.part_height * a.part_width
        for i in range(a.part_height):
            copy(y + 4 * i * a.part_width, x + 4 * i * a.width, a.part_width)


@kernel("dy dx " + _PART)
def cut_out_gradient(record: Any, part: int, parts: int) -> None:
    """Copy dy to a part of dx, which is 0 elsewhere; see `_PART`."""
    a = carray(record, 1)[0]
    planes = a.items * a.channels
    for plane in range(planes * part // parts, planes * (part + 1) // parts):
        item, channel = plane // a.channels - a.item, plane % a.channels - a.channel
        at = a.dx + 4 * plane * a.height * a.width
        dx = f32(at)
        for i in range(a.height * a.width):
            dx[i] = ZERO
        inside = 0 <= item < a.part_items and 0 <= channel < a.part_channels
        if inside:
            size = a.part_height * a.part_width
            dy = a.dy + 4 * (item * a.part_channels + channel) * size
            at += 4 * (a.row * a.width + a.column)
            for i in range(a.part_height):
                copy(at + 4 * i * a.width, dy + 4 * i * a.part_width, a.part_width)


class Crop(LayerKernel[CropOp]):
    """A part of a blob; see the portable kernel."""

    options = ("axis", "offset")

    @classmethod
    def suits(cls, op: CropOp) -> bool:
        """Whether there are no more axes than those of images."""
        return len(op.tops[0]) <= AXES

    @property
    def _sizes(self) -> dict[str, int]:
        op = self.op
        missing = AXES - len(op.tops[0])
        values = (
            *((1,) * missing + tuple(op.bottoms[0])),
            *((1,) * missing + tuple(op.tops[0])),
            *((0,) * missing + tuple(op.offset)),
        )
        return dict(zip(_PART.split(), values, strict=True))

    def forward_calls(self) -> list[Call]:
        """Copy the part."""
        return [cut_out(x=self.x, y=self.y, serial=few(self.y.size), **self._sizes)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Put the gradient in its place."""
        if self.dx is None:
            return []
        serial = few(self.dx.size)
        return [cut_out_gradient(dy=self.dy, dx=self.dx, serial=serial, **self._sizes)]


# planes: of all items; height, width: of a plane; rows, columns: of places.
_WINDOWS = (
    "planes height width rows columns down right row_stride column_stride row_pad "
    "column_pad row_step column_step"
)


@helper
def seen(size: int, places: int, stride: int, shift: int) -> tuple[int, int]:
    """Return the first place that sees an element, and the one behind the last.

    Place p sees element stride p + shift.
    """
    low = 0 if shift >= 0 else (stride - 1 - shift) // stride
    high = (size - 1 - shift) // stride + 1 if size > shift else 0
    low = min(low, places)
    return low, max(low, min(places, high))


@kernel("x y " + _WINDOWS)
def write_windows(record: Any, part: int, parts: int) -> None:
    """Compute y[plane, tap, place] = x[plane, what the place sees], 0 in the padding.

    Fields: down, right: taps of a window; row_step, column_step: elements between them.
    See `_WINDOWS`.
    """
    a = carray(record, 1)[0]
    taps = a.down * a.right
    units = a.planes * taps
    for unit in range(units * part // parts, units * (part + 1) // parts):
        plane, tap = unit // taps, unit % taps
        down = tap // a.right * a.row_step - a.row_pad
        right = tap % a.right * a.column_step - a.column_pad
        first, last = seen(a.height, a.rows, a.row_stride, down)
        low, high = seen(a.width, a.columns, a.column_stride, right)
        for i in range(a.rows):
            to = a.y + 4 * (unit * a.rows + i) * a.columns
            y = f32(to)
            if i < first or i >= last:
                for j in range(a.columns):
                    y[j] = ZERO
                continue
            row = plane * a.height + i * a.row_stride + down
            for j in range(low):
                y[j] = ZERO
            if a.column_stride == 1:
                source = a.x + 4 * (row * a.width + low + right)
                copy(to + 4 * low, source, high - low)
            else:
                x = f32(a.x + 4 * row * a.width)
                for j in range(low, high):
                    y[j] = x[j * a.column_stride + right]
            for j in range(high, a.columns):
                y[j] = ZERO


@kernel("dy dx " + _WINDOWS)
def add_windows(record: Any, part: int, parts: int) -> None:
    """Add windows up: the gradient of `write_windows`."""
    a = carray(record, 1)[0]
    taps = a.down * a.right
    for plane in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        whole = f32(a.dx + 4 * plane * a.height * a.width)
        for i in range(a.height * a.width):
            whole[i] = ZERO
        for tap in range(taps):
            down = tap // a.right * a.row_step - a.row_pad
            right = tap % a.right * a.column_step - a.column_pad
            first, last = seen(a.height, a.rows, a.row_stride, down)
            low, high = seen(a.width, a.columns, a.column_stride, right)
            for i in range(first, last):
                at = ((plane * taps + tap) * a.rows + i) * a.columns
                dy = f32(a.dy + 4 * at)
                row = i * a.row_stride + down
                if a.column_stride == 1:
                    near = f32(a.dx + 4 * ((plane * a.height + row) * a.width + right))
                    for j in range(low, high):
                        near[j] += dy[j]
                else:
                    for j in range(low, high):
                        whole[row * a.width + j * a.column_stride + right] += dy[j]


class Im2col(LayerKernel[Im2colOp]):
    """The windows of a convolution as channels; see the portable kernel."""

    options = ("kernel", "stride", "pad", "dilation", "axis", "channels")

    @classmethod
    def suits(cls, op: Im2colOp) -> bool:
        """Whether windows have two axes."""
        return len(op.kernel) == 2

    @property
    def _sizes(self) -> dict[str, int]:
        op, first = self.op, self.op.axis + 1
        values = (
            count(op.bottoms[0], 0, first),
            *op.bottoms[0][first:],
            *op.tops[0][first:],
            *op.kernel,
            *op.stride,
            *op.pad,
            *op.dilation,
        )
        return dict(zip(_WINDOWS.split(), values, strict=True))

    def forward_calls(self) -> list[Call]:
        """Copy the windows."""
        serial = few(self.y.size)
        return [write_windows(x=self.x, y=self.y, serial=serial, **self._sizes)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Add the windows up."""
        if self.dx is None:
            return []
        serial = few(self.dy.size)
        return [add_windows(dy=self.dy, dx=self.dx, serial=serial, **self._sizes)]
