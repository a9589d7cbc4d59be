"""What layers of default boxes have in common: shapes, codes, suppression, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Shape, bottom_name, label
from netspec.schema import (
    LayerParameter,
    NonMaximumSuppressionParameter,
    ResizeParameter,
)


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """Keeping the best of overlapping boxes: `nms_param`, read.

    top_k: how many boxes enter, by score; None for all. eta: factor of the threshold
    after each box that is kept, while it is above 0.5.
    """

    threshold: float
    top_k: int | None
    eta: float


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """How images were resized before a net saw them: `resize_param`, read.

    mode: "WARP", "FIT_SMALL_SIZE" or "FIT_LARGE_SIZE_AND_PAD". size: (height, width).
    scale: (height_scale, width_scale), 0 where they are not given.
    """

    mode: str
    size: tuple[int, int]
    scale: tuple[int, int]


def suppression(
    layer: LayerParameter, param: NonMaximumSuppressionParameter
) -> Suppression:
    """Read an `nms_param`."""
    if not param.nms_threshold >= 0:
        raise SpecError(
            f"nms_threshold is {param.nms_threshold:g}; expected at least 0",
            layer=label(layer),
        )
    if not 0 < param.eta <= 1:
        raise SpecError(
            f"nms_param.eta is {param.eta:g}; it is a factor above 0 and at most 1",
            layer=label(layer),
        )
    return Suppression(
        threshold=param.nms_threshold,
        top_k=_all_or(layer, "nms_param.top_k", param, "top_k"),
        eta=param.eta,
    )


def _all_or(
    layer: LayerParameter, name: str, param: NonMaximumSuppressionParameter, field: str
) -> int | None:
    """Return a number of boxes, None for all, which is -1 or not given."""
    return limit(layer, name, param.top_k) if param.HasField("top_k") else None


def limit(layer: LayerParameter, name: str, value: int) -> int | None:
    """Return a number of boxes, None for all, which is -1."""
    if value < -1:
        raise SpecError(
            f"{name} is {value}; give a number of boxes, or -1 for all",
            layer=label(layer),
        )
    return None if value == -1 else value


def resizing(layer: LayerParameter, param: ResizeParameter) -> Resizing:
    """Read a `resize_param`."""
    if not (param.height and param.width):
        raise SpecError(
            f"resize_param has height {param.height} and width {param.width}; give "
            f"both, the size that images were resized to",
            layer=label(layer),
        )
    return Resizing(
        mode=ResizeParameter.Resize_mode.Name(param.resize_mode),
        size=(param.height, param.width),
        scale=(param.height_scale, param.width_scale),
    )


def check_classes(layer: LayerParameter, classes: int) -> int:
    """Refuse a layer without a number of classes."""
    if classes < 1:
        raise SpecError(
            f"num_classes is {classes}; give the number of classes, the background "
            f"included",
            layer=label(layer),
        )
    return classes


def check_boxes(
    layer: LayerParameter, bottoms: Sequence[Shape], classes: int, shared: bool
) -> int:
    """Check locations and confidences against the default boxes; return how many."""
    check_classes(layer, classes)
    if len(bottoms[2]) < 3 or bottoms[2][1] != 2 or bottoms[2][2] % 4:
        raise ShapeError(
            f"{bottom_name(layer, 2)}, the default boxes, must have shape (1, 2, 4 * "
            f"boxes); got {bottoms[2]}",
            layer=label(layer),
        )
    priors = bottoms[2][2] // 4
    wanted = (priors * 4 * (1 if shared else classes), priors * classes)
    for index, (size, what) in enumerate(
        zip(wanted, ("locations", "confidences"), strict=True)
    ):
        _check_rows(layer, bottoms, index, size, what, f"{classes} classes", priors)
    return priors


def check_refined(layer: LayerParameter, bottoms: Sequence[Shape], priors: int) -> None:
    """Check what RefineDet's first part says of the default boxes."""
    sizes = ((priors * 2, "objectness"), (priors * 4, "refinements"))
    for index, (size, what) in enumerate(sizes, start=3):
        if index < len(bottoms):
            _check_rows(layer, bottoms, index, size, what, "RefineDet", priors)


def _check_rows(
    layer: LayerParameter,
    bottoms: Sequence[Shape],
    index: int,
    size: int,
    what: str,
    of: str,
    priors: int,
) -> None:
    """Check that a bottom has as many items as the first, of `size` values each."""
    shape = bottoms[index]
    values = 1
    for axis in shape[1:]:
        values *= axis
    if len(shape) < 2 or values != size:
        raise ShapeError(
            f"{bottom_name(layer, index)}, the {what}, must have shape (N, {size}) "
            f"for {priors} default boxes and {of}; got {shape}",
            layer=label(layer),
        )
    if shape[0] != bottoms[0][0]:
        raise ShapeError(
            f"{bottom_name(layer, index)}, the {what}, has {shape[0]} items and "
            f"{bottom_name(layer, 0)}, the locations, {bottoms[0][0]}; both are of one "
            f"batch",
            layer=label(layer),
        )


def check_list(layer: LayerParameter, shape: Shape, index: int, columns: int) -> int:
    """Check a list of boxes, (1, 1, rows, columns); return its number of rows."""
    if len(shape) != 4 or shape[:2] != (1, 1) or shape[3] != columns:
        raise ShapeError(
            f"{bottom_name(layer, index)} must have shape (1, 1, rows, {columns}); "
            f"got {shape}",
            layer=label(layer),
        )
    return shape[2]
