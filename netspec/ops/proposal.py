"""Proposal: regions of interest from scores and shifts of anchors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Shape,
    bottom_name,
    check_axes,
    count,
    infers,
    label,
)
from netspec.schema import LayerParameter

LEAST_INFO = 3  # height, width and scale of an image


@dataclass(frozen=True, kw_only=True)
class Proposal(NoReadOp):
    """The best boxes of every image that do not overlap much, as regions.

    There are A = ratios * scales anchors at every position, in this order. How many
    regions there are is known only when the layer runs; here it is the most there can
    be, N post_nms_topn. No gradient.

    Shapes: scores (N, 2 A, H, W), those of objects last, deltas (N, 4 A, H, W), image
    (N, 3) or (1, 3) of height, width and scale, or scales of both axes -> regions
    (R, 5) of image, x1, y1, x2, y2, and scores (R, 1) where there is a second top.
    """

    type: ClassVar[str] = "Proposal"
    learns_shapes: ClassVar[bool] = True
    feat_stride: int
    base_size: int
    min_size: int
    ratio: tuple[float, ...]
    scale: tuple[float, ...]
    pre_nms_topn: int
    post_nms_topn: int
    nms_thresh: float

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: which boxes are left has no gradient."""
        return ()


@infers("Proposal")
def proposal(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Proposal:
    """Read a Proposal layer."""
    param = layer.proposal_param
    ratio, scale = tuple(param.ratio), tuple(param.scale)
    for field, values in (("ratio", ratio), ("scale", scale)):
        if not values or not all(math.isfinite(v) and v > 0 for v in values):
            shown = ", ".join(f"{value:g}" for value in values)
            raise SpecError(
                f"proposal_param.{field} is ({shown}); give numbers above 0, such as "
                f"{'0.5, 1, 2' if field == 'ratio' else '8, 16, 32'}",
                layer=label(layer),
            )
    for field in ("feat_stride", "base_size", "pre_nms_topn", "post_nms_topn"):
        if getattr(param, field) < 1:
            raise SpecError(
                f"proposal_param.{field} is 0; give at least 1, or leave it out",
                layer=label(layer),
            )
    if not 0 <= param.nms_thresh <= 1:
        raise SpecError(
            f"proposal_param.nms_thresh is {param.nms_thresh:g}; expected a share from "
            f"0 to 1",
            layer=label(layer),
        )
    _check_shapes(layer, bottoms, len(ratio) * len(scale))
    regions = bottoms[0][0] * param.post_nms_topn
    return Proposal(
        layer=layer,
        bottoms=bottoms,
        tops=((regions, 5), (regions, 1))[: max(1, len(layer.top))],
        feat_stride=param.feat_stride,
        base_size=param.base_size,
        min_size=param.min_size,
        ratio=ratio,
        scale=scale,
        pre_nms_topn=param.pre_nms_topn,
        post_nms_topn=param.post_nms_topn,
        nms_thresh=param.nms_thresh,
    )


def _check_shapes(
    layer: LayerParameter, bottoms: tuple[Shape, ...], anchors: int
) -> None:
    scores, deltas, info = bottoms
    for index, (shape, per, what) in enumerate(
        ((scores, 2, "the scores"), (deltas, 4, "the deltas"))
    ):
        check_axes(layer, shape, 4, what)
        if shape[1] != per * anchors:
            raise ShapeError(
                f"{bottom_name(layer, index)}, {what}, has {shape[1]} channels; "
                f"expected {per} for each of the {anchors} anchors of "
                f"{len(layer.proposal_param.ratio)} ratios and "
                f"{len(layer.proposal_param.scale)} scales, {per * anchors}",
                layer=label(layer),
            )
    if (scores[0], *scores[2:]) != (deltas[0], *deltas[2:]):
        raise ShapeError(
            f"{bottom_name(layer, 0)} {scores} and {bottom_name(layer, 1)} {deltas} "
            f"must agree in all but their channels",
            layer=label(layer),
        )
    rows = info[0] if info else 0
    if rows not in (1, scores[0]) or count(info, 1) < LEAST_INFO:
        raise ShapeError(
            f"{bottom_name(layer, 2)}, the size of the image, must have shape "
            f"({scores[0]}, 3) of height, width and scale; got {info}",
            layer=label(layer),
        )
