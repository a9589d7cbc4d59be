"""PReLU."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.graph import Node
from netspec.ops.activation import PReLU as PReLUOp
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.columns import FINISHERS, TILE_THREADS, Columns
from runtime.backends.cuda.layer import CudaLayer, Wanted
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import CARRIERS
from runtime.layers.base import Context

_FORWARD = CudaKernel("prelu.cu", "prelu")
_BACKWARD = CudaKernel("prelu.cu", "prelu_gradient")
_FINISH = CudaKernel("columns.cu", "column_finish")
MOST_THREADS = 1024  # of a block


class PReLU(CudaLayer[PReLUOp]):
    """See `runtime.layers.activation.PReLU`.

    One launch computes dx and sums up the gradient of the slopes on the way.
    """

    options = ("channel_shared",)

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want the channels last, which then are columns."""
        one = Wanted(("last",), (True,))
        return one, one

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        self._matrix = Columns.of(self.device, self.op.bottoms[0], self.storage)
        shared = int(self.op.channel_shared)
        self._forward = self._matrix.compiled(_FORWARD, SHARED=shared)
        self._backward = self._matrix.compiled(_BACKWARD, SHARED=shared)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for partial sums, and for a copy of x where y overwrites it."""
        specs = {"sums": self._matrix.partial()}
        layer = self.op.layer
        if self.node.backward and layer.bottom[0] == layer.top[0]:
            size = (count(self.op.tops[0]),)
            specs["x"] = ArraySpec(size, CARRIERS[self.storage], life="saved")
        return specs

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        blobs = (self.x, self.y, self.work.get("x"), self.params[0])
        grid, sizes = self._matrix.grid, self._matrix.sizes
        return [self.launch(self._forward, grid, (TILE_THREADS,), *blobs, *sizes)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute dx and the gradient of the slopes."""
        dslope, dx, matrix = self.dparams[0], self.dx, self._matrix
        if dslope is None and dx is None:
            return []
        sums = None if dslope is None else self.work["sums"]
        x = self.work.get("x", self.x)
        blobs = (x, self.dy, dx, self.params[0], sums)
        calls: list[Call] = [
            self.launch(
                self._backward, matrix.grid, (TILE_THREADS,), *blobs, *matrix.sizes
            )
        ]
        if dslope is not None:
            calls.append(self._finish(dslope, accumulate[0]))
        return calls

    def _finish(self, dslope: Array, add: bool) -> Call:
        """Return the call that adds the rows of partial sums, or all of them."""
        matrix = self._matrix
        groups, columns = matrix.groups, matrix.columns
        (grid, block) = matrix.finish
        if self.op.channel_shared:
            groups, columns = groups * columns, 1
            grid, block = (1,), (MOST_THREADS // FINISHERS * FINISHERS,)
        arguments = (self.work["sums"], dslope, groups, columns, int(add))
        return self.launch(_FINISH, grid, block, *arguments)
