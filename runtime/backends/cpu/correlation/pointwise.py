"""Correlations of one tap on small planes, and on a plane of one position.

Where each of them pays, and the calls of `pointwise_code` and `gemv`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.direct import OPERATIONS_A_CYCLE
from runtime.backends.cpu.correlation.pointwise_code import (
    FEW,
    POSITIONS,
    VECTORS,
    WIDE,
    pack_rows,
    pointwise,
    thin,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.gemv import MOST_ROWS, dot_rows
from runtime.backends.cpu.machine.llvm import LANES, ROWS
from runtime.backends.cpu.machine.products import SERIAL_PRODUCTS
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.cpu.machine.within import between, whole

# Cycles of a thread, measured: to transpose and write a tile, where planes are small
# and where large; of `Direct`, to read or pack a vector that positions see, in place
# and with steps; to begin and write a tile; to pack one that is not in one image, for
# a channel, and to copy it to y, for ROWS rows.
TILE_CYCLES, LARGE_TILE_CYCLES = 200, 700
LARGE_PLANE = 1024  # positions
READ_CYCLES, STEPPED_READ_CYCLES = 5, 25
DIRECT_TILE_CYCLES = 60
EDGE_READ_CYCLES, EDGE_TILE_CYCLES = 27, 360
A_CYCLE = OPERATIONS_A_CYCLE / (2 * LANES)  # multiplications and additions of vectors


@dataclass(frozen=True)
class Pointwise:
    """A correlation of one tap as products whose vectors run along the rows of y.

    With steps, the positions that are seen are copied first.
    """

    shape: Correlation
    threads: int
    adds: ClassVar[bool] = True  # another blob, see `Weights`
    skips: ClassVar[bool] = True  # other memory between images of y

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether a correlation has the form that the kernel is made for."""
        step = shape.steps[0]
        return (
            len(shape.taps.index) == 1
            and int(shape.taps.rows[0]) == int(shape.taps.columns[0]) == 0
            and shape.steps == (step, step)
            and shape.steps_out == (1, 1)
            and shape.positions == shape.sizes_out
            and shape.sizes_out == tuple(-(-size // step) for size in shape.sizes)
            and count(shape.positions) >= FEW
        )

    @property
    def plane(self) -> int:
        """Positions of an image."""
        return count(self.shape.positions)

    @property
    def tiles(self) -> int:
        """Tiles of a plane."""
        return -(-self.plane // (POSITIONS if self.plane >= POSITIONS else FEW))

    @property
    def pays(self) -> bool:
        """Whether it takes less time than `Direct`, with weights that are packed.

        With vectors of 16, that is: fewer registers hold too few positions.
        """
        return LANES >= 16 and self.work < self.direct_work

    @property
    def work(self) -> float:
        """The multiplications and additions of vectors that fit the time of y."""
        shape = self.shape
        large = self.plane > LARGE_PLANE
        tile_cycles = LARGE_TILE_CYCLES if large else TILE_CYCLES
        whole, left = divmod(self.plane, POSITIONS)
        tiles = whole + (0 if left == 0 else 0.55 if left <= FEW else 1)
        tile = VECTORS * POSITIONS * shape.channels + tile_cycles * A_CYCLE
        return shape.images * tiles * -(-shape.rows // WIDE) * tile

    @property
    def direct_work(self) -> float:
        """The same for `Direct`."""
        shape, depth = self.shape, self.shape.channels
        vectors = -(-shape.all_positions // LANES)
        blocks = -(-shape.rows // ROWS)
        stepped = shape.steps != (1, 1)
        reading = (STEPPED_READ_CYCLES if stepped else READ_CYCLES) * depth
        starts = DIRECT_TILE_CYCLES * blocks / 3
        direct = vectors * (blocks * ROWS * depth + (reading + starts) * A_CYCLE)
        if self.plane % LANES:
            edge = EDGE_READ_CYCLES * depth + EDGE_TILE_CYCLES * blocks
            direct += shape.images * edge * A_CYCLE
        return direct

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        shape = self.shape
        rows = shape.groups * round_up(shape.rows, WIDE)
        sizes = {"weights": 4 * rows * shape.channels, "biases": 4 * rows}
        if shape.steps != (1, 1):
            planes = shape.images * shape.groups * shape.channels
            sizes["thinned"] = 4 * planes * self.plane
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
        calls = [
            pack_rows(
                constant=weights.constant,
                w=weights.data,
                bias=weights.bias,
                scale=weights.scale,
                packed=work["weights"],
                packed_bias=work["biases"],
                groups=shape.groups,
                rows=shape.rows,
                channels=shape.channels,
                group_stride=shape.group_stride,
                row_stride=shape.row_stride,
                channel_stride=shape.channel_stride,
                first=int(shape.taps.index[0]),
            )
        ]
        if shape.steps != (1, 1):
            thinning = thin(
                x=x,
                target=work["thinned"],
                planes=shape.images * shape.groups * shape.channels,
                height=shape.sizes[0],
                width=shape.sizes[1],
                out_height=shape.positions[0],
                out_width=shape.positions[1],
                step=shape.steps[0],
                serial=few(x.size),
            )
            calls.append(thinning)
            x = work["thinned"]
        blocks = -(-shape.rows // WIDE)
        run = pointwise(
            x=x,
            y=whole(y),
            y_between=between(y),
            packed=work["weights"],
            packed_bias=work["biases"],
            added=weights.added,
            images=shape.images,
            groups=shape.groups,
            channels=shape.channels,
            rows=shape.rows,
            plane=self.plane,
            tiles=self.tiles,
            floor=floor,
            units=shape.images * shape.groups * blocks * self.tiles,
        )
        return [*calls, run]


@dataclass(frozen=True)
class Dots:
    """A correlation with one position, which sees all of a small batch's images."""

    shape: Correlation
    threads: int
    adds: ClassVar[bool] = False  # another blob, see `Weights`
    skips: ClassVar[bool] = False  # other memory between images of y

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether it is a product with rows of weights that lie in their order."""
        taps = shape.taps
        whole = np.arange(count(shape.sizes))
        return (
            shape.groups == 1
            and shape.images <= MOST_ROWS
            and shape.sizes_out == shape.positions == (1, 1)
            and np.array_equal(taps.index, whole)
            and np.array_equal(taps.rows * shape.sizes[1] + taps.columns, whole)
            and np.array_equal(taps.columns, whole % shape.sizes[1])
            and shape.channel_stride == len(whole)
            and shape.row_stride == shape.depth
        )

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name: none."""
        return {}

    def calls(
        self,
        work: Mapping[str, Array],
        weights: Weights,
        x: Array,
        y: Array,
        floor: float,
    ) -> list[Call]:
        """Return the call of y = max(floor, bias + correlation)."""
        shape = self.shape
        return [
            dot_rows(
                w=weights.data,
                bias=weights.bias,
                scale=weights.scale,
                x=x,
                y=y,
                images=shape.images,
                rows=shape.rows,
                depth=shape.depth,
                floor=floor,
                serial=shape.images * shape.weights < SERIAL_PRODUCTS,
            )
        ]
