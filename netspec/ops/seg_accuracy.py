"""SegAccuracy: how well a segmentation is, of a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import (
    NoReadOp,
    Range,
    Shape,
    bottom_name,
    infers,
    label,
    numbers_below,
)
from netspec.ops.loss import check_batch, check_labels
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class SegAccuracy(NoReadOp):
    """Accuracy, mean recall and mean Jaccard index of the best class a pixel.

    Of n[t, p], the number of pixels of label t whose best class is p:

        accuracy = sum_t n[t, t] / sum n
        recall = mean of n[t, t] / n[t, :], over the classes that have labels
        Jaccard = mean of n[t, t] / (n[t, :] + n[:, t] - n[t, t]), over all classes

    `ignored` labels do not count. `reset` counts every pass anew; otherwise n grows
    from pass to pass. There is no gradient.

    Shapes: scores (N, C, ...), label (N, 1, ...) -> y (1, 1, 1, 3).
    """

    type: ClassVar[str] = "SegAccuracy"
    ignored: tuple[int, ...]
    reset: bool

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
        return {1: numbers_below(self.bottoms[0][1])}


@infers("SegAccuracy")
def seg_accuracy(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> SegAccuracy:
    """Read a SegAccuracy layer."""
    param = layer.seg_accuracy_param
    scores = bottoms[0]
    if len(scores) < 2 or scores[1] < 2:
        raise ShapeError(
            f"{bottom_name(layer, 0)} has shape {scores}; expected scores of at least "
            f"2 classes on axis 1",
            layer=label(layer),
        )
    check_batch(layer, bottoms)
    check_labels(layer, bottoms, 1)
    if param.HasField("metric"):
        warn_user(
            f"{label(layer)}: seg_accuracy_param.metric is of DeepLab v1 and is not "
            f"read here, as in later forks: the top has accuracy, recall and Jaccard "
            f"index, in this order; leave it out",
            SpecWarning,
        )
    return SegAccuracy(
        layer=layer,
        bottoms=bottoms,
        tops=((1, 1, 1, 3),),
        ignored=tuple(dict.fromkeys(param.ignore_label)),
        reset=param.reset,
    )
