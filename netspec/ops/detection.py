"""Permute of the SSD fork, and ROIPooling of Fast R-CNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Op,
    Shape,
    bottom_name,
    check_axes,
    count,
    infers,
    label,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class ROIPooling(Op):
    """The maximum in pooled_h x pooled_w parts of every region of interest.

    Shapes: x (N, C, H, W), regions (R, 5) of item and corners -> y (R, C, pooled_h,
    pooled_w). The kernel saves the places of the maxima. From Fast R-CNN.
    """

    type: ClassVar[str] = "ROIPooling"
    pooled_h: int
    pooled_w: int
    spatial_scale: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The regions."""
        return (1,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The image."""
        return (0,)


@dataclass(frozen=True, kw_only=True)
class Permute(NoReadOp):
    """The axes in another order: axis i of the top is axis order[i] of the bottom."""

    type: ClassVar[str] = "Permute"
    order: tuple[int, ...]


@infers("ROIPooling")
def roi_pooling(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ROIPooling:
    """Read an ROIPooling layer."""
    param = layer.roi_pooling_param
    check_axes(layer, bottoms[0], 4, "the image")
    if not bottoms[1] or count(bottoms[1], 1) != 5:
        raise ShapeError(
            f"{bottom_name(layer, 1)}, the regions, must have shape (R, 5); got "
            f"{bottoms[1]}",
            layer=label(layer),
        )
    if param.pooled_h < 1 or param.pooled_w < 1:
        raise SpecError(
            f"pooled_h is {param.pooled_h} and pooled_w {param.pooled_w}; give at "
            f"least 1 for both",
            layer=label(layer),
        )
    top = (bottoms[1][0], bottoms[0][1], param.pooled_h, param.pooled_w)
    return ROIPooling(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        pooled_h=param.pooled_h,
        pooled_w=param.pooled_w,
        spatial_scale=param.spatial_scale,
    )


@infers("Permute")
def permute(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Permute:
    """Read a Permute layer."""
    given, x = tuple(layer.permute_param.order), bottoms[0]
    if len(set(given)) != len(given) or any(axis >= len(x) for axis in given):
        raise SpecError(
            f"permute_param.order is {given}; expected different axes from 0 to "
            f"{len(x) - 1} of the input {x}",
            layer=label(layer),
        )
    order = given + tuple(axis for axis in range(len(x)) if axis not in given)
    top = tuple(x[axis] for axis in order)
    return Permute(layer=layer, bottoms=bottoms, tops=(top,), order=order)
