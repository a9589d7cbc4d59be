"""Direct correlation: sizes of blocks, and the calls of `direct_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.direct_code import correlate
from runtime.backends.cpu.correlation.packing_weights import pack_weights
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, ROWS, TARGET, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import TILE
from runtime.backends.cpu.machine.sizes import round_up
from runtime.backends.cpu.machine.within import between, whole

PANEL_POSITIONS = 4 * TILE  # of a full panel
BLOCK_DEPTH = 384  # about as many k are packed at a time: a panel stays in the L2 cache
WAYS, WAY_BYTES = 8, 1 << 15  # of the second-level cache, or less
FEW_ROWS = 32  # which take no longer than packing what they see
STREAMED_BYTES = 1 << 24  # of y from which on no cache would hold it until it is read

# Of a thread, measured: multiplications and additions while it does nothing else, what
# packing the panels adds to them, and the cycles to pack a weight. Zen 4 takes vectors
# of 16 floats in halves.
OPERATIONS_A_CYCLE = 2 * LANES if TARGET[1] == "znver4" else 4 * LANES
PACKING_SHARE = 1.2
WEIGHT_CYCLES = 1.0


@dataclass(frozen=True)
class Direct:
    """A correlation as matrix products of packed panels.

    constant_weights: they are packed once, and not in every pass.
    """

    shape: Correlation
    threads: int
    constant_weights: bool = False
    skips: ClassVar[bool] = True  # other memory between images of y

    @property
    def adds(self) -> bool:
        """Whether another blob can be added: y is computed row by row."""
        shape = self.shape
        return shape.steps_out == (1, 1) and shape.positions == shape.sizes_out

    @property
    def cycles(self) -> float:
        """A guess of the time of y, in cycles."""
        shape = self.shape
        rows = shape.groups * round_up(shape.rows, ROWS)
        terms = rows * shape.depth * round_up(shape.all_positions, LANES)
        panels = 2 * terms / OPERATIONS_A_CYCLE * PACKING_SHARE
        packing = 0.0 if self.constant_weights else WEIGHT_CYCLES * self.shape.weights
        return (panels + packing) / self.threads

    @cached_property
    def panel_positions(self) -> int:
        """Positions of a panel: few enough that every thread has one."""
        positions = self.shape.all_positions
        panels = -(-positions // PANEL_POSITIONS)
        panels = round_up(panels, self.threads) if positions > TILE else panels
        return max(LANES, round_up(-(-positions // panels), LANES))

    @cached_property
    def channel_block(self) -> int:
        """Channels packed at a time; with several blocks, k is a multiple of ROWS."""
        taps, channels = len(self.shape.taps.index), self.shape.channels
        step = ROWS // int(np.gcd(taps, ROWS))
        if self.shape.depth <= BLOCK_DEPTH or channels <= step:
            return channels
        block = max(step, BLOCK_DEPTH // taps // step * step)
        blocks = -(-channels // block)
        return min(block, round_up(-(-channels // blocks), step))

    @cached_property
    def _packing(self) -> Mapping[str, Any]:
        """The arguments of packing."""
        shape = self.shape
        rows, columns = shape.taps.rows, shape.taps.columns
        first_row, first_column = int(rows.min()), int(columns.min())
        span = int(rows.max()) - first_row + 1
        column_span = int(columns.max()) - first_column + 1
        row_step, column_step = shape.steps
        pitch = min(row_step, span)
        phases = min(column_step, column_span)
        phase_length = shape.positions[1] + (column_span - 1) // column_step
        direct = (
            len(rows) == 1
            and shape.steps == (1, 1)
            and shape.positions == shape.sizes
            and first_row == first_column == 0
        )
        u, v = rows - first_row, columns - first_column
        line = u // row_step * pitch + u % row_step if span < row_step else u
        column = v % column_step * phase_length + v // column_step
        offsets = 4 * (line * phases * phase_length + column)
        return {
            "channels": shape.channels,
            "height": shape.sizes[0],
            "width": shape.sizes[1],
            "out_height": shape.positions[0],
            "out_width": shape.positions[1],
            "images": shape.images,
            "groups": shape.groups,
            "taps": len(rows),
            "tap_offsets": np.ascontiguousarray(0 * offsets if direct else offsets),
            "direct": direct,
            "row_step": row_step,
            "pitch": pitch,
            "span": span,
            "first_row": first_row,
            "column_step": column_step,
            "phases": phases,
            "phase_length": phase_length,
            "first_column": first_column,
            "panel_positions": self.panel_positions,
            "channel_block": self.channel_block,
        }

    def _kept_rows(self) -> int:
        """Return the most rows of a channel that a panel keeps."""
        if self._packing["direct"]:
            return 0
        height, width = self.shape.positions
        pitch, span = self._packing["pitch"], self._packing["span"]
        # Every image touched adds a span; rows of positions are cut at both ends.
        images = min(self.shape.images, self.panel_positions // (height * width) + 2)
        lines = min(images * height, -(-self.panel_positions // width) + 2 * images)
        return max(0, lines - images) * pitch + images * span

    def _workspace(self, other: int) -> dict[str, int]:
        """Lay out the workspace of a thread; `other`: elements at its end."""
        block_depth = self.channel_block * len(self.shape.taps.index)
        panel = round_up(block_depth, ROWS) * self.panel_positions
        row_length = self._packing["phases"] * self._packing["phase_length"]
        rows = self.channel_block * self._kept_rows() * row_length
        panel_at = 64
        rows_at = panel_at + round_up(4 * panel, 64)
        other_at = rows_at + round_up(4 * rows, 64)
        return {
            "panel_at": panel_at,
            "rows_at": rows_at,
            "other_at": other_at,
            "workspace_bytes": round_up(other_at + 4 * other, 64),
        }

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        rows = self.shape.groups * round_up(self.shape.rows, ROWS)
        workspace = self._forward_workspace["workspace_bytes"]
        return {
            "weights": 4 * rows * self.shape.depth,
            "biases": 4 * rows,
            "workspace": self.threads * workspace,
        }

    @cached_property
    def _forward_workspace(self) -> Mapping[str, int]:
        results = round_up(self.shape.rows, ROWS) * self.panel_positions
        return self._workspace(results + ROWS * TILE)

    @property
    def _reads_x(self) -> bool:
        """Whether the elements of x under a tap are rows of a panel where they lie.

        Those of all channels have to fit the cache beside each other: where the planes
        are a power of 2 apart, few do, but for few rows packing takes longer.
        """
        shape = self.shape
        if not self._packing["direct"]:
            return False
        step = 4 * count(shape.sizes)
        together = WAYS * (WAY_BYTES // int(np.gcd(step, WAY_BYTES)))
        return shape.rows <= FEW_ROWS or 2 * self.channel_block <= together

    def _streams(self, y: Array) -> bool:
        """Whether y is written past the caches: it is larger, and of whole vectors."""
        at = y.__array_interface__["data"][0]
        whole = at % VECTOR_BYTES == 0 and count(self.shape.sizes_out) % LANES == 0
        return y.nbytes >= STREAMED_BYTES and whole

    def _pack(self, work: Mapping[str, Array], weights: Weights) -> Call:
        """Return the call that packs the weights."""
        shape = self.shape
        taps = len(shape.taps.index)
        return pack_weights(
            constant=weights.constant,
            w=weights.data,
            bias=weights.bias,
            scale=weights.scale,
            packed=work["weights"],
            packed_bias=work["biases"],
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            taps=taps,
            tap_index=np.ascontiguousarray(shape.taps.index, np.int64),
            in_order=shape.channel_stride == taps
            and bool((shape.taps.index == np.arange(taps)).all()),
            group_stride=shape.group_stride,
            row_stride=shape.row_stride,
            channel_stride=shape.channel_stride,
        )

    def calls(
        self,
        work: Mapping[str, Array],
        weights: Weights,
        x: Array,
        y: Array,
        floor: float,
    ) -> list[Call]:
        """Return the calls of y = max(floor, bias + correlation + added)."""
        shape = self.shape
        panels = -(-shape.all_positions // self.panel_positions)
        enough = shape.groups * panels >= self.threads
        height, width = shape.sizes_out
        run = correlate(
            x=x,
            **self._packing,
            **self._forward_workspace,
            workspace=work["workspace"],
            y=whole(y),
            y_between=between(y),
            packed=work["weights"],
            packed_bias=work["biases"],
            rows=shape.rows,
            y_plane=height * width,
            y_row_step=shape.steps_out[0] * width,
            y_column_step=shape.steps_out[1],
            y_first=shape.first[0] * width + shape.first[1],
            units_by_rows=1 if enough else self.threads,
            reads_x=self._reads_x,
            added=weights.added,
            streams=self._streams(y),
            floor=floor,
            units=shape.groups * panels,
        )
        return [self._pack(work, weights), run]
