"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.ops.base import count
from netspec.ops.relu import ReLU as ReLUOp
from runtime.backends.cuda.columns import Columns, column_sum
from runtime.backends.cuda.layer import CudaLayer, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import Blob

_FORWARD = CudaKernel("relu.cu", "relu")
_BACKWARD = CudaKernel("relu.cu", "relu_gradient")


def bias_gradient(
    layer: CudaLayer[Any], matrix: Columns, dy: Blob, accumulate: bool
) -> list[Call]:
    """Return the calls that sum dy over its rows: db = (db +) the sum.

    The layer has parameter 1, the bias, and scratch for "partial sums".
    """
    out, parts = layer.dparams[1], layer.work["partial sums"]
    return column_sum(layer, matrix, dy, out, parts, accumulate=accumulate)


def rectified_sum(
    layer: CudaLayer[Any],
    matrix: Columns,
    blobs: tuple[Blob, Blob],
    accumulate: Sequence[bool],
) -> list[Call]:
    """Return the calls that go back through a ReLU to a layer with a bias below it.

    dy = dy where y is positive, else 0; db (+)= the sum of dy over its rows. blobs: y
    and dy of the layer, whose memory the ReLU shares.
    """
    y, dy = blobs
    if len(layer.dparams) < 2 or layer.dparams[1] is None:
        size, kernel = count(y.shape), stored_as(_BACKWARD, y)
        return [layer.strided(kernel, size, y, dy, dy, size, 0.0)]
    out, parts = layer.dparams[1], layer.work["partial sums"]
    add = accumulate[1]
    return column_sum(layer, matrix, dy, out, parts, accumulate=add, sign=y, masked=dy)


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
