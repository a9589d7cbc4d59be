"""Correlations of few channels, from rows as they lie: calls of `kept_rows_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.direct import (
    OPERATIONS_A_CYCLE,
    WEIGHT_CYCLES,
    Direct,
)
from runtime.backends.cpu.correlation.kept_rows_code import (
    GROUP,
    MOST_GROUPS,
    PIECES,
    PLACE_BYTES,
    WIDTH,
    correlate_kept,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.sizes import round_up
from runtime.backends.cpu.machine.within import between, whole

MOST_DEPTH = 384  # terms of a sum: the weights of a tile stay in the L1 cache
KEPT_BYTES = 1 << 15  # of the rows that a panel sees, where it has a few tiles
MOST_BYTES = 1 << 17  # of those of the smallest panel
FEWEST_WIDTHS = 8  # tiles of positions of a panel, if rows of some fit
SHARES = 4  # panels for each of several threads, if there are tiles enough
SHARE = 1.06  # what the rest takes over the time of the multiplications: measured


@dataclass(frozen=True)
class KeptRows(Direct):
    """A correlation whose tiles read the rows of x that a panel keeps."""

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether vectors see few enough rows, and panels of all channels fit."""
        if PIECES == 1 and shape.positions[1] % LANES != 0:
            return False
        if len(shape.taps.index) == 1 or shape.depth > MOST_DEPTH:
            return False
        if shape.positions[1] < LANES or shape.rows <= GROUP * (MOST_GROUPS - 2):
            return False
        in_order = shape.steps_out == (1, 1) and shape.positions == shape.sizes_out
        return in_order and KeptRows(shape, 1).kept_bytes(WIDTH) <= MOST_BYTES

    @property
    def adds(self) -> bool:
        """Whether another blob can be added."""
        return False

    @property
    def cycles(self) -> float:
        """A guess of the time of y, in cycles."""
        shape = self.shape
        rows = shape.groups * round_up(shape.rows, GROUP)
        positions = round_up(count(shape.positions), WIDTH) * shape.images
        products = 2 * rows * shape.depth * positions / OPERATIONS_A_CYCLE * SHARE
        packing = 0.0 if self.constant_weights else WEIGHT_CYCLES * shape.weights
        return (products + packing) / self.threads

    @cached_property
    def panel_positions(self) -> int:
        """Positions of a panel: parts of an image of about one size, in whole tiles."""
        tiles = -(-count(self.shape.positions) // WIDTH)
        most = min(tiles, FEWEST_WIDTHS)
        while most > 1 and self.kept_bytes(most * WIDTH) > MOST_BYTES:
            most -= 1
        while most < tiles and self.kept_bytes((most + 1) * WIDTH) <= KEPT_BYTES:
            most += 1
        images = self.shape.images * self.shape.groups
        shares = SHARES * self.threads if self.threads > 1 else 1
        most = min(most, max(1, tiles * images // shares))
        return WIDTH * -(-tiles // -(-tiles // most))

    @cached_property
    def channel_block(self) -> int:
        """Channels kept at a time: all."""
        return self.shape.channels

    def _rows_of(self, positions: int) -> int:
        """Return the most rows of a channel that so many positions see."""
        height, width = self.shape.positions
        rows = self.shape.taps.rows
        span = int(rows.max()) - int(rows.min()) + 1
        lines = min(height, (positions + width - 2) // width + 1)
        return (lines - 1) * min(self.shape.steps[0], span) + span

    def kept_bytes(self, positions: int) -> int:
        """Return the most bytes of the rows that so many positions see."""
        shape = self.shape
        columns = shape.taps.columns
        span = int(columns.max()) - int(columns.min()) + 1
        step = shape.steps[1]
        row = min(step, span) * (shape.positions[1] + (span - 1) // step)
        return 4 * shape.channels * self._rows_of(positions) * row

    @cached_property
    def _forward_workspace(self) -> Mapping[str, int]:
        """A vector may be read from behind the kept rows."""
        offsets_at = 64
        places_at = offsets_at + round_up(8 * self.shape.depth, 64)
        places = PLACE_BYTES * (self.panel_positions // LANES)
        rows_at = places_at + round_up(places, 64) + VECTOR_BYTES
        end = rows_at + self.kept_bytes(self.panel_positions) + VECTOR_BYTES
        return {
            "other_at": offsets_at,
            "places_at": places_at,
            "panel_at": rows_at,
            "rows_at": rows_at,
            "workspace_bytes": round_up(end, 64),
        }

    def calls(
        self,
        work: Mapping[str, Array],
        weights: Weights,
        x: Array,
        y: Array,
        floor: float,
    ) -> list[Call]:
        """Return the calls of y = max(floor, bias + correlation)."""
        shape = self.shape
        panels = -(-count(shape.positions) // self.panel_positions)
        run: Any = correlate_kept(
            x=x,
            **self._packing,
            **self._forward_workspace,
            workspace=work["workspace"],
            y=whole(y),
            y_between=between(y),
            packed=work["weights"],
            packed_bias=work["biases"],
            rows=shape.rows,
            y_plane=count(shape.sizes_out),
            streams=self._streams(y),
            floor=floor,
            units=shape.images * shape.groups * panels,
        )
        return [self._pack(work, weights), run]
