"""Interp and Upsample: images of another size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
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
from netspec.ops.reshape import refuse_in_place
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Interp(NoReadOp):
    """Bilinear interpolation whose corners are those of the image (DeepLab, PSPNet).

        y[i, j] = x at (i (h - 1) / (H' - 1), j (w - 1) / (W' - 1)), the place in the
        part of the image that pad leaves, h by w

    begin, end: how many rows and columns are cut off, as numbers of at least 0. A
    second bottom gives its size only.

    Shapes: x (N, C, H, W) -> y (N, C, H', W').
    """

    type: ClassVar[str] = "Interp"
    begin: int
    end: int

    @property
    def part(self) -> tuple[int, int]:
        """The size of what is left of the image, (h, w)."""
        height, width = self.bottoms[0][2:]
        cut = self.begin + self.end
        return height - cut, width - cut

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The image."""
        return (0,)


@dataclass(frozen=True, kw_only=True)
class Upsample(Op):
    """Every value repeated (YOLO), or put back where a max Pooling took it (SegNet).

        repeated: y = x, scale[0] by scale[1] times
        masked:   y = 0, but y[mask] = x within every plane;  dx = dy[mask]

    mask: a second bottom, the second top of a Pooling, h W' + w. Where several values
    have one place, which of them is left is not told, and each gets the gradient, as in
    SegNet.

    Shapes: x, mask (N, C, H, W) -> y (N, C, H', W').
    """

    type: ClassVar[str] = "Upsample"
    masked: bool
    scale: tuple[int, int]

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The mask."""
        return (1,) if self.masked else ()

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The values."""
        return (0,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """The mask holds places of the plane."""
        places = numbers_below(count(self.tops[0], 2))
        return {1: places} if self.masked else {}

    @property
    def inexact(self) -> str:
        """Values of one place, of which one only is left."""
        if not self.masked:
            return ""
        return "values that the mask puts in one place all get its gradient"


@infers("Interp")
def interp(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Interp:
    """Read an Interp layer."""
    refuse_in_place(layer)
    param = layer.interp_param
    for index, shape in enumerate(bottoms):
        check_axes(layer, shape, 4, bottom_name(layer, index))
    for field in ("pad_beg", "pad_end"):
        if getattr(param, field) > 0:
            raise SpecError(
                f"{field} is {getattr(param, field)}; expected at most 0, as it can "
                f"only cut rows and columns off. Use Pooling or Convolution to pad",
                layer=label(layer),
            )
    n, c, height, width = bottoms[0]
    begin, end = -param.pad_beg, -param.pad_end
    part = height - begin - end, width - begin - end
    if min(part) < 1:
        raise ShapeError(
            f"pad_beg {param.pad_beg} and pad_end {param.pad_end} leave nothing of an "
            f"image of {height} by {width}",
            layer=label(layer),
        )
    size = _interp_size(layer, bottoms, part)
    return Interp(
        layer=layer, bottoms=bottoms, tops=((n, c, *size),), begin=begin, end=end
    )


def _interp_size(
    layer: LayerParameter, bottoms: tuple[Shape, ...], part: tuple[int, int]
) -> tuple[int, int]:
    """Return the size of the output; the first way that is given counts, as in forks.

    That is a second bottom, one of shrink_factor and zoom_factor alone, height and
    width, and both factors.
    """
    param = layer.interp_param
    if len(bottoms) > 1:
        if not param.use_blob_size:
            raise SpecError(
                f"{bottom_name(layer, 1)} gives the size only with use_blob_size: "
                f"true; set it, or remove the bottom",
                layer=label(layer),
            )
        height, width = bottoms[1][2:]
        return height, width
    if param.use_blob_size:
        raise SpecError(
            "use_blob_size takes the size of a second bottom; add it",
            layer=label(layer),
        )
    given = {
        field: param.HasField(field)
        for field in ("height", "width", "zoom_factor", "shrink_factor")
    }
    for field, is_given in given.items():
        if is_given and getattr(param, field) < 1:
            raise SpecError(
                f"{field} is {getattr(param, field)}; expected at least 1",
                layer=label(layer),
            )
    alone = given["zoom_factor"] != given["shrink_factor"]
    if given["height"] != given["width"] and not alone:
        missing = "width" if given["height"] else "height"
        raise SpecError(
            f"height and width belong together; give {missing} too", layer=label(layer)
        )
    if given["height"] and given["width"] and not alone:
        return param.height, param.width
    if not any(given.values()):
        raise SpecError(
            "interp_param does not say the size; give height and width, zoom_factor, "
            "shrink_factor, or use_blob_size and a second bottom",
            layer=label(layer),
        )
    shrunk = [(size - 1) // param.shrink_factor + 1 for size in part]
    height, width = (size + (size - 1) * (param.zoom_factor - 1) for size in shrunk)
    return height, width


@infers("Upsample")
def upsample(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Upsample:
    """Read an Upsample layer: SegNet's with a mask, YOLO's without."""
    refuse_in_place(layer)
    param = layer.upsample_param
    for index, shape in enumerate(bottoms):
        check_axes(layer, shape, 4, bottom_name(layer, index))
    n, c, height, width = bottoms[0]
    masked = len(bottoms) > 1
    scale = _scales(layer, 2 if masked else 1)
    if not masked:
        for field in ("pad_out_h", "pad_out_w", "upsample_h", "upsample_w"):
            if param.HasField(field):
                raise SpecError(
                    f"{field} is for SegNet's Upsample, which has the mask of a max "
                    f"Pooling as its second bottom; add that, or remove {field}",
                    layer=label(layer),
                )
        top = (n, c, height * scale[0], width * scale[1])
        return Upsample(
            layer=layer, bottoms=bottoms, tops=(top,), masked=False, scale=scale
        )
    if bottoms[0] != bottoms[1]:
        raise ShapeError(
            f"the mask, {bottom_name(layer, 1)}, has shape {bottoms[1]}; expected "
            f"that of the values, {bottoms[0]}",
            layer=label(layer),
        )
    wanted = [field for field in ("upsample_h", "upsample_w") if param.HasField(field)]
    if len(wanted) == 1:
        missing = "upsample_w" if wanted == ["upsample_h"] else "upsample_h"
        raise SpecError(
            f"{wanted[0]} is given without {missing}; give both, or scale",
            layer=label(layer),
        )
    if wanted:
        size = (param.upsample_h, param.upsample_w)
    else:
        size = (
            height * scale[0] - param.pad_out_h,
            width * scale[1] - param.pad_out_w,
        )
    if min(size) < 1:
        raise ShapeError(
            f"the output would be {size[0]} by {size[1]}; expected at least 1 by 1",
            layer=label(layer),
        )
    return Upsample(
        layer=layer, bottoms=bottoms, tops=((n, c, *size),), masked=True, scale=scale
    )


def _scales(layer: LayerParameter, default: int) -> tuple[int, int]:
    """Return the factors of rows and columns."""
    param = layer.upsample_param
    pair = [field for field in ("scale_h", "scale_w") if param.HasField(field)]
    if pair and param.HasField("scale"):
        raise SpecError(
            f"both scale and {pair[0]} are given; keep one of them", layer=label(layer)
        )
    if len(pair) == 1:
        missing = "scale_w" if pair == ["scale_h"] else "scale_h"
        raise SpecError(
            f"{pair[0]} is given without {missing}; give both, or scale",
            layer=label(layer),
        )
    scale = param.scale if param.HasField("scale") else default
    found = (param.scale_h, param.scale_w) if pair else (scale, scale)
    if min(found) < 1:
        raise SpecError(
            f"the scale is {found[0]} by {found[1]}; expected at least 1",
            layer=label(layer),
        )
    return found
