"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.base import count
from netspec.ops.relu import ReLU as ReLUOp
from runtime.backends.cuda.layer import CudaLayer, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel

_FORWARD = CudaKernel("relu.cu", "relu")
_BACKWARD = CudaKernel("relu.cu", "relu_gradient")


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
