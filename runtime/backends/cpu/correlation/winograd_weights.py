"""Gradients of weights by Winograd's transforms: calls of `winograd_weights_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.winograd import Winograd
from runtime.backends.cpu.correlation.winograd_strips import element_step
from runtime.backends.cpu.correlation.winograd_weights_code import (
    add_winograd_weights,
    winograd_weights,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.llvm import LANES, ROWS
from runtime.backends.cpu.machine.sizes import round_up

CHUNKS = 4  # gradients of small weights are summed in so many parts
SMALL_WEIGHTS = 1 << 18  # elements
CHANNEL_BLOCK = 4 * LANES  # channels at a time
SHARE = 1.5  # of the time of its parts, measured
GRADIENT_CYCLES = 1.5  # to transform the gradient of a weight back

_ZEROS = np.zeros(LANES, np.float32)


@dataclass(frozen=True)
class WinogradWeights(Winograd):
    """The gradient of the weights of a correlation by transformed tiles."""

    @property
    def weight_cycles(self) -> float:
        """A guess of the time of the gradient of the weights, in the same unit."""
        products = self._products(round_up(self.shape.channels, ROWS))
        transforms = self._transforms(self.shape.channels + self.shape.rows)
        adding = self._transformed_weights * GRADIENT_CYCLES
        return SHARE * (products + transforms + adding) / self.threads

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
