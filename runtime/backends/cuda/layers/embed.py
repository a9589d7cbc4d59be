"""Embed: rows of a table, whose gradients are added up in order."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.inner_product import Embed as EmbedOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.columns import Columns
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.layers.relu import bias_gradient
from runtime.backends.cuda.machine.launch import THREADS, Call, CudaKernel
from runtime.backends.cuda.tensor import place_of, reshaped

_INDEX = CudaKernel("embed.cu", "embed_index")
_ROWS = CudaKernel("embed.cu", "embed")
_GRADIENT = CudaKernel("embed.cu", "embed_gradient")
MOST = 1 << 30  # comparisons of a gradient: numbers times rows of the table


class Embed(CudaLayer[EmbedOp]):
    """See `runtime.layers.inner_product.Embed`; a number NaN has no gradient.

    Every row of the gradient looks through all numbers, so that it adds in their order
    and a run that goes on has the same bits.
    """

    options = ("num_output", "input_dim", "bias_term")

    @classmethod
    def suits(cls, op: EmbedOp) -> bool:
        """Take tables that are not too large to be looked through."""
        size = count(op.bottoms[0])
        return 0 < size * op.input_dim <= MOST and op.num_output > 0

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want numbers of float32, and rows in Caffe's order."""
        return Wanted(("first",), (False,)), Wanted(("first",), (True,))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the numbers as integers, and for partial sums of the bias."""
        size = count(self.op.bottoms[0])
        wanted = {"index": ArraySpec((size,), "int32", life="saved")}
        if self.op.bias_term and self.node.learn[1]:
            # What the top is stored as is not known yet: float32 has the most parts.
            self._shape = (size, self.op.num_output)
            parts = [
                Columns.of(self.device, self._shape, storage).partial(lasting=True)
                for storage in ("float32", self.storage)
            ]
            wanted["partial sums"] = max(parts, key=lambda one: one.shape)
        return wanted

    def forward_calls(self) -> list[Call]:
        """Return the calls that read the numbers and copy the rows."""
        op, index, y = self.op, self.work["index"], self.y
        numbers, size = count(op.bottoms[0]), count(op.tops[0])
        bias = self.params[1] if op.bias_term else None
        read = (self.x, index, numbers, op.input_dim)
        rows = (index, self.params[0], bias, y, size, op.num_output)
        return [
            self.strided(_INDEX, numbers, *read),
            self.strided(stored_as(_ROWS, y), size, *rows),
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the gradients of the table and the bias."""
        op, dy = self.op, self.dy
        calls: list[Call] = []
        if self.dparams[0] is not None:
            numbers, columns = count(op.bottoms[0]), op.num_output
            grid = (op.input_dim, -(-columns // THREADS))
            sizes = (numbers, columns, int(accumulate[0]))
            what = (self.work["index"], dy, self.dparams[0])
            kernel = stored_as(_GRADIENT, dy)
            calls.append(self.launch(kernel, grid, (THREADS,), *what, *sizes))
        if op.bias_term and self.dparams[1] is not None:
            matrix = Columns.of(self.device, self._shape, place_of(dy).storage)
            flat = reshaped(dy, self._shape)
            calls += bias_gradient(self, matrix, flat, accumulate[1])
        return calls
