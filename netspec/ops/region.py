"""Layers that pool regions of interest: of Fast R-CNN, R-FCN and Mask R-CNN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    Op,
    Range,
    Shape,
    bottom_name,
    check_axes,
    count,
    infers,
    label,
    numbers_below,
)
from netspec.ops.by_fork import assume
from netspec.schema import LayerParameter
from netspec.schema.in_force import fork


@dataclass(frozen=True, kw_only=True)
class RegionOp(Op):
    """A layer that makes an item of every region of interest of its images.

    `spatial_scale` brings the corners of regions, in image pixels, to those of the
    features. Regions have no gradient.

    Shapes: x (N, C, H, W), regions (R, 5) of image, x1, y1, x2, y2 -> y (R, ...).
    """

    pooled_h: int
    pooled_w: int
    spatial_scale: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The regions."""
        return (1,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The features."""
        return (0,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Numbers of images; the corners may be these, too."""
        return {1: numbers_below(self.bottoms[0][0])}


@dataclass(frozen=True, kw_only=True)
class ROIPooling(RegionOp):
    """The maximum in pooled_h x pooled_w parts of every region of interest.

    A region first grows by `pad_ratio` of its size on every side.

    Shapes: x (N, C, H, W), regions (R, 5) of item and corners -> y (R, C, pooled_h,
    pooled_w). The kernel saves the places of the maxima. From Fast R-CNN.
    """

    type: ClassVar[str] = "ROIPooling"
    pad_ratio: float


@dataclass(frozen=True, kw_only=True)
class PSROIPooling(RegionOp):
    """The mean of every part of a region, each part of channels of its own.

    Part (i, j) of output d is the mean of channel (d G + i) G + j, G = `group_size`,
    which is pooled_h and pooled_w too.

    Shapes: x (N, D G^2, H, W), regions (R, 5) -> y (R, D, G, G), D = `output_dim`.
    """

    type: ClassVar[str] = "PSROIPooling"
    output_dim: int
    group_size: int


@dataclass(frozen=True, kw_only=True)
class ROIAlign(RegionOp):
    """Samples of every part of a region between pixels: their mean, or the largest.

    `sampling_ratio` is how many samples a part has on each axis for the mean, 0 or less
    for as many as it has pixels, as in Mask R-CNN; None takes the largest of samples a
    pixel apart, as py-RFCN-priv does, which has no such field.

    Shapes: x (N, C, H, W), regions (R, 5) -> y (R, C, pooled_h, pooled_w).
    """

    type: ClassVar[str] = "ROIAlign"
    sampling_ratio: int | None


@infers("ROIPooling")
def roi_pooling(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ROIPooling:
    """Read an ROIPooling layer."""
    param = layer.roi_pooling_param
    sizes = (param.pooled_h, param.pooled_w)
    given = tuple(param.pooled_size)
    if len(given) > 2:
        raise SpecError(
            f"pooled_size has {len(given)} values {given}; expected one for both axes, "
            f"or two",
            layer=label(layer),
        )
    if given and any(sizes):
        raise SpecError(
            f"both pooled_size {given} and pooled_h, pooled_w {sizes} are given; leave "
            f"one of them out",
            layer=label(layer),
        )
    h, w = (given[0], given[-1]) if given else sizes
    if not (math.isfinite(param.pad_ratio) and param.pad_ratio >= 0):
        raise SpecError(
            f"pad_ratio is {param.pad_ratio:g}; expected a share from 0 on",
            layer=label(layer),
        )
    return ROIPooling(
        layer=layer,
        bottoms=bottoms,
        tops=(_pooled(layer, bottoms, h, w),),
        pooled_h=h,
        pooled_w=w,
        spatial_scale=_scale(layer, param.spatial_scale),
        pad_ratio=param.pad_ratio,
    )


@infers("PSROIPooling")
def psroi_pooling(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> PSROIPooling:
    """Read a PSROIPooling layer."""
    param = layer.psroi_pooling_param
    outputs, group = param.output_dim, param.group_size
    if outputs < 1 or group < 1:
        raise SpecError(
            f"output_dim is {outputs} and group_size {group}; give at least 1 for both",
            layer=label(layer),
        )
    regions = check_regions(layer, bottoms)
    if bottoms[0][1] != outputs * group**2:
        raise ShapeError(
            f"{bottom_name(layer, 0)} has {bottoms[0][1]} channels; expected "
            f"{outputs * group**2}, output_dim {outputs} for each of {group} x {group} "
            f"parts. Change num_output of the layer that makes them",
            layer=label(layer),
        )
    return PSROIPooling(
        layer=layer,
        bottoms=bottoms,
        tops=((regions, outputs, group, group),),
        pooled_h=group,
        pooled_w=group,
        spatial_scale=_scale(layer, param.spatial_scale),
        output_dim=outputs,
        group_size=group,
    )


@infers("ROIAlign")
def roi_align(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ROIAlign:
    """Read an ROIAlign layer."""
    param = layer.roi_align_param
    if layer.HasField("roi_pooling_param") and not layer.HasField("roi_align_param"):
        raise SpecError(
            "has roi_pooling_param, as in Cascade R-CNN, whose ROIAlign is not known "
            "here; give roi_align_param for that of Mask R-CNN, with sampling_ratio, "
            "or of py-RFCN-priv",
            layer=label(layer),
        )
    top = _pooled(layer, bottoms, param.pooled_h, param.pooled_w)
    given = param.HasField("sampling_ratio") or fork() in ("cambricon", "ascend")
    if not given:
        assume(
            layer,
            "has no sampling_ratio; taken for py-RFCN-priv's, which takes the largest "
            "sample. For the mean of samples, as in Mask R-CNN, give sampling_ratio, 0 "
            "for as many as there are pixels; to say that it is the former, --fork "
            "rfcn-priv",
        )
    return ROIAlign(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        pooled_h=param.pooled_h,
        pooled_w=param.pooled_w,
        spatial_scale=_scale(layer, param.spatial_scale),
        sampling_ratio=max(0, param.sampling_ratio) if given else None,
    )


def check_regions(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> int:
    """Check the features and the regions; return how many regions there are."""
    check_axes(layer, bottoms[0], 4, "the image")
    if not bottoms[1] or count(bottoms[1], 1) != 5:
        raise ShapeError(
            f"{bottom_name(layer, 1)}, the regions, must have shape (R, 5); got "
            f"{bottoms[1]}",
            layer=label(layer),
        )
    return bottoms[1][0]


def _pooled(
    layer: LayerParameter, bottoms: tuple[Shape, ...], h: int, w: int
) -> tuple[int, ...]:
    """Return the shape of the top of h x w parts of every region."""
    regions = check_regions(layer, bottoms)
    if h < 1 or w < 1:
        raise SpecError(
            f"pooled_h is {h} and pooled_w {w}; give at least 1 for both",
            layer=label(layer),
        )
    return (regions, bottoms[0][1], h, w)


def _scale(layer: LayerParameter, scale: float) -> float:
    if not (math.isfinite(scale) and scale > 0):
        raise SpecError(
            f"spatial_scale is {scale:g}; expected a number above 0: the size of the "
            f"features divided by that of the image, such as 0.0625",
            layer=label(layer),
        )
    return scale
