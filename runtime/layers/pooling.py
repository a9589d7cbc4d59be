"""Pooling: the maximum or the average of every window of a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netspec.ops.base import count
from netspec.ops.pooling import Pooling as PoolingOp
from runtime.arrays import ArraySpec
from runtime.layers._planes import POOLS, Maximum, Planes, check_pool
from runtime.layers._windows import Windows
from runtime.layers.base import Context, Kernel, register

if TYPE_CHECKING:
    from netspec.graph import Node


@register
class Pooling(Kernel[PoolingOp]):
    """The maximum or the average of every window.

        MAX  y = max of x over the window;      dx = dy at the first maximum, else 0
        AVE  y = sum of x over the window / n;  dx = dy / n, n the size of the window

    Overlapping windows add up in dx. n counts padding but nothing beyond it, as in
    Caffe. A second top of MAX holds h W + w of the maximum. A NaN in a window gives
    NaN, where Caffe passes over it.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'); the sizes are explained at the op.
    """

    types = ("Pooling",)

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        check_pool(node)
        op = self.op
        image, positions = op.bottoms[0], op.tops[0]
        windows = Windows(
            image[2:], positions[2:], op.kernel, op.stride, op.pad, dilation=(1, 1)
        )
        size = max(1, count(windows.sizes))
        at_once = max(1, self.backend.block_elements // size)
        total = count(image, 0, 2)
        self._planes = Planes(total, windows, min(at_once, total))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for room to fold in, and for the winners where they are needed."""
        masked = len(self.op.tops) > 1
        learns = masked or any(self.node.propagate)
        specs = self._planes.arrays(self.op.pool, learns)
        if masked:
            specs["index"] = ArraySpec(self._planes.windows.sizes, life="state")
        return specs

    def setup(self) -> None:
        """Bind every block of planes."""
        total, windows = self._planes.total, self._planes.windows
        image, positions = (total, *windows.sizes), (total, *windows.positions)
        self._blocks = [
            POOLS[self.op.pool](self.xp, windows, self.work, at)
            for at in self._planes.blocks
        ]
        for block in self._blocks:
            block.bind_forward(self.x.reshape(image), self.y.reshape(positions))
            if self.dx is not None:
                block.bind_backward(self.dx.reshape(image), self.dy.reshape(positions))
        if len(self.tops) > 1:
            index = self.work["index"]
            index[...] = self.xp.arange(index.size).reshape(index.shape)
            for block in self._blocks:
                if isinstance(block, Maximum):
                    block.bind_mask(self.tops[1].reshape(positions), index)

    def forward(self) -> None:
        """Compute y, and the mask if there is a second top."""
        for block in self._blocks:
            block.forward()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        if self.dx is None:
            return
        self.dx.fill(0)
        for block in self._blocks:
            block.backward()
