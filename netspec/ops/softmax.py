"""Softmax, and the logistic loss on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.ops.base import (
    FromOutputOp,
    Range,
    Shape,
    canonical_axis,
    count,
    infers,
    numbers_below,
)
from netspec.ops.loss import LossOp, check_batch, check_labels
from netspec.ops.loss_param import (
    fixed_divisor,
    ignore_label,
    normalization,
    weighing,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Softmax(FromOutputOp):
    """y = exp(x) / (sum of exp(x) along `axis`)."""

    type: ClassVar[str] = "Softmax"
    axis: int


@dataclass(frozen=True, kw_only=True)
class SoftmaxWithLoss(LossOp):
    """loss = -sum of log(p of the labelled class) over a divisor, p = softmax(x).

    `normalization` is "FULL", "VALID", "BATCH_SIZE", "NONE" or "PRE_FIXED" (divided by
    `fixed`), resolved (here VALID is the default). A second top holds p. An item counts
    as much as its class weighs: `class_weighting`, or 1 / (items of the class) where
    `by_frequency`, else 1. With `label_smoothing` s the labelled class counts 1 - s and
    every other one s / C.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values) -> loss ().
    """

    type: ClassVar[str] = "SoftmaxWithLoss"
    axis: int
    ignore_label: int | None
    normalization: str
    fixed: float = 1.0
    class_weighting: tuple[float, ...] = ()
    by_frequency: bool = False
    label_smoothing: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether all items weigh the same and labels count whole."""
        weighs = self.class_weighting or self.by_frequency
        return not weighs and self.label_smoothing == 0

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The labels; the kernel saves p."""
        return (1,)

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The second top, where there is one: p is there then."""
        return (1,) if len(self.tops) > 1 else ()

    def saved_bytes(self, itemsize: int) -> int:
        """Return the size of p, unless it is a top."""
        return 0 if len(self.tops) > 1 else count(self.bottoms[0]) * itemsize

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The second, p."""
        return (1,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Labels are classes."""
        return {1: numbers_below(self.bottoms[0][self.axis])}


@infers("Softmax")
def softmax(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Softmax:
    """Read a Softmax layer."""
    axis = canonical_axis(layer, layer.softmax_param.axis, len(bottoms[0]), "axis")
    return Softmax(layer=layer, bottoms=bottoms, tops=bottoms, axis=axis)


@infers("SoftmaxWithLoss")
def softmax_with_loss(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> SoftmaxWithLoss:
    """Read a SoftmaxWithLoss layer."""
    axis = canonical_axis(layer, layer.softmax_param.axis, len(bottoms[0]), "axis")
    check_batch(layer, bottoms)
    check_labels(layer, bottoms, axis)
    return SoftmaxWithLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((), bottoms[0])[: max(1, len(layer.top))],
        axis=axis,
        ignore_label=ignore_label(layer),
        normalization=normalization(layer, default="VALID"),
        fixed=fixed_divisor(layer),
        **weighing(layer, bottoms[0][axis]),
    )
