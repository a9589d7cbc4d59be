"""PriorBox of SSD and ROIPooling of Fast R-CNN."""

from __future__ import annotations

import math
import warnings

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import label
from netspec.schema import PriorBoxParameter

NEW_ROI_POOL = 22  # the opset that made it anew, for bfloat16


@writes("ROIPooling")
def roi_pooling(layer: Layer) -> Value:
    """Write MaxRoiPool, which is Fast R-CNN's."""
    if layer.opset >= NEW_ROI_POOL:
        warnings.warn(
            f"{label(layer.node.layer)}: ONNX Runtime 1.32 has no MaxRoiPool of opset "
            f"{layer.opset}; it has that of opset {NEW_ROI_POOL - 1}",
            SpecWarning,
            stacklevel=2,
        )
    op = layer.op
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
    sizes = layer.same(
        "the size of its image or features",
        lambda op: tuple(shape[2:] for shape in op.bottoms),
    )
    return layer.constant(_prior_boxes(layer, *sizes), hint="boxes")


def _prior_boxes(
    layer: Layer, features: tuple[int, int], image: tuple[int, int]
) -> np.ndarray:
    """Return corners as parts of the image, and variances: (1, 2, H W priors 4).

    A pixel has, for each min_size, a square, one that is between it and the max_size,
    and a box of the same area for each further ratio. Computed in float32, as in SSD.
    """
    op, param = layer.op, layer.node.layer.prior_box_param
    height, width = _image(layer, param, image)
    step_h, step_w = _steps(layer, param, features, (height, width))
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
    offset = single(param.offset)
    rows = (np.arange(features[0], dtype=single) + offset) * single(step_h)
    columns = (np.arange(features[1], dtype=single) + offset) * single(step_w)
    half = np.array(sides, single) / 2  # (priors, 2), width before height
    boxes = np.empty((*features, len(sides), 4), single)
    boxes[..., 0] = (columns[None, :, None] - half[:, 0]) / single(width)
    boxes[..., 1] = (rows[:, None, None] - half[:, 1]) / single(height)
    boxes[..., 2] = (columns[None, :, None] + half[:, 0]) / single(width)
    boxes[..., 3] = (rows[:, None, None] + half[:, 1]) / single(height)
    if param.clip:
        np.clip(boxes, 0, 1, out=boxes)
    variances = np.broadcast_to(_variance(layer, param), boxes.shape)
    return np.stack([boxes.reshape(-1), variances.reshape(-1)])[None]


def _variance(layer: Layer, param: PriorBoxParameter) -> np.ndarray:
    given = tuple(param.variance) or (0.1,)
    if len(given) not in (1, 4) or min(given) <= 0:
        raise SpecError(
            f"prior_box_param.variance is {given}; expected 1 or 4 positive values",
            layer=label(layer.node.layer),
        )
    return np.array(given, np.float32)


def _image(
    layer: Layer, param: PriorBoxParameter, default: tuple[int, int]
) -> tuple[int, int]:
    """Return img_h and img_w, or img_size twice, or what the bottom tells."""
    if param.HasField("img_h") or param.HasField("img_w"):
        pair = (param.img_h, param.img_w)
        if param.HasField("img_size"):
            raise _two_ways(layer, "img_size", "img_h and img_w")
    elif param.HasField("img_size"):
        pair = (param.img_size, param.img_size)
    else:
        return default
    if min(pair) < 1:
        raise SpecError(
            f"prior_box_param gives img_h and img_w {pair}; expected at least 1 for "
            f"both",
            layer=label(layer.node.layer),
        )
    return pair


def _steps(
    layer: Layer,
    param: PriorBoxParameter,
    features: tuple[int, int],
    image: tuple[int, int],
) -> tuple[float, float]:
    """Return the distances of centres downwards and to the right."""
    if param.HasField("step_h") or param.HasField("step_w"):
        pair = (param.step_h, param.step_w)
        if param.HasField("step"):
            raise _two_ways(layer, "step", "step_h and step_w")
    elif param.HasField("step"):
        pair = (param.step, param.step)
    else:
        return image[0] / features[0], image[1] / features[1]
    if min(pair) <= 0:
        raise SpecError(
            f"prior_box_param gives step_h and step_w {pair}; expected positive values",
            layer=label(layer.node.layer),
        )
    return pair


def _two_ways(layer: Layer, one: str, other: str) -> SpecError:
    return SpecError(
        f"both {one} and {other} are given; keep one of them",
        layer=label(layer.node.layer),
    )
