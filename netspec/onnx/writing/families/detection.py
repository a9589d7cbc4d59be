"""PriorBox of SSD and ROIPooling of Fast R-CNN."""

from __future__ import annotations

import math

import numpy as np

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import label
from netspec.ops.prior_box import PriorBox

NEW_ROI_POOL = 22  # the opset that made it anew, for bfloat16


@writes("ROIPooling")
def roi_pooling(layer: Layer) -> Value:
    """Write MaxRoiPool, which is Fast R-CNN's."""
    if layer.opset >= NEW_ROI_POOL:
        warn_user(
            f"{label(layer.node.layer)}: ONNX Runtime 1.32 has no MaxRoiPool of opset "
            f"{layer.opset}; it has that of opset {NEW_ROI_POOL - 1}",
            SpecWarning,
        )
    op = layer.op
    if op.pad_ratio:
        raise layer.refused("MaxRoiPool has no pad_ratio")
    regions = layer.reshape(
        layer.bottoms[1], lambda op: (op.bottoms[1][0], 5), lambda op: op.bottoms[1]
    )
    return layer.add(
        "MaxRoiPool",
        layer.x,
        regions,
        pooled_shape=[op.pooled_h, op.pooled_w],
        spatial_scale=op.spatial_scale,
    )


@writes("PriorBox")
def prior_box(layer: Layer) -> Value:
    """Write the boxes as a constant: they follow from sizes and options."""
    layer.same(
        "the size of its image or features",
        lambda op: tuple(shape[2:] for shape in op.bottoms),
    )
    return layer.constant(_prior_boxes(layer.op), hint="boxes")


def _prior_boxes(op: PriorBox) -> np.ndarray:
    """Return corners as parts of the image, and variances: (1, 2, H W priors 4).

    A pixel has, for each min_size, a square, one that is between it and the max_size,
    and a box of the same area for each further ratio. Computed in float32, as in SSD.
    """
    features, (height, width), (step_h, step_w) = op.bottoms[0][2:], op.image, op.step
    single = np.float32
    sides: list[tuple[np.float32, np.float32]] = []
    for place, low in enumerate(map(single, op.min_size)):
        sides.append((low, low))
        if op.max_size:
            between = single(math.sqrt(low * single(op.max_size[place])))
            sides.append((between, between))
        for ratio in op.aspect_ratio[1:]:
            root = single(math.sqrt(single(ratio)))
            sides.append((low * root, low / root))
    offset = single(op.offset)
    rows = (np.arange(features[0], dtype=single) + offset) * single(step_h)
    columns = (np.arange(features[1], dtype=single) + offset) * single(step_w)
    half = np.array(sides, single) / 2  # (priors, 2), width before height
    boxes = np.empty((*features, len(sides), 4), single)
    boxes[..., 0] = (columns[None, :, None] - half[:, 0]) / single(width)
    boxes[..., 1] = (rows[:, None, None] - half[:, 1]) / single(height)
    boxes[..., 2] = (columns[None, :, None] + half[:, 0]) / single(width)
    boxes[..., 3] = (rows[:, None, None] + half[:, 1]) / single(height)
    if op.clip:
        np.clip(boxes, 0, 1, out=boxes)
    variances = np.broadcast_to(np.array(op.variance, single), boxes.shape)
    return np.stack([boxes.reshape(-1), variances.reshape(-1)])[None]
