"""Correlation by Winograd's transforms: where it pays, calls of `winograd_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.direct import OPERATIONS_A_CYCLE
from runtime.backends.cpu.correlation.winograd_code import (
    WINDOW_BYTES,
    transform_weights,
    winograd,
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
from runtime.backends.cpu.machine.within import between, whole

STRIP_BYTES = 1 << 15  # of the rows of a strip, LANES channels of them: in the L1 cache
WEIGHTS_BLOCK = 64  # channels, where weights are transformed in place
PANEL_TILES = 64  # the most tiles of a panel, if a row of tiles has no more
LEAST_TILES = 16  # of a panel that shares the L2 cache with weights of 5 x 5
PANEL_BYTES = 3 << 18  # of the cache, for both

# Cycles of a thread, measured: to transpose and transform a tile of LANES channels, to
# transpose a block of LANES channels and positions, to make a transformed weight, to
# write it and read it back if all of them are more than the cache holds, to read it for
# one panel, and to read first what another thread has made.
TRANSFORM_CYCLES = 4.5  # for every element
TRANSPOSE_CYCLES = 4 * LANES
WEIGHT_CYCLES = 8 / LANES
MEMORY_CYCLES = 1.8
READ_CYCLES = 0.3
FOREIGN_CYCLES = 0.5
CACHED_WEIGHTS = 1 << 21  # transformed ones that the cache holds
TERMS_TO_START = 8  # a product takes as long as one of so many more terms


# What layers of equal sizes, and the plans of a net, have in common.
_OFFSETS: WeakValueDictionary[Any, np.ndarray] = WeakValueDictionary()


@dataclass(frozen=True)
class Winograd:
    """A correlation by transformed tiles.

    constant_weights: they are transformed once, and not in every pass. row_shares: into
    how many shares the rows of y are divided, beside the panels; then every share
    transforms all of the data, and a thread reads the weights of its rows only, which
    it has transformed itself. transforms_in_place: every panel transforms the weights
    anew, a tile of rows and some channels at a time, so that only the weights
    themselves come from memory.
    """

    shape: Correlation
    threads: int
    constant_weights: bool = False
    row_shares: int = 1
    transforms_in_place: bool = False
    adds: ClassVar[bool] = True  # another blob, see `Weights`
    skips: ClassVar[bool] = True  # other memory between images of y

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
        """Rows of tiles in a strip: those that take the least time."""
        choices = {*range(1, self._most_strip_rows), self.tall_strip_rows}
        return min(sorted(choices, reverse=True), key=self._strip_cycles)

    @cached_property
    def _most_strip_rows(self) -> int:
        """The most rows of tiles whose rows stay in the cache."""
        width = max(self.shape.sizes[1], self.shape.sizes_out[1])
        lines = STRIP_BYTES // (VECTOR_BYTES * width)
        down, across = self.tiles
        most = max(1, (lines - self.kernel) // RESULTS)
        return min(down, most, max(1, PANEL_TILES // across))

    @property
    def tall_strip_rows(self) -> int:
        """As many as stay in the cache, in strips of about equal height."""
        down = self.tiles[0]
        return -(-down // -(-down // self._most_strip_rows))

    def _strip_cycles(self, rows: int) -> float:
        """Return a guess of the time that depends on how many rows a strip has.

        Strips share rows of x, and tiles of a panel are multiplied ROWS at a time.
        """
        shape, (down, across) = self.shape, self.tiles
        heights = np.minimum(rows, down - np.arange(0, down, rows))
        tiles = np.tile(heights * across, shape.images)
        panel = max(1, self._most_tiles // (rows * across))
        tiles = np.add.reduceat(tiles, np.arange(0, len(tiles), panel))
        multiplied = int((-(-tiles // ROWS) * ROWS).sum())
        products = multiplied * self.elements * round_up(shape.rows, LANES)
        lines = RESULTS * down + len(heights) * (self.kernel - 1)
        vectors = shape.images * -(-lines * shape.sizes[1] // LANES)
        reading = vectors * TRANSPOSE_CYCLES / LANES
        return shape.channels * (2 * products / OPERATIONS_A_CYCLE + reading)

    @property
    def strips(self) -> int:
        """Strips of an image."""
        return -(-self.tiles[0] // self.strip_rows)

    @property
    def panel_strips(self) -> int:
        """Strips of a panel: few enough that every thread has one."""
        strips = self.shape.images * self.strips
        most = max(1, self._most_tiles // (self.strip_rows * self.tiles[1]))
        return max(1, min(most, strips * self.row_shares // self.threads))

    @property
    def _most_tiles(self) -> int:
        """The most tiles of a panel; fewer where the cache then has the weights too."""
        rows, channels = (
            round_up(number, LANES) for number in (self.shape.rows, self.shape.channels)
        )
        weights = 4 * self.elements * self.shape.channels * rows
        if self.kernel == 3 or weights > PANEL_BYTES:
            return PANEL_TILES
        tiles = (PANEL_BYTES - weights) // (4 * self.elements * (channels + TILE))
        return min(PANEL_TILES, max(LEAST_TILES, tiles))

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
        weights = self._transformed_weights * self._weight_cycles()
        of_rows = (products + rows) * largest_share * shares / width
        units = shape.groups * self._panels() * shares
        return (of_rows + data * shares + weights) / min(self.threads, units)

    def _weight_cycles(self) -> float:
        """Return the cycles that a transformed weight takes."""
        if self.transforms_in_place:
            return self._panels() * (WEIGHT_CYCLES + READ_CYCLES)
        reading = self._panels() * READ_CYCLES
        if self.constant_weights:
            return reading
        foreign = self.threads - 1 if self.row_shares == 1 else 0
        cached = self._transformed_weights <= CACHED_WEIGHTS
        memory = 0.0 if cached else MEMORY_CYCLES
        return reading + WEIGHT_CYCLES + memory + FOREIGN_CYCLES * foreign

    def best(self) -> Winograd:
        """Return this algorithm with what is best for its threads; the bits are equal.

        That is the number of shares of rows, and where weights are transformed.
        """
        most = min(-(-self.shape.rows // TILE), self.threads)
        choices = [
            replace(self, row_shares=shares, transforms_in_place=in_place)
            for in_place in (False, True)
            for shares in (1, most)
        ]
        return min(choices, key=lambda choice: choice.cycles)

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

    def _weights_at(self) -> int:
        return self._products_at() + self._elements_bytes(TILE)

    def _workspace_bytes(self) -> int:
        block = 0
        if self.transforms_in_place:
            block = self.elements * element_step(self._weights_block, TILE)
        return self._weights_at() + WINDOW_BYTES + block

    @property
    def _weights_block(self) -> int:
        """Channels whose weights are multiplied with at a time."""
        if self.transforms_in_place:
            return min(WEIGHTS_BLOCK, self.shape.channels)
        return self.shape.channels

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        shape = self.shape
        step = element_step(shape.channels, round_up(shape.rows, LANES))
        sizes = {"workspace": self.threads * self._workspace_bytes()}
        if not self.transforms_in_place:
            sizes["weights"] = shape.groups * self.elements * step
        return sizes

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
        space = {
            "workspace": work["workspace"],
            "workspace_bytes": self._workspace_bytes(),
        }
        of_weights = {
            "w": weights.data,
            "scale": weights.scale,
            "tap_offsets": (shape.taps.index * VECTOR_BYTES).astype(np.int32),
            "group_stride": shape.group_stride,
            "row_stride": shape.row_stride,
            "channel_stride": shape.channel_stride,
        }
        calls = []
        if not self.transforms_in_place:
            transform = transform_weights(
                constant=weights.constant,
                transformed=work["weights"],
                groups=shape.groups,
                rows=shape.rows,
                channels=shape.channels,
                kernel=self.kernel,
                elements=self.elements,
                units=shape.groups
                * -(-shape.rows // TILE)
                * -(-shape.channels // LANES),
                **of_weights,
                **space,
            )
            calls.append(transform)
        run = winograd(
            x=x,
            y=whole(y),
            y_between=between(y),
            bias=weights.bias,
            transformed=0 if self.transforms_in_place else work["weights"],
            weights_block=self._weights_block,
            weights_at=self._weights_at(),
            added=weights.added,
            row_shares=self.row_shares,
            products_at=self._products_at(),
            floor=floor,
            units=shape.groups * self._panels() * self.row_shares,
            **of_weights,
            **self._shared(outside=ZEROS_BYTES),
            **space,
        )
        return [*calls, run]
