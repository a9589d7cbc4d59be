"""Depthwise correlation: every channel by itself, without sums over channels.

A thread copies a plane of x with its padding into its workspace, in rows of one length.
Then every tap sees, for neighbouring output positions, neighbouring elements, and
positions are treated in runs of vectors that pass over the ends of rows. What they
compute between two rows is left out where the results are put into y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.depthwise_scatter import (
    has_scatter_kernel,
    scatter,
)
from runtime.backends.cpu.correlation.depthwise_weights import (
    has_gradient_kernel,
    weight_gradients,
)
from runtime.backends.cpu.correlation.depthwise_windows import correlate, has_kernel
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.planes import keep_plane
from runtime.backends.cpu.machine.simd import copy, f32, f64, i64
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.cpu.machine.sliding import RUN, dot, weighted

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
RUN_FLOATS = RUN * LANES

# The fields that both kernels read of a record. What ends in _at, _bytes or _offsets is
# in bytes, sizes are in elements.
#
#   x: (images, channels, height, width)
#   out_height, out_width: of a plane of y
#   row_stride, column_stride: elements of x from one position to the next
#   row_pad, column_pad: rows and columns before x that taps see; below 0 for none
#   kept_height, kept_width: of a part of a kept plane, of which there are
#       row_stride * column_stride; a thread keeps one plane at a time
#   position_rows: rows of positions; each is kept_width long
#   tap_offsets: int64, bytes from a position to the tap, in the kept plane
#   tap_index: int64, which weight of a window a tap takes
#   window: weights of a channel
#   workspace, workspace_bytes: that of all threads, and the bytes of each
#   results_at: where a thread's workspace has the results or dy, a row of positions
#       after the other
#   other_at: where it has the weights of a channel, or the sums of their gradients
#   padding: the value beyond the image
PLANES = (
    "x images channels height width out_height out_width row_stride column_stride "
    "row_pad column_pad kept_height kept_width position_rows tap_offsets tap_index "
    "window workspace workspace_bytes results_at other_at "
)


@kernel(
    PLANES + "y w bias scale residues tap_starts firsts out_row_step out_column_step",
    "floor padding",
)
def depthwise(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = max(floor, bias + the correlation of every plane with its weights).

    The positions of y have `residues` kinds, each with taps of its own.

    Fields, beside those of `PLANES`:
        y: (images, channels, out_height, out_width).
        w: (channels, window).
        bias, scale: (channels,), or 0 for none; scale multiplies the weights.
        residues: kinds of positions.
        tap_starts: int64 (residues + 1,), the number of the first tap of a kind.
        firsts: int64 (residues, 2), row and column of the first position of a kind.
        out_row_step, out_column_step: elements of y from a position to the next one of
            its kind.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    floor = np.float32(a.floor)
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    kept = a.workspace + thread * a.workspace_bytes
    results, at_weights = kept + a.results_at, kept + a.other_at
    weights, index, starts = f32(at_weights), i64(a.tap_index), i64(a.tap_starts)
    positions, planes = a.position_rows * a.kept_width, a.images * a.channels
    for p in range(planes * part // parts, planes * (part + 1) // parts):
        channel = p % a.channels
        w = f32(a.w + 4 * channel * a.window)
        factor = f32(a.scale)[channel] if a.scale != 0 else ONE
        bias = f32(a.bias)[channel] if a.bias != 0 else ZERO
        for t in range(starts[a.residues]):
            weights[t] = w[index[t]] * factor
        keep_plane(a, a.x + 4 * p * plane, kept, a.kept_height, a.kept_width)
        for r in range(a.residues):
            first = starts[r]
            for q in range(0, positions, RUN_FLOATS):
                weighted(
                    kept + 4 * q,
                    a.tap_offsets + 8 * first,
                    at_weights + 4 * first,
                    starts[r + 1] - first,
                    bias,
                    floor,
                    results + 4 * q,
                )
            _put(a, r, results, a.y + 4 * p * out_plane)


@helper
def _put(a: Any, residue: int, results: int, y: int) -> None:
    """Copy the results of one kind of positions into a plane of y."""
    row = i64(a.firsts)[2 * residue]
    column = i64(a.firsts)[2 * residue + 1]
    while row < a.out_height:
        if a.out_column_step == 1:
            copy(y + 4 * row * a.out_width, results, a.out_width)
        else:
            target, values = f32(y + 4 * (row * a.out_width + column)), f32(results)
            for j in range(
                (a.out_width - column + a.out_column_step - 1) // a.out_column_step
            ):
                target[j * a.out_column_step] = values[j]
        row += a.out_row_step
        results += 4 * a.kept_width


@kernel(
    PLANES + "dy dw dbias taps accumulate accumulate_bias",
    "padding",
)
def depthwise_weights(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the gradients of the weights and the biases.

    Fields, beside those of `PLANES`:
        dy: (images, channels, out_height, out_width).
        dw: (channels, window), or 0 where it is not wanted.
        dbias: (channels,), or 0 where it is not wanted.
        taps: of a channel.
        accumulate, accumulate_bias: 1 where dw, dbias are added to, not stored.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    kept = a.workspace + thread * a.workspace_bytes
    spread, totals = kept + a.results_at, f64(kept + a.other_at)
    offsets, index = i64(a.tap_offsets), i64(a.tap_index)
    runs = (a.position_rows * a.kept_width + RUN_FLOATS - 1) // RUN_FLOATS
    values, behind = f32(spread), f32(kept)
    kept_floats = a.row_stride * a.column_stride * a.kept_height * a.kept_width
    for i in range(runs * RUN_FLOATS):
        values[i] = ZERO
    for i in range(kept_floats, a.results_at // 4):
        behind[i] = ZERO
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        for t in range(a.taps):
            totals[t] = 0.0
        of_bias = 0.0
        for n in range(a.images):
            p = n * a.channels + c
            for i in range(a.out_height):
                row = a.dy + 4 * (p * out_plane + i * a.out_width)
                copy(spread + 4 * i * a.kept_width, row, a.out_width)
            if a.dbias != 0:
                sums = ZERO
                for i in range(runs * RUN_FLOATS):
                    sums += values[i]
                of_bias += sums
            if a.dw != 0:
                keep_plane(a, a.x + 4 * p * plane, kept, a.kept_height, a.kept_width)
                for t in range(a.taps):
                    totals[t] += dot(spread, kept + offsets[t], runs)
        if a.dw != 0:
            dw = f32(a.dw + 4 * c * a.window)
            for t in range(a.taps):
                before = dw[index[t]] if a.accumulate != 0 else ZERO
                dw[index[t]] = before + np.float32(totals[t])
        if a.dbias != 0:
            before = f32(a.dbias)[c] if a.accumulate_bias != 0 else ZERO
            f32(a.dbias)[c] = before + np.float32(of_bias)


@dataclass(frozen=True)
class Depthwise:
    """Correlations from one x to different positions of one y, plane by plane."""

    shapes: tuple[Correlation, ...]
    threads: int
    adds: ClassVar[bool] = False  # another blob, see `Weights`
    skips: ClassVar[bool] = False  # other memory between images of y

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether every channel is computed from one channel."""
        return shape.channels == shape.rows == 1

    @cached_property
    def _position_sizes(self) -> tuple[int, int]:
        heights, widths = zip(*(shape.positions for shape in self.shapes), strict=True)
        return max(heights), max(widths)

    @cached_property
    def _taps(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows and columns of the taps of all shapes."""
        taps = [shape.taps for shape in self.shapes]
        return (
            np.concatenate([one.rows for one in taps]),
            np.concatenate([one.columns for one in taps]),
        )

    @cached_property
    def _kept_sizes(self) -> tuple[int, int]:
        """Rows and columns of a part of a kept plane."""
        height, width = (
            positions + int(taps.max() - taps.min()) // step
            for positions, taps, step in zip(
                self._position_sizes, self._taps, self.shapes[0].steps, strict=True
            )
        )
        return height, width

    def _planes(self) -> dict[str, Any]:
        shape = self.shapes[0]
        (rows, columns), (row_step, column_step) = self._taps, shape.steps
        kept_height, kept_width = self._kept_sizes
        u, v = rows - rows.min(), columns - columns.min()
        part = u % row_step * column_step + v % column_step
        line = part * kept_height + u // row_step
        index = np.concatenate([one.taps.index for one in self.shapes])
        return {
            "images": shape.images,
            "channels": shape.groups,
            "height": shape.sizes[0],
            "width": shape.sizes[1],
            "out_height": shape.sizes_out[0],
            "out_width": shape.sizes_out[1],
            "row_stride": row_step,
            "column_stride": column_step,
            "row_pad": -int(rows.min()),
            "column_pad": -int(columns.min()),
            "kept_height": kept_height,
            "kept_width": kept_width,
            "position_rows": self._position_sizes[0],
            "tap_offsets": (4 * (line * kept_width + v // column_step)).astype(
                np.int64
            ),
            "tap_index": index.astype(np.int64),
            "window": shape.group_stride,
            "padding": 0.0,
            "workspace_bytes": self._workspace_bytes(),
            "results_at": self._results_at(),
            "other_at": self._other_at(),
            "serial": few(shape.images * shape.groups * count(shape.sizes)),
        }

    def _results_at(self) -> int:
        height, width = self._kept_sizes
        parts = count(self.shapes[0].steps)
        return round_up(4 * (parts * height * width + width + RUN_FLOATS), 64)

    def _other_at(self) -> int:
        positions = self._position_sizes[0] * self._kept_sizes[1]
        return self._results_at() + 4 * round_up(positions, RUN_FLOATS)

    def _workspace_bytes(self) -> int:
        return self._other_at() + round_up(8 * len(self._taps[0]), 64)

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        if has_kernel(self.shapes) or has_scatter_kernel(self.shapes):
            return {}
        return {"workspace": self.threads * self._workspace_bytes()}

    def calls(
        self,
        work: Mapping[str, Array],
        weights: Weights,
        x: Array,
        y: Array,
        floor: float,
    ) -> list[Call]:
        """Return the calls of y = max(floor, bias + correlation)."""
        if has_kernel(self.shapes):
            (shape,) = self.shapes
            return [correlate(shape, weights, x, y, floor)]
        if has_scatter_kernel(self.shapes):
            return [scatter(self.shapes, weights, x, y, floor)]
        numbers = [len(shape.taps.index) for shape in self.shapes]
        row_step, column_step = self.shapes[0].steps_out
        return [
            depthwise(
                x=x,
                y=y,
                w=weights.data,
                bias=weights.bias,
                scale=weights.scale,
                residues=len(self.shapes),
                tap_starts=np.concatenate([[0], np.cumsum(numbers)]).astype(np.int64),
                firsts=np.array([shape.first for shape in self.shapes], np.int64),
                out_row_step=row_step,
                out_column_step=column_step,
                floor=floor,
                workspace=work["workspace"],
                **self._planes(),
            )
        ]

    def weights_scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `weight_calls` need, by name."""
        if has_gradient_kernel(self.shapes[0]):
            return {}
        return {"workspace": self.threads * self._workspace_bytes()}

    def weight_calls(
        self,
        work: Mapping[str, Array],
        x: Array,
        dy: Array,
        dw: Any,
        dbias: Any,
        accumulate: tuple[bool, bool],
    ) -> list[Call]:
        """Return the calls of the gradients of weights and bias; 0 for one unwanted."""
        if has_gradient_kernel(self.shapes[0]):
            return [weight_gradients(self.shapes[0], x, dy, dw, dbias, accumulate)]
        return [
            depthwise_weights(
                x=x,
                dy=dy,
                dw=dw,
                dbias=dbias,
                taps=len(self._taps[0]),
                accumulate=accumulate[0],
                accumulate_bias=accumulate[1],
                workspace=work["workspace"],
                **self._planes(),
            )
        ]
