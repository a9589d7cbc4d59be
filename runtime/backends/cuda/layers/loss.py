"""Losses: a number for every block, then their sum; labels and losses are float32.

A label that is no class makes the loss and its gradients NaN: nobody waits for the
device to look at labels. ContrastiveLoss and InfogainLoss run on the portable kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from netspec.graph import Node
from netspec.ops import loss as ops
from netspec.ops.base import count
from netspec.ops.softmax import SoftmaxWithLoss as SoftmaxWithLossOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.machine.launch import THREADS, Call, CudaKernel, blocks_for
from runtime.backends.cuda.tensor import Order

_SOFTMAX = CudaKernel("softmax_loss.cu", "softmax_loss")
_SOFTMAX_GRADIENT = CudaKernel("softmax_loss.cu", "softmax_loss_gradient")
_TERMS = CudaKernel("losses.cu", "loss_terms")
_GRADIENT = CudaKernel("losses.cu", "loss_gradient")
_FINISH = CudaKernel("losses.cu", "loss_finish")

BUSY = 8  # blocks for each multiprocessor, at most
ELEMENTS = 4  # of a thread, at least, where there are many


class _Loss(CudaLayer[Any]):
    """A loss whose blocks leave two sums each: of its terms, and of what counts."""

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the sums of blocks, and for what the loss was divided by."""
        size = 2 * self._blocks
        return {
            "partial": ArraySpec((size,)),
            "divisor": ArraySpec((1,), life="saved"),
        }

    @property
    def _blocks(self) -> int:
        """The number of blocks."""
        raise NotImplementedError

    def _at_most(self, blocks: int) -> int:
        return max(1, min(blocks, BUSY * self.device.multiprocessors))

    def _finish(self, scale: float, fixed: float, *, counts: bool = False) -> Call:
        """Return the call that makes the loss of the sums; see `loss_finish`."""
        given = (self.work["partial"], self.y, self.work["divisor"], self._blocks)
        numbers = (scale, fixed, int(counts))
        return self.launch(_FINISH, (1,), (THREADS,), *given, *numbers)

    @property
    def _ignored(self) -> tuple[int, int]:
        """Whether a label is ignored, and which."""
        ignored = getattr(self.op, "ignore_label", None)
        return (0, 0) if ignored is None else (1, ignored)


class SoftmaxWithLoss(_Loss):
    """See `runtime.layers.softmax.SoftmaxWithLoss`.

    Some threads of a block share a row of scores. The probabilities are kept as
    float32.
    """

    op: SoftmaxWithLossOp
    options = (
        "axis",
        "ignore_label",
        "normalization",
        "class_weighting",
        "by_frequency",
        "label_smoothing",
        "fixed",
    )

    @classmethod
    def suits(cls, op: SoftmaxWithLossOp) -> bool:
        """Whether there are scores, and the classes count alike."""
        return op.plain and count(op.bottoms[0]) > 0

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want the classes last if they are the channels."""
        op: Any = node.op
        order: Order = "last" if op.axis == 1 else "first"
        bottoms: tuple[Order | None, ...] = (order, "first")
        tops: tuple[Order | None, ...] = ("first", order)[: len(op.tops)]
        half = (False,) * len(op.tops)
        return Wanted(bottoms, (True, False)), Wanted(tops, half)

    @property
    def _sizes(self) -> tuple[int, int, int]:
        """Rows, classes, and how far apart the classes of a row are."""
        scores, axis = self.op.bottoms[0], self.op.axis
        inner = 1 if axis == 1 else count(scores, axis + 1)
        return count(scores) // scores[axis], scores[axis], inner

    @property
    def _lanes(self) -> int:
        """How many threads share a row: none wait for memory of others' rows."""
        _, classes, inner = self._sizes
        if inner > 1:
            return 1
        wanted = -(-classes // ELEMENTS)
        return min(THREADS, 1 << (wanted - 1).bit_length())

    @property
    def _blocks(self) -> int:
        rows, _, _ = self._sizes
        return self._at_most(-(-rows * self._lanes // THREADS))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the probabilities too, where they are no top."""
        wanted = super().arrays()
        if len(self.op.tops) == 1:
            wanted["p"] = ArraySpec((count(self.op.bottoms[0]),), life="saved")
        return wanted

    def _launch(self, kernel: CudaKernel, *arguments: Any) -> Call:
        compiled = stored_as(kernel, self.x, LANES=self._lanes)
        given = (*arguments, *self._sizes, *self._ignored)
        return self.launch(compiled, (self._blocks,), (THREADS,), *given)

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute p and the loss."""
        op, (rows, _, _) = self.op, self._sizes
        batch = count(op.bottoms[0], 0, op.axis)
        fixed: dict[str, float]
        fixed = {"FULL": rows, "BATCH_SIZE": batch, "NONE": 1, "VALID": 0}
        fixed["PRE_FIXED"] = max(1.0, op.fixed)
        given = (self.x, self.bottoms[1], self._p, self.work["partial"])
        counts = op.normalization == "VALID"
        return [
            self._launch(_SOFTMAX, *given),
            self._finish(1.0, fixed[op.normalization], counts=counts),
        ]

    @property
    def _p(self) -> Any:
        return self.tops[1] if len(self.tops) > 1 else self.work["p"]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes dx."""
        if self.dx is None:
            return []
        given = (self._p, self.bottoms[1], self.dy, self.work["divisor"], self.dx)
        return [self._launch(_SOFTMAX_GRADIENT, *given)]


class _ElementLoss(_Loss):
    """A loss that is a sum over elements of scores and targets; see losses.cu."""

    kind: ClassVar[str]
    labelled: ClassVar[bool] = False  # whether a row of scores has one label

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want all in Caffe's order, and all but the scores as float32."""
        bottoms = len(node.op.bottoms)
        order: Order = "first"
        half = (True, *(False,) * (bottoms - 1))
        return Wanted((order,) * bottoms, half), Wanted((order,), (False,))

    @property
    def _kind(self) -> str:
        return self.kind

    @property
    def _terms(self) -> int:
        """How many terms the sum has."""
        return count(self.op.bottoms[0])

    @property
    def _number(self) -> float:
        """A number that the kind needs."""
        return 0.0

    @property
    def _blocks(self) -> int:
        return self._at_most(blocks_for(-(-self._terms // ELEMENTS))[0])

    @property
    def _batch(self) -> int:
        return max(1, self.op.bottoms[0][0])

    def _launch(self, kernel: CudaKernel, blocks: int, *arguments: Any) -> Call:
        classes = max(1, count(self.op.bottoms[0], 1)) if self.labelled else 1
        defines = {"KIND": self._kind, "CLASSES": classes}
        compiled = stored_as(kernel, self.x, **defines)
        given = (*arguments, self._number, *self._ignored)
        return self.launch(compiled, (blocks,), (THREADS,), *given)

    @property
    def _inputs(self) -> tuple[Any, ...]:
        """The four inputs, None for those that there are not."""
        return (*self.bottoms, None, None)[:4]

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute the loss."""
        given = (*self._inputs, self.work["partial"], self._terms)
        return [self._launch(_TERMS, self._blocks, *given), self._divide()]

    def _divide(self) -> Call:
        return self._finish(1.0, self._batch)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes the wanted gradients."""
        da, db = self.dbottoms[0], None if self.labelled else self.dbottoms[1]
        size = count(self.op.bottoms[0])
        if (da is None and db is None) or not size:
            return []
        given = (*self._inputs, self.dy, self.work["divisor"], da, db, size)
        return [self._launch(_GRADIENT, blocks_for(size)[0], *given)]


class EuclideanLoss(_ElementLoss):
    """See `runtime.layers.loss.EuclideanLoss`."""

    op: ops.EuclideanLoss
    kind = "EUCLIDEAN"

    def _divide(self) -> Call:
        return self._finish(0.5, self._batch)


class SigmoidCrossEntropyLoss(_ElementLoss):
    """See `runtime.layers.loss.SigmoidCrossEntropyLoss`."""

    op: ops.SigmoidCrossEntropyLoss
    options = ("ignore_label", "normalization", "fixed")
    kind = "CROSS_ENTROPY"

    def _divide(self) -> Call:
        op, size = self.op, self._terms
        fixed: dict[str, float]
        fixed = {"FULL": size, "VALID": size, "BATCH_SIZE": self._batch, "NONE": 1}
        fixed["PRE_FIXED"] = max(1.0, op.fixed)
        counts = op.normalization == "VALID" and op.ignore_label is not None
        return self._finish(1.0, fixed[op.normalization], counts=counts)


class SmoothL1Loss(_ElementLoss):
    """See `runtime.layers.loss.SmoothL1Loss`."""

    op: ops.SmoothL1Loss
    options = ("sigma", "divisor")
    kind = "SMOOTH_L1"

    @classmethod
    def suits(cls, op: ops.SmoothL1Loss) -> bool:
        """Whether there are no losses of positions."""
        return len(op.tops) == 1

    def _divide(self) -> Call:
        return self._finish(1.0, self.op.divisor)

    @property
    def _number(self) -> float:
        return float(self.op.sigma) ** 2


class HingeLoss(_ElementLoss):
    """See `runtime.layers.loss.HingeLoss`."""

    op: ops.HingeLoss
    options = ("norm",)
    labelled = True

    @property
    def _kind(self) -> str:
        return "HINGE" if self.op.norm == "L1" else "SQUARED_HINGE"


class MultinomialLogisticLoss(_ElementLoss):
    """See `runtime.layers.loss.MultinomialLogisticLoss`."""

    op: ops.MultinomialLogisticLoss
    kind = "LIKELIHOOD"
    labelled = True

    @classmethod
    def suits(cls, op: ops.MultinomialLogisticLoss) -> bool:
        """Whether there are probabilities."""
        return count(op.bottoms[0]) > 0

    @property
    def _terms(self) -> int:
        return int(self.op.bottoms[0][0])
