"""Accuracy: the share of labels among the best scores."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.graph import Node
from netspec.ops.accuracy import Accuracy as AccuracyOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import Order, along
from runtime.layers._labels import positions

_PLACES = CudaKernel("accuracy.cu", "accuracy_places")
_ROWS = CudaKernel("accuracy.cu", "accuracy_rows")
_SHARE = CudaKernel("accuracy.cu", "accuracy_share")
_CLASSES = CudaKernel("accuracy.cu", "accuracy_classes")
THREADS = 256
FEW = 64  # classes that one thread compares


class Accuracy(CudaLayer[AccuracyOp]):
    """The share of labels among the `top_k` best scores; see the portable kernel.

    A label that is no class makes the result NaN: nobody waits for the device to tell.
    Two launches, which read the scores and the labels once; a third for the share of
    each class.
    """

    options = ("top_k", "axis", "ignore_label")

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want labels as Caffe has them; the places of scores must follow them."""
        op: AccuracyOp = node.op  # type: ignore[assignment]
        scores: Order | None = None if op.axis == 1 else "first"
        first: Order = "first"
        tops = len(op.tops)
        return (
            Wanted((scores, first), (True, False)),
            Wanted((first,) * tops, (False,) * tops),
        )

    @property
    def _places(self) -> int:
        return positions(self.op.bottoms[0], self.op.axis)

    @property
    def _blocks(self) -> int:
        most = 4 * self.device.multiprocessors
        by_thread = -(-self._places // THREADS)
        inner_rows = self.op.bottoms[0][self.op.axis] > FEW
        return max(1, min(most, self._places if inner_rows else by_thread))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the counts of blocks, and for verdicts where classes want them."""
        specs = {"partial": ArraySpec((2 * self._blocks,), "float32")}
        if len(self.op.tops) > 1:
            specs["verdicts"] = ArraySpec((self._places,), "float32")
        return specs

    def forward_calls(self) -> list[Call]:
        """Return the calls that count."""
        op, x, labels = self.op, self.x, self.bottoms[1]
        outer, classes, inner = along(x, op.axis)
        partial, verdicts = self.work["partial"], self.work.get("verdicts")
        places = outer * inner
        ignores = op.ignore_label is not None
        how = (op.top_k, int(ignores), op.ignore_label or 0)
        grid, block = (self._blocks,), (THREADS,)
        blobs = (x, labels, partial, verdicts)
        if inner == 1 and classes > FEW:
            kernel = stored_as(_ROWS, x)
            first = self.launch(kernel, grid, block, *blobs, places, classes, *how)
        else:
            kernel = stored_as(_PLACES, x)
            sizes = (places, classes, inner)
            first = self.launch(kernel, grid, block, *blobs, *sizes, *how)
        counts = (partial, self._blocks, self.y)
        calls: list[Call] = [first, self.launch(_SHARE, (1,), block, *counts)]
        if len(self.tops) > 1:
            shares = (labels, verdicts, self.tops[1], places)
            calls.append(self.launch(_CLASSES, (classes,), block, *shares))
        return calls

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return nothing: there is no gradient."""
        return []
