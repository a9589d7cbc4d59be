"""DetectionEvaluate of the SSD fork: which detections are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import NoReadOp, Range, Shape, infers, label
from netspec.ops.boxes import Resizing, check_classes, check_list, resizing
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class DetectionEvaluate(NoReadOp):
    """True and false positives among detections, a row of 5 values each.

    name_size_file: text file with the name, height and width of every image, in whose
    pixels overlaps are then measured; "" for none.

    Shapes: detections (1, 1, K, 7), true boxes (1, 1, boxes, 8) -> (1, 1, classes + K,
    5), classes without the background; fewer rows where detections are invalid, which
    only the run tells.
    """

    type: ClassVar[str] = "DetectionEvaluate"
    learns_shapes: ClassVar[bool] = True
    resizable: ClassVar[bool] = True
    num_classes: int
    background: int
    overlap_threshold: float
    evaluate_difficult_gt: bool
    name_size_file: str
    resizing: Resizing | None

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: a measure has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """All."""
        return (0, 1)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Rows of item -1 say that nothing is there."""
        return dict.fromkeys((0, 1), Range(-1, -1, integer=True))


@infers("DetectionEvaluate")
def detection_evaluate(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> DetectionEvaluate:
    """Read a DetectionEvaluate layer."""
    param = layer.detection_evaluate_param
    rows = check_list(layer, bottoms[0], 0, 7)
    check_list(layer, bottoms[1], 1, 8)
    classes = check_classes(layer, param.num_classes)
    if param.background_label_id >= classes:
        raise SpecError(
            f"background_label_id is {param.background_label_id}, but there are "
            f"{classes} classes; expected 0 to {classes - 1}",
            layer=label(layer),
        )
    if not param.overlap_threshold > 0:
        raise SpecError(
            f"overlap_threshold is {param.overlap_threshold:g}; it is an overlap from "
            f"which on a detection is right, so give a value above 0",
            layer=label(layer),
        )
    resized = param.HasField("resize_param")
    return DetectionEvaluate(
        layer=layer,
        bottoms=bottoms,
        tops=((1, 1, classes - 1 + rows, 5),),
        num_classes=classes,
        background=param.background_label_id,
        overlap_threshold=param.overlap_threshold,
        evaluate_difficult_gt=param.evaluate_difficult_gt,
        name_size_file=param.name_size_file,
        resizing=resizing(layer, param.resize_param) if resized else None,
    )
