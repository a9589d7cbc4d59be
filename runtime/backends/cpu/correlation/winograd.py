"""Correlation by Winograd's transforms: where it pays, calls of `winograd_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.direct import OPERATIONS_A_CYCLE
from runtime.backends.cpu.correlation.winograd_code import (
    add_winograd_weights,
    transform_weights,
    winograd,
    winograd_weights,
)
from runtime.backends.cpu.correlation.winograd_strips import ZEROS_BYTES, element_step
from runtime.backends.cpu.correlation.winograd_transforms import (
    POINTS,
    RESULTS,
    tile_size,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import TILE
from runtime.backends.cpu.machine.sizes import round_up

CHUNKS = 4  # gradients of small weights are summed in so many parts
SMALL_WEIGHTS = 1 << 18  # elements
CHANNEL_BLOCK = 4 * LANES  # channels at a time, for the gradient of the weights
STRIP_BYTES = 1 << 15  # of the rows of a strip, LANES channels of them: in the L1 cache
PANEL_TILES = 64  # the most tiles of a panel, if a row of tiles has no more

# Cycles of a thread, measured: to transpose and transform a tile of LANES channels, to
# make a transformed weight, to read it for one panel, to read first what another thread
# has made, and to transform the gradient of a weight back.
TRANSFORM_CYCLES = 4.5  # for every element
WEIGHT_CYCLES = 1.3
READ_CYCLES = 0.3
FOREIGN_CYCLES = 3.7
GRADIENT_CYCLES = 1.5
TERMS_TO_START = 8  # a product takes as long as one of so many more terms

_ZEROS = np.zeros(LANES, np.float32)


# What layers of equal sizes, and the plans of a net, have in common.
_OFFSETS: WeakValueDictionary[Any, np.ndarray] = WeakValueDictionary()


@dataclass(frozen=True)
class Winograd:
    """A correlation by transformed tiles.

    constant_weights: they are transformed once, and not in every pass. row_shares: into
    how many shares the rows of y are divided, beside the panels; then every share
    transforms all of the data, and a thread reads the weights of its rows only, which
    it has transformed itself.
    """

    shape: Correlation
    threads: int
    constant_weights: bool = False
    row_shares: int = 1

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether a correlation has the form that the transforms are made for."""
        kernel = round(len(shape.taps.index) ** 0.5)
        if kernel not in POINTS or kernel**2 != len(shape.taps.index):
            return False
        i, j = np.divmod(np.arange(kernel**2), kernel)
        rows, columns = shape.taps.rows, shape.taps.columns
        return (
            shape.steps == shape.steps_out == (1, 1)
            and shape.positions == shape.sizes_out
            and bool((rows == rows[0] + i).all() and (columns == columns[0] + j).all())
        )

    @cached_property
    def kernel(self) -> int:
        """The size of the kernel."""
        return round(len(self.shape.taps.index) ** 0.5)

    @property
    def elements(self) -> int:
        """The elements of a transformed tile."""
        return tile_size(self.kernel) ** 2

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Tiles down and across."""
        height, width = self.shape.positions
        return -(-height // RESULTS), -(-width // RESULTS)

    @cached_property
    def strip_rows(self) -> int:
        """Rows of tiles in a strip: its rows stay in the cache."""
        width = max(self.shape.sizes[1], self.shape.sizes_out[1])
        lines = STRIP_BYTES // (VECTOR_BYTES * width)
        down, across = self.tiles
        most = max(1, (lines - self.kernel) // RESULTS)
        most = min(down, most, max(1, PANEL_TILES // across))
        return -(-down // -(-down // most))  # of about equal height

    @property
    def strips(self) -> int:
        """Strips of an image."""
        return -(-self.tiles[0] // self.strip_rows)

    @cached_property
    def panel_strips(self) -> int:
        """Strips of a panel: few enough that every thread has one."""
        strips = self.shape.images * self.strips
        most = max(1, PANEL_TILES // (self.strip_rows * self.tiles[1]))
        return max(1, min(most, strips * self.row_shares // self.threads))

    @property
    def panel_tiles(self) -> int:
        """The most tiles of a panel, rounded up."""
        return round_up(self.panel_strips * self.strip_rows * self.tiles[1], ROWS)

    def _panels(self) -> int:
        return -(-self.shape.images * self.strips // self.panel_strips)

    # ------------------------------------------------------------ time

    def _products(self, channels: int) -> float:
        shape = self.shape
        terms = shape.groups * round_up(shape.rows, LANES) * channels
        tiles = self._panels() * self.panel_tiles
        return 2 * terms * self.elements * tiles / OPERATIONS_A_CYCLE

    def _transforms(self, channels: int) -> float:
        tiles = self.shape.images * self.tiles[0] * self.tiles[1]
        vectors = self.shape.groups * -(-channels // LANES)
        return tiles * vectors * self.elements * TRANSFORM_CYCLES

    @property
    def _transformed_weights(self) -> int:
        return self.elements * self.shape.groups * self.shape.rows * self.shape.channels

    @property
    def cycles(self) -> float:
        """A guess of the time of y, in the unit of `Direct.cycles`."""
        shape, shares = self.shape, self.row_shares
        width = round_up(shape.rows, LANES)
        largest_share = min(width, round_up(-(-width // shares), TILE))
        products = self._products(shape.channels + TERMS_TO_START)
        data, rows = self._transforms(shape.channels), self._transforms(shape.rows)
        for_weight = self._panels() * READ_CYCLES
        if not self.constant_weights:
            foreign = self.threads - 1 if shares == 1 else 0
            for_weight += WEIGHT_CYCLES + FOREIGN_CYCLES * foreign
        weights = self._transformed_weights * for_weight
        of_rows = (products + rows) * largest_share * shares / width
        units = shape.groups * self._panels() * shares
        return (of_rows + data * shares + weights) / min(self.threads, units)

    def best_shared(self) -> Winograd:
        """Return this algorithm with the best number of shares of rows."""
        most = min(-(-self.shape.rows // TILE), self.threads)
        choices = [replace(self, row_shares=shares) for shares in (1, most)]
        return min(choices, key=lambda choice: choice.cycles)

    @property
    def weight_cycles(self) -> float:
        """A guess of the time of the gradient of the weights, in the same unit."""
        products = self._products(round_up(self.shape.channels, ROWS))
        transforms = self._transforms(self.shape.channels + self.shape.rows)
        adding = self._transformed_weights * GRADIENT_CYCLES
        return (products + transforms + adding) / self.threads

    # ------------------------------------------------------------ tables

    @cached_property
    def _window_offsets(self) -> np.ndarray:
        return np.arange(self.kernel**2, dtype=np.int32) * VECTOR_BYTES

    def _rows_seen(self, size: int, top: int, extent: int) -> np.ndarray:
        """Return the first and last + 1 row that each strip sees, among `size`."""
        down = self.tiles[0]
        first = np.arange(self.strips) * self.strip_rows
        last = np.minimum(first + self.strip_rows, down) - 1
        low = np.clip(first * RESULTS + top, 0, size)
        high = np.clip(last * RESULTS + top + extent, low, size)
        return np.ascontiguousarray(np.stack([low, high], 1), np.int64)

    def _offsets(
        self,
        sizes: tuple[int, int],
        start: tuple[int, int],
        extent: int,
        rows: np.ndarray,
        outside: int,
    ) -> np.ndarray:
        """Return where the workspace has every element of every tile of an image.

        start: where the first element of tile 0 lies in planes of `sizes`; `outside`
        stands for elements beyond them.
        """
        where = (self.tiles, self.strip_rows, self._transposed_at)
        key = (sizes, start, extent, rows.tobytes(), outside, where)
        table = _OFFSETS.get(key)
        if table is None:
            table = self._make_offsets(sizes, start, extent, rows, outside)
            _OFFSETS[key] = table
        return table

    def _make_offsets(
        self,
        sizes: tuple[int, int],
        start: tuple[int, int],
        extent: int,
        rows: np.ndarray,
        outside: int,
    ) -> np.ndarray:
        down, across = self.tiles
        steps = np.arange(extent)
        i = np.arange(down)[:, None] * RESULTS + start[0] + steps
        j = np.arange(across)[:, None] * RESULTS + start[1] + steps
        above = rows[np.arange(down) // self.strip_rows, 0][:, None]
        i = np.where((i >= 0) & (i < sizes[0]), i - above, -1)
        j = np.where((j >= 0) & (j < sizes[1]), j, -1)
        i, j = i[:, None, :, None], j[None, :, None, :]
        inside = self._transposed_at + VECTOR_BYTES * (i * sizes[1] + j)
        table = np.where((i < 0) | (j < 0), outside, inside)
        return np.ascontiguousarray(table, np.int32)

    @property
    def _transposed_at(self) -> int:
        return ZEROS_BYTES + VECTOR_BYTES

    def _data_at(self) -> int:
        """Return where the rows of a strip end in the workspace."""
        shape = self.shape
        lines = self.strip_rows * RESULTS + self.kernel - 1
        positions = max(
            min(lines, shape.sizes[0]) * shape.sizes[1],
            min(lines, shape.sizes_out[0]) * shape.sizes_out[1],
        )
        return self._transposed_at + (positions + LANES) * VECTOR_BYTES

    def _shared(self, outside: int) -> Mapping[str, Any]:
        """Return what kernels are told of the tiles; the tables are made once."""
        if outside not in self._tables:
            self._tables[outside] = self._make_shared(outside)
        return self._tables[outside]

    @cached_property
    def _tables(self) -> dict[int, Mapping[str, Any]]:
        return {}

    def _make_shared(self, outside: int) -> dict[str, Any]:
        shape = self.shape
        (down, across), (height, width) = self.tiles, shape.sizes
        size = tile_size(self.kernel)
        top, left = int(shape.taps.rows[0]), int(shape.taps.columns[0])
        in_rows = self._rows_seen(height, top, size)
        out_rows = self._rows_seen(shape.sizes_out[0], 0, RESULTS)
        return {
            "images": shape.images,
            "groups": shape.groups,
            "channels": shape.channels,
            "rows": shape.rows,
            "height": height,
            "width": width,
            "out_height": shape.sizes_out[0],
            "out_width": shape.sizes_out[1],
            "kernel": self.kernel,
            "elements": self.elements,
            "tiles_across": across,
            "tiles_down": down,
            "strip_rows": self.strip_rows,
            "strips": self.strips,
            "panel_strips": self.panel_strips,
            "panel_tiles": self.panel_tiles,
            "in_rows": in_rows,
            "in_offsets": self._offsets(shape.sizes, (top, left), size, in_rows, 0),
            "out_rows": out_rows,
            "out_offsets": self._offsets(
                shape.sizes_out, (0, 0), RESULTS, out_rows, outside
            ),
            "transposed_at": self._transposed_at,
            "data_at": self._data_at(),
        }

    # ------------------------------------------------------------ y

    def _elements_bytes(self, width: int) -> int:
        """Return the bytes of the transformed elements of a panel."""
        return self.elements * element_step(self.panel_tiles, width)

    def _products_at(self) -> int:
        channels = round_up(self.shape.channels, LANES)
        return self._data_at() + self._elements_bytes(channels)

    def _workspace_bytes(self) -> int:
        return self._products_at() + self._elements_bytes(TILE)

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        shape = self.shape
        width = round_up(shape.rows, LANES)
        step = element_step(shape.channels, width)
        return {
            "weights": shape.groups * self.elements * step,
            "biases": 4 * shape.groups * width,
            "workspace": self.threads * self._workspace_bytes(),
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
        space = {
            "workspace": work["workspace"],
            "workspace_bytes": self._workspace_bytes(),
        }
        transform = transform_weights(
            constant=weights.constant,
            w=weights.data,
            bias=weights.bias,
            scale=weights.scale,
            transformed=work["weights"],
            biases=work["biases"],
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            kernel=self.kernel,
            elements=self.elements,
            tap_index=np.ascontiguousarray(shape.taps.index, np.int64),
            window_offsets=self._window_offsets,
            group_stride=shape.group_stride,
            row_stride=shape.row_stride,
            channel_stride=shape.channel_stride,
            **space,
        )
        run = winograd(
            x=x,
            y=y,
            transformed=work["weights"],
            biases=work["biases"],
            row_shares=self.row_shares,
            products_at=self._products_at(),
            floor=floor,
            units=shape.groups * self._panels() * self.row_shares,
            **self._shared(outside=ZEROS_BYTES),
            **space,
        )
        return [transform, run]

    # ------------------------------------------------------------ gradient of weights

    def _gradient_at(self) -> int:
        block = min(CHANNEL_BLOCK, round_up(self.shape.channels, LANES))
        return self._data_at() + self._elements_bytes(block)

    def _weights_workspace_bytes(self) -> int:
        width = round_up(self.shape.rows, LANES)
        return self._gradient_at() + self._elements_bytes(width)

    def _chunk_strips(self) -> int:
        """Return the strips of a chunk; it must not depend on the threads."""
        chunks = CHUNKS if self.shape.weights <= SMALL_WEIGHTS else 1
        return -(-self.shape.images * self.strips // chunks)

    def _chunks(self) -> int:
        return -(-self.shape.images * self.strips // self._chunk_strips())

    def weights_scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `weight_calls` need, by name."""
        shape = self.shape
        parts, width = shape.groups * self._chunks(), round_up(shape.rows, LANES)
        step = element_step(round_up(shape.channels, LANES), width)
        return {
            "partial": parts * self.elements * step,
            "partial_bias": 4 * parts * width,
            "workspace": self.threads * self._weights_workspace_bytes(),
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
        blocks = -(-shape.channels // LANES)
        space = {
            "workspace": work["workspace"],
            "workspace_bytes": self._weights_workspace_bytes(),
        }
        products = winograd_weights(
            x=x,
            dy=dy,
            partial=work["partial"],
            partial_bias=work["partial_bias"],
            chunks=chunks,
            chunk_strips=self._chunk_strips(),
            channel_shares=1 if enough else min(blocks, self.threads),
            channel_block=CHANNEL_BLOCK,
            gradient_at=self._gradient_at(),
            units=shape.groups * chunks,
            **self._shared(outside=0),
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
            elements=self.elements,
            window_offsets=self._window_offsets,
            zeros=_ZEROS,
            chunks=chunks,
            accumulate=accumulate[0],
            accumulate_bias=accumulate[1],
            units=shape.groups * shape.channels,
            **space,
        )
        return [products, add]
