"""Softmax by itself, along any axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.graph import Node
from netspec.ops.softmax import Softmax as SoftmaxOp
from runtime.backends.cuda.layer import CudaLayer, Wanted
from runtime.backends.cuda.machine.launch import Call, CudaKernel, blocks_for
from runtime.backends.cuda.tensor import IN_SOURCES, Blob, along, place_of

SHORT = 32  # classes of a row that goes through shared memory
SHORT_ROWS = 128  # that a block takes at once
ROW_THREADS = {1024: 128, 8192: 256}  # of a row of up to so many classes; else 1024


class Softmax(CudaLayer[SoftmaxOp]):
    """Scores to probabilities; see the portable kernel.

    One launch each way. Probabilities are float32; scores may be of 16 bits.
    """

    options = ("axis",)

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want the scores anywhere, and probabilities in float32."""
        return Wanted((None,), (True,)), Wanted((None,), (False,))

    def _calls(self, suffix: str, blobs: Sequence[Blob]) -> list[Call]:
        outer, classes, inner = along(self.x, self.op.axis)
        rows = outer * inner
        if not rows * classes:
            return []
        grid, block, sizes = blocks_for(rows), 256, (rows, classes, inner)
        defines: dict[str, Any] = {}
        if inner > 1:
            name = "softmax_columns"
        elif classes <= SHORT:
            name, block = "softmax_short", SHORT_ROWS
            defines["CLASSES"] = classes
            grid, sizes = blocks_for(rows, SHORT_ROWS), (rows,)  # type: ignore[assignment]
        else:
            name, grid, sizes = "softmax_rows", blocks_for(rows, 1), (rows, classes)  # type: ignore[assignment]
            threads = [few for most, few in ROW_THREADS.items() if classes <= most]
            block = (threads or [1024])[0]
        scores = IN_SOURCES[place_of(self.x).storage]
        probabilities = IN_SOURCES[place_of(self.y).storage]
        kernel = CudaKernel("softmax.cu", name + suffix)
        kernel = kernel.with_defines(FROM=scores, TO=probabilities, **defines)
        return [self.launch(kernel, grid, (block,), *blobs, *sizes)]

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        return self._calls("", (self.x, self.y))

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes dx."""
        if self.dx is None:
            return []
        return self._calls("_gradient", (self.y, self.dy, self.dx))
