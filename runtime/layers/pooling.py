"""Pooling: the maximum or the average of every window of a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netspec.ops.base import Shape, count
from netspec.ops.pooling import Pooling as PoolingOp
from runtime.arrays import ArraySpec
from runtime.counter_random import stream_keys
from runtime.layers._planes import POOLS, Maximum, Planes, check_pool
from runtime.layers._stochastic import Draw, Expect, stochastic_arrays
from runtime.layers._windows import Windows
from runtime.layers.base import Context, Kernel, register

if TYPE_CHECKING:
    from netspec.graph import Node


@register
class Pooling(Kernel[PoolingOp]):
    """The maximum or the average of every window.

        MAX  y = max of x over the window;      dx = dy at the first maximum, else 0
        AVE  y = sum of x over the window / n;  dx = dy / n, n the size of the window
        STOCHASTIC
          TRAIN  y = an x drawn with chance x / (sum of x);  dx = dy at the drawn one
          TEST   y = (sum of x^2) / (sum of x);  dx = dy (2 x - y) / (sum of x)

    Overlapping windows add up in dx. n counts padding but nothing beyond it, as in
    Caffe. A second top of MAX holds h W + w of the maximum. A NaN in a window gives
    NaN, where Caffe passes over it.

    What is drawn is a function of the seed, the layer's name and the number of the
    forward pass; see `_stochastic` for elements below 0. In TEST Caffe's gradient is
    undefined. Source: Zeiler and Fergus, arXiv:1301.3557.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'); the sizes are explained at the op.
    """

    types = ("Pooling",)

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        self._stochastic = self.op.pool == "STOCHASTIC"
        if not self._stochastic:
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
        if self._stochastic:
            specs = stochastic_arrays(self._planes, train=self.train, learns=learns)
            if self.train:
                size = count(self._planes.out)
                specs["spare"] = self.backend.random_scratch(size)
            return specs
        specs = self._planes.arrays(self.op.pool, learns)
        if masked:
            specs["index"] = ArraySpec(self._planes.windows.sizes, life="state")
        return specs

    def setup(self) -> None:
        """Bind every block of planes."""
        total, windows = self._planes.total, self._planes.windows
        image, positions = (total, *windows.sizes), (total, *windows.positions)
        if self._stochastic:
            self._set_up_stochastic(image, positions)
            return
        self._blocks: list[Any] = [
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

    def _set_up_stochastic(self, image: Shape, positions: Shape) -> None:
        """Bind every block of planes, and the random bits of a pass."""
        kind = Draw if self.train else Expect
        self._blocks = [
            kind(self.xp, self._planes.windows, self.work, at)
            for at in self._planes.blocks
        ]
        bits = self.work["bits"].reshape(positions) if self.train else None
        for block in self._blocks:
            block.bind_forward(self.x.reshape(image), self.y.reshape(positions), bits)
            if self.dx is not None:
                block.bind_backward(self.dx.reshape(image), self.dy.reshape(positions))

    def forward(self) -> None:
        """Compute y, and the mask if there is a second top."""
        if self._stochastic and self.train:
            context = self.context
            keys = stream_keys(context.seed, self.op.name, context.clock.value)
            self.backend.random_bits(self.work["bits"], keys, self.work["spare"])
        for block in self._blocks:
            block.forward()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        if self.dx is None:
            return
        self.dx.fill(0)
        for block in self._blocks:
            block.backward()
