"""Upsample with a mask on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.resize import Upsample as UpsampleOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.simd import f32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.resize import no_place

ZERO: Any = np.float32(0)


@kernel("x mask y index bad planes size large")
def put_back(record: Any, part: int, parts: int) -> None:
    """Compute y = 0 but y[mask] = x in every plane.

    Fields:
        x, mask: (planes, size).
        y: (planes, large).
        index: int64 (planes, size), gets the places in planes.
        bad: int64 (planes, 2), gets the first place of a plane of the mask that holds
            no place of y, or -1, and what it holds, a float32.
    """
    a = carray(record, 1)[0]
    limit = np.float32(a.large)
    for plane in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        at = 4 * plane * a.size
        x, mask, index = f32(a.x + at), f32(a.mask + at), i64(a.index + 2 * at)
        y = f32(a.y + 4 * plane * a.large)
        for i in range(a.large):
            y[i] = ZERO
        bad = -1
        for i in range(a.size):
            if 0 <= mask[i] < limit:
                place = int(mask[i])
            else:
                place = 0
                if bad < 0:
                    bad = i
                    f32(a.bad + 16 * plane + 8)[0] = mask[i]
            index[i] = place
            y[place] = x[i]
        i64(a.bad)[2 * plane] = bad


@kernel("dy index dx planes size large")
def put_back_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dy[index] in every plane; see `put_back`."""
    a = carray(record, 1)[0]
    for plane in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        at = 4 * plane * a.size
        dx, index = f32(a.dx + at), i64(a.index + 2 * at)
        dy = f32(a.dy + 4 * plane * a.large)
        for i in range(a.size):
            dx[i] = dy[index[i]]


class Unpooling(LayerKernel[UpsampleOp]):
    """Put values back where a max Pooling took them; see the portable kernel."""

    options = ("masked", "scale")

    @classmethod
    def suits(cls, op: UpsampleOp) -> bool:
        """Whether there is a mask."""
        return op.masked

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the places, and for what is wrong with them."""
        sizes = self._sizes
        size = sizes["planes"] * sizes["size"]
        return {
            "index": ArraySpec((size,), "int64", life="saved"),
            # What is looked at when all else has run.
            "bad": ArraySpec((sizes["planes"], 2), "int64", life="state"),
        }

    @property
    def _sizes(self) -> dict[str, int]:
        x = self.op.bottoms[0]
        large = count(self.op.tops[0], 2)
        return {"planes": count(x, 0, 2), "size": count(x, 2), "large": large}

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        call = put_back(
            x=self.x,
            mask=self.bottoms[1],
            y=self.y,
            index=self.work["index"],
            bad=self.work["bad"],
            serial=few(self.y.size),
            units=self._sizes["planes"],
            **self._sizes,
        )
        return [replace(call, check=self._check)]

    def _check(self) -> None:
        places = self.work["bad"][:, 0]
        if places.max(initial=-1) < 0:
            return
        plane = int((places >= 0).argmax())
        value = float(self.work["bad"].view(np.float32)[plane, 2])
        place = plane * self._sizes["size"] + int(places[plane])
        raise no_place(self.op, place, value)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [
            put_back_gradient(
                dy=self.dy,
                index=self.work["index"],
                dx=self.dx,
                serial=few(self.dx.size),
                units=self._sizes["planes"],
                **self._sizes,
            )
        ]
