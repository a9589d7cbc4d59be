"""Gradients of few weights, a lane for every position: calls of `weights_dots_code`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation
from runtime.backends.cpu.correlation.direct import OPERATIONS_A_CYCLE
from runtime.backends.cpu.correlation.dots_tiles import (
    LEFTS,
    PIECES,
    PLACE_BYTES,
    RIGHTS,
)
from runtime.backends.cpu.correlation.weights import PositionProducts
from runtime.backends.cpu.correlation.weights_dots_code import dot_positions
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.sizes import round_up

# Vectors in the workspace: they stay in the L1 cache, or nearly, beside packed rows; in
# the second one, where x is read as it lies.
MOST_SUMS, MOST_IN_PLACE = 1024, 4096
MOST_POSITIONS = 640  # of a panel
TOGETHER = 1280  # of a panel of several images
# Measured: cycles to pack an element of whole vectors, of every second one in rows of
# vectors, and of others; what the rest takes over the time of its multiplications, and
# `PositionProducts` over its guess.
PACKED_CYCLES, EVEN_CYCLES, SINGLE_CYCLES = 0.35, 0.7, 3.5
SHARE, PRODUCTS_SHARE = 1.2, 1.3
TWO_ROWS_SHARE = 1.6  # SHARE where vectors of x are read from two of its rows


@dataclass(frozen=True)
class PositionDots(PositionProducts):
    """The gradient of few weights, with x packed as rows of positions."""

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether the sums are few enough."""
        dots = PositionDots(shape, 1)
        most = MOST_IN_PLACE if dots.in_place else MOST_SUMS
        return _sums(shape.rows, shape.depth) <= most

    @property
    def cycles(self) -> float:
        """A guess of the time, in the unit of `PositionProducts.cycles`."""
        shape = self.shape
        step, width = self._planes[1][1], shape.positions[1]
        packed = SINGLE_CYCLES
        if self.in_place:
            packed = 0.0
        elif step == 1:
            packed = PACKED_CYCLES * round_up(width, LANES) / width
        elif step == 2 and width >= LANES:
            packed = EVEN_CYCLES
        terms = 2 * _sums(shape.rows, shape.depth) / OPERATIONS_A_CYCLE
        two_rows = self.in_place and width % LANES != 0
        share = TWO_ROWS_SHARE if two_rows else SHARE
        of_position = share * terms + shape.depth * packed
        cycles = shape.groups * shape.all_positions * of_position
        return cycles / PRODUCTS_SHARE / self.threads

    @cached_property
    def _left_is_dy(self) -> bool:
        return False

    @property
    def _units(self) -> int:
        return self.shape.groups

    @property
    def in_place(self) -> bool:
        """Whether x is read as it lies: vectors lie in two of its rows at most."""
        width = self.shape.positions[1]
        if self._planes[1][1] != 1:
            return False
        return width % LANES == 0 or (PIECES > 1 and width >= LANES)

    @property
    def _panel_positions(self) -> int:
        """Positions that are packed at a time: parts of an image of about one size."""
        height, width = self.shape.positions
        panels = -(-height * width // MOST_POSITIONS)
        return round_up(-(-height * width // panels), LANES)

    @property
    def _together(self) -> int:
        """Images that are one panel, where they are small and of whole vectors."""
        plane = count(self.shape.positions)
        if not self.in_place or plane % LANES or self._panel_positions != plane:
            return 1
        return max(1, TOGETHER // plane)

    @cached_property
    def _chunk_positions(self) -> int:
        """Positions of a chunk: whole images where these are small."""
        usual, plane = super()._chunk_positions, count(self.shape.positions)
        return round_up(usual, LANES if plane > TOGETHER else plane)

    def _workspace(self) -> dict[str, int]:
        shape, positions = self.shape, self._panel_positions
        places_at = VECTOR_BYTES * (_sums(shape.rows, shape.depth) + shape.rows)
        places_at += VECTOR_BYTES * LANES  # sums are read so many at a time
        panel_at = round_up(
            places_at + PLACE_BYTES * (self._together * positions // LANES), 64
        )
        packed = 0 if self.in_place else round_up(shape.depth, LEFTS)
        right_at = panel_at + 4 * packed * positions
        end = right_at + 4 * shape.rows * positions
        return {
            "panel_at": panel_at,
            "right_at": right_at,
            "places_at": places_at,
            "workspace_bytes": round_up(end, 64),
        }

    def _product(
        self,
        left: Array,
        right: Array,
        out: Any,
        sums: Any,
        accumulate: bool,
        workspace: Array,
    ) -> Call:
        shape = self.shape
        return dot_positions(
            left=left,
            right=right,
            **self._left(),
            left_rows=shape.depth,
            right_rows=shape.rows,
            images=shape.images,
            groups=shape.groups,
            out_height=shape.positions[0],
            out_width=shape.positions[1],
            chunks=self._chunks,
            chunk_positions=self._chunk_positions,
            panel_positions=self._panel_positions,
            out=out,
            accumulate=accumulate,
            sums=sums,
            workspace=workspace,
            in_place=self.in_place,
            together=self._together,
            units=shape.groups * self._chunks,
            **self._workspace(),
        )


def _sums(rows: int, depth: int) -> int:
    """Return how many vectors are summed for a group."""
    return round_up(rows, RIGHTS) * round_up(depth, LEFTS)
