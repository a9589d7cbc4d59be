"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.ops.base import count
from netspec.ops.relu import ReLU as ReLUOp
from runtime.backends.cuda.columns import column_sum
from runtime.backends.cuda.layer import CudaLayer, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel

_FORWARD = CudaKernel("relu.cu", "relu")
_BACKWARD = CudaKernel("relu.cu", "relu_gradient")


def rectified_sum(
    layer: CudaLayer[Any], sizes: tuple[int, int], accumulate: Sequence[bool]
) -> list[Call]:
    """Return the calls that go back through a ReLU to a layer with a bias below it.

    dy = dy where y is positive, else 0; db (+)= the sum of dy over its rows. y and dy
    are those of the layer, whose memory the ReLU shares. sizes: rows and columns.
    """
    db = layer.dparams[1] if len(layer.dparams) > 1 else None
    y, dy = layer.y, layer.dy
    if db is None:
        size = count(layer.op.tops[0])
        kernel = stored_as(_BACKWARD, y)
        return [layer.strided(kernel, size, y, dy, dy, size, 0.0)]
    return column_sum(
        layer, dy, db, *sizes, accumulate=accumulate[1], sign=y, masked=dy
    )


class ReLU(CudaLayer[ReLUOp]):
    """See `runtime.layers.relu.ReLU`."""

    options = ("negative_slope",)

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        x, size = self.x, count(self.op.tops[0])
        kernel, slope = stored_as(_FORWARD, x), self.op.negative_slope
        return [self.strided(kernel, size, x, self.y, size, slope)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes dx."""
        if self.dx is None:
            return []
        sign = self.y if self.op.keeps_sign else self.x
        kernel, size = stored_as(_BACKWARD, sign), count(self.op.tops[0])
        slope = self.op.negative_slope
        return [self.strided(kernel, size, sign, self.dy, self.dx, size, slope)]
