"""Dropout on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.ops.dropout import Dropout as DropoutOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.elementwise import copied, start_of
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.simd import f32, u8
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel
from runtime.counter_random import stream_keys

ZERO: Any = np.float32(0)
_BITS = np.uint64(0xFFFFFFFF)


@helper
def _mix(value: Any) -> Any:
    """Do what `runtime.counter_random` does to 32 bits."""
    value = (value ^ value >> np.uint64(16)) * np.uint64(0x7FEB352D) & _BITS
    value = (value ^ value >> np.uint64(15)) * np.uint64(0x846CA68B) & _BITS
    return value ^ value >> np.uint64(16)


@kernel("x y mask count key0 key1 bound", "scale")
def drop(record: Any, part: int, parts: int) -> None:
    """Compute y = x scale where the random bits are below `bound`, else 0.

    Fields:
        x, y: (count,); y may be x.
        mask: uint8 (count,), gets 1 for what is kept.
        key0, key1: of the random bits; see `runtime.counter_random.stream_keys`.
        bound: of 32 random bits.
    """
    a = carray(record, 1)[0]
    x, y, mask, scale = f32(a.x), f32(a.y), u8(a.mask), np.float32(a.scale)
    key0, key1, bound = np.uint64(a.key0), np.uint64(a.key1), np.uint64(a.bound)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        kept = _mix(_mix(np.uint64(i) ^ key0) ^ key1) < bound
        mask[i] = np.uint8(kept)
        y[i] = x[i] * scale if kept else ZERO


@kernel("dy dx mask count", "scale")
def drop_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dy scale where the mask is set, else 0."""
    a = carray(record, 1)[0]
    dy, dx, mask, scale = f32(a.dy), f32(a.dx), u8(a.mask), np.float32(a.scale)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        dx[i] = dy[i] * scale if mask[i] != 0 else ZERO


class Dropout(LayerKernel[DropoutOp]):
    """Drop values at random while training; see the portable kernel."""

    options = ("dropout_ratio",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the mask."""
        if not self._drops():
            return {}
        return {"mask": ArraySpec(self.op.tops[0], "uint8", life="saved")}

    def setup(self) -> None:
        """Turn the ratio into a bound for 32 random bits."""
        keep = 1 - self.op.dropout_ratio
        self._bound = min(round(keep * 2**32), 2**32 - 1)
        self._scale = 1 / keep

    def forward_calls(self) -> list[Call]:
        """Draw the mask and compute y."""
        if not self._drops():
            return copied(self.x, self.y)
        call = drop(
            x=self.x,
            y=self.y,
            mask=self.work["mask"],
            count=self.x.size,
            key0=0,
            key1=0,
            bound=self._bound,
            scale=self._scale,
            serial=few(self.x.size),
        )
        return [replace(call, prepare=self._set_keys)]

    def _set_keys(self, record: np.ndarray) -> None:
        context = self.context
        keys = stream_keys(context.seed, self.op.name, context.clock.value)
        record["key0"], record["key1"] = keys

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx with the mask of the forward pass."""
        if self.dx is None:
            return []
        if not self._drops():
            return copied(self.dy, self.dx)
        return [
            drop_gradient(
                dy=self.dy,
                dx=self.dx,
                mask=self.work["mask"],
                count=self.dx.size,
                scale=self._scale,
                serial=few(self.dx.size),
            )
        ]

    def _drops(self) -> bool:
        return self.train and self.op.dropout_ratio > 0
