"""Correlations by Winograd's transforms of the data's tiles, where it has fewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.winograd import Winograd
from runtime.backends.cpu.correlation.winograd_code import transform_weights
from runtime.backends.cpu.correlation.winograd_scatter_code import winograd_scatter
from runtime.backends.cpu.correlation.winograd_strips import ZEROS_BYTES
from runtime.backends.cpu.correlation.winograd_transforms import RESULTS, tile_size
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import TILE

LEAST_GAIN = 0.9  # of the time that cutting y into tiles takes


@dataclass(frozen=True)
class WinogradScatter(Winograd):
    """A correlation by tiles of x, without bias; a strip is an image."""

    adds: ClassVar[bool] = False

    @cached_property
    def strip_rows(self) -> int:
        """Rows of tiles in a strip: all of them, where it suits."""
        return self.tall_strip_rows

    @staticmethod
    def suits(shape: Correlation) -> bool:
        """Whether the transforms are made for it, and planes fit a strip."""
        if not Winograd.suits(shape):
            return False
        made = WinogradScatter(shape, 1)
        reached = made.strip_rows * RESULTS + made.kernel - 1
        return made.strips == 1 and max(shape.sizes[0], shape.sizes_out[0]) <= reached

    @property
    def pays(self) -> bool:
        """Whether it is faster than by tiles of y, as far as one can guess."""
        return self.cycles < LEAST_GAIN * Winograd(self.shape, self.threads).cycles

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Tiles of x down and across."""
        height, width = self.shape.sizes
        return -(-height // RESULTS), -(-width // RESULTS)

    def best(self) -> WinogradScatter:
        """Return this algorithm with the best number of shares of rows."""
        most = min(-(-self.shape.rows // TILE), self.threads)
        choices = [replace(self, row_shares=shares) for shares in (1, most)]
        return min(choices, key=lambda choice: choice.cycles)

    def _make_shared(self, outside: int) -> dict[str, Any]:
        shape = self.shape
        # Window and places of a piece run backwards from the taps.
        top = -int(shape.taps.rows[-1])
        left = -int(shape.taps.columns[-1])
        (down, across), size = self.tiles, tile_size(self.kernel)
        rows = np.array([[0, shape.sizes[0]]], np.int64)
        out_rows = np.array([[0, shape.sizes_out[0]]], np.int64)
        return {
            "images": shape.images,
            "groups": shape.groups,
            "channels": shape.channels,
            "rows": shape.rows,
            "height": shape.sizes[0],
            "width": shape.sizes[1],
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
            "in_rows": rows,
            "in_offsets": self._offsets(shape.sizes, (0, 0), RESULTS, rows, 0),
            "out_rows": out_rows,
            "out_offsets": self._offsets(
                shape.sizes_out, (top, left), size, out_rows, outside
            ),
            "transposed_at": self._transposed_at,
            "data_at": self._data_at(),
        }

    def calls(
        self,
        work: Mapping[str, Array],
        weights: Weights,
        x: Array,
        y: Array,
        floor: float,
    ) -> list[Call]:
        """Return the calls of y = correlation, with no bias and no floor."""
        shape = self.shape
        space = {
            "workspace": work["workspace"],
            "workspace_bytes": self._workspace_bytes(),
        }
        backwards = np.ascontiguousarray(shape.taps.index[::-1])
        transform = transform_weights(
            constant=weights.constant,
            w=weights.data,
            scale=0,
            tap_offsets=(backwards * VECTOR_BYTES).astype(np.int32),
            group_stride=shape.group_stride,
            row_stride=shape.row_stride,
            channel_stride=shape.channel_stride,
            transformed=work["weights"],
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            kernel=self.kernel,
            elements=self.elements,
            units=shape.groups * -(-shape.rows // TILE) * -(-shape.channels // LANES),
            **space,
        )
        run = winograd_scatter(
            x=x,
            y=y,
            transformed=work["weights"],
            row_shares=self.row_shares,
            products_at=self._products_at(),
            units=shape.groups * self._panels() * self.row_shares,
            **self._shared(outside=ZEROS_BYTES),
            **space,
        )
        return [transform, run]
