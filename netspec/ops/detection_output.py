"""DetectionOutput of the SSD fork: from codes of default boxes to detections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Shape,
    bottom_name,
    count,
    enum_name,
    infers,
    label,
)
from netspec.ops.boxes import (
    Resizing,
    Suppression,
    check_boxes,
    check_refined,
    limit,
    resizing,
    suppression,
)
from netspec.schema import DetectionOutputParameter, LayerParameter


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Writing detections to files: `save_output_param`, read.

    images: how many make a set, after which the files are written; None for all that
    `name_size_file` lists.
    """

    directory: str
    prefix: str
    format: str
    label_map_file: str
    name_size_file: str
    images: int | None
    resizing: Resizing | None


@dataclass(frozen=True, kw_only=True)
class DetectionOutput(NoReadOp):
    """The boxes left after suppression of overlapping ones, a row of 7 values each.

    background: the class that is never output, -1 for none. code_type: "CORNER",
    "CENTER_SIZE" or "CORNER_SIZE". confidence_threshold: what a score must be above,
    or None. keep_top_k: of each item, None for all. objectness_score: of RefineDet,
    where there are more than three `read_bottoms`.

    Shapes: locations (N, priors 4), confidences (N, priors classes), priors (1, 2,
    priors 4), and from RefineDet objectness (N, priors 2), refinements (N, priors 4)
    -> (1, 1, boxes, 7). How many boxes there are is known only when the layer runs;
    here it is 1.
    """

    type: ClassVar[str] = "DetectionOutput"
    learns_shapes: ClassVar[bool] = True
    resizable: ClassVar[bool] = True
    num_classes: int
    share_location: bool
    priors: int
    background: int
    code_type: str
    variance_encoded_in_target: bool
    confidence_threshold: float | None
    nms: Suppression
    keep_top_k: int | None
    objectness_score: float
    read_bottoms: int
    saving: Saving | None

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: which boxes are left has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """All."""
        return tuple(range(len(self.bottoms)))


@infers("DetectionOutput")
def detection_output(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> DetectionOutput:
    """Read a DetectionOutput layer."""
    param = layer.detection_output_param
    classes, shared = param.num_classes, param.share_location
    priors = check_boxes(layer, bottoms, classes, shared)
    read = _read_bottoms(layer, bottoms, priors)
    if param.background_label_id >= classes:
        raise SpecError(
            f"background_label_id is {param.background_label_id}, but there are "
            f"{classes} classes; give one from 0 to {classes - 1}, or -1 for none",
            layer=label(layer),
        )
    threshold = param.confidence_threshold
    return DetectionOutput(
        layer=layer,
        bottoms=bottoms,
        tops=((1, 1, 1, 7),),
        num_classes=classes,
        share_location=shared,
        priors=priors,
        background=param.background_label_id,
        code_type=enum_name(param, "code_type"),
        variance_encoded_in_target=param.variance_encoded_in_target,
        confidence_threshold=(
            threshold if param.HasField("confidence_threshold") else None
        ),
        nms=suppression(layer, param.nms_param),
        keep_top_k=limit(layer, "keep_top_k", param.keep_top_k),
        objectness_score=param.objectness_score,
        read_bottoms=read,
        saving=_saving(layer, param),
    )


def _read_bottoms(
    layer: LayerParameter, bottoms: tuple[Shape, ...], priors: int
) -> int:
    """Return how many bottoms are read: not SSD's fourth, the images to be shown.

    RefineDet's fourth has two values for each default box.
    """
    images = len(bottoms) == 4 and len(bottoms[3]) == 4
    if images and count(bottoms[3], 1) != 2 * priors:
        if not layer.detection_output_param.visualize:
            raise ShapeError(
                f"{bottom_name(layer, 3)} has shape {bottoms[3]}; a fourth bottom is "
                f"the images, with visualize: true, or RefineDet's objectness, (N, "
                f"{2 * priors})",
                layer=label(layer),
            )
        return 3
    check_refined(layer, bottoms, priors)
    return len(bottoms)


def _saving(layer: LayerParameter, param: DetectionOutputParameter) -> Saving | None:
    """Read save_output_param; without a folder nothing is saved."""
    given = param.save_output_param
    if not given.output_directory:
        return None
    resized = given.HasField("resize_param")
    return Saving(
        directory=given.output_directory,
        prefix=given.output_name_prefix,
        format=given.output_format,
        label_map_file=given.label_map_file,
        name_size_file=given.name_size_file,
        images=given.num_test_image if given.HasField("num_test_image") else None,
        resizing=resizing(layer, given.resize_param) if resized else None,
    )
