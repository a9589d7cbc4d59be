"""Accuracy: the share of labels among the best scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import (
    NoReadOp,
    Range,
    Shape,
    canonical_axis,
    infers,
    label,
    numbers_below,
)
from netspec.ops.loss import check_labels
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Accuracy(NoReadOp):
    """The share of positions whose label is among the `top_k` best classes.

    Labels equal to `ignore_label` do not count. A second top (C,) holds the share a
    class. There is no gradient.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values) -> accuracy ().
    """

    type: ClassVar[str] = "Accuracy"
    top_k: int
    axis: int
    ignore_label: int | None

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: a measure has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """Scores and labels."""
        return (0, 1)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Labels are classes."""
        return {1: numbers_below(self.bottoms[0][self.axis])}


@infers("Accuracy")
def accuracy(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Accuracy:
    """Read an Accuracy layer."""
    param = layer.accuracy_param
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    check_labels(layer, bottoms, axis)
    classes = bottoms[0][axis]
    if not 1 <= param.top_k <= classes:
        raise SpecError(
            f"accuracy_param.top_k is {param.top_k}; expected from 1 to {classes}, "
            f"the number of classes on axis {axis}",
            layer=label(layer),
        )
    given = param.HasField("ignore_label")
    return Accuracy(
        layer=layer,
        bottoms=bottoms,
        tops=((), (classes,))[: max(1, len(layer.top))],
        top_k=param.top_k,
        axis=axis,
        ignore_label=int(param.ignore_label) if given else None,
    )
