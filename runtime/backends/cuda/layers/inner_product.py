"""InnerProduct by cuBLAS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.inner_product import InnerProduct as InnerProductOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.columns import Columns
from runtime.backends.cuda.layer import CudaLayer, Wanted
from runtime.backends.cuda.layers.parameters import Working
from runtime.backends.cuda.layers.relu import ReLU, bias_gradient, rectified_sum
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.machine.library_call import LibraryCall, workspace_of
from runtime.backends.cuda.machine.products import Product
from runtime.backends.cuda.tensor import Blob, memory_of, reshaped
from runtime.layers.base import Context


class InnerProduct(CudaLayer[InnerProductOp]):
    """See `runtime.layers.inner_product.InnerProduct`."""

    options = ("num_output", "axis", "transpose", "bias_term")

    @classmethod
    def suits(cls, op: InnerProductOp) -> bool:
        """Take products that are not empty."""
        return count(op.bottoms[0]) > 0 and op.num_output > 0

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want rows in Caffe's order, as the weights have it."""
        one = Wanted(("first",), (True,))
        return one, one

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        op = self.op
        self._rows = count(op.bottoms[0], 0, op.axis)
        self._inner = count(op.bottoms[0], op.axis)
        self._weights = Working(self, 0, "first")
        self._bias = Working(self, 1, "first") if op.bias_term else None
        shape = (self._rows, op.num_output)
        self._matrix = Columns.of(self.device, shape, self.storage)
        self.relu: ReLU | None = None  # one above, which runs as a part of this layer

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for a copy of the weights, a workspace, and the parts of sums."""
        wanted = self._weights.arrays()
        if self._bias is not None:
            wanted |= self._bias.arrays()
        planned = [self._plain, *self._backward.values()]
        if self.relu is not None:
            planned.append(self._above)
        most = max(one.workspace_bytes for one in planned)
        if most:
            wanted["workspace"] = workspace_of(most)
        if self._bias is not None and self.node.learn[1]:
            wanted["partial sums"] = self._matrix.partial(lasting=True)
        return wanted

    def _product(self, **options: Any) -> Product:
        storage: Any = self.storage
        tf32 = self.precision == "tf32"
        return Product(**{"storage": storage, "out": storage, "tf32": tf32, **options})

    @cached_property
    def _plain(self) -> Any:
        return self._planned("bias" if self.op.bias_term else "")

    @cached_property
    def _above(self) -> Any:
        return self._planned("bias_relu" if self.op.bias_term else "relu")

    def _planned(self, epilogue: Any) -> Any:
        """Plan y (rows, outputs) = x (rows, inner) w^T."""
        op, n, k = self.op, self.op.num_output, self._inner
        return self.device.product(
            self._product(
                m=self._rows,
                n=n,
                k=k,
                a_rows=True,
                b_rows=op.transpose,
                lda=k,
                ldb=n if op.transpose else k,
                ldc=n,
                epilogue=epilogue,
            )
        )

    @cached_property
    def _backward(self) -> dict[str, Any]:
        """The products of the gradients that are wanted, by name."""
        op, m, n, k = self.op, self._rows, self.op.num_output, self._inner
        found = {}
        if self.node.propagate[0]:
            # dx (rows, inner) = dy (rows, outputs) w
            found["x"] = self._product(
                m=m,
                n=k,
                k=n,
                a_rows=True,
                b_rows=not op.transpose,
                lda=n,
                ldb=n if op.transpose else k,
                ldc=k,
            )
        if self.node.learn[0]:
            # dw (outputs, inner) = dy^T x, or its transpose x^T dy; float32 as it is
            rows, columns = (k, n) if op.transpose else (n, k)
            for beta in (0.0, 1.0):
                found[f"w{beta:g}"] = self._product(
                    m=rows,
                    n=columns,
                    k=m,
                    a_rows=False,
                    b_rows=True,
                    lda=rows,
                    ldb=columns,
                    ldc=columns,
                    out="float32",
                    beta=beta,
                )
        return {name: self.device.product(one) for name, one in found.items()}

    def _call(self, planned: Any, **operands: Any) -> LibraryCall:
        memories = {name: memory_of(one) for name, one in operands.items()}
        return LibraryCall(self.device, planned, memories, self.work.get("workspace"))

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute y."""
        return self._forward(self._plain)

    def forward_above(self) -> list[Call]:
        """Return the calls that compute y and the ReLU above."""
        return self._forward(self._above)

    def _forward(self, planned: Any) -> list[Call]:
        operands = {"a": self.x, "b": self._weights.memory, "out": self.y}
        calls = self._weights.before()
        if self._bias is not None:
            calls += self._bias.before()
            operands["bias"] = self._bias.memory
        return [*calls, self._call(planned, **operands)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients."""
        calls: list[Call] = []
        if self.op.bias_term and self.dparams[1] is not None:
            calls += bias_gradient(self, self._matrix, self._dy, accumulate[1])
        return calls + self._gradients(accumulate)

    def backward_below(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls of the gradient of the ReLU above, then of this layer."""
        calls = rectified_sum(self, self._matrix, (self._y, self._dy), accumulate)
        return calls + self._gradients(accumulate)

    @property
    def _y(self) -> Blob:
        return reshaped(self.y, self._matrix.sizes[:2])

    @property
    def _dy(self) -> Blob:
        return reshaped(self.dy, self._matrix.sizes[:2])

    def _gradients(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the gradients of the weights and of x."""
        calls: list[Call] = []
        if self.dparams[0] is not None:
            left, right = self.dy, self.x
            if self.op.transpose:
                left, right = right, left
            planned = self._backward["w1" if accumulate[0] else "w0"]
            calls.append(self._call(planned, a=left, b=right, out=self.dparams[0]))
        if self.dx is not None:
            weights = self._weights.memory
            planned = self._backward["x"]
            calls.append(self._call(planned, a=self.dy, b=weights, out=self.dx))
        return calls
