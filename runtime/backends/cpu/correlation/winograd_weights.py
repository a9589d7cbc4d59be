"""Gradients of weights by Winograd's transforms: calls of `winograd_weights_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.direct import OPERATIONS_A_CYCLE
from runtime.backends.cpu.correlation.winograd import (
    PANEL_TILES,
    TERMS_TO_START,
    Winograd,
)
from runtime.backends.cpu.correlation.winograd_code import WINDOW_BYTES
from runtime.backends.cpu.correlation.winograd_strips import element_step
from runtime.backends.cpu.correlation.winograd_weights_code import (
    add_winograd_weights,
    winograd_weights,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, ROWS
from runtime.backends.cpu.machine.matrix import TILE
from runtime.backends.cpu.machine.sizes import round_up

CHUNKS = 4  # gradients of small weights are summed in so many parts
SMALL_WEIGHTS = 1 << 18  # elements
CHANNEL_BLOCK = 64  # channels at a time
SHARE = 1.5  # of the time of its parts, measured
WHOLE_PANEL = 3 << 14  # vectors in elements of a panel that has all tiles
WHOLE_BLOCKS = 4  # the least blocks of channels to be divided among threads then
# To transform the gradient of a weight back, from memory and from the cache.
GRADIENT_CYCLES = 1.5
CACHED_GRADIENT_CYCLES = 0.5

_ZEROS = np.zeros(LANES, np.float32)


@dataclass(frozen=True)
class WinogradWeights(Winograd):
    """The gradient of the weights of a correlation by transformed tiles."""

    @property
    def weight_cycles(self) -> float:
        """A guess of the time of the gradient of the weights, in the same unit."""
        shape = self.shape
        tiles = shape.images * self.tiles[0] * self.tiles[1] + TERMS_TO_START
        sums = shape.groups * round_up(shape.rows, LANES)
        sums *= self.elements * round_up(shape.channels, ROWS)
        products = 2 * sums * tiles / OPERATIONS_A_CYCLE
        transforms = self._transforms(shape.channels + shape.rows)
        back = CACHED_GRADIENT_CYCLES if self._whole else GRADIENT_CYCLES
        adding = self._transformed_weights * back
        return SHARE * (products + transforms + adding) / self.threads

    @cached_property
    def _whole(self) -> bool:
        """Whether all tiles fit a panel, so that sums never leave the cache.

        Only where there are channels for several threads: a panel is not divided.
        """
        blocks = self.shape.groups * -(-self.shape.channels // CHANNEL_BLOCK)
        if blocks < WHOLE_BLOCKS:
            return False
        down, across = self.tiles
        tiles = self.shape.images * down * across
        return tiles * (self.shape.rows + CHANNEL_BLOCK) <= WHOLE_PANEL

    @cached_property
    def strip_rows(self) -> int:
        """Rows of tiles in a strip; products have a term for each tile, so no more."""
        return self.tall_strip_rows

    @property
    def panel_strips(self) -> int:  # type: ignore[override]
        """Strips of a panel: all, or few enough that every thread has one."""
        return self.shape.images * self.strips if self._whole else super().panel_strips

    @property
    def _most_tiles(self) -> int:
        return PANEL_TILES

    @property
    def _channel_shares(self) -> int:
        blocks = -(-self.shape.channels // LANES)
        if self._whole:  # each share transforms all of dy
            return min(blocks, max(2, self.threads))
        enough = self.shape.groups * self._chunks() >= self.threads
        return 1 if enough else min(blocks, self.threads)

    @property
    def _block(self) -> int:
        return min(CHANNEL_BLOCK, round_up(self.shape.channels, LANES))

    def _weights_workspace(self) -> dict[str, int]:
        gradient_at = self._data_at() + self._elements_bytes(self._block)
        sums_at = gradient_at + self._elements_bytes(round_up(self.shape.rows, LANES))
        window_at = sums_at
        if self._whole:
            window_at += self.elements * element_step(self._block, TILE)
        return {
            "gradient_at": gradient_at,
            "sums_at": sums_at,
            "window_at": window_at,
            "workspace_bytes": window_at + WINDOW_BYTES,
        }

    def _chunk_strips(self) -> int:
        """Return the strips of a chunk; it must not depend on the threads."""
        small = self.shape.weights <= SMALL_WEIGHTS and not self._whole
        chunks = CHUNKS if small else 1
        return -(-self.shape.images * self.strips // chunks)

    def _chunks(self) -> int:
        return -(-self.shape.images * self.strips // self._chunk_strips())

    def weights_scratch(self) -> dict[str, int]:
        """Return the bytes of scratch that `weight_calls` need, by name."""
        shape = self.shape
        parts, width = shape.groups * self._chunks(), round_up(shape.rows, LANES)
        step = element_step(round_up(shape.channels, LANES), width)
        workspace = self._weights_workspace()["workspace_bytes"]
        sizes = {
            "partial_bias": 4 * parts * width,
            "workspace": self.threads * workspace,
        }
        if not self._whole:
            sizes["partial"] = parts * self.elements * step
        return sizes

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
        shape, chunks, shares = self.shape, self._chunks(), self._channel_shares
        space = self._weights_workspace()
        shared = {
            "workspace": work["workspace"],
            "partial": 0 if self._whole else work["partial"],
            "partial_bias": work["partial_bias"],
            "dw": dw,
            "accumulate": accumulate[0],
            "window_offsets": self._window_offsets,
            "zeros": _ZEROS,
            "chunks": chunks,
            "whole": self._whole,
        }
        products = winograd_weights(
            x=x,
            dy=dy,
            chunk_strips=self._chunk_strips(),
            channel_shares=shares,
            channel_block=self._block,
            units=shape.groups * chunks * (shares if self._whole else 1),
            **self._shared(outside=0),
            **shared,
            **space,
        )
        add = add_winograd_weights(
            dbias=dbias,
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            kernel=self.kernel,
            elements=self.elements,
            accumulate_bias=accumulate[1],
            units=shape.groups * shape.channels,
            serial=self._whole,
            workspace_bytes=space["workspace_bytes"],
            **shared,
        )
        if self._whole and isinstance(dbias, int):
            return [products]
        return [products, add]
