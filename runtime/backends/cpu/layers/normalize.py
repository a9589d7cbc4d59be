"""Normalize on compiled kernels, where every place has a length of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.normalize import Normalize as NormalizeOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.mapping import mapped
from runtime.backends.cpu.machine.simd import f32, f64
from runtime.backends.cpu.machine.sizes import SERIAL_ELEMENTS, few
from runtime.backends.cpu.machine.vector_math import Value, root
from runtime.backends.cpu.machine.vectors import (
    spread,
    vadd,
    vfma,
    vload,
    vload_first,
    vmul,
    vstore,
    vstore_first,
    vsub,
    vsum,
)
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
PLACES = 256  # that are taken together: their channels stay in the second-level cache


def _inverse_root(x: Value, eps: Value) -> Value:
    return 1.0 / root(x + eps)


inverse_root = mapped(_inverse_root, 1)


@helper
def _some(address: int, left: int) -> Any:
    """Return the next floats, 0 behind the last `left`."""
    if left >= LANES:
        return vload(address)
    return vload_first(address, left, spread(ZERO))


@helper
def _put(value: Any, address: int, left: int) -> None:
    """Write the next floats, no more than `left`."""
    if left >= LANES:
        vstore(value, address)
    else:
        vstore_first(value, address, left)


@helper
def _factor(scale: int, step: int, channel: int) -> Any:
    """Return the scale of a channel, 1 where there is none."""
    return ONE if scale == 0 else f32(scale + step * channel)[0]


# step: bytes from one channel's scale to the next, 0 for one of all.
@kernel("x y scale step shrink items channels places", "eps")
def normalize(record: Any, part: int, parts: int) -> None:
    """Compute y = scale x r, r = 1 / sqrt(sum of x^2 over channels + eps).

    Shapes: x, y (items, channels, places); shrink (items, places), which gets r.
    """
    a = carray(record, 1)[0]
    chunks = (a.places + PLACES - 1) // PLACES
    units, row = a.items * chunks, 4 * a.places
    for unit in range(units * part // parts, units * (part + 1) // parts):
        first = unit % chunks * PLACES
        length = min(PLACES, a.places - first)
        start = 4 * (unit // chunks * a.channels * a.places + first)
        at = a.shrink + 4 * (unit // chunks * a.places + first)
        r = f32(at)
        for i in range(length):
            r[i] = ZERO
        for c in range(a.channels):
            x = a.x + start + c * row
            for i in range(0, length, LANES):
                value = _some(x + 4 * i, length - i)
                total = vfma(value, value, _some(at + 4 * i, length - i))
                _put(total, at + 4 * i, length - i)
        inverse_root(at, at, length, a.eps)
        for c in range(a.channels):
            x, y = a.x + start + c * row, a.y + start + c * row
            scale = spread(_factor(a.scale, a.step, c))
            for i in range(0, length, LANES):
                value = _some(x + 4 * i, length - i)
                value = vmul(vmul(value, _some(at + 4 * i, length - i)), scale)
                _put(value, y + 4 * i, length - i)


@kernel("x dy dx scale step shrink along items channels places")
def normalize_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = r (scale dy - x r (sum of scale dy x r over channels)).

    Shapes: as of `normalize`; along (items, places) is scratch.
    """
    a = carray(record, 1)[0]
    chunks = (a.places + PLACES - 1) // PLACES
    units, row = a.items * chunks, 4 * a.places
    for unit in range(units * part // parts, units * (part + 1) // parts):
        first = unit % chunks * PLACES
        length = min(PLACES, a.places - first)
        start = 4 * (unit // chunks * a.channels * a.places + first)
        skipped = 4 * (unit // chunks * a.places + first)
        r, at = a.shrink + skipped, a.along + skipped
        along = f32(at)
        for i in range(length):
            along[i] = ZERO
        for c in range(a.channels):
            x, dy = a.x + start + c * row, a.dy + start + c * row
            scale = spread(_factor(a.scale, a.step, c))
            for i in range(0, length, LANES):
                left = length - i
                one = vmul(_some(x + 4 * i, left), _some(dy + 4 * i, left))
                one = vmul(one, _some(r + 4 * i, left))
                total = vfma(one, scale, _some(at + 4 * i, left))
                _put(total, at + 4 * i, left)
        for i in range(0, length, LANES):
            value = vmul(_some(at + 4 * i, length - i), _some(r + 4 * i, length - i))
            _put(value, at + 4 * i, length - i)
        for c in range(a.channels):
            x, dy = a.x + start + c * row, a.dy + start + c * row
            dx, scale = a.dx + start + c * row, spread(_factor(a.scale, a.step, c))
            for i in range(0, length, LANES):
                left = length - i
                one = vmul(_some(x + 4 * i, left), _some(at + 4 * i, left))
                two = vmul(_some(dy + 4 * i, left), scale)
                _put(vmul(vsub(two, one), _some(r + 4 * i, left)), dx + 4 * i, left)


@kernel("x dy shrink totals items channels places")
def scale_sums(record: Any, part: int, parts: int) -> None:
    """Compute the sum of dy x r of every channel.

    Shapes: as of `normalize`; totals (channels,), float64.
    """
    a = carray(record, 1)[0]
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        total = 0.0
        for n in range(a.items):
            skipped = 4 * (n * a.channels + c) * a.places
            for first in range(0, a.places, PLACES):
                sums = spread(ZERO)
                for i in range(first, min(a.places, first + PLACES), LANES):
                    left = min(a.places, first + PLACES) - i
                    x = _some(a.x + skipped + 4 * i, left)
                    one = vmul(x, _some(a.dy + skipped + 4 * i, left))
                    r = _some(a.shrink + 4 * (n * a.places + i), left)
                    sums = vadd(sums, vmul(one, r))
                total += vsum(sums)
        f64(a.totals)[c] = total


@kernel("totals dscale rows count add")
def scale_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dscale as the sum of `count` totals each, added where `add` is not 0.

    Shapes: totals (rows, count), float64; dscale (rows,).
    """
    a = carray(record, 1)[0]
    dscale = f32(a.dscale)
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        total = 0.0
        for i in range(row * a.count, (row + 1) * a.count):
            total += f64(a.totals)[i]
        dscale[row] = np.float32(total) + (dscale[row] if a.add != 0 else ZERO)


class Normalize(LayerKernel[NormalizeOp]):
    """Vectors of channels to one length; see the portable kernel."""

    options = ("across_spatial", "channel_shared", "eps")

    @classmethod
    def suits(cls, op: NormalizeOp) -> bool:
        """Whether every place has its own length, and there is anything."""
        return not op.across_spatial and count(op.bottoms[0]) > 0

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for a value a place, and for the sums of channels."""
        items, channels, places = self._sizes.values()
        specs = {"shrink": ArraySpec((items, places), life="saved")}
        if self.node.backward:
            specs["along"] = ArraySpec((items, places))
            specs["totals"] = ArraySpec((channels,), dtype="float64")
        return specs

    @property
    def _sizes(self) -> dict[str, int]:
        shape = self.op.bottoms[0]
        return {"items": shape[0], "channels": shape[1], "places": count(shape, 2)}

    @property
    def _shares(self) -> dict[str, Any]:
        size = self.x.size
        return {"serial": few(size), "units": size // SERIAL_ELEMENTS}

    @property
    def _scale(self) -> dict[str, Any]:
        scale = self.params[0] if self.params else 0
        return {"scale": scale, "step": 0 if self.op.channel_shared else 4}

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        arrays = {"x": self.x, "y": self.y, "shrink": self.work["shrink"]}
        how = {**self._scale, **self._sizes, **self._shares}
        return [normalize(eps=self.op.eps, **arrays, **how)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dscale and dx."""
        arrays = {"x": self.x, "dy": self.dy, "shrink": self.work["shrink"]}
        how = {**self._sizes, **self._shares}
        calls = []
        dscale = self.dparams[0] if self.params else None
        if dscale is not None:
            totals, channels = self.work["totals"], self._sizes["channels"]
            rows = 1 if self.op.channel_shared else channels
            each = {"rows": rows, "count": channels // rows, "serial": True}
            calls += [
                scale_sums(totals=totals, **arrays, **how),
                scale_gradient(totals=totals, dscale=dscale, add=accumulate[0], **each),
            ]
        if self.dx is not None:
            along = self.work["along"]
            one = normalize_gradient(
                dx=self.dx, along=along, **arrays, **self._scale, **how
            )
            calls.append(one)
        return calls
