"""SPP: pooling at several resolutions, so that the output has a fixed length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Shape,
    check_axes,
    count,
    enum_name,
    infers,
    label,
)
from netspec.ops.pooling import pooled_size
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Level:
    """One pooling of the pyramid; the stride equals the kernel. Pairs are (h, w)."""

    kernel: tuple[int, int]
    pad: tuple[int, int]
    pooled: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SPP(NoReadOp):
    """Poolings to 1, 2 x 2, 4 x 4, ... bins, flattened and joined.

    Shapes: x (N, C, H, W) -> y (N, C (1 + 4 + ... )); with one level (N, C, 1, 1).
    """

    type: ClassVar[str] = "SPP"
    pool: str
    levels: tuple[Level, ...]


@infers("SPP")
def spp(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> SPP:
    """Read an SPP layer."""
    param = layer.spp_param
    check_axes(layer, bottoms[0], 4, "the input")
    if param.pyramid_height < 1:
        raise SpecError(
            f"spp_param.pyramid_height is {param.pyramid_height}; give the number of "
            f"levels, at least 1",
            layer=label(layer),
        )
    n, c, height, width = bottoms[0]
    levels = tuple(
        _level(layer, (height, width), 2**index)
        for index in range(param.pyramid_height)
    )
    if len(levels) == 1:
        top: Shape = (n, c, *levels[0].pooled)
    else:
        top = (n, c * sum(count(level.pooled) for level in levels))
    return SPP(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        pool=enum_name(param, "pool"),
        levels=levels,
    )


def _level(layer: LayerParameter, image: tuple[int, int], bins: int) -> Level:
    kernel_h, kernel_w = (-(-size // bins) for size in image)
    pad_h = (kernel_h * bins - image[0] + 1) // 2
    pad_w = (kernel_w * bins - image[1] + 1) // 2
    if pad_h >= kernel_h or pad_w >= kernel_w:
        raise ShapeError(
            f"an image of {image} cannot be cut into {bins} x {bins} bins of whole "
            f"pixels; reduce pyramid_height",
            layer=label(layer),
        )
    padded = bool(pad_h or pad_w)
    pooled = (
        pooled_size(layer, image[0], kernel_h, kernel_h, pad_h, padded, "CEIL"),
        pooled_size(layer, image[1], kernel_w, kernel_w, pad_w, padded, "CEIL"),
    )
    return Level(kernel=(kernel_h, kernel_w), pad=(pad_h, pad_w), pooled=pooled)
