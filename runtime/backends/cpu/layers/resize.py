"""Interp, Upsample, ShuffleChannel, Axpy and ReLU6 on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops import channels as channel_ops
from netspec.ops import resize as ops
from netspec.ops.base import count
from netspec.ops.relu import ReLU6 as ReLU6Op
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.layers.broadcast import broadcast, broadcast_gradient
from runtime.backends.cpu.layers.elementwise import add, copied
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.mapping import map_kernel
from runtime.backends.cpu.machine.simd import copy, f32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.vector_math import Value, where
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.resize import shares_of

ZERO: Any = np.float32(0)
LOWEST = float("-inf")
ONE: Any = np.float32(1)

# planes: of all images. begin: where the part of a plane that counts starts, in
# elements; plane: elements of a plane, width: of its rows; rows, columns: of y.
# row_at, column_at: int64 (rows,) and (columns,), the value before each place, and
# row_next, column_next the one behind, with row_share and column_share, its share.
_GRID = (
    "planes plane width begin rows columns row_at row_next row_share column_at "
    "column_next column_share "
)


@kernel("x y " + _GRID)
def interpolate(record: Any, part: int, parts: int) -> None:
    """Compute every place from the four values around it; see `_GRID`."""
    a = carray(record, 1)[0]
    row_at, row_next, row_share = i64(a.row_at), i64(a.row_next), f32(a.row_share)
    left, right, share = i64(a.column_at), i64(a.column_next), f32(a.column_share)
    lines = a.planes * a.rows
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        p, i = line // a.rows, line % a.rows
        start = a.x + 4 * (p * a.plane + a.begin)
        top = f32(start + 4 * row_at[i] * a.width)
        low = f32(start + 4 * row_next[i] * a.width)
        y, down = f32(a.y + 4 * line * a.columns), row_share[i]
        up = ONE - down
        for j in range(a.columns):
            k, m, s = left[j], right[j], share[j]
            first = up * top[k] + down * low[k]
            second = up * top[m] + down * low[m]
            y[j] = first + s * (second - first)


@kernel("dy dx " + _GRID)
def interpolate_gradient(record: Any, part: int, parts: int) -> None:
    """Add the gradient of every place to those of the four values around it."""
    a = carray(record, 1)[0]
    row_at, row_next, row_share = i64(a.row_at), i64(a.row_next), f32(a.row_share)
    left, right, share = i64(a.column_at), i64(a.column_next), f32(a.column_share)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        plane = f32(a.dx + 4 * p * a.plane)
        for i in range(a.plane):
            plane[i] = ZERO
        start = a.dx + 4 * (p * a.plane + a.begin)
        for i in range(a.rows):
            top = f32(start + 4 * row_at[i] * a.width)
            low = f32(start + 4 * row_next[i] * a.width)
            dy = f32(a.dy + 4 * (p * a.rows + i) * a.columns)
            down = row_share[i]
            up = ONE - down
            for j in range(a.columns):
                k, m, s = left[j], right[j], share[j]
                behind = dy[j] * s
                before = dy[j] - behind
                top[k] += up * before
                top[m] += up * behind
                low[k] += down * before
                low[m] += down * behind


class Interp(LayerKernel[ops.Interp]):
    """Interpolate bilinearly, with corners on corners; see the portable kernel."""

    options = ("begin", "end")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the places and shares of rows and columns."""
        rows, columns = self.op.tops[0][2:]
        specs = {}
        for name, size in (("row", rows), ("column", columns)):
            specs[f"{name}_at"] = ArraySpec((size,), "int64", life="state")
            specs[f"{name}_next"] = ArraySpec((size,), "int64", life="state")
            specs[f"{name}_share"] = ArraySpec((size,), life="state")
        return specs

    def setup(self) -> None:
        """Fill them."""
        sizes = zip(("row", "column"), self.op.tops[0][2:], self.op.part, strict=True)
        for name, places, size in sizes:
            for place, (first, share) in enumerate(shares_of(places, size)):
                self.work[f"{name}_at"][place] = first
                self.work[f"{name}_next"][place] = first + (share > 0)
                self.work[f"{name}_share"][place] = share

    @property
    def _grid(self) -> dict[str, Any]:
        n, c, height, width = self.op.bottoms[0]
        rows, columns = self.op.tops[0][2:]
        return {
            "planes": n * c,
            "plane": height * width,
            "width": width,
            "begin": self.op.begin * (width + 1),
            "rows": rows,
            "columns": columns,
            "serial": few(count(self.op.tops[0])),
            **self.work,
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [interpolate(x=self.x, y=self.y, **self._grid)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [interpolate_gradient(dy=self.dy, dx=self.dx, **self._grid)]


@kernel("x y lines width down right")
def repeat(record: Any, part: int, parts: int) -> None:
    """Repeat every value of rows: `right` times, and the row `down` times.

    Fields: x (lines, width), y (lines, down, width right).
    """
    a = carray(record, 1)[0]
    wide = a.width * a.right
    for line in range(a.lines * part // parts, a.lines * (part + 1) // parts):
        x, first = f32(a.x + 4 * line * a.width), a.y + 4 * line * a.down * wide
        y = f32(first)
        if a.right == 2:
            for j in range(a.width):
                y[2 * j] = x[j]
                y[2 * j + 1] = x[j]
        else:
            for j in range(a.width):
                for k in range(j * a.right, (j + 1) * a.right):
                    y[k] = x[j]
        for i in range(1, a.down):
            copy(first + 4 * i * wide, first, wide)


@kernel("dy dx lines width down right")
def repeat_gradient(record: Any, part: int, parts: int) -> None:
    """Add the gradients of copies up; see `repeat`."""
    a = carray(record, 1)[0]
    wide = a.width * a.right
    for line in range(a.lines * part // parts, a.lines * (part + 1) // parts):
        dx = f32(a.dx + 4 * line * a.width)
        for j in range(a.width):
            dx[j] = ZERO
        for i in range(a.down):
            dy = f32(a.dy + 4 * (line * a.down + i) * wide)
            for j in range(a.width):
                total = dx[j]
                for k in range(j * a.right, (j + 1) * a.right):
                    total += dy[k]
                dx[j] = total


class Upsample(LayerKernel[ops.Upsample]):
    """Repeat every value; see the portable kernel, which has masks too."""

    options = ("masked", "scale")

    @classmethod
    def suits(cls, op: ops.Upsample) -> bool:
        """Whether values are repeated."""
        return not op.masked

    @property
    def _sizes(self) -> dict[str, Any]:
        x, (down, right) = self.op.bottoms[0], self.op.scale
        return {
            "lines": count(x, 0, 3),
            "width": x[3],
            "down": down,
            "right": right,
            "serial": few(count(self.op.tops[0])),
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [repeat(x=self.x, y=self.y, **self._sizes)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [repeat_gradient(dy=self.dy, dx=self.dx, **self._sizes)]


@kernel("x y images rows columns size")
def exchange(record: Any, part: int, parts: int) -> None:
    """Exchange the axes of a matrix of planes.

    Fields: x (images, rows, columns, size), y (images, columns, rows, size).
    """
    a = carray(record, 1)[0]
    planes = a.images * a.rows * a.columns
    for p in range(planes * part // parts, planes * (part + 1) // parts):
        i, rest = p // (a.rows * a.columns), p % (a.rows * a.columns)
        j, k = rest // a.rows, rest % a.rows
        source = (i * a.rows + k) * a.columns + j
        copy(a.y + 4 * p * a.size, a.x + 4 * source * a.size, a.size)


class ShuffleChannel(LayerKernel[channel_ops.ShuffleChannel]):
    """Mix groups of channels; see the portable kernel."""

    options = ("group",)

    def _call(self, x: Array, y: Array, rows: int, columns: int) -> Call:
        shape = self.op.bottoms[0]
        return exchange(
            x=x,
            y=y,
            images=shape[0],
            rows=rows,
            columns=columns,
            size=count(shape, 2),
            serial=few(x.size),
        )

    def forward_calls(self) -> list[Call]:
        """Copy x."""
        group = self.op.group
        return [self._call(self.x, self.y, group, self.op.bottoms[0][1] // group)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Copy dy back."""
        if self.dx is None:
            return []
        group = self.op.group
        return [self._call(self.dy, self.dx, self.op.bottoms[0][1] // group, group)]


class Axpy(LayerKernel[channel_ops.Axpy]):
    """Weigh every channel of every item, and add; see the portable kernel."""

    @property
    def _sizes(self) -> dict[str, Any]:
        x = self.op.bottoms[1]
        return {
            "outer": 1,
            "covered": count(x, 0, 2),
            "inner": count(x, 2),
            "serial": few(count(x)),
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        factor, x, added = self.bottoms
        y = self.y
        sizes = {"count": y.size, "serial": few(y.size)}
        return [
            broadcast(x=x, y=y, scale=factor, shift=0, floor=LOWEST, **self._sizes),
            add(a=y, b=added, c=0, d=0, y=y, ca=1, cb=1, floor=LOWEST, **sizes),
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        factor, x, _ = self.bottoms
        dfactor, dx, dadded = self.dbottoms
        calls = []
        if dfactor is not None or dx is not None:
            one = broadcast_gradient(
                x=x,
                dy=self.dy,
                dx=0 if dx is None else dx,
                scale=factor,
                dscale=0 if dfactor is None else dfactor,
                dshift=0,
                accumulate_scale=0,
                accumulate_shift=0,
                **self._sizes,
            )
            calls.append(one)
        return calls if dadded is None else [*calls, *copied(self.dy, dadded)]


def _bounded(x: Value, slope: Value, most: Value) -> Value:
    value = where(x < 0.0, where(slope == 0.0, 0.0, x * slope), x)
    return where(value > most, most, value)


def _bounded_gradient(y: Value, dy: Value, slope: Value, most: Value) -> Value:
    return where(y < most, where(y > 0.0, dy, dy * slope), 0.0)


bounded = map_kernel("bounded", _bounded, module=__name__)
bounded_gradient = map_kernel(
    "bounded_gradient", _bounded_gradient, inputs=2, output="dx", module=__name__
)


class ReLU6(LayerKernel[ReLU6Op]):
    """Keep what is between 0 and n; see the portable kernel."""

    options = ("negative_slope", "n")

    @property
    def _bounds(self) -> dict[str, Any]:
        size = self.y.size
        slope, most = self.op.negative_slope, self.op.n
        return {"count": size, "slope": slope, "most": most, "serial": few(size)}

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [bounded(x=self.x, y=self.y, **self._bounds)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [bounded_gradient(y=self.y, dy=self.dy, dx=self.dx, **self._bounds)]
