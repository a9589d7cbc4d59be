"""Correlations by `runtime.backends.cpu.winograd`: where they pay, and the calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.backends.cpu.compiled import Call
from runtime.backends.cpu.geometry import Correlation
from runtime.backends.cpu.kernel import round_up
from runtime.backends.cpu.matrix import TILE
from runtime.backends.cpu.simd import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.transforms import RESULTS
from runtime.backends.cpu.winograd import (
    ELEMENTS,
    PITCH,
    ROWS_AT_ONCE,
    add_winograd_weights,
    transform_weights,
    winograd,
    winograd_weights,
)
from runtime.layers.base import Array

CHUNKS = 4  # gradients of small weights are summed in so many parts
SMALL_WEIGHTS = 1 << 15  # elements; transformed ones are 4 times as many
CHANNEL_BLOCK = 64  # channels of V at a time, for the gradient of the weights

# Cycles of a thread, measured: to transform a vector of tiles of one channel, data or
# gradient; and a float moved to or from memory.
TRANSFORM_CYCLES = 250
MOVE_CYCLES = 0.8


def suits(shape: Correlation) -> bool:
    """Whether a correlation has the form that the transforms are made for."""
    kernel = round(len(shape.taps.index) ** 0.5)
    if kernel not in RESULTS or kernel**2 != len(shape.taps.index):
        return False
    i, j = np.divmod(np.arange(kernel**2), kernel)
    rows, columns = shape.taps.rows, shape.taps.columns
    return (
        shape.steps == shape.steps_out == (1, 1)
        and shape.places == shape.sizes_out
        and bool((rows == rows[0] + i).all() and (columns == columns[0] + j).all())
    )


@dataclass(frozen=True)
class Tiled:
    """A correlation by transformed tiles."""

    shape: Correlation
    threads: int

    @property
    def kernel(self) -> int:
        """The size of the kernel."""
        return round(len(self.shape.taps.index) ** 0.5)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles down and across."""
        results = RESULTS[self.kernel]
        height, width = self.shape.places
        return -(-height // results), -(-width // results)

    @property
    def all_tiles(self) -> int:
        """Tiles of all images."""
        return self.shape.images * self.tiles[0] * self.tiles[1]

    def _products(self) -> float:
        shape = self.shape
        terms = shape.groups * shape.rows * shape.channels * ELEMENTS
        return 2 * terms * round_up(self.all_tiles, LANES) / 64

    def _transforms(self) -> float:
        down, across = self.tiles
        vectors = self.shape.images * down * -(-across // LANES)
        return vectors * self.shape.groups * TRANSFORM_CYCLES

    @property
    def seconds(self) -> float:
        """A guess of the time, in the unit of `Direct.seconds`."""
        shape = self.shape
        moved = 2 * ELEMENTS * shape.groups * shape.rows * shape.channels * MOVE_CYCLES
        transforms = self._transforms() * (shape.channels + shape.rows)
        return (self._products() + transforms + moved) / self.threads

    def _shared(self) -> dict[str, Any]:
        shape = self.shape
        down, across = self.tiles
        return {
            "images": shape.images,
            "groups": shape.groups,
            "channels": shape.channels,
            "height": shape.sizes[0],
            "width": shape.sizes[1],
            "tiles_down": down,
            "tiles_across": across,
            "kernel": self.kernel,
            "results": RESULTS[self.kernel],
            "top": int(shape.taps.rows[0]),
            "left": int(shape.taps.columns[0]),
            "out_height": shape.sizes_out[0],
            "out_width": shape.sizes_out[1],
        }

    def _rows_bytes(self) -> int:
        """Return the bytes of a row of tiles and of the rows it is made of."""
        results = RESULTS[self.kernel]
        return 7 * results * (TILE // LANES + 1) * VECTOR_BYTES

    def _forward_workspace(self) -> dict[str, int]:
        results = RESULTS[self.kernel]
        rows_at = 64
        data_at = rows_at + self._rows_bytes()
        data = ELEMENTS * self.shape.channels * PITCH + LANES
        products_at = data_at + 4 * data
        results_at = products_at + 4 * ELEMENTS * ROWS_AT_ONCE * TILE
        return {
            "rows_at": rows_at,
            "data_at": data_at,
            "products_at": products_at,
            "results_at": results_at,
            "workspace_bytes": round_up(results_at + results**2 * VECTOR_BYTES, 64),
        }

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        shape = self.shape
        rows = shape.groups * round_up(shape.rows, LANES)
        return {
            "weights": 4 * ELEMENTS * rows * shape.channels,
            "workspace": self.threads * self._forward_workspace()["workspace_bytes"],
        }

    def calls(
        self,
        work: Mapping[str, Array],
        w: Array,
        bias: Any,
        x: Array,
        y: Array,
        floor: float,
    ) -> list[Call]:
        """Return the calls of y = max(floor, bias + correlation)."""
        shape, space = self.shape, self._forward_workspace()
        weights = transform_weights(
            w=w,
            transformed=work["weights"],
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            kernel=self.kernel,
            tap_index=np.ascontiguousarray(shape.taps.index, np.int64),
            group_stride=shape.group_stride,
            row_stride=shape.row_stride,
            channel_stride=shape.channel_stride,
            workspace=work["workspace"],
            workspace_bytes=space["workspace_bytes"],
        )
        panels = -(-self.all_tiles // TILE)
        enough = shape.groups * panels >= self.threads
        run = winograd(
            x=x,
            y=y,
            transformed=work["weights"],
            bias=bias,
            rows=shape.rows,
            row_shares=1 if enough else self.threads,
            workspace=work["workspace"],
            floor=floor,
            **self._shared(),
            **space,
        )
        return [weights, run]

    # ------------------------------------------------------------ gradient of weights

    @property
    def weights_seconds(self) -> float:
        """A guess of the time of `weight_calls`."""
        shape = self.shape
        panels = -(-self.all_tiles // TILE)
        moved = ELEMENTS * shape.groups * shape.rows * shape.channels
        transforms = self._transforms() * (shape.channels + 1.5 * shape.rows)
        moves = moved * MOVE_CYCLES * (2 + panels / 4)
        return (self._products() + transforms + moves) / self.threads

    def _weights_workspace(self) -> dict[str, int]:
        channels = min(CHANNEL_BLOCK, round_up(self.shape.channels, ROWS))
        rows_at = 64
        data_at = rows_at + self._rows_bytes()
        data = (ELEMENTS * channels + ROWS) * PITCH + LANES
        turned_at = data_at + 4 * data
        turned = (ELEMENTS * TILE + LANES) * round_up(self.shape.rows, LANES)
        gradient_at = turned_at + 4 * turned
        gradient = ELEMENTS * LANES * PITCH + LANES
        return {
            "rows_at": rows_at,
            "data_at": data_at,
            "turned_at": turned_at,
            "gradient_at": gradient_at,
            "workspace_bytes": round_up(gradient_at + 4 * gradient, 64),
        }

    def _chunk_tiles(self) -> int:
        """Return the tiles of a chunk; it must not depend on the threads."""
        chunks = CHUNKS if self.shape.weights <= SMALL_WEIGHTS * 9 else 1
        return max(1, -(-self.all_tiles // chunks))

    def _chunks(self) -> int:
        return -(-self.all_tiles // self._chunk_tiles())

    def weights_scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `weight_calls` need, by name."""
        shape = self.shape
        width = round_up(shape.rows, LANES)
        parts = 4 * shape.groups * self._chunks() * width
        return {
            "partial": parts * ELEMENTS * round_up(shape.channels, ROWS),
            "partial_bias": parts,
            "workspace": self.threads * self._weights_workspace()["workspace_bytes"],
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
        shape, chunks = self.shape, self._chunks()
        enough = shape.groups * chunks >= self.threads
        blocks = -(-shape.channels // ROWS)
        space = self._weights_workspace()
        products = winograd_weights(
            x=x,
            dy=dy,
            rows=shape.rows,
            partial=work["partial"],
            partial_bias=work["partial_bias"],
            chunks=chunks,
            chunk_tiles=self._chunk_tiles(),
            channel_shares=1 if enough else min(blocks, self.threads),
            channel_block=CHANNEL_BLOCK,
            workspace=work["workspace"],
            **self._shared(),
            **space,
        )
        add = add_winograd_weights(
            partial=work["partial"],
            partial_bias=work["partial_bias"],
            dw=dw,
            dbias=dbias,
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            kernel=self.kernel,
            chunks=chunks,
            accumulate=accumulate[0],
            accumulate_bias=accumulate[1],
            workspace=work["workspace"],
            workspace_bytes=space["workspace_bytes"],
        )
        return [products, add]
