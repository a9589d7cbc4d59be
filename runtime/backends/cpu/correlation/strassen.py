"""Correlations of one tap by Strassen's algorithm: where it pays, and its calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.pointwise import A_CYCLE, Pointwise
from runtime.backends.cpu.correlation.pointwise_code import POSITIONS, VECTORS, WIDE
from runtime.backends.cpu.correlation.strassen_code import strassen
from runtime.backends.cpu.correlation.strassen_tiles import (
    PACKED,
    TILE_BYTES,
    block_of,
)
from runtime.backends.cpu.correlation.strassen_weights import (
    PRODUCTS,
    pack_strassen,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.sizes import round_up
from runtime.backends.cpu.machine.within import between, whole

PANEL_BYTES = 448 << 10  # of a packed panel, about half of the second-level cache
ROOM = 4  # kept tiles
# Cycles of a thread, measured: to begin and write the tiles of a pair of blocks; beside
# the products, for each channel of a half; to pack one.
PAIR_CYCLES, TERM_CYCLES, PACK_CYCLES = 1550, 7, 32


@dataclass(frozen=True)
class Strassen:
    """A correlation of one tap as 7 products of halves where 8 are defined."""

    shape: Correlation
    threads: int
    adds: ClassVar[bool] = True  # another blob, see `Weights`
    skips: ClassVar[bool] = True  # other memory between images of y

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether all can be halved that has to be."""
        return (
            Pointwise.suits(shape)
            and POSITIONS <= LANES
            and shape.groups == 1
            and shape.steps == (1, 1)
            and shape.channels % 2 == 0
            and shape.rows > WIDE
            and count(shape.positions) % 2 == 0
            and count(shape.positions) >= 2 * POSITIONS
        )

    @property
    def _half_plane(self) -> int:
        return count(self.shape.positions) // 2

    @property
    def _tiles(self) -> int:
        return -(-self._half_plane // POSITIONS)

    @property
    def _blocks(self) -> tuple[int, int]:
        """Pairs of blocks of rows, and these and a block without partner."""
        pairs, left = divmod(self.shape.rows, 2 * WIDE)
        return (pairs + 1, pairs + 1) if left > WIDE else (pairs, pairs + (left > 0))

    @property
    def pays(self) -> bool:
        """Whether it takes less time than the definition, with packed weights.

        These are 1.75 times as many, for which one image alone waits: two threads lose
        1 to 3 % of a net by them.
        """
        if LANES < 16 or self.shape.images == 1:
            return False
        half = self.shape.channels // 2
        pairs, blocks = self._blocks
        if pairs == 0:
            return False
        tile = VECTORS * POSITIONS * half
        cycles = PAIR_CYCLES + half * (TERM_CYCLES + PACK_CYCLES / pairs)
        pair = PRODUCTS * tile + cycles * A_CYCLE
        single = 4 * tile + PAIR_CYCLES / 2 * A_CYCLE
        work = self._tiles * (pairs * pair + (blocks - pairs) * single)
        usual = Pointwise(self.shape, 1)
        return self.shape.images * work < min(usual.work, usual.direct_work)

    @property
    def _packed_bytes(self) -> int:
        """Bytes of a packed tile."""
        nbytes: int = PACKED * block_of(self.shape.channels // 2)
        return nbytes

    @property
    def _panels(self) -> int:
        return -(-self._tiles // max(1, PANEL_BYTES // self._packed_bytes))

    @property
    def _kept_at(self) -> int:
        return -(-self._tiles // self._panels) * self._packed_bytes

    @property
    def _workspace_bytes(self) -> int:
        return round_up(self._kept_at + ROOM * TILE_BYTES, 4096) + 64

    def scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `calls` need, by name."""
        pairs, blocks = self._blocks
        block_bytes = 4 * WIDE * (self.shape.channels // 2)
        return {
            "weights": block_bytes * (PRODUCTS * pairs + 2 * (blocks - pairs)),
            "biases": 16 * WIDE * blocks,
            "workspace": self.threads * self._workspace_bytes,
        }

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
        pairs, blocks = self._blocks
        pack = pack_strassen(
            constant=weights.constant,
            w=weights.data,
            bias=weights.bias,
            scale=weights.scale,
            packed=work["weights"],
            factors=work["biases"],
            rows=shape.rows,
            channels=shape.channels,
            pairs=pairs,
            blocks=blocks,
            row_stride=shape.row_stride,
            channel_stride=shape.channel_stride,
            first=int(shape.taps.index[0]),
        )
        # Whose panel several threads work on, each packs it.
        splits = 1 if shape.images >= 4 * self.threads else min(self.threads, blocks)
        run = strassen(
            x=x,
            y=whole(y),
            y_between=between(y),
            packed=work["weights"],
            factors=work["biases"],
            added=weights.added,
            images=shape.images,
            channels=shape.channels,
            rows=shape.rows,
            plane=count(shape.positions),
            half_plane=self._half_plane,
            tiles=self._tiles,
            pairs=pairs,
            blocks=blocks,
            panels=self._panels,
            splits=splits,
            workspace=work["workspace"],
            workspace_bytes=self._workspace_bytes,
            kept_at=self._kept_at,
            floor=floor,
            units=shape.images * self._panels * splits,
        )
        return [pack, run]
