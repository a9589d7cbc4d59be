"""SPP: pooling at several resolutions, so that the output has a fixed length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netspec.ops import spp
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.layers._planes import POOLS, Planes, check_pool
from runtime.layers._windows import Windows
from runtime.layers.base import Context, Kernel, register

if TYPE_CHECKING:
    from netspec.graph import Node


@register
class SPP(Kernel[spp.SPP]):
    """Poolings of a pyramid to 1, 2 x 2, 4 x 4, ... bins, flattened and joined.

    Shapes: x (N, C, H, W) -> y (N, C (1 + 4 + ...)), level by level; with one level
    (N, C, 1, 1).
    """

    types = ("SPP",)

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        check_pool(node)
        image = self.op.bottoms[0]
        total = count(image, 0, 2)
        at_once = max(1, self.backend.block_elements // max(1, count(image, 2)))
        self._levels = [
            Planes(
                total,
                Windows(image[2:], one.pooled, one.kernel, one.kernel, one.pad, (1, 1)),
                min(at_once, total),
            )
            for one in self.op.levels
        ]

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the arrays of every level, and for what it is pooled to."""
        specs = {}
        for level, planes in enumerate(self._levels):
            wanted = planes.arrays(self.op.pool, any(self.node.propagate))
            wanted["out"] = ArraySpec(planes.out)
            specs.update({f"{level}:{name}": spec for name, spec in wanted.items()})
        return specs

    def setup(self) -> None:
        """Bind every block of every level to its piece of the top."""
        image = self.op.bottoms[0]
        self._blocks, self._copies, self._dcopies = [], [], []
        start = 0
        for level, planes in enumerate(self._levels):
            prefix = f"{level}:"
            work = {
                name.removeprefix(prefix): array
                for name, array in self.work.items()
                if name.startswith(prefix)
            }
            flat = (planes.total, *planes.windows.sizes)
            length = image[1] * count(planes.windows.positions)
            out = work["out"]
            flat_out = out.reshape(image[0], length)
            at = slice(start, start + length)
            start += length
            self._copies.append((self._flat(self.y)[:, at], flat_out))
            if self.dx is not None:
                self._dcopies.append((flat_out, self._flat(self.dy)[:, at]))
            for chosen in planes.blocks:
                block = POOLS[self.op.pool](self.xp, planes.windows, work, chosen)
                block.bind_forward(self.x.reshape(flat), out)
                if self.dx is not None:
                    block.bind_backward(self.dx.reshape(flat), out)
                self._blocks.append(block)

    def _flat(self, top: Array) -> Array:
        return top.reshape(top.shape[0], count(top.shape, 1))

    def forward(self) -> None:
        """Pool to every level and join."""
        for block in self._blocks:
            block.forward()
        for top, out in self._copies:
            self.xp.copyto(top, out)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Add up the levels' gradients."""
        if self.dx is None:
            return
        for out, dtop in self._dcopies:
            self.xp.copyto(out, dtop)
        self.dx.fill(0)
        for block in self._blocks:
            block.backward()
