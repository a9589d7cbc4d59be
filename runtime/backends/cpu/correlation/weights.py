"""Gradients of weights as products over positions: calls of `weights_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation
from runtime.backends.cpu.correlation.direct import (
    OPERATIONS_A_CYCLE,
    PACKING_SHARE,
)
from runtime.backends.cpu.correlation.weights_code import (
    add_chunks,
    gather_planes,
    multiply_positions,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.sizes import few, round_up

LEFT_BLOCK = 256  # the most rows of a block of the factor that is read in place
RIGHT_BLOCK = 256  # and of the one that is transposed, LANES at a time
PANEL_POSITIONS = 192  # that are transposed at a time
UNITS = 16  # that share the work, where there are positions enough
CHUNK_POSITIONS = 512  # the least of a chunk


@dataclass(frozen=True)
class PositionProducts:
    """The gradient of the weights of a correlation, from x as it lies.

    Where taps lie outside of x, or a single one meets some of its elements only, a copy
    takes its place that has the padding, or those elements alone.
    """

    shape: Correlation
    threads: int

    @property
    def cycles(self) -> float:
        """A guess of the time, in the unit of `Direct.cycles`."""
        left, right = self._rows
        terms = self.shape.groups * round_up(left, ROWS) * round_up(right, LANES)
        terms *= self.shape.all_positions
        return 2 * terms / OPERATIONS_A_CYCLE * PACKING_SHARE / self.threads

    @cached_property
    def _copied(self) -> dict[str, int] | None:
        """How x is copied, if it is."""
        shape = self.shape
        (height, width), (row_step, column_step) = shape.sizes, shape.steps
        (down, across), taps = shape.positions, shape.taps
        top, left = int(taps.rows.min()), int(taps.columns.min())
        if len(taps.index) == 1:
            plain = shape.positions == shape.sizes and (top, left) == (0, 0)
            steps, sizes = shape.steps, shape.positions
        else:
            sizes = (
                (down - 1) * row_step + int(taps.rows.max()) - top + 1,
                (across - 1) * column_step + int(taps.columns.max()) - left + 1,
            )
            inside = min(top, left) >= 0
            inside = inside and top + sizes[0] <= height and left + sizes[1] <= width
            plain, steps = inside, (1, 1)
        if plain:
            return None
        return {
            "planes": shape.images * shape.groups * shape.channels,
            "height": height,
            "width": width,
            "row_step": steps[0],
            "column_step": steps[1],
            "first_row": top,
            "first_column": left,
            "out_height": sizes[0],
            "out_width": sizes[1],
        }

    @cached_property
    def _planes(self) -> tuple[tuple[int, int], tuple[int, int], np.ndarray]:
        """Sizes of the planes of x or of its copy, steps there, and offsets of taps."""
        shape, taps, copied = self.shape, self.shape.taps, self._copied
        if copied is None:
            rows, columns = taps.rows, taps.columns
            return shape.sizes, shape.steps, rows * shape.sizes[1] + columns
        rows, columns = taps.rows - taps.rows.min(), taps.columns - taps.columns.min()
        sizes = copied["out_height"], copied["out_width"]
        steps = (1, 1) if len(taps.index) == 1 else shape.steps
        return sizes, steps, rows * sizes[1] + columns

    @cached_property
    def _left_is_dy(self) -> bool:
        """Whether dy is read in place: x is the smaller one, and easy to transpose."""
        return len(self.shape.taps.index) == 1 and self.shape.rows > self.shape.channels

    @property
    def _rows(self) -> tuple[int, int]:
        """Rows of the factor that is read in place, and of the other one."""
        shape = self.shape
        if self._left_is_dy:
            return shape.rows, shape.channels
        return shape.depth, shape.rows

    @cached_property
    def _blocks(self) -> dict[str, int]:
        left, right = self._rows
        left_blocks, right_blocks = -(-left // LEFT_BLOCK), -(-right // RIGHT_BLOCK)
        left_block = round_up(-(-left // left_blocks), ROWS)
        right_block = round_up(-(-right // right_blocks), LANES)
        return {
            "left_blocks": -(-left // left_block),
            "left_block": left_block,
            "right_blocks": -(-right // right_block),
            "right_block": right_block,
        }

    @property
    def _units(self) -> int:
        """Products of blocks, each a sum over all positions."""
        blocks = self._blocks["left_blocks"] * self._blocks["right_blocks"]
        return self.shape.groups * blocks

    @cached_property
    def _chunk_positions(self) -> int:
        """Positions of a chunk; it must not depend on the threads."""
        positions = self.shape.all_positions
        chunks = -(-UNITS // self._units)
        chunks = max(1, min(chunks, positions // CHUNK_POSITIONS))
        return -(-positions // chunks)

    @property
    def _chunks(self) -> int:
        return -(-self.shape.all_positions // self._chunk_positions)

    def _workspace(self) -> dict[str, int]:
        left, right = self._blocks["left_block"], self._blocks["right_block"]
        panel_at = round_up(4 * left * right, 64)
        offsets_at = panel_at + 4 * right * (PANEL_POSITIONS + LANES)
        block_at = offsets_at + 8 * PANEL_POSITIONS
        end = block_at + max(LANES * VECTOR_BYTES, 4 * right)
        return {
            "panel_at": panel_at,
            "offsets_at": offsets_at,
            "block_at": block_at,
            "workspace_bytes": round_up(end, 64),
        }

    def weights_scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `weight_calls` need, by name."""
        shape, chunks = self.shape, self._chunks
        sizes = {
            "partial_bias": 4 * chunks * shape.groups * shape.rows,
            "workspace": self.threads * self._workspace()["workspace_bytes"],
        }
        if chunks > 1:
            sizes["partial"] = 4 * chunks * shape.weights
        if self._copied is not None:
            copied = self._copied
            plane = copied["out_height"] * copied["out_width"]
            sizes["copied"] = 4 * copied["planes"] * plane
        return sizes

    def _left(self) -> dict[str, Any]:
        """Return where the factor lies that is read in place."""
        shape = self.shape
        if self._left_is_dy:
            (height, width), steps = shape.positions, (1, 1)
            channels, offsets = shape.rows, np.zeros(1, np.int64)
        else:
            (height, width), steps, offsets = self._planes
            channels = shape.channels
        rows = (np.arange(channels)[:, None] * (height * width) + offsets).ravel()
        rows = np.pad(rows, (0, -len(rows) % ROWS), "edge")
        return {
            "rows": np.ascontiguousarray(4 * rows, np.int64),
            "left_image": 4 * shape.groups * channels * height * width,
            "left_group": 4 * channels * height * width,
            "left_step": 4 * steps[0] * width,
            "left_column_step": 4 * steps[1],
        }

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
        shape = self.shape
        in_parts = self._chunks > 1 and not isinstance(dw, int)
        calls = []
        if self._copied is not None:
            units = self._copied["planes"]
            calls.append(
                gather_planes(x=x, y=work["copied"], units=units, **self._copied)
            )
            x = work["copied"]
        left, right = (dy, x) if self._left_is_dy else (x, dy)
        calls.append(
            self._product(
                left,
                right,
                work["partial"] if in_parts else dw,
                0 if isinstance(dbias, int) else work["partial_bias"],
                accumulate[0] and not in_parts,
                work["workspace"],
            )
        )
        if in_parts:
            calls.append(self._add(work["partial"], dw, shape.depth, accumulate[0]))
        if not isinstance(dbias, int):
            calls.append(self._add(work["partial_bias"], dbias, 1, accumulate[1]))
        return calls

    def _product(
        self,
        left: Array,
        right: Array,
        out: Any,
        sums: Any,
        accumulate: bool,
        workspace: Array,
    ) -> Call:
        """Return the call of the products; 0 for one unwanted."""
        shape = self.shape
        left_rows, right_rows = self._rows
        return multiply_positions(
            left=left,
            right=right,
            **self._left(),
            left_rows=left_rows,
            right_rows=right_rows,
            images=shape.images,
            groups=shape.groups,
            out_height=shape.positions[0],
            out_width=shape.positions[1],
            **self._blocks,
            chunks=self._chunks,
            chunk_positions=self._chunk_positions,
            panel_positions=PANEL_POSITIONS,
            out=out,
            out_left=right_rows if self._left_is_dy else 1,
            out_right=1 if self._left_is_dy else left_rows,
            accumulate=accumulate,
            sums=sums,
            sums_of_left=self._left_is_dy,
            workspace=workspace,
            units=self._units * self._chunks,
            **self._workspace(),
        )

    def _add(self, x: Array, y: Array, depth: int, accumulate: bool) -> Call:
        groups, size = self.shape.groups, self.shape.rows * depth
        return add_chunks(
            x=x,
            y=y,
            groups=groups,
            chunks=self._chunks,
            size=size,
            accumulate=accumulate,
            serial=few(self._chunks * groups * size),
        )
